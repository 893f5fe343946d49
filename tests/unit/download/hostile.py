"""A hostile web on loopback: many host names, one server, every fault that a harvest meets."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web as server_web

from kg2clip import settings, tables
from kg2clip.identifiers import candidate_id

NAMES = ("a.test", "b.test", "c.test", "slow.test", "fast.test", "cdn.test", "own.test", "xn--bcher-kva.test")


def picture(name: str, size: int = 3000) -> bytes:
    """Bytes that look like a JPEG and depend on the name only."""
    seed = hashlib.sha256(name.encode()).digest()
    return b"\xff\xd8\xff\xe0" + (seed * (size // 32 + 1))[:size]


@dataclass
class Asked:
    host: str
    path: str
    began: float
    headers: dict[str, str]


@dataclass
class HostileWeb:
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)  # connections at a time, by host
    robots: dict[str, tuple[int, str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # hosts that answer 503 to everything
    rests_until: float = 0.0
    moments: dict[int, Callable[[], None]] = field(
        default_factory=dict
    )  # what happens at a picture's request, by number
    served: Counter[str] = field(default_factory=Counter)  # pictures sent to their end, by path
    _now: Counter[str] = field(default_factory=Counter)
    _seen: Counter[str] = field(default_factory=Counter)

    def paths(self, host: str | None = None) -> list[str]:
        return [a.path for a in self.asked if (host is None or a.host == host) and a.path != "/robots.txt"]

    async def answer(self, request: server_web.Request) -> server_web.StreamResponse:
        host = request.host.split(":")[0]
        path = request.raw_path
        self.asked.append(Asked(host, path, time.monotonic(), dict(request.headers)))
        self._now[host] += 1
        self.most[host] = max(self.most[host], self._now[host])
        self._seen[path] += 1
        if path != "/robots.txt" and (happen := self.moments.pop(len(self.paths()), None)):
            happen()
        try:
            if path == "/robots.txt":
                status, text = self.robots.get(host, (404, ""))
                if status == 302:
                    return server_web.Response(status=status, headers={"Location": text})
                return server_web.Response(status=status, text=text)
            if host in self.broken:
                return server_web.Response(status=503)
            kind = path.split("/")[1]
            response = await getattr(self, f"_{kind}", self._ok)(request, path)
            if response.status == 200 and isinstance(response, server_web.Response):
                await response.prepare(request)
                await response.write_eof()
                self.served[path] += request.transport is not None and not request.transport.is_closing()
            return response
        finally:
            self._now[host] -= 1

    async def _ok(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(body=picture(path), content_type="image/jpeg")

    async def _status(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(status=int(path.split("/")[2]))

    async def _flaky(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        _, _, status, wait, *_ = path.split("/")
        if self._seen[path] > 1:
            return await self._ok(request, path)
        return server_web.Response(status=int(status), headers={"Retry-After": wait} if wait != "-" else {})

    async def _nap(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        await asyncio.sleep(float(path.split("/")[2]))
        return await self._ok(request, path)

    async def _dribble(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        response = server_web.StreamResponse()
        await response.prepare(request)
        for _ in range(600):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    async def _endless(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        response = server_web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 4096)

    async def _declared(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        response = server_web.StreamResponse(headers={"Content-Length": "99999999"})
        await response.prepare(request)
        await response.write(picture(path))
        await asyncio.sleep(5)
        return response

    async def _cut(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        if self._seen[path] > 1 and path.endswith("once"):
            return await self._ok(request, path)
        response = server_web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(picture(path, 100))
        assert request.transport is not None
        request.transport.close()
        return response

    async def _to(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(status=302, headers={"Location": path.removeprefix("/to/")})

    async def _loop(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        turn = {"/loop/a": "/loop/b", "/loop/b": "/loop/a"}[path]
        return server_web.Response(status=301, headers={"Location": turn})

    async def _stairs(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(status=307, headers={"Location": f"/stairs/{int(path.split('/')[2]) + 1}"})

    async def _html(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(body=b"\n <!DOCTYPE html><p>gone</p>", content_type="image/jpeg")

    async def _big(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(body=picture(path, 1_000_000), content_type="image/jpeg")

    async def _gzip(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        body, headers = gzip.compress(picture(path)), {"Content-Encoding": "gzip"}
        return server_web.Response(body=body, content_type="image/jpeg", headers=headers)

    async def _bomb(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        body, headers = gzip.compress(bytes(100 << 20), 1), {"Content-Encoding": "gzip"}
        return server_web.Response(body=body, content_type="image/jpeg", headers=headers)

    async def _twenty(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        """Twenty are served, then none for a second."""
        self._seen["twenty"] += 1
        if self._seen["twenty"] == 21:
            self.rests_until = time.monotonic() + 0.9
        if time.monotonic() < self.rests_until:
            return server_web.Response(status=429, headers={"Retry-After": "1"})
        return await self._ok(request, path)

    async def _browser(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        if "Mozilla" in request.headers.get("User-Agent", ""):
            return server_web.Response(status=403)
        return await self._ok(request, path)

    async def _hour(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(status=503, headers={"Retry-After": "3600"})

    async def _chunks(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        response = server_web.StreamResponse()
        await response.prepare(request)
        await response.write(picture(path))
        assert request.transport is not None
        request.transport.close()  # without the last chunk
        return response

    async def _empty(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        return server_web.Response(body=b"", content_type="image/jpeg")

    async def _tag(self, request: server_web.Request, path: str) -> server_web.StreamResponse:
        tag = {
            "noai": "noai",
            "noml": "noml",
            "other": "otherbot: noindex",
            "date": "noindex, unavailable_after: 25 Jun 2030 15:00 GMT",
        }
        name = path.split("/")[2]
        headers = {"tdm-reservation": name} if name in "01" else {"X-Robots-Tag": tag[name]}
        return server_web.Response(body=picture(path), content_type="image/jpeg", headers=headers)


FAST = {"batches": 1, "connections": 4, "requests_per_second": 1000, "megabits_per_second": 1000}


def config(accept_partial: bool = False, lanes: dict[str, Any] | None = None, **download: Any) -> settings.Settings:
    """A whole config: one fast lane, two shards, limits that a test does not wait for."""
    options = {"lanes": lanes or {"web": FAST}, "shards_per_batch": 2, "total_timeout": 5, "max_bytes": 100_000}
    content: dict[str, Any] = {"project": "t", "knowledge": {"roots": ["Q1"]}, "accept_partial": accept_partial}
    content["dataset"] = {"licenses": "any"}
    return settings.complete({**content, "download": {**options, **download}}, "test")


def write_candidates(path: Path, urls: list[str | None] | dict[str, Any]) -> Path:
    """A candidates table: URLs, or lists of links, by key; or URLs that make their own keys."""
    named = urls if isinstance(urls, dict) else {candidate_id("t", str(url)): url for url in urls}
    rows = []
    for key, value in named.items():
        url, *others = value if isinstance(value, list) else [value]
        links = [{"candidateID": f"{key}-{place}", "accessURI": link} for place, link in enumerate(others)]
        rows.append({"candidateID": key, "accessURI": url, "links": links or None})
    tables.write(rows, tables.CANDIDATES, path)
    return path
