"""The texts of a picture as a distribution: training draws from it by weight, and the weights sum to 1 (design 6.7).

One share goes to the texts that came with the picture, the rest to texts from the graph by the weights of their kinds.
A kind without a text leaves its weight to the others in proportion; equal texts become one, their weights added.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kg2clip.dataset.wording import worded
from kg2clip.errors import UserError
from kg2clip.languages import Names, guess_language
from kg2clip.settings import Settings
from kg2clip.tables import NAMES, WEB
from kg2clip.texts import clean, useless

Row = dict[str, Any]

# A field is used where the ones before it gave nothing.
WEB_FIELDS = ("altText", "caption", "description", "title", "tags")
TAXONOMIC_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
COMMON = " with common name "  # between the two names, as BioCLIP writes them
_HOLDS_IDENTIFIER = re.compile(r"\bQ\d+\b", re.IGNORECASE)  # a missing label shows as its number; no caption holds one
_HOLDS_ITEM = re.compile(r"\bQ\d{4,}\b")  # in texts of the web, where Q3 and Q10 are something else


class Text(NamedTuple):
    """A text before it is weighed."""

    text: str
    kind: str
    origin: str
    language: str | None = None


@dataclass(frozen=True)
class Described:
    """What the graph says of an entity, for its pictures' texts.

    Attributes:
        texts: all of them, each once in its kind.
        names: for telling a text's language: they belong to none.
    """

    texts: tuple[Text, ...]
    names: Names

    @classmethod
    def of(cls, entity: Mapping[str, Any]) -> Described:
        """What a row of tables.ENTITIES says."""
        return cls(tuple(entity_texts(entity)), Names(_all_names(entity)))


@dataclass
class Mixer:
    """Weighs the texts of pictures by the config.

    Attributes:
        share: probability of a text that came with the picture.
        weights: of the kinds of graph texts.
        site_texts: cleaned texts that stand for many pictures of many entities and are not used.
        languages: of the texts of the web that are used; empty for all. Where it can't be told a text is used.
        dropped: how many texts of the web were not used, by reason.
    """

    share: float
    weights: Mapping[str, float]
    site_texts: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    dropped: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, settings: Settings, site_texts: frozenset[str] = frozenset()) -> Mixer:
        """The mixer that a config states."""
        dataset = settings["dataset"]
        return cls(dataset["alt_text_share"], dataset["text_weights"], site_texts, frozenset(dataset["text_languages"]))

    def graph(self, entities: Iterable[Described], queries: Iterable[Mapping[str, Any]]) -> list[Row]:
        """The texts of entities and queries as `mix` gives those of a picture that has none of its own.

        None where no kind has a weight.
        """
        texts: dict[str, list[Text]] = {}
        for text in (*query_texts(queries), *(text for entity in entities for text in entity.texts)):
            for kind in (text.kind, "name") if text.kind in NAMES else (text.kind,):
                if self.weights.get(kind, 0) > 0:
                    texts.setdefault(kind, []).append(text)
        return _merge(
            {**text._asdict(), "weight": self.weights[kind] / len(same)}
            for kind, same in texts.items()
            for text in same
        )

    def mix(self, copies: Sequence[Mapping[str, Any]], names: Sequence[Names], graph: list[Row]) -> list[Row]:
        """The texts of a picture, the heaviest first.

        Args:
            copies: candidates that show this picture.
            names: of the entities that it was found for, for telling the languages of its texts.
            graph: the texts of these entities and of the queries that found it.

        Returns:
            Rows of tables.TEXT whose weights sum to 1.

        Raises:
            UserError: no text is left.
        """
        web = self._web_texts(copies, names) if self.share > 0 else []
        share = self.share if graph else 1.0
        if not web and not graph:
            raise UserError(
                f"the picture {copies[0]['candidateID']} has no text: give a kind of text that exists a weight above 0"
                " in dataset.text_weights, or raise dataset.alt_text_share"
            )
        if not web:
            return graph
        own = ({**text._asdict(), "weight": share / len(web)} for text in web)
        return _merge([*own, *({**row, "weight": (1 - share) * row["weight"]} for row in graph)])

    def _web_texts(self, copies: Sequence[Mapping[str, Any]], names: Sequence[Names]) -> list[Text]:
        for field_name in WEB_FIELDS:
            usable = []
            for copy in copies:
                if not (said := _said(copy, field_name)):
                    continue
                text = clean(said) or ""
                language = guess_language(text, *names)
                if reason := self._refusal(text, language):
                    self.dropped[reason] += 1
                else:
                    usable.append(Text(text, WEB, field_name, language))
            if usable:
                return usable
        return []

    def _refusal(self, text: str, language: str | None) -> str | None:
        if reason := useless(text):
            return reason
        if _HOLDS_ITEM.search(text):
            return "identifier"
        if text in self.site_texts:
            return "repeated"
        return "language" if self.languages and language and language not in self.languages else None


def _said(copy: Mapping[str, Any], field_name: str) -> str | None:
    said = copy.get(field_name)
    if field_name == "tags":
        return ", ".join(tag for tag in _list(said) if tag and not useless(tag)) or None
    return str(said) if said else None


def _all_names(entity: Mapping[str, Any]) -> list[str]:
    named = [entity["scientificName"], entity["vernacularName"], *(name["text"] for name in _list(entity["names"]))]
    return [name for name in named if name]


def _merge(rows: Iterable[Row]) -> list[Row]:
    """Equal texts become one, their weights added; the heaviest of them says the kind. Weights then sum to 1."""
    merged: dict[str, Row] = {}
    sums: dict[str, float] = {}
    for row in rows:
        text, weight = row["text"], row["weight"]
        if weight > 0:
            if text not in merged or weight > merged[text]["weight"]:
                merged[text] = row
            sums[text] = sums.get(text, 0.0) + weight
    total = math.fsum(sums.values())
    for text, row in merged.items():
        row["weight"] = sums[text] / total
    return sorted(merged.values(), key=lambda row: (-round(row["weight"], 12), row["text"]))


def query_texts(queries: Iterable[Mapping[str, Any]]) -> Iterator[Text]:
    """The texts of queries; an attribute stands where a sentence has it, not where a search has it."""
    for query in queries:
        text = _plain(query["text"])
        if value := _plain(query["attribute"]):
            name = " ".join(filter(None, (_plain(query["name"]), _plain(query["disambiguation"]))))
            text = worded(query["category"], value, name)
        yield from _usable(Text(text, "query", "query"))


def entity_texts(entity: Mapping[str, Any]) -> Iterator[Text]:
    """All texts that the graph has for an entity, each once in its kind."""
    seen = set()
    for text in _entity_texts(entity):
        for usable in _usable(text):
            if (usable.kind, usable.text) not in seen:
                seen.add((usable.kind, usable.text))
                yield usable


def _entity_texts(entity: Mapping[str, Any]) -> Iterator[Text]:
    scientific, vernacular = _plain(entity["scientificName"]), _plain(entity["vernacularName"])
    yield Text(scientific, "scientific", "graph", "la")
    for name in _names(entity, ("vernacular", "label"), scientific):
        yield Text(name["text"], "vernacular", "graph", name["language"])
    yield Text(vernacular, "vernacular", "graph")
    for name in _names(entity, ("synonym", "alias"), scientific):
        yield Text(name["text"], "synonym", "graph", name["language"])
    if scientific and vernacular and scientific != vernacular:
        yield Text(f"{scientific}{COMMON}{vernacular}", "scientific-vernacular", "graph")
    if lineage := taxonomic(entity):
        yield Text(lineage, "taxonomic", "graph", "la")
        if vernacular and scientific != vernacular:
            yield Text(f"{lineage}{COMMON}{vernacular}", "taxonomic-vernacular", "graph")
    yield Text(_plain(entity["naturalType"]), "type", "graph")
    yield Text(clean(entity["description"]) or "", "description", "graph")
    if named := vernacular or scientific:
        for attribute in _list(entity["attributes"]):
            if value := _plain(attribute["value"]):
                text = worded(attribute["category"], value, named)
                yield Text(text, "attribute", attribute["source"] or "graph")


def taxonomic(entity: Mapping[str, Any]) -> str:
    """The ranks from kingdom to species in one line, as BioCLIP writes them; ranks that are missing are left out.

    A rank that the name itself begins with is not repeated: `... Corvidae Pica hudsonia`. Empty without any ancestor.
    """
    name = _plain(entity["scientificName"])
    by_rank: dict[str, str] = {}
    for ancestor in _list(entity["ancestors"]):  # nearest first; with several parents the nearest speaks
        by_rank.setdefault(ancestor["taxonRank"], _plain(ancestor["scientificName"]))
    above = [by_rank[rank] for rank in TAXONOMIC_RANKS if by_rank.get(rank)]
    above = [ancestor for ancestor in above if not f"{name} ".startswith(f"{ancestor} ")]
    return " ".join([*above, name]) if above and name else ""


def _names(entity: Mapping[str, Any], kinds: tuple[str, ...], scientific: str) -> Iterator[dict[str, Any]]:
    for name in _list(entity["names"]):
        text = _plain(name["text"])
        if name["kind"] in kinds and text.casefold() != scientific.casefold():
            yield {"text": text, "language": name["language"]}


def _usable(text: Text) -> Iterator[Text]:
    if text.text and not _HOLDS_IDENTIFIER.search(text.text):
        yield text


def _plain(text: Any) -> str:
    return unicodedata.normalize("NFC", " ".join(str(text).split())) if text else ""


def _list(value: Any) -> Sequence[Any]:
    return value if value is not None else ()
