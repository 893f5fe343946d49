"""Few-shot linear probe: logistic regression on a model's frozen embeddings of a few pictures of each class."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from kg2clip.evaluate.zeroshot import CELLS, Floats
from kg2clip.identifiers import stable_hash

LENGTH = 10.0  # of the embeddings as the regression sees them: about that of OpenAI's models before normalising
STRENGTHS = (0.316, 0.0316, 3.16)  # inverse of the L2 penalty; the first is that of OpenAI's own example
ITERATIONS = 60

Labels = NDArray[np.integer]


def draw(keys: list[str], labels: Labels, classes: int, shots: int, seed: int) -> NDArray[np.int64] | None:
    """Places of `shots` pictures of each class, drawn by a hash of their keys; None where a class has fewer."""
    if np.bincount(labels, minlength=classes).min() < shots:
        return None
    lots = np.array([stable_hash("probe", seed, key) for key in keys])
    order = np.lexsort((lots, labels))
    starts = np.searchsorted(labels[order], np.arange(classes))
    chosen: NDArray[np.int64] = order[(starts[:, None] + np.arange(shots)).ravel()]
    return chosen


class Probe:
    """A linear classifier over embeddings.

    Args:
        embedded: normalised embeddings of the labelled pictures [n, d].
        labels: their classes [n].
        classes: how many there are.
        held_out: further labelled pictures, on which the penalty is chosen; without them it is OpenAI's example's.
        device: where to compute.
    """

    def __init__(
        self,
        embedded: Floats,
        labels: Labels,
        classes: int,
        held_out: tuple[Floats, Labels] | None,
        device: torch.device,
    ) -> None:
        self._device = device
        pictures, targets = self._put(embedded) * LENGTH, torch.from_numpy(labels).long().to(device)
        strengths = STRENGTHS if held_out else STRENGTHS[:1]
        fitted = [(strength, _fit(pictures, targets, classes, strength)) for strength in strengths]

        def right(weights: torch.Tensor) -> int:
            self._weights = weights
            return int((self.logits(held_out[0]).argmax(axis=1) == held_out[1]).sum()) if held_out else 0

        self.strength, self._weights = max(fitted, key=lambda each: right(each[1]))  # of equal ones the first

    def logits(self, embedded: Floats) -> Floats:
        """Logits [n, classes] of normalised embeddings [n, d]."""
        scores: Floats = (self._put(embedded) * LENGTH @ self._weights[:-1] + self._weights[-1]).cpu().numpy()
        return scores

    def best(self, embedded: Floats, count: int) -> tuple[NDArray[np.int32], Floats, Floats]:
        """The best labels [n, k], their logits [n, k], and the best one's probability [n], block by block."""
        rows = max(1, CELLS // self._weights.shape[1])
        parts = []
        for start in range(0, len(embedded), rows):
            logits = torch.from_numpy(self.logits(embedded[start : start + rows]))
            best, at = logits.topk(min(count, logits.shape[1]))
            sure = (best[:, 0] - logits.logsumexp(dim=1)).exp()
            parts.append((at.int().numpy(), best.numpy(), sure.numpy()))
        labels, scores, confidence = (np.concatenate(each) for each in zip(*parts, strict=True))
        return labels, scores, confidence

    def _put(self, embedded: Floats) -> torch.Tensor:
        return torch.from_numpy(embedded).to(self._device)


def _fit(pictures: torch.Tensor, targets: torch.Tensor, classes: int, strength: float) -> torch.Tensor:
    """Weights and, in the last row, the bias [d + 1, classes] of a multinomial logistic regression, by L-BFGS.

    The penalty is scikit-learn's: half the square of the weights over `strength`, beside the sum of the losses.
    """
    weights = torch.zeros(pictures.shape[1] + 1, classes, device=pictures.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    share, rows = 1 / len(pictures), max(1, CELLS // classes)  # the matrix of all logits may not fit into memory

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        total = weights[:-1].square().sum() * share / (2 * strength)
        total.backward()  # type: ignore[no-untyped-call]
        for some, right in zip(torch.split(pictures, rows), torch.split(targets, rows), strict=True):
            logits = some @ weights[:-1] + weights[-1]
            part = torch.nn.functional.cross_entropy(logits, right, reduction="sum") * share
            part.backward()  # type: ignore[no-untyped-call]
            total = total.detach() + part.detach()
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()
