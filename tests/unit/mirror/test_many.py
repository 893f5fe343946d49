"""The mirror at scale: any number of pages from seed and number alone, pictures that decode, a truth that holds."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pdqhash
import pyarrow.parquet as pq
import pytest
from PIL import Image
from servers import mirror_sites, scripted_server

from kg2clip import settings, tables, web
from kg2clip.download.batch import fetch_batch
from kg2clip.files import sha256_bytes, write_json
from kg2clip.mirror import many, rendered
from kg2clip.mirror.build import READY
from kg2clip.mirror.many import Many, ManySite, standing, write_candidates
from kg2clip.mirror.plan import SHARE, Alteration, FilePage
from kg2clip.mirror.serve import REQUESTS
from kg2clip.search.commons import Commons
from kg2clip.search.source import Answers

ROOT = Path(__file__).resolve().parents[3]
SPECIES = rendered.species()[:6]
COUNT = 900


@cache
def crowd(seed: int = 1, count: int = COUNT) -> Many:
    return Many("rendered", SPECIES, seed, count)


@cache
def page(number: int) -> FilePage:
    return crowd().page(number)


@cache
def picture(number: int) -> bytes | None:
    return crowd().content(page(number))


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def pdq(content: bytes) -> np.ndarray:
    return pdqhash.compute(np.asarray(opened(content)))[0]


def numbers(**wanted: object) -> list[int]:
    return [n for n in range(COUNT) if all(getattr(page(n), key) == value for key, value in wanted.items())]


def test_a_page_follows_from_seed_and_number_alone() -> None:
    other = Many("rendered", SPECIES, 1, 10_000_000)
    for number in (0, 17, COUNT - 1, 9_999_999):
        assert other.page(number) == crowd().page(number)
        assert other.content(other.page(number)) == crowd().content(crowd().page(number))
    another = [crowd(seed=2).page(number) for number in range(100)]
    assert [one.fault or one.copy_kind for one in another] != [page(n).fault or page(n).copy_kind for n in range(100)]
    assert len({page(n).title for n in range(COUNT)}) == len({page(n).url for n in range(COUNT)}) == COUNT


@pytest.mark.parametrize("seed", [1, 2])
def test_faults_have_the_rates_of_the_mirror(seed: int) -> None:
    count = 20_000
    pages = [crowd(seed).page(number) for number in range(count)]
    found = Counter(one.copy_kind for one in pages) + Counter(one.fault for one in pages)
    for kind in ("exact", "reencoded", "mirrored"):
        assert found[kind] / count == pytest.approx(SHARE[f"copy-{kind}"], rel=0.12)
    originals = sum(one.copy_kind is None for one in pages)
    for fault in ("dead-host", "not-found"):
        assert found[fault] / originals == pytest.approx(SHARE[fault], rel=0.15)
    assert sum(one.text_fault is not None for one in pages) / count >= 0.25


def test_a_jpeg_is_cut_into_bands_that_fit_those_of_another() -> None:
    one, other = (many._bands("rendered", SPECIES[n].scientific_name, n, many.PLAIN) for n in (0, 1))
    assert len(one.body) == many.BANDS and one.head == other.head
    mixed = opened(one.head + b"".join([*one.body[:3], *other.body[3:]]))
    whole = [np.asarray(opened(part.head + b"".join(part.body))) for part in (one, other)]
    edge = 3 * many.BAND_ROWS * 16
    assert (np.asarray(mixed)[: edge - 8] == whole[0][: edge - 8]).all()
    assert (np.asarray(mixed)[edge + 8 :] == whole[1][edge + 8 :]).all()


def test_pictures_are_whole_and_each_its_own() -> None:
    shown = [n for n in range(COUNT) if picture(n)]
    assert {n for n in range(COUNT)} - set(shown) == set(numbers(fault="dead-host") + numbers(fault="not-found"))
    originals = [n for n in shown if page(n).copy_kind is None]
    assert len({picture(n) for n in originals}) == len(originals)
    assert all(opened(picture(n) or b"").size == (480, 360) for n in originals[:50])
    hashes = np.array([pdq(picture(n) or b"") for n in originals[:300]])
    apart = (hashes[:, None] != hashes[None]).sum(axis=2)[np.triu_indices(300, 1)]
    assert (apart <= 31).sum() <= 1, "pictures that are no copies would be taken for copies"


def test_copies_are_copies() -> None:
    by_title = {page(n).title: n for n in range(COUNT)}
    for kind in many.COPY_KINDS:
        found = numbers(copy_kind=kind)
        assert len(found) > 10
        for number in found[:40]:
            original = by_title[page(number).copy_of or ""]
            copy, first = picture(number) or b"", picture(original) or b""
            assert original < number and page(original).copy_kind is None
            assert page(number).picture_id == page(original).picture_id
            assert (copy == first) == (kind == "exact")
            if kind == "mirrored":
                assert (np.asarray(opened(copy))[:, ::-1].astype(int) - np.asarray(opened(first))).std() < 6
            if kind == "reencoded":
                assert (pdq(copy) != pdq(first)).sum() <= 31
    halves = numbers(alteration=Alteration(scale=0.5))
    assert halves and opened(picture(halves[0]) or b"").size == (240, 180)


def test_nothing_is_kept_of_a_page() -> None:
    pages = Many("rendered", SPECIES, 1, 10_000_000)
    before = pickle.dumps(vars(pages))
    for number in range(0, 10_000_000, 5_000):
        pages.content(pages.page(number))
    drawn = len(rendered.species()) + len(SPECIES) * (many.BASES - 1)
    assert pickle.dumps(vars(pages)) == before
    assert many._bands.cache_info().currsize <= 2 * drawn * (2 + len(many.REENCODED)), "two seeds in these tests"


def test_a_search_pages_through_its_species_once() -> None:
    name = SPECIES[2].scientific_name
    found: list[str] = []
    request = {"action": "query", "generator": "search", "gsrsearch": f'"{name}" filetype:bitmap', "gsrlimit": "50"}
    more: dict[str, str] = {}
    while True:
        answer = crowd().answer({**request, **more})
        found += [one["title"] for one in answer["query"]["pages"].values()]
        if "continue" not in answer:
            break
        more = {"gsroffset": str(answer["continue"]["gsroffset"])}
    assert found == [f"File:{page(n).title}" for n in range(2, COUNT, len(SPECIES))]
    few = crowd().limited_to(100).search(f'"{name}"')
    assert [one.page_id for one in few] == [page(n).page_id for n in range(2, 100, len(SPECIES))]
    with_words = {one.title for one in crowd().search(f'red "{name}" filetype:bitmap')}
    assert len(with_words) == pytest.approx(len(found) / 4, abs=1) and with_words < {one[5:] for one in found}
    assert not crowd().search('"Nomen nudum"') and not crowd().search("")


def test_pages_are_found_by_title() -> None:
    assert crowd().titled(page(7).title) == page(7)
    for title in (crowd().page(COUNT).title, "Robin.jpg", f"Another {page(7).title}", "Robin 00007.jpg"):
        assert crowd().titled(title) is None


def test_the_listed_candidates_are_those_that_a_search_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps(crowd().answer(dict(parse_qsl(urlsplit(path).query)))).encode()

    wanted = {
        "project": "x",
        "knowledge": {"roots": ["x"]},
        "search": {"sources": {"commons": {"api": f"http://{many.HOST}/{COUNT}/w/api.php", "per_query": COUNT}}},
    }
    source = Commons(settings.complete(wanted, "test")["search"]["sources"]["commons"])
    hits = {}
    with scripted_server(serve) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({many.HOST: f"127.0.0.1:{port}"}))
        for shown in SPECIES:
            asked = {
                "queryID": "q",
                "entityID": "e",
                "kind": "noun",
                "text": "",
                "name": shown.scientific_name,
                "attribute": None,
                "disambiguation": None,
            }
            for part in source.pages(asked, Answers(tmp_path, "", 1000)):
                hits.update({hit["candidateID"]: hit for hit in part})
    listed = list(crowd().candidates())
    own = {"queryIDs", "entityIDs", "rank", "retrieved"}
    assert len(listed) == len(hits) == COUNT
    for row in listed:
        hit = hits[row["candidateID"]]
        assert {key: hit[key] for key in row if key not in own} == {key: row[key] for key in row if key not in own}
    assert all(row["entityIDs"][0].startswith(("wd:Q", "ncbi:")) for row in listed)


def test_tables_are_written_in_parts_and_the_truth_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "ROWS", 400)
    write_candidates(crowd(), tmp_path / "candidates.parquet", tmp_path / "truth.parquet")
    assert pq.ParquetFile(tmp_path / "candidates.parquet").num_row_groups == 3
    candidates = tables.read(tmp_path / "candidates.parquet")
    assert candidates.schema == tables.CANDIDATES
    truth = tables.read(tmp_path / "truth.parquet").to_pylist()
    assert [row["candidateID"] for row in truth] == candidates["candidateID"].to_pylist()
    for number, row in enumerate(truth):
        content = picture(number)
        assert row["sha256"] == (sha256_bytes(content) if content else None)
        assert row["accessURI"] == page(number).url and row["pictureID"] == page(number).picture_id


def test_the_program_lists_the_pages_of_a_built_mirror(tmp_path: Path) -> None:
    program = [
        sys.executable,
        str(ROOT / "scripts" / "list_candidates.py"),
        str(tmp_path),
        "30",
        str(tmp_path / "c.parquet"),
    ]
    refused = subprocess.run(program, capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.startswith("error: no mirror stands in")
    config = {"project": "t", "knowledge": {"roots": ["x"]}, "mirror": {"species": len(SPECIES)}}
    write_json(tmp_path / READY, {"settings": settings.complete(config, "test")["mirror"]})
    subprocess.run(program, check=True, capture_output=True)
    assert tables.read(tmp_path / "c.parquet")["accessURI"].to_pylist() == [
        one.url for one in map(standing(tmp_path).page, range(30))
    ]


def test_the_real_download_gets_what_the_truth_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mirror"
    config = {
        "project": "t", "knowledge": {"roots": ["x"]}, "mirror": {"species": 3, "seed": 4}, "dataset": {"licenses": "any"},
        "download": {
            "lanes": {"web": {"batches": 1, "connections": 8, "requests_per_second": 1000, "megabits_per_second": 10000}},
            "shards_per_batch": 1, "attempts": 1,
        },
    }  # fmt: skip
    complete = settings.complete(config, "test")
    write_json(folder / READY, {"settings": complete["mirror"]})
    write_candidates(standing(folder, 120), tmp_path / "candidates.parquet", tmp_path / "truth.parquet")
    with mirror_sites([ManySite(folder)], tmp_path) as places:
        monkeypatch.setenv(web.RESOLVE, json.dumps(places))
        fetch_batch(tmp_path / "candidates.parquet", "web-000", tmp_path / "web-000.manifest.parquet", complete)
    found = tables.read(tmp_path / "web-000.manifest.parquet").to_pylist()
    truth = {row["candidateID"]: row for row in tables.read(tmp_path / "truth.parquet").to_pylist()}
    assert {row["candidateID"]: row["sha256"] for row in found} == {key: row["sha256"] for key, row in truth.items()}
    reasons = {"dead-host": "dns", "not-found": "http-404", None: None}
    assert all(row["reason"] == reasons[truth[row["candidateID"]]["fault"]] for row in found)
    assert {row["fault"] for row in truth.values()} == set(reasons)
    asked = [json.loads(line) for line in (tmp_path / REQUESTS).read_text().splitlines()]
    assert {line["host"] for line in asked} == set(many.FILE_HOSTS)
