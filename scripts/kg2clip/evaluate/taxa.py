"""Taxa to choose from, the groups above them, and the lowest group that a prediction is sure of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.evaluate.names import RANKS, name_forms

ROWS = 1024  # pictures summed over all groups at a time
NAMED = {"scientificName", "vernacularName"}  # one of these columns a table of taxa must have
COLUMNS = ["entityID", "scientificName", "vernacularName", "taxonRank", "ancestors"]


@dataclass(frozen=True)
class Taxon:
    """A taxon, or a group of them."""

    identifier: str
    scientific_name: str | None
    vernacular_name: str | None
    rank: str | None
    above: tuple[Taxon, ...] = field(default=(), repr=False)  # groups of the main ranks, nearest first

    @property
    def name(self) -> str:
        """One name to call it by."""
        return self.scientific_name or self.vernacular_name or self.identifier

    def named(self, form: str) -> str:
        """The name for the model in this form; the next best where the taxon has none in it."""
        above = [group.scientific_name for group in reversed(self.above) if group.scientific_name]
        forms = name_forms(self.scientific_name, self.vernacular_name, above)
        return forms[form] or self.vernacular_name or self.name


def read_taxa(sources: Sequence[str]) -> list[Taxon]:
    """Taxa from files and names, each once, in their order.

    Args:
        sources: knowledge/entities.parquet; a table (.csv, .tsv) with the Darwin Core columns scientificName,
            vernacularName, taxonRank, kingdom to genus, or some of them; a text file of one name a line; or a name.

    Raises:
        UserError: a file can't be read, or there are fewer than two taxa.
    """
    taxa: dict[str, Taxon] = {}
    for source in sources:
        for taxon in _read(source):
            taxa.setdefault(taxon.identifier, taxon)
    if len(taxa) < 2:
        raise UserError("name two taxa at least with --taxa: a model can only choose among those it is given")
    return list(taxa.values())


def _read(source: str) -> Iterator[Taxon]:
    path = Path(source)
    ending = path.suffix.lower()
    if not path.is_file():
        if ending in (".parquet", ".csv", ".tsv", ".txt"):
            raise UserError(f"there is no file {path}")
        return iter([Taxon(source, source, None, None)])
    if ending == ".parquet":
        return (_entity(row) for row in tables.read_rows(path, COLUMNS))
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8 text; save it as CSV in UTF-8, one taxon a line") from None
    if ending in (".csv", ".tsv"):
        return _darwin_core(path, content)
    names = [line.strip() for line in content.split("\n")]
    if NAMED & set(names[:1]):  # a list with the head of a table's column
        return _darwin_core(path, content)
    return (Taxon(name, name, None, None) for name in names if name and not name.startswith("#"))


def _entity(row: Mapping[str, Any]) -> Taxon:
    above = [_taxon(each) for each in row["ancestors"] or () if each["taxonRank"] in RANKS]
    return _taxon(row, tuple(above))


def _taxon(row: Mapping[str, Any], above: tuple[Taxon, ...] = ()) -> Taxon:
    return Taxon(row["entityID"], row["scientificName"], row["vernacularName"], row["taxonRank"], above)


def _darwin_core(path: Path, content: str) -> Iterator[Taxon]:
    header, _, _ = content.partition("\n")
    table = csv.reader(io.StringIO(content, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        head, *lines = [[cell.strip() for cell in line] for line in table] or [[]]
    except csv.Error as error:
        raise UserError(f"{path} is no table that can be read ({error}); save it as CSV in UTF-8") from None
    if not NAMED & set(head):
        raise UserError(f"{path} has no column scientificName or vernacularName in its first line")
    for row in (dict(zip(head, line, strict=False)) for line in lines):
        cells = {key: value for key, value in row.items() if value}
        scientific, common = cells.get("scientificName"), cells.get("vernacularName")
        if not (name := scientific or common):
            continue
        # A group's identifier is its whole path: Prunella is a genus of birds and one of plants.
        path_down = [(rank, cells[rank]) for rank in RANKS if rank in cells and cells[rank] != scientific]
        above = [
            Taxon("|".join(group for _, group in path_down[:depth]), path_down[depth - 1][1], None, rank)
            for depth, (rank, _) in enumerate(path_down, 1)
        ]
        identifier = "|".join([*(group for _, group in path_down), name])
        yield Taxon(identifier, scientific, common, cells.get("taxonRank"), tuple(reversed(above)))


class Tree:
    """Taxa and the groups above them; a group that holds all of the taxa says nothing and is left out.

    Args:
        taxa: the taxa to choose from. One may lie below another.
    """

    def __init__(self, taxa: Sequence[Taxon]) -> None:
        members: dict[str, list[int]] = {}
        nodes: dict[str, Taxon] = {}
        height: dict[str, int] = {}
        for number, taxon in enumerate(taxa):
            for step, node in enumerate([taxon, *taxon.above]):
                members.setdefault(node.identifier, []).append(number)
                nodes.setdefault(node.identifier, node)
                height[node.identifier] = min(step, height.get(node.identifier, step))
        kept = [identifier for identifier in nodes if len(members[identifier]) < len(taxa)]
        # The lowest first. Of groups with the same taxa the nearer to them: a genus comes before its only family.
        kept.sort(key=lambda identifier: (len(members[identifier]), height[identifier]))
        self.groups = [nodes[identifier] for identifier in kept]
        places = [(row, column) for row, identifier in enumerate(kept) for column in members[identifier]]
        self._members = torch.sparse_coo_tensor(
            torch.tensor(places).T, torch.ones(len(places)), (len(kept), len(taxa)), check_invariants=True
        ).coalesce()

    def surest(self, probabilities: NDArray[np.float32], threshold: float) -> list[tuple[Taxon, float] | None]:
        """For each picture the lowest taxon or group whose probability reaches the threshold; None where none does.

        A group's probability is the sum over the taxa below it. Above one half such groups lie within each other, so
        that there is one lowest. (Exactness is traded for certainty as in Deng et al., Hedging your bets, CVPR 2012.)

        Args:
            probabilities: of the taxa [pictures, taxa], rows sum to 1.
            threshold: above 0.5.
        """
        answers: list[tuple[Taxon, float] | None] = []
        for start in range(0, len(probabilities), ROWS):
            block = torch.from_numpy(probabilities[start : start + ROWS])
            sums = torch.sparse.mm(self._members, block.T).T.numpy()
            for row, first in zip(sums, (sums >= threshold).argmax(axis=1), strict=True):
                answers.append((self.groups[first], float(row[first])) if row[first] >= threshold else None)
        return answers


def probabilities(cosines: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Softmax over the taxa of scaled cosines [pictures, taxa]."""
    return torch.softmax(scale * torch.from_numpy(cosines), dim=1).numpy()
