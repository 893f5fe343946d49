"""Fingerprints of the pictures of an evaluation set in CLIP_benchmark's WebDataset form, dev and test alike."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from kg2clip import tars
from kg2clip.curate.decode import Rules
from kg2clip.curate.pictures import Examiners, Outcome, Work
from kg2clip.errors import UserError
from kg2clip.progress import Progress

log = logging.getLogger(__name__)

NOT_PICTURES = {".cls", ".txt", ".json", ".npy"}


def fingerprints(paths: dict[str, Path], rules: Rules, examiners: Examiners) -> pd.DataFrame:
    """One row for each picture of each benchmark, in an order that depends on names only.

    Returns:
        Columns benchmark, benchmarkKey (split/key), sha256, and pixelHash, pdq, pdqMirrored, pdqQuality; a picture that
        can't be decoded has its sha256 only, a pixelHash of its own and a quality of -1.

    Raises:
        UserError: a benchmark is absent or lacks a shard.
    """
    rows = []
    for name, path in sorted(paths.items()):
        pictures = _pictures(name, path)
        works = [Work(member, rules, store=False) for _, member in pictures]
        outcomes = Progress(examiners.outcomes(works), total=len(works), desc=f"hashing {name}", unit="pictures")
        found = [_row(name, key, outcome) for (key, _), outcome in zip(pictures, outcomes, strict=True)]
        if unread := sum(row["pdqQuality"] < 0 for row in found):
            log.warning(
                "%s: %d of %d pictures can't be decoded; they are compared by their bytes", name, unread, len(found)
            )
        rows += found
    return pd.DataFrame(
        rows, columns=["benchmark", "benchmarkKey", "sha256", "pixelHash", "pdq", "pdqMirrored", "pdqQuality"]
    )


def _pictures(name: str, path: Path) -> list[tuple[str, tars.Member]]:
    counts = sorted(path.glob("*/nshards.txt"))
    if not counts:
        raise UserError(
            f"the benchmark {name} has no split with an nshards.txt in {path}; give the folder that holds test/"
        )
    found = []
    for count in counts:
        split = count.parent
        for number in range(int(count.read_text())):
            for member in tars.members(split / f"{number}.tar"):
                stem, dot, extension = Path(member.name).name.partition(".")
                if dot and f".{extension.lower()}" not in NOT_PICTURES:
                    found.append((f"{split.name}/{stem}", member))
    if not found:
        raise UserError(f"the benchmark {name} in {path} holds no pictures")
    return sorted(found, key=lambda entry: entry[0])


def _row(name: str, key: str, outcome: Outcome) -> dict[str, Any]:
    looks = outcome.looks
    return {
        "benchmark": name,
        "benchmarkKey": key,
        "sha256": outcome.sha256,
        "pixelHash": looks.pixels if looks else f"none:{outcome.sha256}",
        "pdq": looks.pdq if looks else bytes(32),
        "pdqMirrored": looks.pdq_mirrored if looks else bytes(32),
        "pdqQuality": looks.quality if looks else -1,
    }
