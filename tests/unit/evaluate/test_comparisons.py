"""Paired comparisons of two models: counts, intervals and p against what is known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kg2clip.evaluate.comparisons import Answers, Paired, compare, holm, pair


def answers(model: str, right: list[bool], units: list[int] | None = None, keys: list[str] | None = None) -> Answers:
    keys = keys or [str(number) for number in range(len(right))]
    own = np.array(units or range(len(right)))
    return Answers(model, "birds", "top1", "common", "bare", keys, own, np.array(right))


def mcnemar(first: int, second: int) -> float:
    """The exact two-sided p, by adding up the binomial distribution."""
    total, least = first + second, min(first, second)
    return min(1.0, 2 * sum(math.comb(total, k) for k in range(least + 1)) / 2**total)


@pytest.mark.parametrize(("first", "second"), [(15, 5), (8, 7), (12, 1), (0, 0)])
def test_with_one_question_a_unit_it_is_mcnemars_exact_test(first: int, second: int) -> None:
    counts = np.ones(first + second + 30, int)
    only = np.arange(len(counts))
    paired = Paired(counts, (only < first).astype(int), ((only >= first) & (only < first + second)).astype(int))
    assert paired.p_value(seed=1) == pytest.approx(mcnemar(first, second), abs=0.012)
    assert paired.difference == pytest.approx((first - second) / len(counts))


def test_pictures_of_few_classes_are_no_independent_evidence() -> None:
    # Two classes of a hundred pictures, both better with the first model: four sign patterns, of which two are as far.
    paired = Paired(np.array([100, 100]), np.array([60, 60]), np.array([20, 20]))
    assert paired.p_value(seed=1) == pytest.approx(0.5, abs=0.02)
    assert mcnemar(120, 40) < 1e-9


def test_the_interval_has_the_standard_error_of_the_differences() -> None:
    random = np.random.default_rng(0)
    first, second = random.random(3000) < 0.3, random.random(3000) < 0.2
    only_first, only_second = (first & ~second).astype(int), (second & ~first).astype(int)
    low, high = Paired(np.ones(3000, int), only_first, only_second).interval(2000, seed=3)
    error = (only_first - only_second).std() / math.sqrt(3000)
    # Drawn with one question a unit, the second stage draws it again: the interval is that of the first stage alone.
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert low < (only_first - only_second).mean() < high


def test_only_questions_that_both_were_asked_count() -> None:
    one = answers("a", [True, True, False], units=[0, 0, 1], keys=["x", "y", "z"])
    other = answers("b", [False, True], units=[1, 0], keys=["z", "y"])
    paired = pair(one, other)
    assert paired and paired.questions.tolist() == [1, 1] and paired.difference == 0
    assert pair(one, answers("b", [True], keys=["w"])) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_each_pair_in_the_configs_order() -> None:
    found = compare([answers(name, [True, True, name != "a"]) for name in "cab"], ["b", "a"], 100, seed=1)
    assert [(row["first"], row["second"]) for row in found] == [("b", "a"), ("b", "c"), ("a", "c")]
    assert [round(row["difference"], 3) for row in found] == [0.333, 0, -0.333]
    assert all(row["low"] <= row["difference"] <= row["high"] and row["pHolm"] >= row["p"] for row in found)
