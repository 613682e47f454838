"""The stages of the course over a small world, one after another."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import latentcrs_utils as lc
from latentcrs_utils import config
from latentcrs_utils.data.loading import prepare
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.support.assets import fetch
from tests.support.resume_jobs import without_seconds

STAGES = ("pretrain", "find_anchors", "simulate_utterances", "embed", "fit_em", "unpack")
SIZES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WORLD, BACKBONE, ANCHORS, SIMULATOR, EM = (getattr(config, n)(**s) for n, s in SIZES.items())


def course(language_model: Path, asset: Any = None) -> Iterator[tuple[Any, dict, Any]]:
    """Yield the data, then of each stage the result, its tensors, and the rest but for times."""
    data = prepare("synthetic", synthetic_world(WORLD).source, config.DataConfig())
    yield data, {}, None
    backbone = lc.pretrain(data, BACKBONE)
    yield backbone, backbone.encoder.state_dict(), without_seconds(backbone.curve)
    anchors = lc.find_anchors(backbone, data, config=ANCHORS)
    yield anchors, {"centroids": anchors.centroids, "of": anchors.assignments}, anchors.names
    utterances = lc.simulate_utterances(data, config=SIMULATOR)
    yield utterances, {}, utterances.frame.write_json()
    language = lc.embed(utterances, embedder=Embedder(language_model, dtype="float32"))
    yield language, {"x": language.x, "mean": language.mean, "scale": language.scale}, None
    model = lc.fit_em(data, backbone, anchors, language, EM)
    networks = torch.nn.ModuleList([model.generative, model.inference])
    yield model, networks.state_dict(), without_seconds(model.curve)
    files = fetch(asset)
    yield files, {}, {name: file.read_bytes() for name, file in files.items()}
