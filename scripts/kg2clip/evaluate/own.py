"""The dataset's own held-out pictures as a benchmark, read where they lie: nothing is copied, a takedown holds too.

Its split val is dev, its test is test. Of the same sources, queries and labels as what models learn from, they say how
well a model knows pictures like those, not how well it does elsewhere: figures on them are optimistic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from kg2clip import tables
from kg2clip.evaluate.benchmark import Benchmark, Picture, describe
from kg2clip.evaluate.names import RANKS
from kg2clip.evaluate.zeroshot import Floats

HELD_OUT = {"val": "dev", "test": "test"}  # splits of the dataset, and what they are to a benchmark
CAPTIONS = 5  # of a picture, at most
COLUMNS = ["key", "split", "shard", "offset", "size", "entityIDs", "texts"]


@dataclass(frozen=True)
class Own:
    """Held-out pictures by split; those that show one entity have its label, those with texts of their own captions.

    Attributes:
        benchmark: the classes: all entities that the dataset shows, in the order of their identifiers.
        pictures: by split; label -1 and no captions where there are none.
    """

    benchmark: Benchmark
    pictures: dict[str, list[Picture]]

    def labelled(self, split: str, embedded: Floats) -> tuple[list[Picture], Floats]:
        """The pictures that show one entity, with their embeddings."""
        return _only(self.pictures[split], embedded, [picture.label >= 0 for picture in self.pictures[split]])

    def captioned(self, split: str, embedded: Floats) -> tuple[list[Picture], Floats]:
        """The pictures with captions, with their embeddings."""
        return _only(self.pictures[split], embedded, [bool(picture.captions) for picture in self.pictures[split]])


def load(manifest: Path, entities: Path) -> Own:
    """Read dataset/manifest.parquet and knowledge/entities.parquet.

    Raises:
        UserError: a table is missing or torn.
    """
    shown = sorted(_shown(manifest))
    known = {row["entityID"]: row for row in _entities(entities, set(shown))}
    labels = {entity: label for label, entity in enumerate(shown)}
    above = {entity: {each["entityID"] for each in row["ancestors"] or ()} for entity, row in known.items()}
    found: dict[str, list[Picture]] = {}
    for held, split in HELD_OUT.items():
        wanted = ds.field("split") == held
        rows = sorted(ds.dataset(manifest).to_table(COLUMNS, filter=wanted).to_pylist(), key=lambda row: row["key"])
        captions = own_captions([row["texts"] or [] for row in rows])
        pictures = [
            _picture(row, manifest.parent, labels.get(lowest(row["entityIDs"] or (), above) or "", -1), told)
            for row, told in zip(rows, captions, strict=True)
        ]
        if pictures:
            found[split] = pictures
    told = describe([_class(entity, known.get(entity)) for entity in shown])
    return Own(Benchmark(manifest.parent, len(shown), told.names, tuple(found), told.ranks, told.entities), found)


def lowest(shown: Sequence[str], above: Mapping[str, Collection[str]]) -> str | None:
    """The entity of a picture that lies below all others that it is said to show; None where there is no such one."""
    ids = set(shown)
    below = [entity for entity in ids if not any(entity in above.get(other, ()) for other in ids - {entity})]
    return below[0] if len(below) == 1 else None


def own_captions(texts: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[str, ...]]:
    """For each picture its texts from the web, the most drawn first, without those that another picture has too.

    Names and other texts of the graph are those of all pictures of an entity: none of them finds one picture.
    """
    own = [
        dict.fromkeys(
            " ".join(each["text"].split())
            for each in sorted(of_picture, key=lambda text: -(text["weight"] or 0.0))
            if each["kind"] == tables.WEB and (each["text"] or "").strip()
        )
        for of_picture in texts
    ]
    counts = Counter(text for of_picture in own for text in of_picture)
    return [tuple(text for text in of_picture if counts[text] == 1)[:CAPTIONS] for of_picture in own]


def _picture(row: Mapping[str, Any], folder: Path, label: int, captions: tuple[str, ...]) -> Picture:
    return Picture(row["key"], label, folder / row["shard"], row["offset"], row["size"], captions)


def _only(pictures: Sequence[Picture], embedded: Floats, wanted: Sequence[bool]) -> tuple[list[Picture], Floats]:
    return [picture for picture, is_one in zip(pictures, wanted, strict=True) if is_one], embedded[np.array(wanted)]


def _shown(manifest: Path) -> set[str]:
    tables.count(manifest)  # says when it is missing or torn
    shown: set[str] = set()
    for batch in ds.dataset(manifest).to_batches(columns=["entityIDs"]):
        shown.update(batch["entityIDs"].flatten().unique().to_pylist())
    return shown


def _entities(path: Path, wanted: set[str]) -> Iterator[dict[str, Any]]:
    columns = ["entityID", "scientificName", "vernacularName", "ancestors"]
    return (row for row in tables.read_rows(path, columns) if row["entityID"] in wanted)


def _class(entity: str, row: Mapping[str, Any] | None) -> dict[str, str | None]:
    """A class as a row of classes.json; of two groups of one rank above it the nearer."""
    if row is None:
        return {"entityID": entity}
    above = {each["taxonRank"]: each["scientificName"] for each in reversed(row["ancestors"] or ())}
    names = {key: row[key] for key in ("scientificName", "vernacularName")}
    return {"entityID": entity} | names | {rank: above.get(rank) for rank in RANKS}
