"""Servers for tests: an HTTP server whose answers a test scripts, and Oxigraph over a few triples."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kg2clip.mirror.site import Site

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def scripted_server(answer: Callable[[str, bytes], Answer]) -> Iterator[tuple[int, list[str]]]:
    """Serve what `answer(path, body)` returns; give the port and the list of requests seen (path and body)."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def do_GET(self) -> None:
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            seen.append(f"{self.path} {body.decode()}")
            status, headers, content = answer(self.path, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections, read each request's first bytes and let `talk` write what it likes; give the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 20)
            talk(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def oxigraph(folder: Path, triples: str) -> Iterator[int]:
    """Serve triples (N-Triples or Turtle) with Oxigraph; give its port."""
    program = str(Path(sys.executable).with_name("oxigraph"))
    (folder / "graph.ttl").write_text(triples, encoding="utf-8")
    store = folder / "store"
    subprocess.run(
        [program, "load", "--location", store, "--file", str(folder / "graph.ttl")], check=True, capture_output=True
    )
    with serve_store(store) as port:
        yield port


@contextmanager
def serve_store(store: Path) -> Iterator[int]:
    """Serve what Oxigraph has stored in a folder; give its port."""
    program = str(Path(sys.executable).with_name("oxigraph"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([program, "serve-read-only", "--location", store, "--bind", f"127.0.0.1:{port}"], **quiet)  # type: ignore[call-overload]
    try:
        _wait(port)
        yield port
    finally:
        server.kill()
        server.wait()


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/query?query=ASK%7B%7D") as response:
                json.load(response)
                return
        except (OSError, ValueError):
            time.sleep(0.05)
    raise TimeoutError("oxigraph did not start")


@contextmanager
def mirror_sites(sites: Sequence[Site], folder: Path) -> Iterator[dict[str, str]]:
    """Serve sites of the mirror as its server does, in a thread; give the resolve map. The log lies in `folder`."""
    from kg2clip.mirror.serve import REQUESTS, RequestLog, listening  # here: other tests need not wait for it

    started, ended = threading.Event(), threading.Event()
    places: dict[str, str] = {}

    async def serve() -> None:
        async with listening(sites, RequestLog(folder / REQUESTS)) as found:
            places.update(found)
            started.set()
            while not ended.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    if not started.wait(20):
        raise TimeoutError("the mirror's sites did not start")
    try:
        yield places
    finally:
        ended.set()
        thread.join(10)
