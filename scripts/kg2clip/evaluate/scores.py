"""Scores from stored predictions: accuracy, mean per-class recall, their intervals, and the choice of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.evaluate.calibration import calibration_error
from kg2clip.evaluate.comparisons import Answers, compare
from kg2clip.identifiers import stable_hash
from kg2clip.settings import OWN, Settings

METRICS = ("top1", "top5", "macro")
RECALLS = {"r1": 1, "r5": 5, "r10": 10}  # retrieval: a right one among so many
DIRECTIONS = {"picture": "picture to text", "text": "text to picture"}
RUNGS = {"genus": 1, "family": 2, "order": 3, "class": 4}  # heights up to which the best label is right to the rank
COLUMNS = ["key", "split", "label", "nameForm", "prompts", "top", "heights", "confidence", "calibrated"]
COLUMNS += ["kingdom", "seen", "met"]
INTERVAL = (2.5, 97.5)  # percentiles: 95 %

Counts = NDArray[np.int64]
Row = dict[str, Any]


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
        Where no picture is a hit, or each is, nothing varies; the exact interval (Clopper and Pearson 1934)
        of so many classes, none or all of them right, stands in.
        """
        share = self.metric(name)
        if share in (0, 1):
            bound = (1 - INTERVAL[1] / 100) ** (1 / len(self.pictures))
            return (0.0, 1 - bound) if share == 0 else (bound, 1.0)
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


@dataclass
class Gathered:
    """All that follows from stored predictions."""

    scores: list[Row] = field(default_factory=list)  # tables.SCORES
    groups: list[Row] = field(default_factory=list)  # tables.GROUP_SCORES
    comparisons: list[Row] = field(default_factory=list)  # tables.COMPARISONS
    predictions: int = 0
    without_dev: list[str] = field(default_factory=list)  # experiment/benchmark


def gather(files: Sequence[Path], config: Settings) -> Gathered:
    """All scores of stored predictions `evaluation/{experiment}/{benchmark}.parquet`.

    Raises:
        UserError: a table is missing or holds no prediction.
    """
    found, answers = Gathered(), list[Answers]()
    prompt_order, resamplings = list(config["evaluate"]["prompts"]), config["evaluate"]["bootstrap"]
    for path in sorted(files):
        table = tables.read(path)
        experiment, benchmark = path.parent.name, path.stem
        if not table.num_rows and benchmark in OWN:
            continue  # a dataset of few pictures holds none out
        if not table.num_rows:
            raise UserError(f"{path} holds no prediction. Remove it and make it again with: snakemake {path}")
        found.predictions += table.num_rows
        own_seed = int(stable_hash("bootstrap", config["seed"], benchmark, length=16), 16)
        about = {"experiment": experiment, "benchmark": benchmark}
        if "rank" in table.column_names:
            frame = table.to_pandas()
            found.scores += retrieval_scores(frame, about, resamplings, own_seed)
            answers += _retrieval_answers(frame, about)
            continue
        frame = read_answers(table)
        if "dev" not in set(frame["split"]):
            found.without_dev.append(f"{experiment}/{benchmark}")
        found.scores += scores(frame, about, prompt_order, resamplings, own_seed)
        form, prompts = best_on_dev(frame, prompt_order)
        chosen = frame[(frame["split"] == "test") & (frame["nameForm"] == form) & (frame["prompts"] == prompts)]
        found.groups += group_scores(chosen, {**about, "nameForm": form, "prompts": prompts}, resamplings, own_seed)
        keys, labels, right = chosen["key"].tolist(), chosen["label"].to_numpy(), chosen["right"].to_numpy()
        answers.append(Answers(experiment, benchmark, "top1", form, prompts, keys, labels, right))
    models = [*config["train"]["experiments"], *config["evaluate"]["baselines"]]
    found.comparisons = compare(answers, models, resamplings, config["seed"])
    return found


def read_answers(predictions: pa.Table) -> pd.DataFrame:
    """Rows of tables.PREDICTIONS with `right`, `among` (label is best; among the five best), `height` (of the best).

    The lists are looked at as a whole, not row by row.
    """
    top = predictions["top"].combine_chunks()
    starts = top.offsets.to_numpy()[:-1]
    lengths = np.diff(top.offsets.to_numpy())
    hits = top.values.to_numpy() == np.repeat(predictions["label"].to_numpy(), lengths)
    hits &= np.arange(len(hits)) - np.repeat(starts, lengths) < 5
    frame: pd.DataFrame = predictions.select([name for name in COLUMNS if name not in ("top", "heights")]).to_pandas()
    frame["right"], frame["among"] = hits[starts], np.logical_or.reduceat(hits, starts)
    heights = predictions["heights"].combine_chunks()
    frame["height"] = np.nan
    known = heights.is_valid().to_numpy(zero_copy_only=False)
    if known.any():
        frame.loc[known, "height"] = heights.values.to_numpy()[heights.offsets.to_numpy()[:-1][known]]
    return frame


def class_hits(answers: pd.DataFrame) -> ClassHits:
    """Count the hits of answers (columns label, right, among) by class."""
    present, classes = np.unique(answers["label"].to_numpy(), return_inverse=True)
    top1, top5 = (
        np.bincount(classes[answers[column].to_numpy()], minlength=len(present)) for column in ("right", "among")
    )
    return ClassHits(np.bincount(classes), top1, top5)


