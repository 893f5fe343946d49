"""Wikimedia Commons: full-text search over file pages (MediaWiki API, generator=search with imageinfo).

Terms: keyless; at most 3 calls at a time, an honest agent string, thumbnails at the standard widths only (reference:
harvest 3.2). An answer is complete when it says `batchcomplete`; until then the same pages come again with other
properties and are merged by page id (../shared/samples/README.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kg2clip import provenance
from kg2clip.identifiers import candidate_id
from kg2clip.search import licenses
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings
from kg2clip.texts import clean

PAGE_SIZE = 50  # the API's limit for pages with properties


class Commons(Source):
    """The source `commons`; `wanted` is its section of the config."""

    name = "commons"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The hits of a query, a list for each complete answer."""
        request = {
            "action": "query",
            "format": "json",
            "maxlag": "5",
            "generator": "search",
            "gsrsearch": search_text(query),
            "gsrnamespace": "6",
            "gsrlimit": str(min(PAGE_SIZE, self._wanted["per_query"])),
            "prop": "imageinfo",
            "iiprop": "url|size|mime|sha1|extmetadata",
            "iiurlwidth": str(self._wanted["thumbnail_width"]),
        }
        more: dict[str, str] = {}
        found: dict[str, dict[str, Any]] = {}
        while True:
            answer = answers.get(self._wanted["api"], {**request, **more})
            for page_id, page in answer.get("query", {}).get("pages", {}).items():
                found[page_id] = {**found.get(page_id, {}), **page}
            more = {key: str(value) for key, value in answer.get("continue", {}).items()}
            if "batchcomplete" in answer or not more:
                yield read_pages(found.values())
                found = {}
            if not more:
                return


def search_text(query: Query) -> str:
    """A query in CirrusSearch's words: the name as a phrase, bitmaps only; characters that are operators there are
    left out.
    """
    words = [query["attribute"], f'"{_plain(query["name"])}"', query["disambiguation"]]
    return " ".join([*(_plain(word) if word[0] != '"' else word for word in words if word), "filetype:bitmap"])


def _plain(text: str) -> str:
    return " ".join("".join(" " if sign in '"*?~\\:|!<>' else sign for sign in text).split()).lstrip("-")


def read_pages(pages: Any) -> list[Hit]:
    """File pages of an answer as hits, in the order of the search; pages without a picture are left out."""
    ordered = sorted(pages, key=lambda page: (page.get("index", 0), page.get("pageid", 0)))
    return [hit for page in ordered if (hit := _read_page(page))]


def _read_page(page: Mapping[str, Any]) -> Hit | None:
    info = (page.get("imageinfo") or [{}])[0]
    address = info.get("thumburl") or info.get("url")
    if not address:
        return None
    said = {
        key: value.get("value") for key, value in (info.get("extmetadata") or {}).items() if isinstance(value, dict)
    }
    short, code, link = (_text(said.get(key)) for key in ("LicenseShortName", "License", "LicenseUrl"))
    title = page["title"].removeprefix("File:")
    return {
        "candidateID": candidate_id(Commons.name, title),
        "source": Commons.name,
        "sourceID": title,
        "accessURI": address,
        "originalURI": info.get("url"),
        "furtherInformationURL": info.get("descriptionurl"),
        "title": clean(_text(said.get("ObjectName")) or title),
        "altText": None,  # Commons has none: the description stands for it (design 6.7)
        "description": clean(_text(said.get("ImageDescription"))),
        "format": info.get("mime"),
        "width": info.get("width"),
        "height": info.get("height"),
        "bytes": info.get("size"),
        "license": licenses.normalize(link, short, code),
        "licenseOriginal": short or code or None,
        "licenseURL": link or None,
        "creator": clean(_text(said.get("Artist"))),
        "rightsHolder": clean(_text(said.get("Attribution"))),
        "sha1": info.get("sha1"),
        "retrieved": provenance.now(),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
