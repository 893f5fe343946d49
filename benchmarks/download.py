"""The download of pictures: its speed against img2dataset's command line, its limits, and its growth.

* *no limits*: the same addresses at nginx on loopback, pictures of 10 to 100 kB; two processes with 32 connections each
  for either program, raw bytes and SHA-256 kept by both, nothing decoded. Start-up ends with the first picture that
  nginx sends; pictures/s are from there to the end of the last process, our sealing and syncing of tars included.
  Aim: 1.5 times img2dataset, and no more memory.
* *50 hosts*: 49 fast ones and a slow one, two connections and 10 requests a second to each. The ideal is what the
  slowest host allows; the fast ones are to finish as if the slow one were not there. Aim: within 10 % of the ideal.
* *limit*: one host, its requests counted there. Aim: at least 95 % of what is allowed, and never more than that (a
  window of one second has both its ends on a turn now and then, so one more may fall into it).
* *growth*: one process, 1,000 to 200,000 pictures of 4 kB. Aim: the same processor time for each thousand.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web as server

from benchmarks import measure
from benchmarks._nginx import Server, nginx
from benchmarks._serve import Asked, serving
from kg2clip import settings, tables
from kg2clip.files import read_json, write_json
from kg2clip.identifiers import candidate_id

PACKAGES = ("img2dataset", "aiohttp")
PROGRAM = settings.ROOT / "scripts" / "fetch_batch.py"

PICTURES, ROUNDS, SHARD = 20_000, 5, 1000
PROCESSES, CONNECTIONS = 2, 32
UNLIMITED = {"connections": CONNECTIONS, "requests_per_second": 1e6, "megabits_per_second": 1e6}

FAST_HOSTS, FAST_PICTURES, FAST_DELAY = 49, 80, 0.02  # delays in seconds
SLOW_PICTURES, SLOW_DELAY = 10, 2.0
MODEST = {"connections": 2, "requests_per_second": 10, "megabits_per_second": 1e6}

LIMITS = ((5, 2, 0.2), (50, 16, 0.2), (500, 32, 0.02))  # requests a second, connections, delay
SECONDS = 12  # of requests at the full rate
MEGABITS, LARGE = 40, 50_000  # bandwidth, and bytes of a picture there

COUNTS = (1_000, 10_000, 50_000, 200_000)


@dataclass(frozen=True)
class Run:
    """One harvest: seconds until its first picture and from there to its end, processor seconds, bytes at the peak."""

    start: float
    seconds: float
    processor: float
    peak: int


def run(scratch: Path) -> list[dict[str, Any]]:
    """All rows."""
    return [*speed(scratch / "speed"), *slow_host(scratch / "slow"), *limits(scratch / "limits"), *growth(scratch)]


def notes() -> list[str]:
    """Conditions."""
    return [
        "Client and server share the machine's cores. MB are those of the largest process.",
        f"No limits: medians of {ROUNDS} rounds in alternating order. Processor seconds hold the start-up there.",
        "img2dataset starts albumentations, and through it torch, which this environment has: its start-up and memory.",
    ]


# No limits


def speed(scratch: Path) -> list[dict[str, Any]]:
    """Ours and img2dataset, in turns."""
    programs: dict[str, Callable[[Server, Path], Run]] = {"kg2clip": ours, "img2dataset": theirs}
    runs: dict[str, list[Run]] = {name: [] for name in programs}
    with nginx(scratch / "nginx", 10_000, 100_000) as site:
        for number in range(ROUNDS):
            for name in list(programs) if number % 2 == 0 else reversed(programs):
                runs[name].append(programs[name](site, scratch / f"{name}-{number}"))
    times = [other.seconds / own.seconds for own, other in zip(runs["kg2clip"], runs["img2dataset"], strict=True)]
    return [
        {
            "case": "no limits", "program": name, "pictures": PICTURES,
            "start-up s": median(run.start for run in taken),
            "seconds": median(run.seconds for run in taken),
            "pictures/s": PICTURES / median(run.seconds for run in taken),
            "times img2dataset": median(times) if name == "kg2clip" else 1,
            "processor s for 1,000": median(run.processor for run in taken) / PICTURES * 1000,
            "peak MB": round(median(run.peak for run in taken) / 2**20),
        }
        for name, taken in runs.items()
    ]  # fmt: skip


def ours(site: Server, folder: Path) -> Run:
    """Our program, one process a batch, as the workflow runs it."""
    urls = [site.url(number) for number in range(PICTURES)]
    lane = {"hosts": ["127.0.0.1"], "batches": PROCESSES, **UNLIMITED}
    prepare(folder, urls, lane, PICTURES // PROCESSES // SHARD)
    began = time.time()
    with ThreadPoolExecutor(PROCESSES) as pool:
        done = list(pool.map(lambda number: fetch(folder, number), range(PROCESSES)))
    start = min(site.moments(PICTURES)) - began
    assert sum(fetched(folder, number) for number in range(PROCESSES)) == PICTURES
    seconds = max(child.seconds for child in done) - start
    return Run(start, seconds, sum(c.processor_seconds for c in done), max(c.peak_bytes for c in done))


def theirs(site: Server, folder: Path) -> Run:
    """img2dataset's command line."""
    folder.mkdir(parents=True)
    urls = [site.url(number) for number in range(PICTURES)]
    pq.write_table(pa.table({"url": urls}), folder / "urls.parquet")
    options = {
        "url_list": folder / "urls.parquet", "input_format": "parquet", "output_folder": folder / "out",
        "output_format": "webdataset", "number_sample_per_shard": SHARD, "processes_count": PROCESSES,
        "thread_count": CONNECTIONS, "resize_mode": "no", "disable_all_reencoding": True, "extract_exif": False,
        "timeout": 30,
    }  # fmt: skip
    command = [Path(sys.executable).with_name("img2dataset"), *(f"--{name}={value}" for name, value in options.items())]
    # Its bar goes to a file. It must not ask a registry for updates, nor a proxy for 127.0.0.1.
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1", "no_proxy": "*", **os.environ}
    began = time.time()
    with open(folder / "log", "w", encoding="utf-8") as log:
        done = measure.child(command, env=quiet, stderr=log)
    start = min(site.moments(PICTURES)) - began
    assert sum(read_json(path)["successes"] for path in (folder / "out").glob("*_stats.json")) == PICTURES
    return Run(start, done.seconds - start, done.processor_seconds, done.peak_bytes)


