"""A server on loopback for benchmarks, under whatever host names they like, that notes when requests came and ended."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web as server

from kg2clip import web

Answer = Callable[[server.Request], Awaitable[server.Response]]


@dataclass
class Asked:
    """A request: its host and path, when it came in and when its answer was ready (monotonic seconds)."""

    host: str
    path: str
    began: float
    ended: float = 0.0


@contextmanager
def serving(hosts: Sequence[str], answer: Answer) -> Iterator[list[Asked]]:
    """Serve hosts in a thread; give the requests. Meanwhile the resolve map, our child processes' too, leads there."""
    requests: list[Asked] = []
    started, ended = threading.Event(), threading.Event()
    ports: list[int] = []

    async def note(request: server.Request) -> server.Response:
        asked = Asked(request.host.split(":")[0], request.path, time.monotonic())
        requests.append(asked)
        response = await answer(request)
        asked.ended = time.monotonic()
        return response

    async def serve() -> None:
        application = server.Application()
        application.router.add_get("/{path:.*}", note)
        runner = server.AppRunner(application, access_log=None)
        await runner.setup()
        site = server.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
        started.set()
        while not ended.is_set():
            await asyncio.sleep(0.05)
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait(10)
    before = os.environ.get(web.RESOLVE)
    os.environ[web.RESOLVE] = json.dumps({host: f"127.0.0.1:{ports[0]}" for host in hosts})
    try:
        yield requests
    finally:
        ended.set()
        thread.join()
        del os.environ[web.RESOLVE]
        if before is not None:
            os.environ[web.RESOLVE] = before
