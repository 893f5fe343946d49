"""Both ways to iNaturalist's photos, held against recorded answers and tables, and against the mirror."""

from __future__ import annotations

import copy
import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from servers import scripted_server

from kg2clip import tables, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.mirror import inaturalist as mirror
from kg2clip.mirror.rendered import species
from kg2clip.search.inaturalist import INaturalist, name_of, read_credit, read_observations, resize
from kg2clip.search.inaturalist_tables import INaturalistOpenData, build_index, read_open_data
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers

API: dict[str, Any] = {
    "api": "http://inat.test/v1", "per_query": 200, "quality_grades": ["research"], "licenses": "any",
    "photo_size": "medium", "max_calls": 5000,
}  # fmt: skip
OPEN: dict[str, Any] = {
    "per_query": 200, "quality_grades": ["research"], "licenses": "any", "photo_size": "medium",
    "pictures": "https://inaturalist-open-data.s3.amazonaws.com", "tables": "http://tables.test",
}  # fmt: skip
NO_ONE = {"total_results": 0, "page": 1, "per_page": 30, "results": []}


def query(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "queryID": f"q:{name}", "entityID": "wd:Q1", "kind": "noun", "text": name, "name": name,
        "nameKind": "scientific", "attribute": None, "disambiguation": None, **changes,
    }  # fmt: skip


