"""A small mirror for benchmarks: built once, started anew as often as wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kg2clip import settings
from kg2clip.mirror.build import ensure_built

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"species": 48, "pictures": 4, "test_pictures": 3, "observations": 0, "occurrences": 0}


@dataclass(frozen=True)
class Started:
    """A mirror's servers.

    Attributes:
        process: id of the server's process.
        places: address and port by host name; as JSON it is what the environment variable KG2CLIP_RESOLVE says.
        seconds: from start until it answers.
    """

    process: int
    places: dict[str, str]
    seconds: float


def build(folder: Path, **changes: int) -> Path:
    """Build a mirror with few pictures of its own; give its folder. SMALL says with what, `changes` what otherwise."""
    config = {"project": "bench", "knowledge": {"roots": ["Q1"]}, "mirror": {**SMALL, **changes}}
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # oxigraph lies there
    ensure_built(folder, settings.complete(config, "the benchmark")["mirror"])
    return folder


@contextmanager
def started(folder: Path) -> Iterator[Started]:
    """Run the servers of a built mirror."""
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "scripts" / "serve_mirror.py"), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers:
        assert servers.stdin and servers.stdout
        places = json.loads(servers.stdout.readline())
        yield Started(servers.pid, places, time.perf_counter() - began)
        servers.stdin.close()
