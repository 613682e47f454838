"""Answers to the exercises of notebook 05 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # the prior counts twice
        "def after_two_films(prior, first, second):\n"
        "    one, two = prior * first, prior * second\n"
        "    joint = one / one.sum() * two / two.sum()\n"
        "    return joint / joint.sum()\n",
        # the mean of two posteriors is not the posterior after both
        "def after_two_films(prior, first, second):\n"
        "    one, two = prior * first, prior * second\n"
        "    return (one / one.sum() + two / two.sum()) / 2\n",
        # not normalised
        "def after_two_films(prior, first, second):\n    return prior * first * second\n",
    ],
    2: [
        # what the official code does
        "def softmax_input(prior, evidence):\n    return prior * evidence\n",
        "def softmax_input(prior, evidence):\n    return evidence.log() * prior\n",
        "def softmax_input(prior, evidence):\n"
        "    joint = prior * evidence\n"
        "    return joint / joint.sum()\n",
    ],
    3: [
        # the two sides exchanged
        "def gap(q, prior, evidence):\n"
        "    exact = losses.exact_posterior(prior.log()[None], evidence.log()[None])\n"
        "    return losses.kl(exact, q.log()[None]).item()\n",
        # against the prior
        "def gap(q, prior, evidence):\n"
        "    return losses.kl(q.log()[None], prior.log()[None]).item()\n",
        # Equation 11: the other side is not normalised, so this is minus the ELBO
        "def gap(q, prior, evidence):\n"
        "    return (q * (q / (prior * evidence)).log()).sum().item()\n",
    ],
    4: [
        # every history counts the same, however many choices it made
        "def best_table(q, choices):\n"
        "    counts = q.T @ (choices / choices.sum(1, keepdim=True))\n"
        "    return counts / counts.sum(1, keepdim=True)\n",
        # columns sum to one: p(m | v) in place of p(v | m)
        "def best_table(q, choices):\n"
        "    counts = q.T @ choices\n"
        "    return counts / counts.sum(0, keepdim=True)\n",
        "def best_table(q, choices):\n    return torch.softmax(q.T @ choices, dim=1)\n",
    ],
    5: [
        # smallest for KL(posterior || q), the other direction
        "def best_q(posteriors, times):\n    return (times / times.sum()) @ posteriors\n",
        # all evenings alike
        "def best_q(posteriors, times):\n    return torch.softmax(posteriors.log().mean(0), 0)\n",
        # sums in place of means: too sharp
        "def best_q(posteriors, times):\n    return torch.softmax(times @ posteriors.log(), 0)\n",
    ],
}
