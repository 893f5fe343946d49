"""Every line on names and graphs of ../shared/bad-inputs.md, through the real client and a real engine.

LINES says which tests hold a line. Those below export from a graph that has all the oddities at once.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from servers import oxigraph

from kg2clip import settings, tables, web
from kg2clip.errors import UserError
from kg2clip.files import sha256_file
from kg2clip.knowledge.export import export_entities
from kg2clip.knowledge.roots import find_roots
from kg2clip.knowledge.sparql import Endpoint
from kg2clip.knowledge.taxonomy import Taxonomy
from kg2clip.queries.build import Builder
from kg2clip.queries.homonyms import Namesakes

TESTS = Path(__file__).resolve().parents[2]
HERE = Path(__file__).name

# The beginning of a line of bad-inputs.md -> the tests that hold it.
LINES = {
    "*Prunella* (bird genus and plant genus)": [
        (HERE, "test_namesakes_stay_two_and_their_queries_are_told_apart"),
        (HERE, "test_a_root_that_means_several_taxa_is_asked_back"),
    ],
    "`Bacteria` -> not the stick insect": [
        (HERE, "test_a_root_that_means_several_taxa_is_asked_back"),
        ("../test_names.py", "test_a_name_is_parted_from_its_author"),
    ],
    "Cycle in P171 or P279": [
        (HERE, "test_cycles_end_with_a_warning"),
        ("test_taxonomy.py", "test_a_cycle_is_told_and_does_not_hang"),
    ],
    "Taxon with 2-5 parents": [(HERE, "test_many_parents_and_diamonds_count_once")],
    "Missing label": [(HERE, "test_no_identifier_is_ever_a_name")],
    "Redirected QID": [(HERE, "test_each_odd_root_has_its_outcome")],
    "Merged and deleted taxids": [
        (HERE, "test_merged_and_deleted_numbers_as_roots"),
        ("test_taxonomy.py", "test_both_tell_merged_deleted_and_unknown_numbers"),
        ("test_taxonomy.py", "test_entities_get_current_numbers_and_what_was_missing"),
    ],
    "Lineage without class": [(HERE, "test_holes_and_new_ranks_lose_nothing")],
    'Rank "domain" or "realm"': [
        (HERE, "test_holes_and_new_ranks_lose_nothing"),
        ("test_taxonomy.py", "test_ncbis_own_slice"),
    ],
    "Authorship: `Hormosira": [("../test_names.py", "test_a_name_is_parted_from_its_author")],
    "`Aedes (Stegomyia) aegypti`": [
        (HERE, "test_names_are_parsed_and_what_is_no_taxon_is_counted"),
        ("../test_names.py", "test_what_is_no_taxon_says_why_and_stays_as_it_is"),
    ],
    "`O'Brien's` apostrophe": [
        ("test_sparql.py", "test_texts_come_back_from_the_engine_as_they_went"),
        ("test_sparql.py", "test_no_injection_through_an_iri"),
        (HERE, "test_no_root_breaks_out_of_its_literal"),
    ],
    "Common name in 12 languages": [(HERE, "test_common_names_of_twelve_languages")],
    "WDQS JSON cut after 40 %": [
        ("test_sparql.py", "test_a_broken_answer_is_asked_again"),
        ("test_sparql.py", "test_what_ran_out_of_time_is_halved_and_not_waited_for"),
    ],
    'QLever 429 "Operation timed out"': [("test_sparql.py", "test_what_ran_out_of_time_is_halved_and_not_waited_for")],
    "HTTP 429 with Retry-After": [
        ("test_sparql.py", "test_it_waits_as_long_as_the_server_asks"),
        ("test_sparql.py", "test_a_long_wait_is_left_to_the_user"),
        ("test_sparql.py", "test_a_page_of_html_is_told_in_words"),
        ("test_sparql.py", "test_a_broken_answer_is_asked_again"),
    ],
}


def test_every_line_is_held_by_tests_that_exist(samples: Path) -> None:
    text = (samples.parent / "bad-inputs.md").read_text(encoding="utf-8")
    section = text.split("**Names and graph**")[1].split("\n**")[0]
    lines = [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]
    unheld = [line for line in lines if not any(line.startswith(start) for start in LINES)]
    assert (unheld, len(lines)) == ([], len(LINES))
    for file, name in (test for tests in LINES.values() for test in tests):
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


LANGUAGES = {
    "en": "robin", "de": "Rotkehlchen", "fr": "rouge-gorge", "es": "petirrojo", "ar": "أبو الحناء", "he": "אדום החזה",
    "fa": "سینه‌سرخ", "zh": "知更鸟", "ja": "コマドリ", "ko": "유럽울새", "ru": "зарянка", "hi": "रॉबिन",
}  # fmt: skip
NAMES = " ".join(f'wd:Q70 wdt:P1843 "{name}"@{language} .' for language, name in LANGUAGES.items())

GRAPH = rf"""
@prefix wd: <http://www.wikidata.org/entity/> .
@prefix wdt: <http://www.wikidata.org/prop/direct/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <http://schema.org/> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
wd:Q7432 rdfs:label "species"@en . wd:Q34740 rdfs:label "genus"@en . wd:Q36732 rdfs:label "kingdom"@en .
wd:Q146481 rdfs:label "domain"@en . wd:Q35409 rdfs:label "family"@en .

