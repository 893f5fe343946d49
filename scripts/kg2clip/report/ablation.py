"""Experiments against each other: what each choice is worth, with intervals over the seeds, and what it costs.

An interval over seeds is that of the mean of all runs of the recipe; the intervals of the accuracy section say what
other test pictures would change. A difference below either is no finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from scipy import stats

from kg2clip import settings
from kg2clip.report.accuracy import Score
from kg2clip.report.results import Results

SHARE = "picture_share"  # the recipe's key that cost curves are made with


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval; none for a single seed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Effect:
    """One experiment, all its seeds together, on one benchmark with one form of names: top-1 on test."""

    experiment: str
    benchmark: str
    name_form: str
    changes: str  # its own keys, as the config has them
    seeds: int
    pictures: int
    flops: float
    top1: Estimate
    difference: Estimate | None  # to the first experiment of the config; None for itself
    curve: str = ""  # equal for experiments that differ in their share of the pictures only


def measure(results: Results, scores: Sequence[Score]) -> tuple[Effect, ...]:
    """Each experiment of the config that was trained, in its order; nothing where there is one only."""
    experiments = results.settings["train"]["experiments"]
    groups: dict[str, list[str]] = {}
    for name in experiments:
        if results.metrics(name).get("steps"):
            groups.setdefault(settings.repeated(name, experiments), []).append(name)
    if len(groups) < 2 and not any(len(names) > 1 for names in groups.values()):
        return ()
    effects = []
    for benchmark, form in dict.fromkeys((score.benchmark, score.name_form) for score in scores):
        found = {
            score.experiment: score.top1 for score in scores if (score.benchmark, score.name_form) == (benchmark, form)
        }
        values = {group: [found[name] for name in names if name in found] for group, names in groups.items()}
        first = next(iter(values))
        for group, own in values.items():
            if own:
                facts = results.metrics(group)
                effects.append(
                    Effect(
                        group,
                        benchmark,
                        form,
                        ", ".join(f"{key} {value}" for key, value in experiments[group].items()),
                        len(own),
                        facts.get("pictures") or 0,
                        facts.get("flops") or 0,
                        estimate(own),
                        None if group == first or not values[first] else difference(own, values[first]),
                        ", ".join(f"{key} {value}" for key, value in experiments[group].items() if key != SHARE),
                    )
                )
    return tuple(effects)


def estimate(values: Sequence[float]) -> Estimate:
    """The mean, with Student's interval."""
    if len(values) < 2:
        return Estimate(mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(mean(values), mean(values) - half, mean(values) + half)


def difference(own: Sequence[float], other: Sequence[float]) -> Estimate:
    """The difference of two means, with Welch's interval (unequal variances)."""
    value = mean(own) - mean(other)
    if len(own) < 2 or len(other) < 2:
        return Estimate(value)
    parts = [stdev(each) ** 2 / len(each) for each in (own, other)]
    if not any(parts):
        return Estimate(value, value, value)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (own, other), strict=True))
    half = float(stats.t.ppf(0.975, freedom)) * sqrt(sum(parts))
    return Estimate(value, value - half, value + half)
