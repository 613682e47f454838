"""Which matrix products a computation does, and how long these alone take.

The products are what cannot be avoided: whoever computes the same numbers does them. Written down
while the stage runs and done again one after another, into memory that is there already, they are
the stage's floor. The products of attention count as plain batched ones, the fused form's too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_PLAIN = {_aten.mm: 0, _aten.bmm: 0, _aten.addmm: 1, _aten.baddbmm: 1}
# fused attention by name, with the place of the query among the arguments; a build may lack some
_FUSED = {
    "_scaled_dot_product_flash_attention_for_cpu": 0,
    "_scaled_dot_product_flash_attention": 0,
    "_scaled_dot_product_efficient_attention": 0,
    "_scaled_dot_product_flash_attention_for_cpu_backward": 1,
    "_scaled_dot_product_flash_attention_backward": 1,
    "_scaled_dot_product_efficient_attention_backward": 1,
}


@dataclass(frozen=True)
class Product:
    """One product [.., m, k] x [.., k, n] of operands with these shapes and strides.

    The operands hold no numbers (device "meta"); a transposed one is another product.
    """

    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, left: Tensor, right: Tensor) -> Product:
        """The product of two tensors."""
        return cls(*(
            torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
            for x in (left, right)
        ))  # fmt: skip

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.left.numel() * self.right.shape[-1]


def extent(x: Tensor) -> int:
    """How many numbers of memory an operand reaches over."""
    return 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))


@dataclass
class Recorder(TorchDispatchMode):
    """While it is entered, writes down every matrix product, backward included."""

    products: list[Product] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Note the call if it is a product, and let it happen."""
        kwargs = kwargs or {}
        packet = func._overloadpacket
        name = packet.__name__
        if packet in _PLAIN:
            self.products.append(Product.of(*args[_PLAIN[packet] : _PLAIN[packet] + 2]))
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
    """Return a function that does the products once more, on random numbers.

    All left operands lie in one piece of memory, all right ones in another and all results in a
    third, so that thousands of products of many shapes need no more than the largest three.
    """
    generator = torch.Generator().manual_seed(0)
    operands = [
        (p.left, p.right, p.left.new_empty(*p.left.shape[:-1], p.right.shape[-1])) for p in products
    ]
    sizes: dict[tuple[int, torch.dtype], int] = {}
    for row in operands:
        for place, operand in enumerate(row):
            key = place, operand.dtype
            sizes[key] = max(sizes.get(key, 0), extent(operand))
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
