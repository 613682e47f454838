"""Answers to the exercises of notebook 01 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # density
        "def sparsity_from_length(average_length, items):\n"
        "    return 100 * average_length / items\n",
        # a share, not percent
        "def sparsity_from_length(average_length, items):\n    return 1 - average_length / items\n",
        # percent and share mixed
        "def sparsity_from_length(average_length, items):\n"
        "    return 100 - average_length / items\n",
    ],
    2: [
        # only those who leave in the next pass
        "def left_too_early(pairs, k, n):\n"
        "    frame = pl.DataFrame(pairs, schema=['user', 'item'], orient='row')\n"
        "    _, passes = preprocess.k_core(frame, k)\n"
        "    n = min(n, len(passes) - 2)\n"
        "    return passes[n].users - passes[n + 1].users\n",
        # actions instead of users
        "def left_too_early(pairs, k, n):\n"
        "    frame = pl.DataFrame(pairs, schema=['user', 'item'], orient='row')\n"
        "    _, passes = preprocess.k_core(frame, k)\n"
        "    return passes[min(n, len(passes) - 1)].actions - passes[-1].actions\n",
        # one pass too many
        "def left_too_early(pairs, k, n):\n"
        "    frame = pl.DataFrame(pairs, schema=['user', 'item'], orient='row')\n"
        "    _, passes = preprocess.k_core(frame, k)\n"
        "    return passes[min(n + 1, len(passes) - 1)].users - passes[-1].users\n",
        # the cascade may end before pass n
        "def left_too_early(pairs, k, n):\n"
        "    frame = pl.DataFrame(pairs, schema=['user', 'item'], orient='row')\n"
        "    _, passes = preprocess.k_core(frame, k)\n"
        "    return passes[n].users - passes[-1].users\n",
    ],
    3: [
        # any tie
        "def undecided(times):\n    return sum(len(set(own)) < len(own) for own in times)\n",
        # the file is taken to be in order of time
        "def undecided(times):\n    return sum(own[-1] == own[-2] for own in times)\n",
        # tied rows instead of users
        "def undecided(times):\n    return sum(own.count(max(own)) - 1 for own in times)\n",
    ],
    4: [
        # targets are forgotten
        "def leaking_users(instances, held_out):\n"
        "    return {u for u, history, _ in instances if set(held_out[u]) & set(history)}\n",
        # histories are forgotten
        "def leaking_users(instances, held_out):\n"
        "    return {u for u, _, target in instances if target in held_out[u]}\n",
        # the validation item is forgotten
        "def leaking_users(instances, held_out):\n"
        "    return {u for u, h, t in instances if held_out[u][1] in {*h, t}}\n",
        # what others have taken is no leak
        "def leaking_users(instances, held_out):\n"
        "    hidden = {item for pair in held_out.values() for item in pair}\n"
        "    return {u for u, h, t in instances if hidden & {*h, t}}\n",
    ],
    5: [
        # the degree is only a bound
        "def core_numbers(pairs):\n    return dict(Counter(user for user, _ in pairs))\n",
        # the deepest core alone: users outside of it have numbers, too
        "def core_numbers(pairs):\n"
        "    frame = pl.DataFrame(pairs, schema=['user', 'item'], orient='row')\n"
        "    found, k = {}, 0\n"
        "    while len(frame):\n"
        "        k += 1\n"
        "        found = dict.fromkeys(frame['user'], k)\n"
        "        frame, _ = preprocess.k_core(frame, k + 1)\n"
        "    return found\n",
        # a single pass in place of the fixed point
        "def core_numbers(pairs):\n"
        "    found, k = {}, 0\n"
        "    while pairs:\n"
        "        k += 1\n"
        "        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)\n"
        "        pairs = [(u, i) for u, i in pairs if users[u] >= k and items[i] >= k]\n"
        "        found |= dict.fromkeys((u for u, _ in pairs), k)\n"
        "    return found\n",
    ],
}
