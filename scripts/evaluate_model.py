"""Predictions of a model on a benchmark: zero-shot classification and few-shot probes, or retrieval.

In:  models/{experiment}/ (a folder that open_clip loads) or the name of another model, and a benchmark in
     CLIP_benchmark's WebDataset form.
Out: evaluation/{experiment}/{benchmark}.parquet: for every split, form of the names, set of prompts and picture the
     five best labels with their cosines, how far each is off in the tree of life, and how sure the model was; for test
     pictures also those of linear probes that saw a few pictures of each class. Of a benchmark of captions, for every
     picture and caption, where the right one stood among all. Every score is computed from this table, by
     gather_scores.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyarrow as pa

from kg2clip import device, provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.evaluate import benchmark as benchmarks
from kg2clip.evaluate.classify import classify, forms_of
from kg2clip.evaluate.model import Model
from kg2clip.evaluate.predictions import Split
from kg2clip.evaluate.retrieval import retrieve
from kg2clip.evaluate.seen import met_pictures, seen_classes

SECTIONS = ("seed", "evaluate.name_forms", "evaluate.prompts", "evaluate.few_shot")
PACKAGES = ("torch", "open_clip_torch", "torchvision", "pillow", "numpy")


def main() -> None:
    """Read the arguments, predict, and write the table."""
    arguments = parse_arguments()
    config = settings.load(arguments.config)
    device.use_threads(arguments.threads)
    benchmark = benchmarks.load(arguments.benchmark)
    name = arguments.benchmark_name
    forms = [] if benchmark.retrieval else forms_of(benchmark, name, config["evaluate"])
    pictures = {split: benchmark.pictures(split) for split in benchmark.splits}
    counts: dict[str, Any] = {"pictures": {split: len(of_split) for split, of_split in pictures.items()}}
    model = Model(arguments.model, device.select(config["train"]["device"]))
    embedded = {
        split: model.embed_pictures(of_split, config["train"]["workers"], f"{name} {split}")
        for split, of_split in pictures.items()
    }
    if benchmark.retrieval:
        parts = [retrieve(model, split, pictures[split], embedded[split]) for split in pictures]
        tables.write(pa.concat_tables(parts), tables.RETRIEVALS, arguments.output)
        counts["captions"] = {split: sum(len(each.captions) for each in pictures[split]) for split in pictures}
    else:
        met = met_pictures(arguments.decisions, name) if arguments.decisions else None
        splits = [Split.of(split, pictures[split], embedded[split], met) for split in pictures]
        seen: list[bool | None] = [None] * benchmark.classes
        if arguments.dataset and arguments.entities:
            seen = seen_classes(benchmark, arguments.dataset, arguments.entities)
        parts, found = classify(model, benchmark, forms, splits, seen, config["evaluate"], config["seed"])
        tables.write(pa.concat_tables(parts), tables.PREDICTIONS, arguments.output)
        counts |= found | {"picturesMet": None if met is None else len(met)}
    provenance.write(
        arguments.provenance,
        "evaluate_model",
        config,
        SECTIONS,
        counts,
        PACKAGES,
        benchmark=name,
        model=str(arguments.model),
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="models/NAME, hf-hub:OWNER/NAME, or ARCHITECTURE/TAG",
    )
    parser.add_argument("--benchmark-name", required=True, metavar="NAME", help="the benchmark's name in the config")
    parser.add_argument("--benchmark", type=Path, required=True, metavar="FOLDER", help="the benchmark's folder")
    parser.add_argument("--dataset", type=Path, metavar="FILE", help="dataset/manifest.parquet, to tell seen taxa by")
    parser.add_argument("--entities", type=Path, metavar="FILE", help="knowledge/entities.parquet, for the same")
    parser.add_argument(
        "--decisions",
        type=Path,
        metavar="FILE",
        help="curate/decisions.parquet, to tell pictures that were met",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the table of predictions")
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance of this step (JSON)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to compute with (default: all)")
    settings.add_config_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
