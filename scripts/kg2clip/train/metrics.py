"""The figures of a finished run: what metrics.json holds, and the report and the model card are made from."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any

import torch

from kg2clip.train.data import Samples
from kg2clip.train.loop import Run


def metrics(experiment: str, run: Run, samples: Samples, hashes: dict[str, str], threads: int) -> dict[str, Any]:
    """The figures of a finished run, for metrics.json.

    Args:
        experiment: its name.
        run: the run.
        samples: what it trained on.
        hashes: of data, recipe and weights.
        threads: of each process.
    """
    recipe, seconds, pictures = run.recipe, run.seconds, len(samples)
    seen = run.steps * recipe.batch_size
    hours = seconds * run.world.size / 3600 if run.machine.device.type == "cuda" else None
    return {
        "experiment": experiment,
        **hashes,
        "startedFrom": recipe.pretrained,
        "pictures": pictures,
        "steps": run.steps,
        "batchSize": recipe.batch_size,
        "samplesSeen": seen,
        "epochs": round(seen / pictures, 4),
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "flopsPerPair": run.flops_per_pair,
        "flops": run.flops_per_pair * seen,
        "processor": processor(run.machine.device),
        "processes": run.world.size,
        "threads": threads,
        "machine": platform.machine(),
        "seconds": round(seconds, 1),
        "gpuHours": None if hours is None else round(hours, 3),
        "kilowattHours": None if run.joules is None else round(run.joules / 3.6e6, 4),
        "imagesPerSecond": round(seen / seconds, 1) if seen else None,
        "mfu": _mean(entry["mfu"] for entry in run.history),
        "dataWaitShare": _mean(entry["dataWaitShare"] for entry in run.history),
        "memoryGB": max((entry["memoryGB"] or 0 for entry in run.history), default=None),
        "textMix": samples.text_mix(),
        "licenses": samples.licenses,
        "sources": samples.sources,
        "recipe": recipe.said(),
        "finalLoss": run.history[-1]["loss"] if run.history else None,
        "history": run.history,
    }


def processor(device: torch.device) -> str:
    """The name of a GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None
