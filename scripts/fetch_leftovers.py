"""Fetch what the first pass left to a lane: what failed for now, next links, and where redirects of other lanes lead.

In:  search/candidates.parquet and the manifests of all batches. Out: download/{lane}-leftovers.manifest.parquet, one
row for each candidate that was left to this lane, with what became of it. Beside it, undeclared, the tars, as
fetch_batch.py has them. Ends with an error while some fail for now, unless accept_partial is set; a rerun fetches only
what is missing.
"""

import argparse
from pathlib import Path

from kg2clip import provenance, settings
from kg2clip.download.batch import fetch_leftovers
from kg2clip.download.lanes import leftovers_name
from kg2clip.errors import run_program

SECTIONS = ("download", "accept_partial")


def main() -> None:
    """Parse arguments, fetch, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", required=True, type=Path, help="search/candidates.parquet")
    parser.add_argument("--manifests", required=True, nargs="+", type=Path, help="those of all batches, of all lanes")
    parser.add_argument("--lane", required=True, help="whose leftovers: wikimedia, web")
    parser.add_argument("--output", required=True, type=Path, help="download/{lane}-leftovers.manifest.parquet")
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    name = leftovers_name(arguments.lane)
    counts = fetch_leftovers(arguments.candidates, arguments.manifests, name, arguments.output, config)
    provenance.write(
        arguments.provenance,
        "fetch_leftovers",
        config,
        SECTIONS,
        counts,
        ("img2dataset", "aiohttp", "pyarrow"),
        lane=arguments.lane,
        optOut="respected" if config["download"]["respect_opt_out"] else "not respected",
    )


if __name__ == "__main__":
    run_program(main)
