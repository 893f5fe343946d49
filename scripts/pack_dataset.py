"""Pack the kept pictures with their texts into shards, and write the dataset's papers.

In:  knowledge/entities.parquet, queries/queries.parquet, search/candidates.parquet, all curate/*.features.parquet with
     the decoded tars beside them, curate/decisions.parquet
Out: dataset/train-NNNNN.tar and sizes.json, manifest.parquet, croissant.json, README.md, attribution.csv
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.dataset import papers
from kg2clip.dataset.pack import Inputs, pack, read_samples, remove_stale
from kg2clip.errors import run_program
from kg2clip.files import only_writer

SECTIONS = ("project", "seed", "dataset", "knowledge.roots", "curate")  # the data card tells of the last two


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
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)

    inputs = Inputs(
        arguments.entities, arguments.queries, arguments.candidates, arguments.features, arguments.decisions
    )
    folder = arguments.output_dir
    manifest = folder / "manifest.parquet"
    samples = read_samples(inputs)
    with only_writer(folder):
        rows, counts = pack(inputs, samples, folder, config)
        tables.write(rows, tables.DATASET, manifest)
        entities = {row["entityID"]: row for row in tables.read(inputs.entities).to_pylist()}
        papers.write_attribution(rows, folder / "attribution.csv")
        papers.write_card(rows, entities, counts, config, folder / "README.md")
        papers.write_croissant(rows, config, _date(counts["newest"]), manifest, folder / "croissant.json")
        remove_stale(folder, rows)
    provenance.write(arguments.provenance, "pack_dataset", config, SECTIONS, counts, ("ftfy", "mlcroissant", "pyarrow"))


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


if __name__ == "__main__":
    run_program(main)
