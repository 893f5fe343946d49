"""Whether one model is better than another: the same pictures, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kg2clip.identifiers import stable_hash

INTERVAL = (2.5, 97.5)  # percentiles: 95 %
EXCHANGES = 10_000  # the smallest p is a ten-thousandth
CELLS = 4_000_000  # signs drawn at a time

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """A model's answers to one question about a benchmark's test split, with the names and prompts best on dev."""

    model: str
    benchmark: str
    metric: str
    name_form: str
    prompts: str
    keys: Sequence[str]  # [n] one for each question
    units: NDArray[Any]  # [n] what is not independent of each other: the class; for captions their picture
    right: NDArray[np.bool_]  # [n]


@dataclass(frozen=True)
class Paired:
    """Questions of each unit, and how many of them only one of two models answered."""

    questions: Counts  # [units]
    first_only: Counts
    second_only: Counts

    @property
    def difference(self) -> float:
        """Share that the first answered, minus the second's."""
        return float((self.first_only - self.second_only).sum() / self.questions.sum())

    def interval(self, resamplings: int, seed: int) -> tuple[float, float]:
        """95 % interval of the difference, by the two-stage bootstrap of scores.py for both models together."""
        random = np.random.default_rng(seed)
        drawn = random.integers(len(self.questions), size=(resamplings, len(self.questions)))
        questions, first, second = self.questions[drawn], self.first_only[drawn], self.second_only[drawn]
        only_first = random.binomial(questions, first / questions)
        others = np.maximum(questions - first, 1)  # 0 only where there is no second one either
        only_second = random.binomial(questions - only_first, second / others)
        low, high = np.percentile((only_first - only_second).sum(axis=1) / questions.sum(axis=1), INTERVAL)
        return float(low), float(high)

    def p_value(self, seed: int) -> float:
        """Two-sided p of no difference, by exchanging the two models' answers unit by unit at random.

        With one question a unit this is McNemar's test (Psychometrika 12, 1947). Pictures of a class are not
        independent of each other, which his test would take them for: so classes are exchanged whole.
        """
        gains = (self.first_only - self.second_only).astype(np.float32)
        gains = gains[gains != 0]
        if not len(gains):
            return 1.0
        random = np.random.default_rng(seed)
        observed, rows, extreme = abs(gains.sum()), max(1, CELLS // len(gains)), 0
        for start in range(0, EXCHANGES, rows):
            signs = random.integers(0, 2, (min(rows, EXCHANGES - start), len(gains)), dtype=np.int8) * 2 - 1
            extreme += int((np.abs(signs.astype(np.float32) @ gains) >= observed).sum())
        return (extreme + 1) / (EXCHANGES + 1)


def compare(answers: Sequence[Answers], order: Sequence[str], resamplings: int, seed: int) -> list[dict[str, Any]]:
    """Each pair of models on each benchmark and metric, as rows of tables.COMPARISONS.

    Args:
        answers: one for each model, benchmark and metric.
        order: the config's models: in a pair the earlier one is the first.
        resamplings: of the bootstrap.
        seed: the config's.
    """
    places = {model: place for place, model in enumerate(order)}
    ordered = sorted(answers, key=lambda each: (each.benchmark, each.metric, places.get(each.model, len(order))))
    rows: list[dict[str, Any]] = []
    for one, other in combinations(ordered, 2):
        if (one.benchmark, one.metric) != (other.benchmark, other.metric):
            continue
        both = pair(one, other)
        if both is None:
            continue
        own_seed = int(stable_hash("comparison", seed, one.benchmark, one.metric, length=16), 16)
        low, high = both.interval(resamplings, own_seed)
        row: dict[str, Any] = {"benchmark": one.benchmark, "metric": one.metric}
        row |= {"first": one.model, "second": other.model}
        row |= {"firstForm": one.name_form, "firstPrompts": one.prompts, "difference": both.difference}
        row |= {"secondForm": other.name_form, "secondPrompts": other.prompts, "low": low, "high": high}
        rows.append(row | {"p": both.p_value(own_seed), "pictures": int(both.questions.sum())})
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["pHolm"] = corrected
    return rows


def pair(one: Answers, other: Answers) -> Paired | None:
    """Count by unit, over the questions that both were asked; None where there is none."""
    frame = pd.DataFrame({"key": one.keys, "unit": one.units, "first": one.right})
    frame = frame.merge(pd.DataFrame({"key": other.keys, "second": other.right}), on="key", validate="one_to_one")
    if frame.empty:
        return None
    frame["firstOnly"], frame["secondOnly"] = frame["first"] & ~frame["second"], frame["second"] & ~frame["first"]
    counts = frame.groupby("unit", sort=True)[["firstOnly", "secondOnly"]].agg(["size", "sum"])
    return Paired(
        counts["firstOnly", "size"].to_numpy(np.int64),
        counts["firstOnly", "sum"].to_numpy(np.int64),
        counts["secondOnly", "sum"].to_numpy(np.int64),
    )


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    p = np.asarray(values, float)
    order = p.argsort(kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in corrected]
