"""Charts, each twice: as a still picture, for paper and where scripts are off, and as what Vega draws in its place.

They are transparent, with text in the page's own colour, so that they read in light and in dark. Names from outside
stand only in data: Vega draws them as text, and its tooltips escape them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from markupsafe import Markup

from kg2clip.report.ablation import Effect
from kg2clip.report.accuracy import ClassScore, Score
from kg2clip.report.coverage import Taxon
from kg2clip.report.filters import clean, short
from kg2clip.report.history import Training
from kg2clip.report.models import Beside
from kg2clip.report.results import Row
from kg2clip.report.tree import Arc

WIDTH, HEIGHT = 330, 190  # pixels: two beside each other on a wide page, one on a telephone without shrinking
RADIUS, HOLE = 205, 46  # of the circle of the coverage
MAX_POINTS = 400  # of a curve: more than there are pixels; fewer where there are many curves
MAX_CLASSES = 2_000  # of a scatter
MAX_PAIRS = 40  # of compared models; the table has all
SIGNIFICANT = 0.05
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])

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
    "labelSeparation": 6,
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
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    },
    "view": {"stroke": None},
    "range": {"category": PALETTE},
}


@dataclass(frozen=True)
class Chart:
    """A chart as SVG, and as the Vega-Lite specification that it was drawn from."""

    picture: Markup
    specification: dict[str, Any]


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, out of the package that draws the still pictures."""
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return script


def loss_curve(runs: Sequence[Training]) -> Chart | None:
    """Training loss over steps, a line for each experiment."""
    return _curve(runs, "loss", "training loss", "~g")


def learning_rate(runs: Sequence[Training]) -> Chart | None:
    """Learning rate over steps, a line for each experiment."""
    return _curve(runs, "lr", "learning rate", "~e")


def coverage_tree(arcs: Sequence[Arc]) -> Chart | None:
    """The tree of what was looked for, coloured by the pictures of an entity; a click finds a taxon in the table."""
    if not arcs:
        return None
    step = (RADIUS - HOLE) / arcs[0].rings
    rows = [_wedge(arc, HOLE + step * arc.ring, step) for arc in arcs]
    frame = pd.DataFrame(rows)
    most = max(row["each"] for row in rows)
    # The middle of the circle is that of the view.
    base = alt.Chart(frame).encode(
        theta=alt.Theta("start:Q", scale=None),
        description=alt.Description("said:N"),
        tooltip=[
            alt.Tooltip("name:N", title="taxon"),
            alt.Tooltip("common:N", title="called"),
            alt.Tooltip("rank:N"),
            alt.Tooltip("entities:Q", format=","),
            alt.Tooltip("covered:Q", title="of them with pictures", format=","),
            alt.Tooltip("kept:Q", title="kept pictures", format=","),
            alt.Tooltip("each:Q", title="pictures an entity", format=",.1f"),
        ],
    )
    wedges = base.mark_arc(opacity=0.55, padAngle=0.006, cornerRadius=2, cursor="pointer").encode(
        theta2="end",
        radius=alt.Radius("outer:Q", scale=None),
        radius2="inner",
        color=alt.Color(
            "each:Q",
            title="kept pictures an entity",
            scale=alt.Scale(type="symlog", domain=[0, most or 1], range=[PALETTE[1], "#c9a227", PALETTE[0]]),
            legend=alt.Legend(orient="bottom", direction="horizontal", gradientLength=200, format=",~f", tickCount=4),
        ),
    )
    labels = (
        alt.Chart(frame[frame["label"] != ""])
        .mark_text(fontSize=11, color="currentColor", baseline="middle", tooltip=None, aria=False)
        .encode(
            x=alt.X("x:Q", scale=None, axis=None),
            y=alt.Y("y:Q", scale=None, axis=None),
            angle=alt.Angle("turn:Q", scale=None),
            text="label:N",
        )
    )
    size = 2 * RADIUS
    return _chart(alt.layer(wedges, labels).properties(width=size, height=size))


