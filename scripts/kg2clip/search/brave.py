"""Brave's image search: a paid source that needs a key (environment variable BRAVE_API_KEY).

Documented, not recorded (../shared/samples/README.md). Terms: whether answers may be stored and used for training
depends on the plan: read the contract. One call a query: there is no second page. No licence is known of any picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from kg2clip import web
from kg2clip.errors import UserError
from kg2clip.search.hits import hit, objects, whole, words
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings

KEY = "BRAVE_API_KEY"
COUNT = 100  # results asked for; the API gives 200 at most
MAX_CHARACTERS, MAX_WORDS = 400, 50  # of a query


class BraveImages(Source):
    """The source `brave`; `wanted` is its section of the config."""

    name = "brave"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The hits of a query, in one list.

        Raises:
            UserError: there is no key, or the address would show it to others.
        """
        request = {
            "q": search_text(query["text"], query.get("orTerms") or (), query.get("excludedWords") or ()),
            "count": str(min(COUNT, self._wanted["per_query"])),
            "spellcheck": "false",  # it is on by default, and would mend Latin names
            "safesearch": "strict",
        }
        answer = answers.get(self._wanted["api"], request, {"X-Subscription-Token": _key(self._wanted["api"])})
        yield read_results(answer)


def _key(url: str) -> str:
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise UserError(
            f"the source brave needs a key: set the environment variable {KEY}, or take it out of the config"
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in web.resolve_map():
        raise UserError(f"{url} is no https address: your key is not sent there")
    return key


def search_text(text: str, other_names: Sequence[str] = (), excluded: Sequence[str] = ()) -> str:
    """A query within the API's limits: any of the names, then as many excluded words as fit.

    Source of the operators: https://api-dashboard.search.brave.com/documentation/resources/search-operators
    """
    words = text.split()[:MAX_WORDS]
    while len(words) > 1 and len(" ".join(words)) > MAX_CHARACTERS:
        words.pop()
    asked = " ".join(words)[:MAX_CHARACTERS]
    unquoted = (name.replace('"', " ") for name in other_names)
    for more in (*(f'OR "{name}"' for name in unquoted), *(f"-{word}" for word in excluded)):
        if len(f"{asked} {more}") <= MAX_CHARACTERS and len(f"{asked} {more}".split()) <= MAX_WORDS:
            asked = f"{asked} {more}"
    return asked


def read_results(answer: Mapping[str, Any]) -> list[Hit]:
    """The results of an answer, in its order; those without a picture's address are left out."""
    return [found for result in objects(answer.get("results")) if (found := _read(result))]


def _read(result: Mapping[str, Any]) -> Hit | None:
    picture: Mapping[str, Any] = next(iter(objects([result.get("properties")])), {})
    address = words(picture.get("url"))
    if not address:
        return None
    return hit(
        BraveImages.name,
        address,
        address,
        page=words(result.get("url")),
        title=words(result.get("title")),
        originalURI=address,
        width=whole(picture.get("width")),
        height=whole(picture.get("height")),
    )
