"""Pack a finished run into an archive for a DOI: everything that its numbers follow from, with checksums.

    python scripts/bundle.py --config config/config.yaml

In:  results/{project}/, finished. Out: the folder results/{project}-bundle/ (a BagIt bag, its payload an RO-Crate) and
     beside it the same as .tar.gz: config, tables, addresses, checksums, licences, predictions, scores, report,
     figures, locks, code version. No pictures and no weights, unless you ask. scripts/verify_bundle.py checks it.
"""

import argparse
from pathlib import Path

from kg2clip import settings
from kg2clip.errors import run_program
from kg2clip.operations import bag
from kg2clip.operations.bundle import Choice, bundle

SECTIONS = ()


def main() -> None:
    """Parse arguments, gather, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="default: results/{project}")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: results/{project}-bundle")
    parser.add_argument("--with-pictures", action="store_true", help="the shards too: mind the pictures' licences")
    parser.add_argument("--with-models", action="store_true", help="the models' weights too")
    parser.add_argument("--no-archive", action="store_true", help="the folder only, no .tar.gz")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    results = arguments.results or Path("results") / config["project"]
    target = arguments.output or Path("results") / f"{config['project']}-bundle"
    bundle(results, config, target, Choice(arguments.with_pictures, arguments.with_models))
    print(target)
    if not arguments.no_archive:
        archive = target.with_name(f"{target.name}.tar.gz")
        bag.pack(target, archive)
        print(archive)


if __name__ == "__main__":
    run_program(main)
