"""The page: everything computed, put into the templates, with a policy that lets nothing from outside in or out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from kg2clip import provenance
from kg2clip.report import (
    ablation,
    accuracy,
    charts,
    citations,
    coverage,
    filters,
    funnel,
    galleries,
    history,
    hosts,
    models,
    notices,
    sources,
    texts,
    tree,
    truth,
)
from kg2clip.report.ablation import Effect
from kg2clip.report.accuracy import Accuracy
from kg2clip.report.charts import Chart
from kg2clip.report.coverage import Group, Taxon
from kg2clip.report.history import Training
from kg2clip.report.models import Models
from kg2clip.report.pictures import Pictures
from kg2clip.report.results import Results, Row
from kg2clip.settings import OWN

TEMPLATES = Path(__file__).with_name("templates")
STEP = "make_report"  # its own record is of the last time, so it is left out
MAX_ENTITY_ROWS = 3_000  # with all their attributes: about 1 kB a row
MAX_BYTES = 15_000_000  # of the page, so that it can be sent and opens on a phone


def render(results: Results, date: str | None = None, pictures: Pictures | None = None) -> tuple[str, dict[str, Any]]:
    """Compute everything and fill the page in.

    Args:
        results: the opened run.
        date: what the page says about when it was made (default: now).
        pictures: where its pictures come from (default: the run's tars).

    Returns:
        The HTML and the counts for the provenance file.
    """
    pictures = pictures or Pictures(results)
    counted = funnel.measure(results)
    groups = coverage.measure(results)
    taxa = coverage.all_taxa(groups)
    mix = texts.measure(results)
    scores = accuracy.measure(results)
    several = models.measure(results, scores)
    effects = ablation.measure(results, scores.scores)
    records = [record for record in results.provenance() if record.get("step") != STEP]
    runs = history.training(results)
    context = {
        "project": results.settings["project"],
        "settings": results.settings,
        "subjects": coverage.subjects(results),
        "own": OWN[0],
        "date": date or provenance.now(),
        "endpoint": history.endpoint(results, records),
        "exported": history.exported(records),
        "cited": history.cited(records),
        "citations": citations.gather(results.settings, records),
        "funnel": counted,
        "taxa": taxa,
        "attributes": _attributes(results),
        "queries": _queries(results),
        "most_kept": max((taxon.kept for taxon in taxa), default=0),
        "covered": _covered(taxa),
        "mix": mix,
        "accuracy": scores,
        "models": several,
        "notes_on_benchmarks": results.notes_on_benchmarks,
        "runs": runs,
        "trained": sum(run.last is not None for run in runs),
        "effects": effects,
        "leaks": galleries.leaks(results),
        "licences": _licences(results),
        "sources": sources.measure(results),
        "hosts": hosts.measure(results),
        "steps": history.steps(records),
        "notices": notices.gather(results, counted, taxa, mix, scores),
        "shown": galleries.SHOWN,
        "charts": _charts(taxa, runs, scores, several, effects),
    }
    for less in (1, 2, 4, 8):
        shown = _samples(results, pictures, groups, less)
        html = _fill_in({**context, **shown})
        if len(html.encode()) <= MAX_BYTES:
            break
    counts = {
        "entities": counted.entities,
        "candidates": counted.candidates,
        "kept": counted.kept,
        "addsUp": counted.adds_up,
        "keptShown": len(shown["kept"]),
        "droppedShown": sum(len(lot.pictures) for lot in shown["lots"]),
    }
    return html, counts


def _samples(results: Results, pictures: Pictures, groups: Sequence[Group], less: int) -> dict[str, Any]:
    """What a page may hold more or less of: pictures and lines of taxa, a `less`th of what a page of any size has."""
    rows = coverage.MAX_ROWS // less
    most_kept = sorted(coverage.all_taxa(groups), key=lambda taxon: (-taxon.kept, taxon.entity["entityID"]))
    return {
        "groups": coverage.cut(groups, rows),
        "max_rows": rows,
        "described": most_kept[: MAX_ENTITY_ROWS // less],
        "kept": galleries.kept(results, pictures, galleries.KEPT // less),
        "lots": galleries.dropped(results, pictures, galleries.DROPPED // less),
        "truth": truth.measure(results, pictures, truth.MISSES // less),
    }


def _charts(
    taxa: Sequence[Taxon], runs: Sequence[Training], scores: Accuracy, several: Models, effects: Sequence[Effect]
) -> dict[str, Chart]:
    """All charts that there are data for, by the names that the templates use."""
    drawn = {
        "tree": charts.coverage_tree(tree.arcs(taxa)),
        "coverage": charts.coverage_histogram(taxa),
        "loss": charts.loss_curve(runs),
        "rate": charts.learning_rate(runs),
        "accuracy": charts.accuracy(scores.scores),
        "comparisons": charts.comparisons(several.comparisons),
        **{f"published-{beside.benchmark}": charts.published(beside) for beside in several.published},
        "cost": charts.cost(effects),
        **{f"classes-{detail.score.benchmark}": charts.classes(detail.classes) for detail in scores.details},
    }
    return {name: chart for name, chart in drawn.items() if chart}


def _fill_in(context: dict[str, Any]) -> str:
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8") + _width_classes()
    scripts = [charts.library(), (TEMPLATES / "page.js").read_text(encoding="utf-8")]
    # Vega and our own two files are the only markup that is not escaped; their hashes are all that the policy lets run.
    return (
        environment()
        .get_template("page.html")
        .render(
            **context,
            specifications={name: chart.specification for name, chart in context["charts"].items()},
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            policy=(
                f"default-src 'none'; style-src {_source_hash(style)}; "
                f"script-src {' '.join(map(_source_hash, scripts))}; img-src data:; base-uri 'none'; form-action 'none'"
            ),
        )
    )


def environment() -> jinja2.Environment:
    """The templates with strict escaping: every value is text unless it is our own markup."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=filters.clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "n": filters.number,
        "of": filters.counted,
        "day": filters.day,
        "pct": filters.percent,
        "plain": filters.plain,
        "short": filters.short,
        "width": filters.width,
        "url": filters.safe_url,
    }
    made.globals |= {"meaning": filters.meaning, "entity_url": filters.entity_url, "lineage": tree.lineage}
    return made


