"""The package's door: lazy names, configuration, progress."""

from __future__ import annotations

import subprocess
import sys

import pytest

import latentcrs_utils as lc
from latentcrs_utils import config, errors
from latentcrs_utils.support import progress


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, latentcrs_utils; "
        "heavy = {'torch', 'transformers', 'sklearn', 'polars', 'numpy', 'matplotlib', 'openai', "
        "'jsonschema', 'outlines_core'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", lc.__all__)
def test_every_exported_name_resolves(name: str) -> None:
    assert getattr(lc, name).__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"attribute.* load_data|attribute 'load_data'"):
        _ = lc.load_data


def test_dir_lists_what_is_offered() -> None:
    assert set(lc.__all__) <= set(dir(lc))


def test_errors_can_be_caught_together_and_as_what_they_are() -> None:
    assert issubclass(errors.AssetError, errors.LatentCRSError)
    assert issubclass(errors.AssetError, OSError)
    for error in (errors.DataError, errors.ConfigError, errors.MessageError):
        assert issubclass(error, errors.LatentCRSError)
        assert issubclass(error, ValueError)


def test_preset_with_a_typo_names_what_exists() -> None:
    with pytest.raises(errors.ConfigError, match=r"Did you mean 'ml-100k'\? Known: ml-100k"):
        config.preset("ml100k")
    assert config.preset("ml-100k").name == "ml-100k"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: config.BackboneConfig(loss="softmax"), "loss='softmax' is not one of ce, bce"),
        (lambda: config.BackboneConfig(contrast="hybrid"), "is not one of Hybrid"),
        (lambda: config.BackboneConfig(hidden=65), "no multiple of n_heads"),
        (lambda: config.BackboneConfig(dropout=1.0), "dropout"),
        (lambda: config.AnchorConfig(K=1), "K=1: at least 2"),
        (lambda: config.DataConfig(k_core=2), "at least 3"),
        (lambda: config.DataConfig(filter="kcore"), "is not one of k-core, official"),
        (lambda: config.EMConfig(n_negatives=0), "n_negatives=0: at least 1"),
        (lambda: config.SyntheticConfig(noise=1.1), "noise=1.1 is not in"),
    ],
)
def test_senseless_hyper_parameters_are_refused(make, message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        make()


@pytest.mark.parametrize("shown", [True, False])
def test_progress_shows_or_hides_but_never_changes_the_items(
    shown: bool, capfd: pytest.CaptureFixture
) -> None:
    assert list(progress.track(iter("abc"), "letters", total=3, progress=shown)) == list("abc")
    progress.note("a note", progress=shown)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert ("letters" in captured.err, "a note" in captured.err) == (shown, shown)


def test_the_environment_switches_progress_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTCRS_PROGRESS", "0")
    assert not progress.enabled()
    assert progress.enabled(True)
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    assert progress.enabled()
    assert not progress.enabled(False)
