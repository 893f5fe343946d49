"""What the harvest knows of a benchmark: classes that the dataset shows, and pictures that it met on the web."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.dataset as ds

from kg2clip import tables
from kg2clip.evaluate.benchmark import Benchmark

TRAIN = "train"  # the split of the dataset that models see


def seen_classes(benchmark: Benchmark, dataset: Path, entities: Path) -> list[bool | None]:
    """For each class whether a picture that models train on shows its entity; None where the graph knows no such class.

    A class is found by its entityID, else by its scientific name where only one entity bears it.
    """
    shown = _shown(dataset)
    names = tables.read(entities, ["entityID", "scientificName"]).to_pylist()
    counts = Counter(row["scientificName"] for row in names)
    by_name = {row["scientificName"]: row["entityID"] for row in names if counts[row["scientificName"]] == 1}
    scientific: Sequence[str | None] = benchmark.names.get("scientific") or [None] * benchmark.classes
    found = [entity or by_name.get(name) for entity, name in zip(benchmark.entities, scientific, strict=True)]
    known = {row["entityID"] for row in names}
    return [entity in shown if entity in known else None for entity in found]


def met_pictures(decisions: Path, benchmark: str) -> set[str]:
    """The pictures (split/key) of a benchmark that the harvest met: themselves, copies, others of their observation.

    They left the dataset, so a model of ours has not seen them. Models of others may have, for they are on the web.
    """
    wanted = ds.field("benchmark") == benchmark
    found = ds.dataset(decisions).to_table(["benchmarkKey"], filter=wanted)["benchmarkKey"]
    return {str(key) for key in found.unique().to_pylist()}


def _shown(dataset: Path) -> set[str]:
    """The entities that pictures of the split train show: the others are held out, no model of ours has seen them."""
    shown: set[str] = set()
    tables.count(dataset)  # says when it is missing or torn
    trained = ds.dataset(dataset).scanner(["entityIDs"], filter=ds.field("split") == TRAIN)
    for batch in trained.to_batches():
        shown.update(batch["entityIDs"].flatten().unique().to_pylist())
    return shown
