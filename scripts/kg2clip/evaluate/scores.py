"""Scores from stored predictions: accuracy, mean per-class recall, their intervals, and the choice of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.evaluate.calibration import calibration_error
from kg2clip.identifiers import stable_hash

METRICS = ("top1", "top5", "macro")
RUNGS = {"genus": 1, "family": 2, "order": 3, "class": 4}  # heights up to which the best label is right to the rank
COLUMNS = ["split", "label", "nameForm", "prompts", "top", "heights", "confidence", "calibrated"]
INTERVAL = (2.5, 97.5)  # percentiles: 95 %

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassHits:
    """Pictures and hits of each class that has pictures."""

    pictures: Counts  # [classes]
    top1: Counts  # [classes]: pictures whose best label is theirs
    top5: Counts  # [classes]: pictures whose label is among the five best

    def metric(self, name: str) -> float:
        """top1, top5: share of the pictures; macro: mean over the classes of their share of pictures at rank one."""
        return float(_metric(name, self._hits(name), self.pictures))

    def interval(self, name: str, resamplings: int, seed: int) -> tuple[float, float]:
        """95 % interval of a metric by a two-stage bootstrap: classes with replacement, then each one's pictures.

        Pictures of one class are not independent, so classes come first. Drawing n pictures with replacement from n of
        which k are hits gives Binomial(n, k / n) hits: drawn so, in place of the pictures themselves.
        Equal seeds draw the same classes for every metric and experiment, so that differences can be paired.
        """
        random = np.random.default_rng(seed)
        drawn = random.integers(len(self.pictures), size=(resamplings, len(self.pictures)))
        pictures = self.pictures[drawn]
        hits = random.binomial(pictures, self._hits(name)[drawn] / pictures)
        low, high = np.percentile(_metric(name, hits, pictures), INTERVAL)
        return float(low), float(high)

    def _hits(self, name: str) -> Counts:
        return self.top5 if name == "top5" else self.top1


def _metric(name: str, hits: Counts, pictures: Counts) -> Any:
    if name == "macro":
        return (hits / pictures).mean(axis=-1)
    return hits.sum(axis=-1) / pictures.sum(axis=-1)


def class_hits(predictions: pd.DataFrame) -> ClassHits:
    """Count the hits of predictions (columns label, top) by class."""
    labels = predictions["label"].to_numpy()
    top = predictions["top"].to_list()
    first = np.array([label in best[:1] for best, label in zip(top, labels, strict=True)])
    among = np.array([label in best[:5] for best, label in zip(top, labels, strict=True)])
    present, classes = np.unique(labels, return_inverse=True)
    top1, top5 = (np.bincount(classes[hit], minlength=len(present)) for hit in (first, among))
    return ClassHits(np.bincount(classes), top1, top5)


def scores_of(
    files: Sequence[Path], prompt_order: Sequence[str], resamplings: int, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All scores of stored predictions `evaluation/{experiment}/{benchmark}.parquet`.

    Returns:
        Rows of tables.SCORES; the number of `predictions`, and what is `withoutDevSplit`.

    Raises:
        UserError: a table is missing or holds no prediction.
    """
    rows: list[dict[str, Any]] = []
    without_dev, predictions = [], 0
    for path in sorted(files):
        frame = tables.read_frame(path, COLUMNS)
        if frame.empty:
            raise UserError(f"{path} holds no prediction. Remove it and make it again with: snakemake {path}")
        predictions += len(frame)
        experiment, benchmark = path.parent.name, path.stem
        if "dev" not in set(frame["split"]):
            without_dev.append(f"{experiment}/{benchmark}")
        rows += scores(frame, experiment, benchmark, prompt_order, resamplings, seed)
    return rows, {"predictions": predictions, "withoutDevSplit": without_dev}


def scores(
    predictions: pd.DataFrame, experiment: str, benchmark: str, prompt_order: Sequence[str], resamplings: int, seed: int
) -> list[dict[str, Any]]:
    """All scores of one experiment on one benchmark, as rows of tables.SCORES.

    Args:
        predictions: rows of tables.PREDICTIONS.
        experiment: for the rows.
        benchmark: for the rows, and with the seed for the intervals.
        prompt_order: names of the prompt sets in the config's order.
        resamplings: of the bootstrap.
        seed: the config's.
    """
    bootstrap_seed = int(stable_hash("bootstrap", seed, benchmark, length=16), 16)
    rows = []
    for form, of_form in predictions.groupby("nameForm", sort=True):
        chosen = choose_prompts(of_form, prompt_order)
        for (split, prompts), group in of_form.groupby(["split", "prompts"], sort=True):
            hits = class_hits(group)
            row = {"experiment": experiment, "benchmark": benchmark, "split": split, "nameForm": form}
            row |= {"prompts": prompts, "chosen": prompts == chosen}
            row |= {"pictures": int(hits.pictures.sum()), "classes": len(hits.pictures)}
            for metric in METRICS:
                low, high = hits.interval(metric, resamplings, bootstrap_seed) if split == "test" else (None, None)
                rows.append(row | {"metric": metric, "value": hits.metric(metric), "low": low, "high": high})
            rows += [row | {"metric": metric, "value": value} for metric, value in further_metrics(group)]
    return rows


def further_metrics(predictions: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Metrics of the best label in the tree and of its probability, those that the predictions have columns for.

    Severity alone flatters a model that makes many easy mistakes (Karthik et al., ICLR 2021): read it beside accuracy.
    """
    heights = predictions["heights"]
    if heights.notna().all():
        best = np.array([row[0] for row in heights])
        for rank, height in RUNGS.items():
            yield rank, float((best <= height).mean())
        yield "distance", float(best.mean())
        if best.any():
            yield "severity", float(best[best > 0].mean())
    right = np.array([top[0] == label for top, label in zip(predictions["top"], predictions["label"], strict=True)])
    for metric, column in (("ece", "confidence"), ("eceCalibrated", "calibrated")):
        if predictions[column].notna().all():
            yield metric, calibration_error(predictions[column].to_numpy(np.float32), right)


def choose_prompts(predictions: pd.DataFrame, order: Sequence[str]) -> str:
    """The prompt set with the best top-1 on the dev split; of equal ones, and without a dev split, the first in order.

    Never looks at the test split: prompts chosen there would flatter the score.
    """
    places = {name: place for place, name in enumerate(order)}
    present = sorted(predictions["prompts"].unique(), key=lambda name: (places.get(name, len(order)), name))
    dev = predictions[predictions["split"] == "dev"]
    if dev.empty:
        return str(present[0])
    accuracy = {name: class_hits(group).metric("top1") for name, group in dev.groupby("prompts")}
    return str(max(present, key=lambda name: accuracy.get(name, -1.0)))
