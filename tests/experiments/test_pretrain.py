"""The command line of the pretraining: settings are hyper-parameters, or one clear sentence."""

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
def test_a_wrong_setting_is_one_clear_sentence(change, complaint, capsys) -> None:
    assert command.main(["--data", "synthetic", "--set", change]) == 2
    assert complaint in capsys.readouterr().err


def test_settings_become_hyper_parameters() -> None:
    changes = ["loss=sampled", "dropout=0", "n_negatives=7"]
    config = command.changed(command.BackboneConfig(), changes)
    assert (config.loss, config.dropout, config.n_negatives) == ("sampled", 0, 7)
