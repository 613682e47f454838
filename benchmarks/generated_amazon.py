"""Files in the layout of Amazon Reviews 2023, as large as the real ones, from a seed.

The counts follow what is published of the release (Video Games: 4.6 million reviews of 137
thousand items by 2.8 million users, 72 % of whom wrote one; CDs and Vinyl: 4.8 million of 702
thousand by 1.8 million). Users and items are drawn by power laws; every text is invented. No two
users are alike in taste, so these files are for measuring time and memory, not for training.
"""

import base64
import gzip
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

Kind = Literal["games", "cds"]
_CATEGORY = {"games": "Video_Games", "cds": "CDs_and_Vinyl"}
_N_BODIES = 4096  # distinct texts; far more than a compressor's window holds
_FIRST, _LAST = 946_684_800_000, 1_694_476_800_000  # 2000 to September 2023, milliseconds
_SYLLABLES = ("ba", "co", "di", "fe", "gu", "ha", "jo", "ki", "lu", "mé", "no", "pi", "ra", "så",
              "to", "vu", "we", "xi", "ya", "zo")  # fmt: skip
_PATHS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class AmazonSize:
    """Lines of both files; exponents of the laws of reviews per user (``most``) and popularity."""

    kind: Kind = "games"
    n_reviews: int = 4_800_000
    n_items: int = 140_000
    activity: float = 2.6
    most: int = 664
    popularity: float = 0.85


SIZES: dict[Kind, AmazonSize] = {
    "games": AmazonSize(),
    "cds": AmazonSize("cds", n_items=702_000, activity=2.25, most=5_000, popularity=0.7),
}


def scaled(kind: Kind, n_reviews: int) -> AmazonSize:
    """Return the size of ``kind`` with ``n_reviews`` reviews, and as many items as belong to it."""
    n_items = SIZES[kind].n_items * n_reviews // SIZES[kind].n_reviews
    return replace(SIZES[kind], n_reviews=n_reviews, n_items=max(1, n_items))


def write(
    folder: Path, size: AmazonSize, seed: int = 0, *, compressed: bool = True
) -> tuple[Path, Path, int]:
    """Write reviews and metadata of a category; returns both files and the number of users."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    asins = [f"B{number:09d}" for number in rng.permutation(10 * size.n_items)[: size.n_items]]
    name = f"{_CATEGORY[size.kind]}.jsonl{'.gz' * compressed}"
    reviews, metadata = folder / name, folder / f"meta_{name}"
    opened: Any = partial(gzip.open, compresslevel=3) if compressed else open
    with opened(reviews, "wb") as file:
        n_users = _write_reviews(file, size, asins, rng)
    texts = [_words(rng, 40) for _ in range(512)]
    with opened(metadata, "wb") as file:
        file.writelines(map(str.encode, _metadata(size.kind, asins, texts, rng)))
    return reviews, metadata, n_users


def _write_reviews(
    file: BinaryIO, size: AmazonSize, asins: Sequence[str], rng: np.random.Generator
) -> int:
    bodies = [_body(rng) for _ in range(_N_BODIES)]
    weights = np.arange(1, size.n_items + 1, dtype=float) ** -size.popularity
    cumulative = weights.cumsum() / weights.sum()
    written = users = 0
    while written < size.n_reviews:
        per_user = np.minimum(rng.zipf(size.activity, 100_000), size.most)
        per_user = per_user[per_user.cumsum() <= size.n_reviews - written]
        if not len(per_user):
            per_user = np.array([size.n_reviews - written])
        n = int(per_user.sum())
        ids = rng.bytes(17 * len(per_user))
        starts = range(0, len(ids), 17)
        names = ["A" + base64.b32encode(ids[at : at + 17])[:27].decode() for at in starts]
        items = cumulative.searchsorted(rng.random(n)).tolist()
        ratings = rng.choice([5, 4, 3, 2, 1], n, p=[0.62, 0.16, 0.08, 0.05, 0.09]).tolist()
        times = rng.integers(_FIRST, _LAST, n).tolist()
        chosen = rng.integers(_N_BODIES, size=n).tolist()
        owners = np.repeat(np.arange(len(per_user)), per_user).tolist()
        columns = ratings, chosen, items, owners, times
        lines = [
            f'{{"rating": {rating}.0, {bodies[body]}, "asin": "{asins[item]}", '
            f'"parent_asin": "{asins[item]}", "user_id": "{names[owner]}", "timestamp": {time}, '
            f'"helpful_vote": {body % 7}, "verified_purchase": true}}\n'
            for rating, body, item, owner, time in zip(*columns, strict=True)
        ]
        file.write("".join(lines).encode())
        written, users = written + n, users + len(per_user)
    return users


def _words(rng: np.random.Generator, n: int) -> str:
    parts = rng.integers(len(_SYLLABLES), size=(n, 3))
    return " ".join("".join(_SYLLABLES[one] for one in word) for word in parts)


def _body(rng: np.random.Generator) -> str:
    """Make the part of a review that a reader of interactions has no use for."""
    body: dict[str, Any] = {
        "title": _words(rng, 4),
        "text": f'{_words(rng, int(rng.lognormal(3.2, 1)) + 1)}<br />"quoted", 😀',
        "images": [],
    }
    if rng.random() < 0.05:
        address = f"https://m.media-amazon.com/images/I/{rng.integers(10**9)}"
        kinds = ("small", "medium", "large")
        body["images"] = [{f"{kind}_image_url": f"{address}._{kind}.jpg" for kind in kinds}]
    return json.dumps(body)[1:-1]


def _metadata(
    kind: Kind, asins: Sequence[str], texts: Sequence[str], rng: np.random.Generator
) -> Iterator[str]:
    root, paths = "Video Games" if kind == "games" else "CDs & Vinyl", _PATHS[kind]
    released = "Release date" if kind == "games" else "Original Release Date"
    for asin in asins:
        draw = rng.random(6)
        number = int(draw[0] * 1e9)
        price: float | str | None = None if draw[2] < 0.55 else "from 9.99"
        if draw[2] >= 0.56:
            price = round(number % 9999 / 100 + 0.99, 2)
        maker = texts[number % 331].split()[0].title()
        text = texts[number % len(texts)]
        address = f"https://m.media-amazon.com/images/I/{number}"
        date = f"October {number % 28 + 1}, {1990 + number % 33}"
        line: dict[str, Any] = {
            "main_category": root,
            "title": None if draw[1] < 0.003 else f"{text[:30].title()} {number % 9973}",
            "average_rating": round(1 + 4 * draw[2], 1),
            "rating_number": int(1 / (draw[3] + 1e-4)),
            "features": [text, text[::-1]] if draw[4] < 0.7 else [],
            "description": [text, text] if draw[5] < 0.6 else [],
            "price": price,
            "images": [{"thumb": f"{address}.t.jpg", "large": f"{address}.l.jpg",
                        "variant": "MAIN", "hi_res": None}] * 3,
            "videos": [],
            "store": maker if kind == "games" else f"{maker}  (Artist)    Format: Audio CD",
            "categories": [root, *paths[number % len(paths)]],
            "details": {
                "Best Sellers Rank": {"Video Games": number % 99_999, "Games": number % 999},
                released: date,
                "Package Dimensions": "7.5 x 5.3 x 0.6 inches; 5 Ounces",
                "Manufacturer": maker,
                "Date First Available": date,
            },
            "parent_asin": asin,
            "bought_together": None,
        }  # fmt: skip
        yield json.dumps(line) + "\n"
