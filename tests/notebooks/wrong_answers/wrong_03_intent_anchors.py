"""Answers to the exercises of notebook 03 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # squared distances
        "def margin(S, centroids):\n"
        "    near = torch.cdist(S, centroids).square().topk(2, largest=False).values\n"
        "    return near[:, 1] - near[:, 0]\n",
        # the distance to the nearest alone
        "def margin(S, centroids):\n    return torch.cdist(S, centroids).min(dim=1).values\n",
        # the two farthest
        "def margin(S, centroids):\n"
        "    far = torch.cdist(S, centroids).topk(2).values\n"
        "    return far[:, 0] - far[:, 1]\n",
        # the wrong sign
        "def margin(S, centroids):\n"
        "    near = torch.cdist(S, centroids).topk(2, largest=False).values\n"
        "    return near[:, 0] - near[:, 1]\n",
    ],
    2: [
        # the mean of all points instead of the cluster's
        "def drop_of_an_update(S, assignments, centroids):\n"
        "    before = (S - centroids[assignments]).square().sum()\n"
        "    return before - (S - S.mean(0)).square().sum()\n",
        # a mean of squares instead of their sum
        "def drop_of_an_update(S, assignments, centroids):\n"
        "    new = centroids.clone()\n"
        "    for k in assignments.unique().tolist():\n"
        "        new[k] = S[assignments == k].mean(0)\n"
        "    return ((S - centroids[assignments]).square().mean()\n"
        "            - (S - new[assignments]).square().mean())\n",
        # distances that are not squared: the mean does not minimise their sum
        "def drop_of_an_update(S, assignments, centroids):\n"
        "    new = centroids.clone()\n"
        "    for k in assignments.unique().tolist():\n"
        "        new[k] = S[assignments == k].mean(0)\n"
        "    return ((S - centroids[assignments]).norm(dim=1).sum()\n"
        "            - (S - new[assignments]).norm(dim=1).sum())\n",
        # an empty cluster has no mean
        "def drop_of_an_update(S, assignments, centroids):\n"
        "    new = torch.stack([S[assignments == k].mean(0) for k in range(len(centroids))])\n"
        "    moved = (new - centroids).square().sum(1)\n"
        "    return (moved * torch.bincount(assignments, minlength=len(centroids))).sum()\n",
    ],
    3: [
        # no shrinkage: one user makes a taste
        "def shrunk_lift(holders, size, overall):\n    return holders / max(size, 1) / overall\n",
        # ten states that all hold the item
        "def shrunk_lift(holders, size, overall):\n"
        "    return (holders + 10) / (size + 10) / overall\n",
        # ten states of which none holds the item
        "def shrunk_lift(holders, size, overall):\n    return holders / (size + 10) / overall\n",
        # the share is drawn to the overall share, but not divided by it
        "def shrunk_lift(holders, size, overall):\n"
        "    return (holders + 10 * overall) / (size + 10)\n",
    ],
    4: [
        # the plain Rand index: no correction for chance
        "def agreement_of_table(table):\n"
        "    pairs = lambda n: (n * (n - 1) / 2).sum()\n"
        "    all_pairs, both = pairs(table.sum()), pairs(table)\n"
        "    one, other = pairs(table.sum(1)), pairs(table.sum(0))\n"
        "    return (all_pairs + 2 * both - one - other) / all_pairs\n",
        # squares instead of pairs
        "def agreement_of_table(table):\n"
        "    both = (table**2).sum()\n"
        "    one, other = (table.sum(1) ** 2).sum(), (table.sum(0) ** 2).sum()\n"
        "    chance = one * other / table.sum() ** 2\n"
        "    return (both - chance) / ((one + other) / 2 - chance)\n",
        # the share of points on the diagonal: numbers of clusters mean nothing
        "def agreement_of_table(table):\n    return np.trace(table) / table.sum()\n",
        # the largest agreement is taken to be all pairs
        "def agreement_of_table(table):\n"
        "    pairs = lambda n: (n * (n - 1) / 2).sum()\n"
        "    all_pairs, both = pairs(table.sum()), pairs(table)\n"
        "    chance = pairs(table.sum(1)) * pairs(table.sum(0)) / all_pairs\n"
        "    return (both - chance) / (all_pairs - chance)\n",
    ],
    5: [
        # the order of the clusters instead of their places in it
        "def canonical_labels(assignments, centroids):\n"
        "    order = sorted(range(len(centroids)),\n"
        "                   key=lambda k: (-assignments.count(k), centroids[k]))\n"
        "    return [order[k] for k in assignments]\n",
        # the smallest first
        "def canonical_labels(assignments, centroids):\n"
        "    order = sorted(range(len(centroids)),\n"
        "                   key=lambda k: (assignments.count(k), centroids[k]))\n"
        "    return [order.index(k) for k in assignments]\n",
        # ties stay as the labels happened to be
        "def canonical_labels(assignments, centroids):\n"
        "    order = sorted(range(len(centroids)), key=lambda k: -assignments.count(k))\n"
        "    return [order.index(k) for k in assignments]\n",
        # in the order of first appearance: another order of the users, other numbers
        "def canonical_labels(assignments, centroids):\n"
        "    order = list(dict.fromkeys(assignments))\n"
        "    return [order.index(k) for k in assignments]\n",
    ],
}