# The root of all is its own parent; the kingdoms.
wd:Q1 wdt:P225 "Biota" ; wdt:P171 wd:Q1 .
wd:Q2 wdt:P225 "Eukaryota" ; wdt:P105 wd:Q146481 ; wdt:P171 wd:Q1 .
wd:Q3 wdt:P225 "Animalia" ; wdt:P105 wd:Q36732 ; wdt:P171 wd:Q2 ; wdt:P1843 "animals"@en .
wd:Q4 wdt:P225 "Plantae" ; wdt:P105 wd:Q36732 ; wdt:P171 wd:Q2 ; wdt:P1843 "plants"@en .
wd:Q5 wdt:P225 "Bacteria" ; wdt:P105 wd:Q146481 ; wdt:P171 wd:Q1 ; schema:description "domain of microbes"@en .

# Namesakes.
wd:Q10 wdt:P225 "Prunella" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q3 ; wdt:P685 "175132" ; wdt:P1843 "accentors"@en .
wd:Q11 wdt:P225 "Prunella" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q4 ; wdt:P685 "39176" ; wdt:P1843 "self-heals"@en .
wd:Q12 wdt:P225 "Bacteria" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q3 ; schema:description "genus of stick insects"@en .

# A cycle below the genus, through three taxa; a species with five parents; a parent of unknown value.
wd:Q20 wdt:P225 "Cyclus" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q3, wd:Q22 .
wd:Q21 wdt:P225 "Cyclus primus" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q20 .
wd:Q22 wdt:P225 "Cyclus secundus" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q21 .
wd:Q23 wdt:P225 "Cyclus tertius" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q20 .
wd:Q30 wdt:P225 "Diamantus" ; wdt:P105 wd:Q35409 ; wdt:P171 wd:Q3 .
wd:Q31 wdt:P225 "Unus" ; wdt:P171 wd:Q30 . wd:Q32 wdt:P225 "Duo" ; wdt:P171 wd:Q30 . wd:Q33 wdt:P225 "Tres" ; wdt:P171 wd:Q30 .
wd:Q34 wdt:P225 "Unus quinque" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q33, wd:Q32, wd:Q31, wd:Q30, wd:Q3,
  <http://www.wikidata.org/.well-known/genid/0123> , [] .

# Labels: none, an identifier, or in all languages at once.
wd:Q40 wdt:P225 "Anonymus" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q3 .
wd:Q41 wdt:P225 "Anonymus nullus" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q40 ; rdfs:label "Q41"@en ; skos:altLabel "q12345"@en .
wd:Q42 rdfs:label "Douglas Adams"@en ; schema:description "English writer"@en .
wd:Q43 wdt:P225 "Anonymus mulus" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q40 ; rdfs:label "mulling bug"@mul .

# No class between order and kingdom, ranks that are new or have no label, an ancestor without a name.
wd:Q50 wdt:P225 "Actinopterygii" ; wdt:P105 wd:Q99999 ; wdt:P171 wd:Q3 .
wd:Q51 wdt:P171 wd:Q50 .
wd:Q52 wdt:P225 "Perca fluviatilis" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q51 .

# Names with more in them, and names that name no taxon.
wd:Q60 wdt:P225 "Aedes" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q3 .
wd:Q61 wdt:P225 "Aedes (Stegomyia) aegypti" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q60 .
wd:Q62 wdt:P225 "[Candida] auris" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q60 .
wd:Q63 wdt:P225 "Quercus cf. robur" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q60 .
wd:Q64 wdt:P225 "Russula sp. 8 KA-2019" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q60 .
wd:Q65 wdt:P225 "uncultured bacterium" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q60 .
wd:Q66 wdt:P225 "Rosa 'Peace'" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q60 .
wd:Q67 wdt:P225 "Aedes obrieni" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q60 ; rdfs:label "O'Brien's \"mosquito\" \\ }}"@en .

