"""Accuracy: what the stored predictions say. Prompts and the headline are chosen on dev, reported on test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import read_json
from kg2clip.report.results import Results, Row, check_columns
from kg2clip.settings import OWN, OWN_TEXTS

SHOWN_CLASSES = 10  # at each end
SHOWN_PAIRS = 15


@dataclass(frozen=True)
class Score:
    """One model on one benchmark with one form of the names: the prompts chosen on dev, the metrics on test."""

    experiment: str
    benchmark: str
    name_form: str
    prompts: str
    pictures: int
    classes: int  # of which test has pictures
    metrics: dict[str, Row]  # as in tables.SCORES: value, low, high
    dev_top1: float | None
    candidates: int  # classes to choose among

    @property
    def chance(self) -> float:
        """Top-1 of guessing evenly among the classes."""
        return 1 / self.candidates

    @property
    def is_probe(self) -> bool:
        """Whether the classes were told by pictures of dev and not by names."""
        return self.name_form.endswith("-shot")

    @property
    def top1(self) -> float:
        """Top-1 accuracy on test, 0 to 1."""
        return float(self.metrics["top1"]["value"])

    def value(self, metric: str) -> float | None:
        """A metric on test; None where it was not measured."""
        return self.metrics[metric]["value"] if metric in self.metrics else None


@dataclass(frozen=True)
class GridRow:
    """One line of the whole grid, chosen or not."""

    experiment: str
    benchmark: str
    name_form: str
    prompts: str
    chosen: bool
    dev: dict[str, float]
    test: dict[str, float]


@dataclass(frozen=True)
class ClassScore:
    """Top-1 of one class, with the number of training pictures that show its entity (null if it is not known)."""

    name: str
    scientific_name: str | None
    right: int
    pictures: int
    training: int | None

    @property
    def recall(self) -> float:
        """Right ones among the pictures of the class."""
        return self.right / self.pictures


@dataclass(frozen=True)
class Confusion:
    """Pictures of `true` that were called `predicted`."""

    true: str
    predicted: str
    count: int
    pictures: int
    same_genus: bool | None


@dataclass(frozen=True)
class Detail:
    """The classes of one benchmark under the headline's model."""

    score: Score
    classes: tuple[ClassScore, ...]  # best first
    confusions: tuple[Confusion, ...]
    mistakes: int
    within_genus: int | None
    untrained: tuple[str, ...]

    @property
    def best(self) -> tuple[ClassScore, ...]:
        """The classes that are recognised best; all of them where there are few."""
        return self.classes if len(self.classes) <= 2 * SHOWN_CLASSES else self.classes[:SHOWN_CLASSES]

    @property
    def worst(self) -> tuple[ClassScore, ...]:
        """The classes with mistakes that are recognised worst, the worst first; none where `best` has all."""
        last = () if len(self.classes) <= 2 * SHOWN_CLASSES else self.classes[: -SHOWN_CLASSES - 1 : -1]
        return tuple(entry for entry in last if entry.right < entry.pictures)


@dataclass(frozen=True)
class Accuracy:
    """All that the report says about accuracy."""

    scores: tuple[Score, ...]
    grid: tuple[GridRow, ...]
    headline: Score | None
    details: tuple[Detail, ...]
    without_dev: tuple[str, ...]


def measure(results: Results) -> Accuracy:
    """Gather scores from `evaluation/scores.parquet` and classes from the stored predictions.

    Raises:
        UserError: no scores for a model and benchmark of the config.
    """
    if not results.benchmarks or not results.experiments:
        return Accuracy((), (), None, (), ())
    rows = results.rows(
        "SELECT * FROM scores WHERE nameForm <> 'captions' "
        "ORDER BY experiment, benchmark, nameForm, prompts, split, metric"
    )
    grid = _grid(rows, results)
    scores = _scores(rows, results)
    details = []
    for benchmark, folder in results.benchmarks.items():
        # Models of others stand beside ours and never for it.
        if best := _best([s for s in scores if s.benchmark == benchmark and s.experiment in results.experiments]):
            details.append(_detail(results, best, folder))
    return Accuracy(
        scores,
        grid,
        details[0].score if details else None,
        tuple(details),
        tuple(
            detail.score.benchmark
            for detail in details
            if not any(row.dev for row in grid if row.benchmark == detail.score.benchmark)
        ),
    )


