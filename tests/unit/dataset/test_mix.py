"""The mix of texts: exact weights on examples worked out by hand."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from kg2clip import settings
from kg2clip.dataset.mix import Described, Mixer, entity_texts, taxonomic
from kg2clip.dataset.wording import WORDINGS, worded
from kg2clip.errors import UserError
from kg2clip.knowledge.attributes import PROPERTIES
from kg2clip.knowledge.describe import CATEGORIES
from kg2clip.settings import ROOT

WEIGHTS = {
    "query": 0.3, "scientific": 0.2, "vernacular": 0.2, "synonym": 0.05, "scientific-vernacular": 0.1, "taxonomic": 0.05,
    "type": 0.03, "description": 0.05, "attribute": 0.02,
}  # fmt: skip


def entity(**said: Any) -> dict[str, Any]:
    columns = (
        "entityID", "scientificName", "vernacularName", "names", "description", "naturalType", "ancestors", "attributes",
    )  # fmt: skip
    return {**dict.fromkeys(columns), **said}


BUMBLEBEE = entity(
    entityID="wd:Q25334",
    scientificName="Bombus terrestris",
    vernacularName="buff-tailed bumblebee",
    names=[
        {"text": "Bombus terrestris", "language": "en", "kind": "label"},
        {"text": "buff-tailed bumblebee", "language": "en", "kind": "vernacular"},
        {"text": "large earth bumblebee", "language": "en", "kind": "vernacular"},
        {"text": "Apis terrestris", "language": None, "kind": "synonym"},
        {"text": "Q25334", "language": "en", "kind": "alias"},
    ],
    description="species of insect",
    naturalType="bumblebees",
    ancestors=[
        {"scientificName": name, "taxonRank": rank}
        for name, rank in (("Bombus", "genus"), ("Bombini", "tribe"), ("Apidae", "family"), ("Animalia", "kingdom"))
    ],
    attributes=[{"category": "colour", "value": "black", "source": "P462"}],
)


def candidate(**said: Any) -> dict[str, Any]:
    return {"candidateID": "c", "altText": None, "description": None, "title": None, **said}


def query(text: str, **said: Any) -> dict[str, Any]:
    return {"text": text, "name": text, "attribute": None, "category": None, "disambiguation": None, **said}


def mixed(
    mixer: Mixer, copies: list[dict[str, Any]], entities: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    described = [Described.of(one) for one in entities]
    return mixer.mix(copies, [one.names for one in described], mixer.graph(described, queries))


def weights(rows: list[dict[str, Any]]) -> dict[str, float]:
    assert math.isclose(math.fsum(row["weight"] for row in rows), 1, abs_tol=1e-12)
    return {row["text"]: row["weight"] for row in rows}


def test_exact_weights_where_every_kind_has_a_text() -> None:
    rows = mixed(Mixer(0.5, WEIGHTS), [candidate(altText="a bee on clover")], [BUMBLEBEE], [query("bumblebee")])
    assert weights(rows) == pytest.approx(
        {
            "a bee on clover": 0.5,
            "bumblebee": 0.15,
            "Bombus terrestris": 0.1,
            "buff-tailed bumblebee": 0.05,  # named twice, but one text of the kind
            "large earth bumblebee": 0.05,
            "Apis terrestris": 0.025,
            "Bombus terrestris with common name buff-tailed bumblebee": 0.05,
            "Animalia Apidae Bombus terrestris": 0.025,
            "bumblebees": 0.015,
            "species of insect": 0.025,
            "black buff-tailed bumblebee": 0.01,
        }
    )
    kinds = {row["text"]: (row["kind"], row["origin"]) for row in rows}
    assert kinds["a bee on clover"] == ("alt-text", "altText")
    assert kinds["black buff-tailed bumblebee"] == ("attribute", "P462")


def test_missing_kinds_leave_their_weight_in_proportion() -> None:
    bare = entity(entityID="x", scientificName="Bombus")
    rows = mixed(Mixer(0.5, WEIGHTS), [candidate()], [bare], [query("bee"), query("bees")])
    assert weights(rows) == pytest.approx({"bee": 0.3, "bees": 0.3, "Bombus": 0.4})


def test_equal_texts_are_one_and_their_weights_added() -> None:
    bare = entity(entityID="x", scientificName="Bombus")
    rows = mixed(
        Mixer(0.5, {"query": 0.6, "scientific": 0.4}),
        [candidate(altText="Bombus")],
        [bare],
        [query("Bombus"), query("bee")],
    )
    assert weights(rows) == pytest.approx({"Bombus": 0.5 + 0.15 + 0.2, "bee": 0.15})
    assert [row["kind"] for row in rows] == ["alt-text", "query"]


def test_all_usable_alt_texts_of_all_copies_share_the_web_share() -> None:
    copies = [candidate(altText="one"), candidate(altText="DSC_0042.JPG", title="unused"), candidate(altText="two")]
    mixer = Mixer(0.4, {"scientific": 1})
    assert weights(mixed(mixer, copies, [entity(scientificName="Apis")], [])) == pytest.approx(
        {"one": 0.2, "two": 0.2, "Apis": 0.6}
    )
    assert mixer.dropped == {"file-name": 1}


def test_fallback_is_description_then_title_and_says_so() -> None:
    mixer = Mixer(0.5, {"scientific": 1})
    described = mixed(
        mixer, [candidate(altText="image", description="a bee", title="t")], [entity(scientificName="Apis")], []
    )
    titled = mixed(mixer, [candidate(description="", title="File:My_bee.jpg")], [entity(scientificName="Apis")], [])
    assert [(row["text"], row["origin"]) for row in described] == [("Apis", "graph"), ("a bee", "description")]
    assert [(row["text"], row["origin"]) for row in titled] == [("Apis", "graph"), ("My bee", "title")]


def test_without_graph_texts_the_web_has_it_all_and_the_other_way_round() -> None:
    mixer = Mixer(0.5, {"query": 1})
    assert weights(mixed(mixer, [candidate(altText="bee")], [BUMBLEBEE], [])) == {"bee": 1}
    assert weights(mixed(mixer, [candidate()], [BUMBLEBEE], [query("q")])) == {"q": 1}
    assert weights(mixed(Mixer(1.0, {"query": 1}), [candidate()], [], [query("q")])) == {"q": 1}


def test_shares_of_0_and_1() -> None:
    copies, queries = [candidate(altText="bee")], [query("q")]
    assert weights(mixed(Mixer(0.0, {"query": 1}), copies, [], queries)) == {"q": 1}
    assert weights(mixed(Mixer(1.0, {"query": 1}), copies, [], queries)) == {"bee": 1}


def test_no_text_at_all_is_told() -> None:
    with pytest.raises(UserError, match="has no text"):
        mixed(Mixer(0.5, {"type": 1}), [candidate(altText="IMG_1")], [entity(scientificName="Apis")], [query("Apis")])


def test_numbers_of_items_are_no_texts() -> None:
    texts = [
        text.text
        for text in entity_texts(entity(scientificName="Q123", vernacularName="Q5", description="kind of Q77"))
    ]
    assert texts == []
    assert not any("Q25334" in text.text for text in entity_texts(BUMBLEBEE))


@pytest.mark.parametrize(
    ("name", "ancestors", "expected"),
    [
        (
            "Pica hudsonia",
            [("Pica", "genus"), ("Corvidae", "family"), ("Aves", "class")],
            "Aves Corvidae Pica hudsonia",
        ),
        ("Carassius auratus", [("Carassius", "genus"), ("Animalia", "kingdom")], "Animalia Carassius auratus"),
        (
            "Apis mellifera carnica",
            [("Apis mellifera", "species"), ("Apis", "genus"), ("Apidae", "family")],
            "Apidae Apis mellifera carnica",
        ),
        ("Apis", [], ""),
        ("Apis", None, ""),
    ],
)
def test_taxonomic_tolerates_holes(name: str, ancestors: list[tuple[str, str]] | None, expected: str) -> None:
    rows = None if ancestors is None else [{"scientificName": one, "taxonRank": rank} for one, rank in ancestors]
    assert taxonomic(entity(scientificName=name, ancestors=rows)) == expected


def test_texts_of_sites_are_not_used() -> None:
    mixer = Mixer(0.5, {"query": 1}, frozenset({"Bees of the World"}))
    assert weights(mixed(mixer, [candidate(altText="Bees of the World")], [], [query("q")])) == {"q": 1}
    assert mixer.dropped == {"repeated": 1}


def test_name_stands_for_names_of_all_kinds_alike() -> None:
    rows = mixed(Mixer(0.0, {"query": 0.5, "name": 0.5}), [candidate()], [BUMBLEBEE], [query("bee")])
    names = ["Bombus terrestris", "buff-tailed bumblebee", "large earth bumblebee", "Apis terrestris"]
    assert weights(rows) == pytest.approx({"bee": 0.5, **dict.fromkeys(names, 0.125)})
    assert {row["text"]: row["kind"] for row in rows}["Apis terrestris"] == "synonym"


def test_an_attribute_of_a_query_stands_where_a_sentence_has_it() -> None:
    asked = query("nectar robin thrushes", name="robin", attribute="nectar", category="food", disambiguation="thrushes")
    assert weights(mixed(Mixer(0.0, {"query": 1}), [candidate()], [], [asked])) == {
        "robin thrushes feeding on nectar": 1
    }


@pytest.mark.parametrize(
    ("category", "value", "expected"),
    [
        ("colour", "black", "black bee"),
        ("colour", "yellow flowers", "bee with yellow flowers"),
        ("flower colour", "yellow", "bee with yellow flowers"),
        ("pattern", "dark spots", "bee with dark spots"),
        ("habitat", "coral reefs", "bee in coral reefs"),
        ("food", "nectar", "bee feeding on nectar"),
        ("food", "feeding on pollen", "bee feeding on pollen"),
        ("food", "larvae feeding on leaves", "bee larvae feeding on leaves"),
        ("behaviour", "nocturnal", "nocturnal bee"),
        ("behaviour", "hovering over {flowers}", "bee hovering over {flowers}"),
        ("sex and life stage", "larva", "larva of bee"),
        ("cap", "convex", "bee with convex cap"),
        ("growth form", "evergreen tree", "bee, evergreen tree"),
        ("a category of one's own", "rare", "bee, rare"),
        (None, "rare", "bee, rare"),
    ],
)
def test_each_category_is_worded_as_a_caption_has_it(category: str | None, value: str, expected: str) -> None:
    assert worded(category, value, "bee") == expected


def test_every_category_that_the_export_knows_has_a_wording() -> None:
    code = (ROOT / "scripts" / "kg2clip" / "knowledge" / "attributes.py").read_text(encoding="utf-8")
    lexicon = set(re.findall(r'yield "([a-z ]+)",', code))
    assert {"growth form", "food", "sex and life stage"} <= lexicon
    said = {*PROPERTIES.values(), *CATEGORIES, *lexicon}
    aside = {"characteristic", "locomotion", "diel cycle", "growth form", "other"}
    assert said - set(WORDINGS) == aside, "which can't be said of a name in one way"


@pytest.mark.parametrize("name", ["kg2clip", "entitynet", "bioclip"])
def test_ready_made_mixes_are_valid_and_add_up(name: str) -> None:
    given = {"project": "p", "knowledge": {"roots": ["Apidae"]}, "dataset": {"texts": name}}
    dataset = settings.complete(given, "test")["dataset"]
    assert math.isclose(math.fsum(dataset["text_weights"].values()), 1)
    rows = mixed(
        Mixer(dataset["alt_text_share"], dataset["text_weights"]),
        [candidate(altText="a bee")],
        [BUMBLEBEE],
        [query("bee")],
    )
    weights(rows)
    if name == "bioclip":
        kinds = {row["kind"] for row in rows}
        assert kinds == {"vernacular", "scientific", "taxonomic", "scientific-vernacular", "taxonomic-vernacular"}
        assert "Animalia Apidae Bombus terrestris with common name buff-tailed bumblebee" in weights(rows)
    again = settings.complete(settings.complete(given | {"dataset": {"texts": name, "alt_text_share": 0.9}}, "t"), "t")
    assert again["dataset"]["alt_text_share"] == 0.9 and again["dataset"]["text_weights"] == dataset["text_weights"]


def test_a_mix_that_is_none_is_told() -> None:
    for name in ("bioclop", "../config", 3):
        given = {"project": "p", "knowledge": {"roots": ["Apidae"]}, "dataset": {"texts": name}}
        with pytest.raises(UserError, match=r"dataset\.texts"):
            settings.complete(given, "test")


def test_languages_of_the_web_are_told_and_can_be_chosen() -> None:
    german, english = "Hummel auf einer Blüte im Garten", "a bumblebee on a flower in the garden"
    copies = [candidate(description=german), candidate(description=english), candidate(description="Bombus terrestris")]
    rows = mixed(Mixer(0.5, {}), copies, [BUMBLEBEE], [])
    assert {row["text"]: row["language"] for row in rows} == {german: "de", english: "en", "Bombus terrestris": None}
    mixer = Mixer(0.5, {}, languages=frozenset({"en"}))
    assert weights(mixed(mixer, copies, [BUMBLEBEE], [])) == {english: 0.5, "Bombus terrestris": 0.5}
    assert mixer.dropped == {"language": 1}


def test_captions_come_before_descriptions_and_tags_come_last() -> None:
    said = {"caption": "a bee", "description": "taken in May", "tags": ["bee", "clover"]}
    mixer = Mixer(0.5, {})
    (row,) = mixed(mixer, [candidate(**said)], [], [])
    assert (row["text"], row["origin"]) == ("a bee", "caption")
    (row,) = mixed(mixer, [candidate(tags=["bee", "clover"], title="IMG_0001")], [], [])
    assert (row["text"], row["origin"]) == ("bee, clover", "tags")
