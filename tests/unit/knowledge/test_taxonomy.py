"""NCBI's taxonomy through both libraries, held against the tables that taxonkit gave; and what it adds to entities."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from servers import scripted_server

from kg2clip import tables, web
from kg2clip.errors import UserError
from kg2clip.files import sha256_file
from kg2clip.knowledge import taxonomy
from kg2clip.knowledge.taxonomy import (
    Taxonomy,
    completed,
    numbers_in,
    open_archive,
    read_with_taxonkit,
    read_with_taxopy,
)

MERGED_INTO = {92489: 796334, 1458427: 1458425}  # what taxonkit's documentation says of its example
DELETED, UNKNOWN = 3, 123124124


def recorded(samples: Path) -> dict[int, list[str]]:
    """Lineages by number, as `taxonkit lineage` gave them."""
    lines = (samples / "ncbi_taxdump" / "taxonkit_lineage.tsv").read_text().splitlines()
    return {
        int(number): lineage.split(";") if lineage else [] for number, lineage in (line.split("\t") for line in lines)
    }


class Tree:
    """The recorded lineages as a tree: numbers and ranks of inner nodes are ours, names and shape NCBI's."""

    def __init__(self, lineages: dict[int, list[str]]) -> None:
        self.numbers: dict[tuple[str, ...], int] = {}
        for number, names in lineages.items():
            if names:
                self.numbers[tuple(names)] = MERGED_INTO.get(number, number)
        for names in list(self.numbers):
            for length in range(1, len(names)):
                self.numbers.setdefault(names[:length], 5_000_000 + len(self.numbers))

    def lineage(self, names: list[str]) -> list[int]:
        return [self.numbers[tuple(names[:length])] for length in range(1, len(names) + 1)]

    @staticmethod
    def rank(names: tuple[str, ...]) -> str:
        return "species" if len(names[-1].split()) == 2 else "no rank" if len(names) == 1 else "clade"


