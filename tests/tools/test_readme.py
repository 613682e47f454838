"""The numbers of the README and of results/README.md are the recorded ones; links work."""

import json
import re

import pytest

from latentcrs_utils.evaluation.one_turn import LEVELS
from tools import readme

FRONT, RESULTS = (page.read_text(encoding="utf-8") for page in readme.PAGES)
PAGES = {
    page: page.read_text("utf-8") for at in ("*.md", "[!.]*/*.md") for page in readme.ROOT.glob(at)
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_to_files_and_headings(page):
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGES[page]):
        target = (page.parent / path).resolve() if path else page
        headings = re.findall(r"^#+ (.*)$", PAGES.get(target, ""), re.M)
        anchors = {re.sub(r"[^\w -]", "", of.lower()).replace(" ", "-") for of in headings}
        assert target.exists() and (not anchor or anchor in anchors), f"{path}#{anchor}"


def test_the_pages_show_the_records_and_the_front_page_is_short():
    assert [readme.filled(FRONT), readme.filled(RESULTS)] == [FRONT, RESULTS], "`-m tools.readme`"
    assert {of["part"] for of in readme.PLACE.finditer(FRONT + RESULTS)} == set(readme.PARTS)
    assert len(FRONT.split()) <= 2500


@pytest.mark.parametrize("text", [FRONT, RESULTS])
def test_one_turn_of_one_system_is_as_recorded(text):
    record = json.loads((readme.RESULTS / "one_turn_ml-100k.json").read_text(encoding="utf-8"))
    row = next(line for line in text.splitlines() if "| **LatentCRS+** |" in line)
    ours = [of for of in record["masked"] if of["system"] == "LatentCRS+"]
    value = {(of["level"], of["phrasing"]): of["NDCG@20"] for of in ours}
    for level, cell in zip(LEVELS, row.replace("*", "").split("|")[2:6], strict=True):
        seen = f" ({value[level, 'train']:.3f})" if text == RESULTS else ""
        assert cell.strip() == f"{value[level, 'test']:.3f}{seen}"


@pytest.mark.parametrize("aim", [3.0, None])
def test_the_bench_shows_what_has_an_aim(aim):
    stage = {"stage": "EM epoch", "scale": "ml-100k", "seconds": 1.25, "peak_bytes": 30_000_000}
    rival = {"rival": "RecBole", "rival_batch": 2048, "what": "an epoch", "seconds": 0.5,
             "rival_seconds": 90.0, "ratio": 180.0, "aim": 3.0, "predictions": 51599}  # fmt: skip
    record = dict.fromkeys(["threads", "clock", "machine", "date", "command"], 1)
    record |= {"measurements": [stage | {"ratio": 2.46, "aim": aim}]}
    part = readme.bench_part(record | {"against": [rival] if aim else []})
    for shown in (
        "| EM epoch | ml-100k | 1.2 s | 30 MB | 2.5 x | 3 x |",
        "| RecBole, its batch 2,048 | an epoch | 90.0 s | 500.0 ms | 180 x | 3 x |",
        "RecBole makes a sample of every prefix",
    ):
        assert (shown in part) is bool(aim)
