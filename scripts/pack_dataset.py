"""Pack the kept pictures with their texts into shards, and write the dataset's papers.

In:  knowledge/entities.parquet, queries/queries.parquet, search/candidates.parquet, all curate/*.features.parquet with
     the decoded tars beside them, curate/decisions.parquet
     and the list of pictures that were taken down (config: dataset.removed)
Out: dataset/train-NNNNN.tar (val and test too), each with its index, and sizes.json, manifest.parquet, croissant.json,
     README.md, attribution.csv
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from kg2clip import provenance, removals, settings
from kg2clip.codehash import code_hash
from kg2clip.dataset.finish import finish
from kg2clip.dataset.pack import pack
from kg2clip.dataset.plan import Inputs
from kg2clip.errors import run_program
from kg2clip.files import only_writer

SECTIONS = ("project", "seed", "dataset", "knowledge.roots", "curate")  # the data card tells of the last two
PACKAGES = ("duckdb", "ftfy", "mlcroissant", "py3langid", "pyarrow")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", required=True, type=Path, metavar="FILE")
    parser.add_argument("--queries", required=True, type=Path, metavar="FILE")
    parser.add_argument("--candidates", required=True, type=Path, metavar="FILE")
    parser.add_argument("--features", required=True, nargs="+", type=Path, metavar="FILE", help="features tables")
    parser.add_argument("--decisions", required=True, type=Path, metavar="FILE")
    parser.add_argument("--output-dir", required=True, type=Path, metavar="FOLDER", help="the dataset's folder")
    parser.add_argument("--provenance", required=True, type=Path, metavar="FILE")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that write shards (default: 1)")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)

    inputs = Inputs(
        arguments.entities, arguments.queries, arguments.candidates, arguments.features, arguments.decisions
    )
    folder = arguments.output_dir
    removed = removals.keys(config["dataset"]["removed"])
    with only_writer(folder):
        packed = pack(inputs, folder, config, removed, max(1, arguments.workers), code_hash("pack_dataset"))
        counts = finish(folder, packed.shards, inputs.entities, config, _date(packed.newest))
    counts |= {"removed": packed.removed}
    taken_down = removals.digest(config["dataset"]["removed"])
    provenance.write(arguments.provenance, "pack_dataset", config, SECTIONS, counts, PACKAGES, takenDown=taken_down)


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


if __name__ == "__main__":
    run_program(main)
