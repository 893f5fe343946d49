"""Experiments compared: means over seeds, their intervals and differences."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from unit.report.conftest import Run

from kg2clip import settings
from kg2clip.files import read_json, write_json
from kg2clip.report import ablation, charts, page
from kg2clip.report.accuracy import Score

VALUES = {"main": 0.50, "main-seed2": 0.52, "main-seed3": 0.57, "names": 0.40, "names-seed2": 0.42, "single": 0.30}


def experiments(run: Run) -> Run:
    """The run with experiments that were trained with several seeds."""
    content = read_json(run.config)
    content["train"]["experiments"] = {
        "untrained": {"recipe": "demo", "steps": 0},
        "main": {"recipe": "demo", "seeds": 3},
        "names": {"recipe": "demo", "seeds": 2, "alt_text_share": 0},
        "single": {"recipe": "demo", "picture_share": 0.5},
    }
    write_json(run.config, content)
    for name in VALUES:
        facts = {"steps": 10, "pictures": 50 if name == "single" else 100, "flops": 1e12 if name == "single" else 2e12}
        write_json(run.folder / "models" / name / "metrics.json", {**facts, "history": []})
    return Run(run.folder, run.config, settings.load(run.config), run.hostile)


def score(experiment: str, value: float) -> Score:
    return Score(
        experiment, "heldout", "scientific", "bare", 8, 4, {"top1": {"value": value, "low": 0, "high": 1}}, None, 4
    )


def test_means_and_intervals_over_seeds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = experiments(run)
    results = ablation.Results(changed.folder, changed.settings, None)  # type: ignore[arg-type]  # reads no table
    effects = ablation.measure(results, [score(*pair) for pair in VALUES.items()])
    assert [(effect.experiment, effect.seeds, effect.pictures) for effect in effects] == [
        ("main", 3, 100),
        ("names", 2, 100),
        ("single", 1, 50),
    ]
    main, names, single = effects
    assert "alt_text_share 0" in names.changes
    # Student: the mean of 0.50, 0.52, 0.57 is 0.53, their deviation 0.0361, t(2) 4.303.
    assert (main.top1.value, main.top1.low, main.top1.high) == pytest.approx((0.53, 0.4404, 0.6196), abs=1e-4)
    assert main.difference is None and single.top1.low is None
    assert names.difference and single.difference and single.difference.low is None
    # Welch: 0.41 - 0.53, standard error 0.02309, 2.73 degrees of freedom, t 3.373.
    found = (names.difference.value, names.difference.low, names.difference.high)
    assert found == pytest.approx((-0.12, -0.198, -0.042), abs=1e-3)
    drawn = charts.cost(effects)
    assert drawn is not None and "FLOPs of training" in drawn.picture
    assert charts.cost(effects[:2]) is None  # the same cost
    assert charts.cost([replace(main, flops=0), names]) is None  # of one of them it is not known
    assert single.curve == main.curve != names.curve  # half and all of the pictures are a cost curve
    assert len(drawn.specification["layer"]) == 3 and len(charts.cost([names, single]).specification["layer"]) == 2
    alone = [replace(effect, top1=replace(effect.top1, low=None, high=None)) for effect in (names, single)]
    assert len(charts.cost(alone).specification["layer"]) == 1  # Vega warns of intervals that nowhere are


def test_a_difference_is_in_points_with_its_sign(run: Run) -> None:
    macros = page.environment().get_template("macros.html").make_module({"charts": {}})
    told = macros.points(ablation.difference([0.40, 0.42], [0.50, 0.52, 0.57]))
    assert re.sub(r"<[^>]+>", "", str(told)) == "-12.0 -19.8 to -4.2"
    assert str(macros.points(None)) == ""


def test_one_experiment_is_not_compared(run: Run) -> None:
    assert ablation.measure(run.open(), [score("main", 0.5), score("untrained", 0.1)]) == ()


def test_no_two_regions_of_the_page_share_a_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ablation.Effect("main", "heldout", "scientific", "recipe demo", 1, 29, 1e15, ablation.Estimate(0.5), None)
    other = replace(one, experiment="other", difference=ablation.Estimate(-0.1, -0.2, 0.01))
    monkeypatch.setattr(ablation, "measure", lambda *_: (one, other))
    html = run.html()
    names = re.findall(r'role="region"[^>]* aria-label="([^"]*)"', html) + re.findall(r"<h2[^>]*>([^<]*)</h2>", html)
    assert "Experiments compared" in names and "-20.0 to +1.0" in html
    assert sorted(names) == sorted(set(names))
