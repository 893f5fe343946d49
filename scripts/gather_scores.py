"""Scores of all models on all benchmarks, from their stored predictions.

In: evaluation/{experiment}/{benchmark}.parquet, any number of them; the path says which is which.
Out: evaluation/scores.parquet: top-1, top-5 and mean per-class recall for every split, form of the names and set of
prompts; the set that was best on the dev split is marked; on the test split each value has a 95 % interval.
evaluation/groups.parquet: the same by kingdom, and for taxa that the dataset shows and those that it does not.
evaluation/comparisons.parquet: each two models on the same pictures: difference, interval, p, p corrected for the
number of comparisons.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.evaluate.scores import gather

SECTIONS = ("seed", "train.experiments", "evaluate.prompts", "evaluate.bootstrap", "evaluate.baselines")
PACKAGES = ("numpy", "pandas", "pyarrow")


def main() -> None:
    """Read the arguments, compute the scores, and write the table."""
    arguments = parse_arguments()
    config = settings.load(arguments.config)
    found = gather(arguments.predictions, config)
    tables.write(found.scores, tables.SCORES, arguments.output)
    tables.write(found.groups, tables.GROUP_SCORES, arguments.groups)
    tables.write(found.comparisons, tables.COMPARISONS, arguments.comparisons)
    counts = {"tables": len(arguments.predictions), "predictions": found.predictions, "scores": len(found.scores)}
    counts |= {"groupScores": len(found.groups), "comparisons": len(found.comparisons)}
    provenance.write(
        arguments.provenance, "gather_scores", config, SECTIONS, counts, PACKAGES, withoutDevSplit=found.without_dev
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--predictions", type=Path, nargs="+", required=True, metavar="FILE", help="tables of predictions"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="evaluation/scores.parquet")
    parser.add_argument("--groups", type=Path, required=True, metavar="FILE", help="evaluation/groups.parquet")
    parser.add_argument(
        "--comparisons", type=Path, required=True, metavar="FILE", help="evaluation/comparisons.parquet"
    )
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance of this step (JSON)")
    settings.add_config_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
