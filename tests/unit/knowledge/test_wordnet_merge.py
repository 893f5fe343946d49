"""WordNet's living things: its file format, what counts as living, and which synset is which entity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.knowledge.wordnet_merge import living_things, match, merged, own_entities
from kg2clip.wordnet import WordNet, read_wordnet

DEBIAN = Path("/usr/share/wordnet")
LICENCE = "  1 WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved.  \n"
# id, file, words, hypernyms, gloss
SYNSETS = [
    ("00000010", 3, ["living_thing"], [], "a living entity"),
    ("00000020", 3, ["animal", "beast"], ["@ 00000010"], "a living organism"),
    ("00000030", 5, ["bird"], ["@ 00000020"], 'a vertebrate with feathers; "birds fly"'),
    ("00000040", 5, ["robin", "Turdus_migratorius"], ["@ 00000030"], "a large American thrush"),
    ("00000050", 5, ["robin", "Erithacus_rubecula"], ["@ 00000030"], "a small Old World songbird"),
    ("00000060", 5, ["kiwi", "Apteryx"], ["@ 00000030"], "a nocturnal flightless bird"),
    ("00000070", 20, ["kiwi", "Actinidia_chinensis"], ["@ 00000090"], "a climbing vine"),
    ("00000080", 5, ["accentor", "Prunella"], ["@ 00000030"], "a small sparrow-like songbird"),
    ("00000090", 3, ["plant", "flora"], ["@ 00000010"], "a living organism without locomotion"),
    ("00000100", 5, ["racer"], ["@ 00000020"], "a horse"),
    ("00000110", 5, ["Man_o'_War"], ["@i 00000100"], "a famous horse"),
    ("00000120", 5, ["microorganism"], ["@ 00000010"], "too small to see"),
    ("00000130", 5, ["amoeba"], ["@ 00000120"], "one of these"),
    ("00000140", 18, ["person"], ["@ 00000010"], "a human being"),
    ("00000150", 5, ["wren"], ["@ 00000030"], "any of several small active songbirds"),
    ("00000160", 20, ["wren_flower"], ["@ 00000090"], "none that a graph knows"),
]


def line(number: str, file: int, words: list[str], pointers: list[str], gloss: str) -> str:
    said = " ".join(f"{word} 0" for word in words)
    ups = " ".join(f"{pointer} n 0000" for pointer in pointers)
    return f"{number} {file:02d} n {len(words):02x} {said} {len(pointers):03d} {ups} | {gloss}  \n"


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    (tmp_path / "dict").mkdir()
    (tmp_path / "dict" / "data.noun").write_text(LICENCE + "".join(line(*synset) for synset in SYNSETS))
    return read_wordnet(tmp_path)


def entity(identifier: str, scientific: str, common: list[str], kingdom: str, **more: Any) -> dict[str, Any]:
    names = [{"text": scientific, "language": "", "kind": "scientific"}]
    names += [{"text": text, "language": "en", "kind": "vernacular"} for text in common]
    blank = dict.fromkeys(tables.ENTITIES.names)
    given = {
        "entityID": identifier,
        "scientificName": scientific,
        "kingdom": kingdom,
        "names": names,
        "identifiers": [],
    }
    return {**blank, **given, **more}


def test_the_file_is_read_as_its_manual_says(wordnet: WordNet) -> None:
    bird = wordnet.synsets["00000030-n"]
    assert (wordnet.version, bird.words, bird.gloss) == ("3.1", ("bird",), "a vertebrate with feathers")
    assert wordnet.synsets["00000110-n"].words == ("Man o' War",) and wordnet.synsets["00000110-n"].instance
    assert wordnet.above("00000040-n") == ["00000030-n", "00000020-n", "00000010-n"]


def test_neither_people_nor_microbes_nor_single_horses_are_kinds(wordnet: WordNet) -> None:
    words = {word for one in living_things(wordnet).values() for word in one.words}
    assert {"robin", "kiwi", "wren flower"} <= words
    assert not {"person", "amoeba", "Man o' War", "animal"} & words


def test_scientific_names_before_common_ones_and_nothing_ambiguous(wordnet: WordNet) -> None:
    entities = [
        entity("wd:Q1", "Turdus migratorius", ["robin"], "Animalia"),
        entity("wd:Q2", "Erithacus rubecula", ["robin"], "Animalia"),
        entity("wd:Q3", "Actinidia deliciosa", ["kiwi"], "Plantae"),
        entity("wd:Q4", "Prunella", ["self-heal"], "Plantae"),
        entity("wd:Q5", "Prunella", [], "Animalia"),
        entity("wd:Q6", "Troglodytidae", ["wren"], "Animalia"),
        entity("wd:Q7", "Malurus", ["wren flower"], "Animalia"),
    ]
    found = match(wordnet, entities)
    assert found == {"00000040-n": "wd:Q1", "00000050-n": "wd:Q2", "00000150-n": "wd:Q6"}
    assert match(wordnet, entities[::-1]) == found


def test_a_stated_number_counts_in_its_version_only(wordnet: WordNet, tmp_path: Path) -> None:
    stated = entity(
        "wd:Q9", "Nomen novum", [], "Animalia", identifiers=[{"scheme": "wordnet31", "value": "00000060-n"}]
    )
    assert match(wordnet, [stated]) == {"00000060-n": "wd:Q9"}
    assert match(WordNet("3.0", wordnet.synsets), [stated]) == {}


def test_an_entity_takes_over_words_definition_and_number(wordnet: WordNet) -> None:
    robin = entity("wd:Q1", "Turdus migratorius", ["Robin"], "Animalia")
    rows = list(merged([robin], [], wordnet, {"00000040-n": "wd:Q1"}))
    assert [name["text"] for name in rows[0]["names"]] == ["Turdus migratorius", "Robin"]
    assert rows[0]["description"] == "a large American thrush"
    assert rows[0]["identifiers"] == [{"scheme": "wordnet31", "value": "00000040-n"}]


def test_leaves_below_the_roots_become_entities_of_their_own(wordnet: WordNet) -> None:
    rows = list(own_entities(wordnet, ["Aves", "Birds"], {"00000040-n": "wd:Q1"}))
    assert [row["vernacularName"] for row in rows] == ["robin", "kiwi", "accentor", "wren"]
    robin = rows[0]
    assert (robin["entityID"], robin["naturalType"], robin["kingdom"]) == ("wn:00000050-n", "bird", "Metazoa")
    assert robin["higherClassification"] == "animal|bird"
    assert [name["kind"] for name in robin["names"]] == ["label", "alias"]
    tables.as_table(rows, tables.ENTITIES)
    assert list(own_entities(wordnet, ["Bombus"], {})) == [], "a run on bumblebees gets no birds"


@pytest.mark.parametrize("content", [None, "no WordNet at all\n", LICENCE + "garbage\n"])
def test_a_folder_that_is_no_wordnet(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "data.noun").write_text(content)
    with pytest.raises(UserError, match=r"knowledge\.wordnet"):
        read_wordnet(tmp_path)


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's wordnet-base is not installed")
def test_debians_wordnet() -> None:
    """82,115 synsets, as the paper's release counts them; it finds 8,861 living ones, inner nodes included."""
    wordnet = read_wordnet(DEBIAN)
    assert (wordnet.version, len(wordnet.synsets)) == ("3.0", 82_115)
    living = living_things(wordnet)
    assert abs(len(living) - 8_861) < 50
    assert "02084071-n" in living and "dog" in living["02084071-n"].words
    assert [wordnet.synsets[one].words[0] for one in wordnet.above("02084071-n")][:2] == ["domestic animal", "canine"]
