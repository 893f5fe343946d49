"""Search one image source for all entities.

A source is asked by names first. One that understands attributes is asked a second time, after all sources were asked
by names, about the entities that still have too few pictures: that search is named SOURCE-attributes.

In:  queries/queries.parquet, knowledge/entities.parquet (how well known an entity is, and the pictures that the graph
names), and the hits of the searches before this one. Out: search/{search}.hits.parquet, one row a hit. Answers and the
ledger of calls are kept in search/{source}/ beside the output; a rerun makes only the calls that are missing.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc

from kg2clip import provenance, settings, tables
from kg2clip.errors import IncompleteError, UserError, run_program
from kg2clip.files import only_writer
from kg2clip.search.order import ATTRIBUTES
from kg2clip.search.run import SOURCES, Found, Queries, Search
from kg2clip.search.source import Answers, Hit

SECTIONS = ("search.per_entity", "search.sources.{source}", "accept_partial")
ROWS = 50_000  # hits in memory, and in a row group


def main() -> None:
    """Parse arguments, search, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", required=True, help=f"one of: {', '.join(SOURCES)}; or commons-attributes")
    parser.add_argument("--entities", required=True, type=Path)
    parser.add_argument("--queries", required=True, type=Path)
    parser.add_argument("--earlier", nargs="*", default=[], type=Path, help="hits of the searches before this one")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    name, _, part = arguments.search.partition("-")
    wanted = config["search"]["sources"].get(name)
    if wanted is None or part not in ("", ATTRIBUTES):
        raise UserError(f"search.sources has no source {name}; it has: {', '.join(config['search']['sources'])}")
    queries = read_queries(arguments.queries, part == ATTRIBUTES)
    entities = tables.read(arguments.entities, ["entityID", "images", "sitelinks", "kingdom"]).to_pylist()
    folder = arguments.output.parent / name
    with only_writer(folder):
        source = SOURCES[name](wanted, entities)
        search = Search(
            source,
            queries,
            open_answers(folder, config["contact"], wanted),
            wanted["per_query"],
            config["search"]["per_entity"],
            Found(arguments.earlier),
            wanted.get("connections", 1),
            {row["entityID"]: row["sitelinks"] for row in entities},
        )
        tables.write_stream(all_hits(search, config["accept_partial"]), tables.HITS, arguments.output, ROWS)
    provenance.write(
        arguments.provenance,
        f"search_images.{arguments.search}",
        config,
        tuple(section.format(source=name) for section in SECTIONS),
        {**count_hits(arguments.output), **search.counts()},
        ("requests",),
        source=name,
        missing=search.missing(),
        **source.facts(),
    )


def all_hits(search: Search, accept_partial: bool) -> Iterator[Hit]:
    """The hits of a search, one by one.

    Raises:
        IncompleteError: the search could not be finished, and that is not accepted.
    """
    for hits in search:
        yield from hits
    if (missing := search.missing()) and not accept_partial:
        raise IncompleteError(missing)


def read_queries(path: Path, attributes: bool) -> Queries:
    """The queries by names, or those with attributes."""
    table = tables.read(path)
    by_name = pc.equal(table["kind"], "noun")
    return Queries(table.filter(pc.invert(by_name) if attributes else by_name))


def open_answers(folder: Path, contact: str, wanted: settings.Settings) -> Answers:
    """The kept answers of a source, with its limits."""
    return Answers(
        folder, contact, wanted.get("requests_per_second", 1), wanted.get("calls_per_day"), wanted.get("calls_total")
    )


def count_hits(path: Path) -> dict[str, Any]:
    """What was found, by counts."""
    row = duckdb.execute(
        "SELECT count(*) AS hits, count(DISTINCT queryID) AS found, count(DISTINCT candidateID) AS candidates "
        "FROM read_parquet(?)",
        [str(path)],
    ).fetchone()
    assert row is not None  # a count always gives one
    return dict(zip(("hits", "queries with hits", "candidates"), row, strict=True))


if __name__ == "__main__":
    run_program(main)
