"""The mix of texts: exact weights on examples worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kg2clip.dataset.mix import Mixer, entity_texts, site_texts, taxonomic
from kg2clip.errors import UserError

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


def query(text: str) -> dict[str, Any]:
    return {"text": text}


def weights(rows: list[dict[str, Any]]) -> dict[str, float]:
    assert math.isclose(math.fsum(row["weight"] for row in rows), 1, abs_tol=1e-12)
    return {row["text"]: row["weight"] for row in rows}


def test_exact_weights_where_every_kind_has_a_text() -> None:
    rows = Mixer(0.5, WEIGHTS).mix([candidate(altText="a bee on clover")], [BUMBLEBEE], [query("bumblebee")])
    assert weights(rows) == pytest.approx(
        {
            "a bee on clover": 0.5,
            "bumblebee": 0.15,
            "Bombus terrestris": 0.1,
            "buff-tailed bumblebee": 0.05,  # named twice, but one text of the kind
            "large earth bumblebee": 0.05,
            "Apis terrestris": 0.025,
            "Bombus terrestris, buff-tailed bumblebee": 0.05,
            "Animalia Apidae Bombus terrestris": 0.025,
            "bumblebees": 0.015,
            "species of insect": 0.025,
            "black Bombus terrestris": 0.01,
        }
    )
    kinds = {row["text"]: (row["kind"], row["origin"]) for row in rows}
    assert kinds["a bee on clover"] == ("alt-text", "altText") and kinds["black Bombus terrestris"] == (
        "attribute",
        "P462",
    )


def test_missing_kinds_leave_their_weight_in_proportion() -> None:
    bare = entity(entityID="x", scientificName="Bombus")
    rows = Mixer(0.5, WEIGHTS).mix([candidate()], [bare], [query("bee"), query("bees")])
    assert weights(rows) == pytest.approx({"bee": 0.3, "bees": 0.3, "Bombus": 0.4})


def test_equal_texts_are_one_and_their_weights_added() -> None:
    bare = entity(entityID="x", scientificName="Bombus")
    rows = Mixer(0.5, {"query": 0.6, "scientific": 0.4}).mix(
        [candidate(altText="Bombus")], [bare], [query("Bombus"), query("bee")]
    )
    assert weights(rows) == pytest.approx({"Bombus": 0.5 + 0.15 + 0.2, "bee": 0.15})
    assert [row["kind"] for row in rows] == ["alt-text", "query"]


def test_all_usable_alt_texts_of_all_copies_share_the_web_share() -> None:
    copies = [candidate(altText="one"), candidate(altText="DSC_0042.JPG", title="unused"), candidate(altText="two")]
    mixer = Mixer(0.4, {"scientific": 1})
    assert weights(mixer.mix(copies, [entity(scientificName="Apis")], [])) == pytest.approx(
        {"one": 0.2, "two": 0.2, "Apis": 0.6}
    )
    assert mixer.dropped == {"file-name": 1}


def test_fallback_is_description_then_title_and_says_so() -> None:
    mixer = Mixer(0.5, {"scientific": 1})
    described = mixer.mix(
        [candidate(altText="image", description="a bee", title="t")], [entity(scientificName="Apis")], []
    )
    titled = mixer.mix([candidate(description="", title="File:My_bee.jpg")], [entity(scientificName="Apis")], [])
    assert [(row["text"], row["origin"]) for row in described] == [("Apis", "graph"), ("a bee", "description")]
    assert [(row["text"], row["origin"]) for row in titled] == [("Apis", "graph"), ("My bee", "title")]


def test_without_graph_texts_the_web_has_it_all_and_the_other_way_round() -> None:
    mixer = Mixer(0.5, {"query": 1})
    assert weights(mixer.mix([candidate(altText="bee")], [BUMBLEBEE], [])) == {"bee": 1}
    assert weights(mixer.mix([candidate()], [BUMBLEBEE], [query("q")])) == {"q": 1}
    assert weights(Mixer(1.0, {"query": 1}).mix([candidate()], [], [query("q")])) == {"q": 1}


def test_shares_of_0_and_1() -> None:
    copies, queries = [candidate(altText="bee")], [query("q")]
    assert weights(Mixer(0.0, {"query": 1}).mix(copies, [], queries)) == {"q": 1}
    assert weights(Mixer(1.0, {"query": 1}).mix(copies, [], queries)) == {"bee": 1}


def test_no_text_at_all_is_told() -> None:
    with pytest.raises(UserError, match="has no text"):
        Mixer(0.5, {"type": 1}).mix([candidate(altText="IMG_1")], [entity(scientificName="Apis")], [query("Apis")])


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


def test_site_texts_need_many_pictures_and_many_entities() -> None:
    def pictures(count: int, entities: int) -> list[Any]:
        return [([candidate(altText="Bees of the World")], [f"e{number % entities}"]) for number in range(count)]

    assert site_texts(pictures(21, 4)) == {"Bees of the World"}
    assert site_texts(pictures(20, 4)) == site_texts(pictures(500, 3)) == frozenset()
    mixer = Mixer(0.5, {"query": 1}, site_texts(pictures(21, 4)))
    assert weights(mixer.mix([candidate(altText="Bees of the World")], [], [query("q")])) == {"q": 1}
    assert mixer.dropped == {"repeated": 1}


def test_languages_of_the_web_are_told_and_can_be_chosen() -> None:
    german, english = "Hummel auf einer Blüte im Garten", "a bumblebee on a flower in the garden"
    copies = [candidate(description=german), candidate(description=english), candidate(description="Bombus terrestris")]
    rows = Mixer(0.5, {}).mix(copies, [BUMBLEBEE], [])
    assert {row["text"]: row["language"] for row in rows} == {german: "de", english: "en", "Bombus terrestris": None}
    mixer = Mixer(0.5, {}, languages=frozenset({"en"}))
    assert weights(mixer.mix(copies, [BUMBLEBEE], [])) == {english: 0.5, "Bombus terrestris": 0.5}
    assert mixer.dropped == {"language": 1}


def test_captions_come_before_descriptions_and_tags_come_last() -> None:
    said = {"caption": "a bee", "description": "taken in May", "tags": ["bee", "clover"]}
    mixer = Mixer(0.5, {})
    (row,) = mixer.mix([candidate(**said)], [], [])
    assert (row["text"], row["origin"]) == ("a bee", "caption")
    (row,) = mixer.mix([candidate(tags=["bee", "clover"], title="IMG_0001")], [], [])
    assert (row["text"], row["origin"]) == ("bee, clover", "tags")
