"""Which matrix products a computation does, and how long these alone take.

The products are what cannot be avoided: whoever computes the same numbers does them. Written down
while the stage runs and done again one after another, into memory that is there already, they are
the stage's floor. The products of attention count as plain batched ones, the fused form's too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
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
class Layout:
    """Shape and strides of an operand: a transposed one is another product."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """The layout of a tensor."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()))

    @classmethod
    def plain(cls, *shape: int) -> Layout:
        """The layout of a contiguous tensor."""
        return cls(shape, tuple(prod(shape[i + 1 :]) for i in range(len(shape))))

    @property
    def extent(self) -> int:
        """How many numbers of memory the operand reaches over."""
        steps = zip(self.shape, self.stride, strict=True)
        return 1 + sum((length - 1) * step for length, step in steps)


@dataclass(frozen=True)
class Product:
    """One product [.., m, k] x [.., k, n]."""

    left: Layout
    right: Layout
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return (*self.left.shape[:-1], self.right.shape[-1])

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * prod(self.left.shape) * self.right.shape[-1]


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
            self._note(*args[_PLAIN[packet] : _PLAIN[packet] + 2])
        elif name in _FUSED:
            self._note_attention(*args[_FUSED[name] : _FUSED[name] + 2], "backward" in name)
        elif packet is not torch.ops.prim.device:
            # what consists of other operations shows them only when it is taken apart
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)

    def _note(self, left: Tensor, right: Tensor) -> None:
        self.products.append(Product(Layout.of(left), Layout.of(right), left.dtype))

    def _note_attention(self, query: Tensor, key: Tensor, backward: bool) -> None:
        """Q K^T and P V; backward, the two that each of these asks for."""
        B, heads, length, width = query.shape
        n = B * heads
        wide = Layout.plain(n, length, width), Layout.plain(n, width, key.shape[2])
        square = Layout.plain(n, length, key.shape[2]), Layout.plain(n, key.shape[2], width)
        for _ in range(2 if backward else 1):
            self.products += [Product(*wide, query.dtype), Product(*square, query.dtype)]


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
    sizes: dict[tuple[str, torch.dtype], int] = {}
    for product in products:
        result = Layout.plain(*product.shape)
        for place, layout in (("left", product.left), ("right", product.right), ("out", result)):
            key = (place, product.dtype)
            sizes[key] = max(sizes.get(key, 0), layout.extent)
    generator = torch.Generator().manual_seed(0)
    memory = {key: torch.randn(size, generator=generator).to(key[1]) for key, size in sizes.items()}
    jobs = []
    for product in products:
        left, right = (
            memory[place, product.dtype].as_strided(layout.shape, layout.stride)
            for place, layout in (("left", product.left), ("right", product.right))
        )
        out = Layout.plain(*product.shape)
        result = memory["out", product.dtype].as_strided(out.shape, out.stride)
        jobs.append((torch.bmm if left.ndim == 3 else torch.mm, left, right, result))

    def run() -> None:
        for multiply, left, right, result in jobs:
            multiply(left, right, out=result)

    return run
