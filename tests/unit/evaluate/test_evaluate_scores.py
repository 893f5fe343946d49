"""Scores against values computed by hand; the choice of prompts; the programs' handling of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kg2clip import settings, tables
from kg2clip.evaluate.scores import (
    ClassHits,
    best_on_dev,
    choose_prompts,
    class_hits,
    further_metrics,
    group_scores,
    read_answers,
    retrieval_scores,
    scores,
)

PROMPTS = ["bare", "photo"]
ABOUT = {"experiment": "tiny", "benchmark": "birds"}


def told(*parts: list[dict[str, Any]], **columns: list[Any]) -> pd.DataFrame:
    """Rows as the stored table gives them back."""
    frame = pd.DataFrame([row for part in parts for row in part])
    for name, values in columns.items():
        frame[name] = values
    return read_answers(tables.as_table(frame, tables.PREDICTIONS))


def rows(split: str, prompts: str, answers: list[tuple[int, list[int]]], form: str = "common") -> list[dict[str, Any]]:
    return [
        {"key": f"s{number:07d}", "split": split, "label": label, "nameForm": form, "prompts": prompts}
        | {"top": top, "scores": [0.5] * len(top), "heights": None, "confidence": None, "calibrated": None}
        for number, (label, top) in enumerate(answers)
    ]


# Class 0: three pictures, two right; class 1: one, wrong but among the five best; class 7: one, not even among them.
ANSWERS = [(0, [0, 1, 2, 3, 4]), (0, [0, 2, 1, 3, 4]), (0, [1, 0, 2, 3, 4]), (1, [2, 3, 4, 0, 1]), (7, [0, 1, 2, 3, 4])]


def test_metrics_by_hand() -> None:
    hits = class_hits(told(rows("test", "bare", ANSWERS)))
    assert hits.pictures.tolist() == [3, 1, 1]
    assert hits.metric("top1") == pytest.approx(2 / 5)
    assert hits.metric("top5") == pytest.approx(4 / 5)
    assert hits.metric("macro") == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_metrics_in_the_tree_and_of_confidence_by_hand() -> None:
    answers = rows("test", "bare", [(0, [0]), (0, [1]), (0, [2]), (0, [3])])
    frame = told(answers, heights=[[0], [1], [2], [7]], confidence=[0.9, 0.9, 0.3, 0.3])
    result = dict(further_metrics(frame))
    assert result["genus"] == 0.5 and result["family"] == result["order"] == result["class"] == 0.75
    assert result["distance"] == 10 / 4 and result["severity"] == pytest.approx(10 / 3)
    # Two bins of two pictures: one right of 1.8 expected, none right of 0.6.
    assert result["ece"] == pytest.approx((0.8 + 0.6) / 4) and "eceCalibrated" not in result


def test_predictions_without_tree_and_probabilities_have_no_such_metrics() -> None:
    assert not dict(further_metrics(told(rows("test", "bare", ANSWERS))))


def test_a_sixth_label_does_not_count() -> None:
    assert class_hits(told(rows("test", "bare", [(5, [0, 1, 2, 3, 4, 5])]))).metric("top5") == 0


def test_certain_classes_have_intervals_of_known_width() -> None:
    pictures, none = np.full(10, 3), np.zeros(10, int)
    sure, never = ClassHits(pictures, pictures, pictures), ClassHits(pictures, none, none)
    # 10 of 10 and 0 of 10 in tables of exact intervals
    assert sure.interval("top1", 500, seed=1) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert never.interval("macro", 500, seed=1) == pytest.approx((0.0, 0.3085), abs=1e-4)
    # Two classes, one always right, one never: of two drawn classes 0, 1 or 2 are right, with odds 1, 2, 1.
    halves = ClassHits(np.array([10, 10]), np.array([10, 0]), np.array([10, 0]))
    assert halves.interval("macro", 1000, seed=1) == (0.0, 1.0)


def test_the_bootstrap_has_the_standard_error_of_the_classes() -> None:
    random = np.random.default_rng(0)
    pictures = np.full(200, 1000)  # many pictures: nearly all of the spread is between classes
    hits = np.round(pictures * random.uniform(0.2, 0.8, 200)).astype(np.int64)
    low, high = ClassHits(pictures, hits, hits).interval("top1", 4000, seed=3)
    standard_error = (hits / pictures).std() / np.sqrt(200)
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.06)


def test_intervals_of_one_class_are_binomial() -> None:
    single = ClassHits(np.array([100]), np.array([40]), np.array([40]))
    low, high = single.interval("top1", 20000, seed=5)
    assert (low, high) == pytest.approx((0.305, 0.50), abs=0.011)  # 0.4 -+ 1.96 * sqrt(0.4 * 0.6 / 100)


def test_prompts_are_chosen_on_dev_though_others_are_better_on_test() -> None:
    right, wrong = (0, [0, 1]), (0, [1, 0])
    frame = told(
        rows("dev", "bare", [right, wrong, wrong]),
        rows("dev", "photo", [right, right, wrong]),
        rows("test", "bare", [right, right, right]),
        rows("test", "photo", [right, wrong, wrong]),
    )
    assert choose_prompts(frame, PROMPTS) == "photo"
    result = pd.DataFrame(scores(frame, ABOUT, PROMPTS, 100, seed=1))
    test_rows = result[(result["split"] == "test") & (result["metric"] == "top1")].set_index("prompts")
    assert test_rows.loc["photo", "chosen"] and not test_rows.loc["bare", "chosen"]
    assert test_rows.loc["photo", "value"] == pytest.approx(1 / 3)
    assert result[result["split"] == "dev"][["low", "high"]].isna().all(axis=None)
    assert result[result["split"] == "test"][["low", "high"]].notna().all(axis=None)


def test_equal_prompts_go_by_the_configs_order() -> None:
    frame = told(rows("dev", "bare", ANSWERS), rows("dev", "photo", ANSWERS))
    assert choose_prompts(frame, ["photo", "bare"]) == "photo"
    assert choose_prompts(frame, ["bare", "photo"]) == "bare"


def test_without_a_dev_split_the_first_prompts_are_taken() -> None:
    frame = told(rows("test", "bare", [(0, [1, 0])]), rows("test", "photo", [(0, [0, 1])]))
    assert choose_prompts(frame, PROMPTS) == "bare"


def test_prompts_are_chosen_for_each_form_by_itself() -> None:
    right, wrong = [(0, [0, 1])], [(0, [1, 0])]
    frame = told(
        [row for form, good, bad in (("common", "bare", "photo"), ("scientific", "photo", "bare")) for split in ("dev", "test")
         for row in rows(split, good, right, form) + rows(split, bad, wrong, form)]
    )  # fmt: skip
    result = pd.DataFrame(scores(frame, ABOUT, PROMPTS, 100, seed=1))
    assert set(result[result["chosen"]].groupby("nameForm")["prompts"].first().items()) == {
        ("common", "bare"),
        ("scientific", "photo"),
    }
    assert set(result[result["chosen"]]["value"]) == {1.0}
    assert best_on_dev(frame, PROMPTS) == ("common", "bare")  # of equal ones the first


def test_groups_are_scored_where_there_are_several() -> None:
    kingdoms, seen = ["Metazoa", "Metazoa", "Metazoa", "Fungi", None], [True, True, True, True, True]
    frame = told(rows("test", "bare", ANSWERS), kingdom=kingdoms, seen=seen)
    result = pd.DataFrame(group_scores(frame, ABOUT, 100, seed=1))
    assert set(result["grouping"]) == {"kingdom"}  # all are seen: that is the whole
    top1 = result[result["metric"] == "top1"].set_index("group")
    assert top1.loc["Metazoa", "value"] == pytest.approx(2 / 3) and top1.loc["Fungi", "value"] == 0
    assert top1["pictures"].to_dict() == {"Fungi": 1, "Metazoa": 3}
    frame = told(rows("test", "bare", ANSWERS), kingdom=[None] * 5, seen=[True, True, True, False, None])
    assert {row["group"] for row in group_scores(frame, ABOUT, 100, seed=1)} == {"seen", "unseen"}
    frame = told(rows("test", "bare", ANSWERS), kingdom=[None] * 5, met=[True, False, False, False, True])
    top1 = {row["group"]: row for row in group_scores(frame, ABOUT, 100, seed=1) if row["metric"] == "top1"}
    assert top1["met"]["value"] == 0.5 and top1["not met"]["value"] == pytest.approx(1 / 3)


def test_recall_of_retrieval_by_hand() -> None:
    ranks = pd.DataFrame(
        [{"key": key, "split": "test", "query": "text", "rank": rank} for key, rank in (("a/0", 1), ("a/1", 6), ("b/0", 11))]
        + [{"key": key, "split": "test", "query": "picture", "rank": rank} for key, rank in (("a", 1), ("b", 2))]
    )  # fmt: skip
    result = {(row["prompts"], row["metric"]): row for row in retrieval_scores(ranks, ABOUT, 100, seed=1)}
    values = {key: row["value"] for key, row in result.items()}
    text, picture = "text to picture", "picture to text"
    assert [values[text, metric] for metric in ("r1", "r5", "r10")] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert [values[picture, metric] for metric in ("r1", "r5", "r10")] == [0.5, 1.0, 1.0]
    assert result[text, "r1"]["pictures"] == 3 and result[text, "r1"]["classes"] == 2
    assert (result[picture, "r5"]["low"], result[picture, "r5"]["high"]) == pytest.approx((0.025**0.5, 1.0))


def test_the_program_gathers_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    import gather_scores

    for experiment in ("main", "untrained"):
        frame = pd.DataFrame(rows("test", "bare", ANSWERS))
        tables.write(frame, tables.PREDICTIONS, tmp_path / "evaluation" / experiment / "birds.parquet")
    config = settings.complete({"project": "test", "knowledge": {"roots": ["Apidae"]}}, "the test's config")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    inputs = [str(path) for path in sorted(tmp_path.glob("evaluation/*/*.parquet"))]
    outputs = []
    for order in (inputs, inputs[::-1]):
        output = tmp_path / f"scores-{len(outputs)}.parquet"
        arguments = ["--predictions", *order, "--output", str(output), "--provenance", str(tmp_path / "p.json")]
        arguments += ["--groups", str(tmp_path / "g.parquet"), "--comparisons", str(tmp_path / "c.parquet")]
        monkeypatch.setattr("sys.argv", ["gather_scores.py", *arguments, "--config", str(tmp_path / "config.yaml")])
        gather_scores.main()
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]
    result = tables.read_frame(output)
    assert set(result["experiment"]) == {"main", "untrained"} and set(result["benchmark"]) == {"birds"}
    assert len(result) == 6 and result["chosen"].all()
    (comparison,) = tables.read(tmp_path / "c.parquet").to_pylist()
    assert (comparison["first"], comparison["second"]) == ("main", "untrained")
    assert comparison["difference"] == 0 and comparison["p"] == comparison["pHolm"] == 1
    assert '"withoutDevSplit": [' in (tmp_path / "p.json").read_text()
