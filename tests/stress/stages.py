"""The stages of the course over a small world, one after another, each from its inputs."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import latentcrs_utils as lc
from latentcrs_utils import config
from latentcrs_utils.data.loading import prepare
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.support.assets import fetch
from latentcrs_utils.support.downloads import Asset
from tests.support.resume_jobs import digest, without_seconds

BACKBONE = config.BackboneConfig(
    hidden=16, n_layers=1, n_heads=1, max_length=20, n_epochs=8, batch_size=64
)
EM = config.EMConfig(
    residual=True, text_hidden=16, batch_size=64, n_epochs_q=2, n_epochs_generative=2,
    n_epochs_alternate=2,
)  # fmt: skip


class Course:
    """Every attribute is the result of the stage of its name; `asset` is what `unpack` fetches."""

    def __init__(self, model: Path, asset: Asset | None = None):
        self.model, self.asset = model, asset

    @cached_property
    def data(self) -> Dataset:
        size = config.SyntheticConfig(n_users=120, n_items=300, n_intents=6, longest=30)
        return prepare("synthetic", synthetic_world(size).source, config.DataConfig())

    @cached_property
    def pretrain(self) -> Any:
        return lc.pretrain(self.data, BACKBONE, seed=5)

    @cached_property
    def find_anchors(self) -> Any:
        few = config.AnchorConfig(K=8, n_init=1, n_cuts=1, max_iterations=20)
        return lc.find_anchors(self.pretrain, self.data, config=few, seed=5)

    @cached_property
    def simulate_utterances(self) -> Any:
        few = config.SimulatorConfig(n_cuts=1, n_reused_cuts=1)
        return lc.simulate_utterances(self.data, config=few, seed=5)

    @cached_property
    def embed(self) -> Any:
        embedder = Embedder(self.model, dtype="float32")
        return lc.embed(self.simulate_utterances, embedder=embedder)

    @cached_property
    def fit_em(self) -> Any:
        return lc.fit_em(self.data, self.pretrain, self.find_anchors, self.embed, EM, seed=5)

    @cached_property
    def unpack(self) -> Any:
        assert self.asset is not None
        return fetch(self.asset)

    def bits(self, stage: str) -> str:
        """A hash of all that a stage made, times aside."""
        tensors, rest = PARTS[stage](getattr(self, stage))
        return digest(tensors) + hashlib.sha256(repr(rest).encode()).hexdigest()


# tensors, and what else
PARTS = {
    "pretrain": lambda b: (b.encoder.state_dict(), without_seconds(b.curve)),
    "find_anchors": lambda a: ({"c": a.centroids, "of": a.assignments, "n": a.sizes}, a.names),
    "simulate_utterances": lambda u: ({}, u.frame.write_json()),
    "embed": lambda e: ({"x": e.x, "mean": e.mean, "scale": e.scale}, None),
    "fit_em": lambda m: (torch.nn.ModuleList([m.generative, m.inference]).state_dict(),
                         without_seconds(m.curve)),
    "unpack": lambda f: ({}, {name: file.read_bytes() for name, file in f.items()}),
}  # fmt: skip
INPUTS = {
    "pretrain": ["data"], "find_anchors": ["pretrain"], "simulate_utterances": ["data"],
    "embed": ["simulate_utterances"], "fit_em": ["find_anchors", "embed"], "unpack": [],
}  # fmt: skip
