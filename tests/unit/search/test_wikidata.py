"""Wikidata's pictures: looked up at Commons in groups, each entity answered once, renamed and missing files handled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from servers import Answer, scripted_server

from kg2clip import tables, web
from kg2clip.search.commons import read_pages
from kg2clip.search.merge import merge_hits
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers
from kg2clip.search.wikidata import WikidataImages, file_title

WANTED = {"api": "http://commons.test/w/api.php", "thumbnail_width": 960, "per_query": 200}


def query(entity: str, kind: str = "noun", text: str = "x") -> dict[str, Any]:
    return {"queryID": f"{entity}/{kind}/{text}", "entityID": entity, "kind": kind, "text": text, "name": text}


@pytest.fixture
def page(samples: Path) -> dict[str, Any]:
    return json.loads((samples / "commons" / "page_with_mediatype.json").read_text())


def commons(page: dict[str, Any], **special: dict[str, Any]):
    """Commons' answers to a question for titles, made of a recorded page; `special` has titles that behave otherwise."""

    def answer(path: str, _: bytes) -> Answer:
        titles = parse_qs(urlsplit(path).query)["titles"][0].split("|")
        said: dict[str, Any] = {"pages": {}}
        for number, title in enumerate(titles):
            rule = special.get(title, {})
            for step in ("normalized", "redirects"):
                if step in rule:
                    said.setdefault(step, []).append({"from": title, "to": rule[step]})
                    title = rule[step]
            if rule.get("missing"):
                said["pages"][str(-1 - number)] = {"ns": 6, "title": title, "missing": "", "imagerepository": ""}
            else:
                said["pages"][str(number + 1)] = {**page, "pageid": number + 1, "title": title}
        return 200, {}, json.dumps({"batchcomplete": "", "query": said}).encode()

    return answer


def serve(monkeypatch, port: int) -> None:
    monkeypatch.setenv(web.RESOLVE, json.dumps({"commons.test": f"127.0.0.1:{port}"}))


def test_titles_are_written_as_mediawiki_writes_them() -> None:
    assert file_title("lion_waiting  in Namibia.jpg") == "File:Lion waiting in Namibia.jpg"
    assert file_title("File:éland.jpg") == "File:Éland.jpg"


def test_recorded_entities_name_their_files(samples: Path) -> None:
    entity = json.loads((samples / "wikidata" / "entity_Q140.json").read_text())
    claims = next(iter(entity["entities"].values()))["claims"] if "entities" in entity else entity["claims"]
    names = [claim["mainsnak"]["datavalue"]["value"] for claim in claims["P18"]]
    assert len(names) == 2 and all(file_title(name) == f"File:{name}" for name in names)


def test_each_entity_is_answered_once_with_its_own_pictures(page: Any, tmp_path: Path, monkeypatch) -> None:
    images = {"wd:Q1": ["b 1.jpg", "A 1.jpg", "b_1.jpg"], "wd:Q2": ["A 1.jpg"], "wd:Q3": None, "wd:Q4": []}
    with scripted_server(commons(page)) as (port, seen):
        serve(monkeypatch, port)
        source = WikidataImages(WANTED, images)
        queries = [query(entity, kind) for entity in (*images, "wd:Q5") for kind in ("noun", "attribute-noun")]
        rows = search_source(source, queries, Answers(tmp_path / "kept", "", 1000), 200, 200, {})
    assert len(seen) == 1, "all entities share a call"
    assert [(row["entityID"], row["sourceID"]) for row in rows] == [
        ("wd:Q1", "B 1.jpg"), ("wd:Q1", "A 1.jpg"), ("wd:Q2", "A 1.jpg"),
    ]  # fmt: skip
    assert {row["queryID"] for row in rows} == {"wd:Q1/noun/x", "wd:Q2/noun/x"}
    asked = parse_qs(urlsplit(seen[0].split(" ")[0]).query)
    assert asked["titles"] == ["File:A 1.jpg|File:B 1.jpg"] and asked["iiurlwidth"] == ["960"]
    tables.write(rows, tables.HITS, tmp_path / "hits.parquet")
    tables.write([], tables.ENTITIES, tmp_path / "entities.parquet")
    counts = merge_hits([tmp_path / "hits.parquet"], tmp_path / "entities.parquet", tmp_path / "candidates.parquet")
    assert counts["candidates"] == 1, "this server gives all files one address"


