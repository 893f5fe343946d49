"""What the graph says about a node: scientific name, rank, names in all wanted languages, description, identifiers.

The preferred common name (`Node.vernacular`), for each language in the config's order and at last for `mul`:

1. the label, where it is not the scientific name (`octopus` is a word, `Octopus` is none): people chose it as the title
   of the item, or of the item of the common name (`dog` for *Canis familiaris*);
2. else the common name (P1843) that is stated most often whatever its letters' case; of equals the shortest, in the
   form with fewest capitals.

An identifier such as Q12345 is never a name, and neither is an empty text. Two taxa with the same name keep it both.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ftfy.badness import is_bad

from kg2clip import names
from kg2clip.knowledge.sparql import Endpoint, Row, literal
from kg2clip.knowledge.vocabulary import IDENTIFIERS, curie, names_a_taxon
from kg2clip.progress import Progress
from kg2clip.settings import Settings
from kg2clip.texts import clean

ANY_LANGUAGE = "mul"  # Wikidata's language of labels that are the same in all languages
ITEM = re.compile(r"(?:wd:|https?://www\.wikidata\.org/(?:entity|wiki)/)?[Qq][1-9]\d*")
JOINERS = "\u200c\u200d"  # mean something within words of many scripts (می‌خواهم); other signs of no width do not


@dataclass(slots=True)
class Node:
    """A node of the graph, entity or ancestor."""

    node: str  # IRI
    scientific_name: str | None = None
    rank: str | None = None
    sitelinks: int = 0
    names: dict[tuple[str, str, str], None] = field(default_factory=dict)  # (kind, text, language), in order
    descriptions: dict[str, str] = field(default_factory=dict)  # by language
    identifiers: dict[str, str] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)  # names of files (P18)
    _vernacular: dict[tuple[str, ...], str | None] = field(default_factory=dict, repr=False)  # said once, asked often
    _ancestor: dict[str, str | None] | None = field(default=None, repr=False)

    @property
    def entity_id(self) -> str:
        """The node's IRI as a CURIE."""
        return curie(self.node)

    @property
    def taxon_id(self) -> str | None:
        """The NCBI taxon, as ncbi:30195."""
        number = self.identifiers.get("ncbi")
        return f"ncbi:{number}" if number else None

    def vernacular(self, languages: Sequence[str]) -> str | None:
        """The preferred common name by the module's rule, or None. The node is read whole by then."""
        key = tuple(languages)
        if key not in self._vernacular:
            self._vernacular[key] = self._choose_vernacular(key)
        return self._vernacular[key]

    def _choose_vernacular(self, languages: tuple[str, ...]) -> str | None:
        for language in (*languages, ANY_LANGUAGE):
            for kind in ("label", "vernacular"):
                texts = [text for said, text, spoken in self.names if said == kind and spoken == language]
                texts = [text for text in texts if text != self.scientific_name]
                if texts and kind == "label":
                    return texts[0]
                if texts:
                    stated = Counter(text.casefold() for text in texts)
                    return min(
                        texts,
                        key=lambda text: (-stated[text.casefold()], len(text), -sum(map(str.islower, text)), text),
                    )
        return None

    def description(self, languages: Sequence[str]) -> str | None:
        """The description in the first language that has one."""
        return next((self.descriptions[key] for key in (*languages, ANY_LANGUAGE) if key in self.descriptions), None)

    def as_ancestor(self, languages: Sequence[str]) -> dict[str, str | None]:
        """A row of the column `ancestors`, one for all entities below."""
        if self._ancestor is None:
            self._ancestor = {
                "entityID": self.entity_id,
                "taxonID": self.taxon_id,
                "scientificName": self.scientific_name,
                "vernacularName": self.vernacular(languages),
                "taxonRank": self.rank,
            }
        return self._ancestor

    def identifier_rows(self) -> list[dict[str, Any]]:
        """The identifiers as rows of the column `identifiers`, all as text."""
        return [{"scheme": scheme, "value": value} for scheme, value in sorted(self.identifiers.items())]

    def name_rows(self) -> list[dict[str, str]]:
        """All names as rows of `tables.NAME`, the scientific one first."""
        scientific = [("scientific", self.scientific_name, "")] if self.scientific_name else []
        others = sorted(
            (name for name in self.names if name[1] != self.scientific_name),
            key=lambda name: (name[1], name[0], name[2]),
        )
        return [{"text": text, "language": language, "kind": kind} for kind, text, language in (*scientific, *others)]


def read_nodes(endpoint: Endpoint, items: Iterable[str], wanted: Settings) -> dict[str, Node]:
    """Everything about the nodes named, by IRI."""
    items = sorted(items)
    nodes = {item: Node(item) for item in items}
    size = wanted["page_size"]
    ranks: dict[str, list[Node]] = defaultdict(list)
    for row in endpoint.pages(items, size, _facts_query):
        node = nodes[row["node"].value]
        if "name" in row and not node.scientific_name:  # as people write it: without author and subgenus
            node.scientific_name = plain_text(names.parse(row["name"].value).canonical)
        node.sitelinks = max(node.sitelinks, number_in(row, "links"))
        if "rank" in row:
            ranks[row["rank"].value].append(node)
    for rank, label in _rank_labels(endpoint, sorted(ranks), size).items():
        for node in ranks[rank]:
            node.rank = min(node.rank or label, label)
    common_names = read_common_names(endpoint, items, size)
    texts = endpoint.pages([*items, *common_names], size, lambda values: _texts_query(values, wanted["languages"]))
    named = []
    for row in Progress(texts, desc="names and identifiers", unit="rows", disable=len(items) <= size):
        item, said = row["node"].value, (row["kind"].value, row["text"].value, row["text"].language)
        if item in common_names:
            named.append((common_names[item], said))
        else:
            _add_text(nodes[item], *said)
    for item, said in named:  # after what the taxon's own item says
        if said[0] in ("label", "alias", "description", "image"):
            _add_text(nodes[item], *said)
    return nodes


