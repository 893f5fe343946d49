"""The model card: what a person who gets the model's folder alone has to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import yaml

from kg2clip.report.filters import percent
from kg2clip.settings import OWN

Row = Mapping[str, Any]

CARD = """---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags: [clip, kg2clip]
---
# {experiment}

A CLIP model made by kg2clip from pictures found through a knowledge graph (method of EntityNet, arXiv 2505.02746),
trained from {start}.

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

## Scores
{scores}

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


def model_card(facts: Row, graph: Row, scores: Sequence[Row]) -> str:
    """The model card in Markdown, with the header that model hubs read.

    Args:
        facts: metrics.json of the model; one of an earlier version says less.
        graph: provenance of the export: endpoint and date.
        scores: rows of tables.SCORES of this model.
    """
    start = facts["startedFrom"]
    training = [
        ("steps", f"{facts['steps']:,} of {facts['batchSize']:,} pairs"),
        ("pairs seen", f"{facts['samplesSeen']:,} ({facts['epochs']:g} epochs)"),
        ("weights", f"{facts['parameters']:,}"),
        ("started from", start or "fresh weights"),
        ("cost", f"{facts['flops']:.3g} FLOPs (estimate: three forward passes; two FLOPs per multiply-add)"),
        ("time", f"{facts['seconds']:,.0f} s on {_machine(facts)}"),
        ("GPU hours", _or_unknown(facts["gpuHours"])),
        ("energy of the GPUs", _or_unknown(facts["kilowattHours"], " kWh")),
        ("texts drawn", ", ".join(f"{kind} {share:.0%}" for kind, share in facts["textMix"].items())),
        ("data hash", facts["dataHash"]),
        ("recipe hash", facts["recipeHash"]),
        (
            "graph",
            f"{graph.get('endpoint') or 'unknown'}, read on {str(graph.get('date') or '')[:10] or 'an unknown day'}",
        ),
    ]
    return CARD.format(
        experiment=facts["experiment"],
        start=f"the model `{start}`" if start else "fresh weights",
        training=_table(("", ""), training),
        recipe=yaml.safe_dump(facts.get("recipe", {}), sort_keys=False),
        pictures=facts["pictures"],
        licenses=_table(("licence", "pictures"), facts.get("licenses", {}).items()),
        sources=_table(("source", "pictures"), facts.get("sources", {}).items()),
        scores="\n\n".join(_scores(scores)),
    )


def _machine(facts: Row) -> str:
    parts = [facts.get("machine"), f"{facts['processes']} processes of {facts.get('threads', 'all')} threads"]
    return f"{facts['processor']} ({', '.join(filter(None, parts))})"


def _scores(rows: Sequence[Row]) -> Iterator[str]:
    """Tables of what was measured on test, with the prompts that were best on dev."""
    told = [row for row in rows if row["split"] == "test" and row["chosen"]]
    if not told:
        yield "Not evaluated: the config names no evaluation set."
        return
    yield "On test pictures, with 95 % intervals; prompts were chosen on dev. The project's report has the whole grid."
    for captions, columns in ((False, ("top1", "top5", "macro", "eceCalibrated")), (True, ("r1", "r5", "r10"))):
        some = [row for row in told if (row["nameForm"] == "captions") == captions]
        if some:
            yield _table(("set", "names", "prompts", *columns), _lines(some, columns))
    if any(row["benchmark"] in OWN for row in told):
        yield "The sets *own* and *own-texts* are held-out pictures of the training data's own sources: optimistic."


def _lines(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Sequence[str]]:
    def line(row: Row) -> tuple[str, str, str]:
        return row["benchmark"], row["nameForm"], row["prompts"]

    for key, group in groupby(sorted(rows, key=line), key=line):
        values = {row["metric"]: row for row in group}
        yield *key, *(_value(values.get(column)) for column in columns)


def _value(row: Row | None) -> str:
    if row is None:
        return ""
    interval = f" ({percent(row['low'])} to {percent(row['high'])})" if row["low"] is not None else ""
    return f"{percent(row['value'])}{interval}"


def _or_unknown(value: float | None, unit: str = "") -> str:
    return "not measured" if value is None else f"{value:g}{unit}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