# Two robins, and the item of the common name.
wd:Q69 wdt:P225 "Muscicapidae" ; wdt:P105 wd:Q35409 ; wdt:P171 wd:Q3 .
wd:Q70 wdt:P225 "Erithacus rubecula" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q69 ; wdt:P685 "37610" . {NAMES}
wd:Q71 wdt:P225 "Turdus migratorius" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q69 ; wdt:P1843 "robin"@en .
wd:Q72 wdt:P13176 wd:Q70, wd:Q71 ; rdfs:label "robin bird"@en .
wd:Q80 owl:sameAs wd:Q69 .

# Names with signs that nobody sees, identifiers in other forms, a count that is none, a picture that is no address.
wd:Q89 wdt:P225 "Cyanus" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q4 .
wd:Q90 wdt:P225 "Cyanus\u00a0segetum\u200b" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q89 ; wdt:P1420 wd:Q91 ; wdt:P462 wd:Q92, wd:Q93 ;
  rdfs:label "http://www.wikidata.org/entity/Q90"@en ; skos:altLabel "wd:Q90"@en, "corn\u200bflower"@en, "\u202Ebluet"@en,
  "hurt &amp; sickle"@en, "BlÃ¼te"@en ;
  wdt:P1843 "bl\u0065\u0301"@fr ; wdt:P18 "Corn flower.jpg" ; <http://wikiba.se/ontology#sitelinks> "many" .
wd:Q91 wdt:P225 "Centaurea cyanus L., 1753" .
wd:Q92 rdfs:label "Q92"@en . wd:Q93 rdfs:label "blue"@en .
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory):
    with oxigraph(tmp_path_factory.mktemp("graph"), GRAPH) as port:
        yield port


