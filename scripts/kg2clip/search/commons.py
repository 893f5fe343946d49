"""Wikimedia Commons: full-text search over file pages, and the walk through a taxon's category (MediaWiki API).

Terms: keyless; at most 3 calls at a time, an honest agent string, thumbnails at the standard widths only (reference:
harvest 3.2). An answer is complete when it says `batchcomplete`; until then the same pages come again with other
properties and are merged by page id (../shared/samples/README.md).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kg2clip import provenance
from kg2clip.identifiers import candidate_id
from kg2clip.search import licenses
from kg2clip.search.hits import INT64, objects, whole, words
from kg2clip.search.limits import check_limits
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings
from kg2clip.texts import clean

log = logging.getLogger(__name__)

MAX_CHARACTERS = 300  # of a search (CirrusSearch's $wgCirrusSearchMaxFullTextQueryLength)
MAX_ANSWERS = 1000  # to one query; a search gives 10,000 files at most, 50 in a batch of a few answers
MAX_EMPTY = 20  # answers in a row without anything
PAGE_SIZE = 50  # the API's limit for pages with properties


class Commons(Source):
    """The source `commons`; `wanted` is its section of the config."""

    name = "commons"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Refuse to ask faster than Wikimedia allows."""
        check_limits(self.name, self._wanted)

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The hits of a query, a list for each complete answer."""
        request = {
            "generator": "search",
            "gsrsearch": search_text(query),
            "gsrnamespace": "6",
            "gsrlimit": str(min(PAGE_SIZE, self._wanted["per_query"])),
            **picture_properties(self._wanted),
        }
        for pages in ask_in_batches(self._wanted["api"], request, answers):
            yield read_pages(pages.values())


class CommonsCategories(Source):
    """The source `commonscategories`: the files in the category that bears a taxon's name, and in those below it.

    The hits are Commons' own (source, sourceID and candidateID): a file that search finds too is one candidate.
    Categories of maps, drawings, stamps and the like are left out, by their names.
    """

    name = "commonscategories"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Refuse to ask faster than Wikimedia allows."""
        check_limits(self.name, self._wanted)

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures of the category that the query names, then those of the categories below, level by level."""
        if query["kind"] != "noun" or query["nameKind"] not in ("scientific", "synonym"):
            return  # categories bear scientific names
        if query["disambiguation"]:
            return  # one of several taxa of this name has the category, and nothing says which
        level = [f"Category:{_plain(query['name'])}"]
        seen = set(level)
        for depth in range(self._wanted["depth"] + 1):
            for category in level:
                yield from self._files(category, answers)
            if depth == self._wanted["depth"]:
                return
            below = [title for category in level for title in self._categories(category, answers)]
            level = [title for title in dict.fromkeys(below) if title not in seen and not ASIDE.search(title)]
            seen.update(level)

    def _files(self, category: str, answers: Answers) -> Iterator[list[Hit]]:
        request = {
            "generator": "categorymembers",
            "gcmtitle": category,
            "gcmtype": "file",
            "gcmlimit": str(min(PAGE_SIZE, self._wanted["per_query"])),
            **picture_properties(self._wanted),
        }
        for pages in ask_in_batches(self._wanted["api"], request, answers):
            yield [hit for hit in read_pages(pages.values()) if _is_bitmap(hit["format"])]

    def _categories(self, category: str, answers: Answers) -> Iterator[str]:
        request = {"list": "categorymembers", "cmtitle": category, "cmtype": "subcat", "cmlimit": "500"}
        for answer in ask(self._wanted["api"], request, answers):
            for member in objects(_object(answer.get("query")).get("categorymembers")):
                if title := words(member.get("title")):
                    yield title


# Categories below a taxon's that hold no photographs of it.
ASIDE = re.compile(
    r"\b(maps?|distributions?|ranges?|drawings?|illustrations?|paintings?|engravings?|lithographs?|plates|art|sculptures?"
    r"|statues?|stamps?|coins?|heraldry|coats of arms|logos?|icons?|diagrams?|phylogen\w+|cladograms?|sounds?|audio"
    r"|songs?|calls?|videos?|films?|gifs?|svg|texts?|books?|products|dishes|food|cuisine)\b",
    re.IGNORECASE,
)


def _is_bitmap(media_type: str | None) -> bool:
    return media_type is None or (media_type.startswith("image/") and "svg" not in media_type)


def picture_properties(wanted: Settings) -> dict[str, str]:
    """What to ask of each file."""
    return {
        "prop": "imageinfo",
        "iiprop": "url|size|mime|sha1|extmetadata",
        "iiurlwidth": str(wanted["thumbnail_width"]),
    }


def ask(api: str, request: Mapping[str, str], answers: Answers) -> Iterator[dict[str, Any]]:
    """All answers to a query, each continued with what the one before said.

    One that leads back, or on without an end, ends it with a warning: what came until then is taken.
    """
    more: dict[str, str] = {}
    seen = {frozenset(more.items())}
    empty = 0
    while True:
        answer = answers.get(api, {"action": "query", "format": "json", "maxlag": "5", **request, **more})
        yield answer
        more = {key: str(value) for key, value in _object(answer.get("continue")).items()}
        if not more:
            return
        empty = 0 if answer.get("query") else empty + 1
        if frozenset(more.items()) in seen or len(seen) == MAX_ANSWERS or empty == MAX_EMPTY:
            log.warning("%s continues without an end (%s): what came until then is taken", api, more)
            return
        seen.add(frozenset(more.items()))


def ask_in_batches(api: str, request: Mapping[str, str], answers: Answers) -> Iterator[dict[str, dict[str, Any]]]:
    """Pages by their ids, a batch at a time, merged over the answers that a batch comes in."""
    found: dict[str, dict[str, Any]] = {}
    for answer in ask(api, request, answers):
        for page_id, page in pages_of(answer).items():
            found[page_id] = {**found.get(page_id, {}), **page}
        if "batchcomplete" in answer or not answer.get("continue"):
            yield found
            found = {}
    if found:
        yield found


def pages_of(answer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The pages of an answer by id. Where there are none PHP writes an empty list for the map."""
    pages = _object(answer.get("query")).get("pages")
    if isinstance(pages, Mapping):
        return {page_id: page for page_id, page in pages.items() if isinstance(page, Mapping)}
    return {str(page.get("pageid") or page.get("title")): page for page in objects(pages)}  # format version 2


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


