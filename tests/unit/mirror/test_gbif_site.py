"""The mirror's GBIF and Brave: shapes of the recorded answers, paging and limits, and our clients against them."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web as http

from kg2clip import tables, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.mirror import brave, gbif, inaturalist
from kg2clip.mirror.gbif import (
    Api,
    GbifSite,
    as_archive,
    drawings,
    plan_occurrences,
    publish_again,
    read_occurrences,
    truth_row,
    write_occurrences,
)
from kg2clip.mirror.plan import FIRST_TEST_SEED, PAGES, as_json, plan_files
from kg2clip.mirror.rendered import species
from kg2clip.mirror.shots import BURSTS
from kg2clip.mirror.site import Site
from kg2clip.mirror.truth import TRUTH
from kg2clip.search.brave import BraveImages
from kg2clip.search.darwin_core import Archive, DarwinCoreArchive
from kg2clip.search.gbif import GbifSearch, matched_key
from kg2clip.search.gbif_download import download, picture_predicate
from kg2clip.search.identity import picture_key
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers

LIVING = ["HUMAN_OBSERVATION", "MACHINE_OBSERVATION"]
API = f"http://{gbif.API_HOST}/v1"
WANTED = {"api": API, "per_query": 200, "max_calls": 1000, "basis_of_record": LIVING}
SHOWN = [shown for shown in species() if shown.group == "fishes"][:4] + [
    shown for shown in species() if shown.synonyms
][:8]
PER_SPECIES = 60


def query(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "queryID": f"q:{name}", "entityID": f"e:{name}", "kind": "noun", "text": name, "name": name,
        "nameKind": "scientific", **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def occurrences() -> list[gbif.Occurrence]:
    return plan_occurrences(SHOWN, PER_SPECIES, 1)


@pytest.fixture
def folder(tmp_path: Path, occurrences: list[gbif.Occurrence]) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    write_occurrences(occurrences, folder)
    return folder


@contextmanager
def served(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Serve a site in a thread and lead its names there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    application = http.Application()
    application.router.add_route("*", "/{path:.*}", site.answer)
    runner = http.AppRunner(application, access_log=None)

    async def start() -> int:
        await runner.setup()
        tcp = http.TCPSite(runner, "127.0.0.1", 0)
        await tcp.start()
        return tcp._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    monkeypatch.setenv(web.RESOLVE, json.dumps({host: f"127.0.0.1:{port}" for host in site.hosts}))
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def recorded(samples: Path, name: str) -> Any:
    return json.loads((samples / "gbif" / name).read_text())


def same_shape(ours: Any, theirs: Any, path: str = "") -> None:
    """Whether each field of ours stands in the recorded answer with the same type."""
    assert type(ours) is type(theirs), path
    if isinstance(ours, dict):
        for key in ours:
            assert key in theirs, f"{path}/{key} is not in the recorded answer"
            same_shape(ours[key], theirs[key], f"{path}/{key}")
    if isinstance(ours, list) and ours and theirs:
        for one in ours:
            same_shape(one, theirs[0], f"{path}[]")


def test_records_have_the_recorded_fields_and_types(samples: Path, occurrences: list[gbif.Occurrence]) -> None:
    pages = [
        recorded(samples, f"occurrence_search_{name}.json")
        for name in ("amanita_2024", "animal_2024", "two_checklists_2025")
    ]
    theirs = [record for page in pages for record in page["results"]]
    types = {key: type(record[key]) for record in theirs for key in record}
    always = set.intersection(*(set(record) for record in theirs))
    media_types = {key: type(media[key]) for record in theirs for media in record["media"] for key in media}
    ranks = {f"{rank}{end}" for rank in gbif.RANKS for end in ("", "Key")}  # any rank may be missing
    api = Api(occurrences)
    page = api.search({})
    for name in ("occurrence_search_empty.json", "occurrence_search_animal_2024.json"):
        same_shape({**page, "results": []}, {**recorded(samples, name), "results": []})
    assert set(page) == set(pages[0])
    for one in occurrences:
        ours = gbif.as_record(one)
        assert {key: type(value) for key, value in ours.items()} == {key: types[key] for key in ours}
        assert always - set(ours) <= ranks
        for media in ours["media"]:
            assert {key: type(value) for key, value in media.items()} == {key: media_types[key] for key in media}
        assert set(ours["classifications"]) == set(theirs[-1]["classifications"])
        for checklist, theirs_classified in theirs[-1]["classifications"].items():
            same_shape(ours["classifications"][checklist], theirs_classified, checklist)
        assert ours["gbifID"] == str(ours["key"])
    assert any("class" not in gbif.as_record(one) for one in occurrences), "fishes have no class"
    assert api.search({"taxonKey": ["1"]}) == {**recorded(samples, "occurrence_search_empty.json"), "limit": 20}


def test_matches_have_the_recorded_shape_and_every_kind_occurs(
    samples: Path, occurrences: list[gbif.Occurrence]
) -> None:
    api = Api(occurrences)
    name = SHOWN[0].scientific_name
    exact, theirs = api.match(name), recorded(samples, "species_match_exact.json")
    assert set(exact) == set(theirs)
    same_shape(exact, theirs)
    assert exact["diagnostics"]["matchType"] == "EXACT" and isinstance(exact["usage"]["key"], str)
    none = api.match("Nomen nescio")
    same_shape(none, recorded(samples, "species_match_none.json"))
    assert set(none) == {"diagnostics", "synonym"}
    fuzzy, higher = api.match(name[:-1]), api.match(f"{name.split()[0]} nescio")
    assert (fuzzy["diagnostics"]["matchType"], higher["diagnostics"]["matchType"]) == ("FUZZY", "HIGHERRANK")
    synonym = next(one for one in occurrences if one.identified_as != one.species)
    found = api.match(synonym.identified_as)
    assert found["synonym"] and found["usage"]["key"] != found["acceptedUsage"]["key"]
    assert [matched_key(answer, {"name": name}) for answer in (fuzzy, higher, none)] == [None] * 3
    assert matched_key(found, {"name": synonym.identified_as}) == found["usage"]["key"]


def test_a_name_of_two_kingdoms_is_no_match() -> None:
    homonyms = [shown for shown in species() if shown.scientific_name.split()[0] == "Prunella"]
    assert len({shown.group for shown in homonyms}) == 2
    assert Api(plan_occurrences(homonyms, 2, 1)).match("Prunella")["diagnostics"]["matchType"] == "NONE"


def test_plans_are_the_same_for_a_seed_and_have_the_planned_faults(
    folder: Path, occurrences: list[gbif.Occurrence]
) -> None:
    assert read_occurrences(folder) == plan_occurrences(SHOWN, PER_SPECIES, 1) == occurrences
    assert plan_occurrences(SHOWN, PER_SPECIES, 2) != occurrences
    many = plan_occurrences(SHOWN[:4], 500, 3)
    media = [media for one in many for media in one.media]
    shares = gbif.SHARE
    assert Counter(one.occurrence_status for one in many)["ABSENT"] / len(many) == pytest.approx(
        shares["absent"], rel=0.35
    )
    assert sum(not one.has_address for one in media) / len(media) == pytest.approx(shares["no-address"], rel=0.35)
    assert sum(one.format is None for one in media) / len(media) == pytest.approx(shares["no-format"], rel=0.15)
    assert {one.type for one in media} == {"StillImage", "Sound"}
    shots = [media.shot for media in media]
    assert len({shot.picture_id for shot in shots}) == len(shots)
    assert all(gbif.FIRST_PICTURE_SEED <= shot.picture_seed < FIRST_TEST_SEED for shot in shots)
    bursts = [one for one in many if any(media.shot.frame for media in one.media)]
    assert len(bursts) / sum(bool(one.media) for one in many) == pytest.approx(BURSTS, rel=0.25)
    drawn = list(drawings(many))
    assert len({path for path, _ in drawn}) == len(drawn) < len(media)
    rows = [truth_row(one, media, None) for one in many for media in one.media]
    assert all(row["pictured"] == row["scientificName"] for row in rows), "the sources' precision is counted by it"
    assert tables.as_table(rows, TRUTH).num_rows == len(media)


def test_observations_of_inaturalist_are_published_again_under_their_own_names_and_addresses() -> None:
    observations = inaturalist.plan_observations(SHOWN, PER_SPECIES, 1)
    lost = gbif.lost_photos(observations, 1)
    observations = inaturalist.lose_photos(observations, lost)
    again = publish_again(observations, SHOWN, 1)
    by_uri = {one.uri: one for one in observations}
    assert 20 < len(again) < len(observations) / 3
    for one in again:
        source = by_uri[one.occurrence_id]
        assert source.quality_grade == "research" and gbif.as_record(one)["occurrenceID"] == source.uri
        photos = {photo.published_url: photo for photo in source.photos if photo.license_code}
        for media in one.media:
            photo = photos[media.address]
            assert media.shot == photo.shot and photo.fault == lost.get(photo.id)
            assert (inaturalist.WEB_HOST if photo.fault == "moved" else inaturalist.OPEN_HOST) in media.address
            assert picture_key({"accessURI": photo.url("medium")}) == picture_key({"accessURI": media.address})
    assert list(drawings(again)) == [], "iNaturalist serves them"


def ask(port: int, path: str, **options: Any) -> requests.Response:
    """A request that is not throttled: a busy first attempt is followed by a second."""
    headers = {"Host": gbif.API_HOST, **options.pop("headers", {})}
    for _ in range(2):
        response = requests.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=10, **options)
        if response.status_code != 429:
            return response
        assert "Retry-After" not in response.headers
    return response


def test_paging_limits_and_refusals(folder: Path, samples: Path, monkeypatch) -> None:
    with served(GbifSite(folder), monkeypatch) as port:
        search = "/v1/occurrence/search?mediaType=StillImage"
        whole = ask(port, f"{search}&limit=1000").json()
        assert whole["limit"] == len(whole["results"]) == 300 and not whole["endOfRecords"], "a larger limit is cut"
        keys: list[int] = []
        while len(keys) < whole["count"]:
            page = ask(port, f"{search}&limit=70&offset={len(keys)}").json()
            keys += [record["key"] for record in page["results"]]
            assert page["endOfRecords"] == (len(keys) == whole["count"])
        assert len(set(keys)) == whole["count"] and keys[:300] == [record["key"] for record in whole["results"]]
        refused = ask(port, "/v1/occurrence/search?basisOfRecord=HUMAN_OBSERVATION,FOSSIL_SPECIMEN")
        theirs = (samples / "gbif" / "error_400_unknown_value.txt").read_text()
        ours = refused.text.replace("HUMAN_OBSERVATION,FOSSIL_SPECIMEN", "asia,oceania").replace(
            "BasisOfRecord", "Continent"
        )
        assert (refused.status_code, ours) == (400, theirs) and refused.headers["Content-Type"].startswith("text/plain")
        assert ask(port, f"{search}&offset=99900&limit=300").status_code == 400
        assert ask(port, "/v1/nothing").status_code == 404
        assert ask(port, "/../occurrences.jsonl", headers={"Host": gbif.MEDIA_HOST}).status_code == 404


def test_attempts_are_counted_over_restarts(folder: Path, monkeypatch) -> None:
    def statuses() -> list[int]:
        with served(GbifSite(folder), monkeypatch) as port:
            urls = [f"http://127.0.0.1:{port}/v1/occurrence/search?limit=1&offset={number}" for number in range(150)]
            return [requests.get(url, headers={"Host": gbif.API_HOST}, timeout=10).status_code for url in urls]

    first = statuses()
    assert 0 < first.count(429) < 20 and set(first) == {200, 429}
    assert statuses() == [200] * 150, "a second attempt succeeds, also after a restart"
    (folder / gbif.JOURNAL).unlink()
    assert statuses() == first, "the fault depends on the URL and the attempt"


def test_our_client_finds_exactly_what_it_should(
    folder: Path, occurrences: list[gbif.Occurrence], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    synonyms = sorted({one.identified_as for one in occurrences} - {shown.scientific_name for shown in SHOWN})
    names = [*(shown.scientific_name for shown in SHOWN), *synonyms, "Nomen nescio", SHOWN[0].scientific_name[:-1]]
    with served(GbifSite(folder), monkeypatch):
        answers = Answers(tmp_path / "kept", "", 10_000)
        rows = search_source(GbifSearch(WANTED), [query(name) for name in names], answers, 1000, 1000, {})
        again = search_source(GbifSearch(WANTED), [query(name) for name in names], answers, 1000, 1000, {})
    without_time = [[{**row, "retrieved": None} for row in found] for found in (rows, again)]
    assert without_time[0] == without_time[1]
    wanted = {
        (name, media.address)
        for one in occurrences
        for name in {one.species, one.identified_as}
        for media in one.media
        if one.occurrence_status == "PRESENT" and one.basis_of_record in LIVING
        and media.type == "StillImage" and media.has_address
    }  # fmt: skip
    assert {(row["entityID"][2:], row["accessURI"]) for row in rows} == wanted and synonyms
    licenses = Counter(row["license"] for row in rows)
    assert set(licenses) == {"CC-BY-NC-4.0", "CC-BY-4.0", "CC0-1.0", "all-rights-reserved", "unknown", "CC-BY-NC-ND"}
    tables.write(rows, tables.HITS, tmp_path / "hits.parquet")


@pytest.fixture
def account(monkeypatch) -> None:
    monkeypatch.setenv("GBIF_USER", "someone")
    monkeypatch.setenv("GBIF_PASSWORD", "secret")
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_a_download_is_made_fetched_and_read(
    folder: Path, occurrences: list[gbif.Occurrence], samples: Path, tmp_path: Path, monkeypatch, account: None
) -> None:
    keys = [gbif.taxon_key(tuple(one.lineage.items())) for one in occurrences]
    with served(GbifSite(folder), monkeypatch) as port:
        made = download(API, picture_predicate(keys, LIVING), tmp_path / "gbif.zip", "", 10**8)
        assert re.fullmatch(r"\d{7}-\d{15}", made.key) and re.fullmatch(r"10\.15468/dl\.\w{6}", made.doi or "")
        status = ask(port, f"/v1/occurrence/download/{made.key}").json()
        for state in ("preparing", "running", "succeeded"):
            theirs = recorded(samples, f"download_status_{state}.json")
            same_shape({key: value for key, value in status.items() if key not in ("doi", "request")}, theirs)
        assert set(status) == set(recorded(samples, "download_status_succeeded.json"))
        assert set(status["request"]) == set(recorded(samples, "download_status_succeeded.json")["request"])
    archive = Archive(made.path)
    assert made.records == len(list(archive.rows(archive.core))) == status["totalRecords"] > 0
    theirs_archive = Archive(samples / "gbif" / "download_dwca_2014.zip")
    assert archive.media[0].columns == theirs_archive.media[0].columns
    assert [table.row_type for table in archive.extensions] == [table.row_type for table in theirs_archive.extensions]
    source = DarwinCoreArchive({"path": str(made.path), "basis_of_record": LIVING, "doi": made.doi})
    answers = Answers(tmp_path / "answers", "", 1)
    source.prepare([], answers)
    for shown in SHOWN:
        expected = [
            media.address
            for one in occurrences
            for media in one.media
            if one.species == shown.scientific_name and one.occurrence_status == "PRESENT"
            and one.basis_of_record in LIVING and media.type == "StillImage" and media.has_address
        ]  # fmt: skip
        found = [hit for page in source.pages(query(shown.scientific_name), answers) for hit in page]
        assert sorted(hit["accessURI"] for hit in found) == sorted(expected)
        assert all(hit["creator"].startswith("Person ") for hit in found)


def test_a_download_goes_on_after_a_restart_and_three_are_made_at_a_time(
    folder: Path, tmp_path: Path, monkeypatch, account: None
) -> None:
    def ask_for(number: int, **changes: Any) -> Any:
        return download(API, picture_predicate([number], LIVING), tmp_path / f"{number}.zip", "", 10**8, **changes)

    with served(GbifSite(folder), monkeypatch) as port:
        for number in (1, 2, 3):
            with pytest.raises(IncompleteError, match="still PREPARING"):
                ask_for(number, patience=-1)
        with pytest.raises(IncompleteError, match="three downloads"):
            ask_for(4)
        key = json.loads((tmp_path / "1.zip.request.json").read_text())["key"]
        assert ask(port, f"/v1/occurrence/download/request/{key}.zip").status_code == 404, "it is not made yet"
    with served(GbifSite(folder), monkeypatch):
        assert ask_for(1).key == key and ask_for(4).records == 0
        with pytest.raises(UserError, match="status 404"):
            (tmp_path / "5.zip.request.json").write_text(
                json.dumps({"key": "0000000-0", "predicate": picture_predicate([5], LIVING)})
            )
            ask_for(5)
        monkeypatch.setenv("GBIF_PASSWORD", "")
        with pytest.raises(UserError, match="needs your account"):
            ask_for(6)
        body = {"creator": "x", "predicate": {}}
        url = f"http://127.0.0.1:{web.resolve_map()[gbif.API_HOST][1]}/v1/occurrence/download/request"
        assert requests.post(url, json=body, headers={"Host": gbif.API_HOST}, timeout=10).status_code == 401
        refused = requests.post(url, json=body, headers={"Host": gbif.API_HOST}, auth=("x", "y"), timeout=10)
        assert (refused.status_code, refused.headers["Content-Type"].split(";")[0]) == (400, "text/plain")


def test_archives_are_the_same_bytes_for_the_same_records(occurrences: list[gbif.Occurrence], tmp_path: Path) -> None:
    archive = as_archive(occurrences[:50])
    assert archive == as_archive(occurrences[:50]) != as_archive(occurrences[:49])
    (tmp_path / "a.zip").write_bytes(archive)
    assert zipfile.ZipFile(tmp_path / "a.zip").testzip() is None


def test_pictures_are_served(folder: Path, monkeypatch) -> None:
    path = folder / "pictures" / "gbif" / "4000000000" / "1.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"picture")
    with served(GbifSite(folder), monkeypatch):
        session = web.session("")
        there = session.get(f"http://{gbif.MEDIA_HOST}/gbif/4000000000/1.jpg")
        assert (there.content, there.headers["Content-Type"]) == (b"picture", "image/jpeg")
        assert session.get(f"http://{gbif.MEDIA_HOST}/gbif/4000000000/2.jpg").status_code == 404


@pytest.fixture
def brave_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / PAGES).write_text("".join(f"{as_json(page)}\n" for page in plan_files(species()[:3], 60, [], 1)))
    return folder


BRAVE = {"api": f"http://{brave.API_HOST}/res/v1/images/search", "per_query": 200}


def test_our_brave_client_finds_the_mirrors_pages(brave_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BRAVE_API_KEY", brave.KEY)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    name = species()[0].scientific_name
    with served(brave.BraveSite(brave_folder), monkeypatch) as port:
        rows = search_source(BraveImages(BRAVE), [query(name)], Answers(tmp_path / "kept", "", 10_000), 200, 200, {})
        assert 20 < len(rows) <= 100 and {row["license"] for row in rows} == {"unknown"}
        assert any(row["title"] is None for row in rows) and not any("<" in (row["title"] or "") for row in rows)

        def get(parameters: str, key: str = brave.KEY) -> requests.Response:
            headers = {"Host": brave.API_HOST, "X-Subscription-Token": key}
            url = f"http://127.0.0.1:{port}/res/v1/images/search?q={name}{parameters}"
            response = requests.get(url, headers=headers, timeout=10)
            return response if response.status_code != 429 else requests.get(url, headers=headers, timeout=10)

        answer = get("&spellcheck=false&count=200").json()
        assert answer["type"] == "images" and answer["query"] == {"original": name, "spellcheck_off": True}
        assert any("url" not in result["properties"] for result in answer["results"])
        documented = {
            "type",
            "title",
            "url",
            "source",
            "page_fetched",
            "thumbnail",
            "properties",
            "meta_url",
            "confidence",
        }
        assert all(set(result) <= documented and result["type"] == "image_result" for result in answer["results"])
        mended = get("").json()
        assert mended["query"]["altered"] != name and mended["results"] == [], "left on, spellcheck spoils Latin names"
        for wrong in ("&count=201", "&offset=1", "&safesearch=moderate"):
            assert get(wrong).status_code == 422
        assert "no-such-key" in get("", "no-such-key").text
        monkeypatch.setenv("BRAVE_API_KEY", "no-such-key")
        with pytest.raises(UserError, match=r"status 422.*\*\*\*") as caught:
            list(BraveImages(BRAVE).pages(query("Parus major"), Answers(tmp_path / "kept", "", 10_000)))
        assert "no-such-key" not in str(caught.value)
