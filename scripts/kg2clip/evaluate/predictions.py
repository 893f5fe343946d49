"""Predictions of a model on a benchmark, as rows of the stored tables."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from kg2clip import tables
from kg2clip.evaluate.benchmark import Benchmark, Picture
from kg2clip.evaluate.calibration import fit_temperature
from kg2clip.evaluate.hierarchy import Ladder
from kg2clip.evaluate.probe import Probe, draw
from kg2clip.evaluate.zeroshot import BEST, Classifier, Floats, best_labels

CALIBRATED_ON = 2000  # pictures
CALIBRATED_CELLS = 50_000_000  # their cosines with all classes: 200 MB


@dataclass(frozen=True)
class Split:
    """Pictures of a split with a model's embeddings of them."""

    name: str
    keys: list[str]
    labels: NDArray[np.int32]  # [n]
    embedded: Floats  # [n, d], normalised
    met: NDArray[Any]  # [n]: bool, or None where it is not known (seen.met_pictures)

    @classmethod
    def of(cls, name: str, pictures: Sequence[Picture], embedded: Floats, met: Container[str] | None) -> Split:
        """Keys and labels of the pictures, beside their embeddings; `met` holds those that the harvest met."""
        keys = [picture.key for picture in pictures]
        labels = np.array([picture.label for picture in pictures], np.int32)
        known = [None if met is None else f"{name}/{key}" in met for key in keys]
        return cls(name, keys, labels, embedded, np.array(known, object))

    def only(self, wanted: NDArray[Any]) -> Split:
        """Some of the pictures, by a mask or by their places."""
        keys = np.array(self.keys, object)[wanted].tolist()
        return Split(self.name, keys, self.labels[wanted], self.embedded[wanted], self.met[wanted])


@dataclass(frozen=True)
class Classes:
    """What is known of a benchmark's classes."""

    ladder: Ladder
    kingdoms: list[str | None]
    seen: list[bool | None]

    @classmethod
    def of(cls, benchmark: Benchmark, seen: list[bool | None]) -> Classes:
        """The benchmark's classes, with what the dataset shows of them."""
        return cls(Ladder(benchmark.ranks), [groups.get("kingdom") for groups in benchmark.ranks], seen)


def zero_shot(
    splits: Sequence[Split], form: str, prompts: str, classifier: Classifier, classes: Classes, scale: float
) -> Iterator[pa.Table]:
    """Rows for a form of names and a set of prompts; pictures of classes without a name in it are left out."""
    named = [split.only(np.isin(split.labels, classifier.labels)) for split in splits]
    temperature = next((fitted(split, classifier, scale) for split in named if split.name == "dev"), None)
    scales = [scale, scale / temperature] if temperature else [scale]
    for split in named:
        labels, cosines, sure = best_labels(split.embedded, classifier, scales=scales)
        calibrated = sure[:, 1] if temperature else None
        yield _table(split, form, prompts, classes, labels, cosines, sure[:, 0], calibrated, temperature)


def fitted(dev: Split, classifier: Classifier, scale: float) -> float | None:
    """The temperature fitted on the dev split, at most 2,000 pictures of it; None where it has none."""
    if not len(dev.labels):
        return None
    most = min(CALIBRATED_ON, max(1, CALIBRATED_CELLS // len(classifier.labels)))
    some = slice(None, None, -(-len(dev.labels) // most))
    places = np.searchsorted(classifier.labels, dev.labels[some])
    return fit_temperature(classifier.cosines(dev.embedded[some]), places, scale)


def few_shot(
    splits: Sequence[Split], shots: Sequence[int], classes: Classes, seed: int, device: torch.device
) -> Iterator[pa.Table]:
    """Rows for the test split of linear probes that saw some pictures of each class from dev; none without a dev split.

    A number of pictures that some class has too few for is left out.
    """
    by_name = {split.name: split for split in splits}
    dev, test = by_name.get("dev"), by_name["test"]
    for count in sorted(set(shots)) if dev else ():
        assert dev
        drawn = draw(dev.keys, dev.labels, len(classes.seen), count, seed)
        if drawn is None:
            continue
        shown, rest = dev.only(drawn), dev.only(np.delete(np.arange(len(dev.keys)), drawn))
        held_out = (rest.embedded, rest.labels) if len(rest.keys) else None
        probe = Probe(shown.embedded, shown.labels, len(classes.seen), held_out, device)
        labels, logits, sure = probe.best(test.embedded, BEST)
        yield _table(test, f"{count}-shot", "linear probe", classes, labels, logits, sure, None, None)


def _table(
    split: Split,
    form: str,
    prompts: str,
    classes: Classes,
    labels: NDArray[np.int32],
    scores: Floats,
    confidence: Floats,
    calibrated: Floats | None,
    temperature: float | None,
) -> pa.Table:
    count = len(split.keys)
    heights = classes.ladder.heights(split.labels, labels) if classes.ladder.known and count else None
    columns: dict[str, Any] = {
        "key": split.keys,
        "split": [split.name] * count,
        "label": split.labels,
        "nameForm": [form] * count,
        "prompts": [prompts] * count,
        "top": _lists(labels),
        "scores": _lists(scores),
        "heights": pa.nulls(count) if heights is None else _lists(heights),
        "confidence": confidence,
        "calibrated": pa.nulls(count) if calibrated is None else calibrated,
        "temperature": [temperature] * count,
        "kingdom": [classes.kingdoms[label] for label in split.labels],
        "seen": [classes.seen[label] for label in split.labels],
        "met": split.met.tolist(),
    }
    return pa.table({name: pa.array(columns[name], type=tables.PREDICTIONS.field(name).type) for name in columns})


def _lists(values: NDArray[Any]) -> pa.Array:
    """Rows of a matrix as lists, without making one of each."""
    return pa.ListArray.from_arrays(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1], values.ravel())