def coverage_histogram(taxa: Sequence[Taxon]) -> Chart | None:
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
            tooltip=[
                alt.Tooltip("kept:Q", bin=alt.Bin(maxbins=24, minstep=1), title="kept pictures"),
                alt.Tooltip("sum(entities):Q", title="entities", format=","),
            ],
        )
    )
    return _chart(bars.properties(width=WIDTH, height=HEIGHT))


def accuracy(scores: Sequence[Score]) -> Chart | None:
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
    told = [
        alt.Tooltip("row:N", title="model"),
        alt.Tooltip("value:Q", title="top-1, %", format=".1f"),
        alt.Tooltip("low:Q", title="from, %", format=".1f"),
        alt.Tooltip("high:Q", title="to, %", format=".1f"),
        alt.Tooltip("chance:Q", title="chance, %", format=".1f"),
    ]
    base = alt.Chart(frame).encode(y=alt.Y("row:N", sort=None, title=None, axis=alt.Axis(labelLimit=220)), tooltip=told)
    colour = alt.Color("experiment:N", sort=None, legend=None)
    scale = alt.Scale(domain=[0, 100])
    layers = alt.layer(
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", scale=scale, title="top-1 accuracy on test, %"), x2="high:Q", color=colour
        ),
        base.mark_circle(size=90, opacity=1).encode(x="value:Q", color=colour),
        base.mark_tick(thickness=2, size=16, color="currentColor", opacity=0.7).encode(x="chance:Q"),
    )
    return _chart(layers.properties(width=WIDTH - 110, height=alt.Step(26)))


def classes(entries: Sequence[ClassScore]) -> Chart | None:
    """Recall of each class over its training pictures; None where no class is known to the graph."""
    known = [entry for entry in entries if entry.training is not None]
    if len(known) < 2:
        return None
    frame = pd.DataFrame(
        {
            "name": [_label(entry.name) for entry in known],
            "training": [entry.training for entry in known],
            "recall": [100 * entry.recall for entry in known],
            "pictures": [f"{entry.right:,} of {entry.pictures:,}" for entry in known],
        }
    )[:: math.ceil(len(known) / MAX_CLASSES)]
    points = (
        alt.Chart(frame)
        .mark_circle(size=60, opacity=0.7, color=PALETTE[0])
        .encode(
            x=alt.X(
                "training:Q",
                title="training pictures of the class",
                scale=alt.Scale(type="symlog", zero=False, nice=True),
                axis=alt.Axis(format=",~f", tickCount=5),
            ),
            y=alt.Y("recall:Q", title="recognised on test, %", scale=alt.Scale(domain=[0, 100])),
            tooltip=[
                alt.Tooltip("name:N", title="class"),
                alt.Tooltip("training:Q", title="training pictures", format=","),
                alt.Tooltip("pictures:N", title="right on test"),
            ],
        )
    )
    return _chart(points.properties(width=WIDTH, height=HEIGHT))


def comparisons(rows: Sequence[Row]) -> Chart | None:
    """How much better each first model is than the second, with its interval, against a line at nought."""
    if not rows:
        return None
    several = len({(row["benchmark"], row["metric"]) for row in rows}) > 1
    frame = pd.DataFrame(
        [
            {
                "pair": " · ".join([f"{row['first']} − {row['second']}", *([row["benchmark"]] if several else [])])
                + ("" if row["metric"] == "top1" else f", {row['metric']}"),
                **{name: 100 * row[name] for name in ("difference", "low", "high")},
                "p": row["pHolm"],
                "sure": row["pHolm"] < SIGNIFICANT,
            }
            for row in rows[:MAX_PAIRS]
        ]
    )
    base = alt.Chart(frame).encode(
        y=alt.Y("pair:N", sort=None, title=None, axis=alt.Axis(labelLimit=190)),
        color=alt.when("datum.sure").then(alt.value(PALETTE[0])).otherwise(alt.value(PALETTE[5])),
        tooltip=[
            alt.Tooltip("pair:N", title="models"),
            alt.Tooltip("difference:Q", title="points", format="+.1f"),
            alt.Tooltip("low:Q", title="from", format="+.1f"),
            alt.Tooltip("high:Q", title="to", format="+.1f"),
            alt.Tooltip("p:Q", title="p, corrected", format=".2g"),
        ],
    )
    layers = alt.layer(
        alt.Chart(pd.DataFrame({"nought": [0]})).mark_rule(opacity=0.5, color="currentColor").encode(x="nought:Q"),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="difference, points"), x2="high:Q"),
        base.mark_circle(size=90, opacity=1).encode(x="difference:Q"),
    )
    return _chart(layers.properties(width=WIDTH - 100, height=alt.Step(26)))


