"""A training between two epochs: what a killed run needs to end as if it had never been killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from latentcrs_utils.support.processes import ALONE, Processes

if TYPE_CHECKING:
    from latentcrs_utils.support.artifacts import Checkpoint


@dataclass
class Training:
    """Networks, optimisers and random streams of a training, and how far it has come.

    The global random stream (dropout) belongs to it, on the GPU too where the module is there:
    `save` writes its state and `resume` sets it, so both are called inside
    `torch.random.fork_rng`. Of several processes all call both; the main one reads and writes.

    Attributes:
        module: what is trained.
        optimisers: of its parameters, constructed as at the start of the training.
        generator: the training's own random stream.
        curve: one JSON-serialisable dict an epoch.
        best_state: the state of `module` after its best epoch; empty before the first.
    """

    module: nn.Module
    optimisers: Sequence[torch.optim.Optimizer]
    generator: torch.Generator
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def keep_best(self) -> None:
        """Copy the present state of the module as the best one."""
        state = self.module.state_dict()
        self.best_state = {name: tensor.detach().clone() for name, tensor in state.items()}

    def save(self, checkpoint: Checkpoint, after: str, processes: Processes = ALONE) -> None:
        """Write everything to the checkpoint; `after` says what is done, e.g. "epoch 23"."""
        tensors = _prefixed("module", self.module.state_dict())
        tensors |= _prefixed("best", self.best_state)
        for number, optimiser in enumerate(self.optimisers):
            for row, values in optimiser.state_dict()["state"].items():
                tensors |= _prefixed(f"optimiser.{number}.{row}", values)
        tensors["generator"] = self.generator.get_state()
        tensors |= {name: processes.stack(s) for name, s in self._dropout_streams().items()}
        if processes.is_main:
            checkpoint.save(tensors, {"curve": self.curve}, after=after)

    def resume(self, checkpoint: Checkpoint, processes: Processes = ALONE) -> None:
        """Take up the state in the checkpoint; without one, nothing changes.

        With another number of processes, or on another kind of device, dropout is drawn afresh.
        """
        found = processes.from_main(checkpoint.load() if processes.is_main else None)
        if found is None:
            return
        tensors, facts = found
        self.curve[:] = facts["curve"]
        self.module.load_state_dict(_without_prefix("module", tensors))
        self.best_state = _without_prefix("best", tensors)
        for number, optimiser in enumerate(self.optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _without_prefix(f"optimiser.{number}", tensors).items():
                row, _, quantity = name.partition(".")
                state.setdefault(int(row), {})[quantity] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.generator.set_state(tensors["generator"])
        for name, present in self._dropout_streams().items():
            states = tensors.get(name, present.new_empty(0)).reshape(-1, present.numel())
            if len(states) != processes.count:
                continue
            # a copy: PyTorch reads a state from the beginning of its storage
            own = states[processes.number].clone()
            if name == "cuda_generator":
                torch.cuda.set_rng_state(own, self._device)
            else:
                torch.set_rng_state(own)

    @property
    def _device(self) -> torch.device:
        return next(self.module.parameters()).device

    def _dropout_streams(self) -> dict[str, Tensor]:
        """States of the global random streams that the module draws from, uint8 vectors."""
        streams = {"global_generator": torch.get_rng_state()}
        if self._device.type == "cuda":
            streams["cuda_generator"] = torch.cuda.get_rng_state(self._device)
        return streams


def epochs_since_best(values: Sequence[float]) -> int:
    """Number of epochs after the (first) highest of one or more values, one value an epoch."""
    return len(values) - 1 - max(range(len(values)), key=values.__getitem__)


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
