"""Queries: kinds, names and attributes, budgets, subsets, and identities that stay."""

from __future__ import annotations

import pytest
from exports import ancestor, entity, texts

import build_queries
from kg2clip import settings, tables
from kg2clip.errors import UserError

EUKARYOTA = ancestor("Eukaryota")
DUNNOCK = entity(
    "wd:Q1",
    [("Prunella modularis", "scientific"), ("dunnock", "label"), ("Motacilla modularis", "synonym")],
    [ancestor("Prunella", "accentors"), EUKARYOTA],
    [("brown", "colour"), ("grey", "colour"), ("gardens", "habitat")],
    vernacularName="dunnock",
    taxonID="ncbi:670355",
)
ALPINE = entity(
    "wd:Q2", [("Prunella collaris", "scientific")], [ancestor("Prunella", "accentors"), EUKARYOTA], [("Grey", "colour")]
)
SPOON = entity("wd:Q3", [("spoon", "label")], [ancestor("cutlery", "cutlery")], taxonRank=None)


def test_names_and_attributes_of_all_categories_in_turn(build) -> None:
    rows = build([DUNNOCK])
    nouns = ["Prunella modularis", "dunnock", "Motacilla modularis"]
    assert texts(rows, "wd:Q1") == [*nouns, "brown dunnock", "gardens dunnock", "grey dunnock"]
    assert [row["nameKind"] for row in rows[:3]] == ["scientific", "vernacular", "synonym"]
    assert (rows[3]["kind"], rows[3]["attribute"], rows[3]["category"]) == ("attribute-noun", "brown", "colour")


def test_kinds_names_and_budgets(build) -> None:
    assert texts(build([DUNNOCK], kinds=["noun"], names=["scientific"]), "wd:Q1") == ["Prunella modularis"]
    assert texts(build([DUNNOCK], names=["vernacular"], attributes_per_entity=1), "wd:Q1") == [
        "dunnock",
        "brown dunnock",
    ]
    assert texts(build([DUNNOCK], per_entity=1), "wd:Q1") == ["Prunella modularis"]


def test_attributes_of_types_stand_for_the_type_and_not_for_a_species(build) -> None:
    rows = build([DUNNOCK, ALPINE], kinds=["attribute"])
    assert [(row["entityID"], row["text"], row["name"]) for row in rows] == [
        ("a:Prunella", "grey accentors", "accentors"),  # two have it
        ("a:Prunella", "brown accentors", "accentors"),
        ("a:Prunella", "gardens accentors", "accentors"),
    ]
    assert len(build([DUNNOCK, ALPINE], kinds=["attribute"], attributes_per_type=2)) == 2


def test_the_total_gives_each_entity_its_first_query_before_any_its_second(build) -> None:
    assert texts(build([DUNNOCK, ALPINE], total=2), "wd:Q1") == ["Prunella modularis"]
    three = build([DUNNOCK, ALPINE], total=3)
    assert len(three) == 3 and {row["entityID"] for row in three} == {"wd:Q1", "wd:Q2"}
    assert three == build([DUNNOCK, ALPINE], total=3)
    assert build([DUNNOCK, ALPINE], total=1000) == build([DUNNOCK, ALPINE])


def test_fractions_are_seeded_and_nested(build) -> None:
    many = [entity(f"wd:Q{number}", [(f"Genus species{number}", "scientific")], [EUKARYOTA]) for number in range(400)]
    of = {share: {row["queryID"] for row in build(many, fraction=share)} for share in (1, 0.5, 0.25)}
    assert of[0.25] < of[0.5] < of[1]
    assert len(of[1]) == 400 and 160 < len(of[0.5]) < 240 and 65 < len(of[0.25]) < 135
    assert of[0.5] != {row["queryID"] for row in build(many, fraction=0.5, seed=2)}


def test_living_things_only(build) -> None:
    assert {row["entityID"] for row in build([DUNNOCK, SPOON], living_only=True)} == {"wd:Q1"}
    assert {row["entityID"] for row in build([DUNNOCK, SPOON])} == {"wd:Q1", "wd:Q3"}


def test_options_of_sources(build) -> None:
    noun = build([DUNNOCK], excluded_words=["drawing", "dunnock"], or_terms=True)[1]
    assert noun["text"] == "dunnock"
    assert noun["excludedWords"] == ["drawing"], "a word of the query itself is not excluded"
    assert noun["orTerms"] == ["Prunella modularis", "Motacilla modularis"]
    assert build([DUNNOCK])[0]["orTerms"] == []


def test_the_same_text_is_one_query_and_its_id_is_stable(build) -> None:
    twice = entity("wd:Q3", [("Bombus", "scientific"), ("bombus", "alias")], [])
    rows = build([twice], disambiguate=False)
    assert [row["text"] for row in rows] == ["Bombus"]
    assert [row["queryID"] for row in rows] == [
        row["queryID"] for row in build([ALPINE, twice], disambiguate=False) if row["entityID"] == "wd:Q3"
    ]
    everything = build([DUNNOCK, ALPINE, SPOON])
    assert len({row["queryID"] for row in everything}) == len(everything)


def test_authorship_is_no_part_of_a_query(build) -> None:
    rows = build([entity("wd:Q4", [("Clusia flava Jacq., 1760", "scientific")], [])], disambiguate=False)
    assert [row["text"] for row in rows] == ["Clusia flava"]


def test_entities_without_names_or_ancestors_are_no_error(build) -> None:
    bare = {"entityID": "wd:Q5", "names": None, "ancestors": None, "attributes": None}
    assert build([bare]) == []
    assert build([]) == []


def test_names_and_attributes_that_say_nothing_make_no_query(build) -> None:
    names = [(None, "label"), ("", "label"), (" \n", "alias"), ("Q123", "label"), ("q5", "alias"), ("wd:Q7", "alias")]
    attributes = [(None, "colour"), ("", "colour"), ("Q55", "colour"), (" spotted\nwings ", "pattern")]
    odd = entity("wd:Q1", [*names, ("x" * 300, "alias"), ("a  e\u0301", "label"), ("A é", "alias")], [], attributes)
    assert texts(build([odd]), "wd:Q1") == ["a é", "spotted wings a é"]
    typed = {**odd, "naturalType": "birds", "naturalTypeID": "wd:Q9"}
    assert texts(build([typed], kinds=["attribute"]), "wd:Q9") == ["spotted wings birds"]


def test_more_entities_than_one_batch_keep_their_order(build) -> None:
    many = [entity(f"wd:Q{number:05d}", [(f"Genus s{number}", "scientific")], [EUKARYOTA]) for number in range(4_500)]
    found = [row["entityID"] for row in build(many)]
    assert found == [row["entityID"] for row in many]


def test_the_table_has_the_declared_columns(build) -> None:
    tables.as_table(build([DUNNOCK]), tables.QUERIES)


def test_a_table_that_is_missing_or_broken_is_said_in_one_sentence(tmp_path) -> None:
    config = settings.complete({"project": "x", "knowledge": {"roots": ["x"]}}, "test")
    with pytest.raises(UserError, match="is missing. Make it with"):
        build_queries.write_queries(tmp_path / "none.parquet", tmp_path / "q.parquet", config)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match="is no whole table"):
        build_queries.write_queries(tmp_path / "cut.parquet", tmp_path / "q.parquet", config)
    assert not list(tmp_path.glob("*q.parquet*"))
