"""Fault drill: kills, Ctrl-C, a full disk, a server that is down and a changed input, at seeded moments.

After each the rerun ends with the rows and the tars of a run that nothing disturbed, and no picture is sent twice but
those under way when the program died: what the server has sent and nobody has written down can't be known to have
arrived, whatever the program does, so one for each connection is the least that can be promised.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile import FAST, HostileWeb, config, write_candidates

from kg2clip import settings, tables
from kg2clip.download.batch import fetch_batch, fetch_leftovers

PROGRAM = settings.ROOT / "scripts" / "fetch_batch.py"
KILLER = settings.ROOT / "tests" / "workflow" / "drill"
PICTURES, CONNECTIONS, SHARDS = 48, 3, 3
LANES = {"web": {**FAST, "connections": CONNECTIONS}}
URLS = {
    **{f"k{number:02d}": f"http://a.test/nap/0.01/{number}" for number in range(PICTURES)},
    "gone": "http://a.test/status/404/x",
    "page": "http://b.test/html",
    "second": ["http://b.test/status/410/x", "http://c.test/ok/second"],
}
MOMENTS = random.Random(20261125)  # one draw for each test, in the order of this file


def moments(count: int) -> list[int]:
    """At which pictures something happens."""
    return sorted(MOMENTS.sample(range(2, PICTURES - 2), count))


class Drill:
    """A batch that is fetched by the program, disturbed, and again in this process."""

    def __init__(self, hostile: HostileWeb, folder: Path) -> None:
        self.hostile, self.folder = hostile, folder
        self.candidates = write_candidates(folder / "candidates.parquet", URLS)
        self.settings = config(lanes=LANES, shards_per_batch=SHARDS, attempts=1)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Run the program, in a process group of its own as Snakemake's jobs are in one."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        paths = {"--candidates": self.candidates, "--output": self.output, "--config": path}
        paths["--provenance"] = self.folder / "provenance.json"
        options = [str(word) for pair in paths.items() for word in pair]
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), "--batch", "web-000", *options],
            env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def disturbed(self, number: int, happen: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
        """Run until the picture of this number is asked for, and let something happen; exit status and messages."""
        running = self.start()
        self.hostile.moments[number] = lambda: happen(running)
        _, told = running.communicate(timeout=60)
        assert not self.hostile.moments, "it happened"
        return running.returncode, told

    def again(self) -> None:
        """The next run, which nothing disturbs."""
        fetch_batch(self.candidates, "web-000", self.output, self.settings)

    def check(self, twice: int = CONNECTIONS) -> None:
        """All is as after a calm run, and only so many pictures were sent twice."""
        sent = self.hostile.served.copy()
        calm = self.folder / "calm" / "web-000.manifest.parquet"
        fetch_batch(self.candidates, "web-000", calm, self.settings)
        assert self.rows(self.output) == self.rows(calm)
        assert self.tars(self.output) == self.tars(calm)
        assert not list(self.output.parent.rglob("*.journal"))
        doubles = Counter(path.split("/")[1] for path, times in sent.items() if times > 1)  # by kind, which is by host
        assert max(sent.values()) <= 2 and max(doubles.values(), default=0) <= twice

    @property
    def output(self) -> Path:
        """The manifest."""
        return self.folder / "download" / "web-000.manifest.parquet"

    def rows(self, manifest: Path) -> list[dict[str, Any]]:
        """A manifest's rows but for the time."""
        return [{**row, "retrieved": None} for row in tables.read(manifest).to_pylist()]

    def tars(self, manifest: Path) -> dict[str, bytes]:
        """The bytes of the raw tars beside a manifest."""
        return {path.name: path.read_bytes() for path in (manifest.parent / "web-000").glob("*.tar")}


@pytest.fixture
def drill(hostile: HostileWeb, tmp_path: Path) -> Drill:
    return Drill(hostile, tmp_path)


def kill(running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGKILL)


def interrupt(running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGINT)


@pytest.mark.parametrize("number", moments(2))
def test_killed_while_it_fetches(drill: Drill, number: int) -> None:
    assert drill.disturbed(number, kill)[0] == -signal.SIGKILL
    assert not drill.output.exists()
    drill.again()
    drill.check()


@pytest.mark.parametrize("moment", [f"{event}:{MOMENTS.randint(1, 2 * SHARDS)}" for event in ("torn", "renamed")])
def test_killed_while_it_writes(drill: Drill, moment: str) -> None:
    """In mid-write of a tar or record, or just after its rename: by then every picture of its shard is written down."""
    running = drill.start(KG2CLIP_DRILL=f"fetch_batch:{moment}", PYTHONPATH=str(KILLER))
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL and not drill.output.exists()
    drill.again()
    drill.check()


@pytest.mark.parametrize("number", moments(2))
def test_stopped_with_ctrl_c(drill: Drill, number: int) -> None:
    status, told = drill.disturbed(number, interrupt)
    assert status == 130 and "the next run goes on from here" in told and "Traceback" not in told
    drill.again()
    drill.check()


@pytest.fixture
def small_disk(drill: Drill) -> Iterator[Path]:
    """A disk of its own below the batch's folder."""
    folder = drill.output.parent
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("pages", moments(1))
def test_the_disk_is_full(drill: Drill, small_disk: Path, pages: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={4 * (pages + 6)}k", str(small_disk)], check=True)
    running = drill.start()
    _, told = running.communicate(timeout=60)
    assert running.returncode == 1 and "is full. Free some space" in told and "Traceback" not in told
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    drill.again()
    drill.check()


@pytest.mark.parametrize(("number", "way"), [*zip(moments(2), ("the second pass", "a rerun"), strict=True)])
def test_the_server_is_down_for_a_while(drill: Drill, hostile: HostileWeb, number: int, way: str) -> None:
    hostile.moments[number] = lambda: hostile.broken.add("a.test")
    drill.again()
    left = [row for row in tables.read(drill.output).to_pylist() if row["reason"] in ("http-503", "host-down")]
    assert 0 < len(left) < PICTURES
    hostile.broken.clear()
    if way == "a rerun":
        drill.again()
        drill.check(twice=0)
        return
    second = drill.output.with_name("web-leftovers.manifest.parquet")
    fetch_leftovers(drill.candidates, [drill.output], "web-leftovers", second, drill.settings)
    assert set(tables.read(second)["candidateID"].to_pylist()) == {row["candidateID"] for row in left}
    assert set(hostile.served.values()) == {1}
    calm = drill.folder / "calm" / "web-000.manifest.parquet"
    fetch_batch(drill.candidates, "web-000", calm, drill.settings)
    columns = ("status", "reason", "accessURI", "finalURI", "sha256", "bytes", "mediaType")
    both, wanted = (
        {row["candidateID"]: [row[name] for name in columns] for path in paths for row in tables.read(path).to_pylist()}
        for paths in ([drill.output, second], [calm])
    )
    assert both == wanted, "the last word on each candidate is that of a calm run"


@pytest.mark.parametrize("number", moments(2))
def test_killed_and_the_input_changed(drill: Drill, number: int) -> None:
    drill.disturbed(number, kill)
    keys = list(URLS)
    changed: dict[str, Any] = {key: URLS[key] for key in keys[5:]}
    changed |= {keys[7]: "http://a.test/nap/0.01/moved", "new": "http://c.test/ok/new"}
    drill.candidates = write_candidates(drill.folder / "candidates.parquet", changed)
    drill.again()
    drill.check()
