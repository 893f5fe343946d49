"""Large files come whole, once, however often they are cut off."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kg2clip import web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.largefiles import check_room, fetch_file, remote_size

URL = "http://files.test/tables/photos.csv.gz"


class Server:
    """Serves one file with ranges, and breaks off where a test says."""

    def __init__(self) -> None:
        self.content = bytes(range(256)) * 40_000  # 10 MB
        self.etag: str | None = '"one"'
        self.cut_after: list[int] = []  # bytes given by each next request before it breaks off
        self.statuses: list[int] = []  # given by each next request instead
        self.ranges = True
        self.asked: list[tuple[str, str | None, str | None]] = []

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                server.head(self)

            def do_GET(self) -> None:
                server.get(self)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def head(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(self.content)))
        request.end_headers()

    def get(self, request: BaseHTTPRequestHandler) -> None:
        wanted, condition = request.headers.get("Range"), request.headers.get("If-Range")
        self.asked.append((request.path, wanted, condition))
        if self.statuses:
            request.send_response(self.statuses.pop(0))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int(wanted[6:-1]) if wanted and self.ranges and condition == self.etag else 0
        if start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        if self.cut_after:
            request.wfile.write(body[: self.cut_after.pop(0)])
            request.close_connection = True
            return
        request.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    made = Server()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), made.handler())
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    monkeypatch.setenv(web.RESOLVE, json.dumps({"files.test": f"127.0.0.1:{listening.server_address[1]}"}))
    yield made
    listening.shutdown()
    listening.server_close()


def fetch(path: Path, max_bytes: int = 10**9) -> dict[str, Any]:
    return fetch_file(URL, path, "", max_bytes)


def test_a_file_comes_whole_and_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "photos.csv.gz"
    state = fetch(path)
    assert path.read_bytes() == server.content and [file.name for file in path.parent.iterdir()] == [path.name]
    assert (state["size"], state["etag"]) == (len(server.content), '"one"')
    assert fetch(path) == {} and len(server.asked) == 1
    assert remote_size(URL, "") == len(server.content)


def test_a_cut_off_file_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut_after = [3_000_000, 10, 4_000_000, 1, 1, 1, 1]  # more cuts than tries
    fetch(tmp_path / "photos.csv.gz")
    assert (tmp_path / "photos.csv.gz").read_bytes() == server.content
    starts = [int(wanted[6:-1]) if wanted else 0 for _, wanted, _ in server.asked]
    assert starts == sorted(starts) and len(starts) == 8 and starts[-1] > 6_800_000


def test_the_next_run_goes_on(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "photos.csv.gz"
    server.cut_after, server.statuses = [5_000_000], []
    real = server.get

    def once_then_down(request: BaseHTTPRequestHandler) -> None:
        server.statuses = [503] if server.asked else []
        real(request)

    server.get = once_then_down  # type: ignore[method-assign]
    with pytest.raises(IncompleteError, match="does not answer: status 503"):
        fetch(path)
    assert not path.exists()
    kept = (tmp_path / ".photos.csv.gz.part").stat().st_size
    assert kept > 3_000_000
    server.get = real  # type: ignore[method-assign]
    server.statuses = []
    fetch(path)
    assert path.read_bytes() == server.content and server.asked[-1][1:] == (f"bytes={kept}-", '"one"')


def test_a_file_that_changed_comes_from_its_start(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "photos.csv.gz"
    server.cut_after = [5_000_000]
    real = server.get

    def changed(request: BaseHTTPRequestHandler) -> None:
        if server.asked:
            server.etag, server.content = '"two"', b"x" * 6_000_000
        real(request)

    server.get = changed  # type: ignore[method-assign]
    assert fetch(path)["etag"] == '"two"' and path.read_bytes() == b"x" * 6_000_000


@pytest.mark.parametrize("missing", ["ranges", "etag"])
def test_servers_without_ranges_or_versions_start_anew(server: Server, tmp_path: Path, missing: str) -> None:
    server.ranges, server.etag = missing != "ranges", None if missing == "etag" else '"one"'
    server.cut_after = [5_000_000]
    fetch(tmp_path / "photos.csv.gz")
    assert (tmp_path / "photos.csv.gz").read_bytes() == server.content and len(server.asked) == 2


def test_all_bytes_there_before_the_rename(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "photos.csv.gz"
    part = tmp_path / ".photos.csv.gz.part"
    part.write_bytes(server.content)
    state = {"url": URL, "size": len(server.content), "validator": '"one"'}
    (tmp_path / ".photos.csv.gz.part.json").write_text(json.dumps(state))
    fetch(path)
    assert path.read_bytes() == server.content and len(server.asked) == 1


def test_what_can_never_work_is_told_at_once(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photos.csv.gz"
    with pytest.raises(UserError, match="more than the 100 bytes allowed"):
        fetch(path, max_bytes=100)
    server.statuses = [404]
    with pytest.raises(UserError, match="status 404"):
        fetch(path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10**9))
    with pytest.raises(UserError, match=r"needs .* GB on the disk of .*, and 1\.0 GB are free"):
        fetch(path)
    with pytest.raises(UserError, match=r"The tables needs 51\.1 GB"):
        check_room(tmp_path / "not" / "there", 50 * 10**9, "The tables")
    assert not path.exists()


def test_a_public_server_is_not_asked_without_a_contact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(web.RESOLVE, raising=False)
    with pytest.raises(web.RefusedError, match="Set contact"):
        fetch_file("https://inaturalist-open-data.s3.amazonaws.com/taxa.csv.gz", tmp_path / "x", "", 10**9)
