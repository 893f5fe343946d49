"""How well each filter finds what the mirror planted: precision and recall by kind and strength, on the demo's data.

The mirror made its faults and knows them; the chain does not. Each row is a detector of the chain held against that
truth, with 95 % Wilson intervals. `planted` is what was there to be found, `found` what the detector claimed. Rows with
a strength are parts of the row of their kind and have no precision of their own. The demo's chain runs up to the
dataset, on both collections where their pictures are at hand.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kg2clip import tables
from kg2clip.mirror import tuxpaint

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = {"rendered": "demo", "tuxpaint": "demo-tuxpaint"}


def run(scratch: Path) -> list[dict[str, Any]]:
    """The scores on each collection; rows with nothing planted and nothing found are left out."""
    return [
        {
            "collection": collection,
            "detector": row["detector"],
            "kind": row["kind"],
            "planted": row["planted"],
            "found": row["found"],
            "recall": interval(row, "recall"),
            "precision": interval(row, "precision"),
        }
        for collection, project in PROJECTS.items()
        if collection != "tuxpaint" or tuxpaint.is_installed()
        for row in tables.read(scores_of(project)).to_pylist()
        if row["planted"] or row["found"]
    ]


def scores_of(project: str) -> Path:
    """Run a demo as far as its scores; give their file."""
    config, target = f"config/{project}.yaml", f"results/{project}/mirror/scores.parquet"
    chain = ["snakemake", target, "--configfile", config, "--replace-workflow-config", "--profile", "local", "--nolock"]
    wrapper = [sys.executable, "scripts/with_mirror.py", "--config", config, "--"]
    subprocess.run([*wrapper, *chain, "--quiet", "all"], check=True, cwd=ROOT)
    return ROOT / target


def interval(row: Mapping[str, Any], measure: str) -> str | None:
    """A share with its interval: 0.87 (0.80 to 0.92)."""
    if row[measure] is None:
        return None
    return f"{row[measure]:.2f} ({row[f'{measure}Low']:.2f} to {row[f'{measure}High']:.2f})"