# Limits


def slow_host(scratch: Path) -> list[dict[str, Any]]:
    """The fast hosts alone, and with the slow one among them."""
    fast = [f"h{number:02d}.bench.test" for number in range(FAST_HOSTS)]
    urls = [f"http://{host}/{FAST_DELAY}/{number}.jpg" for host in fast for number in range(FAST_PICTURES)]
    slow = [f"http://slow.bench.test/{SLOW_DELAY}/{number}.jpg" for number in range(SLOW_PICTURES)]
    pace = 1 / MODEST["requests_per_second"]
    alone = FAST_PICTURES * pace + FAST_DELAY  # robots.txt takes a turn too
    ideal = {
        "49 fast hosts": alone,
        "50 hosts, 1 slow": max(alone, pace + SLOW_PICTURES / MODEST["connections"] * SLOW_DELAY),
    }
    rows = []
    for (case, least), asked in zip(ideal.items(), (urls, urls + slow), strict=True):
        requests = harvest(scratch / case, asked, MODEST)
        began = min(request.began for request in requests)
        seconds = max(request.ended for request in requests) - began
        rows.append(
            {
                "case": case, "program": "kg2clip", "pictures": len(asked), "seconds": seconds, "ideal s": least,
                "share of the ideal": least / seconds,
                "fast hosts ended at s": max(r.ended for r in requests if r.host in fast) - began,
            }
        )  # fmt: skip
    return rows


def limits(scratch: Path) -> list[dict[str, Any]]:
    """One host at several rates, and at a bandwidth."""
    rows = []
    for rate, connections, delay in LIMITS:
        urls = [f"http://slow.bench.test/{delay}/{number}.jpg" for number in range(rate * SECONDS)]
        lane = {"connections": connections, "requests_per_second": rate, "megabits_per_second": 1e6}
        began = sorted(request.began for request in harvest(scratch / f"{rate}", urls, lane))
        rows.append(
            {"case": f"limit {rate} requests/s", **kept_busy(began, len(urls), 1 / rate)}
            | {"most in a second": max(bisect_right(began, moment + 1) - place for place, moment in enumerate(began))}
        )
    pace = LARGE * 8e-6 / MEGABITS  # seconds that a picture's bytes take
    urls = [f"http://slow.bench.test/0.05/{number}.jpg" for number in range(round(SECONDS / pace))]
    lane = {"connections": 8, "requests_per_second": 1e6, "megabits_per_second": MEGABITS}
    began = sorted(request.began for request in harvest(scratch / "bandwidth", urls, lane, LARGE))
    began = began[8:]  # the first ones start at once, nothing being owed yet
    return [*rows, {"case": f"limit {MEGABITS} Mbit/s", **kept_busy(began, len(urls), pace)}]


