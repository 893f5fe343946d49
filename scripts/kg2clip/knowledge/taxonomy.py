"""NCBI's taxonomy from one dated archive: what became of a taxon's number, its name, rank and lineage.

In:  a `taxdmp_YYYY-MM-01.zip` of NCBI's taxdump_archive, pinned by its SHA-256. Out: a `Taxon` for each number asked,
the same from either library: pytaxonkit with its program taxonkit where conda installed them, else taxopy.

The graph comes first. The taxonomy gives numbers that were merged their new one, says which were deleted, and fills
what the graph leaves open: missing names and ranks, and lineages that end below a kingdom.
"""

from __future__ import annotations

import importlib
import tempfile
import zipfile
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import taxopy

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import scratch_folder, sha256_file, sync
from kg2clip.identifiers import stable_hash
from kg2clip.largefiles import fetch_file
from kg2clip.settings import Settings

MEMBERS = ("nodes.dmp", "names.dmp", "merged.dmp", "delnodes.dmp")
MAX_BYTES = 4 << 30  # of the archive, and of each file in it; in 2026 they have 75 MB and 260 MB
NO_RANK = "no rank"
ROOT = 1  # NCBI's root, its own parent; lineages begin below it
CURRENT, MERGED, DELETED, UNKNOWN = "current", "merged", "deleted", "unknown"


@dataclass(frozen=True, slots=True)
class Rung:
    """One taxon of a lineage."""

    taxon_id: int
    name: str
    rank: str


@dataclass(frozen=True, slots=True)
class Taxon:
    """What the taxonomy says about a number.

    `status`: current, merged (then `current` is the new number), deleted or unknown (then `current` is None and the
    lineage empty). `lineage`: from below the root to the taxon itself.
    """

    asked: int
    status: str
    current: int | None
    lineage: tuple[Rung, ...] = ()

    @property
    def name(self) -> str:
        """Scientific name."""
        return self.lineage[-1].name if self.lineage else ""

    @property
    def rank(self) -> str:
        """Rank in NCBI's words: species, superfamily, clade, no rank."""
        return self.lineage[-1].rank if self.lineage else ""


Reader = Callable[[Path, Collection[int]], dict[int, Taxon]]


