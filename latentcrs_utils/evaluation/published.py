"""The numbers that the paper prints (Tables 1 to 6), as data to compare with.

Utterances, users of the sample and language models are the paper's: a row says how far its authors
came with their simulator, not what the same system would reach with ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from latentcrs_utils.data.source import Statistics

METRICS = ("Recall@5", "NDCG@5", "Recall@20", "NDCG@20")
DATA_SETS = ("ml-1m", "amazon-video-games", "amazon-cds")

_TABLES = {
    2: """
CRM         | .1165 .0690 .3273 .1279 | .0024 .0014 .0090 .0032 | .0089 .0055 .0297 .0111
UNICORN     | .1215 .0734 .3086 .1274 | .1138 .0753 .2317 .1099 | .0839 .0518 .1911 .0833
CRIF        | .0784 .0489 .2363 .0926 | .0427 .0267 .1058 .0443 | .0157 .0100 .0442 .0180
LatentCRS_B | .1437 .0921 .3305 .1449 | .1378 .0964 .2598 .1310 | .0485 .0326 .1083 .0494
""",
    3: """
Llama 3.1-8B   | .054 .0396 .092 .0507 | .020 .0143 .034 .0182 | .012 .0074 .016 .0085
Gemini 1.5 pro | .068 .0414 .096 .0604 | .034 .0216 .062 .0409 | .018 .0136 .088 .0433
GPT4           | .064 .0421 .102 .0622 | .032 .0204 .058 .0400 | .028 .0204 .104 .0476
Chat-Rec       | .086 .0546 .150 .0950 | .038 .0268 .080 .0630 | .016 .0111 .108 .0787
InteRecAgent   | .006 .0043 .022 .0087 | .014 .0086 .024 .0118 | .018 .0129 .030 .0163
LatentCRS_B    | .142 .0879 .340 .1426 | .140 .1008 .250 .1326 | .040 .0270 .106 .0454
LatentCRS_F    | .180 .1209 .318 .1604 | .146 .1072 .230 .1347 | .058 .0375 .126 .0573
LatentCRS_V    | .160 .1139 .320 .1582 | .180 .1386 .246 .1592 | .048 .0302 .108 .0489
""",
    5: """
LatentCRS_B         | .1468 .0918 .3333 .1446 | .1378 .0964 .2598 .1310 | .0485 .0326 .1083 .0494
w/o Inference Model | .0232 .0147 .0678 .0271 | .0309 .0204 .0595 .0283 | .0240 .0150 .0667 .0269
direct KL Align     | .0847 .0518 .2256 .0911 | .0728 .0472 .1740 .0756 | .0258 .0165 .0689 .0285
w/o Recloss         | .0698 .0755 .2073 .0805 | .1006 .0700 .2092 .1098 | .0241 .0132 .0650 .0264
""",
}  # fmt: skip


@dataclass(frozen=True)
class PrintedColumn:
    """One column of the paper's Table 1: its heading, counts, and derived numbers as printed."""

    title: str
    counts: Statistics
    average_length: float
    sparsity_percent: float


PAPER_TABLE_1: dict[str, PrintedColumn] = {
    "ml-1m": PrintedColumn("Movielens-1M", Statistics(6_034, 3_522, 575_272), 95.34, 97.30),
    "amazon-video-games": PrintedColumn(
        "Video Games", Statistics(15_582, 7_233, 122_179), 7.84, 99.89
    ),
    "amazon-cds": PrintedColumn(
        "CDs and Vinyl", Statistics(104_544, 76_616, 1_259_069), 12.04, 99.98
    ),
}


@dataclass(frozen=True)
class Printed:
    """One system on one data set, as printed.

    Attributes:
        table: number of the paper's table.
        data: name of the data set in this course; Table 3 is a sample of 500 test users of it.
        system: the paper's name of the system.
        metrics: metric -> printed value.
        half_units: metric -> half a unit of the last printed digit; the true value is this near.
    """

    table: int
    data: str
    system: str
    metrics: dict[str, float]
    half_units: dict[str, float]


