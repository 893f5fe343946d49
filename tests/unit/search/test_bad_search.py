"""Every line of bad-inputs.md on search results and texts has a test: here, or where the table says."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from kg2clip import tables, web
from kg2clip.dataset.mix import Mixer
from kg2clip.errors import UserError
from kg2clip.search.brave import BraveImages
from kg2clip.search.commons import Commons, CommonsCategories, read_pages
from kg2clip.search.gbif import GbifSearch, read_occurrences
from kg2clip.search.hits import hit
from kg2clip.search.inaturalist import INaturalist, read_observations
from kg2clip.search.limits import check_limits
from kg2clip.search.merge import merge_hits
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.search.wikidata import WikidataImages, groups_of

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


def test_no_caption_holds_an_identifier() -> None:
    for said in ({"title": "Panthera leo (Q12345)"}, {"tags": ["Q140", "DSC 0042"]}, {"caption": "wd:Q5"}):
        found = hit("shelf", "1", "http://a.test/1.jpg", description="a lion", **said)
        texts = [row["text"] for row in Mixer(0.5, {}).mix([found], [], [])]
        assert texts == ["a lion"], said
    tagged = hit("shelf", "1", "http://a.test/1.jpg", tags=["Q140", "lion", "IMG_1234", "Audi Q7"])
    assert [row["text"] for row in Mixer(0.5, {}).mix([tagged], [], [])] == ["lion, Audi Q7"]


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


# Answers that are JSON, and nothing else is sure.

ODD = [None, [], {}, "", "x", 0, 7, -1, 1.5, float("nan"), True, [None], [[]], ["x"], [{}], {"x": None}, {"-1": {}}]
API = {"api": "http://a.test", "per_query": 200, "thumbnail_width": 960, "depth": 1}
LIVING = ["HUMAN_OBSERVATION"]
SOURCES: dict[str, tuple[Source, dict[str, Any]]] = {
    "commons": (
        Commons(API),
        {
            "batchcomplete": "", "continue": {}, "query": {"pages": {"1": {
                "pageid": 1, "ns": 6, "title": "File:A.jpg", "index": 1, "imageinfo": [{
                    "url": "http://a.test/a.jpg", "thumburl": "http://a.test/960px-a.jpg", "width": 9, "height": 9,
                    "size": 9, "mime": "image/jpeg", "sha1": "ab", "descriptionurl": "http://a.test/a",
                    "extmetadata": {"ImageDescription": {"value": "a"}, "LicenseShortName": {"value": "CC0"}},
                }],
            }}},
        },
    ),
    "inaturalist": (
        INaturalist({
            **API, "quality_grades": ["research"], "licenses": "any", "photo_size": "large", "max_calls": 9,
        }),
        {
            "total_results": 1, "results": [{
                "id": 1, "name": "Apis", "is_active": True, "ancestor_ids": [1], "uuid": "u", "uri": "http://a.test/o/1",
                "photos": [{
                    "id": 5, "url": "http://a.test/photos/5/square.jpg", "license_code": "cc0", "attribution": "x",
                    "original_dimensions": {"width": 9, "height": 9},
                }],
            }],
        },
    ),
    "gbif": (
        GbifSearch({**API, "basis_of_record": LIVING, "max_calls": 10**9}),
        {
            "usage": {"key": "1", "canonicalName": "Apis", "name": "Apis"}, "diagnostics": {"matchType": "EXACT"},
            "classification": [{"rank": "KINGDOM", "name": "Animalia"}], "endOfRecords": True, "count": 1, "results": [{
                "key": 1, "basisOfRecord": "HUMAN_OBSERVATION", "license": "CC0", "media": [{
                    "type": "StillImage", "identifier": "http://a.test/a.jpg", "format": "image/jpeg", "license": "CC0",
                    "title": "a", "creator": "a", "references": "http://a.test/a",
                }],
            }],
        },
    ),
    "brave": (
        BraveImages({**API, "api": "https://a.test"}),
        {"results": [{
            "title": "a", "url": "http://a.test/a",
            "properties": {"url": "http://a.test/a.jpg", "width": 9, "height": 9},
        }]},
    ),
    "wikidata": (WikidataImages(API, {"wd:Q1": ["A.jpg"]}), {}),
    "commonscategories": (CommonsCategories(API), {}),
}  # fmt: skip
for like_commons in ("wikidata", "commonscategories"):
    SOURCES[like_commons] = SOURCES[like_commons][0], SOURCES["commons"][1]


class Said(Answers):
    """Gives the same answers over and over, the last one for ever."""

    def __init__(self, *said: dict[str, Any]) -> None:
        self.asked = 0
        self._waiting = chain(said, repeat(said[-1]))

    calls = 0

    def get(self, *_: Any) -> dict[str, Any]:
        self.asked += 1
        assert self.asked < 2000, "it asks without end"
        return next(self._waiting)


class Onwards(Said):
    """Leads on and on, with new pages or without any."""

    def __init__(self, pages: bool) -> None:
        super().__init__({})
        self._pages = pages

    def get(self, *_: Any) -> dict[str, Any]:
        super().get()
        page = {**SOURCES["commons"][1]["query"]["pages"]["1"], "title": f"File:{self.asked}.jpg"}
        said = {"query": {"pages": {str(self.asked): page}}} if self._pages else {}
        return {**said, "continue": {"gsroffset": self.asked}}


def spoiled(value: Any) -> Iterator[Any]:
    """The value with one part after the other replaced by something else, or left out."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield {other: kept for other, kept in value.items() if other != key}
            yield from ({**value, key: odd} for odd in chain(ODD, spoiled(part)))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from ([*value[:place], odd, *value[place + 1 :]] for odd in chain(ODD, spoiled(part)))


