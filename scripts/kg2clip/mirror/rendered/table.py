"""The tables species.csv and traits.csv, read and checked.

species.csv has one row a species; traits.csv is tidy: one row a value, each with the work that it was taken from.
Several values of one trait are joined by `|`, in the order of the body or of their weight.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kg2clip.mirror.rendered.colours import COLOURS

SPECIES_FILE = Path(__file__).with_name("species.csv")
TRAITS_FILE = Path(__file__).with_name("traits.csv")


@dataclass(frozen=True)
class Trait:
    """One visual fact, in plain words, and the reference work that states it."""

    value: str
    source: str


@dataclass(frozen=True)
class Species:
    """A species of the collection; `taxon_id` is NCBI's, `group` names its body plan."""

    scientific_name: str
    taxon_id: int
    vernacular_name: str
    aliases: tuple[str, ...]
    synonyms: tuple[str, ...]
    description: str
    group: str
    traits: Mapping[str, Trait]

    @property
    def colours(self) -> tuple[str, ...]:
        """The colour words that describe the whole organism, main colour first."""
        return self.words("colour")

    def words(self, trait: str) -> tuple[str, ...]:
        """Return the values of a trait in order; none where the trait is not recorded."""
        return _split(self.traits[trait].value) if trait in self.traits else ()

    def word(self, trait: str, default: str = "") -> str:
        """Return the first value of a trait."""
        return next(iter(self.words(trait)), default)

    def count(self, trait: str, default: int = 0) -> int:
        """Return a trait that is a number of parts."""
        return int(self.word(trait, str(default)))


@cache
def _all() -> tuple[Species, ...]:
    traits: dict[str, dict[str, Trait]] = {}
    for row in _rows(TRAITS_FILE):
        traits.setdefault(row["scientificName"], {})[row["trait"]] = Trait(row["value"], row["source"])
    found = tuple(_species(row, traits.pop(row["scientificName"])) for row in _rows(SPECIES_FILE))
    if traits:
        raise ValueError(f"{TRAITS_FILE} describes species that {SPECIES_FILE.name} lacks: {sorted(traits)}")
    return found


def species() -> list[Species]:
    """List the species in the order of species.csv."""
    return list(_all())


def _species(row: Mapping[str, str], traits: Mapping[str, Trait]) -> Species:
    one = Species(
        scientific_name=row["scientificName"],
        taxon_id=int(row["taxonID"]),
        vernacular_name=row["vernacularName"],
        aliases=_split(row["aliases"]),
        synonyms=_split(row["synonyms"]),
        description=row["description"],
        group=row["group"],
        traits=traits,
    )
    if unknown := [word for word in one.colours if word not in COLOURS]:
        raise ValueError(f"{TRAITS_FILE}: {one.scientific_name} has colours outside the vocabulary: {unknown}")
    return one


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())
