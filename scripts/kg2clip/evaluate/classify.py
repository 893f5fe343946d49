"""Zero-shot classification and few-shot probes on a benchmark, for every form of names and set of prompts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from kg2clip.errors import UserError
from kg2clip.evaluate.benchmark import Benchmark
from kg2clip.evaluate.model import Model
from kg2clip.evaluate.names import templates_of
from kg2clip.evaluate.predictions import Classes, Split, few_shot, zero_shot
from kg2clip.evaluate.zeroshot import Classifier
from kg2clip.settings import Settings

NAMES_SHOWN = 20

log = logging.getLogger(__name__)


def forms_of(benchmark: Benchmark, name: str, evaluate: Settings) -> list[str]:
    """The forms of names to evaluate: those of the config that the benchmark has.

    Raises:
        UserError: there is none.
    """
    forms = [form for form in evaluate["name_forms"] if form in benchmark.names]
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
    forms: Sequence[str],
    splits: Sequence[Split],
    seen: list[bool | None],
    evaluate: Settings,
    seed: int,
) -> tuple[list[pa.Table], dict[str, Any]]:
    """Rows of tables.PREDICTIONS, and counts for the provenance.

    Args:
        model: to ask.
        benchmark: of classes.
        forms: of names, as `forms_of` gives them.
        splits: its pictures, embedded.
        seen: for each class whether the dataset shows it.
        evaluate: prompts and few_shot, as in the config.
        seed: of the draws of few-shot pictures.
    """
    classes = Classes.of(benchmark, seen)
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
    probes = list(few_shot(splits, evaluate["few_shot"], classes, seed, model.device))
    return [*parts, *probes], {
        "classes": benchmark.classes,
        "devSplit": "dev" in benchmark.splits,
        "probes": len(probes),
        "classesSeen": {str(value): seen.count(value) for value in (True, False, None)},
        "formsWithoutNames": [form for form in evaluate["name_forms"] if form not in forms],
        "forms": {form: dict(name_counts(benchmark, form, splits, classifiers)) for form in forms},
    }


def name_counts(
    benchmark: Benchmark, form: str, splits: Sequence[Split], classifiers: Mapping[tuple[str, str], Classifier]
) -> Iterator[tuple[str, Any]]:
    """What the names of a form were like: classes without one, classes that share one, classes with cut-off texts.

    Of each the first few names, so that a person sees what is meant.
    """
    names = benchmark.names[form]
    nameless = {label for label, name in enumerate(names) if name is None}
    unscored = Counter(split.name for split in splits for label in split.labels.tolist() if label in nameless)
    own = [classifier for (of_form, _), classifier in classifiers.items() if of_form == form]
    most_shared = max(own, key=lambda classifier: len(classifier.shared))
    most_cut = max(own, key=lambda classifier: len(classifier.cut))
    yield "classesWithoutName", len(nameless)
    yield "picturesNotScored", {split.name: unscored[split.name] for split in splits}
    yield "classesWithSharedName", len(most_shared.shared)
    yield "classesWithTruncatedText", len(most_cut.cut)
    yield "sharedNames", [names[label] for label in most_shared.shared[:NAMES_SHOWN]]
    yield "truncatedNames", [names[label] for label in most_cut.cut[:NAMES_SHOWN]]
