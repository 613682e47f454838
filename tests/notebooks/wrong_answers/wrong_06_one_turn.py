"""Answers to the exercises of notebook 06 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # the gain of the mean place: log2 is curved, so that is another number
        "def shared_ties(scores, target, k):\n"
        "    above = sum(score > scores[target] for score in scores)\n"
        "    equal = sum(score == scores[target] for score in scores)\n"
        "    rank = above + (equal + 1) / 2\n"
        "    return 1 / log2(1 + rank) if rank <= k else 0.0\n",
        # ties against the target
        "def shared_ties(scores, target, k):\n"
        "    rank = sum(score >= scores[target] for score in scores)\n"
        "    return 1 / log2(1 + rank) if rank <= k else 0.0\n",
        # ties for the target
        "def shared_ties(scores, target, k):\n"
        "    rank = 1 + sum(score > scores[target] for score in scores)\n"
        "    return 1 / log2(1 + rank) if rank <= k else 0.0\n",
        # the cut-off is forgotten
        "def shared_ties(scores, target, k):\n"
        "    above = sum(score > scores[target] for score in scores)\n"
        "    equal = sum(score == scores[target] for score in scores)\n"
        "    return sum(1 / log2(2 + above + i) for i in range(equal)) / equal\n",
    ],
    2: [
        # films below the target make no room
        "def rank_after_masking(rank, seen_ranks):\n    return rank - len(set(seen_ranks))\n",
        # a film watched twice counts twice
        "def rank_after_masking(rank, seen_ranks):\n"
        "    return rank - sum(other < rank for other in seen_ranks)\n",
        # the target makes room for itself
        "def rank_after_masking(rank, seen_ranks):\n"
        "    return rank - len({other for other in seen_ranks if other <= rank})\n",
    ],
    3: [
        # every row an independent user
        "def standard_error(ours, theirs, users):\n"
        "    gap = ours - theirs\n"
        "    return gap.std(ddof=1) / len(gap) ** 0.5\n",
        # as if the two systems had met different users
        "def standard_error(ours, theirs, users):\n"
        "    n = len(np.unique(users))\n"
        "    a = np.array([ours[users == u].mean() for u in np.unique(users)])\n"
        "    b = np.array([theirs[users == u].mean() for u in np.unique(users)])\n"
        "    return ((a.var(ddof=1) + b.var(ddof=1)) / n) ** 0.5\n",
        # the spread of users, not of their mean
        "def standard_error(ours, theirs, users):\n"
        "    gap = ours - theirs\n"
        "    return np.array([gap[users == u].mean() for u in np.unique(users)]).std(ddof=1)\n",
    ],
    4: [
        # place 20 adds least: that gives the largest Recall@20
        "def least_recall(recall_5, ndcg_5, ndcg_20):\n"
        "    return recall_5 + (ndcg_20 - ndcg_5) * log2(21)\n",
        # the late users alone
        "def least_recall(recall_5, ndcg_5, ndcg_20):\n    return (ndcg_20 - ndcg_5) * log2(7)\n",
        # place 6 read as log2(6)
        "def least_recall(recall_5, ndcg_5, ndcg_20):\n"
        "    return recall_5 + (ndcg_20 - ndcg_5) * log2(6)\n",
    ],
    5: [
        # the spread among the hits alone is zero here
        "def least_half_width(recall, ndcg, n):\n    return 0.0\n",
        # the widest: every gain 0 or 1
        "def least_half_width(recall, ndcg, n):\n"
        "    return 1.96 * (ndcg * (1 - ndcg) / n) ** 0.5\n",
        # as if it were a Recall
        "def least_half_width(recall, ndcg, n):\n"
        "    return 1.96 * (recall * (1 - recall) / n) ** 0.5\n",
        # one standard error
        "def least_half_width(recall, ndcg, n):\n"
        "    return ((ndcg**2 / recall - ndcg**2) / n) ** 0.5\n",
    ],
}
