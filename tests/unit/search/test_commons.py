"""The Commons client reads recorded answers, and the mirror's answers have the same shape."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from servers import scripted_server

from kg2clip import settings, tables, web
from kg2clip.errors import UserError
from kg2clip.mirror.commons import FilePages
from kg2clip.mirror.plan import plan_files
from kg2clip.mirror.rendered import species
from kg2clip.search.commons import ASIDE, Commons, CommonsCategories, read_pages, search_text
from kg2clip.search.merge import merge_hits
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers

CONFIG = {
    "project": "x",
    "knowledge": {"roots": ["x"]},
    "search": {"sources": {"commons": {"api": "http://commons.test/w/api.php"}}},
}


def query(text: str = "Turdus merula", **changes: Any) -> dict[str, Any]:
    return {
        "queryID": f"q:{text}", "entityID": "wd:Q1", "kind": "noun", "text": text, "name": text,
        "attribute": None, "disambiguation": None, **changes,
    }  # fmt: skip


def pages_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["query"]["pages"]


def test_recorded_pages_are_read(samples: Path) -> None:
    hits = read_pages(pages_of(samples / "commons" / "allimages_batch_answer1.json").values())
    volcano = next(hit for hit in hits if hit["sourceID"] == "Minchinmavida Volcano.jpg")
    assert volcano["license"] == "public-domain" and volcano["licenseURL"] is None
    assert volcano["description"] == "Vulcano Minchinmavida Cile"
    assert volcano["creator"] == "The original uploader was user10 at Italian Wikipedia."
    assert (volcano["width"], volcano["height"], volcano["bytes"]) == (1440, 1440, 1117410)
    assert volcano["accessURI"].startswith("https://upload.wikimedia.org/wikipedia/commons/f/fb/")
    tables.as_table([{"queryID": "q", "entityID": "e", "rank": 0, **hit} for hit in hits], tables.HITS)


def test_all_recorded_pages_give_texts_without_html(samples: Path) -> None:
    for name in ("allimages_batch_answer1.json", "allimages_natural_history.json"):
        for hit in read_pages(pages_of(samples / "commons" / name).values()):
            assert "<" not in (hit["description"] or "") + (hit["creator"] or "")
            assert hit["license"] != "unknown"


def test_what_a_page_hides_is_no_text(samples: Path) -> None:
    pages = pages_of(samples / "commons" / "allimages_batch_answer1.json").values()
    painting = next(hit for hit in read_pages(pages) if hit["creator"] == "Edvard Munch")
    assert painting["title"] == "Night in Nice", "and not what is meant for Wikidata"


def test_a_batch_in_several_answers_is_merged_by_page(samples: Path, tmp_path: Path, monkeypatch) -> None:
    answers = [(samples / "commons" / f"allimages_batch_answer{number}.json").read_bytes() for number in (1, 2, 3)]
    last = json.loads(answers[2])
    last.pop("continue", None)
    waiting = [answers[0], answers[1], json.dumps(last).encode()]
    with scripted_server(lambda path, body: (200, {}, waiting.pop(0))) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))
        found = list(source().pages(query(), Answers(tmp_path, "", 1000)))
    assert len(seen) == 3 and "continue" in seen[1]
    assert len(found) == 1 and len(found[0]) == len(pages_of(samples / "commons" / "allimages_batch_answer1.json"))


def source() -> Commons:
    return Commons(settings.complete(CONFIG, "test")["search"]["sources"]["commons"])


def test_the_name_is_a_phrase_and_operators_are_no_words() -> None:
    assert search_text(query("Turdus merula")) == '"Turdus merula" filetype:bitmap'
    asked = query('-in"title:x*', attribute="red", disambiguation="thrushes")
    assert search_text(asked) == 'red "in title x" thrushes filetype:bitmap'
    unwanted = {**query("Turdus merula"), "excludedWords": ["drawing", "vector"]}
    assert search_text(unwanted) == '"Turdus merula" -"drawing" -"vector" filetype:bitmap'


def test_a_search_is_no_longer_than_it_may_be() -> None:
    long = {**query("x" * 250), "excludedWords": ["drawing", "a" * 40, "map"]}
    assert search_text(long) == f'"{"x" * 250}" -"drawing" -"map" filetype:bitmap'
    unusual = query('Rosa "Peace', attribute='"red -filetype:svg', disambiguation="-roses")
    assert search_text(unusual) == 'red filetype svg "Rosa Peace" roses filetype:bitmap'


def serve(pages: FilePages):
    return lambda path, body: (200, {}, json.dumps(pages.answer(dict(parse_qsl(urlsplit(path).query)))).encode())


@pytest.fixture
def mirror(tmp_path: Path):
    return FilePages(plan_files(species()[:4], 30, [], seed=1), tmp_path / "pictures")


def test_the_mirror_answers_in_the_recorded_shape(samples: Path, mirror: FilePages) -> None:
    recorded = json.loads((samples / "commons" / "page_with_mediatype.json").read_text())
    answer = mirror.answer({"action": "query", "generator": "search", "gsrsearch": species()[0].scientific_name})
    page = next(iter(answer["query"]["pages"].values()))
    assert set(recorded) <= set(page)
    ours, theirs = page["imageinfo"][0], recorded["imageinfo"][0]
    for key in set(ours) & set(theirs):
        assert type(ours[key]) is type(theirs[key]), key
    for key in set(ours["extmetadata"]) & set(theirs["extmetadata"]):
        for part in set(ours["extmetadata"][key]) & set(theirs["extmetadata"][key]):
            assert type(ours["extmetadata"][key][part]) is type(theirs["extmetadata"][key][part]), (key, part)
    empty = mirror.answer({"action": "query", "generator": "search", "gsrsearch": "nosuchword"})
    assert empty == {"batchcomplete": ""}


def test_search_pages_until_enough_and_asks_nothing_twice(mirror: FilePages, tmp_path: Path, monkeypatch) -> None:
    name = species()[0].scientific_name
    with scripted_server(serve(mirror)) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))
        answers = Answers(tmp_path / "kept", "", 1000)
        rows = search_source(source(), [query(name)], answers, per_query=200, per_entity=200, found_before={})
        found = {row["candidateID"] for row in rows}
        assert len(found) == len(mirror.search(f'"{name}"'))
        calls = len(seen)
        again = search_source(source(), [query(name)], answers, 200, 200, {})
        assert again == rows and len(seen) == calls
        few = search_source(source(), [query(name)], answers, per_query=5, per_entity=200, found_before={})
        assert [row["rank"] for row in few] == [0, 1, 2, 3, 4]
        assert search_source(source(), [query(name)], answers, 200, 200, {"wd:Q1": set(map(str, range(200)))}) == []


def test_hits_of_several_queries_and_entities_are_one_candidate(mirror: FilePages, tmp_path: Path, monkeypatch) -> None:
    name = species()[0].scientific_name
    with scripted_server(serve(mirror)) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))
        asked = [query(name), query(name, queryID="q:2", entityID="wd:Q2")]
        rows = search_source(source(), asked, Answers(tmp_path / "kept", "", 1000), 200, 200, {})
    tables.write(rows, tables.HITS, tmp_path / "hits.parquet")
    tables.write([{"entityID": "wd:Q1"}, {"entityID": "wd:Q2"}], tables.ENTITIES, tmp_path / "entities.parquet")
    merge_hits([tmp_path / "hits.parquet"], tmp_path / "entities.parquet", tmp_path / "candidates.parquet")
    merged = tables.read(tmp_path / "candidates.parquet").to_pylist()
    assert len(merged) == len({row["candidateID"] for row in rows}) == len(rows) / 2
    assert all(row["queryIDs"] == [f"q:{name}", "q:2"] or row["queryIDs"] == ["q:2", f"q:{name}"] for row in merged)
    assert all(row["entityIDs"] == ["wd:Q1", "wd:Q2"] for row in merged)


def test_an_error_under_status_200_is_told(tmp_path: Path, monkeypatch) -> None:
    body = json.dumps({"error": {"code": "badvalue", "info": "Unrecognized value"}}).encode()
    with scripted_server(lambda path, _: (200, {}, body)) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))
        with pytest.raises(UserError, match="badvalue"):
            list(source().pages(query(), Answers(tmp_path, "", 1000)))


def test_a_busy_source_is_asked_again(tmp_path: Path, monkeypatch) -> None:
    waiting = [
        (200, {"Retry-After": "0"}, json.dumps({"error": {"code": "maxlag"}}).encode()),
        (200, {"Retry-After": "0"}, json.dumps({"error": {"code": "cirrussearch-too-busy-error"}}).encode()),
        (200, {"Retry-After": "0"}, json.dumps({"error": {"code": "internal_api_error_Exception"}}).encode()),
        (429, {}, b""),
        (200, {}, b'{"batchcomplete": ""}'),
    ]
    with scripted_server(lambda path, _: waiting.pop(0)) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))
        answers = Answers(tmp_path, "", 1000)
        assert list(source().pages(query(), answers)) == [[]]
    assert len(seen) == 5
    del answers
    with sqlite3.connect(tmp_path / "answers.sqlite") as ledger:
        assert [status for (status,) in ledger.execute("SELECT status FROM calls")] == ["200"] * 3 + ["429", "200"]


def test_a_category_is_walked_level_by_level_each_once(samples: Path, tmp_path: Path, monkeypatch) -> None:
    pages = pages_of(samples / "commons" / "allimages_natural_history.json")
    ids = sorted(pages)
    below = {
        "Category:Bombus terrestris": ["Category:Bombus terrestris (queens)", "Category:Maps of Bombus terrestris"],
        # a cycle, and a level that is not asked for
        "Category:Bombus terrestris (queens)": ["Category:Bombus terrestris", "Category:Deeper"],
    }
    files = {"Category:Bombus terrestris": ids[:2], "Category:Bombus terrestris (queens)": ids[1:3]}

    def answer(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        said = dict(parse_qsl(urlsplit(path).query))
        if said.get("generator") == "categorymembers":
            assert said["gcmtype"] == "file" and said["iiurlwidth"] == "960"
            found = {"pages": {key: pages[key] for key in files.get(said["gcmtitle"], [])}}
        else:
            assert said["list"] == "categorymembers" and said["cmtype"] == "subcat"
            found = {"categorymembers": [{"ns": 14, "title": title} for title in below.get(said["cmtitle"], [])]}
        return 200, {}, json.dumps({"batchcomplete": "", "query": found}).encode()

    wanted = {"api": "http://commons.test/w/api.php", "per_query": 200, "depth": 1, "thumbnail_width": 960}
    asked = query("Bombus terrestris", nameKind="scientific")
    with scripted_server(answer) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))
        answers = Answers(tmp_path, "", 1000)
        found = list(CommonsCategories(wanted).pages(asked, answers))
        titles = [[hit["sourceID"] for hit in page] for page in found]
        named = [pages[key]["title"].removeprefix("File:") for key in ids[:3]]
        assert [set(page) for page in titles] == [set(named[:2]), set(named[1:])]
        assert {hit["source"] for page in found for hit in page} == {"commons"}
        assert len(seen) == 3, "two categories of files, one list of categories; no maps, nothing twice"
        assert list(CommonsCategories(wanted).pages(query("bee", nameKind="vernacular"), answers)) == []
        assert len(seen) == 3


@pytest.mark.parametrize(
    ("title", "aside"),
    [
        ("Category:Distribution maps of Bombus", True),
        ("Category:Bombus terrestris in art", True),
        ("Category:Bird stamps", True),
        ("Category:Videos of Turdus merula", True),
        ("Category:Turdus merula (nests)", False),
        ("Category:Bombus artemis", False),
        ("Category:Turdus merula in Hesse", False),
    ],
)
def test_categories_without_photographs_are_left_out(title: str, aside: bool) -> None:
    assert bool(ASIDE.search(title)) == aside


def test_the_mirrors_categories_are_walked(mirror: FilePages, tmp_path: Path, monkeypatch) -> None:
    name = species()[0].scientific_name
    wanted = {"api": "http://commons.test/w/api.php", "per_query": 5, "depth": 1, "thumbnail_width": 960}
    with scripted_server(serve(mirror)) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))
        answers = Answers(tmp_path / "kept", "", 1000)
        pages = list(CommonsCategories(wanted).pages(query(name, nameKind="scientific"), answers))
        found = [hit["sourceID"] for page in pages for hit in page]
        assert len(found) == len(set(found)) > 5 and len(pages) > 1 and len(pages[0]) == 5
        searched = {hit["sourceID"] for page in source().pages(query(name), answers) for hit in page}
        assert set(found) <= searched
