"""The search for copies by PDQ hashes: processor time, memory and recall from 10,000 to 1,000,000 pictures, and
imagededup at 100,000.

Made hashes with the clusters of a harvest: a seventh are copies at 0 to 31 bits, 1 % one placeholder, 300 frames of one
camera. Ours is measured as a process of its own, making the hashes and all grouping included, and must find every copy.
imagededup (where IMAGEDEDUP_PYTHON names an interpreter that has it) answers 20 queries; its time is that of 100,000.
Its BK-tree fails on a thousand equal hashes, so it gets each hash once; its compiled search knows 64 bits only, and
gets the first 64 at 7. Both look at everything that may be near, so that they miss nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks._search import made

PACKAGES = ("numpy", "scipy")
FOLDER = Path(__file__).resolve().parent
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
COMPARED, QUERIES = 100_000, 20


def run(scratch: Path) -> list[dict[str, Any]]:
    """A row for each size, and for each search of imagededup."""
    return [ours(count) for count in SIZES] + theirs()


def notes() -> list[str]:
    """What the figures do not say."""
    return [
        "Above 100,000 pictures the time grows with the square of their number: 10 million take 100 times 1 million.",
        "At 100,000 pictures imagededup's compiled search takes 600 times the processor time, for 64 of the 256 bits.",
        "Only the first search (PDQ). What the second costs stands in scripts/kg2clip/curate/overlaps.py.",
    ]


def ours(count: int) -> dict[str, Any]:
    """Group so many hashes."""
    took = measure.child([sys.executable, FOLDER / "_search.py", "group", str(count)])
    return {
        "search": "kg2clip",
        "pictures": count,
        "processor seconds": round(took.processor_seconds, 1),
        "seconds": round(took.seconds, 1),
        "peak MB": took.peak_bytes // 2**20,
        "recall": json.loads(took.output)["recall"],
    }


def theirs() -> list[dict[str, Any]]:
    """Both searches of imagededup, on the hashes of ours."""
    python = os.environ.get("IMAGEDEDUP_PYTHON")
    if not python:
        return []
    hashes = [row.tobytes().hex() for row in made(COMPARED)[0]]
    rows = []
    for method, distance, lines in (
        ("bktree", 31, list(dict.fromkeys(hashes))),
        ("brute_force_cython", 7, [line[:16] for line in hashes]),
    ):
        command = [python, str(FOLDER / "_imagededup.py"), method, str(distance), str(QUERIES)]
        said = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True).stdout
        took = json.loads(said)
        seconds = took["build"] + took["search"] * COMPARED / QUERIES
        row = {"search": f"imagededup {method}", "pictures": COMPARED, "processor seconds": round(seconds, 1)}
        rows.append(row | {"seconds": None, "peak MB": None, "recall": None})
    return rows
