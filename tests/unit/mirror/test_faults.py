"""Each URL of the hostile hosts ends in the real download as its entry says, and the hosts count what they were asked."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import mirror_sites

from kg2clip import settings, tables, web
from kg2clip.curate.decode import RefusedError, Rules, decode
from kg2clip.download import fetch
from kg2clip.download.batch import fetch_batch
from kg2clip.download.shards import bodies
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes
from kg2clip.identifiers import candidate_id
from kg2clip.knowledge.sparql import Endpoint
from kg2clip.mirror import endpoints, faults, oddities, wordings
from kg2clip.mirror.faults import FAULTS, FaultsSite
from kg2clip.mirror.serve import REQUESTS
from kg2clip.search.commons import Commons
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers

ROOT = Path(__file__).resolve().parents[3]
FAST = {"batches": 1, "connections": 4, "requests_per_second": 1000, "megabits_per_second": 10000}
POLITE = {**FAST, "hosts": [faults.STRICT], "connections": 2, "requests_per_second": 10}


@contextmanager
def served(folder: Path) -> Iterator[tuple[FaultsSite, dict[str, str]]]:
    """The site over a folder; give it and where its hosts are found."""
    site = FaultsSite(folder)
    with mirror_sites([site], folder) as places:
        yield site, places


def lead(patch: pytest.MonkeyPatch, places: dict[str, str]) -> None:
    patch.setenv(web.RESOLVE, json.dumps(places))
    patch.setattr(fetch, "BACKOFF", 0.05)


def download(
    folder: Path, urls: Sequence[str], lanes: dict[str, Any] | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Fetch with the real code; the rows in the order of the URLs."""
    options = {"attempts": 2, **options}
    config = {
        "project": "t",
        "knowledge": {"roots": ["Q1"]},
        "dataset": {"licenses": "any"},
        "download": {"lanes": lanes or {"web": FAST}, "shards_per_batch": 1, "total_timeout": 3, **options},
    }
    keys = [candidate_id("t", url) for url in urls]
    rows = [{"candidateID": key, "accessURI": url} for key, url in zip(keys, urls, strict=True)]
    tables.write(rows, tables.CANDIDATES, folder / "candidates.parquet")
    batch = next(iter(lanes or {"web": FAST})) + "-000"
    manifest = folder / f"{batch}.manifest.parquet"
    fetch_batch(folder / "candidates.parquet", batch, manifest, settings.complete(config, "test"))
    found = {row["candidateID"]: row for row in tables.read(manifest).to_pylist()}
    return [found[key] for key in keys if key in found]


