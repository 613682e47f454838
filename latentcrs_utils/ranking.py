"""Ranking over the whole catalogue, one relevant item per instance; early stopping ranks, too.

Three ways in, one way to count: a table of scores (`rank_of_target`), a function that scores some
rows at a time (`ranks_in_chunks`), or two factors whose product are the scores (`rank_by_factors`).
Scores are made, compared and forgotten while they are in the processor's cache.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.data.sequences import Sequences

MEMORY = 64 * 2**20  # bytes of scores (float32) that are held at once, if the caller names none
# a block of scores that stays in a core's cache, and the rows that make a product efficient
_CACHE = 2 * 2**20
_ROWS = 256


def recall(ranks: Tensor, k: int) -> Tensor:
    """Recall@k of each instance, [B] float64: 1 if the target is among the first k (= HIT@k)."""
    return (ranks <= k).double()


def ndcg(ranks: Tensor, k: int) -> Tensor:
    """NDCG@k of each instance, [B] float64: 1 / log2(1 + rank) within the first k, else 0."""
    return recall(ranks, k) / torch.log2(1.0 + ranks.double())


def mask_items(scores: Tensor, items: Iterable[int]) -> Tensor:
    """A copy of scores [V + 1] in which the padding and `items` are -inf: never recommended."""
    scores = scores.clone()
    scores[[0, *items]] = -torch.inf
    return scores


def rank_of_target(
    scores: Tensor, targets: Tensor | np.ndarray, seen: Sequences | None = None
) -> Tensor:
    """Rank each row's target among all items, [B] int64 on the CPU; 1 is best.

    Scores are [B, V+1], column v those of item v, higher is better, -inf is allowed; targets are
    [B] items 1..V. The padding column 0 never competes. Items in `seen`, the history of each row
    (None: "unmasked"), do not compete either, except the target itself. Ties are counted against
    the target: who scores all items alike ranks it last. ValueError: the sizes do not agree, a
    target is not an item, or a score is not a number.
    """
    targets = torch.as_tensor(targets, dtype=torch.int64)
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        sizes = f"Scores {tuple(scores.shape)} and targets {tuple(targets.shape)}"
        raise ValueError(f"{sizes} do not fit: expected [B, V+1] and [B].")
    return ranks_in_chunks(lambda rows: scores[rows], targets, seen, n_items=scores.shape[1] - 1)


def ranks_in_chunks(
    score_rows: Callable[[slice], Tensor], targets: Tensor | np.ndarray,
    seen: Sequences | None = None, *, n_items: int, memory: int = MEMORY,
) -> Tensor:  # fmt: skip
    """Rank as `rank_of_target`, of scores that are never all there at once.

    `score_rows` gives the scores [b, V+1] of a slice of the B rows; `memory` bounds their bytes.
    """
    targets = torch.as_tensor(targets, dtype=torch.int64)
    _check_ranking(targets, seen, n_items)
    ranks = torch.zeros(len(targets), dtype=torch.int64)
    beaten: Tensor | None = None
    for rows in _slices(len(targets), rows_at_once(n_items, memory)):
        scores, n_rows = score_rows(rows), rows.stop - rows.start
        if scores.shape != (expected := (n_rows, n_items + 1)):
            came = f"Rows {rows.start} to {rows.stop - 1} came with scores {tuple(scores.shape)}"
            raise ValueError(f"{came}: expected {expected}.")
        if beaten is None or len(beaten) < n_rows:
            beaten = torch.empty(scores.shape, dtype=torch.float32, device=scores.device)
        _refuse_nan(scores, rows, first=1)
        target = targets[rows, None].to(scores.device)
        # 1 where an item is at least as good as the target; sums of ones are exact in float32
        found = torch.ge(scores, scores.gather(1, target), out=beaten[:n_rows])
        found[:, 0] = 0.0
        if seen is not None:
            cells = torch.from_numpy(_seen_cells(seen, rows, n_items)).to(scores.device)
            found.view(-1).index_fill_(0, cells, 0.0)
        ranks[rows] = found.scatter_(1, target, 1.0).sum(1).long().cpu()
    return ranks


def rank_by_factors(
    users: Tensor, items: Tensor, targets: Tensor | np.ndarray, seen: Sequences | None = None
) -> Tensor:
    """Rank as `rank_of_target` of the scores users [B, w] @ items.T [w, V+1], in blocks of both."""
    targets = torch.as_tensor(targets, dtype=torch.int64)
    users, items, n_items = users.detach(), items.detach(), len(items) - 1
    if users.shape[:1] != targets.shape:
        raise ValueError(f"{len(users)} users came with {len(targets)} targets.")
    if _CACHE // (4 * len(items)) >= _ROWS // 2 or users.device.type != "cpu":
        # one piece of memory for the scores of all blocks: a new one each time costs page faults
        block = users.new_empty(min(len(users), rows_at_once(n_items)), len(items))

        def score_rows(rows: slice) -> Tensor:
            return torch.mm(users[rows], items.T, out=block[: rows.stop - rows.start])

        return ranks_in_chunks(score_rows, targets, seen, n_items=n_items)
    _check_ranking(targets, seen, n_items)
    ranks = torch.zeros(len(targets), dtype=torch.int64)
    for rows in _slices(len(targets), _ROWS):
        found = _rank_in_tiles(users, items, targets, seen, rows)
        if found is None:
            own = None if seen is None else seen.select(np.arange(rows.start, rows.stop))
            found = rank_of_target(users[rows] @ items.T, targets[rows], own)
        ranks[rows] = found
    return ranks


def rows_at_once(n_items: int, memory: int = MEMORY) -> int:
    """How many rows of scores are made at once: a block for the cache, or `memory` at most."""
    row = 4 * (n_items + 1)
    return max(1, min(memory // row, max(_ROWS, _CACHE // row)))


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _rank_in_tiles(
    users: Tensor, items: Tensor, targets: Tensor, seen: Sequences | None, rows: slice
) -> Tensor | None:
    """Ranks of some rows, tile by tile of the items; None if the product rounds unevenly.

    The target is scored apart, before the tiles: rounded otherwise, ties would be told wrongly.
    """
    some, target = users[rows], targets[rows]
    own = (some @ items[target].T).diagonal().contiguous()[:, None]
    width = max(1, _CACHE // (4 * _ROWS))
    scores, beaten = some.new_empty(len(some), width), torch.empty(len(some), width)
    cells = np.zeros(0, np.int64) if seen is None else _seen_cells(seen, rows, len(items) - 1)
    row_of, item_of = np.divmod(cells, len(items))
    order = np.argsort(item_of, kind="stable")
    row_of, item_of = row_of[order], item_of[order]
    total = torch.zeros(len(some))
    for columns in _slices(len(items), width):
        n = columns.stop - columns.start
        if n < width:
            scores, beaten = scores.new_empty(len(some), n), beaten.new_empty(len(some), n)
        torch.mm(some, items[columns].T, out=scores)
        _refuse_nan(scores, rows, first=int(columns.start == 0))
        torch.ge(scores, own, out=beaten)
        if columns.start == 0:
            beaten[:, 0] = 0.0
        first, last = np.searchsorted(item_of, (columns.start, columns.stop))
        beaten[row_of[first:last], item_of[first:last] - columns.start] = 0.0
        inside = ((target >= columns.start) & (target < columns.stop)).nonzero()[:, 0]
        place = target[inside] - columns.start
        if not torch.equal(scores[inside, place], own[inside, 0]):
            return None
        beaten[inside, place] = 1.0
        total += beaten.sum(1)
    return total.long()


def _refuse_nan(scores: Tensor, rows: slice, first: int) -> None:
    # a sum is NaN if a term is (or if infinities of both signs meet): then look closely
    if torch.isnan(scores.sum()) and torch.isnan(scores[:, first:]).any():
        raise ValueError(f"Scores of rows {rows.start} to {rows.stop - 1} hold NaN.")


def _check_ranking(targets: Tensor, seen: Sequences | None, n_items: int) -> None:
    if seen is not None and len(seen) != len(targets):
        raise ValueError(f"{len(targets)} rows of scores came with {len(seen)} seen histories.")
    if len(targets) and not (int(targets.min()) > 0 and int(targets.max()) <= n_items):
        raise ValueError(f"Targets must be items 1 to {n_items}.")


def _seen_cells(seen: Sequences, rows: slice, n_items: int) -> np.ndarray:
    """row * (V + 1) + item of the seen items of some rows, the first of them being row 0."""
    offsets = np.asarray(seen.offsets[rows.start : rows.stop + 1])
    row = np.repeat(np.arange(len(offsets) - 1) * (n_items + 1), np.diff(offsets))
    return row + seen.flat[offsets[0] : offsets[-1]]