def published(beside: Beside) -> Chart:
    """Figures of others and ours on one set, best first; ours in another colour."""
    frame = pd.DataFrame(
        [
            {
                "model": _label(figure.model),
                "percent": figure.percent,
                "from": "published" if figure.source else "this run",
                "source": figure.source["title"] if figure.source else "this run",
            }
            for figure in beside.figures
        ]
    )
    bars = (
        alt.Chart(frame)
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("percent:Q", title="%", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y("model:N", sort=None, title=None, axis=alt.Axis(labelLimit=210)),
            color=alt.Color(
                "from:N", scale=alt.Scale(domain=["this run", "published"], range=[PALETTE[1], PALETTE[5]])
            ),
            tooltip=[
                alt.Tooltip("model:N"),
                alt.Tooltip("percent:Q", title="%", format=".1f"),
                alt.Tooltip("source:N"),
            ],
        )
    )
    return _chart(bars.properties(width=WIDTH - 100, height=alt.Step(18)))


def _wedge(arc: Arc, inner: float, step: float) -> dict[str, Any]:
    middle, radius = math.pi * (arc.start + arc.end), inner + step / 2
    name = _label(arc.name)
    # A letter of 11 pixels is about 6 wide; on a narrow ring a long straight word would leave its arc.
    fits = 6.2 * len(name) + 6 < min(2 * math.pi * (arc.end - arc.start) * radius, 1.3 * radius) and step > 14
    turn = math.degrees(middle) % 360
    return {
        "name": name,
        "common": _label(arc.common or ""),
        "rank": _label(arc.rank),
        "entities": arc.entities,
        "covered": arc.covered,
        "kept": arc.kept,
        "each": arc.kept / arc.entities,
        "start": 2 * math.pi * arc.start,
        "end": 2 * math.pi * arc.end,
        "inner": inner,
        "outer": inner + step - 1.5,
        "label": name if fits else "",
        "x": RADIUS + radius * math.sin(middle),
        "y": RADIUS - radius * math.cos(middle),
        "turn": turn - 180 if 90 < turn < 270 else turn,
        "said": f"{name}, {arc.rank}: {arc.entities:,} entities, {arc.covered:,} with pictures, {arc.kept:,} pictures",
        "find": name,
    }


def _label(text: str) -> str:
    return str(clean(short(text, 60)))


