"""Make the dataset of a bundle again, from the addresses in it, and say per host what is still there.

    python scripts/rebuild.py results/bees-bundle.tar.gz --contact me@example.org

In:  what scripts/bundle.py wrote, the folder or the archive; your e-mail address, which the hosts are told. Out:
     results/{project}-rebuilt/dataset/, packed by the bundle's decisions from the pictures whose bytes are what they
     were, and results/{project}-rebuilt/pictures.csv: each picture with what became of it (same, changed, gone, no
     answer now). A run that was stopped, or hosts that did not answer: the same command goes on. Exit status 0 when
     every host answered, 3 otherwise.
"""

import argparse
import csv
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kg2clip import settings
from kg2clip.errors import IncompleteError, UserError, run_program
from kg2clip.files import atomic_path, only_writer
from kg2clip.operations import bag, bundle, rebuild

SECTIONS = ()


def main() -> None:
    """Parse arguments, fetch, compare, pack, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a folder or a .tar.gz")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: results/{project}-rebuilt")
    parser.add_argument("--contact", default="", metavar="ADDRESS", help="your e-mail address or web page")
    arguments = parser.parse_args()
    if not arguments.bundle.exists():
        raise UserError(f"there is no {arguments.bundle}")
    with tempfile.TemporaryDirectory(prefix="kg2clip-bundle-") as scratch:
        source = arguments.bundle if arguments.bundle.is_dir() else bag.unpack(arguments.bundle, Path(scratch))
        target = arguments.output or Path("results") / f"{project_of(source)}-rebuilt"
        rebuild.check_target(target)
        with only_writer(target):
            silent = make_again(source, target, arguments.contact)
    if silent:
        raise IncompleteError(f"{silent:,} pictures gave no answer now. The same command tries only these again")


def make_again(source: Path, target: Path, contact: str) -> int:
    """Rebuild into `target`; return how many pictures may still come."""
    place, config = rebuild.prepare(source, target, contact)
    rebuild.fetch(place, config)
    found = list(rebuild.outcomes(place, config))
    write_list(found, target / "pictures.csv")
    for line in rebuild.by_host(found):
        print(line)
    counts = Counter(row["outcome"] for row in found)
    if counts[rebuild.SAME]:
        rebuild.pack(place, config, found)
        print(rebuild.compare(place))
        print(target / "dataset")
    elif not counts[rebuild.SILENT]:
        raise UserError(f"no picture is what it was, so there is no dataset: {target / 'pictures.csv'} says why")
    return counts[rebuild.SILENT]


def project_of(source: Path) -> str:
    """The name of a bundle's run."""
    path = source / bag.PAYLOAD / bundle.CONFIG
    if not path.is_file():
        raise UserError(f"{source} is no bundle: it has no {path.relative_to(source)}")
    return str(settings.load(path)["project"])


def write_list(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write what became of each picture."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["candidateID", "host", "outcome", "reason", "accessURI"])
        writer.writeheader()
        writer.writerows({key: as_text(value) for key, value in row.items()} for row in found)


def as_text(value: Any) -> Any:
    """A cell that a spreadsheet takes as text, not as a formula."""
    return f"'{value}" if str(value).startswith(("=", "+", "-", "@")) else value


if __name__ == "__main__":
    run_program(main)