def scores(
    answers: pd.DataFrame, about: Mapping[str, str], prompt_order: Sequence[str], resamplings: int, seed: int
) -> list[Row]:
    """All scores of one model on one benchmark, as rows of tables.SCORES.

    Args:
        answers: as `read_answers` gives them.
        about: experiment and benchmark, for the rows.
        prompt_order: names of the prompt sets in the config's order.
        resamplings: of the bootstrap.
        seed: for the intervals.
    """
    rows = []
    for form, of_form in answers.groupby("nameForm", sort=True):
        chosen = choose_prompts(of_form, prompt_order)
        for (split, prompts), group in of_form.groupby(["split", "prompts"], sort=True):
            hits = class_hits(group)
            row = {**about, "split": split, "nameForm": form}
            row |= {"prompts": prompts, "chosen": prompts == chosen}
            row |= {"pictures": int(hits.pictures.sum()), "classes": len(hits.pictures)}
            for metric in METRICS:
                low, high = hits.interval(metric, resamplings, seed) if split == "test" else (None, None)
                rows.append(row | {"metric": metric, "value": hits.metric(metric), "low": low, "high": high})
            rows += [row | {"metric": metric, "value": value} for metric, value in further_metrics(group)]
    return rows


def further_metrics(answers: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Metrics of the best label in the tree and of its probability, those that the answers have columns for.

    Severity alone flatters a model that makes many easy mistakes (Karthik et al., ICLR 2021): read it beside accuracy.
    """
    if answers["height"].notna().all():
        best = answers["height"].to_numpy()
        for rank, height in RUNGS.items():
            yield rank, float((best <= height).mean())
        yield "distance", float(best.mean())
        if best.any():
            yield "severity", float(best[best > 0].mean())
    right = answers["right"].to_numpy()
    for metric, column in (("ece", "confidence"), ("eceCalibrated", "calibrated")):
        if answers[column].notna().all():
            yield metric, calibration_error(answers[column].to_numpy(np.float32), right)


def group_scores(answers: pd.DataFrame, about: Mapping[str, str], resamplings: int, seed: int) -> list[Row]:
    """Scores by kingdom, by whether the dataset shows the taxon and the harvest met the picture: tables.GROUP_SCORES.

    Only where there are two groups at least: one alone is the whole.
    """
    named = answers.assign(
        seen=answers["seen"].map({True: "seen", False: "unseen"}),
        met=answers["met"].map({True: "met", False: "not met"}),
    )
    rows = []
    for grouping in ("kingdom", "seen", "met"):
        groups = list(named.groupby(grouping, sort=True))
        for name, group in groups if len(groups) > 1 else ():
            hits = class_hits(group)
            row = {**about, "grouping": grouping, "group": name}
            row |= {"pictures": int(hits.pictures.sum()), "classes": len(hits.pictures)}
            for metric in METRICS:
                low, high = hits.interval(metric, resamplings, seed)
                rows.append(row | {"metric": metric, "value": hits.metric(metric), "low": low, "high": high})
    return rows


def retrieval_scores(ranks: pd.DataFrame, about: Mapping[str, str], resamplings: int, seed: int) -> list[Row]:
    """Recall of retrieval in both directions, as rows of tables.SCORES; intervals by pictures, with their captions.

    Args:
        ranks: rows of tables.RETRIEVALS.
        about: experiment and benchmark, for the rows.
        resamplings: of the bootstrap.
        seed: for the intervals.
    """
    rows = []
    for (split, query), group in ranks.groupby(["split", "query"], sort=True):
        pictures, units = np.unique(_pictures(group), return_inverse=True)
        row = {**about, "split": split, "nameForm": "captions", "prompts": DIRECTIONS[str(query)], "chosen": True}
        row |= {"pictures": len(group), "classes": len(pictures)}
        for metric, most in RECALLS.items():
            found = np.bincount(units, group["rank"].to_numpy() <= most).astype(np.int64)
            hits = ClassHits(np.bincount(units), found, found)
            low, high = hits.interval("top1", resamplings, seed) if split == "test" else (None, None)
            rows.append(row | {"metric": metric, "value": hits.metric("top1"), "low": low, "high": high})
    return rows


def _retrieval_answers(ranks: pd.DataFrame, about: Mapping[str, str]) -> Iterator[Answers]:
    for query, group in ranks[ranks["split"] == "test"].groupby("query", sort=True):
        direction = DIRECTIONS[str(query)]
        right = group["rank"].to_numpy() <= 1
        keys, units = group["key"].tolist(), np.array(_pictures(group))
        model, benchmark = about["experiment"], about["benchmark"]
        yield Answers(model, benchmark, f"r1 {direction}", "captions", direction, keys, units, right)


def _pictures(ranks: pd.DataFrame) -> list[str]:
    """The picture of each query: a caption's key is its picture's with a slash and a number."""
    captions = ranks["query"] == "text"
    return ranks["key"].where(~captions, ranks["key"].str.rpartition("/")[0]).tolist()


def choose_prompts(answers: pd.DataFrame, order: Sequence[str]) -> str:
    """The prompt set with the best top-1 on the dev split; of equal ones, and without a dev split, the first in order.

    Never looks at the test split: prompts chosen there would flatter the score.
    """
    places = {name: place for place, name in enumerate(order)}
    present = sorted(answers["prompts"].unique(), key=lambda name: (places.get(name, len(order)), name))
    dev = answers[answers["split"] == "dev"]
    if dev.empty:
        return str(present[0])
    accuracy = dev.groupby("prompts")["right"].mean()
    return str(max(present, key=lambda name: accuracy.get(name, -1.0)))


def best_on_dev(answers: pd.DataFrame, order: Sequence[str]) -> tuple[str, str]:
    """The form of names, and its prompts, with the best top-1 on dev; without a dev split the first of each."""
    dev = answers[answers["split"] == "dev"]
    if dev.empty:
        form = str(answers["nameForm"].min())
    else:
        form = str(dev.groupby(["nameForm", "prompts"])["right"].mean().groupby("nameForm").max().idxmax())
    return form, choose_prompts(answers[answers["nameForm"] == form], order)
