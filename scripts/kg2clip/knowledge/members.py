"""Which nodes of the graph become entities, and why the others do not.

Four ways lead into an export: taxa below the roots (P171); groups and breeds that have only a common name ("bee",
"sheepdog"); things that a taxon yields (fruits, P1582); and classes of things (P279). Rank, picture and sitelinks are
filtered by the endpoint, which counts what they leave out; what an entity is (extinct, a hybrid, a person ...) is read
and decided here. Each left-out node is counted once, under the first reason that holds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kg2clip.knowledge import names
from kg2clip.knowledge.lineage import read_parents, walk
from kg2clip.knowledge.nodes import ANY_LANGUAGE, read_common_names
from kg2clip.knowledge.sparql import Endpoint, any_of, iri, literal
from kg2clip.knowledge.vocabulary import EXTINCT_STATUS, HUMAN_TAXON, SPECIAL_KINDS, WIKIDATA, names_a_taxon
from kg2clip.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A node that becomes an entity. `kind`: taxon, group, product or thing."""

    kind: str
    sitelinks: int


def select_members(
    endpoint: Endpoint, roots: Sequence[str], classes: Sequence[str], wanted: Settings
) -> tuple[dict[str, Member], Counter[str]]:
    """The nodes to export, by IRI, and how many were found and left out, by reason.

    Args:
        endpoint: the graph.
        roots: taxa, as IRIs.
        classes: classes of things, as IRIs.
        wanted: the config's section `knowledge`.
    """
    counts: Counter[str] = Counter({"found below the roots": 0})
    members: dict[str, Member] = {}
    for kind, inside in _ways_in(roots, classes, wanted):
        for item, sitelinks in _filtered(endpoint, inside, wanted, counts, ranked=kind == "taxon"):
            if item in members:
                counts["reached in two ways"] += 1
            else:
                members[item] = Member(kind, sitelinks)
    reasons = special_kinds(endpoint, members, wanted) | _names_of_members(endpoint, members, wanted)
    for item, reason in reasons.items():
        counts[reason] += 1
        del members[item]
    log.info("found and left out: %s", dict(counts))
    return members, counts


def _ways_in(roots: Sequence[str], classes: Sequence[str], wanted: Settings) -> Iterator[tuple[str, str]]:
    """Graph patterns that bind ?item, with the kind of member that each finds."""
    if roots:
        below = f"VALUES ?root {{ {' '.join(map(iri, roots))} }} ?taxon wdt:P171* ?root ."
        yield "taxon", f"{below.replace('?taxon', '?item')} ?item wdt:P225 ?name ."
        if wanted["common_names"]:
            named = f"{below} {names_a_taxon('?common', '?taxon')} ?item wdt:P279* ?common ."
            yield "group", f"{named} FILTER NOT EXISTS {{ ?item wdt:P225 ?name }}"
        if wanted["products"]:
            kinds = " ".join(iri(WIKIDATA + item) for item in wanted["products"])
            yield (
                "product",
                f"{below} VALUES ?kind {{ {kinds} }} ?item wdt:P1582|^wdt:P1672 ?taxon ; wdt:P31|wdt:P279 ?kind .",
            )
    if classes:
        yield "thing", f"VALUES ?root {{ {' '.join(map(iri, classes))} }} ?item wdt:P279* ?root ."


def _filtered(
    endpoint: Endpoint, inside: str, wanted: Settings, counts: Counter[str], ranked: bool
) -> list[tuple[str, int]]:
    """The items of a pattern that pass the filters which the endpoint applies, with their sitelinks."""
    where, before = "", 0
    for reason, condition in [("", inside), *_conditions(wanted, ranked)]:
        where = f"{where} {condition}"
        left = endpoint.count(where)
        if reason:
            counts[reason] += before - left
        else:
            counts["found below the roots"] += left
        before = left
    if not before:
        return []
    query = (
        f"SELECT ?item (MAX(?links) AS ?sitelinks) WHERE {{ {where} "
        "OPTIONAL { ?item wikibase:sitelinks|(^wdt:P13176/wikibase:sitelinks) ?links } } GROUP BY ?item ORDER BY ?item"
    )
    rows = endpoint.stream(query, expected=before)
    return [(row["item"].value, int(row["sitelinks"].value) if "sitelinks" in row else 0) for row in rows]


