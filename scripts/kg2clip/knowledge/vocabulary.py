"""Words of Wikidata's data model that the export uses: properties, classes, and how an IRI is written short."""

from __future__ import annotations

WIKIDATA = "http://www.wikidata.org/entity/"
NCBI = "http://purl.obolibrary.org/obo/NCBITaxon_"
WORDNET = "http://wordnet-rdf.princeton.edu/id/"
CURIES = {"wd": WIKIDATA, "ncbi": NCBI, "wn": WORDNET}

IDENTIFIERS = {"P685": "ncbi", "P846": "gbif", "P3151": "inaturalist", "P8814": "wordnet31"}

# What an entity may be besides a living species: by the classes that it is an instance of (P31, and P279 upwards).
SPECIAL_KINDS = {
    "extinct": {"Q23038290", "Q98961713", "Q47487597"},  # fossil taxon, extinct taxon, monotypic fossil taxon
    "hybrid": {"Q42621"},
    "individual": {"Q26401003", "Q795052"},  # individual animal, individual
    "cultivar": {"Q4886", "Q4150646"},  # cultivar, cultivar group
    "human": {"Q5"},
    "mythical": {"Q24334299", "Q115537581"},  # mythical animal, imaginary character
}
EXTINCT_STATUS = "Q237350"  # P141, IUCN's EX
HUMAN_TAXON = "Q15978631"  # Homo sapiens: a taxon, so no instance of human

# Domains whose members nobody sees without a microscope, and viruses.
INVISIBLE = frozenset({"Bacteria", "Archaea", "Viruses", "Prokaryota", "Monera"})


def names_a_taxon(common: str, taxon: str) -> str:
    """A graph pattern: the item in one variable is a common name of the taxon in the other.

    "Dog" is an item of its own and no taxon. It says of which taxon it is the name: P13176 (taxon known by this common
    name), on older items the qualifier P642 (of) of P31 = Q55983715 (organisms known by a particular common name).
    """
    prop = "http://www.wikidata.org/prop"
    return (
        f"{{ {common} wdt:P13176 {taxon} }} UNION {{ {common} <{prop}/P31> ?statement . "
        f"?statement <{prop}/statement/P31> wd:Q55983715 ; <{prop}/qualifier/P642> {taxon} }}"
    )


def curie(node: str) -> str:
    """An IRI in its short form: wd:Q140, ncbi:9689, wn:02129165-n; other IRIs stay as they are."""
    for prefix, start in CURIES.items():
        if node.startswith(start):
            return f"{prefix}:{node.removeprefix(start)}"
    return node


def expand(short: str) -> str:
    """A CURIE as the IRI that it stands for."""
    prefix, _, rest = short.partition(":")
    return CURIES[prefix] + rest if prefix in CURIES else short
