"""One process or several: which rows each one computes, and how the results come together.

torchrun, ``accelerate launch`` or ``notebook_launcher`` start them; Hugging Face Accelerate joins
them here. All draw the same random numbers for a batch and each takes its shard of the rows, so
what is computed does not depend on their number. A single process imports nothing of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.device import choose_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Key = TypeVar("Key")
    Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process, the `number`-th from 0, among the `count` that work on the same thing."""

    number: int = 0
    count: int = 1
    # Accelerate's view of them, None for a single process
    accelerator: Any = field(default=None, repr=False, compare=False)

    @property
    def is_main(self) -> bool:
        """Whether this is the first process, which alone writes files and shows progress."""
        return self.number == 0

    @property
    def shard(self) -> slice:
        """This process's rows of a batch: every count-th, so that like lengths are spread."""
        return slice(self.number, None, self.count)

    def total(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the processes."""
        return tensor if self.count == 1 else self.accelerator.reduce(tensor, reduction="sum")

    def sum_gradients(self, module: torch.nn.Module, loss: Tensor) -> Tensor:
        """Sum the gradients of a module and the loss, in one message; returns the summed loss."""
        if self.count == 1:
            return loss
        import torch

        gradients = []
        for p in (p for p in module.parameters() if p.requires_grad):
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            gradients.append(p.grad)
        flat = self.total(torch.nn.utils.parameters_to_vector([*gradients, loss]))
        torch.nn.utils.vector_to_parameters(flat, gradients)
        return flat[-1]

    def all_gather(self, own: Tensor, n_rows: int) -> Tensor:
        """Join the shards `own` [b, h] to [`n_rows`, h], in order; only own rows get a gradient."""
        if self.count == 1:
            return own
        most = -(-n_rows // self.count)
        padded = own.detach().new_zeros(most, *own.shape[1:])
        padded[: len(own)] = own.detach()
        gathered = self.accelerator.gather(padded).view(self.count, *padded.shape)
        whole = gathered.transpose(0, 1).reshape(-1, *own.shape[1:])[:n_rows].clone()
        whole[self.shard] = own
        return whole

    def merge(self, rows: dict[Key, Value]) -> dict[Key, Value]:
        """Return the rows of all processes in one dictionary, in every process."""
        if self.count == 1:
            return rows
        from accelerate.utils import gather_object

        return dict(gather_object(list(rows.items())))

    def broadcast(self, value: Value) -> Value:
        """Return what the main process holds in `value`, in every process."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value if self.is_main else None])[0]

    def main_first(self, make: Callable[[], Value]) -> Value:
        """Call `make` in the main process, then in the others, which find what it left on disk."""
        made = make() if self.is_main else None
        self.broadcast(None)
        return make() if made is None else made


SINGLE = Processes()


def join(device: torch.device | None = None, *, expected: int | None = None) -> Processes:
    """Join the processes started together with this one; ConfigError unless they are `expected`."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if expected not in (None, count):
        raise ConfigError(
            f"{expected} processes were expected, but there are {count}. On CPUs start them with "
            f"`torchrun --nproc_per_node {expected} -m …`: `accelerate launch --cpu` starts one, "
            "whatever its --num_processes says."
        )
    if count == 1:
        return SINGLE
    import torch
    from accelerate import Accelerator

    on_cpu = (device or choose_device()).type == "cpu"
    if on_cpu:
        # a forked process must not use the threads of its parent, and they share the cores anyway
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    accelerator = Accelerator(cpu=on_cpu)
    return Processes(accelerator.process_index, accelerator.num_processes, accelerator)
