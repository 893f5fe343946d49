"""The metrics of a finished run, and the model card that a person reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import yaml

from kg2clip.train.recipe import Recipe

CARD = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags: [clip, kg2clip]
---
# {experiment}

A CLIP model made by kg2clip from pictures found through a knowledge graph (method of EntityNet, arXiv 2505.02746),
trained from fresh weights. Its evaluation stands in the project's report.

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
    experiment: str,
    recipe: Recipe,
    steps: int,
    pictures: int,
    parameters: int,
    flops_per_pair: int,
    seconds: float,
    history: list[dict[str, float]],
    hashes: dict[str, str],
) -> dict[str, Any]:
    """The figures of a finished run, for metrics.json.

    Args:
        experiment: its name.
        recipe: its values.
        steps: optimiser steps made.
        pictures: pictures of the dataset.
        parameters: weights of the model.
        flops_per_pair: of training on one pair.
        seconds: of computing, over all sessions of the run.
        history: one entry for each line of the log.
        hashes: dataHash and recipeHash.
    """
    samples = steps * recipe.batch_size
    return {
        "experiment": experiment,
        **hashes,
        "pictures": pictures,
        "steps": steps,
        "batchSize": recipe.batch_size,
        "samplesSeen": samples,
        "epochs": round(samples / pictures, 4),
        "parameters": parameters,
        "flopsPerPair": flops_per_pair,
        "flops": flops_per_pair * samples,
        "seconds": round(seconds, 1),
        "imagesPerSecond": round(samples / seconds, 1) if samples else None,
        "finalLoss": history[-1]["loss"] if history else None,
        "history": history,
    }


def model_card(
    facts: dict[str, Any], recipe: Recipe, device: str, licenses: dict[str, int], sources: dict[str, int]
) -> str:
    """The model card in Markdown, with the header that model hubs read."""
    values = {key: value for key, value in asdict(recipe).items() if value is not None}
    training = [
        ("steps", f"{facts['steps']:,} of {facts['batchSize']:,} pairs"),
        ("pairs seen", f"{facts['samplesSeen']:,} ({facts['epochs']:g} epochs)"),
        ("weights", f"{facts['parameters']:,}"),
        ("cost", f"{facts['flops']:.3g} FLOPs (estimate: three forward passes; two FLOPs per multiply-add)"),
        ("time", f"{facts['seconds']:,.0f} s on {device}"),
        ("data hash", facts["dataHash"]),
        ("recipe hash", facts["recipeHash"]),
    ]
    return CARD.format(
        experiment=facts["experiment"],
        training=_table(("", ""), training),
        recipe=yaml.safe_dump(values, sort_keys=False),
        pictures=facts["pictures"],
        licenses=_table(("licence", "pictures"), licenses.items()),
        sources=_table(("source", "pictures"), sources.items()),
    )


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
