"""Merge the hits of all sources to candidates: each picture once, with all queries and entities that found it.

In:  search/{source}.hits.parquet. Out: search/candidates.parquet.
"""

import argparse
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.search.run import merge_hits

SECTIONS = ()


def main() -> None:
    """Parse arguments, merge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hits", required=True, nargs="+", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    hits = sum(tables.read(path, ["candidateID"]).num_rows for path in arguments.hits)
    candidates = merge_hits(arguments.hits)
    tables.write(candidates, tables.CANDIDATES, arguments.output)
    counts = {
        "hits": hits,
        "merged with another hit": hits - candidates.num_rows,
        "candidates": candidates.num_rows,
        "candidates found for several entities": sum(len(ids) > 1 for ids in candidates["entityIDs"].to_pylist()),
    }
    provenance.write(arguments.provenance, "merge_candidates", config, SECTIONS, counts, ("duckdb",))


if __name__ == "__main__":
    run_program(main)
