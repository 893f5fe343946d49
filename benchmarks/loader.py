"""The loader of training pairs: pictures a second and core, against open_clip's stock WebDataset loader with Pillow.

Both read the same shards (JPEGs of 256 pixels, some 25 kB), crop 0.4 to 1.0 of the area, resize to 224 and tokenise to
32; ours compares each JPEG with its SHA-256 besides. One process without workers, so that the processor's time is all
that is counted; rounds in turns. Aim: three times the stock loader. The last rows are of two workers, by the clock, and
of memory over five epochs of our loader.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch

from benchmarks import measure
from benchmarks._shards import write_dataset
from kg2clip import settings
from kg2clip.device import quiet
from kg2clip.train import recipe as recipes
from kg2clip.train.data import Pieces, Samples, batches

import open_clip  # isort: skip  (kg2clip keeps it off the internet)
from open_clip.tokenizer import SimpleTokenizer  # isort: skip
from open_clip_train.data import get_wds_dataset  # type: ignore[import-untyped]  # isort: skip

PACKAGES = ("open_clip_torch", "webdataset", "pillow", "simplejpeg", "opencv-python-headless", "torch")
PICTURES, BATCH, ROUNDS, EPOCHS = 2048, 128, 5, 5

Loader = Callable[[int], int]  # of a number of workers; gives how many pictures it loaded


def run(scratch: Path) -> list[dict[str, Any]]:
    """Processor time in one process, then two workers, then memory."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        manifest = write_dataset(scratch / "dataset", PICTURES)
        loaders: dict[str, Loader] = {
            "open_clip": partial(stock, manifest, SimpleTokenizer(context_length=32)),
            "kg2clip": ours(manifest),
        }
        return [*_one_core(loaders), *_two_workers(loaders), _memory(loaders["kg2clip"])]
    finally:
        torch.set_num_threads(threads)


def _one_core(loaders: Mapping[str, Loader]) -> list[dict[str, Any]]:
    spent: dict[str, list[float]] = {name: [] for name in loaders}
    for load in loaders.values():
        load(0)  # imports and caches
    for number in range(ROUNDS):
        for name in loaders if number % 2 == 0 else reversed(list(loaders)):
            began = time.process_time()
            pictures = loaders[name](0)
            spent[name].append((time.process_time() - began) / pictures)
    ratio = median(theirs / own for theirs, own in zip(spent["open_clip"], spent["kg2clip"], strict=True))
    return [
        {"loader": name, "workers": 0, "pictures/s and core": 1 / median(seconds)}
        | {"least": 1 / max(seconds), "most": 1 / min(seconds), "times open_clip": ratio if name == "kg2clip" else 1.0}
        for name, seconds in spent.items()
    ]


def _two_workers(loaders: Mapping[str, Loader]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, load in loaders.items():
        seconds, pictures = measure.timed(partial(load, 2))
        row = {"loader": name, "workers": 2, "pictures/s": pictures / seconds}
        rows.append(row | {"times open_clip": row["pictures/s"] / rows[0]["pictures/s"] if rows else 1.0})
    return rows


def _memory(load: Loader) -> dict[str, Any]:
    grown = []
    for _ in range(EPOCHS):
        load(0)
        grown.append(measure.memory(os.getpid()) / 1e6)
    return {"loader": "kg2clip", "workers": 0, "MB more after 5 epochs than after 1": grown[-1] - grown[0]}


def ours(manifest: Path) -> Loader:
    """A function that runs through an epoch and returns its pictures; each epoch is another."""
    config = settings.complete(
        {"project": "bench", "knowledge": {"roots": ["Q1"]}, "train": {"experiments": {"main": {"batch_size": BATCH}}}},
        "the benchmark",
    )
    samples = Samples(manifest)
    pieces, steps, epochs = Pieces(samples, recipes.load(config, "main"), 1), len(samples) // BATCH, count()

    def load(workers: int) -> int:
        first = next(epochs) * steps
        return sum(len(batch.images) for batch in batches(pieces, BATCH, first, first + steps, workers, pin=False))

    return load


def stock(manifest: Path, tokenizer: SimpleTokenizer, workers: int) -> int:
    """All batches of an epoch of open_clip's loader; returns their pictures."""
    with quiet():
        preprocess = open_clip.image_transform(224, is_train=True, aug_cfg={"scale": (0.4, 1.0)})
    arguments = argparse.Namespace(
        train_data=f"{manifest.parent}/train-{{00000..00003}}.tar",
        train_num_samples=PICTURES,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        workers=workers,
        world_size=1,
        batch_size=BATCH,
    )
    data = get_wds_dataset(arguments, preprocess, is_train=True, tokenizer=tokenizer)
    return sum(len(images) for images, _ in data.dataloader)
