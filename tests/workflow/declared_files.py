"""What a dry-run says of jobs and files, and what follows from a file that is gone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from workflow.small import ROOT, SmallRun, surroundings


class Listed(NamedTuple):
    """A job of a dry-run: its step, as provenance/ names it, and its files."""

    step: str
    inputs: frozenset[str]
    outputs: tuple[str, ...]


def listed(small: SmallRun, *options: str) -> dict[str, Listed]:
    """The jobs that a dry-run of a small chain lists, by step; `all` is the target rule."""
    command = ["snakemake", "--configfile", str(small.config), "--replace-workflow-config", "--profile", "local"]
    done = subprocess.run(
        [*command, "-n", "--nolock", *options],
        cwd=ROOT,
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    jobs = [_read(block) for block in re.split(r"\n(?=(?:local)?rule \w+:)", f"\n{done.stdout}\n{done.stderr}")[1:]]
    return {job.step: job for job in jobs}


def _read(block: str) -> Listed:
    def files(kind: str) -> list[str]:
        found = re.search(rf"^    {kind}: (.*)$", block, re.MULTILINE)
        return found[1].split(", ") if found else []

    rule = re.search(r"rule (\w+):", block)
    assert rule
    wildcards = [part.split("=", 1)[1] for part in files("wildcards")]
    return Listed(".".join([rule[1], *wildcards]), frozenset(files("input")), tuple(files("output")))


def followers(jobs: dict[str, Listed], first: Iterable[str]) -> set[str]:
    """Steps and all that depends on them, by their files."""
    found, waiting = set(first), list(first)
    while waiting:
        made = set(jobs[waiting.pop()].outputs)
        further = {job.step for job in jobs.values() if job.inputs & made} - found
        found |= further
        waiting += further
    return found


@contextmanager
def gone(*files: str) -> Iterator[None]:
    """Take files away and put them back as they were."""
    with ExitStack() as back:
        for path in (ROOT / file for file in files):
            aside = path.with_name(f".{path.name}.aside")
            path.rename(aside)
            back.callback(Path.rename, aside, path)
        yield
