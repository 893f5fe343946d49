"""The mirror's servers: one HTTP server for all host names but the graph's, and Oxigraph for the graph.

They live as long as the wrapper that started them: it holds the other end of our standard input, and when that end
closes, however the wrapper died, the servers go, and with them whatever is left of the wrapped command.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from aiohttp import ClientSession, web

from kg2clip.mirror.brave import BraveSite
from kg2clip.mirror.commons import CommonsSite
from kg2clip.mirror.faults import FaultsSite
from kg2clip.mirror.gbif import GbifSite
from kg2clip.mirror.inaturalist import INaturalistSite
from kg2clip.mirror.many import ManySite
from kg2clip.mirror.plan import QUERY_HOST
from kg2clip.mirror.site import Site

LOOPBACK = "127.0.0.1"
_PDEATHSIG = 1  # prctl(2): a signal when the parent dies


def open_sites(folder: Path) -> list[Site]:
    """The sites of a built mirror."""
    kinds: list[Callable[[Path], Site]] = [CommonsSite, FaultsSite, INaturalistSite, GbifSite, BraveSite, ManySite]
    return [kind(folder) for kind in kinds]


async def serve(folder: Path) -> None:
    """Serve a built mirror until standard input closes; print the resolve map as one line of JSON when ready."""
    graph_port = _free_port()
    graph = subprocess.Popen(
        ["oxigraph", "serve-read-only", "--location", str(folder / "store"), "--bind", f"{LOOPBACK}:{graph_port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
    )
    sites = open_sites(folder)
    log = open(folder / "requests.jsonl", "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as we serve
    try:
        runner = web.AppRunner(_application(sites, log), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, LOOPBACK, 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        await _wait_for(f"http://{LOOPBACK}:{graph_port}/query?query=ASK%7B%7D", graph)
        places = {**{host: port for site in sites for host in site.hosts}, QUERY_HOST: graph_port}
        print(json.dumps({host: f"{LOOPBACK}:{place}" for host, place in places.items()}), flush=True)
        group = await _read_until_closed()
    finally:
        graph.kill()
        graph.wait()
    if group:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _application(sites: Sequence[Site], log: TextIO) -> web.Application:
    by_host = {host: site for site in sites for host in site.hosts}

    async def handle(request: web.Request) -> web.StreamResponse:
        host = request.host.split(":")[0]
        site = by_host.get(host)
        response = await site.answer(request) if site else web.Response(status=404, text="no such host here")
        log.write(json.dumps({"host": host, "path": request.path_qs, "status": response.status}) + "\n")
        return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    return application


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


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
