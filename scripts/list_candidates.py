"""List the first COUNT pages of a mirror's many.mirror.test as candidates, as if each had been searched and found.

    python scripts/list_candidates.py results/demo/mirror 1000000 /tmp/candidates.parquet

For measuring what comes after the search. The pictures are served by any start of the same mirror (with_mirror.py).
"""

import argparse
from pathlib import Path

from kg2clip.errors import UserError, run_program
from kg2clip.mirror.build import READY
from kg2clip.mirror.many import standing, write_candidates


def main() -> None:
    """Parse arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mirror", type=Path, help="the folder of a built mirror, results/{project}/mirror")
    parser.add_argument("count", type=int, help="how many candidates")
    parser.add_argument("candidates", type=Path, help="the table to write, as search/candidates.parquet")
    parser.add_argument("--truth", type=Path, help="also write what the mirror knows of them, as mirror/truth.parquet")
    arguments = parser.parse_args()
    if not (arguments.mirror / READY).exists():
        raise UserError(f"no mirror stands in {arguments.mirror}; build one with: make demo")
    write_candidates(standing(arguments.mirror, arguments.count), arguments.candidates, arguments.truth)


if __name__ == "__main__":
    run_program(main)
