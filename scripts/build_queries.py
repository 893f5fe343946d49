"""Build the search queries of all entities.

In:  knowledge/entities.parquet, read in batches. Out: queries/queries.parquet, in the order of the entities; queryID is
a hash of the content, so equal queries keep their id.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import compress
from pathlib import Path

import numpy as np

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.progress import Progress
from kg2clip.queries.build import COLUMNS, Builder, Query, within_budget
from kg2clip.queries.homonyms import Namesakes
from kg2clip.settings import Settings

SECTIONS = ("queries", "seed")


def main() -> None:
    """Parse arguments, build, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path, help="queries.parquet")
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    counts = write_queries(arguments.entities, arguments.output, config)
    provenance.write(arguments.provenance, "build_queries", config, SECTIONS, counts, ("pyarrow", "duckdb"))


def write_queries(entities: Path, output: Path, config: Settings) -> dict[str, int]:
    """Write the queries of all entities, a few at a time in memory, and count them."""
    total = tables.count(entities)
    namesakes = Namesakes.of(entities)
    counts: Counter[str] = Counter()
    written = tables.write_stream(_counted(_chosen(entities, namesakes, config), counts), tables.QUERIES, output)
    return {
        "entities": total,
        "queries": written,
        **{name: count for name, count in sorted(counts.items()) if name.endswith(" queries")},
        "entities without query": total - counts["with query"],
        "names shared by entities": len(namesakes.in_export),
        "queries with a word to tell namesakes apart": counts["told apart"],
    }


def _counted(found: Iterable[list[Query]], counts: Counter[str]) -> Iterator[Query]:
    for queries in found:
        counts["with query"] += bool(queries) and queries[0]["kind"] != "attribute"
        for query in queries:
            counts[f"{query['kind']} queries"] += 1
            counts["told apart"] += query["disambiguation"] is not None
            yield query


def _chosen(entities: Path, namesakes: Namesakes, config: Settings) -> Iterator[list[Query]]:
    """The queries by entity, within the budget of the whole run."""
    budget = config["queries"]["total"]
    if not budget:
        yield from _all(entities, namesakes, config)
        return
    places = [place for queries in _all(entities, namesakes, config) for place in range(len(queries))]
    kept = iter(within_budget(np.array(places, dtype=np.int32), budget, config["seed"]))
    for queries in _all(entities, namesakes, config):
        yield list(compress(queries, kept))


def _all(entities: Path, namesakes: Namesakes, config: Settings) -> Iterator[list[Query]]:
    builder = Builder(config["queries"], config["seed"], namesakes)
    rows = tables.read_rows(entities, COLUMNS)
    for row in Progress(rows, desc="queries", unit="entities", total=tables.count(entities)):
        yield builder.of_entity(row)
    for query in builder.of_types():
        yield [query]


if __name__ == "__main__":
    run_program(main)
