"""The command line of the pretraining: settings are hyper-parameters, or one clear sentence."""

from __future__ import annotations

import pytest

from experiments import pretrain as command


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("los=ce", "with one of the names hidden"),
        ("loss", "NAME=VALUE"),
        ("hidden=wide", "hidden is a int"),
        ("loss=softmax", "is not one of ce"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(
    change: str, complaint: str, capsys: pytest.CaptureFixture
) -> None:
    assert command.main(["--data", "synthetic", "--set", change]) == 2
    assert complaint in capsys.readouterr().err


def test_settings_become_hyper_parameters() -> None:
    config = command.changed(
        command.BackboneConfig(),
        ["loss=sampled", "dropout=0", "n_negatives=7", "precision=bfloat16"],
    )
    assert (config.loss, config.dropout, config.n_negatives) == ("sampled", 0, 7)
    assert config.precision == "bfloat16"
