"""How sure a model is, and how sure it should be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 15
LOWEST, HIGHEST = 0.02, 50.0  # temperatures that are tried
GOLDEN = (5**0.5 - 1) / 2
STEPS = 30  # the interval shrinks to a millionth

Floats = NDArray[np.float32]


def fit_temperature(cosines: Floats, right: NDArray[np.integer], scale: float) -> float:
    """The temperature that makes the right labels most probable (Guo et al. 2017, arXiv 1706.04599, 4.2).

    The likelihood has one maximum in the temperature, so a golden-section search finds it.

    Args:
        cosines: [pictures, classes] of pictures held out for this.
        right: the place of each picture's class among the columns.
        scale: what the model multiplies cosines by; the temperature divides it.
    """

    def loss(log_temperature: float) -> float:
        logits = cosines * (scale / np.exp(log_temperature))
        logits -= logits.max(axis=1, keepdims=True)
        return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(right)), right]).mean())

    low, high = np.log(LOWEST), np.log(HIGHEST)
    first, second = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_first, at_second = loss(first), loss(second)
    for _ in range(STEPS):
        if at_first < at_second:
            high, second, at_second = second, first, at_first
            first = high - GOLDEN * (high - low)
            at_first = loss(first)
        else:
            low, first, at_first = first, second, at_second
            second = low + GOLDEN * (high - low)
            at_second = loss(second)
    return float(np.exp((low + high) / 2))


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins of equal width (arXiv 1706.04599, 2)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right.astype(float) - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
