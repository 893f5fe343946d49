"""Every line of bad-inputs.md on URLs, servers and the workflow has a test: here, or where the table says."""

from __future__ import annotations

import ast
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hostile import FAST, HostileWeb, picture, write_candidates
from servers import raw_server

import fetch_batch as fetch_batch_program
import fetch_leftovers as fetch_leftovers_program
from kg2clip import tables, web
from kg2clip.errors import run_program
from kg2clip.files import read_json, sha256_bytes

HERE = Path(__file__).resolve().parent
FAULTS, RESUME, OWN = "test_download_faults.py", "test_download_resume.py", Path(__file__).name
DRILL = "test_download_drill.py"
PACK, DECODE = "../dataset/test_pack_dataset.py", "../curate/test_decode_batch.py"
HELD = {  # how a line begins: the tests that hold it, by file
    "Spaces, non-ASCII path": {
        FAULTS: ["test_paths_go_over_the_wire_encoded_once", "test_what_fails_for_good_is_told_and_asked_once"],
    },
    "HTML with status 200": {
        FAULTS: [
            "test_what_fails_for_good_is_told_and_asked_once",
            "test_a_body_encoded_against_our_wish_is_decoded",
            "test_passing_failures_are_tried_again",
            "test_a_cut_chunked_body_is_not_taken",
        ],
        OWN: ["test_a_body_longer_than_declared_spoils_no_other", "test_what_has_no_end_takes_neither_time_nor_memory"],
    },
    "Endless stream, 1 byte per second": {
        FAULTS: ["test_deadline_and_refused_connection"],
        OWN: ["test_what_has_no_end_takes_neither_time_nor_memory", "test_a_mute_server_is_left_at_the_deadline"],
    },
    "Redirect loop, 11 redirects": {
        FAULTS: ["test_what_fails_for_good_is_told_and_asked_once"],
        OWN: ["test_eleven_redirects_and_where_a_placeholder_was"],
    },
    "Host that answers 429 after 20 requests": {
        FAULTS: ["test_who_asks_is_told_honestly", "test_a_dead_host_is_given_up"],
        OWN: ["test_hosts_that_have_enough_hold_up_no_other"],
    },
    "robots.txt disallow": {
        FAULTS: ["test_robots_rules", "test_opt_out_headers", "test_opt_outs_are_obeyed_unless_the_config_says_no"],
        OWN: ["test_opt_outs_by_header"],
    },
    "DNS failure of one host": {
        OWN: [
            "test_an_unknown_host_fails_alone",
            "test_a_silent_name_server_is_no_verdict",
            "test_all_hosts_down_is_no_success",
        ],
    },
    "Kill -9 in mid-shard": {
        RESUME: [
            "test_ctrl_c_ends_soon_and_keeps_what_is_there",
            "test_a_full_disk_is_told_and_keeps_what_is_there",
            "test_two_programs_do_not_write_one_batch",
            "test_a_changed_input_fetches_only_what_changed",
            "test_shards_without_pictures_and_empty_batches_are_finished",
        ],
        OWN: ["test_a_shard_of_one_row_and_a_gap_beside_it"],
        DRILL: [
            "test_killed_while_it_fetches",
            "test_killed_while_it_writes",
            "test_stopped_with_ctrl_c",
            "test_the_disk_is_full",
            "test_killed_and_the_input_changed",
        ],
        PACK: ["test_shards_of_an_earlier_run_go", "test_shards_and_manifest", "test_no_text_is_told"],
        DECODE: ["test_no_picture_at_all"],
    },
}


