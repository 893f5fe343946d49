"""Scoring of made embeddings, as a process of its own so that its time and memory can be measured.

python benchmarks/_scoring.py blocks 100000 10000 /tmp/scores
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from kg2clip import device, tables
from kg2clip.evaluate.hierarchy import Ladder
from kg2clip.evaluate.names import RANKS
from kg2clip.evaluate.predictions import Classes, Split, zero_shot
from kg2clip.evaluate.scores import read_answers, scores
from kg2clip.evaluate.zeroshot import Classifier, Floats

import torch  # isort: skip  (after kg2clip.device, which sets what it reads)

WIDTH = 512  # of ViT-B-32's and ViT-B-16's embeddings
DEV = 2_000
SIZES = (3, 14, 50, 300, 1000, 4900)  # groups of each rank, about iNaturalist 2021's
SCALE = 100.0


def made(pictures: int, classes: int) -> tuple[Floats, Floats, np.ndarray]:
    """Normalised embeddings of pictures and of class names, and the pictures' labels."""
    random = np.random.default_rng(0)
    names = random.standard_normal((classes, WIDTH), np.float32)
    labels = random.integers(0, classes, pictures).astype(np.int32)
    embedded = names[labels]
    embedded += 8 * random.standard_normal((pictures, WIDTH), np.float32)
    for matrix in (names, embedded):
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return embedded, names, labels


def blocks(pictures: int, classes: int, folder: Path) -> dict[str, float]:
    """Ours: the stored predictions with heights and calibration, then all scores from their file."""
    embedded, names, labels = made(pictures + DEV, classes)
    keys = [f"s{number:07d}" for number in range(len(labels))]
    splits = [
        Split(name, keys[part], labels[part], embedded[part], np.arange(len(labels))[part] % 7 == 0)
        for name, part in (("dev", slice(DEV)), ("test", slice(DEV, None)))
    ]
    ranks = [
        {rank: f"{rank} {number * size // classes}" for rank, size in zip(RANKS, SIZES, strict=True)}
        for number in range(classes)
    ]
    known = Classes(Ladder(ranks), [each["kingdom"] for each in ranks], [number % 3 > 0 for number in range(classes)])
    classifier = Classifier(np.arange(classes, dtype=np.int32), names, np.arange(classes), [], [])
    began = time.perf_counter()
    parts = zero_shot(splits, "common", "bare", classifier, known, SCALE)
    tables.write(pa.concat_tables(parts), tables.PREDICTIONS, folder / "made.parquet")
    predicted = time.perf_counter()
    answers = read_answers(tables.read(folder / "made.parquet"))
    rows = scores(answers, {"experiment": "made", "benchmark": "made"}, ["bare"], 1000, seed=1)
    top1 = next(row["value"] for row in rows if (row["split"], row["metric"]) == ("test", "top1"))
    return {"predictions s": predicted - began, "scores s": time.perf_counter() - predicted, "top1": top1}


def whole(pictures: int, classes: int, folder: Path) -> dict[str, float]:
    """The plain way: all logits at once, then topk, as CLIP_benchmark does it. Top-1, top-5, recall by class."""
    embedded, names, labels = made(pictures, classes)
    began = time.perf_counter()
    logits = SCALE * torch.from_numpy(embedded) @ torch.from_numpy(names).T
    best = logits.topk(5, dim=1).indices
    hits = (best == torch.from_numpy(labels).long()[:, None]).float()
    taken = time.perf_counter() - began
    return {"predictions s": taken, "top1": float(hits[:, 0].mean())}


if __name__ == "__main__":
    device.use_threads(2)
    way = {"blocks": blocks, "whole": whole}[sys.argv[1]]
    print(json.dumps(way(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