@pytest.mark.parametrize("name", SOURCES)
def test_no_answer_is_too_odd(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands where something else is expected is skipped; what is given has the columns' types."""
    monkeypatch.setenv("BRAVE_API_KEY", "key")
    source, answer = SOURCES[name]
    asked = {**query("Apis", "wd:Q1"), "text": "Apis", "attribute": None, "disambiguation": None}
    rows = []
    for one in chain([answer], spoiled(answer)):
        if isinstance(source, WikidataImages):
            source = WikidataImages(API, {"wd:Q1": ["A.jpg"]})
        found = [row for page in source.pages(asked, Said(one)) for row in page]
        assert one is not answer or found
        rows += [{"queryID": "q", "entityID": "e", "rank": 0, "pictureKey": "p", **row} for row in found]
    tables.as_table(rows, tables.HITS)
    assert all(isinstance(row["accessURI"], str) and row["sourceID"] for row in rows)


def test_an_answer_that_leads_in_a_circle_ends() -> None:
    page = SOURCES["commons"][1]["query"]
    said = Said({"query": page, "continue": {"gsroffset": 50, "continue": "-||"}})
    asked = {**query("Apis", "wd:Q1"), "attribute": None, "disambiguation": None}
    assert [len(found) for found in Commons(API).pages(asked, said)] == [1] and said.asked == 2
    for pages, most in ((True, 1000), (False, 20)):
        endless = Onwards(pages)
        assert sum(len(found) for found in Commons(API).pages(asked, endless)) == (most if pages else 0)
        assert endless.asked == most
    observations = Said({"results": [{"id": 1, "name": "Apis"}], "total_results": 9})
    assert list(SOURCES["inaturalist"][0].pages(asked, observations)) == [[], []]


def test_totals_that_lie_neither_end_a_search_nor_make_it_endless() -> None:
    source, answer = SOURCES["inaturalist"]
    (one,) = answer["results"]

    def page(first: int, count: int, total: object) -> dict[str, Any]:
        numbers = range(first, first + count)
        photos = [[{**one["photos"][0], "id": number}] for number in numbers]
        rows = [{**one, "id": number, "photos": those} for number, those in zip(numbers, photos, strict=True)]
        return {"total_results": total, "results": rows}

    for total in (None, 0, 3, "5"):
        said = Said(answer, page(1, 200, total), page(201, 5, total))
        assert [len(found) for found in source.pages(query("Apis", "wd:Q1"), said)] == [200, 5]


def test_numbers_as_texts_and_pages_as_a_list() -> None:
    page = SOURCES["commons"][1]["query"]["pages"]["1"]
    info = {**page["imageinfo"][0], "width": "4000", "height": 3000.0, "size": " 12 "}
    (found,) = read_pages([{**page, "index": "3", "imageinfo": [info]}])
    assert (found["width"], found["height"], found["bytes"]) == (4000, 3000, 12)
    said = Said({"query": {"pages": [page, {"title": "File:Gone.jpg", "missing": True}]}})  # formatversion=2
    asked = {**query("Apis", "wd:Q1"), "attribute": None, "disambiguation": None}
    assert [len(found) for found in Commons(API).pages(asked, said)] == [1]
    photo = {"id": "12", "url": "http://a.test/photos/12/square.jpg", "license_code": "cc-by"}
    (found,) = read_observations([{"id": 7, "photos": [photo]}], "large", "any")
    assert (found["sourceID"], found["license"]) == ("12", "CC-BY")
    record = {"key": "7", "media": [{"identifier": "http://a.test/1.jpg", "license": "cc-by-2.5-in"}]}
    (found,) = read_occurrences({"results": [record]}, LIVING)
    assert (found["observationID"], found["license"]) == ("gbif:7", "CC-BY-2.5")


def test_titles_are_grouped_so_that_an_address_holds_them() -> None:
    long = [f"File:{'鳥' * 80}{number:03d}.jpg" for number in range(60)]
    groups = list(groups_of([*long, *long]))
    assert [title for group in groups for title in group] == long and len(groups) > 2
    for group in groups:
        web.check_url(f"https://a.org/w/api.php?titles={'|'.join(group)}", web.MAX_QUERY)
    assert [len(group) for group in groups_of(f"File:{number}.jpg" for number in range(120))] == [50, 50, 20]
