"""Answers to the exercises of notebook 11 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # the padding column is forgotten
        "def rows_that_fit(memory, n_items, n_copies):\n"
        "    return max(1, memory // (4 * n_copies * n_items))\n",
        # one copy
        "def rows_that_fit(memory, n_items, n_copies):\n"
        "    return max(1, memory // (4 * (n_items + 1)))\n",
        # no row at all where memory is short: an endless loop
        "def rows_that_fit(memory, n_items, n_copies):\n"
        "    return memory // (4 * n_copies * (n_items + 1))\n",
        # rounded up: more than fits
        "def rows_that_fit(memory, n_items, n_copies):\n"
        "    return -(-memory // (4 * n_copies * (n_items + 1)))\n",
    ],
    2: [
        # how many were drawn is forgotten
        "def corrected(logits, share):\n    return logits - share.log()\n",
        # the other way round: popular items would count twice
        "def corrected(logits, share):\n    return logits + (len(logits) * share).log()\n",
        # the correction belongs into the exponential, not before the logarithm
        "def corrected(logits, share):\n    return logits / (len(logits) * share)\n",
    ],
    3: [
        # the share alone: the average divides by P once more
        "def loss_factor(counts):\n    return counts / counts.sum()\n",
        # the wrong way round: small parts would count most
        "def loss_factor(counts):\n    return counts.mean() / counts\n",
        "def loss_factor(counts):\n    return torch.ones_like(counts)\n",
    ],
    4: [
        # the serial part is divided too
        "def processes_needed(serial, parallel, limit):\n"
        "    return math.ceil((serial + parallel) / limit) if limit > serial else 0\n",
        # rounded down: too late
        "def processes_needed(serial, parallel, limit):\n"
        "    return max(1, int(parallel / (limit - serial))) if limit > serial else 0\n",
        # no number of processes makes the serial part shorter
        "def processes_needed(serial, parallel, limit):\n"
        "    return math.ceil(parallel / abs(limit - serial))\n",
    ],
    5: [
        # right only for one probe
        "def best_n_lists(n_items, n_probes):\n    return n_items ** 0.5\n",
        "def best_n_lists(n_items, n_probes):\n    return n_probes * n_items ** 0.5\n",
        # fewer products in the lists with every further list, but the centroids cost too
        "def best_n_lists(n_items, n_probes):\n    return n_items / n_probes\n",
    ],
}
