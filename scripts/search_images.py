"""Search one image source for all queries.

In:  queries/queries.parquet, knowledge/entities.parquet (for the pictures that the graph names), and the hits of the
sources before this one. Out: search/{source}.hits.parquet, one row a hit. Answers are kept in search/{source}/ beside
the output; a rerun makes only the calls that are missing.
"""

import argparse
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.errors import UserError, run_program
from kg2clip.files import only_writer
from kg2clip.search.run import SOURCES, search_source
from kg2clip.search.source import Answers

SECTIONS = ("search",)


def main() -> None:
    """Parse arguments, search, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help=f"one of: {', '.join(SOURCES)}")
    parser.add_argument("--entities", required=True, type=Path)
    parser.add_argument("--queries", required=True, type=Path)
    parser.add_argument("--earlier", nargs="*", default=[], type=Path, help="hits of the sources before this one")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    wanted = config["search"]["sources"].get(arguments.source)
    if wanted is None:
        raise UserError(
            f"search.sources has no source {arguments.source}; it has: {', '.join(config['search']['sources'])}"
        )
    queries = tables.read(arguments.queries).to_pylist()
    folder = arguments.output.parent / arguments.source
    with only_writer(folder):
        answers = Answers(folder, config["contact"], wanted.get("requests_per_second", 1))
        entities = tables.read(arguments.entities, ["entityID", "images"]).to_pylist()
        source = SOURCES[arguments.source](wanted, entities)
        found_before = count_candidates(arguments.earlier)
        rows = search_source(
            source, queries, answers, wanted["per_query"], config["search"]["per_entity"], found_before
        )
    tables.write(rows, tables.HITS, arguments.output)
    counts = {
        "queries": len(queries),
        "hits": len(rows),
        "queries without hit": len(queries) - len({row["queryID"] for row in rows}),
        "candidates": len({row["candidateID"] for row in rows}),
        "calls made": answers.calls,
        "answers kept from before": answers.kept,
    }
    step = f"search_images.{arguments.source}"
    facts = {"source": arguments.source, **source.facts()}
    provenance.write(arguments.provenance, step, config, SECTIONS, counts, ("requests",), **facts)


def count_candidates(earlier: list[Path]) -> dict[str, int]:
    """Candidates by entity in the hits of earlier sources."""
    seen = {
        (row["entityID"], row["candidateID"])
        for path in earlier
        for row in tables.read(path, ["entityID", "candidateID"]).to_pylist()
    }
    counts: dict[str, int] = {}
    for entity, _ in seen:
        counts[entity] = counts.get(entity, 0) + 1
    return counts


if __name__ == "__main__":
    run_program(main)
