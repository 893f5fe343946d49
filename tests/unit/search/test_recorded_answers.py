"""Each recorded answer of a shipped source is read by a test, here or where READ says, or has no reader, and why."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from servers import scripted_server

from kg2clip import web
from kg2clip.search.commons import read_pages
from kg2clip.search.darwin_core import read_media
from kg2clip.search.gbif import read_occurrences
from kg2clip.search.inaturalist import INaturalist, read_observations
from kg2clip.search.source import Answers

HERE = Path(__file__).resolve().parent
NO_READER = {
    "gbif/occurrence_verbatim.json": "the publisher's own words: pictures are taken from the interpreted record",
    "gbif/species_vernacular_names.json": "names come from the graph",
    "gbif/species_synonyms.json": "names come from the graph",
    "gbif/download_describe_simple_csv.json": "SIMPLE_CSV has no pictures",
}
BY_PATTERN = {  # named by a test that puts the name together
    "commons/allimages_batch_answer2.json": "test_commons.py",
    "commons/allimages_batch_answer3.json": "test_commons.py",
    "gbif/download_status_preparing.json": "test_gbif.py",
    "gbif/download_status_running.json": "test_gbif.py",
    "gbif/download_status_succeeded.json": "test_gbif.py",
}
FOLDERS = ("commons", "inaturalist", "gbif", "darwin_core_archive")


def recorded(samples: Path, name: str) -> Any:
    return json.loads((samples / name).read_text(encoding="utf-8"))


def test_every_recorded_answer_is_read(samples: Path) -> None:
    tests = {path.name: path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py")}
    for folder in FOLDERS:
        for path in sorted((samples / folder).rglob("*")):
            name = path.relative_to(samples).as_posix()
            if path.is_dir() or name in NO_READER:
                continue
            if name in BY_PATTERN:
                assert path.stem.rstrip("0123456789").rpartition("_")[0] in tests[BY_PATTERN[name]], name
                continue
            assert any(path.name.removesuffix(".json") in text for text in tests.values()) or "open_data" in name, name


def test_answers_without_what_is_looked_for_give_nothing(samples: Path) -> None:
    none = recorded(samples, "inaturalist/api_v1_observations_none.json")
    assert none["total_results"] == 0 and read_observations(none["results"], "medium", "any") == []
    minimal = recorded(samples, "inaturalist/api_v2_observations_minimal.json")  # of an observation only its uuid
    assert read_observations(minimal["results"], "medium", "any") == []
    for name in ("search_list", "search_list_none"):  # a list of titles has no pictures
        assert read_pages(recorded(samples, f"commons/{name}.json")["query"].get("pages", {}).values()) == []


def test_a_single_record_is_read_as_a_page_of_one(samples: Path) -> None:
    record = recorded(samples, "gbif/occurrence_get.json")
    assert read_occurrences({"results": [record]}, ["PRESERVED_SPECIMEN"]) == [], "it has no media"
    record["media"] = [{"type": "StillImage", "identifier": "http://a.test/1.jpg"}]
    (hit,) = read_occurrences({"results": [record]}, ["PRESERVED_SPECIMEN"])
    assert (hit["license"], hit["observationID"]) == ("CC-BY-4.0", "gbif:142316497"), "the record's licence stands in"
    assert read_occurrences({"results": [record]}, ["HUMAN_OBSERVATION"]) == []


def test_pictures_of_a_checklist_are_read_as_those_of_a_record(samples: Path) -> None:
    media = recorded(samples, "gbif/species_media.json")["results"]
    hits = [hit for one in media if (hit := read_media("gbif", {}, one))]
    assert Counter(hit["license"] for hit in hits) == {"CC-BY-NC-ND": 4, "CC-BY": 1}
    assert hits[0]["accessURI"] == "https://images.naturalis.nl/original/csr%2FDML_6601.jpg"
    assert (hits[0]["licenseOriginal"], hits[0]["rightsHolder"]) == ("CC BY-NC-ND", "Person 42")


@pytest.mark.parametrize(
    ("answer", "name", "taxon"),
    [
        ("api_v1_taxa_autocomplete", "Nicrophorus vespillo", "131878"),
        ("api_v1_taxa_autocomplete", "Vespicula trachinoides", "621585"),
        ("api_v2_taxa_full", "Tenthredo vespa", "471983"),
        ("api_v1_taxon_by_id", "Nicrophorus vespilloides", "70118"),
        ("api_v1_taxa_autocomplete", "Vespa", None),
    ],
)
def test_lists_of_taxa_say_which_one_a_name_means(
    answer: str, name: str, taxon: str | None, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taxa = recorded(samples, f"inaturalist/{answer}.json")
    none = recorded(samples, "inaturalist/api_v1_observations_none.json")

    def serve(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps(taxa if "/taxa" in path else none).encode()

    wanted = {
        "api": "http://inat.test/v1", "per_query": 200, "quality_grades": ["research"], "licenses": "any",
        "photo_size": "medium", "max_calls": 5000,
    }  # fmt: skip
    query = {
        "queryID": "q",
        "entityID": "e",
        "kind": "noun",
        "name": name,
        "nameKind": "scientific",
        "disambiguation": None,
    }
    with scripted_server(serve) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"inat.test": f"127.0.0.1:{port}"}))
        list(INaturalist(wanted).pages(query, Answers(tmp_path, "", 1000)))
        assert [f"taxon_id={taxon}&" in line for line in seen[1:]] == ([True] if taxon else [])
