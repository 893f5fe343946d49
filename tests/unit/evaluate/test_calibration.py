"""Temperatures and distances in the tree, against values made or counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kg2clip.evaluate.calibration import calibration_error, fit_temperature
from kg2clip.evaluate.hierarchy import Ladder


@pytest.mark.parametrize("truth", [0.25, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(truth: float) -> None:
    random = np.random.default_rng(1)
    cosines = random.uniform(-0.3, 0.3, (4000, 8)).astype(np.float32)
    chances = np.exp(20 / truth * cosines)
    chances /= chances.sum(axis=1, keepdims=True)
    right = (chances.cumsum(axis=1) > random.uniform(size=(4000, 1))).argmax(axis=1)
    assert fit_temperature(cosines, right, 20.0) == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize(("right", "temperature"), [(0, 0.02), (1, 50.0)])
def test_a_model_that_is_always_or_never_right_gets_the_end_of_the_range(right: int, temperature: float) -> None:
    cosines = np.array([[0.3, 0.1]] * 10, np.float32)
    assert fit_temperature(cosines, np.full(10, right), 100.0) == pytest.approx(temperature, rel=0.01)


def test_fitting_lowers_the_calibration_error_of_a_model_too_sure() -> None:
    random = np.random.default_rng(2)
    cosines = random.normal(0, 0.1, (3000, 5)).astype(np.float32)
    right = random.integers(5, size=3000)
    cosines[np.arange(3000), right] += 0.1
    hits = cosines.argmax(axis=1) == right

    def error(scale: float) -> float:
        logits = np.exp(scale * cosines)
        return calibration_error((logits.max(axis=1) / logits.sum(axis=1)).astype(np.float32), hits)

    assert error(100 / fit_temperature(cosines, right, 100.0)) < 0.05 < error(100)


def test_certainty_of_one_counts_in_the_last_bin() -> None:
    assert calibration_error(np.array([1.0, 1.0], np.float32), np.array([True, False])) == pytest.approx(0.5)


RANKS = [
    {"kingdom": "Metazoa", "class": "Aves", "family": "Prunellidae", "genus": "Prunella"},
    {"kingdom": "Metazoa", "class": "Aves", "family": "Prunellidae", "genus": "Prunella"},
    {"kingdom": "Metazoa", "class": "Aves", "family": "Laridae", "genus": "Larus"},
    {"kingdom": "Viridiplantae", "class": "Magnoliopsida", "family": "Lamiaceae", "genus": "Prunella"},
    {"kingdom": "Metazoa"},
]


def test_heights_by_hand() -> None:
    ladder = Ladder(RANKS)
    assert ladder.known
    heights = ladder.heights(np.array([0, 3]), np.array([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]))
    assert heights.tolist() == [[0, 1, 4, 7, 6], [7, 7, 7, 0, 7]]  # a genus of birds is not one of plants


def test_a_class_without_any_rank_makes_heights_unknown() -> None:
    assert not Ladder([*RANKS, {}]).known and not Ladder([]).known
