"""The table kinds.csv: kinds of organisms, the NCBI taxon of each, and the cut-outs that show it.

A kind is a species where the cut-out shows one, else the smallest taxon that is certain; no kind stands below another.
Of each kind with several cut-outs one is held out; it was chosen by eye to be another individual than those used for
training (mirrored copies of one cut-out are not in the table). Several values in a cell are joined by `|`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from kg2clip.mirror.tuxpaint.cutouts import is_installed, measure_colours

KINDS_FILE = Path(__file__).with_name("kinds.csv")


@dataclass(frozen=True)
class Kind:
    """A kind of organism of the collection; `taxon_id` is NCBI's.

    `cutouts` are files for training below the package's folder of stamps, `held_out` the one kept for tests, empty
    where there is none; `cartoon` names those among them that are drawings.
    """

    scientific_name: str
    taxon_id: int
    vernacular_name: str
    aliases: tuple[str, ...]
    synonyms: tuple[str, ...]
    description: str
    group: str
    cutouts: tuple[str, ...]
    held_out: str
    cartoon: tuple[str, ...]

    @property
    def all_cutouts(self) -> tuple[str, ...]:
        """The files of the kind, the held-out one last."""
        return (*self.cutouts, self.held_out) if self.held_out else self.cutouts

    @cached_property
    def colours(self) -> tuple[str, ...]:
        """The colour words that cover most of the training cut-outs, as measured; none where they are not installed."""
        return measure_colours(self.cutouts) if is_installed() else ()


@cache
def _all() -> tuple[Kind, ...]:
    with KINDS_FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Kind(
                scientific_name=row["scientificName"],
                taxon_id=int(row["taxonID"]),
                vernacular_name=row["vernacularName"],
                aliases=_split(row["aliases"]),
                synonyms=_split(row["synonyms"]),
                description=row["description"],
                group=row["group"],
                cutouts=_split(row["cutouts"]),
                held_out=row["heldOut"],
                cartoon=_split(row["cartoon"]),
            )
            for row in csv.DictReader(file)
        )


def species() -> list[Kind]:
    """List the kinds in the order of kinds.csv. The table needs no package; the pictures do."""
    return list(_all())


def has_held_out(kind: Kind) -> bool:
    """Say whether a cut-out of the kind is kept for tests."""
    return bool(kind.held_out)


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split("|") if part.strip())