def recorded(samples: Path, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((samples / "inaturalist" / f"{name}.json").read_text())
    return answer


def read(answer: dict[str, Any], size: str = "medium", wanted: str | list[str] = "any") -> list[dict[str, Any]]:
    return read_observations(answer["results"], size, wanted)


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """All objects of an answer."""
    if isinstance(value, dict):
        yield value
    for inside in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inside)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Lead inat.test to a server with these answers (path, parameters) -> (status, JSON)."""

    def start(answer: Callable[[str, dict[str, str]], tuple[int, Any]]) -> Any:
        def whole(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
            parts = urlsplit(path)
            status, content = answer(parts.path, dict(parse_qsl(parts.query)))
            return status, {}, json.dumps(content).encode()

        return scripted_server(whole)

    return start


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda port: monkeypatch.setenv(web.RESOLVE, json.dumps({"inat.test": f"127.0.0.1:{port}"}))


# What recorded answers say


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Nicrophorus vespilloides var. aurora", "Nicrophorus vespilloides aurora"),  # so in the recorded taxon
        ("Quercus robur subsp. robur", "Quercus robur robur"),
        ("Mentha × piperita nothosubsp. citrata", "Mentha × piperita citrata"),
        ("Canis lupus familiaris", "Canis lupus familiaris"),
        ("Apis", "Apis"),
    ],
)
def test_names_have_no_word_for_a_rank(ours: str, theirs: str, samples: Path) -> None:
    assert name_of(query(ours)) == theirs
    named = {one.get("name"): one.get("rank") for one in walk(recorded(samples, "api_v1_taxon_by_id"))}
    assert named["Nicrophorus vespilloides aurora"] == "variety"


def test_a_recorded_photo_gives_its_hit(samples: Path) -> None:
    (hit,) = read(recorded(samples, "api_v1_observations_page1"))
    hit.pop("retrieved")
    hit.pop("candidateID")
    assert hit == {
        "source": "inaturalist",
        "sourceID": "92152429",
        "observationID": "c44b91f3-534d-48c4-933d-a8b4e1d8f87b",
        "occurrenceID": "https://www.inaturalist.org/observations/57754375",
        "accessURI": "https://static.inaturalist.org/photos/92152429/medium.jpg?1598551272",
        "originalURI": "https://static.inaturalist.org/photos/92152429/original.jpg?1598551272",
        "furtherInformationURL": "https://www.inaturalist.org/observations/57754375",
        "title": None,
        "altText": None,
        "description": None,
        "format": "image/jpeg",
        "width": 1188,
        "height": 1188,
        "bytes": None,
        "license": "CC-BY-NC",
        "licenseOriginal": "cc-by-nc",
        "licenseURL": None,
        "creator": "user2",
        "rightsHolder": "user2",
        "sha1": None,
    }
    tables.as_table([{"queryID": "q", "entityID": "e", "rank": 0, **hit}], tables.HITS)


def test_the_licence_is_the_photos_not_the_observations(samples: Path) -> None:
    answer = recorded(samples, "api_v1_observations_by_id")
    assert answer["results"][0]["license_code"] == "cc0"
    hits = read(answer)
    assert [(hit["sourceID"], hit["license"]) for hit in hits] == [("24355315", "CC-BY"), ("24355313", "CC-BY")]
    assert {hit["observationID"] for hit in hits} == {"6448d03a-7f9a-4099-86aa-ca09a7740b00"}
    assert hits[0]["accessURI"] == "https://inaturalist-open-data.s3.amazonaws.com/photos/24355315/medium.jpeg"


def test_no_licence_code_means_all_rights_reserved(samples: Path) -> None:
    hits = read(recorded(samples, "api_v2_observations_full"))
    assert [(hit["sourceID"], hit["license"], hit["licenseOriginal"]) for hit in hits] == [
        ("20970868", "all-rights-reserved", None),
        ("20970862", "all-rights-reserved", None),
    ]
    assert {urlsplit(hit["accessURI"]).hostname for hit in hits} == {"static.inaturalist.org"}
    answer = recorded(samples, "api_v2_observations_full")
    for photo in answer["results"][0]["photos"]:
        del photo["license_code"]  # asked for without it
    assert {hit["license"] for hit in read(answer)} == {"unknown"}


def test_only_photos_under_wanted_licences_are_taken(samples: Path) -> None:
    answer = recorded(samples, "api_v1_observations_by_id")
    answer["results"][0]["photos"][0]["license_code"] = None
    assert [hit["sourceID"] for hit in read(answer, wanted=["cc-by"])] == ["24355313"]
    assert read(answer, wanted=["cc0"]) == []


def test_odd_photos_and_observations(samples: Path) -> None:
    answer = recorded(samples, "api_v1_observations_by_id")
    observation = answer["results"][0]
    odd = copy.deepcopy(observation)
    odd.update(taxon=None, location=None, geojson=None)
    assert len(read({"results": [odd]})) == 2
    odd["photos"][0].pop("original_dimensions")
    odd["photos"][1]["hidden"] = True  # by a moderator
    (left,) = read({"results": [odd]})
    assert (left["sourceID"], left["width"]) == ("24355315", None)
    odd["photos"] = [{"id": 1, "url": None}, {"url": "http://x.test/square.jpg"}, {"id": 2, "url": "http://["}]
    assert [hit["accessURI"] for hit in read({"results": [odd]})] == ["http://["]  # refused later, with a reason
    odd["photos"] = None
    assert read({"results": [odd, {"id": 3}]}) == []


def test_a_size_replaces_the_stem_of_the_last_segment_only(samples: Path) -> None:
    assert resize("https://x.test/square/1/square.JPG?1448940742", "original") == (
        "https://x.test/square/1/original.JPG?1448940742"
    )
    assert (
        resize("https://live.staticflickr.com/1/2_square.jpg", "large")
        == "https://live.staticflickr.com/1/2_square.jpg"
    )
    checked = 0
    for path in sorted((samples / "inaturalist").glob("*.json")):
        for photo in walk(json.loads(path.read_text())):
            for size in ("square", "small", "medium", "large", "original"):
                if "url" in photo and f"{size}_url" in photo:
                    assert resize(photo["url"], size) == photo[f"{size}_url"]
                    checked += 1
    assert checked > 80


def test_the_extension_tells_the_format_in_any_case(samples: Path) -> None:
    photos = [photo for photo in walk(recorded(samples, "api_v1_species_counts")) if "medium_url" in photo]
    hits = read({"results": [{"id": 1, "photos": photos}]})
    formats = {hit["accessURI"].split("?")[0].rpartition(".")[2]: hit["format"] for hit in hits}
    assert formats == {"jpg": "image/jpeg", "jpeg": "image/jpeg", "JPG": "image/jpeg"}
    assert next(hit["accessURI"] for hit in hits if "JPG" in hit["accessURI"]) == (
        "https://static.inaturalist.org/photos/2723241/medium.JPG?1448940742"
    )


def test_whom_an_attribution_names(samples: Path) -> None:
    assert read_credit("(c) Smith, Jr., some rights reserved (CC BY)") == "Smith, Jr."
    assert read_credit("(c) user32, all rights reserved, uploaded by user33") == "user32"
    assert read_credit("(c) user1, certains droits réservés (CC BY-NC)") == "user1"
    assert read_credit("Person 1, no known copyright restrictions (public domain)") == "Person 1"
    assert read_credit("no rights reserved, uploaded by Person 49") == "Person 49"
    assert read_credit("no rights reserved") is None
    named = [
        (photo["attribution"], photo["attribution_name"])
        for path in sorted((samples / "inaturalist").glob("*.json"))
        for photo in walk(json.loads(path.read_text()))
        if "attribution_name" in photo
    ]
    assert len(named) > 20 and all(read_credit(attribution) == name for attribution, name in named)


def test_cc0_asks_for_no_rights_holder() -> None:
    photo = {"id": 1, "url": "http://x.test/square.jpg", "license_code": "cc0", "attribution": "no rights reserved"}
    (hit,) = read({"results": [{"id": 1, "photos": [photo]}]})
    assert (hit["license"], hit["creator"], hit["rightsHolder"]) == ("CC0-1.0", None, None)
    photo["attribution"] = "no rights reserved, uploaded by Person 49"
    (hit,) = read({"results": [{"id": 1, "photos": [photo]}]})
    assert (hit["creator"], hit["rightsHolder"]) == ("Person 49", None)


# Asking the API


def test_only_an_exact_scientific_name_is_searched(samples: Path, serve: Any, at: Any, tmp_path: Path) -> None:
    taxa = recorded(samples, "api_v1_taxa")
    with serve(lambda path, _: (200, taxa if path == "/v1/taxa" else NO_ONE)) as (port, seen):
        at(port)
        source, answers = INaturalist(API), Answers(tmp_path, "", 1000)
        assert list(source.pages(query("Nicrophorus vespillo"), answers)) == [[]]
        assert "/v1/taxa?" in seen[0] and "q=Nicrophorus+vespillo" in seen[0] and "locale=en" in seen[0]
        asked = dict(parse_qsl(urlsplit(seen[1].strip()).query))
        assert asked == {
            "taxon_id": "131878", "photos": "true", "quality_grade": "research", "order_by": "id", "order": "asc",
            "per_page": "200", "id_above": "0", "locale": "en",
        }  # fmt: skip
        seen.clear()
        for name in ("Nicrophorus", "nicrophorus vespillo", "Vespillo Burying Beetle", "Sésie vespiforme"):
            assert list(source.pages(query(name), answers)) == []
        assert not any("observations" in request for request in seen)
        seen.clear()
        assert list(source.pages(query("Vespina", nameKind="vernacular"), answers)) == []
        assert list(source.pages(query("Vespina", kind="attribute-noun", attribute="red"), answers)) == []
        assert seen == []


def test_licences_and_grades_are_asked_for(samples: Path, serve: Any, at: Any, tmp_path: Path) -> None:
    taxa = recorded(samples, "api_v1_taxa")
    wanted = {**API, "licenses": ["cc0", "cc-by"], "quality_grades": ["research", "needs_id"], "per_query": 30}
    with serve(lambda path, _: (200, taxa if path == "/v1/taxa" else NO_ONE)) as (port, seen):
        at(port)
        list(INaturalist(wanted).pages(query("Vespina"), Answers(tmp_path, "", 1000)))
    asked = dict(parse_qsl(urlsplit(seen[1].strip()).query))
    assert asked["photo_license"] == "cc0,cc-by" and asked["quality_grade"] == "research,needs_id"
    assert asked["per_page"] == "30"


def test_a_photo_in_two_observations_is_one_hit(samples: Path, serve: Any, at: Any, tmp_path: Path) -> None:
    taxa, first = recorded(samples, "api_v1_taxa"), recorded(samples, "api_v1_observations_by_id")
    first["total_results"] = 2
    second = copy.deepcopy(first)
    second["results"][0].update(id=16227956, uuid="another")
    second["results"][0]["photos"][1]["id"] = 7
    second["total_results"] = 1

    def answer(path: str, parameters: dict[str, str]) -> tuple[int, Any]:
        return 200, taxa if path == "/v1/taxa" else first if parameters["id_above"] == "0" else second

    with serve(answer) as (port, seen):
        at(port)
        pages = list(INaturalist(API).pages(query("Vespina"), Answers(tmp_path, "", 1000)))
    assert [[hit["sourceID"] for hit in page] for page in pages] == [["24355315", "24355313"], ["7"]]
    assert "id_above=16227955" in seen[2] and len(seen) == 3


def test_a_service_that_does_not_page_ends(samples: Path, serve: Any, at: Any, tmp_path: Path) -> None:
    taxa, stuck = recorded(samples, "api_v1_taxa"), recorded(samples, "api_v1_observations_by_id")
    stuck["total_results"] = 9_000
    with serve(lambda path, _: (200, taxa if path == "/v1/taxa" else stuck)) as (port, seen):
        at(port)
        pages = list(INaturalist(API).pages(query("Vespina"), Answers(tmp_path, "", 1000)))
    assert len(seen) == 3 and [len(page) for page in pages] == [2, 0]


def test_the_budget_of_calls_ends_a_run_and_the_next_goes_on(
    samples: Path, serve: Any, at: Any, tmp_path: Path
) -> None:
    taxa = recorded(samples, "api_v1_taxa")
    source = INaturalist({**API, "max_calls": 1})
    with serve(lambda path, _: (200, taxa if path == "/v1/taxa" else NO_ONE)) as (port, seen):
        at(port)
        with pytest.raises(IncompleteError, match=r"called 1 times.*max_calls.*inaturalistopendata"):
            list(source.pages(query("Vespina"), Answers(tmp_path, "", 1000)))
        assert len(seen) == 1
        assert list(source.pages(query("Vespina"), Answers(tmp_path, "", 1000))) == [[]]
        assert len(seen) == 2


# The client and the mirror


@pytest.fixture(scope="module")
def planned() -> list[mirror.Observation]:
    return mirror.plan_observations(species(), 15, seed=3)


@pytest.fixture(scope="module")
def service(planned: list[mirror.Observation]) -> mirror.Api:
    return mirror.Api(planned)


def ids_of(planned: list[mirror.Observation], choose: Callable[[mirror.Observation], bool]) -> list[str]:
    """Photos, in the order of their observations, each once."""
    return list(
        dict.fromkeys(
            str(photo.id) for one in planned if one.quality_grade == "research" and choose(one) for photo in one.photos
        )
    )


def test_the_mirror_is_searched_to_the_end(
    planned: list[mirror.Observation], service: mirror.Api, serve: Any, at: Any, tmp_path: Path
) -> None:
    name = "Vanessa atalanta"
    with serve(service.answer) as (port, seen):
        at(port)
        rows = search_source(
            INaturalist({**API, "per_query": 3}), [query(name)], Answers(tmp_path / "few", "", 1000), 3, 300, {}
        )
        expected = ids_of(planned, lambda one: one.species == name)
        assert [row["sourceID"] for row in rows] == expected[:3]
        answers = Answers(tmp_path / "all", "", 1000)
        rows = search_source(INaturalist(API), [query(name)], answers, 500, 500, {})
        assert [row["sourceID"] for row in rows] == expected
        calls = len(seen)
        assert [
            row["sourceID"] for row in search_source(INaturalist(API), [query(name)], answers, 500, 500, {})
        ] == expected
        assert len(seen) == calls
    tables.as_table(rows, tables.HITS)
    observations = {str(photo.id): one for one in reversed(planned) for photo in one.photos}
    for row in rows:
        observation = observations[row["sourceID"]]
        photo = next(photo for photo in observation.photos if str(photo.id) == row["sourceID"])
        assert row["observationID"] == observation.uuid
        assert row["accessURI"] == photo.url("medium") and row["originalURI"] == photo.url("original")
        assert (row["license"] == "all-rights-reserved") == (photo.license_code is None)
        assert row["license"] == "CC0-1.0" or row["creator"]


def test_paging_over_many_answers(
    planned: list[mirror.Observation], service: mirror.Api, serve: Any, at: Any, tmp_path: Path
) -> None:
    with serve(service.answer) as (port, seen):
        at(port)
        source = INaturalist({**API, "per_query": 50})
        pages = list(source.pages(query("Insecta"), Answers(tmp_path, "", 1000)))
    found = [hit["sourceID"] for page in pages for hit in page]
    insects = mirror.taxa()[47158]
    assert found == ids_of(planned, lambda one: insects in mirror.taxa()[one.taxon_id].ancestors)
    assert len(seen) - 1 == len(pages) > 4


def test_a_name_of_two_taxa_needs_a_word_that_tells_them_apart(
    planned: list[mirror.Observation],
    service: mirror.Api,
    serve: Any,
    at: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serve(service.answer) as (port, seen):
        at(port)
        source, answers = INaturalist(API), Answers(tmp_path, "", 1000)
        for word, shown in (("birds", "Prunella modularis"), ("Plantae", "Prunella vulgaris")):
            pages = list(source.pages(query("Prunella", disambiguation=word), answers))
            found = [hit["sourceID"] for page in pages for hit in page]
            assert found == ids_of(planned, lambda one, shown=shown: one.species == shown)
        seen.clear()
        for word in (None, "accentors"):
            assert list(source.pages(query("Prunella", disambiguation=word), answers)) == []
        assert seen == [] and "Prunella is the name of 2 taxa" in caplog.text


def test_a_subgenus_of_the_same_name_is_no_homonym(samples: Path, serve: Any, at: Any, tmp_path: Path) -> None:
    taxa = recorded(samples, "api_v1_taxa")
    genus = next(taxon for taxon in taxa["results"] if taxon["name"] == "Vespina")
    below = {**genus, "id": 5, "rank": "subgenus", "ancestor_ids": [*genus["ancestor_ids"], 5]}
    gone = {**genus, "id": 6, "is_active": False, "ancestor_ids": [1, 6]}
    taxa["results"] = [below, gone, genus]
    with serve(lambda path, _: (200, taxa if path == "/v1/taxa" else NO_ONE)) as (port, seen):
        at(port)
        assert list(INaturalist(API).pages(query("Vespina"), Answers(tmp_path, "", 1000))) == [[]]
    assert f"taxon_id={genus['id']}&" in seen[1]


def test_throttling_is_waited_for(
    planned: list[mirror.Observation], tmp_path: Path, at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [(429, {"Content-Type": "text/html"}, b"<html>429</html>"), (200, {}, json.dumps(NO_ONE).encode())]
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with scripted_server(lambda path, _: waiting.pop(0)) as (port, seen):
        at(port)
        assert list(INaturalist(API).pages(query("Vespina"), Answers(tmp_path, "", 1000))) == []
    assert len(seen) == 2


# The open data tables


@pytest.fixture
def opened(samples: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "open_data"
    shutil.copytree(samples / "inaturalist" / "open_data", folder)
    folder.chmod(0o755)
    return folder


def test_recorded_tables_give_their_photos(opened: Path) -> None:
    found = read_open_data(opened, ["Trifolium hybridum", "Celtis laevigata", "Trifolium hybrid"], OPEN)
    assert found["Trifolium hybrid"] == []
    (hit,) = found["Trifolium hybridum"]
    hit.pop("retrieved")
    hit.pop("candidateID")
    assert hit == {
        "source": "inaturalistopendata",
        "sourceID": "10314159",
        "observationID": "f717b9dc-659e-4b10-a9ca-4d78ee447d71",
        "accessURI": "https://inaturalist-open-data.s3.amazonaws.com/photos/10314159/medium.jpg",
        "originalURI": "https://inaturalist-open-data.s3.amazonaws.com/photos/10314159/original.jpg",
        "furtherInformationURL": "https://www.inaturalist.org/observations/f717b9dc-659e-4b10-a9ca-4d78ee447d71",
        "title": None,
        "altText": None,
        "description": None,
        "format": "image/jpeg",
        "width": 1530,
        "height": 2048,
        "bytes": None,
        "license": "CC-BY-NC",
        "licenseOriginal": "CC-BY-NC",
        "licenseURL": None,
        "creator": "user88",  # has no name
        "rightsHolder": "user88",
        "sha1": None,
    }
    (shared,) = found["Celtis laevigata"]
    assert (shared["creator"], shared["accessURI"].rpartition("/")[2]) == ("Person 87", "medium.jpeg")


def test_a_photo_of_two_taxa_is_one_candidate(opened: Path) -> None:
    found = read_open_data(opened, ["Celtis laevigata", "Pachypsylla venusta"], OPEN)
    (leaf,), (gall,) = found.values()
    assert leaf["sourceID"] == gall["sourceID"] == "191001500"
    assert leaf["candidateID"] == gall["candidateID"] and leaf["observationID"] != gall["observationID"]
    photo = {"id": 191001500, "url": "https://static.inaturalist.org/photos/191001500/square.jpeg"}
    (other_way,) = read({"results": [{"id": 1, "photos": [photo]}]})
    assert other_way["candidateID"] == leaf["candidateID"]


def test_a_taxon_holds_those_below_it_and_grades_count(opened: Path) -> None:
    def ids(name: str, **changes: Any) -> list[str]:
        return [hit["sourceID"] for hit in read_open_data(opened, [name], {**OPEN, **changes})[name]]

    assert ids("Pseudacris") == ["191012628"]  # in two observations, of two species
    everything = ids("Life", quality_grades=["research", "needs_id"])
    # One observation has no taxon; five photos stand in two observations.
    assert len(everything) == len(set(everything)) == 17
    assert set(ids("Life")) == set(everything) - {
        "80314159",
        "90314159",
        "110314159",
        "120314159",
        "170314159",
        "191018903",
    }
    assert ids("Life", licenses=["cc-by"]) == ["130314159"]
    assert ids("Life", per_query=3) == sorted(ids("Life"), key=int)[:3]


def test_the_index_is_built_once_for_the_same_tables(opened: Path) -> None:
    index = build_index(opened)
    files = {path.name: path.read_bytes() for path in index.glob("*.parquet")}
    times = {path.name: path.stat().st_mtime_ns for path in index.glob("*.parquet")}
    build_index(opened)
    assert {path.name: path.stat().st_mtime_ns for path in index.glob("*.parquet")} == times
    (index / "built.json").unlink()  # as a run killed in between leaves it
    build_index(opened)
    assert {path.name: path.read_bytes() for path in index.glob("*.parquet")} == files
    change_table(opened / "taxa.csv.gz", lambda text: text.replace("Trifolium hybridum\ttrue", "Trifolium novum\ttrue"))
    assert len(read_open_data(opened, ["Trifolium novum"], OPEN)["Trifolium novum"]) == 1


def change_table(path: Path, change: Callable[[str], str]) -> None:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        text = change(file.read())
    path.chmod(0o644)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        file.write(text)


def test_names_with_quotes_inactive_taxa_and_columns_of_other_years(opened: Path) -> None:
    lines = [
        '8000001\t48460/1/2\t10\tspecies\t"Rosa x"\ttrue',  # the quotation marks are part of the name
        "8000002\t48460\t10\tspecies\tO'Brien's \"x\" y\ttrue",
        "8000003\t48460\t10\tspecies\tPedicularis densiflora\tfalse",
    ]
    change_table(opened / "taxa.csv.gz", lambda text: "\n".join([text.rstrip("\n"), *lines, ""]))
    change_table(
        opened / "observations.csv.gz",
        lambda text: (
            text.replace("\tobserved_on", "\tobserved_on\tanomaly_score")
            .replace("\t61824\t", "\t8000002\t")
            .replace("\t119809\t", "\t8000001\t")
            .replace("\t2017-09-08", "\t2017-09-08\t0.5")
        ),
    )
    change_table(
        opened / "observations.csv.gz",
        lambda text: "".join(f"{line}\t\n" if line.count("\t") == 7 else f"{line}\n" for line in text.splitlines()),
    )
    found = read_open_data(opened, ["O'Brien's \"x\" y", '"Rosa x"', "Pedicularis densiflora"], OPEN)
    assert [len(hits) for hits in found.values()] == [1, 1, 1]


def test_tables_that_are_missing_or_damaged_are_told(opened: Path) -> None:
    photos = opened / "photos.csv.gz"
    photos.chmod(0o644)
    content = photos.read_bytes()
    photos.unlink()
    with pytest.raises(UserError, match=r"photos\.csv\.gz is not there. Put all four tables there"):
        build_index(opened)
    photos.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="fetch it again"):
        build_index(opened)
    photos.write_bytes(gzip.compress(b"photo_id\tlicence\n1\tcc0\n"))
    with pytest.raises(UserError, match=r"photos\.csv\.gz has no column observation_uuid"):
        build_index(opened)
    photos.write_bytes(content)
    assert len(read_open_data(opened, ["Ladona julia"], OPEN)["Ladona julia"]) == 1


def test_the_mirrors_tables_hold_what_its_api_says(
    planned: list[mirror.Observation], service: mirror.Api, serve: Any, at: Any, tmp_path: Path
) -> None:
    mirror.write_observations(planned, tmp_path)
    source = INaturalistOpenData(
        {**OPEN, "folder": str(mirror.open_data(tmp_path)), "pictures": "http://inaturalist-open-data.mirror.test"}
    )
    answers = Answers(tmp_path / "answers", "", 1000)
    names = [shown.scientific_name for shown in species()[:12]]
    with serve(service.answer) as (port, _):
        at(port)
        asked = {name: [hit for page in INaturalist(API).pages(query(name), answers) for hit in page] for name in names}
    for name in names:
        told = {hit["sourceID"]: hit for page in source.pages(query(name), answers) for hit in page}
        shown = {hit["sourceID"]: hit for hit in asked[name] if hit["license"] != "all-rights-reserved"}
        assert told.keys() == shown.keys() and told
        for photo, hit in told.items():
            for column in ("candidateID", "accessURI", "originalURI", "license", "width", "height", "format"):
                assert hit[column] == shown[photo][column]
            assert shown[photo]["creator"] in (None, hit["creator"])
    assert list(source.pages(query(names[0], nameKind="vernacular"), answers)) == []
    assert list(source.pages(query("Prunella"), answers)) == []
    (plants,) = source.pages(query("Prunella", disambiguation="plantae"), answers)
    (vulgaris,) = source.pages(query("Prunella vulgaris"), answers)
    assert [hit["sourceID"] for hit in plants] == [hit["sourceID"] for hit in vulgaris]


def test_the_first_photos_of_observations_come_first(planned: list[mirror.Observation], tmp_path: Path) -> None:
    mirror.write_observations(planned, tmp_path)
    name = "Vanessa atalanta"
    hits = read_open_data(mirror.open_data(tmp_path), [name], OPEN)[name]
    individuals = [hit["observationID"] for hit in hits]
    distinct = len(set(individuals))
    assert distinct < len(individuals) and len(set(individuals[:distinct])) == distinct
