"""Charts as inline SVG: transparent, with text in the page's own colour, so that they read in light and in dark.

No text from outside goes into a chart; the config's schema holds names of experiments and benchmarks to a pattern.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from markupsafe import Markup

from kg2clip.report.accuracy import Score
from kg2clip.report.coverage import Taxon
from kg2clip.report.history import Training

WIDTH, HEIGHT = 330, 190  # pixels: two beside each other on a wide page, one on a telephone without shrinking
MAX_POINTS = 400  # of a curve: more than there are pixels

# Mid-light tones in the order of Okabe and Ito's colour-blind safe palette: 3:1 at least on white and on near-black.
PALETTE = ["#1f8a70", "#c2672f", "#4c7fc4", "#b05a94", "#8a7a1f", "#5d7a8c"]

_AXIS = {
    "labelColor": "currentColor",
    "titleColor": "currentColor",
    "domainColor": "currentColor",
    "domainOpacity": 0.4,
    "tickColor": "currentColor",
    "tickOpacity": 0.4,
    "gridColor": "currentColor",
    "gridOpacity": 0.12,
    "labelFontSize": 11,
    "titleFontSize": 11,
    "titleFontWeight": "normal",
}
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    # Letters may be wider in the reader's browser than where the chart was laid out.
    "padding": {"left": 24, "right": 16, "top": 8, "bottom": 4},
    "axisY": {"titlePadding": 14},
    "font": "system-ui, sans-serif",
    "axis": _AXIS,
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "orient": "bottom",
        "title": None,
        "labelFontSize": 11,
    },
    "view": {"stroke": None},
    "range": {"category": PALETTE},
}


def loss_curve(runs: Sequence[Training]) -> Markup | None:
    """Training loss over steps, a line for each experiment."""
    return _curve(runs, "loss", "training loss", "~g")


def learning_rate(runs: Sequence[Training]) -> Markup | None:
    """Learning rate over steps, a line for each experiment."""
    return _curve(runs, "lr", "learning rate", "~e")


def coverage_histogram(taxa: Sequence[Taxon]) -> Markup | None:
    """How many entities have how many kept pictures."""
    if not taxa:
        return None
    # Counted here: Altair takes no more than 5,000 rows.
    counts = sorted(Counter(taxon.kept for taxon in taxa).items())
    frame = pd.DataFrame(counts, columns=["kept", "entities"])
    bars = (
        alt.Chart(frame)
        .mark_bar(color=PALETTE[0])
        .encode(
            x=alt.X(
                "kept:Q",
                bin=alt.Bin(maxbins=24, minstep=1),
                title="kept pictures of an entity",
                axis=alt.Axis(format=",d", tickMinStep=1),
            ),
            y=alt.Y("sum(entities):Q", title="entities", axis=alt.Axis(format=",d", tickMinStep=1)),
        )
    )
    return _svg(bars.properties(width=WIDTH, height=HEIGHT))


def accuracy(scores: Sequence[Score]) -> Markup | None:
    """Top-1 on test with its 95 % interval, a row for each model, benchmark and form; a tick marks chance."""
    if not scores:
        return None
    several = len({score.benchmark for score in scores}) > 1
    frame = pd.DataFrame(
        [
            {
                "row": " · ".join([score.experiment, *([score.benchmark] if several else []), score.name_form]),
                "experiment": score.experiment,
                "value": 100 * score.top1,
                "low": _percent(score.metrics["top1"]["low"]),
                "high": _percent(score.metrics["top1"]["high"]),
                "chance": 100 * score.chance,
            }
            for score in scores
        ]
    )
    base = alt.Chart(frame).encode(y=alt.Y("row:N", sort=None, title=None, axis=alt.Axis(labelLimit=170)))
    colour = alt.Color("experiment:N", sort=None, legend=None)
    scale = alt.Scale(domain=[0, 100])
    layers = alt.layer(
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", scale=scale, title="top-1 accuracy on test, %"), x2="high:Q", color=colour
        ),
        base.mark_circle(size=90, opacity=1).encode(x="value:Q", color=colour),
        base.mark_tick(thickness=2, size=16, color="currentColor", opacity=0.7).encode(x="chance:Q"),
    )
    return _svg(layers.properties(width=WIDTH - 80, height=alt.Step(26)))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _curve(runs: Sequence[Training], column: str, title: str, form: str) -> Markup | None:
    points = [
        {"experiment": run.experiment, "step": line["step"], "value": line[column]}
        for run in runs
        for line in _thinned(run.history)
        if isinstance(line.get(column), (int, float)) and math.isfinite(line[column])
    ]
    if not points:
        return None
    names = [run.experiment for run in runs if any(point["experiment"] == run.experiment for point in points)]
    legend: Any = alt.Legend(columns=3) if len(names) > 1 else None
    chart = (
        alt.Chart(pd.DataFrame(points))
        .mark_line(strokeWidth=1.8, point=len(points) == 1)
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=5, format=",d")),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(tickCount=5, format=form)),
            color=alt.Color("experiment:N", sort=names, legend=legend),
        )
    )
    return _svg(chart.properties(width=WIDTH, height=HEIGHT))


def _thinned(history: Sequence[Any]) -> Sequence[Any]:
    stride = max(1, math.ceil(len(history) / MAX_POINTS))
    return [*history[:-1:stride], *history[-1:]]


def _svg(chart: Any) -> Markup:
    specification = {**chart.to_dict(), "config": _CONFIG}
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    # vl-convert escapes every text that it draws.
    return Markup(vl_convert.vegalite_to_svg(specification, vl_version=version))
