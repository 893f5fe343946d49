"""What benchmarks share: time and memory of other processes, and fair comparisons within this one.

Run as a program it is the launcher behind `child`: Linux counts the memory of a process that starts another one towards
that other one's peak, so a small process has to stand between. Hence only the standard library here.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Child:
    """What another process took.

    Attributes:
        seconds: from start to end.
        processor_seconds: of all cores, in user and system mode, its own children's included.
        peak_bytes: resident memory of its largest process at its peak; never below some 15 MB, the launcher's own.
        output: its standard output.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int
    output: str


def child(command: Sequence[object], **options: Any) -> Child:
    """Run a command to its end and measure it; `options` are those of subprocess.run (env, cwd, input ...).

    Raises:
        CalledProcessError: the command failed; what it said stands on standard error.
    """
    reader, writer = os.pipe()
    launcher = [sys.executable, "-S", "-E", __file__, str(writer), *map(str, command)]
    try:
        done = subprocess.run(launcher, pass_fds=(writer,), stdout=subprocess.PIPE, text=True, check=True, **options)
    finally:
        os.close(writer)
        with open(reader, encoding="ascii") as pipe:
            said = pipe.read()
    return Child(**json.loads(said), output=done.stdout)


def peak_memory(process: int) -> int:
    """Peak resident memory, in bytes, of a process that still runs (Linux)."""
    return _status(process, "VmHWM")


def memory(process: int) -> int:
    """Resident memory, in bytes, of a process that still runs (Linux)."""
    return _status(process, "VmRSS")


def compare(variants: Mapping[str, Callable[[], Any]], repeats: int = 5) -> list[dict[str, Any]]:
    """Time variants side by side: in turns, every second round backwards, so that drift of the machine hits all alike.

    Returns:
        One row a variant: median, least and most seconds, and the median over the rounds of its ratio to the first
        variant in the same round.
    """
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        for name in names if number % 2 == 0 else reversed(names):
            seconds[name].append(timed(variants[name])[0])
    first = seconds[names[0]]
    return [
        {
            "variant": name,
            "seconds": median(taken),
            "least": min(taken),
            "most": max(taken),
            f"times {names[0]}": median(own / other for own, other in zip(taken, first, strict=True)),
        }
        for name, taken in seconds.items()
    ]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and what it returns."""
    gc.collect()
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def machine() -> dict[str, Any]:
    """This machine by its parts, never by its name."""
    return {
        "processor": _from_proc("cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memoryGB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of distributions."""
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _from_proc(file: str, key: str) -> str:
    for line in Path("/proc", file).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _status(process: int, key: str) -> int:
    return int(_from_proc(f"{process}/status", key).split()[0]) * 1024  # in kB


def _launch(report: int, command: list[str]) -> int:
    os.set_inheritable(report, False)
    began = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    taken = {
        "seconds": time.perf_counter() - began,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }
    os.write(report, json.dumps(taken).encode())
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(abs(_launch(int(sys.argv[1]), sys.argv[2:])))
