"""The mirror's servers: one HTTP server for all host names but the graph's, and Oxigraph for the graph.

They live as long as the wrapper that started them: it holds the other end of our standard input, and when that end
closes, however the wrapper died, the servers go, and with them whatever is left of the wrapped command.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from kg2clip.mirror.brave import BraveSite
from kg2clip.mirror.commons import CommonsSite
from kg2clip.mirror.faults import MUTE, FaultsSite
from kg2clip.mirror.gbif import GbifSite
from kg2clip.mirror.inaturalist import INaturalistSite
from kg2clip.mirror.many import ManySite
from kg2clip.mirror.plan import QUERY_HOST
from kg2clip.mirror.site import Site
from kg2clip.processes import be_killed_with_parent

LOOPBACK = "127.0.0.1"
REQUESTS = "requests.jsonl"  # in the mirror's folder


def open_sites(folder: Path) -> list[Site]:
    """The sites of a built mirror."""
    kinds: list[Callable[[Path], Site]] = [CommonsSite, FaultsSite, INaturalistSite, GbifSite, BraveSite, ManySite]
    return [kind(folder) for kind in kinds]


async def serve(folder: Path, latency: float = 0) -> None:
    """Serve a built mirror until standard input closes; print the resolve map as one line of JSON when ready.

    Args:
        latency: seconds before each answer.
    """
    graph_port = _free_port()
    graph = subprocess.Popen(
        ["oxigraph", "serve-read-only", "--location", str(folder / "store"), "--bind", f"{LOOPBACK}:{graph_port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=be_killed_with_parent,
    )
    try:
        async with listening(open_sites(folder), RequestLog(folder / REQUESTS), latency) as places:
            await _wait_for(f"http://{LOOPBACK}:{graph_port}/query?query=ASK%7B%7D", graph)
            print(json.dumps({**places, QUERY_HOST: f"{LOOPBACK}:{graph_port}"}), flush=True)
            group = await _read_until_closed()
    finally:
        graph.kill()
        graph.wait()
    if group:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


class RequestLog:
    """The file of all requests: a line of JSON for each, when it has ended, so that tests can count what a client did.

    host, path; status, null where none was given; bytes of the answer; began (since 1970) and seconds; open: requests
    that the host had when it began, this one counted.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as we serve
        self._open: defaultdict[str, list[asyncio.BaseTransport | None]] = defaultdict(list)

    @contextmanager
    def entry(self, host: str, path: str, connection: asyncio.BaseTransport | None) -> Iterator[dict[str, Any]]:
        """Log what happens within; give the line, to be completed."""
        others = self._open[host]
        # A client that gave up is gone at once; its answer may take a moment longer to notice.
        there = 1 + sum(other is not None and not other.is_closing() for other in others)
        others.append(connection)
        line: dict[str, Any] = {"host": host, "path": path, "status": None, "bytes": 0, "open": there}
        line["began"], began = round(time.time(), 3), time.monotonic()
        try:
            yield line
        finally:
            others.remove(connection)
            line["seconds"] = round(time.monotonic() - began, 4)
            self._file.write(json.dumps(line) + "\n")


@asynccontextmanager
async def listening(sites: Sequence[Site], log: RequestLog, latency: float = 0) -> AsyncIterator[dict[str, str]]:
    """Serve sites on free ports, each answer some seconds late; give the resolve map of their hosts."""
    # Whoever has left does not hear the rest: an answer without end must not keep the server from ending.
    runner = web.AppRunner(_application(sites, log, latency), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    mute = await asyncio.start_server(partial(_say_nothing, log), LOOPBACK, 0)
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    ports = {**{host: port for site in sites for host in site.hosts}, MUTE: mute.sockets[0].getsockname()[1]}
    try:
        yield {host: f"{LOOPBACK}:{port}" for host, port in ports.items()}
    finally:
        mute.close()
        await runner.cleanup()


def _application(sites: Sequence[Site], log: RequestLog, latency: float) -> web.Application:
    by_host = {host: site for site in sites for host in site.hosts}

    async def handle(request: web.Request) -> web.StreamResponse:
        host = request.host.split(":")[0]
        site = by_host.get(host)
        with log.entry(host, request.path_qs, request.transport) as line:
            if latency:
                await asyncio.sleep(latency)
            response = await site.answer(request) if site else web.Response(status=404, text="no such host here")
            line["status"] = response.status
            with suppress(ConnectionError):  # the client has gone
                await response.prepare(request)
                await response.write_eof()
            cut = response._payload_writer  # of an answer that was broken off; aiohttp has no public word for it
            line["bytes"] = cut.output_size if cut else response.body_length
        return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    return application


async def _say_nothing(log: RequestLog, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a connection and all that is said there, such as the first words of TLS, and never answer."""
    with log.entry(MUTE, "", writer.transport), suppress(ConnectionError):
        while await reader.read(4096):
            pass
    writer.close()


async def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    async with ClientSession() as session:
        for _ in range(600):
            if process.poll() is not None:
                sys.exit(f"oxigraph ended with status {process.returncode}")
            with suppress(OSError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    sys.exit("oxigraph did not start within 30 seconds")


async def _read_until_closed() -> int:
    """Read the process group of the wrapped command, then wait for the wrapper's end."""
    loop = asyncio.get_running_loop()
    group = await loop.run_in_executor(None, sys.stdin.readline)
    await loop.run_in_executor(None, sys.stdin.read)
    return int(group) if group.strip() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
