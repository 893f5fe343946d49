"""The GBIF client reads recorded answers, asks politely and little, and sees a download through to its file."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from servers import Answer, scripted_server

from kg2clip import tables, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.search.gbif import GbifSearch, match_request, matched_key, read_occurrences
from kg2clip.search.gbif_download import GbifDownload, download, picture_predicate
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers

LIVING = ["HUMAN_OBSERVATION"]
API = "http://gbif.test/v1"
WANTED = {"api": API, "per_query": 200, "max_calls": 1000, "basis_of_record": LIVING}


def query(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "queryID": f"q:{name}", "entityID": "wd:Q1", "kind": "noun", "text": name, "name": name,
        "nameKind": "scientific", **changes,
    }  # fmt: skip


def recorded(samples: Path, name: str) -> Any:
    return json.loads((samples / "gbif" / name).read_text())


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_recorded_records_are_read(samples: Path) -> None:
    fungi = read_occurrences(recorded(samples, "occurrence_search_amanita_2024.json"), LIVING)
    assert len(fungi) == 20 and {hit["format"] for hit in fungi} == {None}, "these have no format"
    reserved = [hit["sourceID"] for hit in fungi if hit["license"] == "all-rights-reserved"]
    assert reserved == ["https://arter.dk/media/e29c8b9d-d75e-4164-b904-b1f000f3cf2d.jpg"]
    assert fungi[0]["furtherInformationURL"] == "https://www.gbif.org/occurrence/4909740830"
    animals = read_occurrences(recorded(samples, "occurrence_search_animal_2024.json"), LIVING)
    assert len(animals) == 39 and {hit["format"] for hit in animals} == {"image/jpeg"}
    assert {"CC-BY-NC-4.0", "CC0-1.0"} <= {hit["license"] for hit in animals}
    first = {name: value for name, value in animals[0].items() if name not in ("candidateID", "retrieved")}
    address = "https://inaturalist-open-data.s3.amazonaws.com/photos/345081265/original.jpg"
    assert first == {
        "source": "gbif", "sourceID": address, "observationID": "gbif:4510402016",
        "occurrenceID": "https://www.inaturalist.org/observations/196061527", "accessURI": address,
        "originalURI": address, "furtherInformationURL": "https://www.inaturalist.org/photos/345081265", "title": None,
        "altText": None, "description": None, "format": "image/jpeg", "license": "CC-BY-NC-4.0",
        "licenseOriginal": "http://creativecommons.org/licenses/by-nc/4.0/",
        "licenseURL": "http://creativecommons.org/licenses/by-nc/4.0/", "creator": "Person 13", "rightsHolder": "Person 13",
    }  # fmt: skip
    plants = read_occurrences(recorded(samples, "occurrence_search_two_checklists_2025.json"), LIVING)
    assert len(plants) == 19 and plants[0]["license"] == "CC-BY-NC-ND-4.0"
    assert read_occurrences(recorded(samples, "occurrence_search_empty.json"), LIVING) == []
    rows = [{"queryID": "q", "entityID": "e", "rank": 0, **hit} for hit in (*fungi, *animals, *plants)]
    assert tables.as_table(rows, tables.HITS).num_rows == 78


def test_absent_organisms_specimens_and_other_media_are_no_pictures(samples: Path) -> None:
    page = recorded(samples, "occurrence_search_animal_2024.json")
    absent, specimen, keyed, kept = page["results"][:4]
    absent["occurrenceStatus"], specimen["basisOfRecord"] = "ABSENT", "PRESERVED_SPECIMEN"
    keyed["media"] = [
        {"type": "StillImage", "references": "https://a.test/page"},
        {"type": "InteractiveResource", "identifier": "https://a.test/viewer"},
        {
            "type": "StillImage",
            "identifier": "https://a.test/1.jpg",
            "format": "image/png",
            "title": "<i>a</i> &amp; b",
        },
        {},
    ]
    del keyed["key"]
    page["results"] = [absent, specimen, keyed, {**kept, "media": None}]
    (hit,) = read_occurrences(page, LIVING)
    assert (hit["title"], hit["format"], hit["observationID"]) == ("a & b", "image/png", "gbif:4512087057")
    assert hit["license"] == "CC-BY-NC-4.0", "the record's licence stands in where the picture has none"
    assert len(read_occurrences(page, [*LIVING, "PRESERVED_SPECIMEN"])) > 1


def test_only_the_exact_name_is_a_match(samples: Path) -> None:
    answer = recorded(samples, "species_match_exact.json")
    sunflower = query("Helianthus annuus")
    assert matched_key(answer, sunflower) == matched_key(answer, query("helianthus annuus L.")) == "9206251"
    assert matched_key(answer, query("Helianthus")) is None
    for kind in ("FUZZY", "HIGHERRANK", "NONE"):
        guessed = {**answer, "diagnostics": {**answer["diagnostics"], "matchType": kind}}
        assert matched_key(guessed, sunflower) is None
    assert matched_key(recorded(samples, "species_match_none.json"), sunflower) is None
    numbered = {**answer, "usage": {**answer["usage"], "key": 9206251}, "synonym": True, "acceptedUsage": {"key": 1}}
    assert matched_key(numbered, sunflower) == "9206251", "a synonym keeps its own records"
    hybrid = {**answer, "usage": {"key": 7, "canonicalName": "Mentha piperita", "name": "Mentha ×piperita L."}}
    assert matched_key(hybrid, query("Mentha × piperita")) == "7", "canonical names have no sign"


@pytest.mark.parametrize(
    ("kingdom", "word", "found", "hint"),
    [
        ("Viridiplantae", None, True, None),
        ("Viridiplantae", "sunflowers", True, "Plantae"),
        ("Plantae", "sunflowers", True, "Plantae"),
        ("Metazoa", None, False, None),
        ("Metazoa", "birds", False, "Animalia"),
        (None, None, True, None),
        (None, "sunflowers", False, None),
        ("Chromista", None, True, None),
    ],
)
def test_a_taxon_of_another_kingdom_is_no_match(
    kingdom: str | None, word: str | None, found: bool, hint: str | None, samples: Path
) -> None:
    answer = recorded(samples, "species_match_exact.json")
    sunflower = query("Helianthus annuus", disambiguation=word)
    assert (matched_key(answer, sunflower, kingdom) is not None) == found
    assert match_request(sunflower, kingdom).get("kingdom") == hint


def service(samples: Path, records: int):
    """Match any name, and page through so many records; gives the answer and the searches seen."""
    match = recorded(samples, "species_match_exact.json")
    one = recorded(samples, "occurrence_search_amanita_2024.json")["results"][2]
    asked: list[dict[str, list[str]]] = []

    def answer(path: str, _: bytes) -> Answer:
        parameters = parse_qs(urlsplit(path).query)
        if "/species/match" in path:
            match["usage"]["canonicalName"] = parameters["scientificName"][0]
            return 200, {}, json.dumps(match).encode()
        asked.append(parameters)
        offset, limit = int(parameters["offset"][0]), int(parameters["limit"][0])
        found = [
            {**one, "key": number, "media": [{**one["media"][0], "identifier": f"http://a.test/{number}.jpg"}]}
            for number in range(offset, min(offset + limit, records))
        ]
        page = {"offset": offset, "limit": limit, "endOfRecords": offset + limit >= records, "results": found}
        return 200, {}, json.dumps(page).encode()

    return answer, asked


def test_searching_pages_until_enough(samples: Path, tmp_path: Path, monkeypatch, quick: None) -> None:
    answer, asked = service(samples, 700)
    with scripted_server(answer) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"gbif.test": f"127.0.0.1:{port}"}))
        answers = Answers(tmp_path, "", 1000)
        source = GbifSearch({**WANTED, "per_query": 1000, "basis_of_record": ["HUMAN_OBSERVATION", "OBSERVATION"]})
        rows = search_source(source, [query("Rosa canina")], answers, 1000, 1000, {})
        assert len(rows) == 700 and [search["offset"] for search in asked] == [["0"], ["300"], ["600"]]
        assert asked[0]["basisOfRecord"] == ["HUMAN_OBSERVATION", "OBSERVATION"] and asked[0]["limit"] == ["300"]
        assert asked[0]["mediaType"] == ["StillImage"] and asked[0]["taxonKey"] == ["9206251"]
        assert "/v2/species/match?scientificName=Rosa+canina&checklistKey=d7dddbf4" in seen[0]
        assert len(search_source(GbifSearch(WANTED), [query("Rosa canina")], answers, 50, 1000, {})) == 50
        calls = len(seen)
        for changes in ({"kind": "attribute-noun"}, {"nameKind": "vernacular"}):
            assert list(GbifSearch(WANTED).pages(query("dog rose", **changes), answers)) == []
        assert len(seen) == calls, "GBIF knows scientific names only: nothing is asked"


def test_bulk_use_is_refused_before_the_first_call(samples: Path, tmp_path: Path, monkeypatch, quick: None) -> None:
    answer, _ = service(samples, 700)
    with scripted_server(answer) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"gbif.test": f"127.0.0.1:{port}"}))
        source, answers = GbifSearch({**WANTED, "max_calls": 5}), Answers(tmp_path, "", 1000)
        names = [query(f"Rosa {letter}", entityID=letter) for letter in "abc"]
        with pytest.raises(UserError, match="3 names need at least 6 answers .* may use 5 .*gbifdownload"):
            search_source(source, names, answers, 200, 200, {})
        assert seen == []
        long = GbifSearch({**WANTED, "max_calls": 2})  # one name, whose pages are many
        with pytest.raises(UserError, match="more than 2 answers.*gbifdownload"):
            list(long.pages(query("Rosa canina"), answers))
        assert len(seen) == 2


def test_an_unknown_value_is_told_in_gbifs_words(samples: Path, tmp_path: Path, monkeypatch) -> None:
    text = (samples / "gbif" / "error_400_unknown_value.txt").read_bytes()
    with scripted_server(lambda path, _: (400, {"Content-Type": "text/plain"}, text)) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"gbif.test": f"127.0.0.1:{port}"}))
        with pytest.raises(UserError, match="status 400: Cannot parse asia,oceania into a known Continent"):
            list(GbifSearch(WANTED).pages(query("Rosa canina"), Answers(tmp_path, "", 1000)))


def test_the_public_service_is_not_asked_without_a_contact(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(web.RESOLVE, raising=False)
    with pytest.raises(web.RefusedError, match="Set contact"):
        wanted = {**WANTED, "api": "https://api.gbif.org/v1"}
        list(GbifSearch(wanted).pages(query("Rosa canina"), Answers(tmp_path, "", 1000)))


PREDICATE = picture_predicate([9206251, "212"], LIVING)


class Service:
    """GBIF's download service, answering as recorded; it takes what a test changes."""

    def __init__(self, samples: Path) -> None:
        self.states = ["preparing", "running", "running", "succeeded"]
        self.status = {name: recorded(samples, f"download_status_{name}.json") for name in set(self.states)}
        self.key = (samples / "gbif" / "download_request_created_201.txt").read_bytes()
        self.requested: Answer = (201, {"Content-Type": "text/plain"}, self.key)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("meta.xml", "x" * 10_000)
        self.zips: list[Answer] = [(200, {}, buffer.getvalue())]
        self.status["succeeded"]["size"] = len(buffer.getvalue())
        for status in self.status.values():
            status["downloadLink"] = "http://gbif.test/v1/occurrence/download/request/0026011-250827131500795.zip"

    def answer(self, path: str, body: bytes) -> Answer:
        if body:
            return self.requested
        if path.endswith(".zip"):
            return self.zips.pop(0) if len(self.zips) > 1 else self.zips[0]
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return 200, {}, json.dumps(self.status[state]).encode()