def cost(effects: Sequence[Effect]) -> Chart | None:
    """Top-1 on test over the computation of training, with intervals over seeds; None where all cost the same.

    A line joins experiments that differ in their share of the pictures only: the cost curve of a recipe. Of the first
    benchmark and its form of names that is recognised best.
    """
    shown = [effect for effect in effects if effect.benchmark == effects[0].benchmark and effect.flops]
    if len({effect.flops for effect in shown}) < 2:
        return None
    best = max(shown, key=lambda effect: effect.top1.value).name_form
    frame = pd.DataFrame(
        [
            {
                "experiment": effect.experiment,
                "curve": effect.curve,
                "flops": effect.flops,
                "value": 100 * effect.top1.value,
                "low": _percent(effect.top1.low),
                "high": _percent(effect.top1.high),
            }
            for effect in shown
            if effect.name_form == best
        ]
    )
    base = alt.Chart(frame).encode(
        x=alt.X(
            "flops:Q", title="FLOPs of training", scale=alt.Scale(type="log", nice=True), axis=alt.Axis(format="~e")
        ),
        color=alt.Color("experiment:N", sort=None, legend=_legend(frame["experiment"])),
        tooltip=[
            alt.Tooltip("experiment:N"),
            alt.Tooltip("flops:Q", title="FLOPs", format=".2g"),
            alt.Tooltip("value:Q", title="top-1, %", format=".1f"),
            alt.Tooltip("low:Q", title="from, %", format=".1f"),
            alt.Tooltip("high:Q", title="to, %", format=".1f"),
        ],
    )
    points = base.mark_point(size=90, opacity=1, filled=True).encode(
        y=alt.Y("value:Q", title=f"top-1 on test, {best} names, %", scale=alt.Scale(zero=False)),
        shape=alt.Shape("experiment:N", sort=None, legend=_legend(frame["experiment"])),
    )
    measured = frame.dropna(subset=["low", "high"])
    intervals = base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q").properties(data=measured)
    joined = frame[frame.duplicated("curve", keep=False)]
    curves = alt.Chart(joined).mark_line(strokeWidth=1.2, color=PALETTE[5])
    curves = curves.encode(x="flops:Q", y="value:Q", detail="curve:N")
    layers = [*([curves] if len(joined) else []), *([intervals] if len(measured) else []), points]
    return _chart(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _curve(runs: Sequence[Training], column: str, title: str, form: str) -> Chart | None:
    points = [
        {"experiment": run.experiment, "step": line["step"], "value": line[column]}
        for run in runs
        for line in _thinned(run.history, MAX_POINTS // max(1, len(runs) // 4))
        if isinstance(line.get(column), (int, float)) and math.isfinite(line[column])
    ]
    if not points:
        return None
    names = [run.experiment for run in runs if any(point["experiment"] == run.experiment for point in points)]
    legend: Any = _legend(names) if len(names) > 1 else None
    # Named here: Altair's own names count up, and a report made again must be the same byte for byte.
    chosen = alt.selection_point("chosen", fields=["experiment"], bind="legend")
    near = alt.selection_point("near", fields=["step"], nearest=True, on="pointerover", empty=False)
    lines = alt.Chart(pd.DataFrame(points)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=5, format=",d")),
        y=alt.Y("value:Q", title=title, axis=alt.Axis(tickCount=5, format=form)),
        color=alt.Color("experiment:N", sort=names, legend=legend),
        opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.15)),
    )
    told = [
        alt.Tooltip("experiment:N"),
        alt.Tooltip("step:Q", format=",d"),
        alt.Tooltip("value:Q", title=title, format=".4~g"),
    ]
    dots = lines.mark_point(filled=True, size=60).encode(
        tooltip=told, opacity=alt.when(near).then(alt.value(1)).otherwise(alt.value(0))
    )
    drawn = lines.mark_line(strokeWidth=1.8, point=len(points) == 1).properties(name="lines").add_params(chosen)
    return _chart(
        alt.layer(drawn, dots.properties(name="dots").add_params(near)).properties(width=WIDTH, height=HEIGHT)
    )


def _legend(names: Iterable[str]) -> alt.Legend:
    return alt.Legend(columns=3 if max(map(len, names)) < 16 else 1, labelLimit=WIDTH)


def _thinned(history: Sequence[Any], most: int) -> Sequence[Any]:
    stride = max(1, math.ceil(len(history) / max(most, 20)))
    return [*history[:-1:stride], *history[-1:]]


def _chart(chart: Any) -> Chart:
    specification = {**chart.to_dict(), "config": _CONFIG}
    # vl-convert escapes every text that it draws. Its names of gradients count up; only one chart has one.
    drawn = re.sub(r"\bgradient_\d+", "gradient", vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE))
    return Chart(Markup(drawn), specification)
