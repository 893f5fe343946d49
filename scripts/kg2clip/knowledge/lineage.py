"""What stands above a node: parents read level by level, walks that end in any graph.

Level by level each node is asked about once, however many entities stand below it, and no query is heavier than a page.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from kg2clip.knowledge.sparql import Endpoint, any_of
from kg2clip.knowledge.vocabulary import curie, names_a_taxon

log = logging.getLogger(__name__)

MAX_CYCLES = 10  # named in warnings

Parents = Mapping[str, Sequence[str]]


def read_parents(endpoint: Endpoint, nodes: Iterable[str], page_size: int) -> dict[str, list[str]]:
    """The parents of nodes and of all nodes above them.

    A taxon's parents are its parent taxa (P171). A common name stands below the taxa that it names. Other nodes stand
    below their superclasses (P279) and the taxa that yield them (P1582).
    """
    parents: dict[str, list[str]] = {}
    level = sorted(set(nodes))
    while level:
        found: dict[str, dict[str, list[str]]] = {node: {} for node in level}
        for row in endpoint.pages(level, page_size, _parents_query):
            if "parent" not in row:  # "some value"
                continue
            by_property = found[row["node"].value]
            by_property.setdefault(row["property"].value.rsplit("/", 1)[1], []).append(row["parent"].value)
        parents.update((node, _choose(by_property)) for node, by_property in found.items())
        level = sorted({parent for node in level for parent in parents[node]} - parents.keys())
    return parents


def _parents_query(values: str) -> str:
    return (
        f"SELECT DISTINCT ?node ?property ?parent WHERE {{ VALUES ?node {{ {values} }} "
        f"{any_of(('wdt:P171', 'wdt:P279', 'wdt:P1582'), '?node', '?parent')} UNION "
        f"{{ {names_a_taxon('?node', '?parent')} BIND(wdt:P13176 AS ?property) }} "
        "FILTER(ISIRI(?parent)) } ORDER BY ?node ?property ?parent"
    )


def _choose(by_property: Mapping[str, list[str]]) -> list[str]:
    for properties in (("P171",), ("P13176",), ("P279", "P1582")):
        if found := {parent for key in properties for parent in by_property.get(key, ())}:
            return sorted(found)
    return []


def levels(node: str, parents: Parents) -> list[list[str]]:
    """All ancestors by their distance, each once at the least: breadth first, so cycles end and diamonds count once.

    Within a level the order is that of the IRIs, so that it does not depend on the endpoint.
    """
    seen, level, found = {node}, [node], []
    while level := sorted({parent for below in level for parent in parents.get(below, ())} - seen):
        seen.update(level)
        found.append(level)
    return found


def walk(node: str, parents: Parents) -> list[str]:
    """All ancestors, nearest first, each once."""
    return [ancestor for level in levels(node, parents) for ancestor in level]


def below(tops: Iterable[str], parents: Parents) -> set[str]:
    """All nodes that have one of `tops` above them."""
    children: dict[str, list[str]] = defaultdict(list)
    for node, those in parents.items():
        for above in those:
            children[above].append(node)
    found: set[str] = set()
    waiting = list(tops)
    while waiting:
        fresh = set(children.get(waiting.pop(), ())) - found
        found |= fresh
        waiting += fresh
    return found


def warn_of_cycles(parents: Parents) -> list[list[str]]:
    """Say which nodes are their own ancestors (ten cycles at most), and return them; walks end all the same.

    A node that is its own parent, as NCBI's root is, does not count.
    """
    links = {node: [above for above in those if above != node] for node, those in parents.items()}
    cycles: list[list[str]] = []
    while len(cycles) < MAX_CYCLES:
        try:
            TopologicalSorter(links).prepare()
            break
        except CycleError as error:
            cycle = error.args[1]  # from parent to child, the first node again at the end
            log.warning("the graph has a cycle, which is cut: %s", " -> ".join(map(curie, reversed(cycle))))
            cycles.append(cycle)
            links[cycle[1]].remove(cycle[0])
    return cycles