@pytest.fixture
def graph(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
    return Endpoint("http://graph.test/query", "", tmp_path / "answers")


def export(graph: Endpoint, *roots: str, **changes) -> tuple[dict[str, dict], dict[str, int]]:
    config = {"project": "x", "knowledge": {"roots": list(roots), "require_image": False, **changes}}
    rows, counts = export_entities(graph, settings.complete(config, "test")["knowledge"])
    found = {row["entityID"]: row for row in rows}
    tables.as_table(list(found.values()), tables.ENTITIES)
    return found, {reason: count for reason, count in counts.items() if count}


def test_namesakes_stay_two_and_their_queries_are_told_apart(graph: Endpoint, tmp_path: Path) -> None:
    found, _ = export(graph, "Q10", "Q11", ranks=["genus"])
    assert [row["scientificName"] for row in found.values()] == ["Prunella", "Prunella"]
    wanted = settings.complete(
        {"project": "x", "knowledge": {"roots": ["x"]}, "queries": {"names": ["scientific"]}}, "t"
    )
    tables.write(list(found.values()), tables.ENTITIES, tmp_path / "entities.parquet")
    builder = Builder(wanted["queries"], 1, Namesakes.of(tmp_path / "entities.parquet"))
    queries = [query for row in found.values() for query in builder.of_entity(row)]
    texts = {query["entityID"]: query["text"] for query in queries if query["kind"] == "noun"}
    assert texts.keys() == {"wd:Q10", "wd:Q11"}
    assert len(set(texts.values())) == 2 and "Prunella" not in texts.values()


@pytest.mark.parametrize(
    "root, choices",
    [
        ("Prunella", ["wd:Q10  Prunella, in Animalia", "wd:Q11  Prunella, in Plantae"]),
        (
            "Bacteria",
            ["wd:Q5  Bacteria, domain of microbes, in Biota", "wd:Q12  Bacteria, genus of stick insects, in Animalia"],
        ),
    ],
)
def test_a_root_that_means_several_taxa_is_asked_back(graph: Endpoint, root: str, choices: list[str]) -> None:
    with pytest.raises(UserError, match="means several taxa") as error:
        find_roots(graph, [root])
    assert all(choice in str(error.value) for choice in choices)


def test_cycles_end_with_a_warning(graph: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found, _ = export(graph, "Cyclus")
    assert found.keys() == {"wd:Q21", "wd:Q22", "wd:Q23"}
    assert {row["entityID"] for row in found["wd:Q23"]["ancestors"]} == {
        "wd:Q20",
        "wd:Q3",
        "wd:Q22",
        "wd:Q2",
        "wd:Q21",
        "wd:Q1",
    }
    assert [row["entityID"] for row in found["wd:Q21"]["ancestors"]] == ["wd:Q20", "wd:Q22", "wd:Q3", "wd:Q2", "wd:Q1"]
    assert "the graph has a cycle" in caplog.text
    found, _ = export(graph, "Biota", ranks=["domain"])
    assert [row["entityID"] for row in found["wd:Q2"]["ancestors"]] == ["wd:Q1"], "the root is its own parent"


def test_many_parents_and_diamonds_count_once(graph: Endpoint) -> None:
    found, counts = export(graph, "Diamantus", "Animalia", "Unus")
    assert counts["exported"] == len(found)
    line = [row["entityID"] for row in found["wd:Q34"]["ancestors"]]
    assert line == ["wd:Q3", "wd:Q30", "wd:Q31", "wd:Q32", "wd:Q33", "wd:Q2", "wd:Q1"], (
        "each once, the unknown ones not"
    )


def test_no_identifier_is_ever_a_name(graph: Endpoint) -> None:
    found, _ = export(graph, "Anonymus")
    nameless, named = found["wd:Q41"], found["wd:Q43"]
    assert (nameless["vernacularName"], named["vernacularName"]) == (None, "mulling bug")
    assert [name["text"] for name in nameless["names"]] == ["Anonymus nullus"]


def test_names_lose_what_nobody_sees_and_odd_values_are_none(graph: Endpoint) -> None:
    found, _ = export(graph, "Cyanus", languages=["en", "fr"])
    flower = found["wd:Q90"]
    names = [(name["kind"], name["text"]) for name in flower["names"]]
    assert names == [
        ("scientific", "Cyanus segetum"), ("alias", "Blüte"), ("synonym", "Centaurea cyanus"), ("alias", "bluet"),
        ("vernacular", "bl\u00e9"), ("alias", "cornflower"), ("alias", "hurt & sickle"),
    ]  # fmt: skip
    assert [attribute["value"] for attribute in flower["attributes"]] == ["blue"]
    assert (flower["images"], flower["sitelinks"]) == (["Corn flower.jpg"], 0)


ODD_ROOTS = {
    "Q99999999": "The graph does not know it: it was deleted, or is newer than the graph",
    "Q42": "It is 'Douglas Adams', which is no taxon",
    "q42": "It is 'Douglas Adams', which is no taxon",
    "L42": "That is no item: items begin with Q",
    "L42-S1": "That is no item: items begin with Q",
    "P171": "That is no item: items begin with Q",
    "Q72": "It is a common name (robin bird) of:\n    wd:Q70  Erithacus rubecula, in Muscicapidae\n    wd:Q71",
    "Robin": "Did you mean:\n    wd:Q70  Erithacus rubecula, in Muscicapidae\n    wd:Q71  Turdus migratorius",
    "cyclus": "Did you mean:\n    wd:Q20  Cyclus, in ",
    "ncbi:999999": "It may be merged or deleted (knowledge.taxonomy would tell)",
    "Nonexistus": "Check the spelling of the scientific name",
}


@pytest.mark.parametrize("root, advice", ODD_ROOTS.items())
def test_each_odd_root_has_its_outcome(graph: Endpoint, root: str, advice: str) -> None:
    family = "http://www.wikidata.org/entity/Q69"
    assert (
        find_roots(graph, ["Q80", "q69", " Q69 ", "Q69\n", "wd:q69", "WD:Q69", "https://www.wikidata.org/wiki/Q69"])
        == [family] * 7
    )
    with pytest.raises(UserError) as error:
        find_roots(graph, [root])
    assert f"no taxon {root!r} in http://graph.test/query. {advice}" in str(error.value)


def test_merged_and_deleted_numbers_as_roots(graph: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, text in {
        "nodes": "1\t|\t1\t|\tno rank\t|\n37610\t|\t1\t|\tspecies\t|\n",
        "merged": "92489\t|\t37610\t|\n",
    }.items():
        (tmp_path / f"{name}.dmp").write_text(text)
    (tmp_path / "names.dmp").write_text(
        "1\t|\troot\t|\t\t|\tscientific name\t|\n37610\t|\tErithacus rubecula\t|\t\t|\tscientific name\t|\n"
    )
    (tmp_path / "delnodes.dmp").write_text("3\t|\n")
    taxonomy = Taxonomy(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert find_roots(graph, ["ncbi:92489", "NCBI:37610"], taxonomy) == ["http://www.wikidata.org/entity/Q70"] * 2
    assert "NCBI has merged ncbi:92489 into ncbi:37610" in caplog.text
    for root, was in {"ncbi:3": "was deleted from", "ncbi:123124124": "was never in"}.items():
        with pytest.raises(UserError, match=rf"knowledge\.roots: {root} {was} NCBI's taxonomy"):
            find_roots(graph, [root], taxonomy)


def test_the_program_applies_the_taxonomy_and_records_what_it_asked(port: int, tmp_path: Path) -> None:
    lines = {
        "nodes": ["1\t|\t1\t|\tno rank", "33208\t|\t1\t|\tkingdom", "40000\t|\t33208\t|\tspecies"],
        "names": [
            f"{number}\t|\t{name}\t|\t\t|\tscientific name"
            for number, name in ((1, "root"), (33208, "Metazoa"), (40000, "x"))
        ],
        "merged": ["37610\t|\t40000"],
        "delnodes": [],
    }
    with zipfile.ZipFile(tmp_path / "taxdmp.zip", "w") as archive:
        for name, rows in lines.items():
            archive.writestr(f"{name}.dmp", "".join(f"{row}\t|\n" for row in rows))
    pinned = {"archive": str(tmp_path / "taxdmp.zip"), "sha256": sha256_file(tmp_path / "taxdmp.zip")}
    knowledge = {"endpoint": "http://graph.test/query", "roots": ["Q69"], "require_image": False, "taxonomy": pinned}
    (tmp_path / "config.yaml").write_text(json.dumps({"project": "x", "knowledge": knowledge}))
    command = [sys.executable, "scripts/export_entities.py", "--config", str(tmp_path / "config.yaml")]
    output, told = tmp_path / "out" / "entities.parquet", tmp_path / "told.json"
    for _ in range(2):
        environment = {**os.environ, web.RESOLVE: json.dumps({"graph.test": f"127.0.0.1:{port}"})}
        made = [*command, "--output", str(output), "--provenance", str(told)]
        subprocess.run(made, check=True, cwd=TESTS.parent, env=environment, capture_output=True)
        rows = {row["entityID"]: row for row in tables.read(output).to_pylist()}
        assert {key: row["taxonID"] for key, row in rows.items()} == {"wd:Q70": "ncbi:40000", "wd:Q71": None}
        facts = json.loads(told.read_text())
        assert facts["taxonomy"] == {"number merged": 1}
        assert facts["settings"]["knowledge"]["taxonomy"] == {"sha256": pinned["sha256"]}
        assert {"query", "answers", "rows", "first", "last"} == facts["queries"][0].keys()
    assert facts["queriesAsked"] == 0, "the second run asks nothing"


def test_holes_and_new_ranks_lose_nothing(graph: Endpoint) -> None:
    found, _ = export(graph, "Animalia")
    perch = found["wd:Q52"]
    assert [row["entityID"] for row in perch["ancestors"]] == ["wd:Q51", "wd:Q50", "wd:Q3", "wd:Q2", "wd:Q1"]
    assert [row["taxonRank"] for row in perch["ancestors"]] == [None, None, "kingdom", "domain", None]
    assert perch["kingdom"] == "Animalia"


def test_names_are_parsed_and_what_is_no_taxon_is_counted(graph: Endpoint) -> None:
    found, counts = export(graph, "Aedes")
    assert {row["scientificName"] for row in found.values()} == {"Aedes aegypti", "Aedes obrieni", "Candida auris"}
    assert counts == {
        "found below the roots": 8,
        "of another rank": 1,
        "uncertain (cf., aff.)": 1,
        "species without a name": 1,
        "samples and unclassified": 1,
        "cultivars": 1,
        "exported": 3,
    }
    assert found["wd:Q67"]["vernacularName"] == "O'Brien's \"mosquito\" \\ }"


@pytest.mark.parametrize(
    "root", ["O'Brien's", "Rosa 'Peace", 'a "quote', "back\\slash", "two\nlines", "a } b", 'x" ?s ?p ?o #']
)
def test_no_root_breaks_out_of_its_literal(graph: Endpoint, root: str) -> None:
    with pytest.raises(UserError, match=r"knowledge\.roots: no taxon"):
        find_roots(graph, [root])


def test_common_names_of_twelve_languages(graph: Endpoint) -> None:
    found, _ = export(graph, "Muscicapidae", languages=list(LANGUAGES))
    names = {name["language"]: name["text"] for name in found["wd:Q70"]["names"] if name["kind"] == "vernacular"}
    assert names == LANGUAGES
    assert found["wd:Q70"]["vernacularName"] == found["wd:Q71"]["vernacularName"] == "robin", (
        "equal names stay with both"
    )
    found, _ = export(graph, "Muscicapidae", languages=["he", "en"])
    assert (found["wd:Q70"]["vernacularName"], found["wd:Q71"]["vernacularName"]) == ("אדום החזה", "robin")