def kept_busy(began: Sequence[float], pictures: int, pace: float) -> dict[str, Any]:
    """How near requests came to the one that is allowed in every `pace` seconds."""
    seconds, ideal = began[-1] - began[0], (len(began) - 1) * pace
    return {
        "program": "kg2clip", "pictures": pictures, "seconds": seconds, "pictures/s": (len(began) - 1) / seconds,
        "ideal s": ideal, "share of the ideal": ideal / seconds,
    }  # fmt: skip


def harvest(folder: Path, urls: Sequence[str], lane: Mapping[str, Any], size: int = 4000) -> list[Asked]:
    """Fetch all from a server that waits as long as each address says; give the requests as they came there."""
    body = b"\xff\xd8\xff\xe0" + bytes(size - 4)

    async def answer(request: server.Request) -> server.Response:
        if request.path == "/robots.txt":
            return server.Response(status=404)
        await asyncio.sleep(float(request.path.split("/")[1]))
        return server.Response(body=body, content_type="image/jpeg")

    prepare(folder, urls, {"hosts": ["bench.test"], "batches": 1, **lane}, 4)
    with serving(sorted({url.split("/")[2] for url in urls}), answer) as requests:
        fetch(folder, 0)
    assert fetched(folder, 0) == len(urls)
    return requests


# Growth


def growth(scratch: Path) -> list[dict[str, Any]]:
    """Processor time, wall time and memory of more and more pictures."""
    rows = []
    with nginx(scratch / "small", 4000, 4000) as site:
        runs = {count: grown(site, scratch / f"grown-{count}", count) for count in (0, *COUNTS)}
    start = runs.pop(0)  # no picture
    for count, taken in runs.items():
        rows.append(
            {
                "case": "growth", "program": "kg2clip", "pictures": count, "start-up s": start.seconds,
                "seconds": taken.seconds - start.seconds, "pictures/s": count / (taken.seconds - start.seconds),
                "processor s for 1,000": (taken.processor_seconds - start.processor_seconds) / count * 1000,
                "peak MB": round(taken.peak_bytes / 2**20),
            }
        )  # fmt: skip
    return rows


def grown(site: Server, folder: Path, count: int) -> measure.Child:
    """One process that fetches so many."""
    lane = {"hosts": ["127.0.0.1"], "batches": 1, **UNLIMITED}
    prepare(folder, [site.url(number) for number in range(count)], lane, max(1, count // SHARD))
    done = fetch(folder, 0)
    assert fetched(folder, 0) == count
    return done


# Our program


def prepare(folder: Path, urls: Sequence[str], lane: Mapping[str, Any], shards: int) -> None:
    """Write the candidates and the config of a harvest; its batches are those of the lane `bench`."""
    rows = [{"candidateID": candidate_id("bench", url), "accessURI": url} for url in urls]
    tables.write(rows, tables.CANDIDATES, folder / "candidates.parquet")
    download = {"lanes": {"bench": lane, "web": {}}, "shards_per_batch": shards, "private_hosts": ["127.0.0.1"]}
    config = {"project": "bench", "knowledge": {"roots": ["x"]}, "download": download, "dataset": {"licenses": "any"}}
    write_json(folder / "config.yaml", config)  # JSON is YAML too


def fetch(folder: Path, number: int) -> measure.Child:
    """Run scripts/fetch_batch.py for a batch; its log goes to a file."""
    name = f"bench-{number:03d}"
    paths = {
        "candidates": folder / "candidates.parquet", "output": folder / f"{name}.manifest.parquet",
        "provenance": folder / f"{name}.json", "config": folder / "config.yaml",
    }  # fmt: skip
    words = [word for key, path in paths.items() for word in (f"--{key}", path)]
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
        return measure.child([sys.executable, PROGRAM, "--batch", name, *words], stderr=log)


def fetched(folder: Path, number: int) -> int:
    """Pictures that a batch has got, as its program counted them."""
    provenance = json.loads((folder / f"bench-{number:03d}.json").read_text(encoding="utf-8"))
    return int(provenance["counts"]["success"])
