"""The package's door: lazy names, their types, configuration, progress."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import latentcrs_utils as lc
from latentcrs_utils import config, errors
from latentcrs_utils.support import progress

ROOT = Path(__file__).resolve().parent.parent


def door() -> dict[str, str]:
    """Name -> module of every name that the door declares for type checkers."""
    tree = ast.parse((ROOT / "latentcrs_utils" / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"latentcrs_utils.{node.module}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }


def test_import_loads_nothing_heavy() -> None:
    heavy = "torch transformers sklearn polars numpy matplotlib openai jsonschema outlines_core"
    code = f"import sys, latentcrs_utils; print(set('{heavy}'.split()) & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_door_has_the_names_that_it_declares() -> None:
    assert sorted(door()) == lc.__all__
    assert set(lc.__all__) <= set(dir(lc))
    for name, module in door().items():
        assert getattr(lc, name) is getattr(importlib.import_module(module), name)
        assert getattr(lc, name).__name__ == name
    with pytest.raises(AttributeError, match=r"attribute.* load_data|attribute 'load_data'"):
        _ = lc.load_data
    assert (ROOT / "latentcrs_utils" / "py.typed").is_file()
    assert '"py.typed"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


# what each name of the README's first lines is, and two calls that are wrong
WRONG = 'lc.load_dataset(100)\nlc.Conversation(model, chat_model="remote")\n'
SEEN = {
    "data": "Dataset", "backbone": "Backbone", "anchors": "Anchors", "utterances": "Utterances",
    "language": "Language", "model": "LatentCRS", "chat.say('something funny')": "Turn",
}  # fmt: skip


def test_a_reader_s_program_is_checked(tmp_path: Path) -> None:
    """Mypy knows every type of the door, and refuses two wrong calls."""
    program, readme = tmp_path / "program.py", (ROOT / "README.md").read_text("utf-8")
    use = re.search(r"```python\n(import latentcrs_utils as lc\n.*?)```", readme, re.DOTALL)[1]
    program.write_text(use + WRONG + "".join(f"reveal_type({x})\n" for x in SEEN), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), str(program)]
    # an editable installation is found by Python's import system, not by mypy
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    revealed = re.findall(r'Revealed type is ".*\.(\w+)"', run.stdout)
    assert revealed == list(SEEN.values()), run.stdout
    assert re.findall(r": error: .*(\[.*\])", run.stdout) == ["[arg-type]"] * 2, run.stdout


def test_errors_can_be_caught_together_and_as_what_they_are() -> None:
    ours = errors.LatentCRSError
    for error in (e for e in vars(errors).values() if isinstance(e, type) and e is not ours):
        known = (
            OSError if issubclass(error, (errors.AssetError, errors.EndpointError)) else ValueError
        )
        assert issubclass(error, ours) and issubclass(error, known)


def test_preset_with_a_typo_names_what_exists() -> None:
    with pytest.raises(errors.ConfigError, match=r"Did you mean 'ml-100k'\? Known: ml-100k"):
        config.preset("ml100k")
    assert config.preset("ml-100k").name == "ml-100k"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: config.BackboneConfig(loss="softmax"), "loss='softmax' is not one of ce, bce"),
        (lambda: config.BackboneConfig(hidden=65), "no multiple of n_heads"),
        (lambda: config.BackboneConfig(dropout=1.0), "dropout"),
        (lambda: config.AnchorConfig(K=1), "K=1: at least 2"),
        (lambda: config.DataConfig(k_core=2), "at least 3"),
        (lambda: config.DataConfig(filter="kcore"), "is not one of k-core, official"),
        (lambda: config.EMConfig(n_negatives=0), "n_negatives=0: at least 1"),
        (lambda: config.TermWeights(content=float("nan")), "content=nan: at least 0"),
        (lambda: config.SyntheticConfig(noise=1.1), "noise=1.1 is not in"),
    ],
)
def test_senseless_hyper_parameters_are_refused(make, message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        make()


@pytest.mark.parametrize("shown", [True, False])
def test_progress_shows_or_hides_but_never_changes_the_items(
    shown: bool, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(progress.track(iter("abc"), "letters", total=3, progress=shown)) == list("abc")
    progress.note("a note", progress=shown)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert ("letters" in captured.err, "a note" in captured.err) == (shown, shown)
    # the environment decides where the caller does not
    monkeypatch.setenv("LATENTCRS_PROGRESS", str(int(shown)))
    assert progress.enabled() is shown and progress.enabled(not shown) is not shown
