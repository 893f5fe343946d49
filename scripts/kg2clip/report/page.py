"""The page: everything computed, put into the templates, with a policy that lets nothing from outside in or out."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from kg2clip import provenance
from kg2clip.report import accuracy, charts, coverage, funnel, galleries, history, texts, truth
from kg2clip.report.accuracy import Accuracy
from kg2clip.report.coverage import Taxon
from kg2clip.report.funnel import Funnel
from kg2clip.report.pictures import Pictures
from kg2clip.report.results import Results, Row
from kg2clip.report.texts import TextMix

TEMPLATES = Path(__file__).with_name("templates")
STEP = "make_report"  # its own record is of the last time, so it is left out
MAX_ENTITY_ROWS = 3_000  # with all their attributes: about 1 kB a row
MAX_TEXT = 300  # characters of a text from the web
NAMED = 12  # names in a warning

# C0 and C1 controls without tab and line feed, for which HTML has no place; and the characters that embed, override or
# isolate a direction of writing: an unclosed isolate swallows the end of a <bdi>, so <bdi> alone does not hold them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# What the short reasons of the tables mean, for a reader who sees them for the first time.
REASONS = {
    "dns": "the host has no address",
    "dns-unreachable": "no name server answered, for now",
    "connect": "the host did not answer, for now",
    "timeout": "it took too long, for now",
    "host-down": "the host was given up, for now",
    "robots-unreachable": "robots.txt could not be read, for now",
    "cut": "the answer ended too early, for now",
    "certificate": "the host's certificate is not valid",
    "too-large": "more bytes than allowed",
    "robots": "robots.txt forbids it",
    "opt-out": "the owner opted out of machine learning",
    "private-address": "an address that is not public",
    "bad-url": "not a usable address",
    "not-an-image": "the answer was no picture",
    "truncated": "the file ends too early",
    "broken": "the file is damaged",
    "too-many-pixels": "more pixels than allowed",
    "too-small": "fewer pixels than asked for",
    "aspect": "too long or too narrow",
    "blank": "hardly any content",
    "licence": "the licence is not among those asked for",
    "duplicate": "another copy is kept",
    "benchmark": "stands in an evaluation set",
    "sha256": "the same bytes",
    "pixels": "the same pixels",
    "pdq": "nearly the same picture",
    "pdq-mirrored": "nearly the same picture, mirrored",
    "source-id": "the same picture at its source",
}


@dataclass(frozen=True)
class Notice:
    """A warning of the summary; `level` is error, warning or note."""

    level: str
    text: str


def render(results: Results, date: str | None = None) -> tuple[str, dict[str, Any]]:
    """Compute everything and fill the page in.

    Args:
        results: the opened run.
        date: what the page says about when it was made (default: now).

    Returns:
        The HTML and the counts for the provenance file.
    """
    pictures = Pictures(results)
    counted = funnel.measure(results)
    groups = coverage.measure(results)
    taxa = coverage.all_taxa(groups)
    mix = texts.measure(results)
    scores = accuracy.measure(results)
    records = [record for record in results.provenance() if record.get("step") != STEP]
    runs = history.training(results)
    kept = galleries.kept(results, pictures)
    lots = galleries.dropped(results, pictures)
    context = {
        "project": results.settings["project"],
        "settings": results.settings,
        "date": date or provenance.now(),
        "endpoint": history.endpoint(results, records),
        "funnel": counted,
        "groups": coverage.cut(groups),
        "taxa": taxa,
        "max_rows": coverage.MAX_ROWS,
        "described": sorted(taxa, key=lambda taxon: (-taxon.kept, taxon.entity["entityID"]))[:MAX_ENTITY_ROWS],
        "most_kept": max((taxon.kept for taxon in taxa), default=0),
        "species": _species(taxa),
        "mix": mix,
        "accuracy": scores,
        "runs": runs,
        "kept": kept,
        "lots": lots,
        "truth": truth.measure(results, pictures),
        "licences": _licences(results),
        "sources": _sources(results),
        "steps": history.steps(records),
        "notices": _notices(results, counted, taxa, mix, scores, records),
        "charts": {
            "coverage": charts.coverage_histogram(taxa),
            "loss": charts.loss_curve(runs),
            "rate": charts.learning_rate(runs),
            "accuracy": charts.accuracy(scores.scores),
        },
    }
    counts = {
        "entities": counted.entities,
        "candidates": counted.candidates,
        "kept": counted.kept,
        "addsUp": counted.adds_up,
        "keptShown": len(kept),
        "droppedShown": sum(len(lot.pictures) for lot in lots),
    }
    return _fill_in(context), counts


def _fill_in(context: dict[str, Any]) -> str:
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8") + _width_classes()
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    # Our own two files are the only markup that is not escaped; their hashes are all that the policy lets run.
    return environment().get_template("page.html").render(
        **context,
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=(
            f"default-src 'none'; style-src {_source_hash(style)}; script-src {_source_hash(script)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
    )  # fmt: skip


def environment() -> jinja2.Environment:
    """The templates with strict escaping: every value is text unless it is our own markup."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"n": number, "pct": percent, "plain": plain, "short": short, "width": width, "url": safe_url}
    made.globals |= {"reasons": REASONS, "entity_url": entity_url}
    return made


