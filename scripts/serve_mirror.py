"""Serve a built mirror until standard input closes. Started by with_mirror.py; prints the map of host names when
ready.
"""

import argparse
import asyncio
from pathlib import Path

from kg2clip.errors import run_program
from kg2clip.mirror.serve import serve


def main() -> None:
    """Parse arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the mirror's folder, results/{project}/mirror")
    parser.add_argument("--latency", type=float, default=0, metavar="SECONDS", help="before each answer (default: 0)")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.folder, arguments.latency))


if __name__ == "__main__":
    run_program(main)
