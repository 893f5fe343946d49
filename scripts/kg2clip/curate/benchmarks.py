"""Fingerprints of the pictures of an evaluation set in CLIP_benchmark's WebDataset form, dev and test alike."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kg2clip import tars
from kg2clip.curate.colours import PARTS
from kg2clip.curate.decode import Rules
from kg2clip.curate.observations import IDS, read_ids
from kg2clip.curate.pictures import Examiners, Outcome, Work
from kg2clip.errors import UserError
from kg2clip.progress import Progress

log = logging.getLogger(__name__)

NOT_PICTURES = {".cls", ".txt", ".json", ".npy"}


def fingerprints(paths: dict[str, Path], rules: Rules, examiners: Examiners) -> pd.DataFrame:
    """One row for each picture of each benchmark, in an order that depends on names only.

    Returns:
        Columns benchmark, benchmarkKey (split/key), sha256, pixelHash, pdq, pdqMirrored, pdqQuality, windows,
        colours, member (where the picture lies), and what the picture is called at its source (observations.IDS,
        null where the benchmark does not say); a picture that can't be decoded has its sha256 only, a pixelHash of
        its own and a quality of -1.

    Raises:
        UserError: a benchmark is absent, lacks a shard, or has a sidecar that is no JSON.
    """
    rows = []
    for name, path in sorted(paths.items()):
        pictures = _pictures(name, path)
        works = [Work(one.member, rules, store=False) for one in pictures]
        outcomes = Progress(examiners.outcomes(works), total=len(works), desc=f"hashing {name}", unit="pictures")
        found = [_row(name, one, outcome) for one, outcome in zip(pictures, outcomes, strict=True)]
        if unread := sum(row["pdqQuality"] < 0 for row in found):
            log.warning(
                "%s: %d of %d pictures can't be decoded; they are compared by their bytes", name, unread, len(found)
            )
        rows += found
    hashes = ["sha256", "pixelHash", "pdq", "pdqMirrored", "pdqQuality", "windows", "colours"]
    return pd.DataFrame(rows, columns=["benchmark", "benchmarkKey", *hashes, "member", *IDS])


class _Picture(NamedTuple):
    """A picture of a benchmark: split/key, its member, the member beside it that says where it is from."""

    key: str
    member: tars.Member
    sidecar: tars.Member | None


def _pictures(name: str, path: Path) -> list[_Picture]:
    counts = sorted(path.glob("*/nshards.txt"))
    if not counts:
        raise UserError(
            f"the benchmark {name} has no split with an nshards.txt in {path}; give the folder that holds test/"
        )
    found = []
    for count in counts:
        split = count.parent
        for number in range(int(count.read_text())):
            members = [(*_split(member.name), member) for member in tars.members(split / f"{number}.tar")]
            sidecars = {stem: member for stem, extension, member in members if extension == ".json"}
            found += [
                _Picture(f"{split.name}/{stem}", member, sidecars.get(stem))
                for stem, extension, member in members
                if extension and extension not in NOT_PICTURES
            ]
    if not found:
        raise UserError(f"the benchmark {name} in {path} holds no pictures")
    return sorted(found, key=lambda one: one.key)


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = Path(name).name.partition(".")
    return stem, f"{dot}{extension.lower()}"


def _ids(sidecar: tars.Member | None) -> dict[str, str | None]:
    if sidecar is None:
        return {}
    try:
        said = json.loads(sidecar.read())
    except ValueError as error:
        raise UserError(f"{sidecar.tar}: {sidecar.name} is no JSON ({error})") from None
    return read_ids(said) if isinstance(said, dict) else {}


def _row(name: str, picture: _Picture, outcome: Outcome) -> dict[str, Any]:
    looks = outcome.looks
    return {
        "benchmark": name,
        "benchmarkKey": picture.key,
        **_ids(picture.sidecar),
        "sha256": outcome.sha256,
        "pixelHash": looks.pixels if looks else f"none:{outcome.sha256}",
        "pdq": looks.pdq if looks else bytes(32),
        "pdqMirrored": looks.pdq_mirrored if looks else bytes(32),
        "pdqQuality": looks.quality if looks else -1,
        "windows": looks.windows if looks else None,
        "colours": looks.colours if looks else bytes(3 * PARTS),
        "member": picture.member,
    }
