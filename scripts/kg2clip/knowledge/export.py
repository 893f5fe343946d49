"""From roots to entities: which taxa, with which names, ancestors, identifiers and attributes.

Nothing is keyed on a name: a name that means several taxa (Prunella, the bird and the plant) is asked back.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from kg2clip.errors import UserError
from kg2clip.knowledge.attributes import PROPERTIES, collect, read_file
from kg2clip.knowledge.sparql import Endpoint, Term, iri, literal
from kg2clip.progress import Progress
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

WIKIDATA = "http://www.wikidata.org/entity/"
NCBI = "http://purl.obolibrary.org/obo/NCBITaxon_"

IDENTIFIERS = {"P685": "ncbi", "P846": "gbif", "P3151": "inaturalist"}


@dataclass
class Node:
    """A taxon of the graph, entity or ancestor."""

    node: str  # IRI
    scientific_name: str = ""
    rank: str | None = None
    names: dict[tuple[str, str], str] = field(default_factory=dict)  # (text, kind) -> language
    description: str | None = None
    identifiers: dict[str, str] = field(default_factory=dict)
    parents: set[str] = field(default_factory=set)

    @property
    def entity_id(self) -> str:
        """The node's IRI as a CURIE."""
        return curie(self.node)

    @property
    def taxon_id(self) -> str | None:
        """The NCBI taxon, as ncbi:30195."""
        number = self.identifiers.get("ncbi")
        return f"ncbi:{number}" if number else None


def curie(node: str) -> str:
    """An IRI in its short form: wd:Q140, ncbi:9689; other IRIs stay as they are."""
    if node.startswith(WIKIDATA):
        return f"wd:{node.removeprefix(WIKIDATA)}"
    if node.startswith(NCBI):
        return f"ncbi:{node.removeprefix(NCBI)}"
    return node


def find_roots(endpoint: Endpoint, roots: Iterable[str]) -> list[str]:
    """The items that the config's roots mean.

    Raises:
        UserError: a root means nothing in the graph, or several taxa; then the choices are listed.
    """
    return [_find_root(endpoint, root.strip()) for root in roots]


def _find_root(endpoint: Endpoint, root: str) -> str:
    if re.fullmatch(r"(wd:)?[Qq][1-9]\d*", root):
        item = iri(WIKIDATA + root.upper().removeprefix("WD:"))
        pattern = f"{{ BIND({item} AS ?item) }} UNION {{ {item} owl:sameAs ?item }} ?item wdt:P225 ?name ."
    elif re.fullmatch(r"ncbi:\d+", root.lower()):
        pattern = f"?item wdt:P685 {literal(root[5:])} ; wdt:P225 ?name ."
    else:
        pattern = f"BIND({literal(root)} AS ?name) ?item wdt:P225 ?name ."
    rows = endpoint.select(
        f"SELECT DISTINCT ?item ?name ?parentName ?description WHERE {{ {pattern} "
        "OPTIONAL { ?item wdt:P171 ?parent . ?parent wdt:P225 ?parentName } "
        'OPTIONAL { ?item schema:description ?description FILTER(LANG(?description) = "en") } } ORDER BY ?item'
    )
    found = {row["item"].value: row for row in reversed(rows)}
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise UserError(
            f"knowledge.roots: no taxon {root!r} in {endpoint.url}. "
            "Check the spelling of the scientific name, or give its Wikidata item (Q25334) or NCBI taxon (ncbi:37610)"
        )
    choices = "\n".join(f"    {curie(item)}  {_choice(found[item])}" for item in sorted(found))
    raise UserError(f"knowledge.roots: {root!r} means several taxa. Put the one you mean in its place:\n{choices}")


def _choice(row: Mapping[str, Term]) -> str:
    said = [row[key].value for key in ("name", "description") if key in row]
    return ", ".join(said) + (f", in {row['parentName'].value}" if "parentName" in row else "")


def export_entities(endpoint: Endpoint, wanted: Settings) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """All entities below the roots, as rows of `tables.ENTITIES`, and the counts of what was left out and why."""
    members, counts = _select_members(endpoint, find_roots(endpoint, wanted["roots"]), wanted)
    if not members:
        raise UserError(
            f"knowledge: no taxon of {', '.join(wanted['roots'])} passes the filters {counts}. "
            "Widen knowledge.ranks, or set require_image: false or a lower min_sitelinks"
        )
    nodes = _read_lineages(endpoint, sorted(members), wanted)
    _read_texts(endpoint, nodes, wanted)
    attributes = _read_attributes(endpoint, sorted(members), wanted)
    rows = [_entity(nodes[item], members[item], nodes, attributes[item], wanted["languages"]) for item in members]
    from_file = read_file(Path(wanted["attributes"]["file"])) if wanted["attributes"]["file"] else {}
    for row in rows:
        row["attributes"] = collect(row, row["attributes"], from_file, wanted["attributes"])
    return sorted(rows, key=lambda row: str(row["entityID"])), counts


