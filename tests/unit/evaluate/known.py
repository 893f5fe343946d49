"""Made embeddings whose figures CLIP_benchmark 1.6.2 has computed; tests/full/test_clip_benchmark.py asks it again.

Numpy's RandomState gives the same numbers in every version, which its newer generators don't promise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASSES, TEMPLATES, WIDTH = 30, 3, 24
Floats = NDArray[np.float32]

# What CLIP_benchmark says of them.
CLASSIFICATION = {"acc1": 0.7025, "acc5": 0.9475, "mean_per_class_recall": 0.7086594115760783}
RETRIEVAL = {
    "image_retrieval_recall@1": 0.3818051517009735,
    "image_retrieval_recall@5": 0.6475644707679749,
    "image_retrieval_recall@10": 0.7557306885719299,
    "text_retrieval_recall@1": 0.5099999904632568,
    "text_retrieval_recall@5": 0.7699999809265137,
    "text_retrieval_recall@10": 0.8475000262260437,
}


@dataclass(frozen=True)
class Made:
    """Embeddings, not normalised: of pictures, of class names by template, of captions."""

    pictures: Floats  # [n, d]
    labels: NDArray[np.int64]  # [n], classes of unequal size
    names: Floats  # [classes, templates, d]
    captions: list[Floats]  # of each picture, one to six


def make(pictures: int = 400) -> Made:
    """Pictures lie near their class and their captions near them, with noise enough for mistakes."""
    random = np.random.RandomState(7)
    centres = random.randn(CLASSES, WIDTH)
    labels = (random.rand(pictures) ** 2 * CLASSES).astype(np.int64)
    embedded = centres[labels] + 1.5 * random.randn(pictures, WIDTH)
    names = centres[:, None] + 0.8 * random.randn(CLASSES, TEMPLATES, WIDTH)
    captions = [row + 3.0 * random.randn(1 + number % 6, WIDTH) for number, row in enumerate(embedded)]
    return Made(
        embedded.astype(np.float32),
        labels,
        names.astype(np.float32),
        [each.astype(np.float32) for each in captions],
    )


def normalised(embeddings: Floats) -> Floats:
    """Each row at length 1."""
    result: Floats = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return result