def write_dump(folder: Path, tree: Tree) -> Path:
    """The tree as a taxdump, with synonyms, a merged and a deleted number."""
    rows = {"nodes.dmp": [(1, 1, "no rank")], "names.dmp": [(1, "root", "", "scientific name")]}
    for names, number in tree.numbers.items():
        parent = tree.numbers.get(names[:-1], 1)
        rows["nodes.dmp"].append((number, parent, tree.rank(names), "", 0, 1, 11, 1, 0, 1, 0, 0, ""))
        rows["names.dmp"] += [(number, f"old {names[-1]}", "", "synonym"), (number, names[-1], "", "scientific name")]
    rows["merged.dmp"] = list(MERGED_INTO.items())
    rows["delnodes.dmp"] = [(DELETED,)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        text = "".join("\t|\t".join(map(str, fields)) + "\t|\n" for fields in lines)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def pytaxonkit(lineages: dict[int, list[str]], tree: Tree) -> SimpleNamespace:
    """pytaxonkit's `lineage` over the recorded table: columns, codes and missing values as it documents them."""

    def lineage(ids: list[str], data_dir: str) -> pd.DataFrame:
        assert all(isinstance(number, str) for number in ids) and isinstance(data_dir, str)
        rows = []
        for number in map(int, ids):
            names = lineages[number]
            code = tree.lineage(names)[-1] if names else 0 if number == DELETED else -1
            ranks = [tree.rank(tuple(names[:length])) for length in range(1, len(names) + 1)]
            full = [";".join(map(str, part)) or None for part in (names, tree.lineage(names), ranks)]
            rows.append([number, code, names[-1] if names else None, ranks[-1] if names else None, *full])
        columns = ["TaxID", "Code", "Name", "Rank", "FullLineage", "FullLineageTaxIDs", "FullLineageRanks"]
        kinds = {"TaxID": "UInt32", "Code": "Int32"} | {name: "string" for name in columns[2:]}
        return pd.DataFrame(rows, columns=columns).astype(kinds)

    return SimpleNamespace(lineage=lineage)


@pytest.fixture(params=["taxopy", "pytaxonkit"])
def both(request: pytest.FixtureRequest, samples: Path, tmp_path: Path):
    """The recorded table, and what each library makes of it."""
    lineages = recorded(samples)
    tree = Tree(lineages)
    folder = write_dump(tmp_path / "dump", tree)
    if request.param == "taxopy":
        return lineages, read_with_taxopy(folder, sorted(lineages))
    return lineages, read_with_taxonkit(pytaxonkit(lineages, tree), folder, sorted(lineages))


def test_both_libraries_give_taxonkits_lineages(both) -> None:
    """The contract (design 6.9)."""
    lineages, taxa = both
    assert taxa.keys() == lineages.keys()
    for number, names in lineages.items():
        assert [rung.name for rung in taxa[number].lineage] == names
        assert taxa[number].name == (names[-1] if names else "")
    assert taxa[239935].rank == "species"
    assert taxa[349741].lineage[-2].taxon_id == 239935, "a strain stands below its species"


def test_both_tell_merged_deleted_and_unknown_numbers(both) -> None:
    _, taxa = both
    assert {number: (taxon.status, taxon.current) for number, taxon in taxa.items() if taxon.status != "current"} == {
        92489: ("merged", 796334),
        1458427: ("merged", 1458425),
        DELETED: ("deleted", None),
        UNKNOWN: ("unknown", None),
    }
    assert taxa[92489].lineage[-1].name == "Erwinia oleae"


def test_ncbis_own_slice(samples: Path, tmp_path: Path) -> None:
    """Ranks of 2025 ("cellular root"), a root that is its own parent, quotes in names."""
    for name in ("nodes.dmp", "names.dmp"):
        (tmp_path / name).write_bytes((samples / "ncbi_taxdump" / name).read_bytes())
    for name in ("merged.dmp", "delnodes.dmp"):
        (tmp_path / name).touch()
    taxa = read_with_taxopy(tmp_path, [562, 10239, 1])
    assert [(rung.name, rung.rank) for rung in taxa[562].lineage] == [
        ("cellular organisms", "cellular root"),
        ("Bacteria", "superkingdom"),
        ("Proteobacteria", "phylum"),
        ("Gammaproteobacteria", "class"),
        ("Enterobacterales", "order"),
        ("Enterobacteriaceae", "family"),
        ("Escherichia", "genus"),
        ("Escherichia coli", "species"),
    ]
    assert taxa[1].name == "root"
    assert taxa[10239].status == "current"


def test_a_cycle_is_told_and_does_not_hang(tmp_path: Path) -> None:
    for name in taxonomy.MEMBERS:
        (tmp_path / name).touch()
    (tmp_path / "nodes.dmp").write_text("1\t|\t1\t|\tno rank\t|\n5\t|\t6\t|\tgenus\t|\n6\t|\t5\t|\tgenus\t|\n")
    with pytest.raises(UserError, match="does not end at the root"):
        read_with_taxopy(tmp_path, [5])


def test_a_file_that_is_no_dump_is_told(tmp_path: Path) -> None:
    for name in taxonomy.MEMBERS:
        (tmp_path / name).write_text("<html>busy</html>\n")
    with pytest.raises(UserError, match="can't be read .* Remove the folder"):
        Taxonomy(tmp_path).look_up([5])


def packed(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    return target


def test_the_archive_is_fetched_once_pinned_and_unpacked(samples: Path, tmp_path: Path, monkeypatch) -> None:
    archive = packed(write_dump(tmp_path / "dump", Tree(recorded(samples))), tmp_path / "taxdmp.zip")
    content, digest = archive.read_bytes(), sha256_file(archive)
    with scripted_server(lambda path, body: (200, {}, content)) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, f'{{"ncbi.test": "127.0.0.1:{port}"}}')
        wanted = {"archive": "http://ncbi.test/taxdmp_2026-11-01.zip", "sha256": ""}
        with pytest.raises(UserError, match=f"is not pinned. If you trust it, set knowledge.taxonomy.sha256: {digest}"):
            open_archive(wanted, tmp_path / "kept", "")
        with pytest.raises(UserError, match="has the SHA-256"):
            open_archive({**wanted, "sha256": "0" * 64}, tmp_path / "kept", "")
        for _ in range(2):
            found = open_archive({**wanted, "sha256": digest.upper()}, tmp_path / "kept", "")
    assert len(seen) == 1
    assert found.look_up([9606, 9606])[9606].name == "Homo sapiens"
    assert found.look_up([]) == {}
    assert found.tool == "taxopy"


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    wanted = {"archive": str(tmp_path / "x.zip"), "sha256": ""}
    with pytest.raises(UserError, match="there is no file"):
        open_archive(wanted, tmp_path / "kept", "")
    Path(wanted["archive"]).write_bytes(b"<html>")
    wanted["sha256"] = sha256_file(wanted["archive"])
    with pytest.raises(UserError, match="is no NCBI taxonomy"):
        open_archive(wanted, tmp_path / "kept", "")
    assert not any(path.is_dir() for path in (tmp_path / "kept").iterdir())


def entity(number: int | str | None, ancestors: list[dict] | None = None, **columns) -> dict:
    row = dict.fromkeys(tables.ENTITIES.names)
    row |= {"entityID": "wd:Q1", "taxonID": f"ncbi:{number}" if number else None, "ancestors": ancestors or []}
    return row | columns


def ancestor(number: int | None, **columns) -> dict:
    row = dict.fromkeys(("entityID", "taxonID", "scientificName", "vernacularName", "taxonRank"))
    return row | {"entityID": "wd:Q2", "taxonID": f"ncbi:{number}" if number else None} | columns


@pytest.fixture
def found(tmp_path: Path) -> Taxonomy:
    """Animals with a species, its genus, a hole in between, and numbers that are no more."""
    lineage = ["cellular organisms", "Eukaryota", "Metazoa", "Insecta", "Apis", "Apis mellifera"]
    ranks = ["cellular root", "domain", "kingdom", "class", "genus", "species"]
    numbers = [131567, 2759, 33208, 50557, 7459, 7460]
    nodes = [(1, 1, "no rank"), *zip(numbers, [1, *numbers], ranks, strict=False)]
    names = [
        (number, name, "", "scientific name") for number, name in zip([1, *numbers], ["root", *lineage], strict=True)
    ]
    folder = tmp_path / "dump"
    folder.mkdir()
    for name, rows in {"nodes": nodes, "names": names, "merged": [(77, 7460)], "delnodes": [(3,)]}.items():
        (folder / f"{name}.dmp").write_text("".join("\t|\t".join(map(str, row)) + "\t|\n" for row in rows))
    return Taxonomy(folder)


def test_entities_get_current_numbers_and_what_was_missing(found: Taxonomy, tmp_path: Path) -> None:
    rows = [
        entity(77, [ancestor(7459, scientificName="Apis", taxonRank="genus")]),
        entity(7460, [ancestor(33208, scientificName="Animalia")], scientificName="Apis mellifera", kingdom="Animalia"),
        entity(3, scientificName="Nonexistus"),
        entity("unknown", scientificName="Aus"),
        entity(None, scientificName="Bus"),
    ]
    path = tmp_path / "entities.parquet"
    tables.write(rows, tables.ENTITIES, path)
    assert numbers_in(path) == {77, 7459, 7460, 33208, 3}
    counts: Counter[str] = Counter()
    bee, whole, deleted, odd, none = completed(tables.read(path).to_pylist(), found.look_up(numbers_in(path)), counts)
    assert (bee["taxonID"], bee["scientificName"], bee["taxonRank"]) == ("ncbi:7460", "Apis mellifera", "species")
    assert bee["kingdom"] == "Metazoa"
    assert [node["scientificName"] for node in bee["ancestors"]] == ["Apis", "Insecta", "Metazoa"]
    assert bee["higherClassification"] == "Metazoa|Insecta|Apis"
    assert [node["taxonRank"] for node in whole["ancestors"]] == ["kingdom"], "a rank is filled, a name is left alone"
    assert whole["ancestors"][0]["scientificName"] == "Animalia"
    assert deleted["taxonID"] == "ncbi:3" and odd["taxonID"] == "ncbi:unknown" and none["taxonID"] is None
    assert counts == {
        "number merged": 1,
        "name filled": 1,
        "rank filled": 2,
        "lineage continued": 1,
        "rank filled of an ancestor": 1,
        "number deleted": 1,
    }
