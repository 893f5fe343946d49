"""Filters of the templates: texts and addresses from outside made harmless, numbers made readable."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

MAX_TEXT = 300  # characters of a text from the web

# C0 and C1 controls without tab and line feed, for which HTML has no place; and the characters that embed, override or
# isolate a direction of writing: an unclosed isolate swallows the end of a <bdi>, so <bdi> alone does not hold them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# More than four marks on one letter are no language's but a tower that covers the lines around it.
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_TOWERS = re.compile(f"({_MARK}{{4}}){_MARK}+")

# What the short reasons of the tables mean, for a reader who sees them for the first time.
REASONS = {
    "dns": "the host has no address",
    "dns-unreachable": "no name server answered, for now",
    "connect": "the host did not answer, for now",
    "timeout": "it took too long, for now",
    "host-down": "the host was given up, for now",
    "robots-unreachable": "robots.txt could not be read, for now",
    "cut": "the answer ended too early, for now",
    "our-error": "an error of this program, for now; the batch's log tells",
    "no-contact": "public hosts are not asked without a contact, for now",
    "stopped": "the run was stopped, for now",
    "other-lane": "redirects led to hosts of other jobs twice",
    "redirect-loop": "redirects led in a circle",
    "too-many-redirects": "more redirects than allowed",
    "empty": "the answer had no bytes",
    "unreadable": "the file could not be read",
    "certificate": "the host's certificate is not valid",
    "protocol": "the host's answer was no valid HTTP",
    "encoding": "the answer was compressed in a way that nobody asked for",
    "too-large": "more bytes than allowed",
    "robots": "robots.txt forbids it",
    "opt-out": "the owner opted out of machine learning",
    "private-address": "an address that is not public",
    "bad-url": "not a usable address",
    "not-an-image": "the answer was no picture",
    "html": "a page in place of a picture",
    "svg": "a drawing of lines, a format that is not read",
    "pdf": "a document, a format that is not read",
    "heic": "a format that is not read",
    "jpeg-xl": "a format that is not read",
    "unknown-format": "a format that is not known",
    "side-too-long": "a side has more pixels than allowed",
    "truncated": "the file ends too early",
    "unsupported-colours": "colours of a kind that is not read",
    "broken": "the file is damaged",
    "too-many-pixels": "more pixels than allowed",
    "too-many-scans": "a JPEG made to keep a computer busy",
    "decoder-crash": "the decoder crashed, or took minutes",
    "too-small": "fewer pixels than asked for",
    "aspect": "too long or too narrow",
    "blank": "hardly any content",
    "picture-kind": "not one of the kinds of pictures asked for",
    "misfit": "fits its names worse than others of its entity, by curate.fit_model",
    "placeholder": "stands under many unrelated names: what a host shows in place of a picture",
    "licence": "the licence is not among those asked for",
    "duplicate": "another copy is kept",
    "burst": "another photo of the same moment is kept",
    "benchmark": "stands in an evaluation set",
    "sha256": "the same bytes",
    "pixels": "the same pixels",
    "pdq": "nearly the same picture",
    "pdq-mirrored": "nearly the same picture, mirrored",
    "overlap": "the same picture, cropped or with something laid over it",
    "source-id": "the same picture at its source",
    "address": "the same address",
    "observation": "another photo of the observation that a test picture shows",
    "page": "from the page of a test picture",
}


_HTTP = {
    "http-401": "the host does not hand it out",
    "http-403": "the host does not hand it out",
    "http-404": "no longer at its address",
    "http-410": "taken down by its host",
    "http-429": "the host asked for fewer calls, for now",
    "http-4": "the host refused to send it",
    "http-5": "the host was in trouble, for now",
}


def meaning(reason: str | None) -> str:
    """What a short reason means in words; empty where it says so itself."""
    reason = reason or ""
    return REASONS.get(reason) or _HTTP.get(reason) or _HTTP.get(reason[: len("http-4")], "")


def clean(value: Any) -> Any:
    """Replace control characters of a text by U+FFFD, so that they show; cut towers of marks; null becomes nothing."""
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _TOWERS.sub(r"\1", _CONTROLS.sub("\ufffd", value))


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


def counted(value: int, one: str, several: str = "") -> str:
    """A count with its noun: 1 picture, 2,937 pictures."""
    return f"{value:,} {one if value == 1 else several or one + 's'}"


def day(moment: str, time: bool = True) -> str:
    """A moment of a provenance file, 2026-11-25T21:52:15Z, as a person writes it; what is none as it stands."""
    try:
        read = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{read.day} {read:%B %Y}" + (f", {read:%H:%M} UTC" if time else "")


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