def _width_classes() -> str:
    # A policy without 'unsafe-inline' forbids style attributes, so the bars take their length from a class.
    return "".join(f".w{share}{{--w:{share}%}}" for share in range(101))


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _covered(taxa: list[Taxon]) -> dict[str, Any]:
    """How many entities have pictures, and what to call them."""
    species = {taxon.entity["taxonRank"] for taxon in taxa} == {"species"}
    one, what = ("species", "species") if species else ("entity", "entities")
    return {"one": one, "what": what, "shown": sum(taxon.kept > 0 for taxon in taxa)}


def _attributes(results: Results) -> list[Row]:
    return results.rows(
        "SELECT a.source, a.category, count(*) AS n, count(DISTINCT entityID) AS entities, min_by(a.value, entityID) "
        "AS example FROM (SELECT entityID, unnest(attributes) AS a FROM entities) GROUP BY ALL ORDER BY 1, n DESC, 2"
    )


def _queries(results: Results) -> list[Row]:
    return results.rows(
        "SELECT kind, nameKind, count(*) AS n, count(hits.queryID) AS hit, count(disambiguation) AS apart, "
        "min_by(text, queries.queryID) AS example FROM queries "
        "LEFT JOIN (SELECT DISTINCT unnest(queryIDs) AS queryID FROM candidates) hits USING (queryID) "
        "GROUP BY ALL ORDER BY kind DESC, n DESC, nameKind"
    )


def _licences(results: Results) -> list[Row]:
    return results.rows(
        "SELECT coalesce(license, 'unknown') AS license, count(*) AS pictures, "
        "mode(licenseURL ORDER BY licenseURL) FILTER (licenseURL SIMILAR TO 'https?://.*') AS url, "
        "count(DISTINCT nullif(creator, '')) AS creators, count(*) FILTER (coalesce(creator, '') = '') AS nameless "
        "FROM dataset GROUP BY coalesce(license, 'unknown') ORDER BY pictures DESC, 1"
    )
