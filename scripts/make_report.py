"""Make the report: one self-contained HTML page about a run.

In:  the run's folder with the tables of every stage (design 4), the tars that hold its pictures, and the benchmarks of
     the config; mirror/scores.parquet and mirror/misses.parquet where the run was made on the embedded mirror.
Out: the page (it loads nothing, so it opens offline and can be sent to others) and the provenance file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kg2clip import files, provenance, settings
from kg2clip.errors import run_program
from kg2clip.report import page
from kg2clip.report.results import open_results

SECTIONS = (
    "project",
    "seed",
    "accept_partial",
    "knowledge",
    "queries",
    "search",
    "curate",
    "dataset",
    "train",
    "evaluate",
)


def main() -> None:
    """Read the arguments and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{project}")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the page: report/index.html")
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance/make_report.json")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    made = provenance.now()
    html, counts = page.render(open_results(arguments.results, config), made)
    files.write_text(arguments.output, html)
    provenance.write(
        arguments.provenance,
        page.STEP,
        config,
        SECTIONS,
        counts=counts,
        packages=("altair", "duckdb", "jinja2", "pillow", "vl-convert-python"),
        made=made,
    )


if __name__ == "__main__":
    run_program(main)