def test_a_file_that_commons_search_finds_too_is_one_candidate(page: Any, tmp_path: Path, monkeypatch) -> None:
    with scripted_server(commons(page)) as (port, _):
        serve(monkeypatch, port)
        source = WikidataImages(WANTED, {"wd:Q1": [page["title"].removeprefix("File:")]})
        ((hit,),) = source.pages(query("wd:Q1"), Answers(tmp_path, "", 1000))
    (searched,) = read_pages([page])
    assert {**hit, "retrieved": None} == {**searched, "retrieved": None}


def test_titles_are_asked_for_fifty_at_a_time_and_only_when_needed(page: Any, tmp_path: Path, monkeypatch) -> None:
    images = {f"wd:Q{number}": [f"F{number:03d}.jpg"] for number in range(120)}
    with scripted_server(commons(page)) as (port, seen):
        serve(monkeypatch, port)
        source, answers = WikidataImages(WANTED, images), Answers(tmp_path, "", 1000)
        for entity in ("wd:Q7", "wd:Q49", "wd:Q3"):
            ((hit,),) = source.pages(query(entity), answers)
            assert hit["sourceID"] == f"F{int(entity[4:]):03d}.jpg"
        assert len(seen) == 1
        found = [hit for entity in images for found in source.pages(query(entity), answers) for hit in found]
        assert len(found) == 117 and len(seen) == 3
        again = WikidataImages(WANTED, dict(reversed(images.items())))
        assert len([hit for entity in images for found in again.pages(query(entity), answers) for hit in found]) == 120
    assert len(seen) == 3, "the groups are the same in every run: kept answers serve again"


def test_renamed_normalised_and_missing_files(page: Any, tmp_path: Path, monkeypatch) -> None:
    special = {
        "File:Old.jpg": {"redirects": "File:New.jpg"},
        "File:Straße.jpg": {"normalized": "File:Strasse.jpg", "redirects": "File:Road.jpg"},
        "File:Gone.jpg": {"missing": True},
    }
    with scripted_server(commons(page, **special)) as (port, _):
        serve(monkeypatch, port)
        source = WikidataImages(WANTED, {"wd:Q1": ["Old.jpg", "Gone.jpg", "Straße.jpg"], "wd:Q2": ["Gone.jpg"]})
        answers = Answers(tmp_path, "", 1000)
        ((first, second),) = source.pages(query("wd:Q1"), answers)
        assert (first["sourceID"], second["sourceID"]) == ("New.jpg", "Road.jpg")
        assert list(source.pages(query("wd:Q2"), answers)) == []


def test_an_answer_in_parts_is_merged(page: Any, tmp_path: Path, monkeypatch) -> None:
    bare = {key: value for key, value in page.items() if key != "imageinfo"}
    parts = [
        {"continue": {"iistart": "x", "continue": "||"}, "query": {"pages": {"1": {**bare, "title": "File:A.jpg"}}}},
        {"batchcomplete": "", "query": {"pages": {"1": {"title": "File:A.jpg", "imageinfo": page["imageinfo"]}}}},
    ]
    waiting = [json.dumps(part).encode() for part in parts]
    with scripted_server(lambda path, _: (200, {}, waiting.pop(0))) as (port, seen):
        serve(monkeypatch, port)
        ((hit,),) = WikidataImages(WANTED, {"wd:Q1": ["A.jpg"]}).pages(query("wd:Q1"), Answers(tmp_path, "", 1000))
    assert hit["originalURI"] == page["imageinfo"][0]["url"] and "iistart=x" in seen[1]
