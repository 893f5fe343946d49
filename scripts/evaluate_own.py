"""Predictions of a model on the dataset's own held-out pictures: zero-shot classification and retrieval.

In:  models/{experiment}/ (a folder that open_clip loads) or the name of another model; dataset/manifest.parquet with
     its shards beside it; knowledge/entities.parquet.
Out: evaluation/{experiment}/own.parquet, as evaluate_model.py writes it: which of all entities of the dataset a picture
     shows; and evaluation/{experiment}/own-texts.parquet: which of the texts that came with the pictures is a
     picture's, and which picture is a text's. The pictures are of the same sources and queries as those that models
     learn from, so figures on them are optimistic. Where the dataset was too small to hold pictures out, the tables are
     empty.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa

from kg2clip import device, provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.evaluate import own
from kg2clip.evaluate.classify import classify, forms_of
from kg2clip.evaluate.model import Model
from kg2clip.evaluate.own import Own
from kg2clip.evaluate.predictions import Split
from kg2clip.evaluate.retrieval import retrieve
from kg2clip.evaluate.seen import seen_classes
from kg2clip.evaluate.zeroshot import Floats

SECTIONS = ("seed", "evaluate.name_forms", "evaluate.prompts")
PACKAGES = ("torch", "open_clip_torch", "torchvision", "pillow", "numpy")
PROBES: dict[str, Any] = {"few_shot": []}  # few entities have pictures enough in val

log = logging.getLogger(__name__)


def main() -> None:
    """Read the arguments, predict, and write both tables."""
    arguments = parse_arguments()
    config = settings.load(arguments.config)
    device.use_threads(arguments.threads)
    held = own.load(arguments.dataset, arguments.entities)
    counts: dict[str, Any] = {"pictures": {split: len(pictures) for split, pictures in held.pictures.items()}}
    named, captioned = [tables.PREDICTIONS.empty_table()], [tables.RETRIEVALS.empty_table()]
    if "test" in held.pictures:
        model = Model(arguments.model, device.select(config["train"]["device"]))
        embedded = {
            split: model.embed_pictures(pictures, config["train"]["workers"], f"own {split}")
            for split, pictures in held.pictures.items()
        }
        parts, found = names(model, held, embedded, arguments, config)
        named += parts
        captioned += texts(model, held, embedded)
        counts |= found
    else:
        log.warning("NOTE: the dataset holds no picture out for test (dataset.test_share), so there is nothing to ask")
    tables.write(pa.concat_tables(named), tables.PREDICTIONS, arguments.names)
    tables.write(pa.concat_tables(captioned), tables.RETRIEVALS, arguments.texts)
    counts |= {"captions": captioned_count(captioned)}
    provenance.write(
        arguments.provenance, "evaluate_own", config, SECTIONS, counts, PACKAGES, model=str(arguments.model)
    )


def names(
    model: Model, held: Own, embedded: dict[str, Floats], arguments: argparse.Namespace, config: settings.Settings
) -> tuple[list[pa.Table], dict[str, Any]]:
    """Rows of tables.PREDICTIONS and counts; none where no test picture shows one entity alone."""
    labelled = {split: held.labelled(split, vectors) for split, vectors in embedded.items()}
    splits = [Split.of(split, *found, met=None) for split, found in labelled.items() if found[0]]
    if "test" not in [split.name for split in splits]:
        return [], {}
    forms = forms_of(held.benchmark, "own", config["evaluate"])
    seen = seen_classes(held.benchmark, arguments.dataset, arguments.entities)
    return classify(model, held.benchmark, forms, splits, seen, config["evaluate"] | PROBES, config["seed"])


def texts(model: Model, held: Own, embedded: dict[str, Floats]) -> list[pa.Table]:
    """Rows of tables.RETRIEVALS; none where no picture came with a text of its own."""
    captioned = {split: held.captioned(split, vectors) for split, vectors in embedded.items()}
    return [retrieve(model, split, *found) for split, found in captioned.items() if found[0]]


def captioned_count(parts: list[pa.Table]) -> int:
    """Captions that were asked for."""
    return sum(part["query"].to_pylist().count("text") for part in parts)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="models/NAME, hf-hub:OWNER/NAME, or ARCHITECTURE/TAG"
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE", help="dataset/manifest.parquet")
    parser.add_argument("--entities", type=Path, required=True, metavar="FILE", help="knowledge/entities.parquet")
    parser.add_argument("--names", type=Path, required=True, metavar="FILE", help="evaluation/MODEL/own.parquet")
    parser.add_argument("--texts", type=Path, required=True, metavar="FILE", help="evaluation/MODEL/own-texts.parquet")
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance of this step (JSON)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to compute with (default: all)")
    settings.add_config_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
