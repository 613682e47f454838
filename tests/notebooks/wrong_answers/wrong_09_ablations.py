"""Answers to the exercises of notebook 09 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # as if the two systems had been tried on different users
        "def standard_error(ours, theirs):\n"
        "    n = len(ours)\n"
        "    return np.sqrt(ours.var(ddof=1) / n + theirs.var(ddof=1) / n)\n",
        # the spread of one user's difference, not of the mean
        "def standard_error(ours, theirs):\n    return (ours - theirs).std(ddof=1)\n",
        # n in the denominator
        "def standard_error(ours, theirs):\n"
        "    return (ours - theirs).std() / np.sqrt(len(ours))\n",
    ],
    2: [
        # the bound, not the chance
        "def at_least_one(n, alpha):\n    return min(1, n * alpha)\n",
        # that none does
        "def at_least_one(n, alpha):\n    return (1 - alpha) ** n\n",
        # that all do
        "def at_least_one(n, alpha):\n    return alpha**n\n",
    ],
    3: [
        # Bonferroni: the same bar for all
        "def holm(p_values, alpha):\n    return [p <= alpha / len(p_values) for p in p_values]\n",
        # no correction
        "def holm(p_values, alpha):\n    return [p <= alpha for p in p_values]\n",
        # does not stop at the first failure
        "def holm(p_values, alpha):\n"
        "    order = np.argsort(p_values)\n"
        "    stands = [False] * len(p_values)\n"
        "    for place, index in enumerate(order):\n"
        "        stands[index] = p_values[index] <= alpha / (len(p_values) - place)\n"
        "    return stands\n",
        # in the order of size, not in the order given
        "def holm(p_values, alpha):\n"
        "    stands = []\n"
        "    for place, p in enumerate(sorted(p_values)):\n"
        "        stands.append(p <= alpha / (len(p_values) - place) and all(stands))\n"
        "    return stands\n",
    ],
    4: [
        # chooses on the test
        "def honest_choice(valid, test):\n    return max(test), max(test) - min(test)\n",
        # reports the validation value of its choice
        "def honest_choice(valid, test):\n    return max(valid), max(test) - max(valid)\n",
        # the variant that looks worst on validation
        "def honest_choice(valid, test):\n"
        "    honest = test[int(np.argmin(valid))]\n"
        "    return honest, max(test) - honest\n",
    ],
    5: [
        # the upper bound alone
        "def possible(recall, ndcg):\n    return ndcg <= recall\n",
        # log2 of 5 instead of 6: rank r counts 1 / log2(1 + r)
        "def possible(recall, ndcg):\n    return recall / np.log2(5) <= ndcg <= recall\n",
        # NDCG@5 below its possible least value is taken for possible, the other way round not
        "def possible(recall, ndcg):\n    return ndcg <= recall / np.log2(6)\n",
    ],
}
