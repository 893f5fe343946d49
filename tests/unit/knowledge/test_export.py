"""Export over a real SPARQL server: odd trees, homonyms, filters, missing labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from servers import oxigraph

from kg2clip import settings, tables, web
from kg2clip.errors import UserError
from kg2clip.knowledge import export
from kg2clip.knowledge.lineage import levels, walk, warn_of_cycles
from kg2clip.knowledge.roots import find_roots
from kg2clip.knowledge.sparql import Endpoint

GRAPH = """
@prefix wd: <http://www.wikidata.org/entity/> .
@prefix wdt: <http://www.wikidata.org/prop/direct/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <http://schema.org/> .
@prefix wikibase: <http://wikiba.se/ontology#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
wd:Q7432 rdfs:label "species"@en . wd:Q34740 rdfs:label "genus"@en . wd:Q36732 rdfs:label "kingdom"@en .
wd:Q3142 rdfs:label "red"@en .
wd:Q1 wdt:P225 "Animalia" ; wdt:P105 wd:Q36732 ; wdt:P1843 "animals"@en ; wdt:P171 wd:Q1 .
wd:Q2 wdt:P225 "Plantae" ; wdt:P105 wd:Q36732 ; wdt:P1843 "plants"@en ; wdt:P171 wd:Q2 .
wd:Q10 wdt:P225 "Prunella" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q1 ; wdt:P1843 "accentors"@en .
wd:Q20 wdt:P225 "Prunella" ; wdt:P105 wd:Q34740 ; wdt:P171 wd:Q2 ; schema:description "genus of plants"@en .
wd:Q11 wdt:P225 "Prunella modularis" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q10 ; rdfs:label "dunnock"@en ; wdt:P18 <http://c/a%20b.jpg> ;
  skos:altLabel "hedge accentor"@en, "heckenbraunelle"@de ; wdt:P685 "670355" ; wikibase:sitelinks 40 ; wdt:P462 wd:Q3142 .
wd:Q12 wdt:P225 "Prunella collaris" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q10, wd:Q13 ; rdfs:label "Q12"@en ; wdt:P18 <http://c/x.jpg> ;
  wdt:P1420 wd:Q14 .
wd:Q13 wdt:P225 "Laiscopus" ; wdt:P171 wd:Q10, wd:Q12 .
wd:Q14 wdt:P225 "Laiscopus collaris" .
wd:Q15 wdt:P225 "Prunella rubida" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q10 .
wd:Q99 owl:sameAs wd:Q10 .
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory):
    with oxigraph(tmp_path_factory.mktemp("graph"), GRAPH) as port:
        yield port


@pytest.fixture
def endpoint(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
    return Endpoint("http://graph.test/query", "", tmp_path / "answers")


def export_entities(endpoint: Endpoint, settings_: dict) -> tuple[list[dict], dict[str, int]]:
    rows, counts = export.export_entities(endpoint, settings_)
    return list(rows), dict(counts)


def wanted(**changes):
    return settings.complete({"project": "x", "knowledge": {"roots": ["Q10"], **changes}}, "test")["knowledge"]


def test_entities_have_names_ancestors_and_attributes(endpoint: Endpoint) -> None:
    rows, counts = export_entities(endpoint, wanted())
    assert counts == {
        "found below the roots": 5,
        "of another rank": 2,
        "without picture": 1,
        "exported": 2,
    }
    assert counts["found below the roots"] == sum(list(counts.values())[1:])
    dunnock = next(row for row in rows if row["entityID"] == "wd:Q11")
    assert dunnock["vernacularName"] == "dunnock"
    assert dunnock["taxonID"] == "ncbi:670355"
    assert (dunnock["naturalType"], dunnock["kingdom"]) == ("accentors", "Animalia")
    assert dunnock["higherClassification"] == "Animalia|Prunella"
    assert dunnock["images"] == ["a b.jpg"]
    assert dunnock["attributes"] == [{"category": "colour", "value": "red", "source": "P462"}]
    assert [name["text"] for name in dunnock["names"]] == ["Prunella modularis", "dunnock", "hedge accentor"]
    tables.as_table(rows, tables.ENTITIES)


def test_cycles_end_diamonds_count_once_and_a_q_number_is_no_name(endpoint: Endpoint) -> None:
    rows, _ = export_entities(endpoint, wanted())
    collaris = next(row for row in rows if row["entityID"] == "wd:Q12")
    assert [ancestor["entityID"] for ancestor in collaris["ancestors"]] == ["wd:Q10", "wd:Q13", "wd:Q1"]
    assert collaris["vernacularName"] is None
    assert ("Laiscopus collaris", "synonym") in [(name["text"], name["kind"]) for name in collaris["names"]]
    assert not any(name["text"].startswith("Q") for name in collaris["names"])


def test_filters(endpoint: Endpoint) -> None:
    rows, counts = export_entities(endpoint, wanted(require_image=False))
    assert len(rows) == 3 and "without picture" not in counts
    rows, counts = export_entities(endpoint, wanted(min_sitelinks=5))
    assert [row["entityID"] for row in rows] == ["wd:Q11"] and counts["with too few sitelinks"] == 1
    with pytest.raises(UserError, match="passes the filters"):
        export_entities(endpoint, wanted(ranks=["phylum"]))


def test_roots_by_name_item_number_and_redirect(endpoint: Endpoint) -> None:
    item = "http://www.wikidata.org/entity/Q10"
    assert find_roots(endpoint, ["Q10", " q10 ", "wd:Q10", "Q99"]) == [item] * 4
    assert find_roots(endpoint, ["ncbi:670355", "Animalia"])[1] == "http://www.wikidata.org/entity/Q1"


def test_a_homonym_is_asked_back_with_the_choices(endpoint: Endpoint) -> None:
    with pytest.raises(UserError) as error:
        find_roots(endpoint, ["Prunella"])
    assert "means several taxa" in str(error.value)
    assert "wd:Q10  Prunella, in Animalia" in str(error.value)
    assert "wd:Q20  Prunella, genus of plants, in Plantae" in str(error.value)


@pytest.mark.parametrize("root", ["Nonexistus", "Q123456789", "ncbi:1", 'x" } # \\ \n'])
def test_an_unknown_root_is_named(endpoint: Endpoint, root: str) -> None:
    with pytest.raises(UserError, match=r"knowledge\.roots: no taxon"):
        find_roots(endpoint, [root])


def test_two_exports_are_equal(endpoint: Endpoint, port: int, tmp_path: Path) -> None:
    again = Endpoint(endpoint.url, "", tmp_path / "others")
    assert export_entities(endpoint, wanted()) == export_entities(again, wanted(page_size=1))


def test_lineage_ends_in_a_cycle() -> None:
    parents = {"a": ["b", "c"], "b": ["d"], "c": ["d", "a"], "d": ["b"]}
    assert walk("a", parents) == ["b", "c", "d"]
    assert levels("a", parents) == [["b", "c"], ["d"]]
    assert sorted(map(set, warn_of_cycles(parents)), key=len) == [{"a", "c"}, {"b", "d"}]
    assert warn_of_cycles({"root": ["root"], "a": ["root"]}) == []
