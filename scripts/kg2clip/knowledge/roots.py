"""What the config's roots mean in the graph: taxa for `knowledge.roots`, classes of things for `knowledge.classes`.

Nothing is keyed on a name: a name that means several taxa (Prunella, the bird and the plant) is asked back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping

from kg2clip.errors import UserError
from kg2clip.knowledge.nodes import one_line
from kg2clip.knowledge.sparql import Endpoint, Row, iri, literal
from kg2clip.knowledge.taxonomy import Taxonomy
from kg2clip.knowledge.vocabulary import WIKIDATA, curie, expand, names_a_taxon

log = logging.getLogger(__name__)


def find_roots(endpoint: Endpoint, roots: Iterable[str], taxonomy: Taxonomy | None = None) -> list[str]:
    """The taxa that `knowledge.roots` means.

    Args:
        endpoint: the graph.
        roots: scientific names, items (Q25334) or NCBI taxa (ncbi:37610).
        taxonomy: where there is one, merged NCBI numbers lead to their new taxon.

    Raises:
        UserError: a root means nothing in the graph, or several taxa; then the choices are listed.
    """
    return [_find_root(endpoint, one_line(root), taxonomy) for root in roots]


def find_classes(endpoint: Endpoint, classes: Iterable[str], key: str = "classes") -> list[str]:
    """The classes that `knowledge.classes` or `knowledge.exclude` means: items, CURIEs or English labels.

    Raises:
        UserError: as for roots.
    """
    return [_find_class(endpoint, one_line(name), key) for name in classes]


def _find_root(endpoint: Endpoint, root: str, taxonomy: Taxonomy | None) -> str:
    if item := _item(root):
        taxa = _taxa(endpoint, _self_or_redirect(item))
    elif re.fullmatch(r"ncbi:\d+", root.lower()):
        taxa = _taxa(endpoint, f"?item wdt:P685 {literal(root[5:])} .")
        if not taxa and taxonomy and (current := _current(root, taxonomy)):
            log.warning("knowledge.roots: NCBI has merged %s into %s, which is taken instead", root, current)
            taxa = _taxa(endpoint, f"?item wdt:P685 {literal(current[5:])} .")
    else:
        taxa = _taxa(endpoint, f"BIND({literal(root)} AS ?name)")
    return _only_one(
        taxa,
        f"knowledge.roots: {root!r} means several taxa",
        lambda: f"knowledge.roots: no taxon {root!r} in {endpoint.url}. {_advice(endpoint, root, item)}",
    )


def _taxa(endpoint: Endpoint, pattern: str) -> dict[str, Row]:
    return _found(
        endpoint,
        f"{pattern} ?item wdt:P225 ?name . OPTIONAL {{ ?item wdt:P171 ?parent . ?parent wdt:P225 ?parentName }}",
    )


def _self_or_redirect(item: str) -> str:
    return f"{{ BIND({iri(item)} AS ?item) }} UNION {{ {iri(item)} owl:sameAs ?item }}"


def _current(root: str, taxonomy: Taxonomy) -> str | None:
    """The number into which an NCBI taxon was merged; None if it is what it was."""
    taxon = taxonomy.look_up([int(root[5:])])[int(root[5:])]
    if taxon.current is None:
        was = "was deleted from NCBI's taxonomy" if taxon.status == "deleted" else "was never in NCBI's taxonomy"
        raise UserError(f"knowledge.roots: {root} {was}. Look the taxon up by its name, and give that")
    return f"ncbi:{taxon.current}" if taxon.status == "merged" else None


def _advice(endpoint: Endpoint, root: str, item: str | None) -> str:
    """What to type in place of a root that is no taxon."""
    if re.fullmatch(r"(?i)(L\d+(-[FS]\d+)?|P\d+|M\d+)", root):
        return "That is no item: items begin with Q, such as Q25334"
    if item:
        said = endpoint.select(
            f"SELECT ?item ?name WHERE {{ {_self_or_redirect(item)} ?item rdfs:label ?name "
            'FILTER(LANG(?name) IN ("en", "mul")) } ORDER BY ?name'
        )
        named = _taxa(endpoint, names_a_taxon(iri(item), "?item"))
        if named:
            return f"It is a common name ({said[0]['name'].value if said else root}) of:\n{_choices(named)}"
        if said:
            return (
                f"It is {said[0]['name'].value!r}, which is no taxon (it has no taxon name, P225). "
                "A class of things belongs into knowledge.classes"
            )
        return "The graph does not know it: it was deleted, or is newer than the graph"
    if re.match(r"(?i)ncbi:", root):
        return (
            "It may be merged or deleted (knowledge.taxonomy would tell), or the graph does not know it: try its name"
        )
    forms = {root, root.lower(), root.capitalize()}
    common = " ".join(literal(form, "en") for form in sorted(forms))
    meant = _taxa(
        endpoint,
        f"{{ BIND({literal(root.capitalize())} AS ?name) ?item wdt:P225 ?name }} UNION "
        f"{{ VALUES ?said {{ {common} }} ?item rdfs:label|skos:altLabel|wdt:P1843 ?said }} UNION "
        f"{{ VALUES ?said {{ {common} }} ?common rdfs:label ?said . {names_a_taxon('?common', '?item')} }}",
    )
    if meant:
        return f"Did you mean:\n{_choices(meant)}"
    return "Check the spelling of the scientific name, or give its Wikidata item (Q25334) or NCBI taxon (ncbi:37610)"


def _find_class(endpoint: Endpoint, name: str, key: str) -> str:
    if item := _item(name):
        pattern = f"{_self_or_redirect(item)} ?item rdfs:label ?name ."
    elif re.match(r"(wn|ncbi):|https?://", name):
        pattern = f"BIND({iri(expand(name))} AS ?item) ?item rdfs:label ?name ."
    else:
        pattern = f"BIND({literal(name, 'en')} AS ?name) ?item rdfs:label ?name ."
    # A class has classes above or below it, else it is a thing that only bears the name.
    classes = _found(
        endpoint,
        f"{pattern} FILTER(EXISTS {{ ?item wdt:P279 ?above }} || EXISTS {{ ?below wdt:P279 ?item }}) "
        'OPTIONAL { ?item wdt:P279 ?parent . ?parent rdfs:label ?parentName FILTER(LANG(?parentName) = "en") }',
    )
    return _only_one(
        classes,
        f"knowledge.{key}: {name!r} means several classes",
        lambda: (
            f"knowledge.{key}: no class {name!r} in {endpoint.url}. "
            "Give its Wikidata item (Q42889) or its English label (vehicle)"
        ),
    )


def _item(text: str) -> str | None:
    """Q25334, q25334, wd:Q25334 or the address of its page, as an IRI."""
    match = re.fullmatch(r"(?i)(?:wd:|https?://www\.wikidata\.org/(?:wiki|entity)/)?(q[1-9]\d*)", text)
    return WIKIDATA + match[1].upper() if match else None


def _found(endpoint: Endpoint, pattern: str) -> dict[str, Row]:
    """Items that a pattern binds, with what tells them apart."""
    rows = endpoint.select(
        f"SELECT DISTINCT ?item ?name ?parentName ?description WHERE {{ {pattern} "
        'OPTIONAL { ?item schema:description ?description FILTER(LANG(?description) = "en") } } '
        "ORDER BY ?item ?name ?parentName"
    )
    return {row["item"].value: row for row in reversed(rows)}


def _only_one(found: Mapping[str, Row], several: str, none: Callable[[], str]) -> str:
    if not found:
        raise UserError(none())
    if len(found) > 1:
        raise UserError(f"{several}. Put the one you mean in its place:\n{_choices(found)}")
    return next(iter(found))


def _choices(found: Mapping[str, Row]) -> str:
    return "\n".join(f"    {curie(item)}  {_choice(found[item])}" for item in sorted(found))


def _choice(row: Row) -> str:
    said = [row[key].value for key in ("name", "description") if key in row]
    return ", ".join(said) + (f", in {row['parentName'].value}" if "parentName" in row else "")