def _cells(text: str) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield (data set, system) and the cells of a table."""
    for line in text.strip().splitlines():
        system, *blocks = line.split("|")
        for data, block in zip(DATA_SETS, blocks, strict=True):
            yield (data, system.strip()), block.split()


def _rows() -> Iterator[Printed]:
    for table, text in _TABLES.items():
        for (data, system), cells in _cells(text):
            printed = dict(zip(METRICS, cells, strict=True))
            yield Printed(
                table,
                data,
                system,
                {metric: float(value) for metric, value in printed.items()},
                {m: 0.5 * 10.0 ** -len(v.partition(".")[2]) for m, v in printed.items()},
            )


ROWS: tuple[Printed, ...] = tuple(_rows())


def printed(table: int, data: str, system: str) -> Printed:
    """Return one row of a table.

    Raises:
        KeyError: the table has no such row; the message lists what there is.
    """
    for row in ROWS:
        if (row.table, row.data, row.system) == (table, data, system):
            return row
    there = sorted({f"Table {row.table}, {row.data}, {row.system}" for row in ROWS})
    raise KeyError(f"No Table {table}, {data}, {system}. There is: {'; '.join(there)}.")


_TABLE_4 = """
CRM            | .413 - - | .013 - - | .042 - -
UNICORN        | .248 .378 4.174 | .184 .260 4.362 | .174 .232 4.406
CRIF           | .266 .448 4.064 | .126 .216 4.578 | .130 .208 4.610
Llama 3.1-8B   | .188 .540 3.624 | .208 .276 4.668 | .00 .258 4.832
Gemini 1.5 pro | .224 .580 3.484 | .248 .384 4.108 | .170 .498 4.412
GPT4           | .246 .602 3.472 | .236 .398 4.246 | .184 .548 4.254
Chat-Rec       | .212 .686 3.618 | .224 .724 3.760 | .146 .558 4.202
InteRecAgent   | .070 .230 4.754 | .156 .292 4.492 | .102 .230 4.754
LatentCRS_B    | .388 .482 3.760 | .264 .336 4.078 | .100 .142 4.642
LatentCRS_F    | .472 .562 3.424 | .286 .356 4.042 | .190 .258 4.236
LatentCRS_V    | .532 .650 3.298 | .378 .426 3.706 | .182 .220 4.422
"""
_TABLE_6 = """
Llama 3.1-8B   | 119.51 148.20 | 127.20 199.83 | 124.26 211.57
Gemini 1.5 pro | 120.49 140.56 | 112.43 188.75 | 126.89 223.91
GPT4           | 118.95 152.81 | 106.85 181.36 | 129.88 235.46
LatentCRS_B    | 85.50 1.00 | 75.44 1.00 | 91.90 1.00
LatentCRS_F    | 317.50 35.59 | 781.44 50.76 | 2086.89 70.70
LatentCRS_V    | 810.26 98.63 | 2117.60 96.72 | 2178.55 111.98
"""


def dialogue_rows() -> dict[tuple[str, str], dict[str, float]]:
    """Return Table 4, samples of 500 users: (data set, system) -> S@3, S@5, AT as printed.

    What the paper leaves blank is left out.
    """
    names = ("S@3", "S@5", "AT")
    return {
        place: {name: float(v) for name, v in zip(names, values, strict=True) if v != "-"}
        for place, values in _cells(_TABLE_4)
    }


def token_rows() -> dict[tuple[str, str], tuple[float, float]]:
    """Return Table 6: (data set, system) -> tokens read and tokens written."""
    return {place: (float(read), float(written)) for place, (read, written) in _cells(_TABLE_6)}


def gain(rank: int) -> float:
    """What a target at ``rank`` (1 is best) adds to NDCG: 1 / log2(1 + rank)."""
    return 1 / math.log2(1 + rank)


def ndcg_bounds(
    recall_k: float, ndcg_k: float, recall_n: float, *, k: int = 5, n: int = 20
) -> tuple[float, float]:
    """Bounds of NDCG@n, given Recall@k, NDCG@k and Recall@n of the same rankings, k < n.

    One relevant item per instance. A share Recall@n - Recall@k of the instances has its target at a
    rank from k + 1 to n, and each of these adds between ``gain(n)`` and ``gain(k + 1)``. The bounds
    are linear, so means over runs obey them too.

    Returns:
        Lowest and highest possible NDCG@n.
    """
    later = recall_n - recall_k
    return ndcg_k + later * gain(n), ndcg_k + later * gain(k + 1)


def turns_bounds(s3: float, s5: float) -> tuple[float, float]:
    """Bounds of AT over five turns, given S@3 and S@5 of the same dialogues; failures count 5.

    AT is 5 - (S@1 + S@2 + S@3 + S@4), and S@k never falls: S@1 and S@2 lie between 0 and S@3, S@4
    between S@3 and S@5. The bounds are linear, so means over runs obey them too.

    Returns:
        Lowest and highest possible AT.
    """
    return 5 - 3 * s3 - s5, 5 - 2 * s3


def contradictions(
    metrics: Mapping[str, float], half_units: Mapping[str, float] | None = None
) -> list[str]:
    """Say what in a row of Recall@5, NDCG@5, Recall@20 and NDCG@20 cannot come from one ranking.

    Args:
        metrics: the four values by name.
        half_units: how far each may be from the true value because of its printed digits; default
            exact. Every bound is widened by it, so what is reported cannot be rounding.

    Returns:
        One sentence each; none for a row that is possible.
    """
    r5, n5, r20, n20 = (metrics[name] for name in METRICS)
    e_r5, e_n5, e_r20, e_n20 = ((half_units or {}).get(name, 0.0) for name in METRICS)
    slack = 1e-9
    found = []
    if r20 < r5 - e_r5 - e_r20 - slack:
        found.append(f"Recall@20 {r20} is below Recall@5 {r5}")
    if n5 > r5 + e_r5 + e_n5 + slack:
        found.append(f"NDCG@5 {n5} is above Recall@5 {r5}")
    if n5 < (r5 - e_r5) * gain(5) - e_n5 - slack:
        found.append(f"NDCG@5 {n5} is below Recall@5 x {gain(5):.4f}")
    low, _ = ndcg_bounds(r5 + e_r5, n5 - e_n5, r20 - e_r20)
    _, high = ndcg_bounds(r5 - e_r5, n5 + e_n5, r20 + e_r20)
    if not low - e_n20 - slack <= n20 <= high + e_n20 + slack:
        found.append(f"NDCG@20 {n20} is outside {low:.4f} to {high:.4f}")
    return found
