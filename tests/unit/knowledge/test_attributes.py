"""Attributes: what descriptions say and what they deny, the user's table, and budgets that never empty a small run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kg2clip import settings
from kg2clip.errors import UserError
from kg2clip.knowledge.attributes import Description, collect, match, merge, read_file


def found(text: str, *names: str) -> set[tuple[str, str]]:
    return {(attribute["category"], attribute["value"]) for attribute in match(Description(text, names))}


# Sentences in the manner of Wikipedia's first paragraphs, with all that they say and a picture may show.
SAID = [
    ("It has white or greenish-yellow flowers.", {("colour", "white flowers"), ("colour", "greenish-yellow flowers")}),
    ("The forewings are pale orange.", {("colour", "pale orange forewings")}),
    ("The flower has 5 red petals each up to 3 cm long.", {("colour", "red petals")}),
    ("The legs are gray with black bands.", {("colour", "grey legs"), ("pattern", "black bands")}),
    ("Leaves are lined with large white spots.", {("pattern", "large white spots")}),
    ("A bird with a long curved bill.", {("shape", "curved bill")}),
    ("It is a dense evergreen shrub with lance-shaped leaves.", {("growth form", "evergreen shrub"), ("shape", "lance-shaped leaves")}),
    ("Its natural habitats are subtropical or tropical moist lowland forests and rivers.", {("habitat", "moist lowland forests"), ("habitat", "rivers")}),
    ("It inhabits coral reefs.", {("habitat", "coral reefs")}),
    ("It is a nocturnal species.", {("behaviour", "nocturnal")}),
    ("It feeds mainly on nectar and small insects.", {("food", "feeding on nectar"), ("food", "feeding on small insects")}),
    ("The larvae feed on grasses.", {("food", "larvae feeding on grasses"), ("sex and life stage", "larva")}),
    ("The wingspan is 20 mm for males and 24 mm for females.", {("sex and life stage", "male"), ("sex and life stage", "female")}),
    ("<p>The <b>dunnock</b> has grey&#160;underparts.</p>", {("colour", "grey underparts")}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SAID, ids=[text for text, _ in SAID])
def test_what_a_description_says_is_found(text: str, expected: set[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It has no black stripes.",
        "The plant is without white flowers.",
        "It lacks a long tail.",
        "Unlike the hooded crow with its grey wings, it sings.",
        "It is similar to the species with yellow legs.",
        "It resembles a nocturnal moth with brown wings.",
        "It is distinguished from its relative by white flowers.",
        "It is known as white flower.",
        "It is threatened by the destruction of forests.",
        "It is found in Black Forest and along the Red River.",
        "Sheep feed on its flowers.",
        "The moth visits plants with yellow flowers.",
        "It is a species of cylindrical bark beetle.",
        "The warbler has white tail patches.",
        "It has black forewing tips.",
        "A cultivar with pale pink flowers is grown.",
        "Other species have red flowers.",
        "Es ist eine Art mit roten orange Rose im Wald.",
        "Une espèce aux fleurs orange et violet.",
        "",
    ],
)
def test_what_is_denied_or_said_of_something_else_is_not(text: str) -> None:
    assert found(text) == set()


def test_words_of_names_do_not_count() -> None:
    assert found("The black wings is a damselfly.", "black wings") == set()
    assert found("The red-legged partridge lives in fields.") == set()
    assert found("A denial ends with its clause: it has no crest, but red legs.") == {("colour", "red legs")}


def attribute(category: str, value: str, source: str = "P462") -> dict[str, str]:
    return {"category": category, "value": value, "source": source}


def test_merging_keeps_the_more_trusted_source_and_the_budgets() -> None:
    graph = [attribute("colour", "red"), attribute("colour", "blue"), attribute("habitat", "forest")]
    lexicon = [
        attribute("colour", "Red", "lexicon"),
        attribute("colour", "green", "lexicon"),
        attribute("shape", "long bill"),
    ]
    assert [row["value"] for row in merge([graph, lexicon], 2, 10)] == ["red", "blue", "forest", "long bill"]
    assert [row["value"] for row in merge([graph, lexicon], 9, 2)] == ["red", "blue"]


def test_a_small_run_keeps_all_that_it_has() -> None:
    assert merge([[attribute("colour", "red")]], 10_000, 92_000) == [attribute("colour", "red")]


def wanted(**changes):
    config = settings.complete({"project": "x", "knowledge": {"roots": ["x"], "attributes": changes}}, "t")
    return config["knowledge"]["attributes"]


ENTITY = {
    "entityID": "wd:Q1",
    "scientificName": "Bombus terrestris",
    "names": [{"text": "Bombus terrestris", "language": "", "kind": "scientific"}],
    "description": "It has a white tail and lives in gardens.",
}


def test_sources_are_the_users_choice() -> None:
    graph, file = [attribute("colour", "black")], {"Bombus terrestris": [attribute("colour", "buff tail", "file")]}
    model = [attribute("behaviour", "foraging", "llm:small")]
    values = [(row["value"], row["source"]) for row in collect(ENTITY, graph, file, wanted(), model)]
    assert values == [
        ("buff tail", "file"),
        ("black", "P462"),
        ("foraging", "llm:small"),
        ("white tail", "lexicon"),
        ("gardens", "lexicon"),
    ]
    assert [row["value"] for row in collect(ENTITY, graph, {}, wanted(sources=["graph"]))] == ["black"]
    assert [row["value"] for row in collect(ENTITY, graph, {}, wanted(sources=[]))] == []


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_users_table_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"traits.{suffix}"
    frame = pd.DataFrame(
        {
            "scientificName": ["Bombus  terrestris", None, "x"],
            "entityID": [None, "wd:Q2", None],
            "category": ["colour", None, "colour"],
            "value": [" buff tail", "12", None],
        }
    )
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    assert read_file(path) == {
        "Bombus terrestris": [attribute("colour", "buff tail", "file")],
        "wd:Q2": [attribute("characteristic", "12", "file")],
    }


def test_no_row_of_a_users_table_is_lost_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "scientificName,category,value\nNull,colour,NA\n,colour,red\nApis,colour,\nApis,,a\u0301b\n", "utf-8"
    )
    found = read_file(path)
    assert found["Null"][0]["value"] == "NA" and found["Apis"][0]["category"] == "characteristic"
    assert "2 rows of" in caplog.text and "name no entity or no value" in caplog.text


def test_a_users_table_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        read_file(tmp_path / "absent.csv")
    (tmp_path / "a.csv").write_text("name,value\nx,y\n")
    with pytest.raises(UserError, match="category, entityID or scientificName"):
        read_file(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match="no CSV or Parquet"):
        read_file(tmp_path / "a.parquet")