class Taxonomy:
    """An unpacked archive."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tool, self._read = _choose()

    def look_up(self, numbers: Iterable[int]) -> dict[int, Taxon]:
        """What became of each number. Reads the archive once, so ask for all numbers together."""
        asked = sorted(set(numbers))
        try:
            return self._read(self.folder, asked) if asked else {}
        except (OSError, ValueError, LookupError) as error:
            raise UserError(
                f"knowledge.taxonomy: {self.folder} can't be read ({error!r}). Remove the folder, so that the archive "
                "is unpacked anew, or take another archive"
            ) from None

    def complete(self, rows: Iterable[dict[str, Any]], scratch: Path, counts: Counter[str]) -> Iterator[dict[str, Any]]:
        """Rows of `tables.ENTITIES`, completed; they wait in the file `scratch` until all their numbers are known."""
        tables.write_stream(rows, tables.ENTITIES, scratch)
        taxa = self.look_up(numbers_in(scratch))
        for batch in pq.ParquetFile(scratch).iter_batches(2000):
            yield from completed(batch.to_pylist(), taxa, counts)


def open_archive(wanted: Settings, folder: Path, contact: str) -> Taxonomy:
    """Fetch, check and unpack the archive of the config's `knowledge.taxonomy`, unless it lies in `folder` already.

    Raises:
        UserError: it has not the SHA-256 that the config names, or is no taxonomy.
        IncompleteError: it could not be fetched for now.
    """
    place, pinned = wanted["archive"], wanted["sha256"].lower()
    unpacked = folder / pinned[:16]
    if pinned and unpacked.exists():
        return Taxonomy(unpacked)
    archive = Path(place)
    if place.startswith(("http://", "https://")):
        archive = folder / f"{stable_hash(place)}.zip"
        fetch_file(place, archive, contact, MAX_BYTES)
    elif not archive.is_file():
        raise UserError(f"knowledge.taxonomy.archive: there is no file {place}")
    found = sha256_file(archive)
    if found != pinned:
        problem = f"has the SHA-256 {found}, not {pinned}" if pinned else "is not pinned"
        advice = f"If you trust it, set knowledge.taxonomy.sha256: {found}"
        raise UserError(f"knowledge.taxonomy: {archive} (from {place}) {problem}. {advice}")
    _unpack(archive, unpacked)
    return Taxonomy(unpacked)


def _unpack(archive: Path, target: Path) -> None:
    with scratch_folder(target) as scratch:
        whole = scratch / "whole"
        try:
            with zipfile.ZipFile(archive) as packed:
                for member in MEMBERS:
                    if packed.getinfo(member).file_size > MAX_BYTES:
                        raise UserError(f"knowledge.taxonomy: {member} in {archive} is larger than any taxonomy")
                    sync(Path(packed.extract(member, whole)))
        except (zipfile.BadZipFile, KeyError) as error:
            raise UserError(
                f"knowledge.taxonomy: {archive} is no NCBI taxonomy ({error}). "
                "Take a taxdmp_YYYY-MM-01.zip of ftp.ncbi.nlm.nih.gov/pub/taxonomy/taxdump_archive/"
            ) from None
        whole.rename(target)


def _choose() -> tuple[str, Reader]:
    """pytaxonkit where it and its program are installed (it asks for the program's version on import), else taxopy."""
    try:
        taxonkit = importlib.import_module("pytaxonkit")
    except (ImportError, OSError):
        return "taxopy", read_with_taxopy
    return "pytaxonkit", lambda folder, numbers: read_with_taxonkit(taxonkit, folder, numbers)


def read_with_taxonkit(taxonkit: Any, folder: Path, numbers: Collection[int]) -> dict[int, Taxon]:
    """Ask pytaxonkit, whose `lineage` gives a data frame.

    Of its columns `Code` is the current number, 0 for deleted and -1 for unknown ones; FullLineage, FullLineageTaxIDs
    and FullLineageRanks run from below the root, joined by semicolons.
    """
    frame = taxonkit.lineage([str(number) for number in numbers], data_dir=str(folder))
    taxa = {}
    for row in frame.to_dict("records"):
        asked, code = int(row["TaxID"]), int(row["Code"])
        if code <= 0:
            taxa[asked] = Taxon(asked, UNKNOWN if code else DELETED, None)
            continue
        ids, ranks = row["FullLineageTaxIDs"].split(";"), row["FullLineageRanks"].split(";")
        names = row["FullLineage"].split(";")
        if len(names) != len(ids):  # a name holds a semicolon itself: only that of the taxon is certain
            names = [""] * (len(ids) - 1) + [row["Name"]]
        lineage = tuple(Rung(int(taxid), name, rank) for taxid, name, rank in zip(ids, names, ranks, strict=True))
        taxa[asked] = Taxon(asked, CURRENT if code == asked else MERGED, code, lineage)
    return taxa


def read_with_taxopy(folder: Path, numbers: Collection[int]) -> dict[int, Taxon]:
    """Ask taxopy, which holds every name of every taxon in memory: so it gets the part of the archive that it needs."""
    merged = {old: new for old, new in _numbers(folder / "merged.dmp", 2)}
    deleted = {number for (number,) in _numbers(folder / "delnodes.dmp", 1)}
    parents = _parents(folder / "nodes.dmp")
    current = {number: merged.get(number, number) for number in numbers}
    known = {number for number in current.values() if 0 < number < len(parents) and parents[number]}
    with tempfile.TemporaryDirectory() as scratch:
        nodes, names = _slice(folder, _with_ancestors(known, parents), Path(scratch))
        database = taxopy.TaxDb(nodes_dmp=nodes, names_dmp=names)
    taxa = {}
    for asked, now in current.items():
        if now not in known:
            taxa[asked] = Taxon(asked, DELETED if asked in deleted else UNKNOWN, None)
            continue
        taxon = taxopy.Taxon(now, database)
        rungs = zip(taxon.taxid_lineage, taxon.name_lineage, taxon.rank_lineage, strict=True)
        lineage = tuple(Rung(*rung) for rung in rungs if rung[0] != ROOT or now == ROOT)[::-1]
        taxa[asked] = Taxon(asked, CURRENT if now == asked else MERGED, now, lineage)
    return taxa


def _numbers(path: Path, columns: int) -> Iterator[tuple[int, ...]]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield tuple(int(field) for field in line.split("|", columns)[:columns])


def _parents(path: Path) -> array[int]:
    """Parent by number; 0 where there is no taxon."""
    parents = array("I", bytes(4 << 22))
    for number, parent in _numbers(path, 2):
        if number >= len(parents):
            parents.extend(array("I", bytes(4 * (number + (1 << 20) - len(parents)))))
        parents[number] = parent
    return parents


def _with_ancestors(numbers: Iterable[int], parents: array[int]) -> set[int]:
    found: set[int] = {ROOT}
    for number in numbers:
        path: set[int] = set()
        while number not in found:
            if number in path or not parents[number]:
                raise UserError(f"knowledge.taxonomy: the lineage of taxon {number} does not end at the root")
            path.add(number)
            number = parents[number]
        found |= path
    return found


def _slice(folder: Path, numbers: Collection[int], scratch: Path) -> tuple[str, str]:
    """The lines of nodes.dmp and names.dmp that speak of these taxa, scientific names only."""
    for name in ("nodes.dmp", "names.dmp"):
        with open(folder / name, encoding="utf-8") as source, open(scratch / name, "w", encoding="utf-8") as target:
            for line in source:
                if int(line.split("\t", 1)[0]) in numbers and (name == "nodes.dmp" or "\tscientific name\t" in line):
                    target.write(line)
    return str(scratch / "nodes.dmp"), str(scratch / "names.dmp")


# What the taxonomy adds to exported entities.


def numbers_in(entities: Path) -> set[int]:
    """The NCBI numbers of all entities and ancestors in a table of entities."""
    numbers: set[int] = set()
    for batch in pq.ParquetFile(entities).iter_batches(2000, columns=["taxonID", "ancestors"]):
        ancestors = batch["ancestors"].flatten().field("taxonID")
        for column in (batch["taxonID"], ancestors):
            numbers |= {number for taxon_id in column.unique().to_pylist() if (number := _number(taxon_id))}
    return numbers


def completed(
    rows: Iterable[dict[str, Any]], taxa: Mapping[int, Taxon], counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Rows of `tables.ENTITIES` with current numbers, and with the names, ranks and ancestors that were missing.

    Args:
        rows: entities.
        taxa: what the taxonomy says about all of `numbers_in`.
        counts: is told how many entities had something done, by what it was.
    """
    for row in rows:
        done = {change for change in _complete(row, taxa)}
        for ancestor in row["ancestors"]:
            done |= {f"{change} of an ancestor" for change in _complete(ancestor, taxa)}
        if not row["kingdom"] and _go_on(row, taxa):
            done.add("lineage continued")
        counts.update(done)
        yield row


def _complete(node: dict[str, Any], taxa: Mapping[int, Taxon]) -> Iterator[str]:
    taxon = taxa.get(_number(node["taxonID"]))
    if taxon is None:
        return
    if taxon.current is None:
        yield f"number {taxon.status}"
        return
    if taxon.status == MERGED:
        node["taxonID"] = f"ncbi:{taxon.current}"
        yield "number merged"
    if not node["scientificName"]:
        node["scientificName"] = taxon.name
        yield "name filled"
    if not node["taxonRank"] and taxon.rank != NO_RANK:
        node["taxonRank"] = taxon.rank
        yield "rank filled"


def _go_on(row: dict[str, Any], taxa: Mapping[int, Taxon]) -> bool:
    """Continue a lineage that ends below a kingdom, from its highest taxon that the taxonomy knows."""
    numbers = [number for node in (row, *row["ancestors"]) if (number := _number(node["taxonID"])) in taxa]
    above = [rung for rung in taxa[numbers[-1]].lineage[:-1] if rung.taxon_id not in numbers] if numbers else []
    kingdom = next((place for place, rung in enumerate(above) if rung.rank == "kingdom"), None)
    if kingdom is None:
        return False
    row["kingdom"] = above[kingdom].name
    row["ancestors"] += [
        {
            "entityID": f"ncbi:{rung.taxon_id}",
            "taxonID": f"ncbi:{rung.taxon_id}",
            "scientificName": rung.name,
            "vernacularName": None,
            "taxonRank": None if rung.rank == NO_RANK else rung.rank,
        }
        for rung in reversed(above[kingdom:])
    ]
    row["higherClassification"] = "|".join(node["scientificName"] or "" for node in reversed(row["ancestors"]))
    return True


def _number(taxon_id: str | None) -> int:
    """ncbi:9606 as a number; 0 where there is none, or something else."""
    number = (taxon_id or "").removeprefix("ncbi:")
    return int(number) if number.isdecimal() else 0