def test_every_line_is_held(samples: Path) -> None:
    text = (samples.parent / "bad-inputs.md").read_text(encoding="utf-8")
    sections = [text.split(f"**{name}**")[1].split("\n**")[0] for name in ("URLs and servers", "Workflow")]
    lines = [line[2:] for section in sections for line in section.splitlines() if line.startswith("- ")]
    assert len(lines) == len(HELD)
    for line, start in zip(lines, HELD, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize("line", HELD)
def test_the_tests_are_there(line: str) -> None:
    for file, names in HELD[line].items():
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        assert set(names) <= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def peak_memory() -> int:
    """Bytes of resident memory at the peak since the last `forget_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5)


@contextmanager
def raw_host(monkeypatch: pytest.MonkeyPatch, talk: Any) -> Iterator[None]:
    """`raw.test` takes connections and says what `talk` writes."""
    with raw_server(talk) as port, monkeypatch.context() as patch:
        patch.setenv(web.RESOLVE, json.dumps({**json.loads(web_places()), "raw.test": f"127.0.0.1:{port}"}))
        yield


def web_places() -> str:
    return json.dumps({host: f"{address}:{port}" for host, (address, port) in web.resolve_map().items()})


def test_a_body_longer_than_declared_spoils_no_other(harvest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands behind the declared end is no answer to the next request on that connection."""
    body, forged = picture("short", 100), picture("forged")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"

    def talk(connection: socket.socket) -> None:
        connection.sendall(head % len(body) + body + head % len(forged) + forged)
        if connection.recv(1 << 16):
            connection.sendall(head % len(body) + body)

    with raw_host(monkeypatch, talk):
        urls = [f"http://raw.test/{number}" for number in range(3)]
        rows = harvest(urls, respect_opt_out=False, lanes={"web": {**FAST, "connections": 1}})
    assert {(row["status"], row["sha256"]) for row in rows.values()} == {("success", sha256_bytes(body))}


def test_what_has_no_end_takes_neither_time_nor_memory(
    harvest: Any, hostile: HostileWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()

    def headers_without_end(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stop.is_set():
            connection.sendall(b"X-More: " + b"x" * 4000 + b"\r\n")

    urls = {
        "http://a.test/endless": "too-large",
        "http://a.test/bomb": "too-large",
        "http://raw.test/headers": "protocol",
    }
    harvest(["http://a.test/ok/1"])  # what is imported and kept once is not counted below
    forget_peak()
    before, began = peak_memory(), time.monotonic()
    with raw_host(monkeypatch, headers_without_end):
        rows = harvest(list(urls), respect_opt_out=False, attempts=1)
        stop.set()
    assert {url: row["reason"] for url, row in rows.items()} == urls
    assert time.monotonic() - began < 10
    assert peak_memory() - before < 30 << 20  # the bomb has 100 MB


def test_a_mute_server_is_left_at_the_deadline(harvest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    began = time.monotonic()
    with raw_host(monkeypatch, lambda connection: ended.wait(20)):
        urls = ["https://raw.test/tls", "http://raw.test/plain"]
        rows = harvest(urls, respect_opt_out=False, total_timeout=0.5, attempts=1)
        ended.set()
    assert [rows[url]["reason"] for url in urls] == ["timeout", "timeout"]
    assert time.monotonic() - began < 5


def test_eleven_redirects_and_where_a_placeholder_was(harvest: Any, hostile: HostileWeb) -> None:
    far = "http://a.test" + "/to/http://a.test" * 11 + "/ok/1"
    gone = "http://a.test/to/http://b.test/ok/photo_unavailable.png"
    rows = harvest([far, gone])
    assert (rows[far]["status"], rows[far]["reason"]) == ("failed", "too-many-redirects")
    assert rows[gone]["finalURI"] == "http://b.test/ok/photo_unavailable.png"
    assert len(hostile.paths()) == 1 + 5 + 2


def test_hosts_that_have_enough_hold_up_no_other(harvest: Any, hostile: HostileWeb) -> None:
    enough = [f"http://a.test/twenty/{number}" for number in range(24)]
    shut = [f"http://b.test/hour/{number}" for number in range(6)]
    open_ = [f"http://c.test/browser/{number}" for number in range(30)]
    began = time.monotonic()
    rows = harvest(enough + shut + open_, lanes={"web": {**FAST, "connections": 1}})
    assert time.monotonic() - began < 10
    assert {rows[url]["status"] for url in enough + open_} == {"success"}
    assert Counter(rows[url]["attempts"] for url in enough) == {1: 23, 2: 1}, "one 429 lets the whole host rest"
    assert Counter(rows[url]["reason"] for url in shut) == {"http-503": 1, "host-down": 5}
    ended = {host: max(a.began for a in hostile.asked if a.host == host) for host in ("a.test", "c.test")}
    assert ended["c.test"] < ended["a.test"] - 0.5


def test_opt_outs_by_header(harvest: Any, hostile: HostileWeb) -> None:
    assert harvest(["http://a.test/tag/0"])["http://a.test/tag/0"]["status"] == "success", "nothing is reserved"
    rows = harvest(["http://a.test/tag/noai", "http://a.test/tag/noml", "http://a.test/tag/1"])
    assert {(row["status"], row["reason"], row["bytes"]) for row in rows.values()} == {("refused", "opt-out", None)}


def test_an_unknown_host_fails_alone(harvest: Any, hostile: HostileWeb) -> None:
    rows = harvest(["http://no-such-host.invalid/x", "http://no-such-host.invalid/y", "http://a.test/ok/1"])
    assert sorted(str(row["reason"]) for row in rows.values()) == ["None", "dns", "dns"]


@pytest.mark.parametrize(("internet", "reason"), [(True, "dns"), (False, "dns-unreachable")])
def test_name_servers_that_know_no_name_outside_lose_no_picture(
    internet: bool, reason: str, harvest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inside_a_cluster(host: str, port: int, **_: Any) -> Any:
        if internet and host == web.WITNESS:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("198.41.0.4", port))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", inside_a_cluster)
    monkeypatch.setattr(web, "check_contact", lambda *_: None)
    urls = ["http://www.museum.org/1", "http://a.test/ok/1"]
    rows = harvest(urls, attempts=1)
    assert [rows[url]["reason"] for url in urls] == [reason, None]


def test_a_silent_name_server_is_no_verdict(harvest: Any, hostile: HostileWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = socket.getaddrinfo

    def no_answer(host: str, *rest: Any, **options: Any) -> Any:
        if host == "museum.example.org":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ask(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    urls = ["http://museum.example.org/1", "http://a.test/ok/1"]
    rows = harvest(urls, private_hosts=["museum.example.org"], attempts=2)
    assert [(rows[url]["reason"], rows[url]["attempts"]) for url in urls] == [("dns-unreachable", 2), (None, 1)]


def test_all_hosts_down_is_no_success(
    hostile: HostileWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile.broken.update({"a.test", "b.test"})
    config: dict[str, Any] = {"project": "t", "knowledge": {"roots": ["Q1"]}, "dataset": {"licenses": "any"}}
    config["download"] = {"lanes": {"web": FAST}, "attempts": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    candidates = write_candidates(tmp_path / "c.parquet", ["http://a.test/ok/1", "http://b.test/ok/1"])
    first, second = (tmp_path / f"web-{name}.manifest.parquet" for name in ("000", "leftovers"))
    shared = ["--candidates", candidates, "--provenance", tmp_path / "p.json", "--config", tmp_path / "config.yaml"]

    def run(program: ModuleType, *options: object) -> Any:
        monkeypatch.setattr(sys, "argv", [program.__name__, *map(str, (*shared, *options))])
        with pytest.raises(SystemExit) as ended:
            run_program(program.main)
        return ended.value.code

    assert run(fetch_batch_program, "--batch", "web-000", "--output", first) == 0
    assert read_json(tmp_path / "p.json")["optOut"] == "respected"
    assert tables.read(first)["reason"].to_pylist() == ["http-503"] * 2
    leftovers = ("--lane", "web", "--manifests", first, "--output", second)
    assert run(fetch_leftovers_program, *leftovers) == 3 and not second.exists()
    assert "2 of 2 pictures could not be fetched for now" in capsys.readouterr().err
    hostile.broken.clear()
    assert run(fetch_leftovers_program, *leftovers) == 0
    assert tables.read(second)["status"].to_pylist() == ["success"] * 2


def test_a_shard_of_one_row_and_a_gap_beside_it(harvest: Any, hostile: HostileWeb, folder: Path) -> None:
    """A shard without a picture has no tar: the numbers of the tars have a gap there, and the rerun leaves it so."""
    urls = [f"http://a.test/status/404/{number}" for number in range(12)] + ["http://a.test/ok/1"]
    rows = harvest(urls, shards_per_batch=4)
    tars = [path.name for path in folder.glob("*.tar")]
    assert tars == [rows["http://a.test/ok/1"]["shard"]]
    hostile.asked.clear()
    assert harvest(urls, shards_per_batch=4) == rows and not hostile.asked
    alone = harvest(["http://b.test/ok/1"], shards_per_batch=1)
    assert [row["shard"] for row in alone.values()] == ["00000.tar"]
