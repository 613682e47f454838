"""Answers to the exercises of notebook 08 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # the failures stay in
        "def turns_of_the_content(at, s5):\n    return at / s5\n",
        # the mean over all, not over the successes
        "def turns_of_the_content(at, s5):\n    return at - 5 * (1 - s5)\n",
        # as if a failure counted six
        "def turns_of_the_content(at, s5):\n    return (at - 6 * (1 - s5)) / s5\n",
    ],
    2: [
        # says again what was said
        "def reason_to_refuse(wanted, offered, told):\n"
        "    strange = [g for genres in offered for g in set(genres) - set(wanted)]\n"
        "    return min(strange, key=lambda g: (-strange.count(g), g)) if strange else ''\n",
        # refuses what the target is
        "def reason_to_refuse(wanted, offered, told):\n"
        "    new = [g for genres in offered for g in set(genres) - set(told)]\n"
        "    return min(new, key=lambda g: (-new.count(g), g)) if new else ''\n",
        # the first in the alphabet, however many films have it
        "def reason_to_refuse(wanted, offered, told):\n"
        "    return min(set().union(*offered) - set(wanted) - set(told), default='')\n",
    ],
    3: [
        # pieces of words
        "def gives_away(message, title):\n"
        "    words = title.lower().replace(\"'\", ' ').replace(',', ' ').split()\n"
        "    return any(w in message.lower() for w in words if len(w) >= 4)\n",
        # the commas stay
        "def gives_away(message, title):\n"
        "    said = set(message.lower().split())\n"
        "    return any(w in said for w in title.lower().split() if len(w) >= 4)\n",
        # capitals matter
        "def gives_away(message, title):\n"
        "    import re\n"
        "    said = set(re.findall('[A-Za-z0-9]+', message))\n"
        "    return any(w in said for w in re.findall('[A-Za-z0-9]+', title) if len(w) >= 4)\n",
        # the title as a whole
        "def gives_away(message, title):\n    return title.lower() in message.lower()\n",
        # short words, too
        "def gives_away(message, title):\n"
        "    import re\n"
        "    said, secret = (set(re.findall('[a-z0-9]+', t.lower())) for t in (message, title))\n"
        "    return bool(said & secret)\n",
    ],
    4: [
        # films may come twice
        "def by_luck(n_candidates, n_items, n_turns):\n"
        "    miss = 1 - n_items / n_candidates\n"
        "    return 1 - miss**n_turns, sum(miss**k for k in range(n_turns))\n",
        # more than certain
        "def by_luck(n_candidates, n_items, n_turns):\n"
        "    s = [k * n_items / n_candidates for k in range(1, n_turns + 1)]\n"
        "    return s[-1], 1 + sum(1 - x for x in s[:-1])\n",
        # a failure counts one turn more than there are
        "def by_luck(n_candidates, n_items, n_turns):\n"
        "    s = [min(1, k * n_items / n_candidates) for k in range(1, n_turns + 1)]\n"
        "    return s[-1], 1 + sum(1 - x for x in s)\n",
        # a failure counts nothing
        "def by_luck(n_candidates, n_items, n_turns):\n"
        "    s = [min(1, k * n_items / n_candidates) for k in range(n_turns + 1)]\n"
        "    return s[-1], sum(k * (s[k] - s[k - 1]) for k in range(1, n_turns + 1))\n",
    ],
    5: [
        # not divided by the successes
        "def content_bounds(s3, s5):\n"
        "    late = s5 - s3\n"
        "    return s3 + 4 * late, 3 * s3 + 5 * late\n",
        # the bounds of block 4, with the failures in
        "def content_bounds(s3, s5):\n    return 5 - 3 * s3 - s5, 5 - 2 * s3\n",
        # all of S@5 may be late
        "def content_bounds(s3, s5):\n    return (s3 + 4 * (s5 - s3)) / s5, 5.0\n",
    ],
}
