"""Which matrix products a computation does, and how long these alone take.

Whoever computes the same numbers does these products. Written down while the stage runs and done
again one after another, into memory that is there already, they are the stage's floor. The products
of attention count as plain batched ones, the fused form's too.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_PLAIN = {_aten.mm: 0, _aten.bmm: 0, _aten.addmm: 1, _aten.baddbmm: 1}
# fused attention by name, with the place of the query among the arguments; a build may lack some
_KINDS = ("flash_attention_for_cpu", "flash_attention", "efficient_attention")
_FUSED = {f"_scaled_dot_product_{kind}": 0 for kind in _KINDS}
_FUSED |= {f"{name}_backward": 1 for name in _FUSED}


@dataclass(frozen=True)
class Product:
    """One product [.., m, k] x [.., k, n]; of the operands only shapes, strides, dtypes count."""

    left: Tensor
    right: Tensor

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.left.numel() * self.right.shape[-1]


def extent(x: Tensor) -> int:
    """How many numbers of memory an operand reaches over."""
    return 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))


class Recorder(TorchDispatchMode):
    """While it is entered, writes down every matrix product, backward included."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the call if it is a product, and let it happen."""
        kwargs, packet = kwargs or {}, func._overloadpacket
        name = packet.__name__
        if packet in _PLAIN:
            left, right = (
                torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
                for x in args[_PLAIN[packet] : _PLAIN[packet] + 2]
            )
            self.products.append(Product(left, right))
        elif name in _FUSED:
            self._note_attention(*args[_FUSED[name] : _FUSED[name] + 2], "backward" in name)
        elif packet is not torch.ops.prim.device:
            # what consists of other operations shows them only when it is taken apart
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)

    def _note_attention(self, query: Tensor, key: Tensor, backward: bool) -> None:
        """Q K^T and P V; backward, the two that each of these asks for."""
        n, (length, width), keys = query.shape[0] * query.shape[1], query.shape[2:], key.shape[2]
        sides = (n, length, width), (n, width, keys), (n, length, keys), (n, keys, width)
        q, k, weights, values = (query.new_empty(side, device="meta") for side in sides)
        self.products += [Product(q, k), Product(weights, values)] * (2 if backward else 1)


def products_of(function: Callable[[], Any]) -> list[Product]:
    """Return the matrix products of one call, in order."""
    with Recorder() as recorder:
        function()
    return recorder.products


def replay(products: list[Product]) -> Callable[[], None]:
    """Return a function that does the products once more, on random numbers, in three pieces."""
    generator = torch.Generator().manual_seed(0)
    operands = [
        (p.left, p.right, p.left.new_empty(*p.left.shape[:-1], p.right.shape[-1])) for p in products
    ]
    sizes: dict[tuple[int, torch.dtype], int] = defaultdict(int)
    for row in operands:
        for key in ((place, operand.dtype) for place, operand in enumerate(row)):
            sizes[key] = max(sizes[key], extent(row[key[0]]))
    memory = {key: torch.randn(size, generator=generator).to(key[1]) for key, size in sizes.items()}
    jobs = []
    for row in operands:
        left, right, out = (
            memory[place, operand.dtype].as_strided(operand.shape, operand.stride())
            for place, operand in enumerate(row)
        )
        jobs.append((torch.bmm if left.ndim == 3 else torch.mm, left, right, out))

    def run() -> None:
        for multiply, left, right, out in jobs:
            multiply(left, right, out=out)

    return run
