"""What every step wrote down about itself, gathered to one line a step; and training as it went."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from kg2clip.report.results import Results, Row

# Keys of kg2clip.provenance that stand in columns of their own; everything else a step wrote is shown as it is.
COLUMNS = {"step", "date", "seconds", "python", "machine", "versions", "settings", "settingsHash", "counts", "endpoint"}


@dataclass(frozen=True)
class StepRecord:
    """All runs of one step (one a batch)."""

    step: str
    runs: int
    first: str
    last: str
    seconds: float
    versions: tuple[str, ...]
    settings_hashes: tuple[str, ...]
    endpoints: tuple[str, ...]
    machines: tuple[str, ...]
    records: str  # counts and further facts, as JSON


@dataclass(frozen=True)
class Training:
    """One training run: its curve and its final figures."""

    experiment: str
    recipe: str
    history: tuple[Row, ...]
    facts: Row  # models/{experiment}/metrics.json
    figures: tuple[tuple[str, str], ...]  # those of them that are a number or a word

    @property
    def last(self) -> Row | None:
        """The last line of the curve."""
        return self.history[-1] if self.history else None


def steps(records: list[Row]) -> tuple[StepRecord, ...]:
    """One line a step, in the order in which they ran."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for record in records:
        grouped[record.get("step", "?")].append(record)
    return tuple(
        _step(step, runs)
        for step, runs in sorted(grouped.items(), key=lambda pair: (pair[1][-1].get("date", ""), pair[0]))
    )


def endpoint(results: Results, records: list[Row]) -> str:
    """The graph's address: as the export wrote it down, else as the config has it."""
    written = [str(record["endpoint"]) for record in records if record.get("endpoint")]
    return written[0] if written else str(results.settings["knowledge"]["endpoint"])


def exported(records: list[Row]) -> str | None:
    """When the graph was asked: the date of the export."""
    return next((str(record["date"]) for record in records if record.get("step") == "export_entities"), None)


def cited(records: list[Row]) -> list[tuple[str, str]]:
    """The sources that gave a DOI to cite, with the DOI."""
    return [(str(record.get("source")), str(record["doi"])) for record in records if record.get("doi")]


def training(results: Results) -> tuple[Training, ...]:
    """The training runs of the config."""
    return tuple(_training(results, experiment) for experiment in results.experiments)


def _step(step: str, runs: list[Row]) -> StepRecord:
    dates = [str(run.get("date", "")) for run in runs]
    details = [{"counts": run.get("counts"), **{k: v for k, v in run.items() if k not in COLUMNS}} for run in runs]
    return StepRecord(
        step,
        len(runs),
        min(dates),
        max(dates),
        sum(run.get("seconds") or 0.0 for run in runs),
        _distinct(f"{name} {version}" for run in runs for name, version in run.get("versions", {}).items()),
        _distinct(run.get("settingsHash") for run in runs),
        _distinct(run.get("endpoint") for run in runs),
        _distinct(f"Python {run.get('python')}, {run.get('machine')}" for run in runs),
        json.dumps(details[0] if len(details) == 1 else details, indent=1, ensure_ascii=False),
    )


def _distinct(values: Any) -> tuple[str, ...]:
    return tuple(sorted({str(value) for value in values if value}))


def _training(results: Results, experiment: str) -> Training:
    metrics = results.metrics(experiment)
    figures = [(key, _figure(value)) for key, value in metrics.items() if isinstance(value, (int, float, str, bool))]
    recipe = results.settings["train"]["experiments"][experiment]["recipe"]
    return Training(experiment, recipe, tuple(metrics.get("history") or ()), metrics, tuple(figures))


def _figure(value: Any) -> str:
    if isinstance(value, (bool, str)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
