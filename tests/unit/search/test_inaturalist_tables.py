"""iNaturalist's monthly tables are fetched by us, only what is needed of them stays, and a stop loses nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Answer, scripted_server

from kg2clip import web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.search.inaturalist_tables import INaturalistOpenData, read_open_data
from kg2clip.search.source import Answers

NAMES = ["Trifolium hybridum", "Celtis laevigata", "Pseudacris"]


def wanted(folder: Path) -> dict[str, Any]:
    return {
        "per_query": 200, "quality_grades": ["research"], "licenses": "any", "photo_size": "medium", "folder": str(folder),
        "pictures": "https://inaturalist-open-data.s3.amazonaws.com", "tables": "http://tables.test",
    }  # fmt: skip


def query(name: str) -> dict[str, Any]:
    return {
        "queryID": name,
        "entityID": "e",
        "kind": "noun",
        "name": name,
        "nameKind": "scientific",
        "disambiguation": None,
    }


class Bucket:
    """Serves the recorded tables; a test may take tables out of it."""

    def __init__(self, samples: Path) -> None:
        self.tables = {path.name: path.read_bytes() for path in (samples / "inaturalist" / "open_data").iterdir()}
        self.asked: list[str] = []

    def answer(self, path: str, _: bytes) -> Answer:
        self.asked.append(path)
        content = self.tables.get(path[1:])
        if content is None:
            return 503, {}, b""
        return 200, {"ETag": f'"{len(content)}"', "Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT"}, content


@pytest.fixture
def bucket(samples: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("kg2clip.search.inaturalist_tables.remote_size", lambda url, contact: 10)
    made = Bucket(samples)
    with scripted_server(made.answer) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"tables.test": f"127.0.0.1:{port}"}))
        yield made


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., dict[str, list[str]]]:
    def run(folder: Path = tmp_path / "inat") -> dict[str, list[str]]:
        source, answers = INaturalistOpenData(wanted(folder)), Answers(tmp_path / "answers", "", 1000)
        source.prepare([query(name) for name in NAMES], answers)
        return {
            name: [hit["sourceID"] for page in source.pages(query(name), answers) for hit in page] for name in NAMES
        }

    return run


def test_fetched_tables_give_what_own_ones_give(
    bucket: Bucket, samples: Path, tmp_path: Path, search: Callable[..., Any]
) -> None:
    found = search()
    own = tmp_path / "own"
    shutil.copytree(samples / "inaturalist" / "open_data", own)
    expected = read_open_data(own, NAMES, wanted(own))
    assert found == {name: [hit["sourceID"] for hit in hits] for name, hits in expected.items()}
    assert sum(map(len, found.values())) == 3
    assert len(bucket.asked) == 4
    left = {path.name for path in (tmp_path / "inat" / "index").iterdir() if not path.name.startswith(".")}
    assert left == {"built.json", "photos.parquet", "taxa.parquet", "lineages.parquet"}, "the fetched tables are gone"
    assert search() == found and len(bucket.asked) == 4, "nothing is fetched twice"
    assert {path.name for path in own.iterdir()} >= {"photos.csv.gz", "taxa.csv.gz"}, "one's own tables stay"


def test_the_dates_of_the_tables_are_kept(bucket: Bucket, tmp_path: Path) -> None:
    source = INaturalistOpenData(wanted(tmp_path / "inat"))
    source.prepare([], Answers(tmp_path / "answers", "", 1000))
    dates = source.facts()["tables"]
    assert set(dates) == {"taxa", "observers", "observations", "photos"}
    assert set(dates.values()) == {"Sat, 01 Nov 2025 00:00:00 GMT"}


def test_a_stopped_run_fetches_only_what_is_missing(bucket: Bucket, tmp_path: Path, search: Callable[..., Any]) -> None:
    photos = bucket.tables.pop("photos.csv.gz")
    with pytest.raises(IncompleteError, match=r"photos\.csv\.gz does not answer: status 503"):
        search()
    index = tmp_path / "inat" / "index"
    assert not (index / "observations.csv.gz").exists() and (index / "observations.columns.parquet").exists()
    bucket.tables["photos.csv.gz"] = photos
    bucket.asked.clear()
    assert sum(map(len, search().values())) == 3
    assert bucket.asked == ["/photos.csv.gz"]


def test_some_of_ones_own_tables_are_not_mixed_with_fetched_ones(
    bucket: Bucket, samples: Path, tmp_path: Path, search: Callable[..., Any]
) -> None:
    (tmp_path / "inat").mkdir()
    shutil.copy(samples / "inaturalist" / "open_data" / "taxa.csv.gz", tmp_path / "inat")
    with pytest.raises(UserError, match=r"observers\.csv\.gz is not there. Put all four tables there .*, or none"):
        search()


def test_room_is_asked_for_before_anything_is_fetched(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, search: Callable[..., Any]
) -> None:
    monkeypatch.setattr("kg2clip.search.inaturalist_tables.remote_size", lambda url, contact: 10**15)
    with pytest.raises(UserError, match="iNaturalist's open data needs .* GB on the disk"):
        search()
    assert bucket.asked == []


def test_a_damaged_table_is_told_and_fetched_again(bucket: Bucket, search: Callable[..., Any]) -> None:
    whole = bucket.tables["photos.csv.gz"]
    bucket.tables["photos.csv.gz"] = whole[: len(whole) // 2]
    with pytest.raises(UserError, match=r"photos\.csv\.gz can't be read"):
        search()
    bucket.tables["photos.csv.gz"] = whole
    assert sum(map(len, search().values())) == 3
