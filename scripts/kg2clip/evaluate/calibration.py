"""How sure a model is, and how sure it should be."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

BINS = 15
LOWEST, HIGHEST = 0.02, 50.0  # temperatures that are tried
STEPS, ENOUGH = 50, 1e-6  # of the search; relative

Floats = NDArray[np.float32]


def fit_temperature(cosines: Floats, right: NDArray[np.integer], scale: float) -> float:
    """The temperature that makes the right labels most probable (Guo et al. 2017, arXiv 1706.04599, 4.2).

    The loss is convex in the factor scale / temperature: its slope is the mean expected cosine minus the mean right
    one, its curvature the mean variance of the cosine, both under the model's probabilities. Newton's steps; where one
    would leave the interval that holds the root, the interval is halved.

    Args:
        cosines: [pictures, classes] of pictures held out for this.
        right: the place of each picture's class among the columns.
        scale: what the model multiplies cosines by; the temperature divides it.
    """
    all_cosines = torch.from_numpy(cosines)
    wanted = all_cosines[torch.arange(len(right)), torch.from_numpy(right).long()].mean()
    low, high, factor = scale / HIGHEST, scale / LOWEST, scale
    for _ in range(STEPS):
        shares = torch.softmax(all_cosines * factor, dim=1)
        expected = (shares.mul_(all_cosines)).sum(dim=1)
        variance = (shares.mul_(all_cosines)).sum(dim=1) - expected.square()
        slope, curvature = float(expected.mean() - wanted), float(variance.mean())
        low, high = (low, factor) if slope > 0 else (factor, high)
        following = factor - slope / curvature if curvature > 0 else 0.0
        if not low < following < high:
            following = (low * high) ** 0.5
        if abs(following - factor) <= ENOUGH * factor:
            break
        factor = following
    return scale / factor


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins of equal width (arXiv 1706.04599, 2)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right.astype(float) - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
