"""Compare what the chain decided with what the mirror planted (demo and tests only).

In:  mirror/truth.parquet, curate/decisions.parquet, dataset/manifest.parquet. Out: mirror/scores.parquet and
mirror/misses.parquet.
"""

import argparse
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.mirror.score import MISSES, SCORES, Judge

SECTIONS = ()


def main() -> None:
    """Parse arguments, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("truth", "decisions", "dataset", "scores", "misses", "provenance"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    judge = Judge(
        *(tables.read(path).to_pylist() for path in (arguments.truth, arguments.decisions, arguments.dataset))
    )
    tables.write(judge.scores, SCORES, arguments.scores)
    tables.write(judge.misses, MISSES, arguments.misses)
    counts = {"detectors scored": len(judge.scores), "misses": len(judge.misses)}
    provenance.write(arguments.provenance, "score_against_truth", config, SECTIONS, counts, ("scipy",))


if __name__ == "__main__":
    run_program(main)
