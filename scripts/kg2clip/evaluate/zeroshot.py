"""Zero-shot classification: embeddings of pictures and of class names to the five best labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

CELLS = 4_000_000  # cosines at a time: 16 MB, so that what follows finds them in the cache
BEST = 5

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """Embeddings of the classes that have a name, and what the names were like."""

    labels: NDArray[np.int32]  # [m], ascending: classes with a name
    embeddings: Floats  # [texts, d], normalised: one row for each different text, in the order of their first labels
    rows: NDArray[np.int64]  # [m]: the row of each class; classes with equal texts share one
    shared: list[int]  # labels of classes whose name is also another's, as the model sees it
    cut: list[int]  # labels of classes with a text longer than the context

    def cosines(self, pictures: Floats) -> Floats:
        """Cosine of each picture [n, d] with each class that has a name: [n, m], in the order of `labels`."""
        similar: Floats = (pictures @ self.embeddings.T)[:, self.rows]
        return similar

    def labels_of_texts(self, count: int) -> NDArray[np.int32]:
        """The labels of each text, at most `count` of them, ascending: [texts, most], filled up with -1."""
        classes = np.bincount(self.rows, minlength=len(self.embeddings))
        order = self.rows.argsort(kind="stable")
        place = np.arange(len(order)) - np.repeat(classes.cumsum() - classes, classes)  # within its text
        wanted = place < count
        table = np.full((len(classes), min(count, int(classes.max()))), -1, np.int32)
        table[self.rows[order][wanted], place[wanted]] = self.labels[order][wanted]
        return table


def best_labels(
    pictures: Floats, classifier: Classifier, count: int = BEST, scales: Sequence[float] = ()
) -> tuple[NDArray[np.int32], Floats, Floats]:
    """The best labels of each picture, best first, with their cosines, and how probable the best one is.

    Classes of exactly equal score stand in label order. A picture of the later of two classes that share a name
    therefore counts as wrong at rank one: a collision costs accuracy instead of being counted as a hit for both.
    Cosines are made block by block, the whole matrix never stands in memory.

    Args:
        pictures: normalised embeddings [n, d].
        classifier: the classes.
        count: how many labels; fewer where there are fewer classes.
        scales: what cosines are multiplied by before a softmax over the classes.

    Returns:
        labels [n, k], cosines [n, k], and the best label's probability at each scale [n, scales].
    """
    count = min(count, len(classifier.labels))
    texts = torch.from_numpy(classifier.embeddings).T.contiguous()
    classes = torch.from_numpy(np.bincount(classifier.rows, minlength=texts.shape[1]).astype(np.float32))
    places = np.empty((len(pictures), min(count, texts.shape[1])), np.int64)
    cosines = np.empty(places.shape, np.float32)
    confidences = np.empty((len(pictures), len(scales)), np.float32)
    rows = max(1, CELLS // texts.shape[1])
    for start in range(0, len(pictures), rows):
        block = slice(start, start + rows)
        similar = torch.from_numpy(pictures[block]) @ texts
        best, at = _top(similar, places.shape[1])
        cosines[block], places[block] = best.numpy(), at.numpy()
        below = similar.sub_(best[:, :1])
        for column, scale in enumerate(scales):
            confidences[block, column] = (1 / ((below * scale).exp_() @ classes)).numpy()
    return *_labelled(classifier.labels_of_texts(count)[places], cosines, count), confidences


def _top(similar: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` highest of each row and their columns; of equal ones the first, which topk does not promise."""
    values, places = similar.topk(min(count + 1, similar.shape[1]))
    if similar.shape[1] > count and (open_end := values[:, count - 1] == values[:, count]).any():
        exact = similar[open_end].sort(dim=1, descending=True, stable=True)
        values[open_end, :count], places[open_end, :count] = exact.values[:, :count], exact.indices[:, :count]
    return values[:, :count], places[:, :count]


def _labelled(labels: NDArray[np.int32], cosines: Floats, count: int) -> tuple[NDArray[np.int32], Floats]:
    """The best classes of the best texts [n, texts, most], by score, then by label."""
    scores = np.where(labels >= 0, cosines[:, :, None], -np.inf).reshape(len(labels), -1)
    labels = labels.reshape(len(labels), scores.shape[1])
    order = np.lexsort((labels, -scores), axis=-1)[:, :count]
    return np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)
