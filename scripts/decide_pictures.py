"""Decide on every candidate: kept, or dropped with the stage and the reason.

In:  search/candidates.parquet, knowledge/entities.parquet, all download/*.manifest.parquet, all
     curate/*.features.parquet, all curate/*.fit.parquet where there are any, the benchmarks' folders
Out: curate/decisions.parquet, one row for each candidate
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from kg2clip import provenance, settings, tables
from kg2clip.curate import benchmarks
from kg2clip.curate.batch import LIBRARIES
from kg2clip.curate.decisions import CANDIDATE_COLUMNS, DOWNLOAD_COLUMNS, FEATURE_COLUMNS, decide, funnel, read_all
from kg2clip.curate.decode import Rules
from kg2clip.curate.overlaps import Comparison
from kg2clip.curate.pictures import Examiners
from kg2clip.curate.placeholders import ancestors
from kg2clip.errors import UserError, run_program
from kg2clip.identifiers import stable_hash

SECTIONS = ("curate", "dataset.licenses", "evaluate.benchmarks.*.path")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", required=True, type=Path, metavar="FILE")
    parser.add_argument("--entities", required=True, type=Path, metavar="FILE", help="for their lineages")
    parser.add_argument("--downloads", required=True, nargs="+", type=Path, metavar="FILE", help="download manifests")
    parser.add_argument("--features", required=True, nargs="+", type=Path, metavar="FILE", help="features tables")
    parser.add_argument("--fits", nargs="*", default=[], type=Path, metavar="FILE", help="tables of fit_pictures.py")
    parser.add_argument(
        "--benchmark", action="append", metavar="NAME=PATH",
        help="evaluation set whose pictures are removed; may be repeated (default: those of the config)",
    )  # fmt: skip
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the decisions table")
    parser.add_argument("--provenance", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (default: all cores)"
    )
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)

    with Examiners(max(1, arguments.workers)) as examiners:
        tests = benchmarks.fingerprints(_benchmarks(arguments.benchmark, config), Rules.of(config), examiners)
    decisions = decide(
        tables.read_frame(arguments.candidates, CANDIDATE_COLUMNS),
        read_all(arguments.downloads, DOWNLOAD_COLUMNS, "success"),
        read_all(arguments.features, FEATURE_COLUMNS, "decoded"),
        tests,
        config,
        _comparison(arguments.features, arguments.workers, config),
        partial(ancestors, arguments.entities),
        _fits(arguments.fits),
    )
    tables.write(decisions, tables.DECISIONS, arguments.output)
    provenance.write(
        arguments.provenance, "decide_pictures", config, SECTIONS, funnel(decisions), LIBRARIES,
        benchmarks={name: _summary(rows["sha256"].tolist()) for name, rows in tests.groupby("benchmark")},
    )  # fmt: skip


def _fits(paths: list[Path]) -> pd.Series[Any] | None:
    if not paths:
        return None
    rows = pd.concat([tables.read_frame(path) for path in paths], ignore_index=True)
    return rows.drop_duplicates("candidateID").set_index("candidateID")["fit"]


def _comparison(tables: list[Path], workers: int, config: settings.Settings) -> Comparison | None:
    share = config["curate"]["overlap"]
    return None if share is None else Comparison(tables, Rules.of(config), share, max(1, workers))


def _benchmarks(given: list[str] | None, config: settings.Settings) -> dict[str, Path]:
    if given is None:
        return {name: Path(benchmark["path"]) for name, benchmark in config["evaluate"]["benchmarks"].items()}
    parts = [option.partition("=") for option in given]
    if wrong := [name + equals + path for name, equals, path in parts if not (name and path)]:
        raise UserError(f"--benchmark {wrong[0]}: write it as NAME=PATH")
    return {name: Path(path) for name, _, path in parts}


def _summary(hashes: list[str]) -> dict[str, object]:
    return {"pictures": len(hashes), "hash": stable_hash(sorted(hashes))}


if __name__ == "__main__":
    run_program(main)
