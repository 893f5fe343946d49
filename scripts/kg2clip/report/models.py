"""Models beside each other: retrieval, groups of taxa, paired comparisons, and what others published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import mean
from typing import Any

import yaml

from kg2clip.report.accuracy import Accuracy
from kg2clip.report.results import Results, Row
from kg2clip.settings import OWN, PUBLISHED

RECALLS = ("r1", "r5", "r10")
EXAMPLES = 6  # of names that are shared or cut off


@dataclass(frozen=True)
class Retrieval:
    """Recall of one model on one benchmark in one direction."""

    experiment: str
    benchmark: str
    direction: str
    metrics: dict[str, Row]  # r1, r5, r10 as in tables.SCORES


@dataclass(frozen=True)
class GroupScores:
    """Scores of a group of taxa under each model: as in tables.GROUP_SCORES, by metric."""

    benchmark: str
    grouping: str  # kingdom, seen
    group: str
    experiment: str
    pictures: int
    classes: int
    metrics: dict[str, Row]


@dataclass(frozen=True)
class Figure:
    """A model's figure on a published set; without a source it is ours."""

    model: str
    percent: float
    source: Row | None  # title, url


@dataclass(frozen=True)
class Beside:
    """A benchmark of ours with what was published on the same set, best first."""

    benchmark: str
    title: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Names:
    """What the names of a benchmark's classes are like in one form, under the model that cuts most of them off."""

    benchmark: str
    form: str
    classes: int
    nameless: int
    unscored: int  # test pictures of classes without a name
    shared: int  # classes whose name is another's too, as the model sees it
    cut: int  # classes with a text that is longer than the model reads
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Models:
    """All that the report says about several models."""

    retrievals: tuple[Retrieval, ...]
    groups: tuple[GroupScores, ...]
    comparisons: tuple[Row, ...]  # as in tables.COMPARISONS
    published: tuple[Beside, ...]
    names: tuple[Names, ...]


def measure(results: Results, accuracy: Accuracy) -> Models:
    """Gather from the tables of `evaluation/` and from config/published.yaml."""
    if not results.benchmarks or not results.experiments:
        return Models((), (), (), (), ())
    retrievals = _retrievals(results)
    comparisons = results.rows('SELECT * FROM comparisons ORDER BY benchmark, metric, "first", "second"')
    published = _published(results, accuracy, retrievals)
    return Models(retrievals, _groups(results), tuple(comparisons), published, _names(results))


def _names(results: Results) -> tuple[Names, ...]:
    """The audit of names that evaluation wrote into its provenance, of sets that are in the config still."""
    found: dict[tuple[str, str], Names] = {}
    for record in results.provenance():
        benchmark = OWN[0] if record.get("step") == "evaluate_own" else str(record.get("benchmark"))
        counts = record.get("counts") or {}
        for form, told in (counts.get("forms") or {}).items() if benchmark in results.benchmarks else ():
            examples = [str(name) for name in (*told["sharedNames"], *told["truncatedNames"])]
            names = Names(
                benchmark,
                form,
                counts["classes"],
                told["classesWithoutName"],
                told["picturesNotScored"].get("test", 0),
                told["classesWithSharedName"],
                told["classesWithTruncatedText"],
                tuple(examples[:EXAMPLES]),
            )
            if names.cut >= found.get((benchmark, form), names).cut:
                found[benchmark, form] = names
    order = list(results.benchmarks)
    return tuple(sorted(found.values(), key=lambda each: (order.index(each.benchmark), each.form)))


def _retrievals(results: Results) -> tuple[Retrieval, ...]:
    rows = results.rows(
        "SELECT * FROM scores WHERE split = 'test' AND nameForm = 'captions' ORDER BY benchmark, experiment, prompts"
    )
    parts = groupby(rows, key=lambda row: (row["experiment"], row["benchmark"], row["prompts"]))
    found = [Retrieval(*key, {row["metric"]: row for row in part}) for key, part in parts]
    return tuple(sorted(found, key=lambda each: (each.benchmark, results.models.index(each.experiment))))


def _groups(results: Results) -> tuple[GroupScores, ...]:
    rows = results.rows('SELECT * FROM groups ORDER BY benchmark, grouping, "group", experiment')
    found = []
    for _, part in groupby(rows, key=lambda row: (row["benchmark"], row["grouping"], row["group"], row["experiment"])):
        metrics = {row["metric"]: row for row in part}
        one = next(iter(metrics.values()))
        key = (one["benchmark"], one["grouping"], one["group"], one["experiment"])
        found.append(GroupScores(*key, one["pictures"], one["classes"], metrics))
    return tuple(found)


def _published(results: Results, accuracy: Accuracy, retrievals: Sequence[Retrieval]) -> tuple[Beside, ...]:
    wanted: dict[str, str] = results.settings["evaluate"]["published"]
    if not wanted:
        return ()
    known: dict[str, Any] = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    found = []
    for benchmark, name in wanted.items():
        entry = known["sets"][name]
        others = [
            Figure(model, value, known["sources"][source])
            for source, figures in entry.items()
            if source in known["sources"]
            for model, value in figures.items()
        ]
        ours = _recalls(benchmark, retrievals) if "metric" in entry else _accuracies(benchmark, accuracy)
        figures = sorted([*ours, *others], key=lambda each: -each.percent)
        found.append(Beside(benchmark, entry["title"], tuple(figures)))
    return tuple(found)


def _accuracies(benchmark: str, accuracy: Accuracy) -> list[Figure]:
    """Top-1 of each model with each form of names, prompts chosen on dev; probes are no zero-shot."""
    return [
        Figure(f"{score.experiment}, {score.name_form} names", 100 * score.top1, None)
        for score in accuracy.scores
        if score.benchmark == benchmark and not score.is_probe
    ]


def _recalls(benchmark: str, retrievals: Sequence[Retrieval]) -> list[Figure]:
    own = [each for each in retrievals if each.benchmark == benchmark]
    names = dict.fromkeys(each.experiment for each in own)
    return [
        Figure(name, 100 * mean(each.metrics["r1"]["value"] for each in own if each.experiment == name), None)
        for name in names
    ]