def _select_members(endpoint: Endpoint, roots: list[str], wanted: Settings) -> tuple[dict[str, int], dict[str, int]]:
    ranks = " ".join(literal(rank, "en") for rank in wanted["ranks"])
    inside = f"VALUES ?root {{ {' '.join(map(iri, roots))} }} ?item wdt:P171* ?root . ?item wdt:P225 ?name ."
    ranked = f"{inside} VALUES ?rankLabel {{ {ranks} }} ?item wdt:P105 ?rank . ?rank rdfs:label ?rankLabel ."
    pictured = ranked + " ?item wdt:P18 ?image ." if wanted["require_image"] else ranked
    linked = f"{pictured} OPTIONAL {{ ?item wikibase:sitelinks ?links }}"
    if wanted["min_sitelinks"]:
        linked = f"{pictured} ?item wikibase:sitelinks ?links . FILTER(?links >= {wanted['min_sitelinks']})"
    found, of_rank, with_image, exported = (endpoint.count(where) for where in (inside, ranked, pictured, linked))
    counts = {
        "taxa below the roots": found,
        "of another rank": found - of_rank,
        "without picture": of_rank - with_image,
        "with too few sitelinks": with_image - exported,
        "exported": exported,
    }
    log.info("taxa: %s", counts)
    query = f"SELECT ?item (MAX(?links) AS ?sitelinks) WHERE {{ {linked} }} GROUP BY ?item ORDER BY ?item"
    rows = endpoint.stream(query, expected=exported)
    return {row["item"].value: int(row["sitelinks"].value) if "sitelinks" in row else 0 for row in rows}, counts


def _read_lineages(endpoint: Endpoint, members: list[str], wanted: Settings) -> dict[str, Node]:
    size = wanted["page_size"]
    nodes = {item: Node(item) for item in members}
    edges = endpoint.pages(
        members,
        size,
        lambda values: (
            f"SELECT DISTINCT ?node ?parent WHERE {{ VALUES ?item {{ {values} }} "
            "?item wdt:P171* ?node . ?node wdt:P171 ?parent } ORDER BY ?node ?parent"
        ),
    )
    for row in edges:
        node, parent = row["node"].value, row["parent"].value
        nodes.setdefault(node, Node(node)).parents.add(parent)
        nodes.setdefault(parent, Node(parent))
    facts = endpoint.pages(
        list(nodes),
        size,
        lambda values: (
            f"SELECT DISTINCT ?node ?name ?rankLabel WHERE {{ VALUES ?node {{ {values} }} "
            "?node wdt:P225 ?name . OPTIONAL { ?node wdt:P105 ?rank . ?rank rdfs:label ?rankLabel "
            'FILTER(LANG(?rankLabel) = "en") } } ORDER BY ?node ?name ?rankLabel'
        ),
    )
    for row in Progress(facts, desc="taxa and ancestors", unit="rows"):
        node_ = nodes[row["node"].value]
        node_.scientific_name = node_.scientific_name or row["name"].value
        node_.rank = node_.rank or (row["rankLabel"].value if "rankLabel" in row else None)
    return nodes


def _read_texts(endpoint: Endpoint, nodes: dict[str, Node], wanted: Settings) -> None:
    languages = ", ".join(literal(language) for language in [*wanted["languages"], "mul"])
    rows = endpoint.pages(
        list(nodes),
        wanted["page_size"],
        lambda values: (
            f"SELECT DISTINCT ?node ?kind ?text WHERE {{ VALUES ?node {{ {values} }} "
            '{ ?node rdfs:label ?text BIND("label" AS ?kind) } '
            'UNION { ?node wdt:P1843 ?text BIND("vernacular" AS ?kind) } '
            'UNION { ?node skos:altLabel ?text BIND("alias" AS ?kind) } '
            'UNION { ?node schema:description ?text BIND("description" AS ?kind) } '
            'UNION { ?node wdt:P1420 ?other . ?other wdt:P225 ?text BIND("synonym" AS ?kind) } '
            + "".join(
                f'UNION {{ ?node wdt:{key} ?text BIND("{scheme}" AS ?kind) }} ' for key, scheme in IDENTIFIERS.items()
            )
            + f'FILTER(LANG(?text) = "" || LANG(?text) IN ({languages})) }} ORDER BY ?node ?kind ?text'
        ),
    )
    for row in Progress(rows, desc="names and identifiers", unit="rows"):
        node, kind, text = nodes[row["node"].value], row["kind"].value, row["text"]
        if kind in IDENTIFIERS.values():
            node.identifiers.setdefault(kind, text.value)
        elif kind == "description":
            node.description = node.description or text.value
        elif text.value.strip() and not re.fullmatch(r"Q\d+", text.value):
            node.names[(" ".join(text.value.split()), kind)] = text.language


