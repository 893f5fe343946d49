"""Compare a run's tables with what lies beside them, and name what is gone or changed. Changes nothing.

    python scripts/verify.py --config config/config.yaml

In:  results/{project}/ with raw and decoded tars, shards, models, predictions. Out: one line a finding; exit status 0
     when everything is as the tables say, 1 otherwise. Snakemake makes a declared file that is gone again by itself; it
     sees neither a lost or changed tar nor a changed byte.
"""

import argparse
import sys
from pathlib import Path

from kg2clip import settings
from kg2clip.errors import run_program
from kg2clip.operations.findings import tell
from kg2clip.operations.verify import Run, verify

SECTIONS = ()


def main() -> None:
    """Parse arguments, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="default: results/{project}")
    parser.add_argument("--quick", action="store_true", help="presence and sizes only; reads no picture")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    folder = arguments.results or Path("results") / config["project"]
    errors, _ = tell(verify(Run(folder, config, arguments.quick)))
    if errors:
        print(f"{errors} {'thing is' if errors == 1 else 'things are'} gone or changed")
        sys.exit(1)
    print("everything is as the tables say")


if __name__ == "__main__":
    run_program(main)
