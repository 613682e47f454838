"""Answers to the exercises of notebook 07 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # each message meets the belief before the dialogue: nothing is remembered
        "def beliefs(prior, likelihoods):\n"
        "    rows = [prior * l / (prior * l).sum() for l in likelihoods]\n"
        "    return np.array([prior, *rows])\n",
        # the products are never normalised
        "def beliefs(prior, likelihoods):\n"
        "    rows = [prior]\n"
        "    for l in likelihoods:\n"
        "        rows.append(rows[-1] * l)\n"
        "    return np.array(rows)\n",
        # the belief before the first message is left out
        "def beliefs(prior, likelihoods):\n"
        "    rows = [prior]\n"
        "    for l in likelihoods:\n"
        "        rows.append(rows[-1] * l / (rows[-1] * l).sum())\n"
        "    return np.array(rows[1:])\n",
        # the prior speaks again at every turn
        "def beliefs(prior, likelihoods):\n"
        "    rows = [prior]\n"
        "    for l in likelihoods:\n"
        "        weight = prior * rows[-1] * l\n"
        "        rows.append(weight / weight.sum())\n"
        "    return np.array(rows)\n",
    ],
    2: [
        # what is lost without a player: the shares need not add up
        "def shares(worth):\n"
        "    everyone = max(worth, key=len)\n"
        "    return {p: worth[everyone] - worth[everyone - {p}] for p in everyone}\n",
        # what a player is worth alone
        "def shares(worth):\n"
        "    everyone = max(worth, key=len)\n"
        "    return {p: worth[frozenset({p})] - worth[frozenset()] for p in everyone}\n",
        # every coalition counts the same (Banzhaf's index)
        "def shares(worth):\n"
        "    everyone = max(worth, key=len)\n"
        "    found = {}\n"
        "    for p in everyone:\n"
        "        gains = [worth[c | {p}] - worth[c] for c in worth if p not in c]\n"
        "        found[p] = sum(gains) / len(gains)\n"
        "    return found\n",
        # the weight of a coalition with the newcomer already in it
        "def shares(worth):\n"
        "    everyone = max(worth, key=len)\n"
        "    n, found = len(everyone), dict.fromkeys(everyone, 0.0)\n"
        "    for p in everyone:\n"
        "        for c in worth:\n"
        "            if p in c:\n"
        "                weight = factorial(len(c)) * factorial(n - len(c)) / factorial(n)\n"
        "                found[p] += weight * (worth[c] - worth[c - {p}])\n"
        "    return found\n",
    ],
    3: [
        # wishes add up, and contradict each other
        "def then(asked, refused, asked_now, refused_now):\n"
        "    return asked | asked_now, refused | refused_now\n",
        # only the last message counts
        "def then(asked, refused, asked_now, refused_now):\n    return asked_now, refused_now\n",
        # a refusal can never be taken back
        "def then(asked, refused, asked_now, refused_now):\n"
        "    refused = refused | refused_now\n"
        "    return (asked | asked_now) - refused, refused\n",
        # the earlier wish prevails
        "def then(asked, refused, asked_now, refused_now):\n"
        "    return asked | asked_now - refused, refused | refused_now - asked\n",
    ],
    4: [
        # what is missing stays missing
        "def order_of(numbers, n):\n"
        "    named = [x - 1 for x in numbers if type(x) is int and 1 <= x <= n]\n"
        "    return list(dict.fromkeys(named))\n",
        # doubles count twice
        "def order_of(numbers, n):\n"
        "    named = [x - 1 for x in numbers if type(x) is int and 1 <= x <= n]\n"
        "    return named + [i for i in range(n) if i not in named]\n",
        # whatever cannot be used makes the model's whole order void
        "def order_of(numbers, n):\n"
        "    named = [x - 1 for x in numbers if type(x) is int]\n"
        "    return named if sorted(named) == list(range(n)) else list(range(n))\n",
        # sorted numbers are no order
        "def order_of(numbers, n):\n"
        "    named = {x - 1 for x in numbers if type(x) is int and 1 <= x <= n}\n"
        "    return sorted(named) + [i for i in range(n) if i not in named]\n",
    ],
    5: [
        # the mean over utterances, those that can be divided
        "def precision_recall(found, true):\n"
        "    p = [len(f & t) / len(f) for f, t in zip(found, true) if f]\n"
        "    r = [len(f & t) / len(t) for f, t in zip(found, true) if t]\n"
        "    return sum(p) / len(p), sum(r) / len(r)\n",
        # what is found where nothing was asked goes unpunished
        "def precision_recall(found, true):\n"
        "    pairs = [(f, t) for f, t in zip(found, true) if t]\n"
        "    hits = sum(len(f & t) for f, t in pairs)\n"
        "    return (hits / sum(len(f) for f, _ in pairs), hits / sum(len(t) for _, t in pairs))\n",
        # the two are swapped
        "def precision_recall(found, true):\n"
        "    hits = sum(len(f & t) for f, t in zip(found, true))\n"
        "    return hits / sum(map(len, true)), hits / sum(map(len, found))\n",
        # pooled, so that a condition found in the wrong utterance counts
        "def precision_recall(found, true):\n"
        "    f, t = set().union(*found), set().union(*true)\n"
        "    return len(f & t) / len(f), len(f & t) / len(t)\n",
    ],
}
