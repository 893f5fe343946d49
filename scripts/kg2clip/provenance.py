"""What a step was made from: a small JSON file beside each step's outputs, which the report gathers."""

from __future__ import annotations

import platform
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kg2clip.codehash import code_hash
from kg2clip.files import write_json
from kg2clip.identifiers import stable_hash
from kg2clip.settings import Settings, tracked

_started = time.monotonic()


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(
    path: Path | str,
    step: str,
    settings: Settings,
    sections: tuple[str, ...],
    counts: dict[str, Any],
    packages: tuple[str, ...] = (),
    **facts: Any,
) -> None:
    """Write a step's provenance.

    Args:
        path: `provenance/{step}.json`.
        step: the rule's name, which is its program's; after a dot its wildcards.
        settings: the whole config; only `sections` of it are recorded, without addresses and secrets.
        counts: what came in and what went out, by reason: the funnel adds them up.
        packages: distributions whose versions matter for the result.
        facts: anything else worth keeping (endpoint, date of the graph, queries).
    """
    recorded = tracked(settings, *sections)
    write_json(
        path,
        {
            "step": step,
            "date": now(),
            "seconds": round(time.monotonic() - _started, 1),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "versions": {package: _version(package) for package in packages},
            "settings": recorded,
            "settingsHash": stable_hash(recorded),
            "codeHash": code_hash(step.split(".")[0]),
            "counts": counts,
            **facts,
        },
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