def _grid(rows: Sequence[Row], results: Results) -> tuple[GridRow, ...]:
    lines: dict[tuple[str, str, str, str], GridRow] = {}
    for row in rows:
        key = (row["experiment"], row["benchmark"], row["nameForm"], row["prompts"])
        line = lines.setdefault(key, GridRow(*key, chosen=bool(row["chosen"]), dev={}, test={}))
        if row["split"] in ("dev", "test"):
            (line.dev if row["split"] == "dev" else line.test)[row["metric"]] = row["value"]
    known = [
        line for line in lines.values() if line.experiment in results.models and line.benchmark in results.benchmarks
    ]
    models, benchmarks = results.models, list(results.benchmarks)
    return tuple(
        sorted(
            known,
            key=lambda g: (benchmarks.index(g.benchmark), models.index(g.experiment), g.name_form, g.prompts),
        )
    )


def _scores(rows: Sequence[Row], results: Results) -> tuple[Score, ...]:
    scores = []
    for benchmark, folder in results.benchmarks.items():
        classes: list[Row] = []
        for experiment in () if is_retrieval(benchmark, folder) else results.models:
            mine = [
                row
                for row in rows
                if row["benchmark"] == benchmark and row["experiment"] == experiment and row["chosen"]
            ]
            forms = {row["nameForm"] for row in mine if row["split"] == "test" and row["metric"] == "top1"}
            if not forms and benchmark in OWN:
                continue  # a dataset of few pictures holds none out
            if not forms:
                path = results.folder / "evaluation" / "scores.parquet"
                raise UserError(
                    f"{path} holds no test score of {experiment} on {benchmark}. "
                    f"Gather it again with: snakemake --force {path}"
                )
            classes = classes or read_classes(folder, results)
            told = [
                _score([row for row in mine if row["nameForm"] == form], _candidates(classes, form))
                for form in sorted(forms)
            ]
            scores += sorted(told, key=lambda score: score.is_probe)
    return tuple(scores)


def _candidates(classes: Sequence[Row], form: str) -> int:
    """The classes that have a name in a form; all, where the form is none of the two plain ones."""
    column = {"scientific": "scientificName", "common": "vernacularName"}.get(form)
    return sum(bool(entry[column]) for entry in classes) if column else len(classes)


def _score(rows: Sequence[Row], candidates: int) -> Score:
    test = {row["metric"]: row for row in rows if row["split"] == "test"}
    dev = {row["metric"]: row["value"] for row in rows if row["split"] == "dev"}
    top = test["top1"]
    return Score(
        top["experiment"],
        top["benchmark"],
        top["nameForm"],
        top["prompts"],
        top["pictures"],
        top["classes"],
        test,
        dev.get("top1"),
        max(candidates, top["classes"]),
    )


def _best(scores: Sequence[Score]) -> Score | None:
    # Without a dev split nothing may be chosen: the first experiment stands, as the config orders them.
    judged = [score for score in scores if score.dev_top1 is not None]
    return max(judged, key=lambda score: score.dev_top1 or 0.0) if judged else next(iter(scores), None)