def _read_attributes(endpoint: Endpoint, members: list[str], wanted: Settings) -> dict[str, list[dict[str, str]]]:
    properties = " ".join(f"wdt:{key}" for key in PROPERTIES)
    rows = endpoint.pages(
        members,
        wanted["page_size"],
        lambda values: (
            f"SELECT DISTINCT ?node ?property ?label WHERE {{ VALUES ?node {{ {values} }} "
            f"VALUES ?property {{ {properties} }} ?node ?property ?value . ?value rdfs:label ?label "
            f"FILTER(LANG(?label) = {literal(wanted['languages'][0])}) }} ORDER BY ?node ?property ?label"
        ),
    )
    images = endpoint.pages(
        members,
        wanted["page_size"],
        lambda values: (
            f"SELECT DISTINCT ?node ?image WHERE {{ VALUES ?node {{ {values} }} ?node wdt:P18 ?image }} "
            "ORDER BY ?node ?image"
        ),
    )
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        key = row["property"].value.rsplit("/", 1)[1]
        attribute = {"category": PROPERTIES[key], "value": row["label"].value, "source": key}
        found[row["node"].value].append(attribute)
    for row in images:
        name = unquote(row["image"].value.rsplit("/", 1)[1]).replace("_", " ")
        found[row["node"].value].append({"category": "image", "value": name, "source": "P18"})
    return found


def lineage(item: str, parents: Callable[[str], Iterable[str]]) -> list[str]:
    """All ancestors, nearest first, each once: breadth first, so that cycles end and diamonds count once.

    Among parents of one level the order is that of their IRIs, so that it does not depend on the endpoint.
    """
    seen, level, ancestors = {item}, [item], []
    while level:
        above = sorted({parent for node in level for parent in parents(node)} - seen)
        seen.update(above)
        ancestors.extend(above)
        level = above
    return ancestors


def _entity(
    node: Node, sitelinks: int, nodes: Mapping[str, Node], attributes: list[dict[str, str]], languages: list[str]
) -> dict[str, Any]:
    above = [nodes[key] for key in lineage(node.node, lambda key: nodes[key].parents)]
    natural = next((ancestor for ancestor in above if vernacular(ancestor, languages)), None)
    return {
        "entityID": node.entity_id,
        "taxonID": node.taxon_id,
        "scientificName": node.scientific_name,
        "vernacularName": vernacular(node, languages),
        "names": _names(node),
        "description": node.description,
        "taxonRank": node.rank,
        "kingdom": next((ancestor.scientific_name for ancestor in above if ancestor.rank == "kingdom"), None),
        "naturalType": vernacular(natural, languages) if natural else None,
        "naturalTypeID": natural.entity_id if natural else None,
        "ancestors": [
            {
                "entityID": ancestor.entity_id,
                "taxonID": ancestor.taxon_id,
                "scientificName": ancestor.scientific_name,
                "vernacularName": vernacular(ancestor, languages),
                "taxonRank": ancestor.rank,
            }
            for ancestor in above
        ],
        "higherClassification": "|".join(ancestor.scientific_name for ancestor in reversed(above)),
        "sitelinks": sitelinks,
        "images": [row["value"] for row in attributes if row["category"] == "image"],
        "identifiers": [{"scheme": scheme, "value": value} for scheme, value in sorted(node.identifiers.items())],
        "attributes": [row for row in attributes if row["category"] != "image"],
    }


def _names(node: Node) -> list[dict[str, str]]:
    scientific = {"text": node.scientific_name, "language": "", "kind": "scientific"}
    others = [
        {"text": text, "language": language, "kind": kind}
        for (text, kind), language in sorted(node.names.items())
        if text != node.scientific_name
    ]
    return [scientific, *others]


def vernacular(node: Node, languages: list[str]) -> str | None:
    """The preferred common name: the label where it is no scientific name, else the shortest common name; by
    language.
    """
    for language in languages:
        label = [text for (text, kind), spoken in node.names.items() if kind == "label" and spoken == language]
        if label and label[0].casefold() != node.scientific_name.casefold():
            return label[0]
        common = [text for (text, kind), spoken in node.names.items() if kind == "vernacular" and spoken == language]
        if common:
            return min(common, key=lambda text: (len(text), text))
    return None
