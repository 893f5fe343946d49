"""Placeholders: what a host shows in place of a picture, and what is therefore found for many unrelated things."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kg2clip.curate.copies import Fingerprints, group

NEARLY = 10  # PDQ bits in which two of one placeholder differ, encoded anew or scaled; also where quality is low

Lineages = Callable[[Collection[str]], Mapping[str, set[str]]]


def find_placeholders(
    prints: Fingerprints, entities: pd.Series[Any], lineages: Lineages, least: int
) -> NDArray[np.bool_]:
    """Which pictures are, with their nearly equal copies, found for at least so many unrelated entities.

    Of related entities, where one lies below the other, only the lowest count: a picture that stands for a species,
    its genus and its family is none. A plate that shows many species is dropped too: it would teach the name of each.

    Args:
        prints: fingerprints of n pictures.
        entities: n lists of the entities for which they were found, or null.
        lineages: gives the ancestors of entities.
        least: unrelated entities of a placeholder.
    """
    everything = replace(prints, telling=np.ones(len(prints), bool))
    copies = group(everything, np.arange(len(prints)), NEARLY).survivor
    shown = pd.DataFrame({"copies": copies, "entity": entities.to_numpy(object)}).explode("entity").dropna()
    shown = shown.drop_duplicates()
    shown = shown[shown.groupby("copies")["entity"].transform("size") >= least]
    above = lineages(set(shown["entity"]))
    found = [
        leader
        for leader, names in shown.groupby("copies")["entity"]
        if len(set(names) - set().union(*(above.get(name, set()) for name in names))) >= least
    ]
    return np.isin(copies, np.array(found, np.int64))


def ancestors(table: Path, entities: Collection[str]) -> dict[str, set[str]]:
    """The ancestors of some entities, from knowledge/entities.parquet."""
    if not entities:
        return {}
    rows = pq.read_table(
        table, columns=["entityID", "ancestors"], filters=[("entityID", "in", sorted(entities))]
    ).to_pylist()
    return {row["entityID"]: {one["entityID"] for one in row["ancestors"] or ()} for row in rows}
