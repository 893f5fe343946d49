"""Queries of an entity. A name that several entities share gets a word that tells them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kg2clip.identifiers import stable_hash
from kg2clip.settings import Settings

Entity = Mapping[str, Any]

NAME_KINDS = {
    "scientific": ("scientific",),
    "vernacular": ("label", "vernacular", "alias"),
    "synonym": ("synonym",),
}


def build_queries(entities: Sequence[Entity], wanted: Settings) -> list[dict[str, Any]]:
    """All queries, as rows of `tables.QUERIES`, each text of an entity once.

    Args:
        entities: rows of `tables.ENTITIES`.
        wanted: the config's section `queries`.
    """
    shared = find_shared_names(entities)
    rows = [row for entity in entities for row in _of_entity(entity, shared, wanted)]
    return sorted(rows, key=lambda row: (row["entityID"], row["queryID"]))


def find_shared_names(entities: Sequence[Entity]) -> dict[str, list[Entity]]:
    """Names, case-folded, that several entities bear: with the entities."""
    bearers: dict[str, dict[str, Entity]] = defaultdict(dict)
    for entity in entities:
        for name in entity["names"]:
            bearers[name["text"].casefold()][entity["entityID"]] = entity
    return {name: list(found.values()) for name, found in bearers.items() if len(found) > 1}


def disambiguation(entity: Entity, others: Sequence[Entity]) -> str | None:
    """The nearest ancestor's common name that no namesake shares ("accentors"), else its scientific name; None if
    all is shared.
    """
    foreign = {ancestor["entityID"] for other in others if other is not entity for ancestor in other["ancestors"]}
    own = [ancestor for ancestor in entity["ancestors"] if ancestor["entityID"] not in foreign]
    words = [ancestor["vernacularName"] for ancestor in own] + [ancestor["scientificName"] for ancestor in own]
    return next((word for word in words if word), None)


def _of_entity(entity: Entity, shared: Mapping[str, list[Entity]], wanted: Settings) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    names = list(_names(entity, wanted["names"]))
    candidates = []
    if "noun" in wanted["kinds"]:
        candidates += [("noun", name, kind, None) for name, kind in names]
    if "attribute-noun" in wanted["kinds"] and names:
        attributes = entity["attributes"][: wanted["attributes_per_entity"]]
        name, kind = _spoken_name(entity, names)
        candidates += [("attribute-noun", name, kind, attribute) for attribute in attributes]
    for query_kind, name, name_kind, attribute in candidates:
        word = disambiguation(entity, shared[name.casefold()]) if name.casefold() in shared else None
        text = " ".join(part for part in (attribute and attribute["value"], name, word) if part)
        if text.casefold() in seen:
            continue
        seen.add(text.casefold())
        yield {
            "queryID": stable_hash(entity["entityID"], query_kind, text),
            "entityID": entity["entityID"],
            "kind": query_kind,
            "text": text,
            "name": name,
            "nameKind": name_kind,
            "attribute": attribute and attribute["value"],
            "category": attribute and attribute["category"],
            "disambiguation": word,
        }


def _names(entity: Entity, wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    for kind in wanted:
        for name in entity["names"]:
            if name["kind"] in NAME_KINDS[kind]:
                yield name["text"], kind


def _spoken_name(entity: Entity, names: Sequence[tuple[str, str]]) -> tuple[str, str]:
    preferred = (entity["vernacularName"], "vernacular")
    return preferred if preferred in names else names[0]
