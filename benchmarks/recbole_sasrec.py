"""Runs in RecBole's own virtual environment: trains its SASRec for some batches, prints JSON.

``python recbole_sasrec.py SETTINGS.json``: `against_recbole.run_recbole` writes the settings.
Nothing of the course is imported here, and RecBole's own trainer does the steps.
"""

from __future__ import annotations

import itertools
import json
import logging
import statistics
import sys
import time
from pathlib import Path


class FirstBatches:
    """A data loader that stops early; everything else is the loader's own."""

    def __init__(self, loader, n_batches):
        self.loader, self.n_batches = loader, n_batches

    def __iter__(self):
        return itertools.islice(self.loader, self.n_batches)

    def __getattr__(self, name):
        return getattr(self.loader, name)


def measure(settings, batch_size):
    """Train for some batches of one size; the seconds of a batch, and the size of an epoch."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.sequential_recommender import SASRec
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    split = {"LS": "valid_and_test"}
    own = {
        "data_path": settings["folder"],
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": settings["max_length"],
        "n_layers": settings["n_layers"],
        "n_heads": settings["n_heads"],
        "hidden_size": settings["hidden"],
        "inner_size": 4 * settings["hidden"],
        "hidden_dropout_prob": settings["dropout"],
        "attn_dropout_prob": settings["dropout"],
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": batch_size,
        "eval_args": {"split": split, "order": "TO", "group_by": "user", "mode": "full"},
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "checkpoint_dir": settings["folder"],
    }
    config = Config(model="SASRec", dataset="course", config_dict=own)
    init_seed(config["seed"], config["reproducibility"])
    train_data, *_ = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, SASRec(config, train_data.dataset).to(config["device"]))
    n_batches = min(settings["n_batches"][str(batch_size)], len(train_data))
    now = time.process_time if settings["threads"] == 1 else time.perf_counter
    trainer._train_epoch(FirstBatches(train_data, 1), 0)
    seconds = []
    for repeat in range(settings["repeats"]):
        started = now()
        trainer._train_epoch(FirstBatches(train_data, n_batches), repeat)
        seconds.append((now() - started) / n_batches)
    return {
        "batch_size": batch_size,
        "timed_batches": n_batches,
        "seconds_per_batch": statistics.median(seconds),
        "batches_per_epoch": len(train_data),
        "samples_per_epoch": len(train_data.dataset),
    }


def main():
    """Measure every batch size of the settings."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # RecBole reads the command line too, and knows none of this
    sys.argv = sys.argv[:1]
    import torch

    logging.disable(logging.CRITICAL)
    torch.set_num_threads(settings["threads"])
    runs = [measure(settings, int(size)) for size in settings["n_batches"]]
    Path(settings["output"]).write_text(json.dumps({"runs": runs}), encoding="utf-8")


if __name__ == "__main__":
    main()
