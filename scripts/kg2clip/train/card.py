"""The metrics of a finished run, and the model card that a person reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import yaml

from kg2clip.train.loop import Run
from kg2clip.train.recipe import Recipe

CARD = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags: [clip, kg2clip]
---
# {experiment}

A CLIP model made by kg2clip from pictures found through a knowledge graph (method of EntityNet, arXiv 2505.02746),
trained from {start}. Its evaluation stands in the project's report.

```python
import open_clip
model, _, preprocess = open_clip.create_model_and_transforms("local-dir:PATH/TO/THIS/FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:PATH/TO/THIS/FOLDER")
```

## Training
{training}

Recipe:

```yaml
{recipe}```

## Data
{pictures:,} pictures with texts from the knowledge graph and from the pictures' pages. Each picture's page, creator and
licence stand in the dataset's `attribution.csv`.

{licenses}

{sources}

## What it must not be used for
- Decisions that need a certain identification: which mushroom or plant may be eaten, which animal is venomous, whether
  a species is present, protected or a pest. The model always names one of the classes it is given, the right one or
  not.
- Recognising, describing or judging people.
- Uses that the pictures' licences forbid: where non-commercial (NC) or unknown licences are listed above, take the
  model as non-commercial too.

Names and labels come from web pages and a graph that anybody may edit: some are wrong, and frequent or photogenic
groups are known better than others.
"""


def metrics(
    experiment: str, run: Run, pictures: int, text_mix: dict[str, float], hashes: dict[str, str]
) -> dict[str, Any]:
    """The figures of a finished run, for metrics.json.

    Args:
        experiment: its name.
        run: the run.
        pictures: that it trained on.
        text_mix: share of each kind of texts in what it drew.
        hashes: of data, recipe and weights.
    """
    recipe, seconds = run.recipe, run.seconds
    samples = run.steps * recipe.batch_size
    hours = seconds * run.world.size / 3600 if run.machine.device.type == "cuda" else None
    return {
        "experiment": experiment,
        **hashes,
        "startedFrom": recipe.pretrained,
        "pictures": pictures,
        "steps": run.steps,
        "batchSize": recipe.batch_size,
        "samplesSeen": samples,
        "epochs": round(samples / pictures, 4),
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "flopsPerPair": run.flops_per_pair,
        "flops": run.flops_per_pair * samples,
        "processor": processor(run.machine.device),
        "processes": run.world.size,
        "seconds": round(seconds, 1),
        "gpuHours": None if hours is None else round(hours, 3),
        "kilowattHours": None if run.joules is None else round(run.joules / 3.6e6, 4),
        "imagesPerSecond": round(samples / seconds, 1) if samples else None,
        "mfu": _mean(entry["mfu"] for entry in run.history),
        "dataWaitShare": _mean(entry["dataWaitShare"] for entry in run.history),
        "memoryGB": max((entry["memoryGB"] or 0 for entry in run.history), default=None),
        "textMix": text_mix,
        "finalLoss": run.history[-1]["loss"] if run.history else None,
        "history": run.history,
    }


def processor(device: torch.device) -> str:
    """The name of a GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def model_card(
    facts: dict[str, Any], recipe: Recipe, device: str, licenses: dict[str, int], sources: dict[str, int]
) -> str:
    """The model card in Markdown, with the header that model hubs read."""
    training = [
        ("steps", f"{facts['steps']:,} of {facts['batchSize']:,} pairs"),
        ("pairs seen", f"{facts['samplesSeen']:,} ({facts['epochs']:g} epochs)"),
        ("weights", f"{facts['parameters']:,}"),
        ("started from", recipe.pretrained or "fresh weights"),
        ("cost", f"{facts['flops']:.3g} FLOPs (estimate: three forward passes; two FLOPs per multiply-add)"),
        ("time", f"{facts['seconds']:,.0f} s on {device}"),
        ("GPU hours", _or_unknown(facts["gpuHours"])),
        ("energy of the GPUs", _or_unknown(facts["kilowattHours"], " kWh")),
        ("texts drawn", ", ".join(f"{kind} {share:.0%}" for kind, share in facts["textMix"].items())),
        ("data hash", facts["dataHash"]),
        ("recipe hash", facts["recipeHash"]),
    ]
    return CARD.format(
        experiment=facts["experiment"],
        start=f"the model `{recipe.pretrained}`" if recipe.pretrained else "fresh weights",
        training=_table(("", ""), training),
        recipe=yaml.safe_dump(recipe.said(), sort_keys=False),
        pictures=facts["pictures"],
        licenses=_table(("licence", "pictures"), licenses.items()),
        sources=_table(("source", "pictures"), sources.items()),
    )


def _or_unknown(value: float | None, unit: str = "") -> str:
    return "not measured" if value is None else f"{value:g}{unit}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [
        f"| {head[0]} | {head[1]} |",
        "| --- | --- |",
        *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows),
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
