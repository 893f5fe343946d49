"""The mirror's server at a thousand to a million candidates: start, memory, pages and pictures a second.

`many.mirror.test` makes pages and pictures when they are asked for, so that its memory should not depend on their
number; it is compared with the mirror's own Commons, whose pictures were drawn beforehand and lie in files. Each row is
a fresh server and one client with eight connections on the same machine, which walks through the search, at most fifty
pages an answer, and asks for pictures spread over all numbers. Then all candidates are listed without any server.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine, Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from benchmarks import _mirror, measure
from kg2clip.files import read_json
from kg2clip.mirror import many
from kg2clip.mirror.build import READY
from kg2clip.mirror.plan import COMMONS_HOST, PAGES, UPLOAD_HOST, from_json

PACKAGES = ("aiohttp", "pillow")
COUNTS = (1_000, 10_000, 100_000, 1_000_000)
ANSWERS, PICTURES, WARMING, CONNECTIONS, PAGE = 200, 3_000, 1_000, 8, 50
ROOT = Path(__file__).resolve().parents[1]
MB = 1 << 20


def notes() -> list[str]:
    """Conditions."""
    return ["One run a row; client and server share the cores. The first thousand pictures are not in the times."]


def run(scratch: Path) -> list[dict[str, Any]]:
    """One row for each number of candidates, after one for the stored pictures."""
    folder = _mirror.build(scratch / "mirror")
    return [stored(folder), *(scaled(folder, count, scratch) for count in COUNTS)]


def scaled(folder: Path, count: int, scratch: Path) -> dict[str, Any]:
    """Measure many.mirror.test with some number of candidates."""
    pages = many.standing(folder, count)
    names = [shown.scientific_name for shown in pages.species]
    answers = range(max(1, count // len(names) // PAGE))  # that are full, or the only one, for each name
    api = f"/{count}/w/api.php"
    searches = [(many.HOST, search(api, name, place)) for place in answers[:ANSWERS] for name in names]
    numbers = [number * (count - 1) // (PICTURES + WARMING) for number in range(PICTURES + WARMING)]
    pictures = [address(url) for number in numbers if not (page := pages.page(number)).fault for url in [page.url]]
    with _mirror.started(folder) as server:
        row = asyncio.run(asked(server, enough(searches, ANSWERS), pictures))
    program = str(ROOT / "scripts" / "list_candidates.py")
    taken = measure.child([sys.executable, program, folder, str(count), scratch / "listed.parquet"])
    return {"candidates": count, **row, "listed in s": taken.seconds, "lister MB": taken.peak_bytes / MB}


def stored(folder: Path) -> dict[str, Any]:
    """Measure the mirror's Commons, over and over, since it has few pictures."""
    pages = [from_json(line) for line in (folder / PAGES).read_text(encoding="utf-8").splitlines()]
    species = sorted({page.species for page in pages})
    searches = [(COMMONS_HOST, search("/w/api.php", name, 0)) for name in species]
    pictures = [(UPLOAD_HOST, quote(page.path)) for page in pages if not page.fault]
    with _mirror.started(folder) as server:
        row = asyncio.run(asked(server, enough(searches, ANSWERS), enough(pictures, PICTURES + WARMING)))
    return {"candidates": f"{read_json(folder / READY)['filePages']} in files", **row}


def enough(requests: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """So many of them, again from the first where they are fewer."""
    return list(islice(cycle(requests), count))


def search(path: str, name: str, place: int) -> str:
    """The path of an API request for the answer at `place` of a species' pages."""
    return f"{path}?action=query&generator=search&gsrsearch={quote(name)}&gsrlimit={PAGE}&gsroffset={place * PAGE}"


def address(url: str) -> tuple[str, str]:
    """Host and path of an http address."""
    host, _, path = url.removeprefix("http://").partition("/")
    return host, f"/{path}"


async def asked(
    server: _mirror.Started, searches: list[tuple[str, str]], pictures: list[tuple[str, str]]
) -> dict[str, Any]:
    """Ask for answers and pictures; tell what the server took."""
    began = measure.memory(server.process)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def pages(host: str, path: str) -> int:
            async with session.get(f"http://{server.places[host]}{path}", headers={"Host": host}) as response:
                return len((await response.json()).get("query", {}).get("pages", {}))

        async def picture(host: str, path: str) -> int:
            async with session.get(f"http://{server.places[host]}{path}", headers={"Host": host}) as response:
                response.raise_for_status()
                return len(await response.read())

        await at_once(picture(*one) for one in pictures[:WARMING])  # the first ones draw what the others are made of
        found, answering = await timed(pages(*one) for one in searches)
        read, showing = await timed(picture(*one) for one in pictures[WARMING:])
    return {
        "start s": server.seconds,
        "MB at start": began / MB,
        "MB at most": measure.peak_memory(server.process) / MB,
        "answers/s": len(searches) / answering,
        "pages/s": found / answering,
        "pictures/s": len(pictures[WARMING:]) / showing,
        "picture MB/s": read / MB / showing,
    }


async def timed(calls: Iterable[Coroutine[Any, Any, int]]) -> tuple[int, float]:
    """The sum of what calls return, and the seconds that all of them took."""
    began = time.perf_counter()
    return sum(await at_once(calls)), time.perf_counter() - began


async def at_once(calls: Iterable[Coroutine[Any, Any, int]]) -> list[int]:
    """Run calls, as many at a time as there are connections."""
    waiting = iter(calls)

    async def work() -> list[int]:
        return [await call for call in waiting]

    return [result for part in await asyncio.gather(*(work() for _ in range(CONNECTIONS))) for result in part]
