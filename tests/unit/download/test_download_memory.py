"""A batch's memory hardly grows with its pictures: rows go to disk with their shards."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from hostile import config, picture, write_candidates

from kg2clip.download import batch as batches
from kg2clip.download.fetch import Job, Outcome

SHARD = 500  # pictures
FEW, MANY = 6, 30  # shards


class Quick:
    """A fetcher that has every picture at once."""

    def __init__(self, *_: object) -> None:
        self._body = picture("small", 100)

    def __enter__(self) -> Quick:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.current, job.attempts = job.urls[0], 1
            job.outcome = Outcome(None, body=self._body, http_status=200, media_type="image/jpeg")
            job.desk.put(job)

    def taken(self, job: Job, size: int) -> None:
        pass

    def hosts(self) -> list[object]:
        return []


def peak_of(folder: Path, shards: int) -> int:
    """Bytes of memory, at the most, that a batch of so many shards takes."""
    address = "http://a.test/a/path/as/long/as/those/of/the/large/archives/of/the/web/{0:08d}/960px-{0:08d}.jpg"
    candidates = write_candidates(folder / "c.parquet", {f"{n:020x}": address.format(n) for n in range(shards * SHARD)})
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): forget the peak
    before = memory("VmRSS")
    counts = batches.fetch_batch(candidates, "web-000", folder / "m.parquet", config(shards_per_batch=shards))
    assert counts["success"] == shards * SHARD
    return memory("VmHWM") - before


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def alone(folder: Path, shards: int) -> int:
    """The peak in a process that has done nothing but a small batch, which imports and keeps what counts no more."""
    batches.Fetcher = Quick  # type: ignore[assignment, misc]
    peak_of(folder / "first", FEW)
    return peak_of(folder / "measured", shards)


def test_memory_hardly_grows_with_the_pictures(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as fresh:
        few, many = fresh.map(alone, (tmp_path / "few", tmp_path / "many"), (FEW, MANY))
    assert many - few < (MANY - FEW) * SHARD * 1300, "less than 1,300 bytes for each picture more"