def count_members(endpoint: Endpoint, roots: Sequence[str], classes: Sequence[str], wanted: Settings) -> int:
    """How many nodes pass the filters that the endpoint applies: `select_members` leaves out a few more of them."""
    return sum(
        endpoint.count(" ".join([inside, *(condition for _, condition in _conditions(wanted, kind == "taxon"))]))
        for kind, inside in _ways_in(roots, classes, wanted)
    )


def _conditions(wanted: Settings, ranked: bool) -> list[tuple[str, str]]:
    """Patterns that an item has to meet, each with the reason for which it leaves out the others."""
    steps = []
    if ranked:
        ranks = " ".join(literal(rank, "en") for rank in wanted["ranks"])
        steps.append(
            ("of another rank", f"VALUES ?rankLabel {{ {ranks} }} ?item wdt:P105 ?rank . ?rank rdfs:label ?rankLabel .")
        )
    else:
        spoken = ", ".join(literal(language) for language in (*wanted["languages"], ANY_LANGUAGE))
        steps.append(("without a name", f"?item rdfs:label ?label . FILTER(LANG(?label) IN ({spoken}))"))
    # A taxon's picture and articles may stand at the item of its common name.
    if wanted["require_image"]:
        steps.append(("without picture", "?item wdt:P18|(^wdt:P13176/wdt:P18) ?image ."))
    if least := wanted["min_sitelinks"]:
        links = f"?item wikibase:sitelinks|(^wdt:P13176/wikibase:sitelinks) ?many . FILTER(?many >= {least})"
        steps.append(("with too few sitelinks", links))
    return steps


def special_kinds(endpoint: Endpoint, items: Iterable[str], wanted: Settings) -> dict[str, str]:
    """Why items are left out for what they are: reason by item.

    The kinds of `knowledge.leave_out`, and what bears a name that names no taxon ("uncultured bacterium").
    """
    items = sorted(items)
    unwanted = [kind for kind in SPECIAL_KINDS if kind in wanted["leave_out"]]
    stated_facts = any_of(("wdt:P31", "wdt:P141", "wdt:P105", "wdt:P225"), "?node", "?value")
    facts = endpoint.pages(
        items,
        wanted["page_size"],
        lambda values: (
            f"SELECT DISTINCT ?node ?property ?value WHERE {{ VALUES ?node {{ {values} }} {stated_facts} }} "
            "ORDER BY ?node ?property ?value"
        ),
    )
    kinds_of_class: dict[str, set[str]] = {}
    stated: list[tuple[str, str]] = []
    reasons: dict[str, set[str]] = {}
    unnamed: dict[str, str] = {}
    for row in facts:
        item, property_, value = row["node"].value, row["property"].value.rsplit("/", 1)[1], row["value"].value
        found = reasons.setdefault(item, set())
        if property_ == "P225":
            name = names.parse(value)
            found |= {kind for kind, holds in (("hybrid", name.hybrid), ("cultivar", name.cultivar)) if holds}
            if name.reason:
                unnamed[item] = name.reason
        elif property_ == "P141":
            found |= {"extinct"} if value == WIKIDATA + EXTINCT_STATUS else set()
        else:
            stated.append((item, value))
            kinds_of_class[value] = set()
        if item == WIKIDATA + HUMAN_TAXON:
            found.add("human")
    above = read_parents(endpoint, kinds_of_class, wanted["page_size"])
    for value in kinds_of_class:
        upwards = {value.rsplit("/", 1)[1], *(name.rsplit("/", 1)[1] for name in walk(value, above))}
        kinds_of_class[value] = {kind for kind, classes in SPECIAL_KINDS.items() if classes & upwards}
    for item, value in stated:
        reasons[item] |= kinds_of_class[value]
    first = {item: next((kind for kind in unwanted if kind in found), None) for item, found in reasons.items()}
    return unnamed | {item: REASONS[kind] for item, kind in first.items() if kind}


REASONS = {
    "extinct": "extinct",
    "hybrid": "hybrids",
    "individual": "named individuals",
    "cultivar": "cultivars",
    "human": "humans",
    "mythical": "mythical or imaginary",
}


def _names_of_members(endpoint: Endpoint, members: Mapping[str, Member], wanted: Settings) -> dict[str, str]:
    """Groups that are but the common name of one exported taxon: the taxon bears that name already."""
    if not any(member.kind == "group" for member in members.values()):
        return {}
    taxa = [item for item, member in members.items() if member.kind == "taxon"]
    names = read_common_names(endpoint, taxa, wanted["page_size"])
    return dict.fromkeys(sorted(names.keys() & members.keys()), "common name of an exported taxon")
