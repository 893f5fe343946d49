"""What becomes of every candidate: kept, or dropped at one stage for one reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kg2clip import tables
from kg2clip.curate.copies import Fingerprints, best_matches, evidence, group
from kg2clip.curate.licences import allowed, openness
from kg2clip.errors import UserError
from kg2clip.settings import Settings

CANDIDATE_COLUMNS = ("candidateID", "license", "title", "altText", "description")
DOWNLOAD_COLUMNS = ("candidateID", "status", "reason")
FEATURE_COLUMNS = (
    "candidateID", "status", "reason", "width", "height", "deviation", "sha256", "pixelHash", "pdq",
    "pdqMirrored", "pdqQuality",
)  # fmt: skip


def read_all(paths: Sequence[Path], columns: Sequence[str], good: str) -> pd.DataFrame:
    """The rows of many tables, one for each candidate, by candidateID; the row of status `good` goes before others.

    A candidate has several rows where failed downloads were tried again.
    """
    rows = pd.concat([tables.read_frame(path, columns) for path in paths], ignore_index=True)
    rows["second"] = rows["status"] != good
    rows = rows.sort_values(["candidateID", "second", "reason"], ignore_index=True)
    return rows.drop_duplicates("candidateID").drop(columns="second").set_index("candidateID")


def decide(
    candidates: pd.DataFrame,
    downloads: pd.DataFrame,
    features: pd.DataFrame,
    benchmarks: pd.DataFrame,
    settings: Settings,
) -> pd.DataFrame:
    """Decide on every candidate.

    Args:
        candidates: CANDIDATE_COLUMNS of all candidates.
        downloads, features: as `read_all` gives them.
        benchmarks: as `benchmarks.fingerprints` gives them.
        settings: the whole config.

    Returns:
        A row of tables.DECISIONS for each candidate, by candidateID.

    Raises:
        UserError: a candidate has no row among the downloads, or a fetched one none among the features.
    """
    decisions = candidates.sort_values("candidateID").set_index("candidateID")
    decisions = decisions.assign(stage=None, reason=None, **dict.fromkeys(_RESULTS))
    _join(decisions, downloads, features)
    _filter(decisions, settings)
    rows = decisions.index[decisions["stage"].isna()]
    if len(rows):
        _deduplicate(decisions, features.loc[rows], benchmarks, settings)
    decisions["kept"] = decisions["stage"].isna()
    decided: pd.DataFrame = decisions.reset_index()[tables.DECISIONS.names]
    return decided


_RESULTS = ("survivorID", "match", "distance", "benchmark", "benchmarkKey")


def funnel(decisions: pd.DataFrame) -> dict[str, Any]:
    """Candidates = kept + all that was dropped, by stage and reason."""
    dropped: dict[str, dict[str, int]] = {}
    lost = decisions[~decisions["kept"]]
    for (stage, reason), count in sorted(Counter(zip(lost["stage"], lost["reason"], strict=True)).items()):
        dropped.setdefault(stage, {})[reason] = count
    leaked = decisions[decisions["stage"] == "decontamination"]
    return {
        "candidates": len(decisions),
        "kept": int(decisions["kept"].sum()),
        "dropped": dropped,
        "duplicatesBy": _counts(decisions.loc[decisions["stage"] == "duplicate", "match"]),
        "leakedInto": _counts(leaked["benchmark"]),
        "leakedBy": _counts(leaked["match"]),
    }


def _counts(column: pd.Series[Any]) -> dict[str, int]:
    return {str(value): int(count) for value, count in column.value_counts().sort_index().items()}


def _join(decisions: pd.DataFrame, downloads: pd.DataFrame, features: pd.DataFrame) -> None:
    _demand(decisions.index.difference(downloads.index), "candidates have no row in the download manifests")
    status = downloads["status"].reindex(decisions.index)
    lost = status != "success"
    _drop(decisions, lost, "download", downloads["reason"].reindex(decisions.index).fillna(status))
    _demand(decisions.index[~lost].difference(features.index), "fetched pictures have no row in the features tables")
    seen = features.reindex(decisions.index)
    refused = ~lost & (seen["status"] != "decoded")
    _drop(decisions, refused, "decode", seen["reason"].fillna("broken"))
    for column in ("width", "height", "deviation", "pdqQuality"):
        decisions[column] = seen[column].where(~lost)


def _demand(missing: pd.Index[Any], problem: str) -> None:
    if len(missing):
        raise UserError(f"{len(missing)} {problem}, among them {missing[0]}. Give the tables of all batches")


def _drop(decisions: pd.DataFrame, rows: pd.Series[bool], stage: str, reason: str | pd.Series[Any]) -> None:
    """Drop the rows that are still there."""
    rows = rows & decisions["stage"].isna()
    decisions.loc[rows, "stage"] = stage
    decisions.loc[rows, "reason"] = reason if isinstance(reason, str) else reason[rows]


def _filter(decisions: pd.DataFrame, settings: Settings) -> None:
    curate = settings["curate"]
    sides = decisions[["width", "height"]].astype(float)
    short, long = sides.min(axis=1), sides.max(axis=1)
    _drop(decisions, short < curate["min_side"], "filter", "too-small")
    _drop(decisions, long > curate["max_aspect"] * short, "filter", "aspect")
    _drop(decisions, decisions["deviation"].astype(float) < curate["min_deviation"], "filter", "blank")
    choice = settings["dataset"]["licenses"]
    unlicensed = ~decisions["license"].map(lambda license_id: allowed(license_id, choice)).astype(bool)
    _drop(decisions, unlicensed, "filter", "licence")


def _deduplicate(decisions: pd.DataFrame, features: pd.DataFrame, benchmarks: pd.DataFrame, settings: Settings) -> None:
    """Group the copies, drop all but one of each group, and drop groups that stand in a benchmark whole."""
    curate = settings["curate"]
    rows = features.index
    prints = Fingerprints.of(features, curate["pdq_min_quality"])
    groups = group(prints, _survival_order(decisions.loc[rows]), curate["pdq_distance"])
    survivor = rows[groups.survivor]
    found = pd.DataFrame([evidence(int(rank)) for rank in groups.rank], index=rows, columns=["match", "distance"])
    decisions.loc[rows, "survivorID"] = survivor
    decisions.loc[rows, ["match", "distance"]] = found.astype(object)

    leaked = _leaks(prints, groups.survivor, benchmarks, settings)
    leaked.index = rows
    gone = leaked["benchmark"].notna()
    direct = gone & leaked["match"].notna()
    decisions.loc[rows[gone], ["benchmark", "benchmarkKey"]] = leaked.loc[gone, ["benchmark", "benchmarkKey"]]
    decisions.loc[rows[direct], ["match", "distance"]] = leaked.loc[direct, ["match", "distance"]]
    decisions.loc[rows[gone], ["stage", "reason"]] = ["decontamination", "benchmark"]

    copies = rows[(survivor != rows) & ~gone]
    decisions.loc[copies, "stage"] = "duplicate"
    decisions.loc[copies, "reason"] = "duplicate"


def _survival_order(decisions: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Ranks of survival: the most open licence, then the most pixels, the most texts, the longest, then candidateID."""
    texts = decisions[["title", "altText", "description"]].fillna("").map(str.strip)
    keys = pd.DataFrame(
        {
            "licence": decisions["license"].map(openness),
            "pixels": -(decisions["width"].astype(np.int64) * decisions["height"].astype(np.int64)),
            "texts": -(texts != "").sum(axis=1),
            "length": -texts.map(len).sum(axis=1),
        }
    )
    order = np.lexsort((decisions.index.to_numpy(str), *(keys[name].to_numpy() for name in reversed(keys.columns))))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _leaks(
    prints: Fingerprints, survivor: np.ndarray[Any, np.dtype[np.int64]], benchmarks: pd.DataFrame, settings: Settings
) -> pd.DataFrame:
    """For each picture the benchmark picture that its group matches, and how, where the match is its own."""
    curate = settings["curate"]
    others = Fingerprints.of(benchmarks, curate["pdq_min_quality"])
    position, rank = best_matches(prints, others, curate["pdq_distance"])
    own = [evidence(int(one)) for one in rank]
    leaks = pd.DataFrame(own, columns=["match", "distance"], dtype=object)
    # The surest match of a group speaks for members without one of their own.
    best: dict[int, tuple[int, int]] = {}
    for head, one, at in zip(survivor.tolist(), rank.tolist(), position.tolist(), strict=True):
        if at >= 0:
            best[head] = min(best.get(head, (one, at)), (one, at))
    spoken = [
        at if at >= 0 else best.get(head, (0, -1))[1]
        for head, at in zip(survivor.tolist(), position.tolist(), strict=True)
    ]
    for column in ("benchmark", "benchmarkKey"):
        names = benchmarks[column].tolist()
        leaks[column] = pd.Series([names[at] if at >= 0 else None for at in spoken], dtype=object)
    return leaks
