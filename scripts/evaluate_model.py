"""Zero-shot predictions of a model on a benchmark.

In: models/{experiment}/ (a folder that open_clip loads) and a benchmark in CLIP_benchmark's WebDataset form.
Out: evaluation/{experiment}/{benchmark}.parquet: for every split, form of the names, set of prompts and picture the
five best labels with their cosines, how far each is off in the tree of life, and how sure the model was. Every score is
computed from this table, by gather_scores.py.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kg2clip import device, provenance, settings, tables
from kg2clip.errors import UserError, run_program
from kg2clip.evaluate import benchmark as benchmarks
from kg2clip.evaluate.benchmark import Benchmark, Picture
from kg2clip.evaluate.calibration import fit_temperature
from kg2clip.evaluate.hierarchy import Ladder
from kg2clip.evaluate.names import templates_of
from kg2clip.evaluate.zeroshot import Classifier, Floats, Model, best_labels

SECTIONS = ("evaluate.name_forms", "evaluate.prompts")
PACKAGES = ("torch", "open_clip_torch", "torchvision", "pillow", "numpy")
CALIBRATED_ON = 2000  # pictures
NAMES_SHOWN = 20

log = logging.getLogger(__name__)


def main() -> None:
    """Read the arguments, predict, and write the table."""
    arguments = parse_arguments()
    config = settings.load(arguments.config)
    device.use_threads(arguments.threads)
    benchmark = benchmarks.load(arguments.benchmark)
    forms = [form for form in config["evaluate"]["name_forms"] if form in benchmark.names]
    if not forms:
        raise UserError(
            f"benchmark {arguments.benchmark_name} has names of these forms only: {', '.join(benchmark.names)}; "
            "name one of them in evaluate.name_forms"
        )
    if "dev" not in benchmark.splits:
        log.warning("benchmark %s has no dev split: the first set of prompts is reported", arguments.benchmark_name)
    model = Model(arguments.model, device.select(config["train"]["device"]))
    classifiers = {
        (form, prompts): model.classifier(benchmark.names[form], templates_of(written))
        for form in forms
        for prompts, written in config["evaluate"]["prompts"].items()
    }
    pictures = {split: benchmark.pictures(split) for split in benchmark.splits}
    embedded = {
        split: model.embed_pictures(of_split, config["train"]["workers"], f"{arguments.benchmark_name} {split}")
        for split, of_split in pictures.items()
    }
    ladder, parts = Ladder(benchmark.ranks), []
    for key, classifier in classifiers.items():
        temperature = None
        if "dev" in benchmark.splits:
            temperature = fitted_temperature(pictures["dev"], embedded["dev"], classifier, model.logit_scale)
        parts += [
            predict(split, pictures[split], embedded[split], key, classifier, ladder, model.logit_scale, temperature)
            for split in benchmark.splits
        ]
    tables.write(pa.concat_tables(parts), tables.PREDICTIONS, arguments.output)
    counts = {
        "pictures": {split: len(pictures[split]) for split in benchmark.splits},
        "classes": benchmark.classes,
        "devSplit": "dev" in benchmark.splits,
        "formsWithoutNames": [form for form in config["evaluate"]["name_forms"] if form not in forms],
        "forms": {form: dict(name_counts(benchmark, form, pictures, classifiers)) for form in forms},
    }
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


def fitted_temperature(pictures: list[Picture], embedded: Floats, classifier: Classifier, scale: float) -> float | None:
    """The temperature fitted on pictures of the dev split, at most 2,000 of them; None where none has a named class."""
    labels = np.array([picture.label for picture in pictures])
    named = np.flatnonzero(np.isin(labels, classifier.labels))
    if not len(named):
        return None
    some = named[:: -(-len(named) // CALIBRATED_ON)]
    places = np.searchsorted(classifier.labels, labels[some])
    return fit_temperature(classifier.cosines(embedded[some]), places, scale)


def predict(
    split: str,
    pictures: list[Picture],
    embedded: Floats,
    key: tuple[str, str],
    classifier: Classifier,
    ladder: Ladder,
    scale: float,
    temperature: float | None,
) -> pa.Table:
    """Rows of tables.PREDICTIONS for a form and prompts; pictures of classes without a name in it are left out."""
    named = np.isin([picture.label for picture in pictures], classifier.labels)
    scales = [scale, scale / temperature] if temperature else [scale]
    labels, scores, confidences = best_labels(embedded[named], classifier, scales=scales)
    scored = [picture for picture, is_named in zip(pictures, named, strict=True) if is_named]
    right = np.array([picture.label for picture in scored], np.int32)
    columns: dict[str, Any] = {
        "key": [picture.key for picture in scored],
        "split": [split] * len(scored),
        "label": right,
        "nameForm": [key[0]] * len(scored),
        "prompts": [key[1]] * len(scored),
        "top": list(labels),
        "scores": list(scores),
        "heights": list(ladder.heights(right, labels)) if ladder.known and scored else [None] * len(scored),
        "confidence": confidences[:, 0],
        "calibrated": confidences[:, 1] if temperature else [None] * len(scored),
        "temperature": [temperature] * len(scored),
    }
    return pa.table(columns, schema=tables.PREDICTIONS)


def name_counts(
    benchmark: Benchmark, form: str, pictures: dict[str, list[Picture]], classifiers: dict[tuple[str, str], Classifier]
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
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="models/NAME")
    parser.add_argument("--benchmark-name", required=True, metavar="NAME", help="the benchmark's name in the config")
    parser.add_argument("--benchmark", type=Path, required=True, metavar="FOLDER", help="the benchmark's folder")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the table of predictions")
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance of this step (JSON)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to compute with (default: all)")
    settings.add_config_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
