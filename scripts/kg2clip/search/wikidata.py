"""Wikidata's pictures (P18): the files that an entity itself names, looked up at Commons by their titles.

No search: one or a few pictures an entity, chosen by people. The files lie on Commons, and so the hits are Commons'
own (source, sourceID and candidateID): a file that full-text search finds too is one candidate, fetched once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from kg2clip.search.commons import PAGE_SIZE, ask, pages_of, picture_properties, read_pages
from kg2clip.search.hits import objects
from kg2clip.search.limits import check_limits
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings


class WikidataImages(Source):
    """The source `wikidata`; `wanted` is its section of the config.

    Args:
        images: file names by entityID, as in the column `images` of `tables.ENTITIES`.
    """

    name = "wikidata"

    def __init__(self, wanted: Settings, images: Mapping[str, Sequence[str] | None]) -> None:
        self._wanted = wanted
        self._titles = {entity: [file_title(name) for name in names or ()] for entity, names in images.items()}
        # Titles of many entities share a call, always in the same groups, so that kept answers serve again.
        self._groups = list(groups_of(title for titles in self._titles.values() for title in titles))
        self._group = {title: number for number, titles in enumerate(self._groups) for title in titles}
        self._pages: dict[int, dict[str, dict[str, Any]]] = {}
        self._answered: set[str] = set()

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Refuse to ask faster than Wikimedia allows."""
        check_limits(self.name, self._wanted)

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures that the query's entity names, in its order; for the entity's first query only."""
        entity = query["entityID"]
        if entity in self._answered:
            return
        self._answered.add(entity)
        found = [self._find(title, answers) for title in dict.fromkeys(self._titles.get(entity, ()))]
        if hits := [hit for page in found if page for hit in read_pages([page])]:
            yield hits

    def _find(self, title: str, answers: Answers) -> dict[str, Any] | None:
        group = self._group[title]
        if group not in self._pages:
            self._pages[group] = self._ask(self._groups[group], answers)
        return self._pages[group].get(title)

    def _ask(self, titles: Sequence[str], answers: Answers) -> dict[str, dict[str, Any]]:
        """File pages by the title that was asked for; a file that is missing is left out."""
        request = {
            "titles": "|".join(titles),
            "redirects": "1",  # files are renamed, and P18 keeps the old name for a while
            **picture_properties(self._wanted),
        }
        pages: dict[str, dict[str, Any]] = {}
        leads: dict[str, str] = {}
        for answer in ask(self._wanted["api"], request, answers):
            for said in objects([answer.get("query")]):
                for step in (*objects(said.get("normalized")), *objects(said.get("redirects"))):
                    leads[str(step.get("from"))] = str(step.get("to"))
            for page in pages_of(answer).values():
                title = str(page.get("title"))
                pages[title] = {**pages.get(title, {}), **page}
        return {title: pages[end] for title in titles if (end := _follow(title, leads)) in pages}


LONGEST = 4000  # characters of the titles of a call as they stand in its address


def groups_of(titles: Iterable[str]) -> Iterator[list[str]]:
    """Titles in order, each once, as many together as a call may name and an address may hold."""
    group: list[str] = []
    length = 0
    for title in sorted(set(titles)):
        size = len(quote(f"{title}|"))
        if group and (len(group) == PAGE_SIZE or length + size > LONGEST):
            yield group
            group, length = [], 0
        group.append(title)
        length += size
    if group:
        yield group


def file_title(name: str) -> str:
    """A file's title as MediaWiki writes it: blanks for underscores, the first letter large."""
    plain = " ".join(name.replace("_", " ").replace("|", " ").split()).removeprefix("File:").strip()
    return f"File:{plain[:1].upper()}{plain[1:]}"


def _follow(title: str, leads: Mapping[str, str]) -> str:
    for _ in range(3):  # normalised, then redirected; MediaWiki follows no chain of redirects
        title = leads.get(title, title)
    return title
