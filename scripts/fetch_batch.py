"""Fetch the pictures of one batch, politely, as the hosts store them.

In:  search/candidates.parquet. Out: download/{batch}.manifest.parquet, one row for each candidate of the batch with
what became of it; what fails for now is left to fetch_leftovers.py. Beside it, undeclared, the tars
download/{batch}/NNNNN.tar. A rerun fetches only what is missing.
"""

import argparse
from pathlib import Path

from kg2clip import provenance, settings
from kg2clip.download.batch import fetch_batch
from kg2clip.errors import run_program

SECTIONS = ("download", "dataset.licenses")


def main() -> None:
    """Parse arguments, fetch, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", required=True, type=Path, help="search/candidates.parquet")
    parser.add_argument("--batch", required=True, help="name of the batch: wikimedia-000, web-003")
    parser.add_argument("--output", required=True, type=Path, help="download/{batch}.manifest.parquet")
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    counts = fetch_batch(arguments.candidates, arguments.batch, arguments.output, config)
    provenance.write(
        arguments.provenance,
        "fetch_batch",
        config,
        SECTIONS,
        counts,
        ("img2dataset", "aiohttp", "pyarrow"),
        batch=arguments.batch,
        optOut="respected" if config["download"]["respect_opt_out"] else "not respected",
    )


if __name__ == "__main__":
    run_program(main)
