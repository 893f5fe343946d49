"""What the config's roots mean in the graph: taxa for `knowledge.roots`, classes of things for `knowledge.classes`.

Nothing is keyed on a name: a name that means several taxa (Prunella, the bird and the plant) is asked back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kg2clip.errors import UserError
from kg2clip.knowledge.sparql import Endpoint, Term, iri, literal
from kg2clip.knowledge.vocabulary import WIKIDATA, curie, expand


def find_roots(endpoint: Endpoint, roots: Iterable[str]) -> list[str]:
    """The taxa that `knowledge.roots` means.

    Raises:
        UserError: a root means nothing in the graph, or several taxa; then the choices are listed.
    """
    return [_find_root(endpoint, root.strip()) for root in roots]


def find_classes(endpoint: Endpoint, classes: Iterable[str], key: str = "classes") -> list[str]:
    """The classes that `knowledge.classes` or `knowledge.exclude` means: items, CURIEs or English labels.

    Raises:
        UserError: as for roots.
    """
    return [_find_class(endpoint, name.strip(), key) for name in classes]


def _find_root(endpoint: Endpoint, root: str) -> str:
    if item := _item(root):
        pattern = f"{{ BIND({iri(item)} AS ?item) }} UNION {{ {iri(item)} owl:sameAs ?item }} ?item wdt:P225 ?name ."
    elif re.fullmatch(r"ncbi:\d+", root.lower()):
        pattern = f"?item wdt:P685 {literal(root[5:])} ; wdt:P225 ?name ."
    else:
        pattern = f"BIND({literal(root)} AS ?name) ?item wdt:P225 ?name ."
    return _only_one(
        endpoint,
        f"{pattern} OPTIONAL {{ ?item wdt:P171 ?parent . ?parent wdt:P225 ?parentName }}",
        f"knowledge.roots: no taxon {root!r} in {endpoint.url}. "
        "Check the spelling of the scientific name, or give its Wikidata item (Q25334) or NCBI taxon (ncbi:37610)",
        f"knowledge.roots: {root!r} means several taxa",
    )


def _find_class(endpoint: Endpoint, name: str, key: str) -> str:
    if item := _item(name):
        pattern = f"{{ BIND({iri(item)} AS ?item) }} UNION {{ {iri(item)} owl:sameAs ?item }} ?item rdfs:label ?name ."
    elif re.match(r"(wn|ncbi):|https?://", name):
        pattern = f"BIND({iri(expand(name))} AS ?item) ?item rdfs:label ?name ."
    else:
        pattern = f"BIND({literal(name, 'en')} AS ?name) ?item rdfs:label ?name ."
    # A class has classes above or below it, else it is a thing that only bears the name.
    return _only_one(
        endpoint,
        f"{pattern} FILTER(EXISTS {{ ?item wdt:P279 ?above }} || EXISTS {{ ?below wdt:P279 ?item }}) "
        'OPTIONAL { ?item wdt:P279 ?parent . ?parent rdfs:label ?parentName FILTER(LANG(?parentName) = "en") }',
        f"knowledge.{key}: no class {name!r} in {endpoint.url}. "
        "Give its Wikidata item (Q42889) or its English label (vehicle)",
        f"knowledge.{key}: {name!r} means several classes",
    )


def _item(text: str) -> str | None:
    return WIKIDATA + text.upper().removeprefix("WD:") if re.fullmatch(r"(wd:)?[Qq][1-9]\d*", text) else None


def _only_one(endpoint: Endpoint, pattern: str, none: str, several: str) -> str:
    rows = endpoint.select(
        f"SELECT DISTINCT ?item ?name ?parentName ?description WHERE {{ {pattern} "
        'OPTIONAL { ?item schema:description ?description FILTER(LANG(?description) = "en") } } '
        "ORDER BY ?item ?name ?parentName"
    )
    found = {row["item"].value: row for row in reversed(rows)}
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise UserError(none)
    choices = "\n".join(f"    {curie(item)}  {_choice(found[item])}" for item in sorted(found))
    raise UserError(f"{several}. Put the one you mean in its place:\n{choices}")


def _choice(row: Mapping[str, Term]) -> str:
    said = [row[key].value for key in ("name", "description") if key in row]
    return ", ".join(said) + (f", in {row['parentName'].value}" if "parentName" in row else "")