def read_common_names(endpoint: Endpoint, items: Sequence[str], page_size: int) -> dict[str, str]:
    """Items of common names that name one of the nodes and no other taxon ("robin" names several), with the node."""
    pattern = names_a_taxon("?common", "?node")
    found = {
        row["common"].value
        for row in endpoint.pages(
            items,
            page_size,
            lambda values: (
                f"SELECT DISTINCT ?common WHERE {{ VALUES ?node {{ {values} }} {pattern} }} ORDER BY ?common"
            ),
        )
    }
    named: dict[str, list[str]] = defaultdict(list)
    for row in endpoint.pages(
        sorted(found - set(items)),
        page_size,
        lambda values: (
            f"SELECT DISTINCT ?common ?node WHERE {{ VALUES ?common {{ {values} }} {pattern} }} ORDER BY ?common ?node"
        ),
    ):
        named[row["common"].value].append(row["node"].value)
    return {common: taxa[0] for common, taxa in named.items() if len(taxa) == 1}


def _facts_query(values: str) -> str:
    return (
        f"SELECT DISTINCT ?node ?name ?rank ?links WHERE {{ VALUES ?node {{ {values} }} "
        "OPTIONAL { ?node wdt:P225 ?name } OPTIONAL { ?node wdt:P105 ?rank } "
        "OPTIONAL { ?node wikibase:sitelinks|(^wdt:P13176/wikibase:sitelinks) ?links } } "
        "ORDER BY ?node ?name ?rank ?links"
    )


def _rank_labels(endpoint: Endpoint, ranks: list[str], size: int) -> dict[str, str]:
    rows = endpoint.pages(
        ranks,
        size,
        lambda values: (
            f"SELECT ?node ?label WHERE {{ VALUES ?node {{ {values} }} ?node rdfs:label ?label "
            'FILTER(LANG(?label) = "en") } ORDER BY ?node ?label'
        ),
    )
    return {row["node"].value: label for row in rows if (label := plain_text(row["label"].value))}


def _texts_query(values: str, languages: Sequence[str]) -> str:
    spoken = ", ".join(literal(language) for language in (*languages, ANY_LANGUAGE))
    own = {
        "label": "?node rdfs:label ?text",
        "vernacular": "?node wdt:P1843 ?text",
        "alias": "?node skos:altLabel ?text",
        "description": "?node schema:description ?text",
        "image": "?node wdt:P18 ?file BIND(STR(?file) AS ?text)",
        "synonym": "?node wdt:P1420 ?other . ?other wdt:P225 ?text",
        **{scheme: f"?node wdt:{key} ?text" for key, scheme in IDENTIFIERS.items()},
    }
    said = " UNION ".join(f'{{ {pattern} BIND("{kind}" AS ?kind) }}' for kind, pattern in own.items())
    return (
        f"SELECT DISTINCT ?node ?kind ?text WHERE {{ VALUES ?node {{ {values} }} {said} "
        f'FILTER(LANG(?text) = "" || LANG(?text) IN ({spoken})) }} ORDER BY ?node ?kind ?text'
    )


def _add_text(node: Node, kind: str, text: str, language: str) -> None:
    cleaned = plain_text(text)
    if not cleaned:
        return
    if kind in IDENTIFIERS.values():
        node.identifiers.setdefault(kind, cleaned)
    elif kind == "image":
        node.images.append(unquote(cleaned.rsplit("/", 1)[-1]).replace("_", " "))
    elif kind == "description":
        node.descriptions.setdefault(language, cleaned)
    elif kind == "synonym":  # as people write it, like the scientific name
        node.names[(kind, names.parse(cleaned).canonical, language)] = None
    else:
        node.names[(kind, cleaned, language)] = None


def one_line(text: str) -> str:
    """A text on one line, composed (NFC), without signs that nobody sees."""
    line = " ".join(text.split())
    if line.isascii() and line.isprintable():
        return line
    kept = (sign for sign in line if sign.isprintable() or sign in JOINERS)
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).strip(JOINERS).split())


def plain_text(text: str | None) -> str | None:
    """A name or description on one line; None where nothing or only an identifier is left."""
    line = one_line(text or "")
    if "&" in line or (not line.isascii() and is_bad(line)):  # entities and mojibake; nearly all names have neither
        line = clean(line) or ""
    return None if not line or ITEM.fullmatch(line) else line


def number_in(row: Row, variable: str) -> int:
    """A count of an answer; 0 where it is unbound, or no whole number."""
    value = row[variable].value if variable in row else ""
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else 0