@pytest.fixture(scope="module")
def harvest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, FaultsSite, list[dict[str, Any]]]]:
    """Every entry but the strict host's, fetched in one batch."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch, served(folder) as (site, places):
        lead(patch, places)
        yield folder, site, download(folder, [fault.url for fault in FAULTS if faults.STRICT not in fault.url])


def body_of(folder: Path, row: dict[str, Any]) -> bytes:
    return bodies(folder / "web-000" / row["shard"])[row["candidateID"]].read()


def test_every_entry_ends_as_its_table_says(harvest: Any) -> None:
    _, _, rows = harvest
    entries = [fault for fault in FAULTS if faults.STRICT not in fault.url]
    found = {row["accessURI"]: (row["status"], row["reason"]) for row in rows}
    assert found == {fault.url: (fault.status, fault.reason) for fault in entries}
    assert len({fault.url for fault in FAULTS}) == len(FAULTS)


def test_what_was_fetched_are_the_bytes_served(harvest: Any) -> None:
    folder, _, rows = harvest
    row = next(row for row in rows if "/gzip/" in row["accessURI"])
    assert row["sha256"] == sha256_bytes(faults.picture_of("robin.jpg"))
    removed = [row for row in rows if "/removed/" in row["accessURI"]]
    assert {row["finalURI"] for row in removed} == {"http://faults.mirror.test/placeholder/photo_unavailable.png"}
    assert {body_of(folder, row) for row in removed} == {oddities.placeholder()}


@pytest.mark.parametrize(("kind", "reason"), [("/too-short/", "truncated"), ("/gzip-unsaid/", "unknown-format")])
def test_what_only_the_decoder_can_see(harvest: Any, kind: str, reason: str) -> None:
    folder, _, rows = harvest
    row = next(row for row in rows if kind in row["accessURI"])
    with pytest.raises(RefusedError, match=f"^{reason}$"):
        decode(body_of(folder, row), Rules(256, 90, "#ffffff", 50_000_000))


def test_the_limited_host_refused_once_and_got_its_pause(harvest: Any) -> None:
    _, _, rows = harvest
    attempts = Counter(row["attempts"] for row in rows if faults.LIMITED in row["accessURI"])
    assert attempts == {1: 24, 2: 1}


def test_the_journal_holds_every_request_and_its_peaks(harvest: Any) -> None:
    folder, site, _ = harvest
    visits = [json.loads(line) for line in (folder / faults.JOURNAL).read_text().splitlines()]
    assert Counter(visit["host"] for visit in visits) == site.visits.requests
    assert max(visit["open"] for visit in visits if visit["host"] == faults.SLOW) == site.visits.peak[faults.SLOW] == 3
    assert faults.GONE not in site.visits.requests


def test_the_log_tells_what_each_request_took(harvest: Any) -> None:
    folder, site, _ = harvest
    for _ in range(100):  # an answer whose client has left may take a moment to notice
        lines = [json.loads(line) for line in (folder / REQUESTS).read_text().splitlines()]
        asked = Counter(line["host"] for line in lines)
        if asked.total() == site.visits.requests.total() + 2:
            break
        time.sleep(0.1)
    assert asked == site.visits.requests + Counter({faults.MUTE: 2}), "the mute host's robots.txt, twice"
    of = {line["path"]: line for line in lines if line["host"] in (faults.FAULTS_HOST, faults.SLOW)}
    size = len(faults.picture_of("robin.jpg"))
    assert size < of["/ok/robin.jpg"]["bytes"] < size + 500
    assert of["/endless/robin.jpg"]["bytes"] > 30_000_000, "what was sent counts, also where the client left"
    assert of["/status/404/robin.jpg"]["status"] == 404
    assert of["/stalled/robin.jpg"]["seconds"] > 0.2
    slow = [line for line in lines if line["host"] == faults.SLOW]
    assert max(line["open"] for line in slow) == site.visits.peak[faults.SLOW]
    assert all(line["began"] > 1.6e9 for line in lines)


def test_a_strict_host_serves_the_polite_and_refuses_the_hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as (site, places):
        lead(monkeypatch, places)
        entries = [fault for fault in FAULTS if faults.STRICT in fault.url]
        rows = download(tmp_path, [fault.url for fault in entries], {"strict": POLITE, "web": FAST}, attempts=1)
        assert [(row["status"], row["reason"]) for row in rows] == [(fault.status, fault.reason) for fault in entries]
        assert site.visits.peak[faults.STRICT] <= 2
        hasty = [f"http://{faults.STRICT}/ok/hasty-{number}.jpg" for number in range(12)]
        rows = download(tmp_path, hasty, attempts=1, respect_opt_out=False)
        assert Counter(row["reason"] for row in rows)["http-429"] >= 2


def test_a_server_that_starts_again_goes_on_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://{faults.MOODY}/503/3/absent/robin.jpg"
    with served(tmp_path) as (_, places):
        lead(monkeypatch, places)
        assert [row["reason"] for row in download(tmp_path, [url])] == ["http-503"]
    with open(tmp_path / faults.JOURNAL, "ab") as journal:
        journal.write(b'{"host": "moo')  # as a kill leaves it
    with served(tmp_path) as (site, places):
        lead(monkeypatch, places)
        assert site.visits.requests[faults.MOODY] == 3  # two and robots.txt
        assert [(row["status"], row["attempts"]) for row in download(tmp_path, [url])] == [("success", 2)]
    lines = (tmp_path / faults.JOURNAL).read_text().splitlines()
    assert [json.loads(line)["attempt"] for line in lines if "503" in line] == [1, 2, 3, 4]


def test_an_agent_like_a_browser_is_turned_away(tmp_path: Path) -> None:
    with served(tmp_path) as (_, places):
        headers = {"Host": faults.PICKY, "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/120"}
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(
                urllib.request.Request(f"http://{places[faults.PICKY]}/ok/robin.jpg", headers=headers)
            )


def test_two_starts_give_the_same_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [fault.url for fault in FAULTS if fault.status == "success" and faults.FAULTS_HOST in fault.url]
    found = []
    for start in ("first", "second"):
        (tmp_path / start).mkdir()
        faults.picture_of.cache_clear()
        with served(tmp_path / start) as (_, places):
            lead(monkeypatch, places)
            found.append([row["sha256"] for row in download(tmp_path / start, urls)])
    assert found[0] == found[1] and len(set(found[0])) > 5


def test_the_gallery_passes_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = oddities.ODDITIES[: -oddities.FRAMES + 3]
    urls = [f"http://{faults.FAULTS_HOST}/pictures/{oddity.file}" for oddity in shown]
    with served(tmp_path) as (_, places):
        lead(monkeypatch, places)
        rows = download(tmp_path, [*urls, f"http://{faults.FAULTS_HOST}/pictures/none.jpg"], total_timeout=20)
    assert [row["reason"] for row in rows] == [*(oddity.lost for oddity in shown), "http-404"]
    sizes = {row["accessURI"].rsplit("/", 1)[-1]: row["bytes"] for row in rows}
    assert all(sizes[oddity.file] == len(oddities.content(oddity.file)[1]) for oddity in shown if not oddity.lost)


def search(folder: Path, *names: str, per_query: int = 100) -> list[dict[str, Any]]:
    config = settings.complete(
        {
            "project": "t",
            "knowledge": {"roots": ["Q1"]},
            "search": {"sources": {"commons": {"api": f"http://{faults.FAULTS_HOST}/w/api.php"}}},
        },
        "test",
    )
    queries = [
        {
            "queryID": f"q{number}",
            "entityID": f"wd:Q{number % 2}",
            "kind": "noun",
            "text": name,
            "name": name,
            "attribute": None,
            "disambiguation": None,
        }
        for number, name in enumerate(names)
    ]
    answers = Answers(folder / "answers", "", 1000)
    source = Commons({**config["search"]["sources"]["commons"], "per_query": per_query})
    return search_source(source, queries, answers, per_query, 10_000, {})


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with served(tmp_path) as (_, places):
        lead(monkeypatch, places)
        yield tmp_path


def test_texts_are_read_as_their_table_says(searched: Path) -> None:
    hits = search(searched, "Robin")
    found = {hit["title"]: (hit["description"], hit["license"]) for hit in hits}
    assert found == {
        f"Wording {number:02d}": (wording.clean, wording.spdx) for number, wording in enumerate(wordings.WORDINGS)
    }


def test_no_hits_the_same_hits_and_a_text_of_5000_pictures(searched: Path) -> None:
    assert search(searched, "nothing here") == []
    hits = search(searched, "Robin", "Erithacus", "Redbreast")
    assert {count for count in Counter(hit["accessURI"] for hit in hits).values()} == {3}
    assert {hit["entityID"] for hit in hits} == {"wd:Q0", "wd:Q1"}
    stock = search(searched, "stock", per_query=5000)
    assert len({hit["candidateID"] for hit in stock}) == wordings.STOCK
    assert {hit["description"] for hit in stock} == {"Image"}


@pytest.mark.parametrize("trouble", endpoints.TROUBLES, ids=lambda trouble: trouble.path)
def test_a_query_ends_as_the_table_says(searched: Path, monkeypatch: pytest.MonkeyPatch, trouble: Any) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    graph = Endpoint(trouble.url, "", searched / "graph")
    if trouble.fate in (endpoints.STOPPED, endpoints.REFUSED):
        with pytest.raises(UserError, match=trouble.fate.split(": ")[1]):
            graph.select("SELECT 1")
        return
    assert [row["item"].value[-2:] for row in graph.select("SELECT 1")] == ["34", "13", "Q2"]
    visits = [json.loads(line) for line in (searched / faults.JOURNAL).read_text().splitlines()]
    assert len(visits) == (1 if trouble.fate == "rows" else 2)
    waited = {"rows": 0, endpoints.LESS: 0, endpoints.AGAIN: 1, endpoints.WAITED: 1}[trouble.fate]
    assert len([pause for pause in pauses if pause >= 0.1]) == waited


def test_the_documentation_shows_all_entries(tmp_path: Path) -> None:
    page = tmp_path / "mirror.md"
    page.write_text((ROOT / "docs" / "mirror.md").read_text(encoding="utf-8"), encoding="utf-8")
    faults.write_into(page)
    assert page.read_text(encoding="utf-8") == (ROOT / "docs" / "mirror.md").read_text(encoding="utf-8")
