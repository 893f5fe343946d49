"""Check a bundle on whatever machine: its checksums, and its scores and report made again from its tables.

    python scripts/verify_bundle.py results/demo-bundle.tar.gz

In:  what scripts/bundle.py wrote, the folder or the archive. Out: one line a finding; exit status 0 when every file is
     what was bundled and every number and figure follows from the tables, 1 otherwise. Asks nothing of the internet.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from kg2clip.errors import UserError, run_program
from kg2clip.operations import bag
from kg2clip.operations.findings import tell
from kg2clip.operations.recheck import recheck

SECTIONS = ()


def main() -> None:
    """Parse arguments, unpack where needed, check, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a folder or a .tar.gz")
    arguments = parser.parse_args()
    if not arguments.bundle.exists():
        raise UserError(f"there is no {arguments.bundle}")
    with tempfile.TemporaryDirectory(prefix="kg2clip-bundle-") as scratch:
        folder = arguments.bundle if arguments.bundle.is_dir() else bag.unpack(arguments.bundle, Path(scratch))
        errors, _ = tell(recheck(folder))
    if errors:
        print(f"{errors} {'thing is' if errors == 1 else 'things are'} not as they were bundled")
        sys.exit(1)
    print("the bundle is whole, and its numbers and figures follow from its tables")


if __name__ == "__main__":
    run_program(main)
