"""Small but real trainings, in processes that are killed or interrupted at a chosen step.

A process waits after each step for permission to go on, so whoever starts it decides in the midst
of which step it dies, however fast the machine is.
"""

import hashlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from latentcrs_utils.baselines import direct
from latentcrs_utils.behavior.pretraining import pretrain
from latentcrs_utils.config import BackboneConfig, DirectConfig, EMConfig
from latentcrs_utils.em.model import fit_em
from latentcrs_utils.language import embedder
from latentcrs_utils.support import artifacts, progress
from tests.em.small_world import Language, anchors, backbone, dataset

context = get_context("forkserver")
# imported once, so that a process is there in no time
context.set_forkserver_preload([
    "pytest", "latentcrs_utils.baselines.direct", "latentcrs_utils.language.embedder",
    "sklearn.cluster", "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
])  # fmt: skip

BACKBONE = BackboneConfig(
    hidden=8, n_layers=1, n_heads=1, max_length=8, batch_size=16, n_epochs=9, patience=4,
    n_intent_prototypes=4, warmup_epochs=2, learning_rate=5e-3,
)  # fmt: skip
EM = EMConfig(
    learning_rate=1e-2, dropout=0.3, batch_size=64, n_epochs_q=3, n_epochs_generative=4,
    n_epochs_alternate=5, patience=3,
)  # fmt: skip
TEXTS = [f"a film about {i} ships{' and more' * (i % 7)}" for i in range(60)]


def _pretrain(**changes: Any) -> tuple[dict, list]:
    trained = pretrain(dataset(), replace(BACKBONE, **changes), seed=5)
    return trained.encoder.state_dict(), trained.curve


def _fit(**changes: Any) -> tuple[dict, list]:
    data = dataset()
    encoder = backbone(data)
    points = anchors(encoder.encode(data.histories("train")))
    model = fit_em(data, encoder, points, Language(data), replace(EM, **changes), seed=5)
    networks = {"generative": model.generative, "inference": model.inference}
    states = {part: network.state_dict() for part, network in networks.items()}
    return {f"{part}.{k}": t for part in states for k, t in states[part].items()}, model.curve


def _fuse() -> tuple[dict, list]:
    data = dataset()
    config = DirectConfig(learning_rate=1e-2, n_epochs=8, patience=3, batch_size=64)
    model = direct.fit_fusion(data, backbone(data), Language(data), config=config, seed=5)
    return model.scorer.state_dict(), model.curve


def _embed(folder: str) -> tuple[dict, list]:
    model = embedder.Embedder(folder, dtype="bfloat16", batch_size=4)
    return {"vectors": model.embed(TEXTS)}, []


JOBS: dict[str, Callable[..., tuple[dict, list]]] = {
    "backbone": _pretrain,
    "backbone with both contrasts": lambda: _pretrain(loss="bce", contrast="Hybrid"),
    "LatentCRS": _fit,
    "LatentCRS+, sampled candidates": lambda: _fit(
        residual=True, n_negatives=5, form="logit", e_step="exact"
    ),
    "fusion without intents": _fuse,
    "embedding": _embed,
}


@dataclass(frozen=True)
class Outcome:
    """What a finished job says; jobs are the same if the bits and the curve without times are."""

    digest: str
    curve: list[dict]
    notes: list[str] = field(compare=False)
    n_steps: int = field(compare=False)


class Run:
    """A job of `JOBS` in a process of its own, which can kill itself.

    With `die_at` (".checkpoint", 3) it does so when the third such file is half written, with
    ("discard", 1) just before the first checkpoint is removed.
    """

    def __init__(self, job: str, cache: Path, *, die_at: tuple[str, int] | None = None, **options):
        self.line, other = context.Pipe()
        self.process = context.Process(target=_work, args=(job, options, str(cache), other, die_at))
        self.process.start()
        other.close()

    def until(self, step: int | None = None) -> Outcome | None:
        """Let it work until it has done a step, or (`None`) to its end; `None` if it died."""
        try:
            while not isinstance(said := self.line.recv(), Outcome):
                if said == step:
                    return None
                self.line.send("go on")
        except (EOFError, ConnectionError):
            self.process.join()
            return None
        self.process.join()
        return said

    def kill(self, delay: float = 0.0) -> None:
        """Kill it in the step after the one it waits at, `delay` seconds into it."""
        self.line.send("go on")
        time.sleep(delay)
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL


def _work(
    job: str, options: dict, cache: str, line: Connection, die_at: tuple[str, int] | None
) -> None:
    os.environ |= {"LATENTCRS_CACHE": cache, "LATENTCRS_PROGRESS": "0"}
    torch.set_num_threads(1)
    notes: list[str] = []
    progress.logger.setLevel("INFO")
    progress.logger.addFilter(lambda record: notes.append(record.getMessage()) or False)
    n_steps = 0

    def report(step: int) -> None:
        nonlocal n_steps
        n_steps = step
        line.send(step)
        line.recv()

    if die_at is not None:
        _die_while_writing(*die_at)
    with each_step(report):
        state, curve = JOBS[job](**options)
    line.send(Outcome(digest(state), without_seconds(curve), notes, n_steps))


@contextmanager
def each_step(do: Callable[[int], None]) -> Iterator[None]:
    """Call `do` with the numbers, from 1, of the optimisers' steps and the language model's."""
    numbers, real = itertools.count(1), embedder.last_hidden_states
    hook = register_optimizer_step_post_hook(lambda *_: do(next(numbers)))
    embedder.last_hidden_states = lambda *given: (do(next(numbers)), real(*given))[1]
    try:
        yield
    finally:
        hook.remove()
        embedder.last_hidden_states = real


@contextmanager
def interrupted_at(last: int) -> Iterator[None]:
    """Interrupt what is in the block at a step, as a reader interrupts a notebook."""

    def stop(step: int) -> None:
        if step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), each_step(stop):
        yield


def digest(state: dict[str, torch.Tensor]) -> str:
    """Hash of every name, shape, type and bit."""
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        whole.update(tensor.contiguous().numpy().tobytes())
    return whole.hexdigest()


def without_seconds(curve: list[dict]) -> list[dict]:
    """The curve without the times."""
    return [{key: row[key] for key in row if key != "seconds"} for row in curve]


def _die_while_writing(suffix: str, number: int) -> None:
    """Make this process kill itself at the given moment."""
    moments = itertools.count(1)
    whole, discard = artifacts.atomic_path, artifacts.discard

    @contextmanager
    def dying_path(target: Path) -> Iterator[Path]:
        with whole(target) as temporary:
            yield temporary
            if target.suffix == suffix and next(moments) == number:
                os.truncate(temporary, temporary.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

    def dying_discard(checkpoint: Path) -> None:
        if suffix == "discard" and next(moments) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        discard(checkpoint)

    artifacts.atomic_path, artifacts.discard = dying_path, dying_discard
