"""The tree behind the coverage: taxa as nested arcs of a circle, a ring for each rank that tells some apart."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kg2clip.report.coverage import Taxon
from kg2clip.report.results import Row

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
ENTITY = "entity"  # the outermost ring
MAX_RINGS = 5
MAX_ARCS = 900  # more cannot be told apart on a screen


@dataclass(frozen=True)
class Arc:
    """One taxon, or an entity, with its part of the circle: `start` to `end` of 1, as wide as it has entities."""

    name: str
    common: str | None
    rank: str
    ring: int  # 0 is the innermost
    rings: int
    start: float
    end: float
    entities: int
    covered: int  # entities with a kept picture
    kept: int  # pictures


def arcs(taxa: Sequence[Taxon]) -> tuple[Arc, ...]:
    """Divide the circle among the taxa; none where there is no tree, or nothing that tells any apart."""
    levels = _levels(taxa)
    return tuple(_divide(taxa, levels, 0, 0, len(taxa)))


def lineage(taxon: Taxon) -> str:
    """The names of a taxon's groups in one line, to search by."""
    found = (_at(taxon, rank) for rank in RANKS)
    return " ".join(str(row["scientificName"]) for row in found if row and row["scientificName"])


def _levels(taxa: Sequence[Taxon]) -> list[str]:
    counts = {rank: len({_key(taxon, rank) for taxon in taxa} - {None}) for rank in (*RANKS, ENTITY)}
    levels = [rank for rank, count in counts.items() if count > 1]
    # What divides little more than the ring inside it goes first: a family of one genus tells nothing twice.
    while len(levels) > 1:
        growth = [counts[after] / counts[before] for before, after in itertools.pairwise(levels)]
        if len(levels) <= MAX_RINGS and min(growth) > 1:
            break
        del levels[growth.index(min(growth))]
    while sum(counts[level] for level in levels) > MAX_ARCS:
        levels.pop()
    return levels


def _divide(taxa: Sequence[Taxon], levels: Sequence[str], ring: int, start: int, whole: int) -> Iterator[Arc]:
    if ring == len(levels):
        return
    groups: dict[str | None, list[Taxon]] = defaultdict(list)
    for taxon in taxa:
        groups[_key(taxon, levels[ring])].append(taxon)
    for key, members in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0] or "")):
        row = _at(members[0], levels[ring])
        # Lineages have holes (many fishes have no class): nothing is drawn there, what lies further out is.
        if key is not None and row is not None:
            yield Arc(
                name=row["scientificName"] or row["vernacularName"] or key,
                common=row["vernacularName"] if row["vernacularName"] != row["scientificName"] else None,
                rank=row["taxonRank"] or ENTITY,
                ring=ring,
                rings=len(levels),
                start=start / whole,
                end=(start + len(members)) / whole,
                entities=len(members),
                covered=sum(taxon.kept > 0 for taxon in members),
                kept=sum(taxon.kept for taxon in members),
            )
        yield from _divide(members, levels, ring + 1, start, whole)
        start += len(members)


def _at(taxon: Taxon, rank: str) -> Row | None:
    if rank == ENTITY:
        return taxon.entity
    return next((row for row in taxon.entity["ancestors"] or () if row["taxonRank"] == rank), None)


def _key(taxon: Taxon, rank: str) -> str | None:
    row = _at(taxon, rank)
    return str(row["entityID"]) if row else None
