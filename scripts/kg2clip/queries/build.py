"""The queries of an entity: its names, attributes before a name, and attributes of its natural type ("red bumblebees").

Everything is made entity by entity, so that memory does not grow with the export. A query's content alone decides its
queryID, and whether it belongs to a subset: the queries of 1/4 are among those of 1/2.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np

from kg2clip.identifiers import stable_hash
from kg2clip.queries.homonyms import Namesakes, bare, fold
from kg2clip.settings import Settings
from kg2clip.texts import IDENTIFIER

Entity = Mapping[str, Any]
Query = dict[str, Any]
Array = np.ndarray[Any, Any]

LONGEST = 250  # characters of a name, as in Wikidata; no source takes many more
NAME_KINDS = {
    "scientific": ("scientific",),
    "vernacular": ("label", "vernacular", "alias"),
    "synonym": ("synonym",),
}
# What of a row of tables.ENTITIES is read.
COLUMNS = (
    "entityID", "taxonID", "scientificName", "vernacularName", "names", "taxonRank", "kingdom", "naturalType",
    "naturalTypeID", "attributes",
)  # fmt: skip


class Builder:
    """Makes queries as the config's section `queries` says.

    Args:
        wanted: that section.
        seed: chooses the subset where only a fraction is wanted.
        namesakes: who else bears a name.
    """

    def __init__(self, wanted: Settings, seed: int, namesakes: Namesakes) -> None:
        self._wanted = wanted
        self._seed = seed
        self._namesakes = namesakes
        self._excluded = {fold(word): word for word in wanted["excluded_words"]}
        self._types: Counter[tuple[str, str, str, str]] = Counter()  # attribute, category, typeID, type

    def of_entity(self, entity: Entity) -> list[Query]:
        """The queries of an entity, as rows of `tables.QUERIES`, the most wanted first, each text once."""
        if self._wanted["living_only"] and not is_living(entity):
            return []
        self._count_type(entity)
        distinct: dict[str, Query] = {}
        for query in self._of_entity(entity):
            distinct.setdefault(query["text"].casefold(), query)
        return list(islice(filter(self._is_chosen, distinct.values()), self._wanted["per_entity"] or None))

    def of_types(self) -> Iterator[Query]:
        """The queries of kind attribute, for the natural types of all entities seen, the commonest first.

        Their entityID is that of the type: what they find shows a bumblebee, and nobody knows of which species.
        """
        if "attribute" not in self._wanted["kinds"]:
            return
        common = sorted(self._types.items(), key=lambda item: (-item[1], item[0]))
        taken: Counter[str] = Counter()
        for (value, category, type_id, name), _ in common:
            if taken[type_id] >= self._wanted["attributes_per_type"]:
                continue
            query = self._query(type_id, "attribute", name, "type", {"value": value, "category": category})
            if self._is_chosen(query):
                taken[type_id] += 1
                yield query

    def _of_entity(self, entity: Entity) -> Iterator[Query]:
        names = list(spoken_names(entity, self._wanted["names"]))
        others = [name for name, _ in names]
        if "noun" in self._wanted["kinds"]:
            for name, kind in names:
                word = self._word(entity, name)
                yield self._query(entity["entityID"], "noun", name, kind, None, word, others)
        if "attribute-noun" in self._wanted["kinds"] and names:
            name, kind = preferred_name(entity, names)
            word = self._word(entity, name)
            for attribute in islice(_in_turn(spoken_attributes(entity)), self._wanted["attributes_per_entity"]):
                yield self._query(entity["entityID"], "attribute-noun", name, kind, attribute, word, others)

    def _word(self, entity: Entity, name: str) -> str | None:
        return self._namesakes.word(entity, name) if self._wanted["disambiguate"] else None

    def _query(
        self,
        entity_id: str,
        kind: str,
        name: str,
        name_kind: str,
        attribute: Mapping[str, str] | None,
        word: str | None = None,
        names: Iterable[str] = (),
    ) -> Query:
        text = " ".join(part for part in (attribute and attribute["value"], name, word) if part)
        said = set(fold(text).split())
        excluded = [excluded for folded, excluded in self._excluded.items() if folded not in said]
        others = [other for other in names if fold(other) not in fold(text)] if self._wanted["or_terms"] else []
        return {
            "queryID": stable_hash(entity_id, kind, text, excluded, others),
            "entityID": entity_id,
            "kind": kind,
            "text": text,
            "name": name,
            "nameKind": name_kind,
            "attribute": attribute and attribute["value"],
            "category": attribute and attribute["category"],
            "disambiguation": word,
            "excludedWords": excluded,
            "orTerms": others,
        }

    def _is_chosen(self, query: Query) -> bool:
        share: float = self._wanted["fraction"]
        return share == 1 or draw(self._seed, query["queryID"]) < share

    def _count_type(self, entity: Entity) -> None:
        if "attribute" in self._wanted["kinds"] and entity["naturalType"] and entity["naturalTypeID"]:
            for attribute in spoken_attributes(entity):
                value = fold(attribute["value"])
                self._types[value, attribute["category"], entity["naturalTypeID"], entity["naturalType"]] += 1


def draw(seed: int, query_id: str) -> float:
    """A number from 0 to 1 that belongs to a query, the same in every run with this seed."""
    return int(stable_hash("draw", seed, query_id, length=13), 16) / 16**13


def within_budget(
    places: np.ndarray[Any, np.dtype[np.int32]], total: int, seed: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which queries a run may keep: the first of every entity before the second of any; the last round by lot.

    Args:
        places: int32, one a query: its place among those of its entity, from 0.
        total: queries that the run may have.

    Returns:
        One truth value a query.
    """
    lots = np.random.default_rng(seed).permutation(len(places))
    kept = np.zeros(len(places), dtype=np.bool_)
    kept[np.lexsort((lots, places))[:total]] = True
    return kept


def is_living(entity: Entity) -> bool:
    """Whether an entity is a taxon or stands in one, and no thing of the world."""
    return any(entity[key] for key in ("taxonID", "taxonRank", "kingdom"))


def spoken_names(entity: Entity, wanted: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The names of the wanted kinds, with their kinds; scientific names without authorship."""
    for kind in wanted:
        for name in entity["names"] or []:
            if name["kind"] in NAME_KINDS[kind] and (text := _said(name["text"])):
                yield (text if kind == "vernacular" else bare(text)), kind


def spoken_attributes(entity: Entity) -> Iterator[Mapping[str, str]]:
    """The attributes that have a value."""
    for attribute in entity["attributes"] or []:
        if value := _said(attribute["value"]):
            yield {**attribute, "value": value}


def _said(text: str | None) -> str:
    """A text on one line, composed; empty where it is an identifier, or longer than any name."""
    line = unicodedata.normalize("NFC", " ".join((text or "").split()))
    return "" if IDENTIFIER.match(line) or len(line) > LONGEST else line


def preferred_name(entity: Entity, names: list[tuple[str, str]]) -> tuple[str, str]:
    """The common name that people use, if common names are wanted, else the first."""
    preferred = (entity["vernacularName"], "vernacular")
    return preferred if preferred in names else names[0]


def _in_turn(attributes: Iterable[Mapping[str, str]]) -> Iterator[Mapping[str, str]]:
    """Attributes of all categories in turn, so that a small budget shows more than colours."""
    by_category: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for attribute in attributes:
        by_category[attribute["category"]].append(attribute)
    return filter(None, chain.from_iterable(zip_longest(*by_category.values())))
