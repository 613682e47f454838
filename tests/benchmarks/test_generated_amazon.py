"""The generated files for measuring: the provider's layout, the same from the same seed."""

import gzip
import json
from pathlib import Path

import latentcrs_utils as lc
from benchmarks import amazon_scale
from benchmarks.generated_amazon import AmazonSize, write
from tests.data.test_amazon import metadata, review

SIZE = AmazonSize("cds", n_reviews=3_000, n_items=40, activity=1.6, most=60)


def test_the_layout_the_seed_and_the_reading(tmp_path: Path, monkeypatch) -> None:
    once, again = write(tmp_path / "a", SIZE), write(tmp_path / "b", SIZE, compressed=False)
    other = write(tmp_path / "c", SIZE, seed=1, compressed=False)
    for first, second, third in list(zip(once, again, other, strict=True))[:2]:
        assert gzip.decompress(first.read_bytes()) == second.read_bytes() != third.read_bytes()
    reviews, items = ([*map(json.loads, file.read_bytes().splitlines())] for file in again[:2])
    assert len(reviews) == 3_000 and all(set(row) == set(review("u", "i", 0)) for row in reviews)
    assert len({row["user_id"] for row in reviews}) == again[2]
    assert len(items) == 40 and all(set(row) == set(metadata("i")) for row in items)
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "a"))
    found = amazon_scale.measured(amazon_scale.read_whole, "amazon-cds")
    assert found["reviews"] == 3_000 and found["users"] <= once[2]
    assert amazon_scale.scan(again[0])["reviews"] == 3_000
    assert lc.load_dataset("amazon-cds").items["creator"].null_count() == 0
