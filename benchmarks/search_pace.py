"""How busy the search stage keeps a source's allowed rate: our Commons client against a server on loopback.

At 5, 50 and 500 calls a second, with 3, 16 and 32 connections; the server waits before each answer, as far-away ones do
(200 ms at 5 and 50 a second, 20 ms at 500). Answers hold 50 pictures at 5 a second, ten at 50, one at 500: cleaning the
texts of fifty pictures takes longer than a five-hundredth of a second. Calls are counted at the server. Aim: 95 % of
the rate. Competitor: the usual loop, `requests` and a pause of 1/rate between two calls, nothing kept or read.
"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import requests
from aiohttp import web as server

from benchmarks._serve import Answer, serving
from kg2clip import settings, web
from kg2clip.search.commons import Commons
from kg2clip.search.run import Search
from kg2clip.search.source import Answers

SPAWN = get_context("spawn")  # the client is a process of its own, as a far-away server is
PACKAGES = ("requests", "aiohttp")
HOST = "commons.bench.test"
CASES = (
    (5, 3, 0.2, 50),
    (50, 16, 0.2, 10),
    (500, 32, 0.02, 1),
)  # calls a second, connections, delay, pictures an answer
SECONDS = 12  # of calls at the full rate
TEXT = "A worker of the species on a flower, photographed in a garden in the early morning of a summer's day, no. {}"


def run(scratch: Path) -> list[dict[str, Any]]:
    """One row a rate and a way."""
    rows = []
    for rate, connections, delay, pictures in CASES:
        calls = rate * SECONDS
        for way, ask in (("kg2clip", ours), ("requests in a loop", loop)):
            with serving([HOST], commons(delay, pictures)) as asked, ProcessPoolExecutor(1, SPAWN) as client:
                client.submit(ask, scratch / f"{rate}", rate, connections, calls).result()
            times = [call.began for call in asked]
            assert len(times) == calls, f"{len(times)} calls arrived of {calls}"
            reached = (len(times) - 1) / (max(times) - min(times))
            rows.append(
                {
                    "allowed calls a second": rate, "way": way, "connections": connections if ask is ours else 1,
                    "delay ms": round(delay * 1000), "pictures an answer": pictures, "calls": calls,
                    "reached calls a second": reached, "share of the rate": reached / rate,
                }
            )  # fmt: skip
    return rows


def ours(folder: Path, rate: float, connections: int, calls: int) -> None:
    """The search stage: asked, counted, kept, read, cleaned."""
    config = {"project": "bench", "knowledge": {"roots": ["x"]}, "search": {"sources": {"commons": {"api": address()}}}}
    source = Commons(settings.complete(config, "bench")["search"]["sources"]["commons"])
    queries = [
        {"queryID": f"q{number}", "entityID": f"e{number:06d}", "kind": "noun", "text": f"Name {number}",
         "name": f"Name {number}", "nameKind": "scientific"}
        for number in range(calls)
    ]  # fmt: skip
    answers = Answers(folder, "", rate)
    for _ in Search(source, queries, answers, 50, 300, {}, connections):
        pass


def loop(_: Path, rate: float, __: int, calls: int) -> None:
    """The usual way."""
    session = requests.Session()
    session.trust_env = False
    place = "http://{}:{}/w/api.php".format(*web.resolve_map()[HOST])
    for number in range(calls):
        session.get(place, params={"gsrsearch": f"Name {number}"}, headers={"Host": HOST}, timeout=30).json()
        time.sleep(1 / rate)


def address() -> str:
    """The server's address by name."""
    return f"http://{HOST}/w/api.php"


def commons(delay: float, pictures: int) -> Answer:
    """A Commons that waits before it answers."""
    said = json.dumps(
        {"batchcomplete": "", "query": {"pages": {str(number): page(number) for number in range(pictures)}}}
    )

    async def answer(request: server.Request) -> server.Response:
        await asyncio.sleep(delay)
        return server.Response(text=said, content_type="application/json")

    return answer


def page(number: int) -> dict[str, Any]:
    """A file page as Commons gives it."""
    picture = f"https://upload.example.org/{number}.jpg"
    said = {
        "ObjectName": f"Picture {number}", "ImageDescription": TEXT.format(number),
        "Artist": '<a href="//x">Person</a>',
        "LicenseShortName": "CC BY-SA 4.0", "License": "cc-by-sa-4.0",
        "LicenseUrl": "https://creativecommons.org/licenses/by-sa/4.0",
    }  # fmt: skip
    info = {
        "url": picture, "thumburl": picture, "mime": "image/jpeg",
        "width": 960, "height": 720, "size": 150000,
        "extmetadata": {key: {"value": value} for key, value in said.items()},
    }  # fmt: skip
    return {"pageid": number, "index": number + 1, "title": f"File:Picture {number}.jpg", "imageinfo": [info]}


def notes() -> list[str]:
    """Conditions."""
    return ["Client and server share the machine: at 500 calls a second they compete for its cores."]
