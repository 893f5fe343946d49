"""The mirror's Brave image search: the web's view of the mirror's Commons pages.

No real answer was at hand: fields are those of the documentation (../shared/samples/README.md). `spellcheck` is on by
default and spoils Latin names, as the documentation warns; a wrong or missing key is refused, and said back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from PIL import Image

from kg2clip.files import sha256_file
from kg2clip.identifiers import bucket
from kg2clip.mirror.commons import FilePages
from kg2clip.mirror.faults import Visits
from kg2clip.mirror.plan import COMMONS_HOST, PAGES, PICTURES, FilePage, from_json

API_HOST = "api.search.brave.mirror.test"
JOURNAL = "brave.jsonl"  # requests seen, for the faults that pass
KEY = "mirror-key"  # the key that is valid here
MAX_COUNT, DEFAULT_COUNT = 200, 50
MAX_CHARACTERS, MAX_WORDS = 400, 50
THROTTLED = 4  # of a hundred URLs: the first attempt gets 429
UNTITLED, UNMEASURED, WITHOUT_ADDRESS = 3, 10, 2  # of a hundred results


class BraveSite:
    """The API; the pictures lie at the hosts of Commons' files."""

    hosts: tuple[str, ...] = (API_HOST,)

    def __init__(self, folder: Path) -> None:
        self._pictures = (folder / PICTURES).resolve()
        lines = (folder / PAGES).read_text(encoding="utf-8").splitlines()
        self._pages = FilePages([from_json(line) for line in lines], self._pictures)
        self._salt = sha256_file(folder / PAGES)  # another seed, other faults
        self._visits = Visits(folder / JOURNAL)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An API answer."""
        host = request.host.split(":")[0]
        attempt = self._visits.begin(host, request)
        self._visits.end(host, request)
        if request.path != "/res/v1/images/search":
            return _error(404, "NOT_FOUND", "Not found")
        key = request.headers.get("X-Subscription-Token", "")
        if key != KEY:
            return _error(422, "SUBSCRIPTION_TOKEN_INVALID", f"The provided subscription token {key!r} is invalid.")
        if attempt == 1 and self._draw(request.raw_path) < THROTTLED:
            return _error(429, "RATE_LIMITED", "Request rate limit exceeded for plan")
        return self._search(request.query)

    def _draw(self, what: str) -> int:
        return bucket(f"{self._salt} {what}", 100)

    def _search(self, parameters: Mapping[str, str]) -> web.Response:
        text, count = parameters.get("q", ""), parameters.get("count", str(DEFAULT_COUNT))
        known = set(parameters) <= {"q", "count", "spellcheck", "safesearch", "country", "search_lang"}
        within = 0 < len(text) <= MAX_CHARACTERS and len(text.split()) <= MAX_WORDS
        measured = count.isdecimal() and 1 <= int(count) <= MAX_COUNT
        strict = parameters.get("safesearch", "strict") in ("off", "strict")
        if not (known and within and measured and strict):
            return _error(422, "VALIDATION", "Unable to validate request parameter(s)")
        checked = parameters.get("spellcheck", "true").lower() not in ("false", "0")
        altered = mend(text) if checked else text
        found = self._pages.search(altered)[: int(count)]
        query = {"original": text, **({"altered": altered} if altered != text else {}), "spellcheck_off": not checked}
        results = [self._result(page, place) for place, page in enumerate(found)]
        extra = {"might_be_offensive": False}
        return web.json_response({"type": "images", "query": query, "results": results, "extra": extra})

    def _result(self, page: FilePage, place: int) -> dict[str, Any]:
        properties: dict[str, Any] = {"url": page.url, "placeholder": f"http://{API_HOST}/placeholder/{page.page_id}"}
        path = self._pictures / page.path.lstrip("/")
        if path.exists() and self._draw(f"measured/{page.title}") >= UNMEASURED:
            with Image.open(path) as picture:
                properties |= {"width": picture.width, "height": picture.height}
        if self._draw(f"address/{page.title}") < WITHOUT_ADDRESS:
            del properties["url"]
        titled = self._draw(f"titled/{page.title}") >= UNTITLED
        return {
            "type": "image_result",
            **({"title": page.description or page.title} if titled else {}),
            "url": f"http://{COMMONS_HOST}/wiki/File:{quote(page.title.replace(' ', '_'))}",
            "source": COMMONS_HOST,
            "page_fetched": "2025-09-04T12:11:34Z",
            "thumbnail": {"src": f"http://{API_HOST}/thumbnail/{page.page_id}", "width": 200, "height": 150},
            "properties": properties,
            "meta_url": {"scheme": "http", "netloc": COMMONS_HOST, "hostname": COMMONS_HOST, "path": "› wiki"},
            "confidence": "high" if place < 5 else "medium" if place < 40 else "low",
        }


def mend(text: str) -> str:
    """What a spell checker for English makes of a query: the last letter of Latin-looking words goes."""
    return " ".join(
        word[:-1] if word.lower().endswith(("us", "is", "um", "ae", "a")) else word for word in text.split()
    )


def _error(status: int, code: str, detail: str) -> web.Response:
    error = {"id": "00000000-0000-4000-8000-000000000000", "status": status, "code": code, "detail": detail}
    return web.json_response({"type": "ErrorResponse", "error": error, "time": 1756987894}, status=status)