BITMAPS = "filetype:bitmap"


def search_text(query: Query) -> str:
    """A query in CirrusSearch's words: the name as a phrase, bitmaps only, as many excluded words as fit behind a
    minus; characters that are operators there are left out. It knows no parentheses, so that other names would not be a
    choice. Excluded words stand in quotes, since it stems others: `-painting` would lose the painted lady.

    Source: https://www.mediawiki.org/wiki/Help:CirrusSearch/Logical_operators
    """
    phrase = f'"{_plain(query["name"])}"'
    wanted = (_plain(query["attribute"] or ""), phrase, _plain(query["disambiguation"] or ""))
    asked = " ".join(filter(None, wanted))
    for plain in filter(None, map(_plain, query.get("excludedWords") or ())):
        if len(f'{asked} -"{plain}" {BITMAPS}') <= MAX_CHARACTERS:
            asked = f'{asked} -"{plain}"'
    return f"{asked} {BITMAPS}"


def _plain(text: str) -> str:
    parts = "".join(" " if sign in '"*?~\\:|!<>' else sign for sign in text).split()
    return " ".join(filter(None, (part.lstrip("-+") for part in parts)))


def read_pages(pages: Any) -> list[Hit]:
    """File pages of an answer as hits, in the order of the search; pages without a picture are left out."""
    ordered = sorted(pages, key=lambda page: (whole(page.get("index")) or 0, whole(page.get("pageid"), INT64) or 0))
    return [hit for page in ordered if (hit := _read_page(page))]


def _read_page(page: Mapping[str, Any]) -> Hit | None:
    info = next(iter(objects(page.get("imageinfo"))), {})
    address, file = words(info.get("thumburl")) or words(info.get("url")), words(page.get("title"))
    if not address or not file:
        return None
    said = {key: value.get("value") for key, value in _object(info.get("extmetadata")).items() if _object(value)}
    short, code, link = (words(said.get(key)) for key in ("LicenseShortName", "License", "LicenseUrl"))
    title = file.removeprefix("File:")
    return {
        "candidateID": candidate_id(Commons.name, title),
        "source": Commons.name,
        "sourceID": title,
        "accessURI": address,
        "originalURI": words(info.get("url")),
        "furtherInformationURL": words(info.get("descriptionurl")),
        "title": clean(words(said.get("ObjectName")) or title),
        "altText": None,  # Commons has none: the description stands for it (design 6.7)
        "description": clean(said.get("ImageDescription")),
        "format": words(info.get("mime")),
        "width": whole(info.get("width")),
        "height": whole(info.get("height")),
        "bytes": whole(info.get("size"), INT64),
        "license": licenses.normalize(link, short, code),
        "licenseOriginal": short or code,
        "licenseURL": link,
        "creator": clean(said.get("Artist")),
        "rightsHolder": clean(said.get("Attribution")),
        "sha1": words(info.get("sha1")),
        "retrieved": provenance.now(),
    }
