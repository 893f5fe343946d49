"""Which nodes of the graph become entities, and why the others do not.

Four ways lead into an export: taxa below the roots (P171); groups and breeds that have only a common name ("bee",
"sheepdog"); things that a taxon yields (fruits, P1582); and classes of things (P279). Rank, picture and sitelinks are
filtered by the endpoint, which counts what they leave out; what an entity is (extinct, a hybrid, a person ...) is read
and decided here. Each left-out node is counted once, under the first reason that holds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from kg2clip import names
from kg2clip.errors import IncompleteError
from kg2clip.knowledge.lineage import read_parents, walk
from kg2clip.knowledge.nodes import ANY_LANGUAGE, number_in, read_common_names
from kg2clip.knowledge.sparql import Endpoint, TooHeavyError, any_of, iri, literal
from kg2clip.knowledge.vocabulary import EXTINCT_STATUS, HUMAN_TAXON, SPECIAL_KINDS, WIKIDATA, curie, names_a_taxon
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

Result = TypeVar("Result")


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
    for way in _ways_in(roots, classes, wanted):
        for found, left_out in _in_branches(endpoint, way, lambda branch: _filtered(endpoint, branch, wanted)):
            counts.update(left_out)
            for item, sitelinks in found:
                if item in members:
                    counts["reached in two ways"] += 1
                else:
                    members[item] = Member(way.kind, sitelinks)
    reasons = special_kinds(endpoint, members, wanted) | _names_of_members(endpoint, members, wanted)
    for item, reason in reasons.items():
        counts[reason] += 1
        del members[item]
    log.info("found and left out: %s", dict(counts))
    return members, counts


@dataclass(frozen=True, slots=True)
class _Way:
    """A graph pattern that binds ?item: `rest` says what it has to do with `node`, which is one of `tops` or below."""

    kind: str
    tops: Sequence[str]
    link: str
    node: str
    rest: str
    alone: bool = False  # the tops themselves, and nothing below them

    @property
    def pattern(self) -> str:
        below = f"BIND(?root AS {self.node})" if self.alone else f"{self.node} {self.link}* ?root ."
        return f"VALUES ?root {{ {' '.join(map(iri, self.tops))} }} {below} {self.rest}"


def _ways_in(roots: Sequence[str], classes: Sequence[str], wanted: Settings) -> Iterator[_Way]:
    if roots:
        yield _Way("taxon", roots, "wdt:P171", "?item", "?item wdt:P225 ?name .")
        if wanted["common_names"]:
            group = "?item wdt:P279* ?common . FILTER NOT EXISTS { ?item wdt:P225 ?name }"
            yield _Way("group", roots, "wdt:P171", "?taxon", f"{names_a_taxon('?common', '?taxon')} {group}")
        if wanted["products"]:
            kinds = " ".join(iri(WIKIDATA + item) for item in wanted["products"])
            product = f"VALUES ?kind {{ {kinds} }} ?item wdt:P1582|^wdt:P1672 ?taxon ; wdt:P31|wdt:P279 ?kind ."
            yield _Way("product", roots, "wdt:P171", "?taxon", product)
    if classes:
        yield _Way("thing", classes, "wdt:P279", "?item", "")


def _in_branches(endpoint: Endpoint, way: _Way, ask: Callable[[_Way], Result]) -> Iterator[Result]:
    """What `ask` gives for a way; where the endpoint gives up on it, for its branches, each once.

    Several tops are halved; one top is divided into itself and its children, of which half are asked for at first. What
    stands below two branches is found by both.
    """
    waiting, divided = [way], set[str]()
    while waiting:
        branch = waiting.pop()
        try:
            yield ask(branch)
            continue
        except TooHeavyError as error:
            log.info("%s gives up below %s (%s): asking for less", endpoint.url, _named(branch.tops), error)
        middle = len(branch.tops) // 2
        if middle:
            parts = [branch.tops[middle:], branch.tops[:middle]]
            waiting += [replace(branch, tops=part) for part in parts]
            continue
        if branch.alone:
            raise IncompleteError(
                f"{endpoint.url} gives up on a single node, {_named(branch.tops)}. Run the same command later, or set "
                "knowledge.endpoint to another one"
            )
        children = _children(endpoint, branch) - divided
        divided |= {*branch.tops, *children}
        waiting += [replace(branch, tops=sorted(children))] if children else []
        waiting.append(replace(branch, alone=True))


def _children(endpoint: Endpoint, way: _Way) -> set[str]:
    (top,) = way.tops
    rows = endpoint.select(f"SELECT DISTINCT ?item WHERE {{ ?item {way.link} {iri(top)} }} ORDER BY ?item")
    return {row["item"].value for row in rows if "item" in row}


def _named(nodes: Sequence[str]) -> str:
    first = ", ".join(map(curie, nodes[:3]))
    return first if len(nodes) <= 3 else f"{first} and {len(nodes) - 3} others"


def _filtered(endpoint: Endpoint, way: _Way, wanted: Settings) -> tuple[list[tuple[str, int]], Counter[str]]:
    """The items of a way that pass the filters which the endpoint applies, with their sitelinks; counts of the others.

    Raises:
        TooHeavyError: the endpoint gives up.
    """
    counts: Counter[str] = Counter()
    where, before = "", 0
    for reason, condition in [("", way.pattern), *_conditions(wanted, way.kind == "taxon")]:
        where = f"{where} {condition}"
        left = endpoint.count(where, divisible=True)
        if reason:
            counts[reason] += before - left
        else:
            counts["found below the roots"] += left
        before = left
    if not before:
        return [], counts
    query = (
        f"SELECT ?item (MAX(?links) AS ?sitelinks) WHERE {{ {where} "
        "OPTIONAL { ?item wikibase:sitelinks|(^wdt:P13176/wikibase:sitelinks) ?links } } GROUP BY ?item ORDER BY ?item"
    )
    rows = endpoint.stream(query, expected=before, divisible=True)
    return [(row["item"].value, number_in(row, "sitelinks")) for row in rows if "item" in row], counts


def count_members(endpoint: Endpoint, roots: Sequence[str], classes: Sequence[str], wanted: Settings) -> int:
    """How many nodes pass the filters that the endpoint applies: `select_members` leaves out a few more of them."""

    def passing(way: _Way) -> int:
        conditions = [condition for _, condition in _conditions(wanted, way.kind == "taxon")]
        return endpoint.count(" ".join([way.pattern, *conditions]), divisible=True)

    return sum(sum(_in_branches(endpoint, way, passing)) for way in _ways_in(roots, classes, wanted))


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
