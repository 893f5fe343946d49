"""Merge the hits of all searches to candidates: each picture once, with all queries, entities and links that found it.

In:  search/{search}.hits.parquet in the order in which they were made, knowledge/entities.parquet (to tell a species
and its genus from two species at odds). Out: search/candidates.parquet.
"""

import argparse
from pathlib import Path

from kg2clip import provenance, settings
from kg2clip.errors import run_program
from kg2clip.search.merge import merge_hits

SECTIONS = ()


def main() -> None:
    """Parse arguments, merge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hits", required=True, nargs="+", type=Path)
    parser.add_argument("--entities", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    counts = merge_hits(arguments.hits, arguments.entities, arguments.output)
    provenance.write(arguments.provenance, "merge_candidates", config, SECTIONS, counts, ("duckdb",))


if __name__ == "__main__":
    run_program(main)
