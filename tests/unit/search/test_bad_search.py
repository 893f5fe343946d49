"""Every line of bad-inputs.md on search results and texts has a test: here, or where the table says."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kg2clip import tables, web
from kg2clip.dataset.mix import Mixer
from kg2clip.errors import UserError
from kg2clip.search.hits import hit
from kg2clip.search.limits import check_limits
from kg2clip.search.merge import merge_hits
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers, Hit, Query, Source

HERE = Path(__file__).resolve().parent
SECTION = "**Search results and texts**"
HELD = {  # how a line begins: the tests that hold it, by file below tests/unit
    "Zero hits for a taxon": {
        "search/test_bad_search.py": ["test_a_taxon_without_hits", "test_one_address_from_three_queries_and_two_taxa"]
    },
    "Alt text only a file name": {
        "search/test_bad_search.py": ["test_a_file_name_is_no_caption"],
        "test_clean_texts.py": ["test_useless"],
    },
    "`Robin &amp;amp; nest`": {
        "test_clean_texts.py": ["test_clean"],
        "search/test_commons.py": ["test_all_recorded_pages_give_texts_without_html"],
        "search/test_bad_search.py": ["test_texts_of_a_hit_are_clean"],
    },
    "Mojibake": {
        "test_clean_texts.py": ["test_clean", "test_composed_and_decomposed_texts_are_one"],
        "search/test_bad_search.py": ["test_texts_of_a_hit_are_clean"],
    },
    "10,000-character text": {
        "test_clean_texts.py": ["test_clean", "test_long_texts_are_cut_between_words"],
        "search/test_bad_search.py": ["test_what_says_nothing_or_is_said_of_all_is_no_caption"],
        "dataset/test_shard_plan.py": ["test_texts_of_sites_need_many_pictures_and_many_entities"],
    },
    "Licence variants": {"search/test_licenses.py": ["test_forms", "test_the_first_readable_statement_counts"]},
}


def test_every_line_is_held(samples: Path) -> None:
    lines = (samples.parent / "bad-inputs.md").read_text(encoding="utf-8").splitlines()
    rest = lines[lines.index(SECTION) + 1 :]
    section = [line.removeprefix("- ") for line in rest[: rest.index("")]]
    assert len(section) == len(HELD)
    for line, start in zip(section, HELD, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize("line", HELD)
def test_the_tests_are_there(line: str) -> None:
    for file, names in HELD[line].items():
        spec = importlib.util.spec_from_file_location("held", HERE.parent / file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name in names:
            assert callable(getattr(module, name))


class Shelf(Source):
    """A source that has these addresses for every query, or nothing."""

    name = "shelf"

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        yield [hit(self.name, address, address) for address in self.addresses]


def query(name: str, entity: str) -> dict[str, Any]:
    return {"queryID": f"{entity}/{name}", "entityID": entity, "kind": "noun", "name": name, "nameKind": "scientific"}


def merged(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    tables.write(rows, tables.HITS, folder / "hits.parquet")
    entities = [{"entityID": entity, "ancestors": []} for entity in ("wd:Q1", "wd:Q2")]
    tables.write(entities, tables.ENTITIES, folder / "entities.parquet")
    merge_hits([folder / "hits.parquet"], folder / "entities.parquet", folder / "candidates.parquet")
    found: list[dict[str, Any]] = tables.read(folder / "candidates.parquet").to_pylist()
    return found


def test_a_taxon_without_hits(tmp_path: Path) -> None:
    rows = search_source(Shelf(), [query("Apis", "wd:Q1")], Answers(tmp_path, "", 1), 200, 200, {})
    assert rows == [] and merged(rows, tmp_path) == []


def test_one_address_from_three_queries_and_two_taxa(tmp_path: Path) -> None:
    asked = [query("Apis", "wd:Q1"), query("honey bee", "wd:Q1"), query("Bombus", "wd:Q2")]
    rows = search_source(Shelf("http://a.test/1.jpg"), asked, Answers(tmp_path, "", 1), 200, 200, {})
    assert len(rows) == 3
    (candidate,) = merged(rows, tmp_path)
    assert candidate["queryIDs"] == sorted(one["queryID"] for one in asked)
    assert candidate["entityIDs"] == ["wd:Q1", "wd:Q2"] and candidate["conflict"]


def test_a_file_name_is_no_caption() -> None:
    for said in ("DSC_0042.JPG", "017A7339.NEF", "IMG_20190503_123456"):
        found = hit("shelf", "1", "http://a.test/1.jpg", title="a bee", alt_text=said)
        mixer = Mixer(0.5, {})
        assert [row["text"] for row in mixer.mix([found], [], [])] == ["a bee"]
        assert mixer.dropped == {"file-name": 1}


def test_texts_of_a_hit_are_clean() -> None:
    found = hit(
        "shelf", "1", "http://a.test/1.jpg", page="http://a.test/1", title="Robin &amp;amp; nest", alt_text="cafÃ©&#39;s\x00",
        description="<b>Ro\u200bbin</b>\u202e", caption="\ufeff \n", tags=["a&amp;b", " ", "e\u0301"],
        license="<i>CC BY 4.0</i>", creator="Jane \ud800<a href='mailto:j@example.org'>j@example.org</a>",
    )  # fmt: skip
    told = {name: found[name] for name in ("title", "altText", "description", "caption", "tags", "creator")}
    assert found["license"] == "CC-BY-4.0"
    assert told == {
        "title": "Robin & nest", "altText": "café's", "description": "Robin", "caption": None, "tags": ["a&b", "é"],
        "creator": "Jane",
    }  # fmt: skip
    tables.as_table([{"queryID": "q", "entityID": "e", "rank": 0, "pictureKey": "p", **found}], tables.HITS)


def test_what_says_nothing_or_is_said_of_all_is_no_caption() -> None:
    mixer = Mixer(0.5, {"query": 1}, site_texts=frozenset({"Bees of the World"}))
    queries = mixer.graph([], [{"kind": "noun", "text": "Apis", "nameKind": "scientific", "attribute": None}])
    for said in ("Bees of the World", "Image", "stock photo", " \t ", "\u200b"):
        found = hit("shelf", "1", "http://a.test/1.jpg", alt_text=said)
        assert [row["text"] for row in mixer.mix([found], [], queries)] == ["Apis"]


@pytest.mark.parametrize(
    ("source", "wanted", "told"),
    [
        ("commons", {"connections": 4}, "Wikimedia allows 3 calls at a time .*commons.connections to at most 3"),
        ("inaturalist", {"requests_per_second": 5}, "iNaturalist throttles .*requests_per_second to at most 1.67"),
        ("gbif", {"connections": 2}, "GBIF asks for one call .*gbif.connections to at most 1"),
    ],
)
def test_haste_that_a_public_service_forbids_is_refused(
    source: str, wanted: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(web.RESOLVE, raising=False)
    with pytest.raises(UserError, match=told):
        check_limits(source, {"api": "https://api.example.org/v1", **wanted})
    check_limits(source, {"api": "https://api.example.org/v1"})
    check_limits(source, {"api": "http://api.mirror.test/v1", **wanted})
