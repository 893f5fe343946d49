"""The mirror's iNaturalist answers as the service does, and the same for one seed."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from PIL import Image

from kg2clip.mirror import inaturalist, rendered
from kg2clip.mirror.inaturalist import (
    Api,
    INaturalistSite,
    Observation,
    as_served,
    plan_observations,
    plan_test_observations,
)
from kg2clip.mirror.plan import plan_benchmark

SHOWN = rendered.species()


@pytest.fixture(scope="module")
def observations() -> list[Observation]:
    return plan_observations(SHOWN, 12, seed=7)


@pytest.fixture(scope="module")
def api(observations: list[Observation]) -> Api:
    return Api(observations)


ABSENT_RATHER_THAN_NULL = {"preferred_common_name", "conservation_status"}


def recorded(folder: Path, *names: str) -> list[dict[str, Any]]:
    return [json.loads((folder / "inaturalist" / f"api_v1_{name}.json").read_text()) for name in names]


def hold_against(examples: list[Any], ours: Any, place: str = "") -> None:
    """Ours has the types of the examples, every field that all of them have, and none that no example has."""
    examples = [example for example in examples if example is not None]
    if ours is None or not examples:
        return
    assert type(ours) in {type(example) for example in examples}, f"{place}: {ours!r} is unlike {examples[0]!r}"
    if isinstance(ours, dict):
        known, always = set().union(*examples), set.intersection(*map(set, examples)) - ABSENT_RATHER_THAN_NULL
        assert always <= set(ours), f"{place} lacks {sorted(always - set(ours))}"
        assert set(ours) <= known, f"{place} has {sorted(set(ours) - known)}"
        for key, value in ours.items():
            hold_against([example[key] for example in examples if key in example], value, f"{place}.{key}")
    if isinstance(ours, list):
        inside = [element for example in examples for element in example]
        for element in ours:
            hold_against(inside, element, f"{place}[]")


def test_observations_have_the_recorded_fields(samples: Path, api: Api) -> None:
    status, answer = api.answer("/v1/observations", {"per_page": "200"})
    assert status == 200 and len(answer["results"]) == 200
    hold_against(recorded(samples, "observations_page1", "observations_by_id"), answer)
    grades = {one["quality_grade"] for one in answer["results"]}
    assert grades == {"research", "needs_id", "casual"}


def test_taxa_have_the_recorded_fields(samples: Path, api: Api) -> None:
    status, answer = api.answer("/v1/taxa", {"q": "turdus"})
    assert status == 200 and answer["results"]
    hold_against(recorded(samples, "taxa", "taxa_autocomplete"), answer)
    merula = next(one for one in answer["results"] if one["name"] == "Turdus merula")
    _, answer = api.answer(f"/v1/taxa/{merula['id']}", {})
    hold_against(recorded(samples, "taxon_by_id"), answer)
    assert [one["name"] for one in answer["results"][0]["ancestors"]][:2] == ["Animalia", "Chordata"]


def test_an_empty_answer_is_the_recorded_one(samples: Path, api: Api) -> None:
    assert api.answer("/v1/observations/1", {}) == (200, recorded(samples, "observations_none")[0])


def test_errors_are_those_of_the_service(api: Api) -> None:
    status, answer = api.answer("/v1/observations", {"per_page": "200", "page": "51"})
    assert status == 403 and answer["error"].startswith("Result window is too large")
    assert api.answer("/v1/observations", {"per_page": "many"})[0] == 422
    assert api.answer("/v1/observations/1,", {})[0] == 422
    assert api.answer("/v1/places", {})[0] == 404


def all_ids(api: Api, **parameters: str) -> list[int]:
    """Ids by paging with id_above."""
    ids: list[int] = []
    while True:
        _, answer = api.answer(
            "/v1/observations", {"order": "asc", "order_by": "id", "id_above": str(ids[-1] if ids else 0), **parameters}
        )
        if not answer["results"]:
            return ids
        ids += [one["id"] for one in answer["results"]]


def test_paging_gives_each_observation_once(api: Api, observations: list[Observation]) -> None:
    expected = [one.id for one in observations]
    assert all_ids(api, per_page="190") == expected
    _, first = api.answer("/v1/observations", {"per_page": "500"})
    assert first["per_page"] == 200 and first["total_results"] == len(expected)
    assert [one["id"] for one in first["results"]] == expected[:-201:-1]
    assert api.answer("/v1/observations", {})[1]["per_page"] == 30
    second = api.answer("/v1/observations", {"page": "2", "order": "asc"})[1]
    assert [one["id"] for one in second["results"]] == expected[30:60]


@pytest.mark.parametrize(
    ("parameters", "chosen"),
    [
        ({"quality_grade": "research,needs_id"}, lambda one: one.quality_grade != "casual"),
        ({"license": "cc0"}, lambda one: one.license_code == "cc0"),
        ({"photo_license": "cc-by,cc0"}, lambda one: any(shot.license_code in ("cc-by", "cc0") for shot in one.photos)),
        ({"taxon_id": "3"}, lambda one: inaturalist.taxa()[3] in inaturalist.taxa()[one.taxon_id].ancestors),
    ],
)
def test_filters(
    api: Api, observations: list[Observation], parameters: dict[str, str], chosen: Callable[[Observation], bool]
) -> None:
    expected = [one.id for one in observations if chosen(one)]
    assert 0 < len(expected) < len(observations)
    assert all_ids(api, per_page="200", **parameters) == expected


def test_taxa_are_found_by_the_beginnings_of_their_names(api: Api) -> None:
    def names(**parameters: str) -> list[str]:
        return [one["name"] for one in api.answer("/v1/taxa", parameters)[1]["results"]]

    assert names(q="Turdus merula") == ["Turdus merula"]
    assert names(q="prunella")[:2] == ["Prunella", "Prunella"]  # of birds, of plants
    assert sorted(names(q="prunella", rank="species")) == ["Prunella modularis", "Prunella vulgaris"]
    assert "Erithacus rubecula" in names(q="robin")
    synonym = api.answer("/v1/taxa", {"q": "Accentor modularis"})[1]["results"][0]
    assert (synonym["name"], synonym["matched_term"]) == ("Prunella modularis", "Accentor modularis")
    assert names(q="nosuchname") == [] and names(q="turdus", is_active="false") == []


def test_the_plan_is_drawn_from_the_seed(observations: list[Observation]) -> None:
    assert plan_observations(SHOWN, 12, seed=7) == observations
    assert plan_observations(SHOWN, 12, seed=8) != observations
    photos = [photo for one in observations for photo in one.photos]
    places = Counter(photo.id for photo in photos)
    assert set(places.values()) == {1, 2}  # some stand in two observations
    originals = {photo.id: photo.shot.picture_id for one in observations for photo in one.photos}
    assert len(set(originals.values())) == len(originals)
    assert len({one.id for one in observations}) == len({one.uuid for one in observations}) == len(observations)
    assert any(len(one.photos) > 3 for one in observations)
    assert any(photo.license_code != one.license_code for one in observations for photo in one.photos)
    share = sum(photo.license_code is None for photo in photos) / len(photos)
    assert share == pytest.approx(inaturalist.LICENSES[None], abs=0.04)


def test_some_test_pictures_are_photos_of_observations_that_are_served_in_part() -> None:
    tests = plan_benchmark(SHOWN, 20)
    observed = plan_test_observations(SHOWN, tests, seed=7)
    assert observed == plan_test_observations(SHOWN, tests, seed=7) != plan_test_observations(SHOWN, tests, seed=8)
    assert len(observed) / len(tests) == pytest.approx(inaturalist.TEST_OBSERVED, rel=0.15)
    by_key = {test.key: test for test in tests}
    served = as_served(observed, seed=7)
    kinds = Counter(one.photos[0].leak for one in served)
    for kind, count in kinds.items():
        assert count / len(observed) == pytest.approx(inaturalist.SERVED[kind], rel=0.25)
    for one in served:
        test = by_key[str(one.photos[0].benchmark_key)]
        first = observed[test.key].photos[0]
        assert (first.shot.picture_seed, first.shot.species) == (test.picture_seed, test.species)
        for photo in one.photos:
            assert photo.shot.individual == test.picture_seed, "the individual of the test picture"
            assert (photo.id == first.id) == (photo.leak == "id") == (photo.shot.crop > 0)
    ids = inaturalist.ids_of(served[0])
    assert ids["occurrenceID"] == served[0].uri and ids["observationID"] == served[0].uuid


@pytest.fixture
def folder(tmp_path: Path, observations: list[Observation]) -> Path:
    inaturalist.write_observations(observations, tmp_path)
    return tmp_path


def ask(site: INaturalistSite, host: str, path: str) -> tuple[int, Any]:
    response: Any = asyncio.run(site.answer(make_mocked_request("GET", path, headers={"Host": f"{host}:1234"})))
    return response.status, response


def test_observations_come_back_as_they_were_written(folder: Path, observations: list[Observation]) -> None:
    assert inaturalist.read_observations(folder) == observations


def test_the_first_attempt_at_some_addresses_is_throttled_over_restarts_too(folder: Path) -> None:
    paths = [f"/v1/observations?id_above={number}&per_page=1" for number in range(200)]
    site = INaturalistSite(folder)
    throttled = [path for path in paths if site.throttles(path)]
    assert 0 < len(throttled) < 30
    answers = [ask(site, inaturalist.API_HOST, path) for path in paths]
    refused = [path for path, (status, _) in zip(paths, answers, strict=True) if status == 429]
    assert refused == throttled
    refusal = next(response for status, response in answers if status == 429)
    assert refusal.content_type == "text/html" and "Retry-After" not in refusal.headers
    again = INaturalistSite(folder)
    assert {ask(again, inaturalist.API_HOST, path)[0] for path in throttled} == {200}


def test_two_mirrors_of_one_seed_answer_alike(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    inaturalist.write_observations(plan_observations(SHOWN, 12, seed=7), other)
    for path in ("/v1/observations?per_page=50&taxon_id=47158", "/v1/taxa?q=prunella", "/v1/taxa/3"):
        one, two = (ask(INaturalistSite(place), inaturalist.API_HOST, path) for place in (folder, other))
        assert one[0] == two[0] and one[1].body == two[1].body
    for place in (folder, other):
        inaturalist.open_data(place)
    for name in ("observations", "photos", "observers", "taxa"):
        one, two = (place / "open_data" / f"{name}.csv.gz" for place in (folder, other))
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes()[3:8] == bytes(5)  # gzip's header bears no name and no time


def test_photos_lie_on_the_host_of_their_licence_in_all_sizes(folder: Path, observations: list[Observation]) -> None:
    photos = [photo for one in observations for photo in one.photos]
    ours = next(photo for photo in photos if photo.license_code)
    reserved = next(photo for photo in photos if photo.license_code is None and photo.id % 2)
    for photo in (ours, reserved):
        file = folder / "pictures" / photo.path
        file.parent.mkdir(parents=True)
        Image.effect_noise((1200, 900), 40).convert("RGB").save(file, "JPEG")
    original = (folder / "pictures" / ours.path).read_bytes()
    site = INaturalistSite(folder)
    sizes = {}
    for size in ("square", "thumb", "small", "medium", "large", "original"):
        status, response = ask(site, inaturalist.OPEN_HOST, ours.url(size).split(inaturalist.OPEN_HOST)[1])
        assert status == 200
        sizes[size] = Image.open(io.BytesIO(response.body)).size
    assert sizes == {
        "square": (75, 75), "thumb": (100, 75), "small": (240, 180), "medium": (500, 375), "large": (1024, 768),
        "original": (1200, 900),
    }  # fmt: skip
    assert ask(site, inaturalist.OPEN_HOST, f"/{ours.path}")[1].body == original
    address = reserved.url("medium")
    assert address == (
        f"http://{inaturalist.STATIC_HOST}/{reserved.name.format('medium')}?{1_500_000_000 + reserved.id}"
    )
    assert ask(site, inaturalist.STATIC_HOST, address.split(inaturalist.STATIC_HOST)[1])[0] == 200
    assert ask(site, inaturalist.OPEN_HOST, f"/{reserved.path}")[0] == 404
    undrawn = next(photo for photo in photos if photo.license_code and photo is not ours)
    for path in (
        undrawn.path,
        ours.name.format("huge"),
        f"photos/{ours.id}/original.exe",
        "photos/x/original.jpg",
        "..",
    ):
        assert ask(site, inaturalist.OPEN_HOST, f"/{path}")[0] == 404


def test_a_lost_photo_is_served_where_its_other_link_leads(tmp_path: Path, observations: list[Observation]) -> None:
    there, small, moved = [photo for one in observations for photo in one.photos if photo.license_code == "cc0"][:3]
    inaturalist.write_observations(
        inaturalist.lose_photos(observations, {small.id: "size-gone", moved.id: "moved"}), tmp_path
    )
    for photo in (there, small, moved):
        file = tmp_path / "pictures" / photo.path
        file.parent.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(file, "JPEG")
    site = INaturalistSite(tmp_path)
    served = {
        (host, size): [ask(site, host, f"/{photo.name.format(size)}")[0] for photo in (there, small, moved)]
        for host in (inaturalist.OPEN_HOST, inaturalist.WEB_HOST)
        for size in ("medium", "original")
    }
    assert served == {
        (inaturalist.OPEN_HOST, "medium"): [200, 404, 404],
        (inaturalist.OPEN_HOST, "original"): [200, 200, 404],
        (inaturalist.WEB_HOST, "medium"): [404, 404, 200],
        (inaturalist.WEB_HOST, "original"): [404, 404, 200],
    }


def test_the_open_data_tables_have_the_recorded_columns(
    samples: Path, folder: Path, observations: list[Observation]
) -> None:
    target = inaturalist.open_data(folder)
    for name in ("observations", "photos", "observers", "taxa"):
        theirs, ours = (read(place / f"{name}.csv.gz") for place in (samples / "inaturalist" / "open_data", target))
        assert theirs[0].keys() == ours[0].keys()
        for column in theirs[0]:
            if all(row[column].isdecimal() for row in theirs):
                assert all(row[column].isdecimal() for row in ours), column
            if all(row[column] for row in theirs):
                assert all(row[column] for row in ours), column
    photos = read(target / "photos.csv.gz")
    open_photos = {(one.uuid, str(photo.id)) for one in observations for photo in one.photos if photo.license_code}
    assert {(row["observation_uuid"], row["photo_id"]) for row in photos} == open_photos
    places = {row["observation_uuid"]: row["position"] for row in reversed(photos)}
    assert {"0"} < set(places.values())  # the first photo may be missing
    assert {row["observation_uuid"] for row in read(target / "observations.csv.gz")} == set(places)
    assert {row["name"] for row in read(target / "observers.csv.gz")} > {""}


def read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_open_data_tables_are_served_under_their_names(observations: list[Observation], tmp_path: Path) -> None:
    inaturalist.write_observations(observations, tmp_path)
    site = INaturalistSite(tmp_path)
    for name in ("observations", "photos", "observers", "taxa"):
        request = make_mocked_request("GET", f"/{name}.csv.gz", headers={"Host": inaturalist.OPEN_HOST})
        answer = asyncio.run(site.answer(request))
        assert isinstance(answer, web.Response) and isinstance(answer.body, bytes)
        assert gzip.decompress(answer.body).count(b"\n") > 1
    other = make_mocked_request("GET", "/projects.csv.gz", headers={"Host": inaturalist.OPEN_HOST})
    assert asyncio.run(site.answer(other)).status == 404
    with gzip.open(inaturalist.open_data(tmp_path) / "photos.csv.gz", "rt", encoding="utf-8") as file:
        assert file.readline().startswith("photo_uuid\tphoto_id")
