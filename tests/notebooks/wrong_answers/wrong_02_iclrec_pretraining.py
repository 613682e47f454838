"""Answers to the exercises of notebook 02 that are nearly right, and what is wrong with them."""

WRONG = {
    1: [
        # no cut at k
        "def ndcg_of_rank(rank, k):\n    return 1 / torch.log2(torch.tensor(1.0 + rank)).item()\n",
        # the rank is counted from zero
        "def ndcg_of_rank(rank, k):\n"
        "    return 1 / torch.log2(torch.tensor(2.0 + rank)).item() if rank <= k else 0.0\n",
        # the cut is one too early
        "def ndcg_of_rank(rank, k):\n"
        "    return 1 / torch.log2(torch.tensor(1.0 + rank)).item() if rank < k else 0.0\n",
        # the reciprocal rank
        "def ndcg_of_rank(rank, k):\n    return 1 / rank if rank <= k else 0.0\n",
        # Recall@k
        "def ndcg_of_rank(rank, k):\n    return 1.0 if rank <= k else 0.0\n",
    ],
    2: [
        # padding can be seen
        "def may_look(items):\n    return torch.ones(len(items), len(items)).tril().bool()\n",
        # padding sees nothing at all, not even itself
        "def may_look(items):\n"
        "    return torch.ones(len(items), len(items)).tril().bool() & (items > 0)[None, :]\n",
        # a look ahead: rows and columns exchanged
        "def may_look(items):\n"
        "    causal = torch.ones(len(items), len(items)).triu().bool() & (items > 0)[None, :]\n"
        "    return causal | torch.eye(len(items)).bool()\n",
        # only the past, not the present
        "def may_look(items):\n"
        "    return torch.ones(len(items), len(items)).tril(-1).bool() & (items > 0)[None, :]\n",
    ],
    3: [
        # a short history loses everything
        "def crop_at(items, ratio, start):\n"
        "    return items[start : start + int(ratio * len(items))]\n",
        # the ratio is what goes, not what stays
        "def crop_at(items, ratio, start):\n"
        "    kept = max(1, int((1 - ratio) * len(items)))\n"
        "    return items[start : start + kept]\n",
        # rounded up
        "def crop_at(items, ratio, start):\n"
        "    return items[start : start + -int(-ratio * len(items) // 1)]\n",
        # start is an index, not a length
        "def crop_at(items, ratio, start):\n"
        "    return items[start : max(1, int(ratio * len(items)))]\n",
    ],
    4: [
        # the positive is missing below the line
        "def instance_loss(similarity, temperature):\n"
        "    logits = similarity / temperature\n"
        "    others = logits.masked_fill(torch.eye(len(logits)).bool(), -torch.inf)\n"
        "    return (others.logsumexp(1) - logits.diagonal()).mean().item()\n",
        # the temperature multiplies
        "def instance_loss(similarity, temperature):\n"
        "    logits = similarity * temperature\n"
        "    return -logits.log_softmax(1).diagonal().mean().item()\n",
        # the temperature divides the loss
        "def instance_loss(similarity, temperature):\n"
        "    return -similarity.log_softmax(1).diagonal().mean().item() / temperature\n",
        # columns instead of rows
        "def instance_loss(similarity, temperature):\n"
        "    logits = similarity / temperature\n"
        "    return -logits.log_softmax(0).diagonal().mean().item()\n",
        # a sum
        "def instance_loss(similarity, temperature):\n"
        "    logits = similarity / temperature\n"
        "    return -logits.log_softmax(1).diagonal().sum().item()\n",
    ],
    5: [
        # false negatives stay in
        "def intent_loss(similarity, assignments):\n"
        "    return -similarity.log_softmax(1).diagonal().mean().item()\n",
        # a similarity of 0 is not nothing: exp(0) is 1
        "def intent_loss(similarity, assignments):\n"
        "    same = assignments[:, None] == assignments[None, :]\n"
        "    rivals = similarity.masked_fill(same, 0.0)\n"
        "    logits = torch.cat([similarity.diagonal()[:, None], rivals], 1)\n"
        "    return -logits.log_softmax(1)[:, 0].mean().item()\n",
        # the positive is masked with the false negatives
        "def intent_loss(similarity, assignments):\n"
        "    same = assignments[:, None] == assignments[None, :]\n"
        "    rivals = similarity.masked_fill(same, -torch.inf)\n"
        "    return (rivals.logsumexp(1) - similarity.diagonal()).mean().item()\n",
        # only sequences of the same intent are kept
        "def intent_loss(similarity, assignments):\n"
        "    same = assignments[:, None] == assignments[None, :]\n"
        "    logits = similarity.masked_fill(~same, -torch.inf)\n"
        "    return -logits.log_softmax(1).diagonal().mean().item()\n",
    ],
}
