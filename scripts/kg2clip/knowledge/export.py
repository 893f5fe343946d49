"""From roots to entities: which nodes, with which names, ancestors, identifiers, natural type and attributes.

The graph is read in three strokes: the members (members.py), all that stands above them (lineage.py, nodes.py), and
then page by page what is to be said of each member, so that memory holds the inner nodes of the tree only.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg2clip.errors import UserError
from kg2clip.knowledge.attributes import PROPERTIES, Attribute, collect, read_file
from kg2clip.knowledge.lineage import Parents, below, levels, read_parents, walk, warn_of_cycles
from kg2clip.knowledge.members import Member, select_members
from kg2clip.knowledge.natural_type import natural_type
from kg2clip.knowledge.nodes import Node, plain_text, read_nodes
from kg2clip.knowledge.roots import find_classes, find_roots
from kg2clip.knowledge.sparql import Endpoint, ahead, any_of, literal, steady_pages
from kg2clip.knowledge.taxonomy import Taxonomy
from kg2clip.knowledge.vocabulary import INVISIBLE, curie
from kg2clip.knowledge.wordnet_merge import match, merged, own_entities
from kg2clip.progress import Progress
from kg2clip.settings import Settings
from kg2clip.wordnet import read_wordnet

log = logging.getLogger(__name__)

Entity = dict[str, Any]  # a row of tables.ENTITIES

AT_A_TIME = 1000  # members read and written together at most


def export_entities(
    endpoint: Endpoint, wanted: Settings, taxonomy: Taxonomy | None = None
) -> tuple[Iterator[Entity], Counter[str]]:
    """All entities of the config's section `knowledge`, as rows of `tables.ENTITIES` in the order of entityID.

    The rows are read as they are taken. The counts say how many nodes were found and left out, and why; they add up.

    Raises:
        UserError: a root is unknown or ambiguous, or nothing passes the filters.
    """
    roots = find_roots(endpoint, wanted["roots"], taxonomy)
    classes = find_classes(endpoint, wanted["classes"])
    excluded = find_classes(endpoint, wanted["exclude"], "exclude")
    from_file = read_file(Path(wanted["attributes"]["file"])) if wanted["attributes"]["file"] else {}
    members, counts = select_members(endpoint, roots, classes, wanted)
    parents = read_parents(endpoint, members, wanted["page_size"])
    warn_of_cycles(parents)
    above = read_nodes(endpoint, {node for those in parents.values() for node in those}, wanted)
    if wanted["visible_only"]:
        unseen = {node for node, said in above.items() if said.scientific_name in INVISIBLE}
        _leave_out(members, counts, "too small to see", below(unseen, parents).__contains__)
    barred = _barred(parents, classes, excluded)
    _leave_out(members, counts, "below an excluded class", lambda item: members[item].kind == "thing" and barred(item))
    if not members:
        raise UserError(
            f"knowledge: nothing below {', '.join([*wanted['roots'], *wanted['classes']])} passes the filters: "
            f"{', '.join(f'{count} {reason}' for reason, count in counts.items())}. "
            "Widen knowledge.ranks, or set require_image: false or a lower min_sitelinks"
        )
    counts["exported"] = len(members)

    # What stands above the wanted classes ("object", "entity") says nothing of a thing.
    tops = set(classes)
    telling = tops | below(tops, parents)

    def read_rows() -> Iterator[Entity]:
        return _rows(endpoint, members, parents, above, telling, from_file, wanted)

    if not wanted["wordnet"]:
        return read_rows(), counts
    wordnet = read_wordnet(Path(wanted["wordnet"]))
    matched = match(wordnet, read_rows())  # the graph's answers are kept: reading twice asks once
    named = [name["text"] for node in read_nodes(endpoint, roots, wanted).values() for name in node.name_rows()]
    own = list(own_entities(wordnet, named, matched))
    log.info("WordNet %s: %d synsets are entities, %d new entities", wordnet.version, len(matched), len(own))
    for key in ("found below the roots", "exported"):
        counts[key] += len(own)
    return merged(read_rows(), own, wordnet, matched), counts


def _leave_out(members: dict[str, Member], counts: Counter[str], reason: str, holds: Callable[[str], bool]) -> None:
    for item in [item for item in members if holds(item)]:
        del members[item]
        counts[reason] += 1


def _barred(parents: Parents, classes: Sequence[str], excluded: Sequence[str]) -> Callable[[str], bool]:
    """Whether a thing is below an excluded class, by each way that leads it into the export.

    An excluded class that stands above a wanted one (Wikidata has "physical activity" below "temporal entity") can't
    apply to what is below the wanted one, or nothing of it would be left.
    """
    applying = {wanted: set(excluded) - {wanted, *walk(wanted, parents)} for wanted in classes}
    for wanted, those in applying.items():
        if idle := sorted(set(excluded) - those):
            log.warning(
                "%s is itself below %s, which excludes nothing there", curie(wanted), ", ".join(map(curie, idle))
            )

    def barred(item: str) -> bool:
        line = {item, *walk(item, parents)}
        return all(those & line for wanted, those in applying.items() if wanted in line)

    return barred


def _rows(
    endpoint: Endpoint,
    members: Mapping[str, Member],
    parents: Parents,
    above: Mapping[str, Node],
    telling: Set[str],
    from_file: Mapping[str, Sequence[Attribute]],
    wanted: Settings,
) -> Iterator[Entity]:
    lineages: dict[tuple[bool, tuple[str, ...]], _Lineage] = {}  # siblings share what is above them

    def lineage(item: str) -> _Lineage:
        thing = members[item].kind == "thing"
        siblings = thing, tuple(parents.get(item, ()))
        if siblings in lineages and item not in lineages[siblings].nodes:
            return lineages[siblings]
        distances = levels(item, parents)
        found = _Lineage.of(
            [[above[key] for key in level if not thing or key in telling] for level in distances], wanted["languages"]
        )
        if not any(item in parents.get(key, ()) for level in distances for key in level):  # else it lacks the item
            lineages[siblings] = found
        return found

    def read(page: list[str]) -> tuple[list[str], dict[str, Node], dict[str, list[dict[str, str]]]]:
        return page, read_nodes(endpoint, page, wanted), _read_attributes(endpoint, page, wanted)

    pages = ahead(read, steady_pages(sorted(members, key=curie), AT_A_TIME))
    with Progress(total=len(members), desc="entities", unit="entities") as progress:
        for page, nodes, attributes in pages:
            for item in page:
                nodes[item].sitelinks = max(nodes[item].sitelinks, members[item].sitelinks)
                row = _entity(nodes[item], lineage(item), wanted["languages"])
                row["attributes"] = collect(row, attributes[item], from_file, wanted["attributes"])
                yield row
            progress.update(len(page))


def _read_attributes(endpoint: Endpoint, members: list[str], wanted: Settings) -> dict[str, list[dict[str, str]]]:
    stated = any_of([f"wdt:{key}" for key in PROPERTIES], "?node", "?value")
    rows = endpoint.pages(
        members,
        wanted["page_size"],
        lambda values: (
            f"SELECT DISTINCT ?node ?property ?label WHERE {{ VALUES ?node {{ {values} }} {stated} "
            f"?value rdfs:label ?label FILTER(LANG(?label) = {literal(wanted['languages'][0])}) }} "
            "ORDER BY ?node ?property ?label"
        ),
    )
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        key = row["property"].value.rsplit("/", 1)[1]
        if value := plain_text(row["label"].value):
            found[row["node"].value].append({"category": PROPERTIES[key], "value": value, "source": key})
    return found


@dataclass(frozen=True, slots=True)
class _Lineage:
    """The columns of an entity that speak of its ancestors."""

    nodes: frozenset[str]
    columns: dict[str, Any]

    @classmethod
    def of(cls, above: Sequence[Sequence[Node]], languages: list[str]) -> _Lineage:
        """Ancestors by their distance as columns."""
        line = [ancestor for level in above for ancestor in level]
        natural = natural_type(above, languages)
        return cls(
            frozenset(ancestor.node for ancestor in line),
            {
                "kingdom": next((ancestor.scientific_name for ancestor in line if ancestor.rank == "kingdom"), None),
                "naturalType": natural.vernacular(languages) if natural else None,
                "naturalTypeID": natural.entity_id if natural else None,
                "ancestors": [ancestor.as_ancestor(languages) for ancestor in line],
                "higherClassification": "|".join(
                    ancestor.scientific_name or ancestor.vernacular(languages) or ancestor.entity_id
                    for ancestor in reversed(line)
                ),
            },
        )


def _entity(node: Node, lineage: _Lineage, languages: list[str]) -> Entity:
    return {
        "entityID": node.entity_id,
        "taxonID": node.taxon_id,
        "scientificName": node.scientific_name,
        "vernacularName": node.vernacular(languages),
        "names": node.name_rows(),
        "description": node.description(languages),
        "taxonRank": node.rank,
        **lineage.columns,
        "sitelinks": node.sitelinks,
        "images": list(dict.fromkeys(node.images)),
        "identifiers": node.identifier_rows(),
    }
