"""Build the search queries of all entities.

In:  knowledge/entities.parquet. Out: queries/queries.parquet; queryID is a hash of the content, so equal queries keep
their id.
"""

import argparse
from collections import Counter
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.queries.build import build_queries, find_shared_names

SECTIONS = ("queries",)


def main() -> None:
    """Parse arguments, build, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path, help="queries.parquet")
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    entities = tables.read(arguments.entities).to_pylist()
    rows = build_queries(entities, config["queries"])
    tables.write(rows, tables.QUERIES, arguments.output)
    counts = {
        "entities": len(entities),
        "queries": len(rows),
        **{f"{kind} queries": count for kind, count in sorted(Counter(row["kind"] for row in rows).items())},
        "entities without query": len(entities) - len({row["entityID"] for row in rows}),
        "names shared by entities": len(find_shared_names(entities)),
        "queries with a word to tell namesakes apart": sum(row["disambiguation"] is not None for row in rows),
    }
    provenance.write(arguments.provenance, "build_queries", config, SECTIONS, counts, ("pyarrow",))


if __name__ == "__main__":
    run_program(main)
