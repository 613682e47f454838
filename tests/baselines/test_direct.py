"""The baselines without intents read what they should."""

import torch

from latentcrs_utils.baselines.direct import fit_fusion, fit_text_alone
from latentcrs_utils.config import DirectConfig
from latentcrs_utils.em.instances import instances_of, rows_of
from latentcrs_utils.ranking import rank_of_target, recall


def test_text_alone_reads_no_history_and_fusion_reads_both(small_world, empty_cache):
    data, encoder, _, language = small_world
    config = DirectConfig(learning_rate=1e-2, dropout=0.1, n_epochs=15)
    text, fusion = (
        fit(data, encoder, language, config=config, progress=False)
        for fit in (fit_text_alone, fit_fusion)
    )
    x, S = language.x[:5], torch.randn(5, 8)
    torch.testing.assert_close(text.scores(S, x), text.scores(-S, x))
    assert not torch.allclose(fusion.scores(S, x)[:, 1:], fusion.scores(-S, x)[:, 1:])
    assert not torch.allclose(fusion.scores(S, x)[:, 1:], fusion.scores(S, -x)[:, 1:])
    asked = instances_of(data, encoder, language, rows_of(language, "test"))
    ranks = rank_of_target(text.scores(asked.S, asked.x), asked.targets, asked.histories)
    assert recall(ranks, 5).mean() > 0.5
