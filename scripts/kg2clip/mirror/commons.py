"""The mirror's Wikimedia Commons: the part of the MediaWiki API that full-text search over file pages uses.

Answers have the shape of the recorded ones (../shared/samples/commons): `pages` by page id, `continue` with
`gsroffset`, `batchcomplete` as an empty string, `extmetadata` with HTML.
"""

from __future__ import annotations

import hashlib
import io
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from kg2clip.mirror.plan import COMMONS_HOST, PAGES, PICTURES, UPLOAD_HOST, FilePage, from_json

MAX_LIMIT = 50


class Pages(ABC):
    """File pages behind the API, however they are kept."""

    @abstractmethod
    def search(self, text: str) -> Sequence[FilePage]:
        """Pages that a text finds, the best first."""

    @abstractmethod
    def titled(self, title: str) -> FilePage | None:
        """The page of a title."""

    @abstractmethod
    def content(self, page: FilePage) -> bytes | None:
        """A page's file; None where there is none."""

    def answer(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The answer to an API request."""
        if parameters.get("action") == "query" and "titles" in parameters:
            return {"batchcomplete": "", "query": {"pages": self._titled(parameters["titles"].split("|"))}}
        if "categorymembers" in (parameters.get("generator"), parameters.get("list")):
            return self._category(parameters)
        if parameters.get("action") != "query" or parameters.get("generator") != "search":
            return {"error": {"code": "badvalue", "info": "Unrecognized value for parameter."}}
        if not parameters.get("gsrsearch", "").strip():
            return {"error": {"code": "missingparam", "info": 'The "gsrsearch" parameter must be set.'}}
        limit = max(1, min(MAX_LIMIT, int(parameters.get("gsrlimit", "10"))))
        offset = int(parameters.get("gsroffset", "0"))
        found = self.search(parameters["gsrsearch"])
        answer: dict[str, Any] = {"batchcomplete": ""}
        if len(found) > offset + limit:
            answer["continue"] = {"gsroffset": offset + limit, "continue": "gsroffset||"}
        if shown := found[offset : offset + limit]:
            pages = {str(page.page_id): self._page(page, offset + place) for place, page in enumerate(shown, 1)}
            answer["query"] = {"pages": pages}
        return answer

    def _category(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The files of a category; none has categories below it."""
        if parameters.get("list") == "categorymembers":
            return {"batchcomplete": "", "query": {"categorymembers": []}}
        wanted = parameters.get("gcmtitle", "").removeprefix("Category:")
        limit, offset = int(parameters.get("gcmlimit", "10")), int(parameters.get("gcmcontinue", "0"))
        found = [page for page in self.search(f'"{wanted}"') if wanted in page.categories.split("|")]
        answer: dict[str, Any] = {"batchcomplete": ""}
        if len(found) > offset + limit:
            answer["continue"] = {"gcmcontinue": str(offset + limit), "continue": "gcmcontinue||"}
        if shown := found[offset : offset + limit]:
            answer["query"] = {"pages": {str(page.page_id): self._page(page, 0) for page in shown}}
        return answer

    def _titled(self, titles: Sequence[str]) -> dict[str, Any]:
        """File pages by their titles; those that do not exist stand under negative ids."""
        answer: dict[str, Any] = {}
        for number, title in enumerate(titles, 1):
            page = self.titled(title.removeprefix("File:"))
            if page is None:
                answer[str(-number)] = {"ns": 6, "title": title, "missing": ""}
                continue
            answer[str(page.page_id)] = {key: value for key, value in self._page(page, 0).items() if key != "index"}
        return answer

    def _page(self, page: FilePage, index: int) -> dict[str, Any]:
        width, height, size = 480, 360, 51234
        if content := self.content(page):
            size = len(content)
            with Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
        url = page.url
        return {
            "pageid": page.page_id,
            "ns": 6,
            "title": f"File:{page.title}",
            "index": index,
            "imagerepository": "local",
            "imageinfo": [
                {
                    "size": size,
                    "width": width,
                    "height": height,
                    "thumburl": url,  # as Commons does where the original is no wider than asked
                    "thumbwidth": width,
                    "thumbheight": height,
                    "url": url,
                    "descriptionurl": wiki_page(page),
                    "descriptionshorturl": f"http://{COMMONS_HOST}/w/index.php?curid={page.page_id}",
                    "sha1": hashlib.sha1(content or page.title.encode(), usedforsecurity=False).hexdigest(),
                    "mime": "image/jpeg",
                    "extmetadata": _metadata(page),
                }
            ],
        }


class FilePages(Pages):
    """File pages and a word index over title, description and categories, all words of a query being needed."""

    def __init__(self, pages: Sequence[FilePage], pictures: Path) -> None:
        self._pages = {page.page_id: page for page in pages}
        self._by_title = {page.title: page for page in pages}
        self._pictures = pictures
        self._words: dict[str, set[int]] = defaultdict(set)
        self._texts: dict[int, str] = {}
        for page in pages:
            words = _words(f"{page.title} {page.description} {page.categories}")
            self._texts[page.page_id] = f" {' '.join(words)} "
            for word in words:
                self._words[word].add(page.page_id)

    def search(self, text: str) -> list[FilePage]:
        """Pages that hold every word and every quoted phrase, and no word behind a minus; operators such as `filetype:`
        are not words.
        """
        excluded = _words(" ".join(re.findall(r'(?<!\S)-("[^"]*"|\S+)', text)))
        text = re.sub(r'(?<!\S)-("[^"]*"|\S+)', " ", text)
        phrases = [_words(phrase) for phrase in re.findall(r'"([^"]*)"', text)]
        plain = _words(" ".join(word for word in text.split() if ":" not in word))
        if not plain:
            return []
        found = set.intersection(*(self._words.get(word, set()) for word in plain))
        found = found.difference(*(self._words.get(word, set()) for word in excluded))
        found = {page for page in found if all(f" {' '.join(phrase)} " in self._texts[page] for phrase in phrases)}
        # The order looks arbitrary, as a relevance order does, and is the same in every run.
        return [
            self._pages[page] for page in sorted(found, key=lambda page: hashlib.sha256(f"{page}".encode()).digest())
        ]

    def titled(self, title: str) -> FilePage | None:
        """The page of a title."""
        return self._by_title.get(title)

    def content(self, page: FilePage) -> bytes | None:
        """A page's file; None where there is none."""
        path = self._pictures / page.path.lstrip("/")
        return path.read_bytes() if path.exists() else None


class CommonsSite:
    """The API of Commons, and the host of its files."""

    hosts: tuple[str, ...] = (COMMONS_HOST, UPLOAD_HOST)

    def __init__(self, folder: Path) -> None:
        self._pictures = (folder / PICTURES).resolve()
        lines = (folder / PAGES).read_text(encoding="utf-8").splitlines()
        self._pages = FilePages([from_json(line) for line in lines], self._pictures)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An API answer, or a file."""
        if request.host.split(":")[0] == COMMONS_HOST and request.path == "/w/api.php":
            return web.json_response(self._pages.answer(request.query))
        target = (self._pictures / request.path.lstrip("/")).resolve()
        if target.is_relative_to(self._pictures) and target.is_file():
            return web.Response(body=target.read_bytes(), content_type="image/jpeg")
        return web.Response(status=404, text="<html><body>File not found</body></html>", content_type="text/html")


def wiki_page(page: FilePage) -> str:
    """The address of the page that tells of a file."""
    return f"http://{COMMONS_HOST}/wiki/File:{page.title.replace(' ', '_')}"


def _metadata(page: FilePage) -> dict[str, Any]:
    code, short, link = page.license
    said = {
        "ObjectName": (page.title.removesuffix(".jpg"), "mediawiki-metadata"),
        "Categories": (page.categories, "commons-categories"),
        "ImageDescription": (page.description, "commons-desc-page"),
        "Artist": (page.artist, "commons-desc-page"),
        "Credit": ('<span class="int-own-work" lang="en">Own work</span>', "commons-desc-page"),
        "LicenseShortName": (short, "commons-desc-page"),
        "UsageTerms": (short, "commons-desc-page"),
        "License": (code, "commons-templates"),
        "Copyrighted": ("False" if code == "pd" else "True", "commons-desc-page"),
        "AttributionRequired": ("true" if code.startswith("cc-by") else "false", "commons-desc-page"),
        **({"LicenseUrl": (link, "commons-desc-page")} if link else {}),
    }
    metadata: dict[str, Any] = {name: {"value": value, "source": source} for name, (value, source) in said.items()}
    metadata["CommonsMetadataExtension"] = {"value": 1.2, "source": "extension", "hidden": ""}
    return metadata


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", re.sub(r"<[^>]*>", " ", text).casefold())
