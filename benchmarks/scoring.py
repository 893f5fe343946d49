"""Scoring embeddings that are there: 100,000 pictures against 10,000 classes (iNaturalist 2021's size), on two threads.

Made embeddings of 512 numbers. Ours writes the stored predictions: five best labels, heights in the tree of life,
probabilities at the model's scale and at a temperature that it fits; then computes all scores with intervals from the
file. The plain way, as CLIP_benchmark goes, makes all logits at once and takes the best five, nothing else. The goal:
under a minute in 4 GB.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import measure

PACKAGES = ("numpy", "torch", "pyarrow")
PROGRAM = Path(__file__).with_name("_scoring.py")
SIZES = ((10_000, 1_000), (100_000, 10_000))


def run(scratch: Path) -> list[dict[str, Any]]:
    """A row for each size and way."""
    return [row(way, pictures, classes, scratch) for pictures, classes in SIZES for way in ("blocks", "whole")]


def notes() -> list[str]:
    """What the figures do not say."""
    return [
        "Seconds hold the start of the process and the making of the embeddings; the two columns after them do not.",
        "Without the embedding of pictures, which depends on the model.",
    ]


def row(way: str, pictures: int, classes: int, scratch: Path) -> dict[str, Any]:
    """Score so many pictures and classes one way."""
    command = [sys.executable, PROGRAM, way, str(pictures), str(classes), scratch]
    took = measure.child(command, env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"})
    said = json.loads(took.output)
    return {
        "way": {"blocks": "kg2clip", "whole": "all at once"}[way],
        "pictures": pictures,
        "classes": classes,
        "predictions s": round(said["predictions s"], 2),
        "scores s": round(said["scores s"], 2) if "scores s" in said else None,
        "seconds": round(took.seconds, 1),
        "processor seconds": round(took.processor_seconds, 1),
        "peak MB": took.peak_bytes // 2**20,
        "top-1": round(said["top1"], 4),
    }
