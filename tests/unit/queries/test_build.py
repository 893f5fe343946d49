"""Queries: each text once, namesakes told apart, identities stable."""

from __future__ import annotations

from kg2clip import settings, tables
from kg2clip.queries.build import build_queries, disambiguation


def entity(identifier: str, names, ancestors, attributes=(), vernacular=None):
    return {
        "entityID": identifier,
        "vernacularName": vernacular,
        "names": [{"text": text, "language": "en", "kind": kind} for text, kind in names],
        "ancestors": [
            {"entityID": f"a:{name}", "scientificName": name, "vernacularName": common} for name, common in ancestors
        ],
        "attributes": [{"category": "colour", "value": value, "source": "P462"} for value in attributes],
    }


BIRD = entity(
    "wd:Q1", [("Prunella", "scientific"), ("dunnock", "label")], [("Prunellidae", "accentors"), ("Eukaryota", None)],
    ["brown", "grey"], "dunnock",
)  # fmt: skip
PLANT = entity("wd:Q2", [("Prunella", "scientific")], [("Lamiaceae", None), ("Eukaryota", None)], ["purple"])


def build(entities, **changes):
    return build_queries(
        entities, settings.complete({"project": "x", "knowledge": {"roots": ["x"]}, "queries": changes}, "t")["queries"]
    )


def texts(rows, identifier):
    return sorted(row["text"] for row in rows if row["entityID"] == identifier)


def test_namesakes_get_a_word_that_tells_them_apart() -> None:
    rows = build([BIRD, PLANT])
    assert texts(rows, "wd:Q1") == ["Prunella accentors", "brown dunnock", "dunnock", "grey dunnock"]
    assert texts(rows, "wd:Q2") == ["Prunella Lamiaceae", "purple Prunella Lamiaceae"]
    tables.as_table(rows, tables.QUERIES)


def test_without_namesakes_no_word_is_added() -> None:
    assert texts(build([BIRD]), "wd:Q1") == ["Prunella", "brown dunnock", "dunnock", "grey dunnock"]


def test_shared_ancestors_do_not_tell_apart() -> None:
    assert disambiguation(BIRD, [BIRD, PLANT]) == "accentors"
    assert disambiguation(BIRD, [BIRD, BIRD]) == "accentors"
    assert disambiguation({**BIRD, "ancestors": []}, [BIRD, PLANT]) is None


def test_kinds_names_and_budget() -> None:
    assert texts(build([BIRD], kinds=["noun"], names=["scientific"]), "wd:Q1") == ["Prunella"]
    assert texts(build([BIRD], attributes_per_entity=1), "wd:Q1") == ["Prunella", "brown dunnock", "dunnock"]


def test_the_same_text_is_one_query_and_its_id_is_stable() -> None:
    twice = entity("wd:Q3", [("Bombus", "scientific"), ("bombus", "alias")], [])
    rows = build([twice])
    assert [row["text"] for row in rows] == ["Bombus"]
    assert [row["queryID"] for row in rows] == [
        row["queryID"] for row in build([PLANT, twice]) if row["entityID"] == "wd:Q3"
    ]
