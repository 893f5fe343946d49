"""What becomes of every candidate: kept, or dropped at one stage for one reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kg2clip import tables
from kg2clip.curate import kinds
from kg2clip.curate.copies import LOOKS, NO_LINK, OVERLAP, Fingerprints, best_matches, evidence, group, merge
from kg2clip.curate.neighbours import Indices
from kg2clip.curate.observations import (
    IDS,
    NONE,
    OBSERVATION,
    PICTURE,
    find_bursts,
    find_observations,
    same_id,
    together,
)
from kg2clip.curate.overlaps import Comparison, Pictures
from kg2clip.curate.placeholders import Lineages, find_placeholders
from kg2clip.errors import UserError
from kg2clip.licences import allowed, openness
from kg2clip.settings import Settings

CANDIDATE_COLUMNS = ("license", "title", "altText", "description", "caption", "tags", "entityIDs", *IDS)
DOWNLOAD_COLUMNS = ("candidateID", "status", "reason", "accessURI")
FEATURE_COLUMNS = (
    "candidateID", "status", "reason", "width", "height", "pictureKind", "deviation", "sha256", "pixelHash", "pdq",
    "pdqMirrored", "pdqQuality", "colours", "tar", "offset", "size",
)  # fmt: skip


def read_all(paths: Sequence[Path], columns: Sequence[str], good: str) -> pd.DataFrame:
    """The rows of many tables, one for each candidate, by candidateID.

    A candidate has several rows where a second pass tried again: that of status `good` counts, else that of the later
    table.
    """
    frames = [tables.read_frame(path, columns).assign(place=-place) for place, path in enumerate(paths)]
    rows = pd.concat(frames, ignore_index=True)
    rows["failed"] = rows["status"] != good
    rows = rows.sort_values(["candidateID", "failed", "place"], ignore_index=True)
    return rows.drop_duplicates("candidateID").drop(columns=["failed", "place"]).set_index("candidateID")


def decide(
    candidates: pd.DataFrame,
    downloads: pd.DataFrame,
    features: pd.DataFrame,
    benchmarks: pd.DataFrame,
    settings: Settings,
    comparison: Comparison | None = None,
    lineages: Lineages = lambda entities: {},
    fits: pd.Series[Any] | None = None,
) -> pd.DataFrame:
    """Decide on every candidate.

    Args:
        candidates: CANDIDATE_COLUMNS of all candidates.
        downloads, features: as `read_all` gives them.
        benchmarks: as `benchmarks.fingerprints` gives them.
        settings: the whole config.
        comparison: how copies are found that agree only in part; None leaves them.
        lineages: gives the ancestors of entities; by default all are unrelated.
        fits: how well pictures fit their names, by candidateID, where a model was asked.

    Returns:
        A row of tables.DECISIONS for each candidate, by candidateID.

    Raises:
        UserError: a candidate has no row among the downloads, or a fetched one none among the features.
    """
    decisions = candidates.sort_values("candidateID").set_index("candidateID")
    decisions = decisions.assign(stage=None, reason=None, **dict.fromkeys(_RESULTS))
    _drop_unlicensed(decisions, settings["dataset"]["licenses"])
    _join(decisions, downloads, features)
    decisions["fit"] = np.nan if fits is None else fits.reindex(decisions.index)
    _filter(decisions, settings)
    _drop_misfits(decisions, settings["curate"]["fit_worst"])
    _drop_placeholders(decisions, features, settings, lineages)
    rows = decisions.index[decisions["stage"].isna()]
    if len(rows):
        _deduplicate(decisions, features.loc[rows], benchmarks, settings, comparison)
    decisions["kept"] = decisions["stage"].isna()
    decided: pd.DataFrame = decisions.reset_index()[tables.DECISIONS.names]
    return decided


_RESULTS = ("survivorID", "match", "distance", "burstID", "groupID", "benchmark", "benchmarkKey")


def funnel(decisions: pd.DataFrame) -> dict[str, Any]:
    """Candidates = kept + all that was dropped, by stage and reason."""
    dropped: dict[str, dict[str, int]] = {}
    lost = decisions[~decisions["kept"]]
    for (stage, reason), count in sorted(Counter(zip(lost["stage"], lost["reason"], strict=True)).items()):
        dropped.setdefault(stage, {})[reason] = count
    kept, leaked = decisions[decisions["kept"]], decisions[decisions["stage"] == "decontamination"]
    return {
        "candidates": len(decisions),
        "kept": len(kept),
        "kinds": _counts(kept["pictureKind"]),
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
    decisions["fetchedURI"] = downloads["accessURI"].reindex(decisions.index).where(~lost, None)
    seen = features.reindex(decisions.index)
    refused = ~lost & (seen["status"] != "decoded")
    _drop(decisions, refused, "decode", seen["reason"].fillna("broken"))
    decisions["pictureKind"] = _told_kinds(decisions).fillna(seen["pictureKind"]).where(seen["status"] == "decoded")
    for column in ("width", "height", "deviation", "pdqQuality"):
        decisions[column] = seen[column].where(~lost)


def _told_kinds(decisions: pd.DataFrame) -> pd.Series[Any]:
    """The kind of picture that the texts of each candidate name, or null. Descriptions say too much to be asked."""
    texts = decisions["tags"].map(lambda tags: " · ".join(tags) if isinstance(tags, list | np.ndarray) else "")
    for column in ("title", "altText", "caption"):
        texts = texts + " · " + decisions[column].astype(object).fillna("")
    return texts.map(kinds.said)


def _demand(missing: pd.Index[Any], problem: str) -> None:
    if len(missing):
        raise UserError(f"{len(missing)} {problem}, among them {missing[0]}. Give the tables of all batches")


def _drop(decisions: pd.DataFrame, rows: pd.Series[bool], stage: str, reason: str | pd.Series[Any]) -> None:
    """Drop the rows that are still there."""
    rows = rows & decisions["stage"].isna()
    decisions.loc[rows, "stage"] = stage
    decisions.loc[rows, "reason"] = reason if isinstance(reason, str) else reason[rows]


def _drop_unlicensed(decisions: pd.DataFrame, choice: str) -> None:
    """Drop what the download did not ask for."""
    unlicensed = ~decisions["license"].map(lambda license_id: allowed(license_id, choice)).astype(bool)
    _drop(decisions, unlicensed, "licence", "licence")


def _filter(decisions: pd.DataFrame, settings: Settings) -> None:
    curate = settings["curate"]
    sides = decisions[["width", "height"]].astype(float)
    short, long = sides.min(axis=1), sides.max(axis=1)
    _drop(decisions, short < curate["min_side"], "filter", "too-small")
    _drop(decisions, long > curate["max_aspect"] * short, "filter", "aspect")
    _drop(decisions, decisions["deviation"].astype(float) < curate["min_deviation"], "filter", "blank")
    kind = decisions["pictureKind"]
    _drop(decisions, kind.notna() & ~kind.isin(curate["picture_kinds"]), "filter", "picture-kind")


def _drop_misfits(decisions: pd.DataFrame, worst: float) -> None:
    """Drop what is of the worst share of each of its entities."""
    judged = decisions.loc[decisions["stage"].isna() & decisions["fit"].notna(), ["entityIDs", "fit"]]
    ranked = judged.explode("entityIDs").groupby("entityIDs")["fit"]
    low = ranked.rank(method="first") <= np.floor(worst * ranked.transform("size"))
    misfit = low.groupby(level=0).all().reindex(decisions.index, fill_value=False).astype(bool)
    _drop(decisions, misfit, "filter", "misfit")


def _drop_placeholders(decisions: pd.DataFrame, features: pd.DataFrame, settings: Settings, lineages: Lineages) -> None:
    curate = settings["curate"]
    rows = decisions.index[decisions["stage"].isna()]
    if curate["placeholder_entities"] is None or not len(rows):
        return
    prints = Fingerprints.of(features.loc[rows], curate["pdq_min_quality"])
    found = find_placeholders(prints, decisions.loc[rows, "entityIDs"], lineages, curate["placeholder_entities"])
    decisions.loc[rows[found], ["stage", "reason"]] = ["filter", "placeholder"]


def _deduplicate(
    decisions: pd.DataFrame,
    features: pd.DataFrame,
    benchmarks: pd.DataFrame,
    settings: Settings,
    comparison: Comparison | None,
) -> None:
    """Group copies and bursts, drop all but one of each group, and drop whole what belongs to a benchmark's picture."""
    curate = settings["curate"]
    rows = features.index
    pictures = decisions.loc[rows].reset_index()
    prints = Fingerprints.of(features, curate["pdq_min_quality"])
    order = _survival_order(decisions.loc[rows])
    groups = group(prints, order, curate["pdq_distance"])
    tests = Fingerprints.of(benchmarks, curate["pdq_min_quality"])
    matches = best_matches(prints, tests, curate["pdq_distance"])
    if comparison:
        heads = np.flatnonzero((groups.survivor == np.arange(len(rows))) & prints.telling)
        _match_overlaps(matches, heads, features, tests, benchmarks, comparison)
        alone = Pictures.of_features(features.iloc[heads], comparison.tables)
        groups = merge(groups, heads, comparison.copies(alone), order, partial(comparison.alike, alone))
    observation = find_observations(pictures)
    burst, nearest = find_bursts(prints, observation, curate["burst_distance"])
    survivor = _lowest(together(groups.survivor, burst), order)
    family = together(groups.survivor, observation)
    ways = [evidence(int(rank)) for rank in groups.rank]
    found = pd.DataFrame(ways, index=rows, columns=["match", "distance"], dtype=object)
    lost = survivor != np.arange(len(rows))
    frame = lost & ((groups.rank == NO_LINK) | ((burst != NONE) & (groups.rank >= LOOKS)))
    found.loc[frame, "match"] = "burst"
    found.loc[frame, "distance"] = pd.Series(nearest, rows, dtype=object).where(nearest != NONE)[frame]
    decisions.loc[rows, "survivorID"] = rows[survivor]
    decisions.loc[rows, "groupID"] = rows[family]
    decisions.loc[rows[burst != NONE], "burstID"] = rows[burst[burst != NONE]]
    decisions.loc[rows, ["match", "distance"]] = found

    leaked = _leaks(matches, pictures, survivor, family, benchmarks)
    leaked.index = rows
    gone = leaked["benchmark"].notna()
    direct = gone & leaked["match"].notna()
    decisions.loc[rows[gone], ["benchmark", "benchmarkKey"]] = leaked.loc[gone, ["benchmark", "benchmarkKey"]]
    decisions.loc[rows[direct], ["match", "distance"]] = leaked.loc[direct, ["match", "distance"]]
    decisions.loc[rows[gone], ["stage", "reason"]] = ["decontamination", "benchmark"]

    decisions.loc[rows[lost & ~gone], "stage"] = "duplicate"
    decisions.loc[rows[lost & ~gone], "reason"] = np.where(frame, "burst", "duplicate")[lost & ~gone]


