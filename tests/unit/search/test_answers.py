"""Answers are kept, calls are counted, limits hold: over threads, days and crashes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from servers import Answer, scripted_server

from kg2clip import provenance, tables, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.search.pace import Pace
from kg2clip.search.source import Answers, ClosedError, QueryRefusedError
from kg2clip.search.store import open_store

ROOT = Path(__file__).resolve().parents[3]
URL = "http://source.test/api"


@contextmanager
def serve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Answer]) -> Iterator[list[str]]:
    with scripted_server(lambda path, _: answer(path)) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"source.test": f"127.0.0.1:{port}"}))
        yield seen


def echo(path: str) -> Answer:
    return 200, {}, json.dumps({"path": path}).encode()


def test_a_hundred_questions_are_one_file_and_are_asked_once(tmp_path: Path, monkeypatch) -> None:
    with serve(monkeypatch, echo) as seen:
        answers = Answers(tmp_path, "", 10_000)
        first = [answers.get(URL, {"q": str(number)}) for number in range(100)]
        dates = answers.date
        del answers
        again = Answers(tmp_path, "", 10_000)
        assert [again.get(URL, {"q": str(number)}) for number in range(100)] == first
        again.get(URL, {"q": "new"})
    assert len(seen) == 101 and (again.calls, again.kept) == (1, 100)
    assert dates <= again.date
    del again
    assert [path.name for path in tmp_path.iterdir()] == ["answers.sqlite"]
    with sqlite3.connect(tmp_path / "answers.sqlite") as database:
        row = database.execute("SELECT url, parameters, content FROM answers LIMIT 1").fetchone()
        assert row[:2] == (URL, '{"q": "0"}') and json.loads(zlib.decompress(row[2])) == first[0]


def test_a_day_has_so_many_calls_and_the_next_goes_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(provenance, "now", lambda: "2026-03-01T23:59:59Z")
    waiting = [(500, {"Retry-After": "0"}, b"")]
    with serve(monkeypatch, lambda path: waiting.pop() if waiting else echo(path)) as seen:
        answers = Answers(tmp_path, "", 10_000, calls_per_day=3)
        answers.get(URL, {"q": "1"})
        answers.get(URL, {"q": "2"})
        assert len(seen) == 3, "the failed call was counted too"
        with pytest.raises(ClosedError, match="today's 3 calls"):
            answers.get(URL, {"q": "3"})
        assert answers.get(URL, {"q": "1"}), "kept answers are given still"
        del answers
        with pytest.raises(ClosedError):  # another run on the same day
            Answers(tmp_path, "", 10_000, calls_per_day=3).get(URL, {"q": "3"})
        monkeypatch.setattr(provenance, "now", lambda: "2026-03-02T00:00:00Z")
        assert Answers(tmp_path, "", 10_000, calls_per_day=3).get(URL, {"q": "3"})
    assert len(seen) == 4


def test_a_project_has_so_many_calls(tmp_path: Path, monkeypatch) -> None:
    with serve(monkeypatch, echo) as seen:
        Answers(tmp_path, "", 10_000, calls_total=1).get(URL, {"q": "1"})
        with pytest.raises(ClosedError, match="calls_total"):
            Answers(tmp_path, "", 10_000, calls_total=1).get(URL, {"q": "2"})
    assert len(seen) == 1


def test_a_source_that_asks_for_a_long_wait_is_left_alone(tmp_path: Path, monkeypatch) -> None:
    with serve(monkeypatch, lambda _: (429, {"Retry-After": "86400"}, b"")) as seen:
        answers = Answers(tmp_path, "", 10_000)
        with pytest.raises(IncompleteError, match="86400"):
            answers.get(URL, {"q": "1"})
        with pytest.raises(ClosedError, match="asks to wait 86400 seconds"):
            answers.get(URL, {"q": "2"})
    assert len(seen) == 1


def test_a_wait_holds_for_all_threads(tmp_path: Path, monkeypatch) -> None:
    times: list[float] = []
    lock = threading.Lock()

    def busy_once(path: str) -> Answer:
        with lock:
            times.append(time.monotonic())
            return (429, {"Retry-After": "1"}, b"") if len(times) == 1 else echo(path)

    with serve(monkeypatch, busy_once), ThreadPoolExecutor(4) as pool:
        answers = Answers(tmp_path, "", 20)
        list(pool.map(lambda number: answers.get(URL, {"q": str(number)}), range(8)))
    later = [moment - times[0] for moment in times[1:]]
    # Calls on their way when the 429 came are the only ones within the second.
    assert sum(after < 0.9 for after in later) <= 4


def test_the_rate_holds_over_threads() -> None:
    pace, turns = Pace(200), []

    def take(_: int) -> None:
        pace.wait(time.sleep)
        turns.append(time.monotonic())

    with ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        list(pool.map(take, range(100)))
    assert max(turns) - began >= 99 / 200


def test_a_turn_asked_for_a_little_late_is_not_lost(monkeypatch) -> None:
    moments, slept = iter([100.0, 100.05, 100.21, 101.0, 101.0]), []
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    pace = Pace(10)
    for _ in range(5):
        pace.wait(slept.append)
    assert slept == pytest.approx([0.05, 0.1]), "the third came 10 ms late and had its turn, the fourth began anew"


def test_what_is_refused_for_one_request_and_what_for_all(tmp_path: Path, monkeypatch) -> None:
    with serve(monkeypatch, lambda path: (400, {}, b"bad words") if "odd" in path else (403, {}, b"go away")):
        answers = Answers(tmp_path, "", 10_000)
        with pytest.raises(QueryRefusedError, match="status 400: bad words"):
            answers.get(URL, {"q": "odd"})
        with pytest.raises(UserError, match="status 403: go away") as caught:
            answers.get(URL, {"q": "plain"})
    assert not isinstance(caught.value, QueryRefusedError)


def test_an_endless_answer_is_cut_off(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("kg2clip.search.source.MAX_ANSWER", 1000)
    monkeypatch.setattr("kg2clip.web.wait_exponential_jitter", lambda **_: lambda state: 0)
    with serve(monkeypatch, lambda _: (200, {}, b"[" * 5000)), pytest.raises(IncompleteError, match="no end"):
        Answers(tmp_path, "", 10_000).get(URL, {})


def test_half_a_surrogate_pair_is_mended_and_mended_again(tmp_path: Path, monkeypatch) -> None:
    with serve(monkeypatch, lambda _: (200, {}, b'{"title": "a\\ud83d b"}')):
        answers = Answers(tmp_path, "", 10_000)
        assert answers.get(URL, {}) == answers.get(URL, {}) == {"title": "a? b"}


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match="move it away"):
        open_store(tmp_path)


def test_another_program_may_not_write_beside(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with sqlite3.connect(tmp_path / "answers.sqlite", timeout=0) as other, pytest.raises(sqlite3.OperationalError):
        other.execute("DELETE FROM calls")
    assert store.calls == 0


# The program, killed and run again.

CONFIG = {
    "project": "x",
    "knowledge": {"roots": ["x"]},
    "search": {"sources": {"commons": {"api": "http://source.test/w/api.php", "requests_per_second": 200}}},
}


def command(folder: Path, config: dict[str, Any], search: str = "commons") -> tuple[list[str], dict[str, str]]:
    queries = [
        {"queryID": f"q{number:03d}", "entityID": f"wd:Q{number:03d}", "kind": "noun", "text": f"Name {number}",
         "name": f"Name {number}", "nameKind": "scientific"}
        for number in range(60)
    ]  # fmt: skip
    tables.write(queries, tables.QUERIES, folder / "queries.parquet")
    tables.write([{"entityID": query["entityID"]} for query in queries], tables.ENTITIES, folder / "entities.parquet")
    program = [
        sys.executable, str(ROOT / "scripts" / "search_images.py"), "--search", search,
        "--entities", str(folder / "entities.parquet"), "--queries", str(folder / "queries.parquet"),
        "--output", str(folder / "search" / f"{search}.hits.parquet"), "--provenance", str(folder / "provenance.json"),
    ]  # fmt: skip
    return program, {**os.environ, "KG2CLIP_CONFIG": json.dumps(config)}


def page(path: str) -> Answer:
    number = parse_qs(urlsplit(path).query)["gsrsearch"][0].split()[1].strip('"')
    info = {"url": f"http://pictures.test/{number}.jpg", "mime": "image/jpeg"}
    found = {"pages": {number: {"pageid": int(number), "title": f"File:{number}.jpg", "imageinfo": [info]}}}
    return 200, {}, json.dumps({"batchcomplete": "", "query": found}).encode()


def test_killed_and_run_again_no_answered_request_is_repeated_and_none_is_missing(tmp_path: Path, monkeypatch) -> None:
    def slowly(path: str) -> Answer:
        time.sleep(0.02)
        return page(path)

    with serve(monkeypatch, slowly) as seen:
        program, environment = command(tmp_path, CONFIG)
        for kills in (8, 25, 44):
            running = subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)
            while len(seen) < kills and running.poll() is None:
                time.sleep(0.002)
            running.send_signal(signal.SIGKILL)
            running.wait()
            assert running.returncode == -signal.SIGKILL
            assert not (tmp_path / "search" / "commons.hits.parquet").exists()
            time.sleep(0.1)  # the server ends what it was at
        done = subprocess.run(program, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    asked = Counter(request.split(" ")[0] for request in seen)
    assert len(asked) == 60, "none is missing"
    # Three connections: at each kill so many answers at most were on their way, and are asked for anew.
    assert asked.total() <= 60 + 3 * 3
    hits = tables.read(tmp_path / "search" / "commons.hits.parquet").to_pylist()
    assert [hit["entityID"] for hit in hits] == [f"wd:Q{number:03d}" for number in range(60)]
    counts = json.loads((tmp_path / "provenance.json").read_text())["counts"]
    assert counts["answers kept from before"] + counts["calls made"] == 60
    with sqlite3.connect(tmp_path / "search" / "commons" / "answers.sqlite") as database:
        (ledger,) = database.execute("SELECT count(*) FROM calls").fetchone()
    assert ledger >= asked.total(), "a call that a kill cut off is in the ledger too"


@pytest.mark.parametrize("accept", [False, True])
def test_a_budget_that_is_used_up_stops_as_incomplete_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch, accept
) -> None:
    config = json.loads(json.dumps({**CONFIG, "accept_partial": accept}))
    config["search"]["sources"]["commons"]["calls_per_day"] = 20
    with serve(monkeypatch, page) as seen:
        program, environment = command(tmp_path, config)
        done = subprocess.run(program, env=environment, capture_output=True, text=True)
        assert len(seen) == 20 and "Traceback" not in done.stderr
        hits = tmp_path / "search" / "commons.hits.parquet"
        if accept:
            assert done.returncode == 0 and tables.read(hits).num_rows == 20
            assert "40 of 60 entities" in json.loads((tmp_path / "provenance.json").read_text())["missing"]
        else:
            assert done.returncode == 3 and not hits.exists()
            for words in ("40 of 60 entities", "calls_per_day", "Run the same command again", "accept_partial: true"):
                assert words in done.stderr
        del config["search"]["sources"]["commons"]["calls_per_day"]  # another day
        program, environment = command(tmp_path, config)
        assert subprocess.run(program, env=environment, capture_output=True).returncode == 0
    assert len(seen) == 60 and tables.read(hits).num_rows == 60


def test_a_key_is_nowhere_in_the_results(tmp_path: Path, monkeypatch) -> None:
    key = "planted-key-5f2c"

    def tell_all(path: str) -> Answer:
        """A server that says back what it was told, in answers, refusals and errors."""
        if "Name+7" in path or "Name%207" in path:
            return 422, {}, f"your token {key} is fine, your query is not".encode()
        result = {
            "title": f"seen with {key}",
            "url": "http://p.test/",
            "properties": {"url": f"http://p.test/{key}.jpg"},
        }
        return 200, {"X-Told": key}, json.dumps({"results": [result], "query": {"token": key}}).encode()

    wanted = {"api": "http://source.test/images", "requests_per_second": 500}
    config = {**CONFIG, "accept_partial": True, "search": {"sources": {"brave": wanted}}}
    with serve(monkeypatch, tell_all) as seen:
        program, environment = command(tmp_path, config, "brave")
        done = subprocess.run(program, env={**environment, "BRAVE_API_KEY": key}, capture_output=True, text=True)
    assert done.returncode == 0 and len(seen) == 60, done.stderr
    assert key not in done.stdout + done.stderr and "***" in done.stderr
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert key.encode() not in path.read_bytes(), path
    assert key not in str(tables.read(tmp_path / "search" / "brave.hits.parquet").to_pylist())
    with sqlite3.connect(tmp_path / "search" / "brave" / "answers.sqlite") as database:
        contents = [zlib.decompress(content) for (content,) in database.execute("SELECT content FROM answers")]
        assert len(contents) == 59 and all(key.encode() not in content for content in contents)