def _detail(results: Results, score: Score, folder: Path) -> Detail:
    path = results.predictions(score.experiment, score.benchmark)
    check_columns(path, tables.PREDICTIONS)
    labels, predicted = _predictions(results, path, score)
    classes = read_classes(folder, results)
    if len(labels) and max(labels.max(), predicted.max()) >= len(classes):
        raise UserError(f"{path} knows more classes than {folder}. Evaluate again with: snakemake --force {path}")
    totals, right = Counter(labels.tolist()), Counter(labels[labels == predicted].tolist())
    per_class = [
        ClassScore(
            _name(classes[label]), classes[label]["scientificName"], right[label], total, classes[label]["training"]
        )
        for label, total in sorted(totals.items())
    ]
    wrong = labels != predicted
    pairs = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    genera = [entry["genus"] for entry in classes]
    known = all(genera)
    return Detail(
        score,
        tuple(sorted(per_class, key=lambda entry: (-entry.recall, -entry.pictures, entry.name))),
        tuple(
            Confusion(
                _name(classes[true]),
                _name(classes[other]),
                count,
                totals[true],
                _equal(genera[true], genera[other]),
            )
            for (true, other), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_PAIRS]
        ),
        int(wrong.sum()),
        sum(count for (true, other), count in pairs.items() if genera[true] == genera[other]) if known else None,
        tuple(_name(entry) for entry in classes if entry["training"] == 0),
    )


def _predictions(results: Results, path: Path, score: Score) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    columns = results.database.execute(
        "SELECT label, top[1] AS predicted FROM read_parquet(?) "
        "WHERE split = 'test' AND nameForm = ? AND prompts = ? ORDER BY key",
        [str(path), score.name_form, score.prompts],
    ).fetchnumpy()
    return np.asarray(columns["label"], dtype=np.int64), np.asarray(columns["predicted"], dtype=np.int64)


def read_classes(folder: Path, results: Results) -> list[Row]:
    """The classes of a benchmark in label order: entityID, names, `genus` and `training`, the entity's kept pictures.

    Those of the dataset's own test, whose place is the manifest, are all entities that it shows, by their identifiers.
    The genus is that of the graph, by its identifier: Prunella is a genus of birds and one of plants.

    Raises:
        UserError: the folder has neither classes.json nor classnames.txt.
    """
    if folder.suffix == ".parquet":
        classes = results.rows(
            "SELECT entityID, scientificName, vernacularName FROM (SELECT DISTINCT unnest(entityIDs) AS entityID "
            "FROM dataset) LEFT JOIN entities USING (entityID) ORDER BY entityID"
        )
    elif (folder / "classes.json").is_file():
        classes = [
            {"entityID": None, "scientificName": None, "vernacularName": None, **e}
            for e in read_json(folder / "classes.json")
        ]
    elif (folder / "classnames.txt").is_file():
        # Not splitlines: it also cuts at rare separators inside a name and shifts every label after it.
        names = (folder / "classnames.txt").read_text(encoding="utf-8").rstrip().split("\n")
        classes = [{"entityID": None, "scientificName": None, "vernacularName": name.strip()} for name in names]
    else:
        raise UserError(
            f"{folder} has no classnames.txt, so it is no benchmark. Correct evaluate.benchmarks in the config"
        )
    database = results.database
    counts = dict(
        database.execute(
            "SELECT entityID, count(*) FROM (SELECT unnest(entityIDs) AS entityID FROM dataset WHERE split = 'train') "
            "GROUP BY ALL"
        ).fetchall()
    )
    genera = dict(
        database.execute(
            "SELECT entityID, list_filter(ancestors, lambda a: a.taxonRank = 'genus')[1].entityID FROM entities"
        ).fetchall()
    )
    return [
        {
            **entry,
            "genus": genera.get(entry["entityID"]),
            "training": counts.get(entry["entityID"], 0) if entry["entityID"] else None,
        }
        for entry in classes
    ]


def is_retrieval(benchmark: str, folder: Path) -> bool:
    """Whether a benchmark has captions instead of classes."""
    kind = folder / "dataset_type.txt"
    told = kind.is_file() and kind.read_text(encoding="utf-8").strip().lower() == "retrieval"
    return benchmark == OWN_TEXTS or told


def _equal(one: str | None, other: str | None) -> bool | None:
    return one == other if one and other else None


def _name(entry: Row) -> str:
    scientific, common = entry["scientificName"], entry["vernacularName"]
    return f"{scientific} ({common})" if scientific and common else scientific or common or "?"