def _survival_order(decisions: pd.DataFrame) -> Indices:
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


def _lowest(leader: Indices, order: Indices) -> Indices:
    """For each of n pictures the one of the lowest order among those with its leader."""
    sequence = np.argsort(order)
    _, first, codes = np.unique(leader[sequence], return_index=True, return_inverse=True)
    best = np.empty(len(order), np.int64)
    best[sequence] = sequence[first[codes]]
    return best


def _match_overlaps(
    matches: tuple[Indices, Indices],
    heads: Indices,
    features: pd.DataFrame,
    tests: Fingerprints,
    benchmarks: pd.DataFrame,
    comparison: Comparison,
) -> None:
    """Add to the matches of looks those of pictures (`heads`) without one that agree in part with a test picture."""
    position, rank = matches
    heads, telling = heads[position[heads] == NO_LINK], np.flatnonzero(tests.telling)
    found = comparison.matches(
        Pictures.of_features(features.iloc[heads], comparison.tables), Pictures.of_benchmarks(benchmarks.iloc[telling])
    )
    position[heads[found[:, 0]]] = telling[found[:, 1]]
    rank[heads[found[:, 0]]] = OVERLAP


def _leaks(
    matches: tuple[Indices, Indices],
    pictures: pd.DataFrame,
    survivor: Indices,
    family: Indices,
    benchmarks: pd.DataFrame,
) -> pd.DataFrame:
    """For each picture the test picture that it matches, and how: itself, by its group, or by its observation.

    A picture that only its group's match takes along has no match here: how it is a copy is known.
    """
    position, rank = matches
    count, none = max(1, len(benchmarks)), np.iinfo(np.int64).max
    # One number for how sure a match is and with which test picture, so that the smallest is the best.
    own = np.where(position != NONE, (rank + len(PICTURE)) * count + position, none)
    for ways, first in ((PICTURE, 0), (OBSERVATION, FAR)):
        for place, columns in enumerate(ways.values(), start=first):
            at = same_id(pictures, benchmarks, columns)
            own = np.minimum(own, np.where(at != NONE, place * count + at, none))
    by_group, by_family = (pd.Series(own).groupby(leader).transform("min").to_numpy() for leader in (survivor, family))
    best = np.where(own != none, own, np.where(by_group != none, by_group, by_family))
    leaks = pd.DataFrame([_way(int(sure)) for sure in own // count], columns=["match", "distance"], dtype=object)
    leaks.loc[(by_group == none) & (by_family != none), "match"] = "observation"
    spoken = np.where(best != none, best % count, NONE).tolist()
    for column in ("benchmark", "benchmarkKey"):
        names = benchmarks[column].tolist()
        leaks[column] = pd.Series([names[at] if at != NONE else None for at in spoken], dtype=object)
    return leaks


FAR = 1 << 20  # ranks of matches by observation: behind all ranks of `evidence`


def _way(sure: int) -> tuple[str | None, int | None]:
    if sure < len(PICTURE):
        return list(PICTURE)[sure], None
    if FAR <= sure < FAR + len(OBSERVATION):
        return list(OBSERVATION)[sure - FAR], None
    return evidence(sure - len(PICTURE)) if sure < FAR else (None, None)
