"""Models beside each other in the report: retrieval, groups, comparisons, published figures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
import yaml

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import write_json
from kg2clip.report import accuracy, charts, models
from kg2clip.settings import PUBLISHED, complete


def test_comparisons_and_groups_stand_in_the_page(run: Any) -> None:
    html = run.html()
    assert "+62.5" in html and "+40.0 to +75.0" in html and "0.0003" in html
    assert "&lt;b&gt;Metazoa" in html and "<b>Metazoa" not in html


def test_published_figures_stand_beside_ours(run: Any) -> None:
    run.settings["evaluate"]["published"] = {"heldout": "inat2021"}
    results = run.open()
    (beside,) = models.measure(results, accuracy.measure(results)).published
    percents = [figure.percent for figure in beside.figures]
    assert percents == sorted(percents, reverse=True)
    ours = {figure.model: figure.percent for figure in beside.figures if not figure.source}
    assert ours["main, scientific names"] == pytest.approx(75) and len(ours) == 4
    others = {figure.model: figure for figure in beside.figures if figure.source}
    assert others["EntityNet-33M ViT-B-32"].percent == 26.1
    assert others["EntityNet-33M ViT-B-32"].source["url"].startswith("https://")
    chart = charts.published(beside)
    assert chart.picture.startswith("<svg") and "currentColor" in chart.picture and "style=" not in chart.picture
    html = run.html()
    assert 'data-chart="published-heldout"' in html and 'data-chart="comparisons"' in html
    assert "this run" in html and "iNaturalist 2021, validation" in html


def test_a_benchmark_of_captions_has_recalls_and_no_accuracy(run: Any) -> None:
    folder = next(iter(run.open().benchmarks.values()))
    captions = folder.parent / "captions"
    shutil.copytree(folder, captions)
    (captions / "dataset_type.txt").write_text("retrieval\n")
    run.settings["evaluate"]["benchmarks"]["pairs"] = {"path": str(captions)}
    run.settings["evaluate"]["published"] = {"pairs": "flickr30k"}
    path = run.folder / "evaluation" / "scores.parquet"
    rows = tables.read(path).to_pylist()
    for experiment in ("main", "untrained"):
        tables.write([], tables.RETRIEVALS, run.folder / "evaluation" / experiment / "pairs.parquet")
        rows += [
            {"experiment": experiment, "benchmark": "pairs", "split": "test", "nameForm": "captions", "chosen": True}
            | {"prompts": direction, "metric": metric, "value": value, "low": 0.1, "high": 0.9, "pictures": 50}
            for direction, shift in (("picture to text", 0.0), ("text to picture", 0.2))
            for metric, value in (("r1", 0.25 + shift), ("r5", 0.5 + shift), ("r10", 0.75 + shift))
        ]
    tables.write(rows, tables.SCORES, path)
    results = run.open()
    counted = accuracy.measure(results)
    assert {score.benchmark for score in counted.scores} == {"heldout"} and counted.without_dev == ()
    found = models.measure(results, counted)
    assert [(each.experiment, each.direction) for each in found.retrievals] == [
        (experiment, direction) for experiment in results.models for direction in ("picture to text", "text to picture")
    ]
    (beside,) = found.published
    assert {figure.percent for figure in beside.figures if not figure.source} == {35.0}  # the mean of both directions
    assert "R@10" in run.html()


def test_the_datasets_own_test_is_told_apart_and_called_optimistic(run: Any) -> None:
    run.settings["evaluate"]["own"] = True
    path = run.folder / "evaluation" / "scores.parquet"
    rows = tables.read(path).to_pylist()
    for experiment in ("main", "untrained"):
        folder = run.folder / "evaluation" / experiment
        row = {"key": "a", "split": "test", "label": 1, "nameForm": "common", "prompts": "bare", "top": [2, 1]}
        tables.write([row], tables.PREDICTIONS, folder / "own.parquet")
        tables.write([], tables.RETRIEVALS, folder / "own-texts.parquet")
        rows.append(
            {"experiment": experiment, "benchmark": "own", "split": "test", "nameForm": "common", "prompts": "bare"}
            | {"chosen": True, "metric": "top1", "value": 0.0, "low": 0.0, "high": 0.0, "pictures": 1, "classes": 1}
        )
    tables.write(rows, tables.SCORES, path)
    counted = accuracy.measure(run.open())
    (own,) = (score for score in counted.scores if (score.benchmark, score.experiment) == ("own", "main"))
    assert own.chance == 1 / 4  # four of the five entities with pictures have a common name
    shown = accuracy.read_classes(run.folder / "dataset" / "manifest.parquet", run.open())
    assert [entry["entityID"] for entry in shown] == sorted(entry["entityID"] for entry in shown) and len(shown) == 5
    assert counted.headline and counted.headline.benchmark == "heldout"
    assert "own-texts" not in {score.benchmark for score in counted.scores}
    audit(run)
    html = run.html()
    assert "robin, &lt;b&gt;Robin" in html
    assert "Own test: pictures of the dataset that training did not see" in html and "optimistic" in html


def test_an_own_test_without_pictures_is_left_out(run: Any) -> None:
    run.settings["evaluate"]["own"] = True
    for experiment in ("main", "untrained"):
        tables.write([], tables.PREDICTIONS, run.folder / "evaluation" / experiment / "own.parquet")
        tables.write([], tables.RETRIEVALS, run.folder / "evaluation" / experiment / "own-texts.parquet")
    assert {score.benchmark for score in accuracy.measure(run.open()).scores} == {"heldout"}


def audit(run: Any) -> None:
    """What evaluation says of the names of a set, and of one that the config has no more."""
    form = {"classesWithoutName": 2, "picturesNotScored": {"test": 8}, "classesWithSharedName": 3}
    form |= {"classesWithTruncatedText": 4, "sharedNames": ["robin", "<b>Robin"], "truncatedNames": []}
    for benchmark in ("heldout", "gone"):
        record = {"step": "evaluate_model", "benchmark": benchmark, "counts": {"classes": 6, "forms": {"common": form}}}
        write_json(run.folder / "provenance" / f"evaluate_model.main.{benchmark}.json", record)


def test_the_audit_of_names(run: Any) -> None:
    audit(run)
    results = run.open()
    (names,) = models.measure(results, accuracy.measure(results)).names
    assert (names.benchmark, names.nameless, names.unscored, names.shared, names.cut) == ("heldout", 2, 8, 3, 4)


def test_published_figures_are_percentages_with_a_source() -> None:
    known = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    for name, entry in known["sets"].items():
        assert set(entry) <= {"title", "metric", *known["sources"]}, name
        figures = [value for source in known["sources"] for value in entry.get(source, {}).values()]
        assert figures and all(0 < value < 100 for value in figures)
    assert known["sets"]["imagenet"]["openclip"]["ViT-B-32 OpenAI"] == 63.3
    assert all(source["title"] and source["url"].startswith("https://") for source in known["sources"].values())


def test_mistakes_in_the_config_are_told_at_once() -> None:
    content: dict[str, Any] = {"project": "test", "knowledge": {"roots": ["Apidae"]}}
    content["train"] = {"experiments": {"main": {"recipe": "demo"}}}
    content["evaluate"] = {"baselines": {"main": "ViT-B-32/openai"}, "published": {"mine": "inat2021"}}
    with pytest.raises(UserError, match="main is a training experiment too") as told:
        complete(content, "the test's config")
    assert "mine is none of evaluate.benchmarks" in str(told.value)
    content["evaluate"] = {"benchmarks": {"mine": {"path": "x"}}, "published": {"mine": "inat2012"}}
    with pytest.raises(UserError, match=r"has no set inat2012; it has: .*inat2021"):
        complete(content, "the test's config")
    content["evaluate"] = {"baselines": {"b": "$(rm)"}}
    with pytest.raises(UserError, match="can.t be taken"):
        complete(content, "the test's config")


def test_a_model_of_others_never_stands_for_ours(run: Any) -> None:
    """A baseline that is better on dev stands in the tables; what the page says at its top is of the run's model."""
    content = {**run.settings, "train": {**run.settings["train"], "experiments": {"untrained": {"recipe": "demo"}}}}
    content["evaluate"] = {**run.settings["evaluate"], "baselines": {"main": "ViT-B-32/openai"}}
    run.settings.update(content)
    measured = accuracy.measure(run.open())
    assert measured.headline is not None and measured.headline.experiment == "untrained"
    assert {score.experiment for score in measured.scores} == {"untrained", "main"}


def test_the_worst_recognised_have_a_mistake(run: Any) -> None:
    detail = accuracy.measure(run.open()).details[0]
    classes = tuple(accuracy.ClassScore(f"class {n}", None, int(n < 27), 1, 5) for n in range(30))
    several = replace(detail, classes=classes)
    assert [entry.name for entry in several.worst] == ["class 29", "class 28", "class 27"] and len(several.best) == 10
