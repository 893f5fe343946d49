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
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from kg2clip import device, provenance, settings, tables
from kg2clip.errors import UserError, run_program
from kg2clip.evaluate import benchmark as benchmarks
from kg2clip.evaluate.benchmark import Benchmark, Picture
from kg2clip.evaluate.model import Model
from kg2clip.evaluate.names import templates_of
from kg2clip.evaluate.predictions import Classes, Split, few_shot, zero_shot
from kg2clip.evaluate.retrieval import retrieve
from kg2clip.evaluate.seen import met_pictures, seen_classes
from kg2clip.evaluate.zeroshot import Classifier, Floats

SECTIONS = ("seed", "evaluate.name_forms", "evaluate.prompts", "evaluate.few_shot")
PACKAGES = ("torch", "open_clip_torch", "torchvision", "pillow", "numpy")
NAMES_SHOWN = 20

log = logging.getLogger(__name__)


def main() -> None:
    """Read the arguments, predict, and write the table."""
    arguments = parse_arguments()
    config = settings.load(arguments.config)
    device.use_threads(arguments.threads)
    benchmark = benchmarks.load(arguments.benchmark)
    forms = [] if benchmark.retrieval else forms_of(benchmark, arguments.benchmark_name, config)
    pictures = {split: benchmark.pictures(split) for split in benchmark.splits}
    counts: dict[str, Any] = {"pictures": {split: len(of_split) for split, of_split in pictures.items()}}
    model = Model(arguments.model, device.select(config["train"]["device"]))
    embedded = {
        split: model.embed_pictures(of_split, config["train"]["workers"], f"{arguments.benchmark_name} {split}")
        for split, of_split in pictures.items()
    }
    if benchmark.retrieval:
        parts = [retrieve(model, split, pictures[split], embedded[split]) for split in pictures]
        tables.write(pa.concat_tables(parts), tables.RETRIEVALS, arguments.output)
        counts["captions"] = {split: sum(len(each.captions) for each in pictures[split]) for split in pictures}
    else:
        parts, found = classify(model, benchmark, forms, pictures, embedded, arguments, config)
        tables.write(pa.concat_tables(parts), tables.PREDICTIONS, arguments.output)
        counts |= found
    provenance.write(
        arguments.provenance,
        "evaluate_model",
        config,
        SECTIONS,
        counts,
        PACKAGES,
        benchmark=arguments.benchmark_name,
        model=str(arguments.model),
    )


def forms_of(benchmark: Benchmark, name: str, config: settings.Settings) -> list[str]:
    """The forms of names to evaluate: those of the config that the benchmark has.

    Raises:
        UserError: there is none.
    """
    forms = [form for form in config["evaluate"]["name_forms"] if form in benchmark.names]
    if not forms:
        known = ", ".join(benchmark.names)
        raise UserError(
            f"benchmark {name} has names of these forms only: {known}; name one of them in evaluate.name_forms"
        )
    if "dev" not in benchmark.splits:
        log.warning("benchmark %s has no dev split: the first set of prompts is reported", name)
    return forms


def classify(
    model: Model,
    benchmark: Benchmark,
    forms: list[str],
    pictures: Mapping[str, list[Picture]],
    embedded: Mapping[str, Floats],
    arguments: argparse.Namespace,
    config: settings.Settings,
) -> tuple[list[pa.Table], dict[str, Any]]:
    """Rows of tables.PREDICTIONS, zero-shot and few-shot, and counts for the provenance."""
    evaluate = config["evaluate"]
    seen: list[bool | None] = [None] * benchmark.classes
    if arguments.dataset and arguments.entities:
        seen = seen_classes(benchmark, arguments.dataset, arguments.entities)
    classes = Classes.of(benchmark, seen)
    met = met_pictures(arguments.decisions, arguments.benchmark_name) if arguments.decisions else None
    splits = [Split.of(split, pictures[split], embedded[split], met) for split in pictures]
    classifiers = {
        (form, prompts): model.classifier(benchmark.names[form], templates_of(written))
        for form in forms
        for prompts, written in evaluate["prompts"].items()
    }
    parts = [
        part
        for (form, prompts), classifier in classifiers.items()
        for part in zero_shot(splits, form, prompts, classifier, classes, model.logit_scale)
    ]
    probes = list(few_shot(splits, evaluate["few_shot"], classes, config["seed"], model.device))
    return [*parts, *probes], {
        "classes": benchmark.classes,
        "devSplit": "dev" in benchmark.splits,
        "probes": len(probes),
        "picturesMet": None if met is None else len(met),
        "classesSeen": {str(value): seen.count(value) for value in (True, False, None)},
        "formsWithoutNames": [form for form in evaluate["name_forms"] if form not in forms],
        "forms": {form: dict(name_counts(benchmark, form, pictures, classifiers)) for form in forms},
    }


def name_counts(
    benchmark: Benchmark,
    form: str,
    pictures: Mapping[str, list[Picture]],
    classifiers: Mapping[tuple[str, str], Classifier],
) -> Iterator[tuple[str, Any]]:
    """What the names of a form were like: classes without one, classes that share one, classes with cut-off texts.

    Of each the first few names, so that a person sees what is meant.
    """
    names = benchmark.names[form]
    nameless = {label for label, name in enumerate(names) if name is None}
    unscored = Counter(split for split in pictures for picture in pictures[split] if picture.label in nameless)
    own = [classifier for (of_form, _), classifier in classifiers.items() if of_form == form]
    most_shared = max(own, key=lambda classifier: len(classifier.shared))
    most_cut = max(own, key=lambda classifier: len(classifier.cut))
    yield "classesWithoutName", len(nameless)
    yield "picturesNotScored", {split: unscored[split] for split in pictures}
    yield "classesWithSharedName", len(most_shared.shared)
    yield "classesWithTruncatedText", len(most_cut.cut)
    yield "sharedNames", [names[label] for label in most_shared.shared[:NAMES_SHOWN]]
    yield "truncatedNames", [names[label] for label in most_cut.cut[:NAMES_SHOWN]]


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
