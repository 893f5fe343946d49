"""Fixtures of the download stage: the hostile web, and one call that harvests from it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web as server_web
from hostile import NAMES, HostileWeb, config, write_candidates

from kg2clip import tables, web
from kg2clip.download import fetch
from kg2clip.download.batch import fetch_batch, fetch_leftovers
from kg2clip.download.lanes import batch_names

Harvest = Callable[..., dict[str | None, dict[str, Any]]]


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileWeb]:
    """The server, reached under all of NAMES; retries without long waits."""
    served = HostileWeb()
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        app = server_web.Application()
        app.router.add_route("*", "/{tail:.*}", served.answer)
        runner = server_web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = server_web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        served.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        started.set()
        while not ended.is_set():
            await asyncio.sleep(0.02)
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(10)
    places = {name: f"127.0.0.1:{served.port}" for name in NAMES}
    monkeypatch.setenv(web.RESOLVE, json.dumps(places))
    monkeypatch.setattr(fetch, "BACKOFF", 0.05)
    yield served
    ended.set()
    thread.join(10)


@pytest.fixture
def harvest(hostile: HostileWeb, tmp_path: Path) -> Harvest:
    """`harvest(urls, **config)`: run the batch web-000, check that the manifest is whole; its rows by URL."""

    def run(urls: Any, **options: Any) -> dict[str | None, dict[str, Any]]:
        candidates = write_candidates(tmp_path / "candidates.parquet", urls)
        output = tmp_path / "download" / "web-000.manifest.parquet"
        counts = fetch_batch(candidates, "web-000", output, config(**options))
        rows = tables.read(output).to_pylist()
        assert counts["candidates"] == len(rows) == len(urls)
        return {row["accessURI"]: row for row in rows}

    return run


@pytest.fixture
def harvest_twice(hostile: HostileWeb, tmp_path: Path) -> Harvest:
    """`harvest_twice(links, **config)`: all batches and all leftovers; the last row of each candidate, by its key."""

    def run(links: dict[str, list[str | None]], **options: Any) -> dict[str | None, dict[str, Any]]:
        candidates = write_candidates(tmp_path / "candidates.parquet", links)
        settings, folder = config(**options), tmp_path / "download"
        first = [folder / f"{name}.manifest.parquet" for name in batch_names(settings)]
        found = {}
        for name, path in zip(batch_names(settings), first, strict=True):
            fetch_batch(candidates, name, path, settings)
            found |= {row["candidateID"]: row for row in tables.read(path).to_pylist()}
        assert sorted(found) == sorted(links)
        for lane in settings["download"]["lanes"]:
            name = f"{lane}-leftovers"
            path = folder / f"{name}.manifest.parquet"
            fetch_leftovers(candidates, first, name, path, settings)
            again = tables.read(path).to_pylist()
            assert all(found[row["candidateID"]]["status"] != "success" for row in again)
            found |= {row["candidateID"]: row for row in again}
        return found

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the batch's tars are."""
    return tmp_path / "download" / "web-000"
