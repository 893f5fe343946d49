"""The natural type: what a person would call the kind of thing that an entity is ("bumble bees", "sunflowers").

From the graph alone: the nearest ancestor that people have a word for. Not every ancestor that bears a common name in
a database is such a kind, so they are graded by how good a type they make; of equally good ones the nearest wins:

1. taxa of the ranks from genus to class, and the kingdom of fungi: people name groups of this size;
2. other groups (clades, phyla, a `subclass`) with a word of its own: "birds of prey", "seed plants";
3. groups whose word only repeats their scientific name: "teleost fishes" for Teleostei, "chordates";
4. the kingdoms of animals and plants, only where nothing closer exists. What lies above never is a type.

A word that lists ("wasps, ants & bees", "martens and others"), or that names a family by its best-known member ("carrot
family"), is none that a person would say before a picture. A group without an article in any Wikipedia is unknown to
people; where the graph counts no articles at all, this says nothing. Classes of things have no ranks: the nearest with
a word counts, among equally near ones that with most articles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kg2clip.knowledge.nodes import Node

# Ranks of groups that people name, as NCBI and Wikidata write them (with sub-, super-, infra- for the lower ones).
FOLK_RANKS = frozenset(
    f"{prefix}{rank}"
    for rank in ("genus", "tribe", "family", "order")
    for prefix in ("", "sub", "super", "infra", "parv")
) | {"section", "species group", "species complex", "species", "class"}
LAST_RESORT = frozenset({"Metazoa", "Animalia", "Viridiplantae", "Plantae"})
NEVER = frozenset({
    "root", "cellular organisms", "Biota", "Eukaryota", "Eukarya", "Amorphea", "Unikonta", "Obazoa", "Opisthokonta",
    "Holozoa", "Filozoa", "Choanozoa", "Apoikozoa", "Holomycota", "Nucletmycea", "Bikonta", "Diaphoretickes",
    "Archaeplastida", "Eumetazoa", "ParaHoxozoa", "Planulozoa", "Bilateria", "Nephrozoa", "Protostomia",
    "Deuterostomia", "Spiralia", "Lophotrochozoa", "Ecdysozoa",
})  # fmt: skip
FUNGI = "Fungi"
LIST = re.compile(r"[,;/&]|\b(and|or|etc|others?|allies|relatives|incl|including|und|et|y)\b", re.IGNORECASE)
PLACE_IN_A_SYSTEM = re.compile(r"\b(fam\w*|order|class|tribe|genus|clade|phylum|group|taxon)$", re.IGNORECASE)
STEM = 5  # letters that make a word a repetition of the scientific name


def natural_type(ancestors: Sequence[Sequence[Node]], languages: Sequence[str]) -> Node | None:
    """The ancestor that is an entity's natural type; None where no ancestor has a word.

    Args:
        ancestors: by distance, the parents first.
        languages: of the words, the preferred one first.
    """
    articles = any(node.sitelinks for level in ancestors for node in level)
    best: tuple[tuple[int, int, int, str], Node] | None = None
    for distance, level in enumerate(ancestors):
        for node in level:
            if articles and node.scientific_name and not node.sitelinks:
                continue
            if (grade := _grade(node, node.vernacular(languages))) is None:
                continue
            key = (grade, distance, -node.sitelinks, node.node)
            if best is None or key < best[0]:
                best = (key, node)
    return best[1] if best else None


def _grade(node: Node, word: str | None) -> int | None:
    """How good a type a group makes, 1 the best; None where it makes none."""
    name = node.scientific_name
    if not word or name in NEVER or LIST.search(word) or PLACE_IN_A_SYSTEM.search(word):
        return None
    if name is None or node.rank in FOLK_RANKS or name == FUNGI:
        return 1
    if name in LAST_RESORT:
        return 4
    return 3 if _repeats(word, name) else 2


def _repeats(word: str, name: str) -> bool:
    return any(part[:STEM].casefold() == name[:STEM].casefold() for part in word.split())