def clean(value: Any) -> Any:
    """Replace control characters of a text that goes into the page by U+FFFD, so that they show; null becomes nothing."""
    if value is None:
        return ""
    return _CONTROLS.sub("\ufffd", value) if isinstance(value, str) and not isinstance(value, Markup) else value


def plain(value: str | None) -> str:
    """A text for an attribute: short and on one line."""
    return short(" ".join((value or "").split()), 120)


def short(value: str | None, limit: int = MAX_TEXT) -> str:
    """At most `limit` characters of a text."""
    value = value or ""
    return value if len(value) <= limit else value[: limit - 1].rstrip() + "…"


def number(value: float | None) -> str:
    """A count with thousands separators; a dash for null."""
    return "–" if value is None else f"{value:,}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share of 0 to 1 in percent; a dash for null and NaN."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def width(value: float, whole: float) -> str:
    """The class that draws a bar of `value` in `whole`; anything above nothing stays visible."""
    share = 100 * value / whole if whole else 0.0
    return f"w{min(100, max(round(share), 1 if value > 0 else 0))}"


def safe_url(value: str | None) -> str | None:
    """An address that may become a link: http or https with a host, nothing else; None for the rest."""
    if not value or re.search(r"[\s\x00-\x1f\x7f\\]", value):
        return None
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        return None
    return value if parts.scheme in ("http", "https") and host else None


def entity_url(identifier: str) -> str | None:
    """The public page of an entity: Wikidata's item or NCBI's taxon."""
    if re.fullmatch(r"wd:Q[0-9]+", identifier):
        return f"https://www.wikidata.org/wiki/{identifier.removeprefix('wd:')}"
    if re.fullmatch(r"ncbi:[0-9]+", identifier):
        return f"https://www.ncbi.nlm.nih.gov/datasets/taxonomy/{identifier.removeprefix('ncbi:')}/"
    return None


def _width_classes() -> str:
    # A policy without 'unsafe-inline' forbids style attributes, so the bars take their length from a class.
    return "".join(f".w{share}{{--w:{share}%}}" for share in range(101))


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _species(taxa: list[Taxon]) -> dict[str, int]:
    species = [taxon for taxon in taxa if taxon.entity["taxonRank"] == "species"]
    return {"all": len(species), "shown": sum(taxon.kept > 0 for taxon in species)}


def _licences(results: Results) -> list[Row]:
    return results.rows(
        "SELECT coalesce(license, 'unknown') AS license, any_value(licenseURL ORDER BY licenseURL) AS url, count(*) AS pictures, "
        "count(DISTINCT creator) AS creators, count(*) FILTER (coalesce(creator, '') = '') AS nameless "
        "FROM dataset GROUP BY coalesce(license, 'unknown') ORDER BY pictures DESC, 1"
    )


def _sources(results: Results) -> list[Row]:
    return results.rows(
        "SELECT source, count(*) AS candidates, count(*) FILTER (d.kept) AS kept FROM candidates "
        "LEFT JOIN decisions d USING (candidateID) GROUP BY source ORDER BY kept DESC, source"
    )


def _notices(
    results: Results, counted: Funnel, taxa: list[Taxon], mix: TextMix, scores: Accuracy, records: list[Row]
) -> list[Notice]:
    notices = []
    if not counted.adds_up:
        broken = "; ".join(f"{c.meaning}: {c.found:,} instead of {c.expected:,}" for c in counted.checks if not c.holds)
        notices.append(Notice("error", f"The counts do not add up. {broken}."))
    if results.settings["accept_partial"]:
        notices.append(Notice("warning", "This run was allowed to go on without what sources or hosts did not give (accept_partial)."))
    for record in records:
        missing = record.get("incomplete") or record.get("missing") or record.get("counts", {}).get("incomplete")
        if missing:
            notices.append(Notice("warning", f"Incomplete: {record.get('step')}: {short(str(missing))}."))
    if empty := [taxon for taxon in taxa if not taxon.kept]:
        names = _listed([taxon.entity["scientificName"] or taxon.entity["entityID"] for taxon in empty])
        notices.append(Notice("warning", f"Entities without a kept picture: {len(empty):,} of {len(taxa):,} ({names})."))
    for detail in scores.details:
        if detail.untrained:
            notices.append(
                Notice(
                    "warning",
                    f"Classes of {detail.score.benchmark} without a picture in the dataset: {len(detail.untrained):,} of "
                    f"{detail.score.classes:,} ({_listed(list(detail.untrained))}).",
                )
            )
    notices += [
        Notice("warning", f"{name} has no dev split, so nothing could be chosen: the first prompt set is reported.")
        for name in scores.without_dev
    ]
    if not results.benchmarks:
        notices.append(Notice("warning", "No benchmark is configured (evaluate.benchmarks): nothing says how good the model is."))
    if mix.without_web:
        notices.append(
            Notice("note", f"{mix.without_web:,} of {mix.pictures:,} pictures came without a usable text of their own; the graph names them.")
        )
    return notices


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
