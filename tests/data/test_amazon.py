"""Amazon Reviews 2023: files in its layout, from miniature ones with every oddity to real text."""

import gzip
import html
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import latentcrs_utils as lc
from latentcrs_utils.data import amazon
from latentcrs_utils.data.source import Statistics
from latentcrs_utils.errors import AssetError, DataError
from tests.conftest import raw_sequences

NAMES = {"amazon-video-games": "Video_Games", "amazon-cds": "CDs_and_Vinyl"}


def review(user: str, item: str, time: int, rating: float = 5.0, **more: Any) -> dict[str, Any]:
    return {
        "rating": rating, "title": "Très bien 😀", "text": 'Said "yes"\nand\\again',
        "images": [{"small_image_url": "https://example.org/1.jpg"}], "asin": f"{item}x",
        "parent_asin": item, "user_id": user, "timestamp": 1_500_000_000_000 + time,
        "helpful_vote": 0, "verified_purchase": True, **more,
    }  # fmt: skip


def metadata(item: str, **more: Any) -> dict[str, Any]:
    return {
        "main_category": "Video Games", "title": f"Title of {item}", "average_rating": 4.5,
        "rating_number": 10, "features": ["one", "two"], "description": [], "price": None,
        "images": [{"thumb": "https://example.org/t.jpg", "hi_res": None}], "videos": [],
        "store": None, "categories": [], "details": {}, "parent_asin": item,
        "bought_together": None, **more,
    }  # fmt: skip


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the two files of a data set where the reader looks for them."""

    def write(reviews: list, items: list = (), name="amazon-video-games", suffix=".gz") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        items = items or [metadata(item) for item in {row["parent_asin"]: 0 for row in reviews}]
        for prefix, rows in (("", reviews), ("meta_", items)):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
            path = folder / f"{prefix}{NAMES[name]}.jsonl{suffix}"
            path.write_bytes(gzip.compress(text, 1) if suffix else text)
        monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
        return folder

    return write


def rows_of(path: Path) -> list[dict[str, str]]:
    """A table of tabs, without quotes, as the slices of the 2018 edition are."""
    return pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False).to_dicts()


games = partial(lc.load_dataset, "amazon-video-games", k_core=3)


def everyone_likes(users: str, items: str) -> list[dict]:
    return [review(u, i, time) for u in users for time, i in enumerate(items)]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_every_oddity_of_the_metadata(put, suffix: str) -> None:
    items = [
        metadata("a", title="Pok&eacute;mon", store="Nintendo", price="19.99",
                 categories=["Video Games", "Nintendo Switch", "Games"],
                 details={"Release date": "October 2, 2001", "Best Sellers Rank": {"Games": 3}}),
        metadata("b", store="None", price="None", details={"Manufacturer": "Sega", "Weight": 3},
                 categories=["Video Games", "Legacy Systems", "Sega Systems", "Sega Genesis"]),
        metadata("c", title="Halo - Xbox 360", price=7.5, store=None, details=None,
                 categories=None),
        metadata("d", title="Headset", price="—", store="by\n  HORI",
                 categories=["odd", None, "PC"], details={"Date First Available": "May 3, 2011"}),
        metadata("e", title="None"), metadata("f", title=None), metadata("g", title=" "),
        metadata("a", title="A second line of a"),
    ]  # fmt: skip
    del items[2]["price"], items[2]["videos"], items[6]["title"]
    put(everyone_likes("uvw", "abcdefg"), items, suffix=suffix)
    data = games()
    assert data.items.columns[-5:] == ["year", "genres", "creator", "platform", "price"]
    assert data.items.drop("item").rows() == [
        ("a", "Pokémon", 2001, ["Games"], "Nintendo", "Nintendo Switch", 19.99),
        ("b", "Title of b", None, [], "Sega", "Sega Genesis", None),
        ("c", "Halo - Xbox 360", None, [], None, "Xbox 360", None),
        ("d", "Headset", 2011, [], "HORI", "PC", None),
    ]
    assert (data.counts["positives"], data.counts["with_metadata"]) == (21, 12)


def test_metadata_as_text_is_parsed_and_what_is_left_out_is_counted(
    put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    details = {"Release Date": "May 3, 2011", "Brand": 'Séga "x"'}
    paths = [["Video Games", "PC", "Games"], ["Video Games", "Accessories"]]
    understood = [(details, paths), *[(w(details), w(paths)) for w in (json.dumps, repr, str)]]
    items = [metadata(f"{n}", details=d, categories=c) for n, (d, c) in enumerate(understood)]
    dates = ["soon", "3/5/11", "817862400000", "20015", "", "N/A", None]
    items += [metadata(f"d{n}", details={"Release date": date}) for n, date in enumerate(dates)]
    odd = ["{'a", "[1]", [1], 7, "", "null", None]
    items += [metadata(f"o{n}", details=one, categories=one) for n, one in enumerate(odd)]
    prices = ["12 - 14", "12,99 €", "", None, "free", "—", 3]
    items += [metadata(f"p{n}", price=price) for n, price in enumerate(prices)]
    items += [metadata("x", title=None), metadata("0"), metadata("y", categories=[["a", 3]])]
    folder = put([], items)
    found = amazon._items(folder / "meta_Video_Games.jsonl.gz", games=True)
    read = (2011, ["Games", "Accessories"], 'Séga "x"', "PC")
    assert found[:4].select(pl.nth(2, 3, 4, 5)).rows() == [read] * 4
    assert found["year"].null_count() == len(found) - 4
    said = capsys.readouterr().err
    assert "4 values of 'details'" in said and "2 values of 'categories'" in said
    for left in ("4 dates", "3 prices", "1 categories", "1 lines without", "1 further lines"):
        assert left in said


def test_albums(put) -> None:
    items = [
        metadata("a", title="Abbey Road", store="The Beatles   Format: Vinyl", price=21,
                 categories=["CDs & Vinyl", "Rock", "Classic Rock"],
                 details={"Original Release Date": "1969", "Release Date": "2012"}),
        metadata("b", store="Various Artists  (Artist)   Format: Audio CD",
                 details={"Date First Available": "December 7, 2006", "Manufacturer": "EMI"}),
        metadata("c", store="Bach  (Composer), Glenn Gould  (Performer)   Format: Audio CD",
                 categories=["CDs & Vinyl"]),
    ]  # fmt: skip
    put(everyone_likes("uvw", "abc"), items, "amazon-cds")
    data = lc.load_dataset("amazon-cds", k_core=3)
    assert "platform" not in data.items.columns
    assert data.items.drop("item").rows() == [
        ("a", "Abbey Road", 1969, ["Rock", "Classic Rock"], "The Beatles", 21.0),
        ("b", "Title of b", None, [], None, None),
        ("c", "Title of c", None, [], "Bach", None),
    ]


def test_time_orders_ties_stay_in_file_order_and_the_earliest_review_counts(put) -> None:
    rows = everyone_likes("vw", "edcba")
    rows += [review("t", i, t) for i, t in zip("abcde", [9, 5, 5, 7, 1], strict=True)]
    rows += [
        review("u", "a", 50, 1.0), review("u", "b", 20), review("u", "a", 10), review("u", "c", 30),
        review("u", "d", 40, 2.0), review("u", "d", 60, 5.0),
        # equal times: the first in the file, which is not liked
        review("u", "e", 5, 3.0), review("u", "e", 5, 5.0),
    ]  # fmt: skip
    put(rows)
    data = games()
    assert {"".join(own) for own in raw_sequences(data).values()} == {"edcba", "ebcda", "abc"}
    counts = [data.counts[name] for name in ("ratings", "repeated", "positives")]
    assert counts == [23, 3, 18]


def test_the_official_loop_stops_after_ten_passes(put) -> None:
    """A chain unravels from both ends, so ten passes are not enough."""
    block = [review(f"b{u}", f"j{i}", i) for u in range(3) for i in range(3)]
    chain = [review(f"u{u:03}", f"i{u + n:03}", n) for u in range(60) for n in range(3)]
    put(chain + block)
    official, fixed = games(filter="official"), games()
    assert len(official.counts["passes"]) == 11
    assert official.counts["passes"] == fixed.counts["passes"][:11]
    assert official.n_users > fixed.n_users == 3
    assert fixed.counts["passes"][-1] == fixed.counts["passes"][-2]


def test_absent_files_are_named_with_the_way_to_get_them(monkeypatch) -> None:
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    both = r"/review_categories/CDs_and_Vinyl\..*/meta_categories/meta_CDs_and_Vinyl\.jsonl\.gz"
    with pytest.raises(AssetError, match=rf"CDs and Vinyl \(Amazon Reviews 2023\) .*{both}"):
        lc.load_dataset("amazon-cds")


def test_a_damaged_file_is_named_with_its_line(put) -> None:
    rows = everyone_likes("uvw", "abc")
    put([*rows[:4], {**rows[4], "parent_asin": None}])
    with pytest.raises(DataError, match=r"/Video_Games\.jsonl\.gz, line 5, column 'parent_asin': "):
        games()
    put(rows, [{**metadata("a"), "parent_asin": None}])
    with pytest.raises(DataError, match=r"meta_Video_Games\..*, line 1, column 'parent_asin': nu"):
        games()


def test_blocks_of_reviews_share_their_numbers(put, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = everyone_likes("uvw", "abcde")
    np.random.default_rng(0).shuffle(rows)
    put(rows)
    at_once = games()
    monkeypatch.setattr(amazon, "read_json_lines", partial(amazon.read_json_lines, block=500))
    by_block = games()
    assert by_block.fingerprint == at_once.fingerprint
    assert raw_sequences(by_block) == {u: list("abcde") for u in "uvw"}


def test_real_sequences_of_video_games_come_back(amazon_2018: Path, put) -> None:
    """The 2018 slice, written as the 2023 release would be, shuffled, and read again."""
    source = amazon_2018 / "video-games-2018"
    lines = (source / "sequences.tsv").read_text(encoding="utf-8").splitlines()
    truth = {user: items.split() for user, items in (line.split("\t") for line in lines)}
    titles = {row["asin"]: row["title"] for row in rows_of(source / "item_map.tsv")}
    # 14 of the items have no title in the slice
    items = {item for own in truth.values() for item in own}
    titles = {item: titles.get(item, f"Item {item}") for item in items}
    rows = [review(u, i, time) for u, items in truth.items() for time, i in enumerate(items)]
    np.random.default_rng(0).shuffle(rows)
    put(rows, [metadata(item, title=title) for item, title in titles.items()])
    data = lc.load_dataset("amazon-video-games")
    assert data.statistics == Statistics(50_546, 16_859, 452_989)
    assert raw_sequences(data) == truth
    # entities (Pok&eacute;mon) are resolved, runs of spaces are one
    expected = {item: " ".join(html.unescape(title).split()) for item, title in titles.items()}
    assert dict(data.items.select("raw_item", "title").rows()) == expected


def test_real_events_of_cds_come_back(amazon_2018: Path, put) -> None:
    events = [tuple(row.values()) for row in rows_of(amazon_2018 / "cds-2018" / "events.tsv")]
    items = rows_of(amazon_2018 / "cds-2018" / "items.tsv")
    titles = {row["asin"]: row["title"] or "" for row in items}
    rows = [review(u, i, 0, float(rating), timestamp=int(t) * 1000) for u, i, rating, t in events]
    items = [metadata(item, title=title, store=f"{title[:9]}  (Artist)   Format: Audio CD")
             for item, title in titles.items()]  # fmt: skip
    put(rows, items, "amazon-cds", suffix="")
    data = lc.load_dataset("amazon-cds", k_core=3)
    # a later key would replace an earlier one, so the events go backwards
    backwards = sorted(events, key=lambda event: int(event[3]))[::-1]
    when = {(u, i): int(time) for u, i, _, time in backwards}
    first = {(u, i): float(rating) for u, i, rating, _ in backwards}
    liked = {(u, i) for (u, i), rating in first.items() if rating >= 4 and titles.get(i)}
    core = None
    while core != liked:
        core = liked
        users, items = (Counter(pair[side] for pair in core) for side in (0, 1))
        liked = {(u, i) for u, i in core if users[u] >= 3 and items[i] >= 3}
    found = raw_sequences(data)
    assert {(u, i) for u, own in found.items() for i in own} == core
    assert data.counts["ratings"] == 26_000 and data.counts["repeated"] == 26_000 - len(when)
    times = [[when[user, item] for item in own] for user, own in found.items()]
    assert times == list(map(sorted, times))


# name -> cases: the arguments, and what is made of them
TEXTS = json.loads(Path(__file__).with_name("amazon.json").read_text("utf-8"))
READ: dict[str, Any] = {
    **{name: getattr(amazon, name) for name in ("title", "artist", "price", "brand")},
    "year": partial(amazon.year, or_listed=False),
    "year_or_listed": partial(amazon.year, or_listed=True),
    "platform_and_genres": lambda path: [amazon.platform(path, "A title"), amazon.genres(path)],
    # a title names the platform where the path does not
    "platform_of_title": lambda title: [
        amazon.platform(["Video Games", *more], title) for more in ([], ["Mac"])
    ],
}


@pytest.mark.parametrize("name", READ)
def test_texts_of_the_provider(name: str) -> None:
    assert [[given, READ[name](*given)] for given, _ in TEXTS[name]] == TEXTS[name]


def test_platforms_in_real_titles(amazon_2018: Path) -> None:
    """Where both name one, title and catalogue agree; the catalogue knows fewer platforms."""
    rows = rows_of(amazon_2018 / "video-games-2018" / "platform_by_title.tsv")
    found = [(amazon.platform([], row["title"]), row["platform"]) for row in rows]
    both = [ours == theirs for ours, theirs in found if ours and theirs]
    assert len(rows) == 16_882
    assert len(both) > 9_000 and np.mean(both) > 0.97