@pytest.fixture
def gbif(samples: Path, monkeypatch, quick: None):
    monkeypatch.setenv("GBIF_USER", "someone")
    monkeypatch.setenv("GBIF_PASSWORD", "very-secret-word")
    made = Service(samples)
    with scripted_server(made.answer) as (port, made.seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"gbif.test": f"127.0.0.1:{port}"}))
        yield made


def fetch(path: Path, predicate: Any = PREDICATE, max_bytes: int = 10**6, **changes: Any) -> Any:
    return download(API, predicate, path, "", max_bytes, **{"pause": 0.001, **changes})


def test_a_download_is_requested_awaited_and_fetched(gbif: Service, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    made = fetch(tmp_path / "gbif.zip")
    assert (made.key, made.doi, made.records) == ("0026011-250827131500795", "10.15468/dl.np3k7j", 22235)
    assert made.path.read_bytes() == gbif.zips[0][2]
    request = json.loads(gbif.seen[0].split(" ", 1)[1])
    assert request == {"creator": "someone", "sendNotification": False, "format": "DWCA", "predicate": PREDICATE}
    assert len(gbif.seen) == 1 + 4 + 1, "only SUCCEEDED counts, although downloadLink is there from the start"
    assert fetch(tmp_path / "gbif.zip") == made and len(gbif.seen) == 6, "nothing is asked for twice"
    kept = "".join(file.read_text("latin-1") for file in tmp_path.iterdir()) + caplog.text
    assert "very-secret-word" not in kept and "dmVyeS1zZWNyZXQ" not in kept and "someone" not in kept
    with pytest.raises(UserError, match="is for another request"):
        fetch(tmp_path / "gbif.zip", picture_predicate([1], LIVING))


def test_a_stopped_run_waits_for_the_same_download(gbif: Service, tmp_path: Path) -> None:
    gbif.states = ["running"]
    with pytest.raises(IncompleteError, match="still RUNNING. Run the same command later"):
        fetch(tmp_path / "gbif.zip", patience=0)
    gbif.states = ["succeeded"]
    whole = gbif.zips[0]
    gbif.zips = [(200, {}, whole[2][:100])]
    with pytest.raises(IncompleteError, match="did not give a whole zip file"):
        fetch(tmp_path / "gbif.zip")
    assert [file.name for file in tmp_path.iterdir()] == ["gbif.zip.request.json"]
    gbif.zips = [(503, {}, b""), (429, {}, b""), whole]
    assert fetch(tmp_path / "gbif.zip").path.read_bytes() == whole[2]
    assert sum("creator" in request for request in gbif.seen) == 1


@pytest.mark.parametrize("state", ["FAILED", "KILLED", "CANCELLED", "FILE_ERASED"])
def test_a_failed_download_is_told(gbif: Service, tmp_path: Path, state: str) -> None:
    gbif.status["running"]["status"] = state
    with pytest.raises(UserError, match=f"ended with {state}"):
        fetch(tmp_path / "gbif.zip")
    assert not (tmp_path / "gbif.zip").exists()


def test_too_large_a_file_is_refused_by_its_word_and_by_its_bytes(gbif: Service, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="more than the 100 allowed"):
        fetch(tmp_path / "gbif.zip", max_bytes=100)
    gbif.status["succeeded"]["size"] = 50
    with pytest.raises(UserError, match="more than the 100 bytes allowed"):
        fetch(tmp_path / "gbif.zip", max_bytes=100)
    assert not (tmp_path / "gbif.zip").exists()


def test_what_keeps_a_request_from_being_made_is_told(gbif: Service, tmp_path: Path, monkeypatch) -> None:
    gbif.requested = (401, {}, b"")
    with pytest.raises(UserError, match="does not accept the account in GBIF_USER and GBIF_PASSWORD"):
        fetch(tmp_path / "gbif.zip")
    for status in (420, 429):
        gbif.requested = (status, {}, b"")
        with pytest.raises(IncompleteError, match="three downloads"):
            fetch(tmp_path / "gbif.zip")
    gbif.requested = (400, {}, b"cannot parse; you sent very-secret-word")
    with pytest.raises(UserError, match=r"cannot parse; you sent \*\*\*"):
        fetch(tmp_path / "gbif.zip")
    gbif.requested = (302, {"Location": "http://gbif.test/elsewhere"}, b"")
    with pytest.raises(UserError, match="status 302"):
        fetch(tmp_path / "gbif.zip")
    assert len(gbif.seen) == 5 and not any(tmp_path.iterdir()), (
        "a request is made once, and a redirect gets no password"
    )
    with pytest.raises(UserError, match="no https address"):
        download("http://elsewhere.test/v1", PREDICATE, tmp_path / "gbif.zip", "", 10**6)
    monkeypatch.delenv("GBIF_PASSWORD")
    with pytest.raises(UserError, match="set the environment variables GBIF_USER and GBIF_PASSWORD"):
        fetch(tmp_path / "gbif.zip")


def test_the_source_requests_one_download_for_all_names(samples: Path, gbif: Service, tmp_path: Path) -> None:
    whole = (samples / "gbif" / "download_dwca_2014.zip").read_bytes()
    gbif.zips, gbif.status["succeeded"]["size"] = [(200, {}, whole)], len(whole)
    matches = {"Bombus ephippiatus": "1340416", "Bombus": "1340278"}
    served = gbif.answer

    def answer(path: str, body: bytes) -> Answer:
        name = parse_qs(urlsplit(path).query).get("scientificName", [""])[0]
        if not name:
            return served(path, body)
        match = recorded(samples, "species_match_exact.json")
        match["usage"] |= {"key": matches.get(name, "0"), "canonicalName": name if name in matches else "other"}
        return 200, {}, json.dumps(match).encode()

    gbif.answer = answer  # type: ignore[method-assign]
    wanted = {
        "api": API, "basis_of_record": ["PRESERVED_SPECIMEN"], "taxon_keys": [], "max_gigabytes": 1, "per_query": 200,
    }  # fmt: skip
    asked = [query(name) for name in (*matches, "Bombus unknownus")] + [query("bee", nameKind="vernacular")]
    with scripted_server(answer) as (port, seen), pytest.MonkeyPatch.context() as patch:
        patch.setenv(web.RESOLVE, json.dumps({"gbif.test": f"127.0.0.1:{port}"}))
        source, answers = GbifDownload(wanted), Answers(tmp_path / "answers", "", 1000)
        rows = search_source(source, asked, answers, 200, 200, {})
        request = next(json.loads(line.split(" ", 1)[1]) for line in seen if "creator" in line)
        assert request["predicate"]["predicates"][0]["values"] == ["1340278", "1340416"]
        assert {row["queryID"] for row in rows} == {"q:Bombus ephippiatus", "q:Bombus"}
        assert {row["source"] for row in rows} == {"gbifdownload"}
        assert source.facts() == {"doi": "10.15468/dl.np3k7j", "download": "0026011-250827131500795", "records": 22235}
        calls = len(seen)
        assert search_source(GbifDownload(wanted), asked, answers, 200, 200, {}) == rows
        assert len(seen) == calls, "the download is there: nothing is asked again"
        other = GbifDownload({**wanted, "taxon_keys": [1340278]})
        search_source(other, asked, answers, 200, 200, {})
        request = [json.loads(line.split(" ", 1)[1]) for line in seen if "creator" in line][-1]
        assert request["predicate"]["predicates"][0]["values"] == ["1340278"], "a branch by its key"
    many = [query(f"Rosa {number}") for number in range(9_001)]
    with pytest.raises(UserError, match="9001 names are too many .*taxon_keys"):
        GbifDownload(wanted).prepare(many, answers)
