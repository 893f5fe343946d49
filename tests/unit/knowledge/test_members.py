"""Which nodes become entities: the four ways in, what is left out and why, over a real SPARQL server."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from servers import Answer, oxigraph, scripted_server

from kg2clip import settings, web
from kg2clip.errors import UserError
from kg2clip.knowledge.export import export_entities
from kg2clip.knowledge.sparql import Endpoint

JSON, FORM = "application/sparql-results+json", "application/x-www-form-urlencoded"

# Q1 animals: cats and dogs with the oddities of Wikidata. Q50 plants with a fruit. Q100 upwards: vehicles.
GRAPH = """
@prefix wd: <http://www.wikidata.org/entity/> .
@prefix wdt: <http://www.wikidata.org/prop/direct/> .
@prefix p: <http://www.wikidata.org/prop/> .
@prefix ps: <http://www.wikidata.org/prop/statement/> .
@prefix pq: <http://www.wikidata.org/prop/qualifier/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <http://schema.org/> .
@prefix wikibase: <http://wikiba.se/ontology#> .
wd:Q7432 rdfs:label "species"@en . wd:Q36732 rdfs:label "kingdom"@en . wd:Q35409 rdfs:label "family"@en .
wd:Q1 wdt:P225 "Animalia" ; wdt:P105 wd:Q36732 ; rdfs:label "animal"@en ; wikibase:sitelinks 200 .
wd:Q2 wdt:P225 "Canidae" ; wdt:P105 wd:Q35409 ; wdt:P171 wd:Q1 ; rdfs:label "Canidae"@en ; wikibase:sitelinks 90 .
wd:Q3 wdt:P225 "Canis familiaris" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q2 ; rdfs:label "Canis familiaris"@en ;
  schema:description "species of mammal"@en ; wikibase:sitelinks 3 ; wdt:P846 "5219200" .
wd:Q144 wdt:P31 wd:Q55983715 ; wdt:P13176 wd:Q3 ; rdfs:label "dog"@en, "Hund"@de ; skos:altLabel "domestic dog"@en ;
  schema:description "domesticated animal"@en ; wikibase:sitelinks 250 ; wdt:P18 <http://c/Dog.jpg> .
wd:Q4 wdt:P225 "Canis lupus" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q2 ; rdfs:label "wolf"@en ; wdt:P18 <http://c/Wolf.jpg> ;
  wikibase:sitelinks 150 .
wd:Q5001 p:P31 wd:s1 ; rdfs:label "wild dog"@en ; wdt:P18 <http://c/Wild.jpg> ; wikibase:sitelinks 20 .
wd:s1 ps:P31 wd:Q55983715 ; pq:P642 wd:Q3, wd:Q4 .
wd:Q5002 wdt:P279 wd:Q144 ; wdt:P31 wd:Q39367 ; rdfs:label "sheepdog"@en ; wdt:P18 <http://c/Sheepdog.jpg> .
wd:Q5003 wdt:P31 wd:Q144 ; rdfs:label "Laika"@en ; wdt:P18 <http://c/Laika.jpg> .
wd:Q5004 wdt:P279 wd:Q144 ; wdt:P31 wd:Q26401003 ; rdfs:label "Balto"@en ; wdt:P18 <http://c/Balto.jpg> .
wd:Q6 wdt:P225 "Canis dirus" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q2 ; wdt:P31 wd:Q47487597 ; wdt:P18 <http://c/Dire.jpg> .
wd:Q47487597 wdt:P279 wd:Q23038290 .
wd:Q7 wdt:P225 "Dusicyon australis" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q2 ; wdt:P141 wd:Q237350 ; wdt:P18 <http://c/F.jpg> .
wd:Q8 wdt:P225 "Canis × mixtus" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q2 ; wdt:P18 <http://c/Mixed.jpg> .
wd:Q15978631 wdt:P225 "Homo sapiens" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q1 ; wdt:P18 <http://c/Person.jpg> .
wd:Q9 wdt:P225 "Cerberus canis" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q2 ; wdt:P31 wd:Q24334299 ; wdt:P18 <http://c/C.jpg> .
wd:Q40 wdt:P225 "Bacteria" ; wdt:P18 <http://c/B.jpg> .
wd:Q41 wdt:P225 "Escherichia coli" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q40 ; wdt:P18 <http://c/E.jpg> .
wd:Q50 wdt:P225 "Plantae" ; wdt:P105 wd:Q36732 .
wd:Q51 wdt:P225 "Malus domestica" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q50 ; rdfs:label "apple tree"@en ; wdt:P18 <http://c/T.jpg> .
wd:Q52 wdt:P225 "Malus domestica 'Gala'" ; wdt:P105 wd:Q7432 ; wdt:P171 wd:Q51 ; wdt:P18 <http://c/Gala.jpg> .
wd:Q89 wdt:P1582 wd:Q51 ; wdt:P279 wd:Q3314483 ; rdfs:label "apple"@en ; wdt:P18 <http://c/Apple.jpg> .
wd:Q3314483 rdfs:label "fruit"@en . wd:Q90 wdt:P1582 wd:Q51 ; wdt:P279 wd:Q8495 ; rdfs:label "applewood"@en ; wdt:P18 <http://c/W.jpg> .
wd:Q100 rdfs:label "vehicle"@en ; wdt:P279 wd:Q200 . wd:Q200 rdfs:label "object"@en .
wd:Q101 rdfs:label "bicycle"@en ; wdt:P279 wd:Q100 ; wdt:P18 <http://c/Bike.jpg> ; wikibase:sitelinks 100 .
wd:Q102 rdfs:label "tandem"@en ; wdt:P279 wd:Q101 ; wdt:P18 <http://c/Tandem.jpg> ; wikibase:sitelinks 30 .
wd:Q103 rdfs:label "ghost ship"@en ; wdt:P279 wd:Q100, wd:Q201 ; wdt:P18 <http://c/Ghost.jpg> .
wd:Q201 rdfs:label "imaginary thing"@en ; wdt:P279 wd:Q202 . wd:Q202 rdfs:label "idea"@en .
wd:Q104 wdt:P279 wd:Q100 ; wdt:P18 <http://c/Nameless.jpg> .
wd:Q105 rdfs:label "tricycle"@en ; wdt:P279 wd:Q100 .
wd:Q106 wdt:P31 wd:Q101 ; rdfs:label "one person's bicycle"@en ; wdt:P18 <http://c/Mine.jpg> .
wd:Q110 rdfs:label "sport"@en ; wdt:P279 wd:Q202 . wd:Q111 rdfs:label "cycling"@en ; wdt:P279 wd:Q110 ; wdt:P18 <http://c/Race.jpg> .
wd:Q300 rdfs:label "bank"@en ; wdt:P279 wd:Q200 . wd:Q301 rdfs:label "bank"@en ; schema:description "side of a river"@en ; wdt:P279 wd:Q200 .
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory):
    with oxigraph(tmp_path_factory.mktemp("graph"), GRAPH) as port:
        yield port


@pytest.fixture
def export(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Export with some keys of the config's section changed: entities by IRI in short, and the counts."""
    monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))

    def run(**keys: object) -> tuple[dict[str, dict], dict[str, int]]:
        wanted = settings.complete({"project": "x", "knowledge": keys}, "test")["knowledge"]
        rows, counts = export_entities(
            Endpoint("http://graph.test/query", "", tmp_path / "answers", wanted["snapshot"]), wanted
        )
        found = {row["entityID"]: row for row in rows}
        assert counts["found below the roots"] == sum(counts.values()) - counts["found below the roots"]
        assert counts["exported"] == len(found)
        return found, dict(counts)

    return run


def test_what_is_too_heavy_at_once_is_asked_branch_by_branch(
    export, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = export(roots=["Q1", "Q50"], classes=["Q100"])

    def answer(path: str, body: bytes) -> Answer:
        heavy = re.search(r"VALUES \?root \{ ([^}]*) \} \?\w+ wdt:P(?:171|279)\*", unquote_plus(body.decode()))
        if heavy and (" " in heavy[1] or heavy[1].endswith(("/Q1>", "/Q2>", "/Q100>"))):
            return 429, {}, b"Operation timed out."
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Accept": JSON, "Content-Type": FORM})
        with urllib.request.urlopen(request) as response:
            return 200, {"Content-Type": JSON}, response.read()

    with scripted_server(answer) as (proxy, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{proxy}"}))
        in_branches, _ = export(roots=["Q1", "Q50"], classes=["Q100"], snapshot="behind a proxy")
        assert in_branches == whole
        seen.clear()
        again, _ = export(roots=["Q1", "Q50"], classes=["Q100"], snapshot="behind a proxy")
        assert (again, seen) == (whole, []), "what was too heavy is not tried again"


def test_what_an_entity_is_decides_and_every_reason_is_counted(export) -> None:
    found, counts = export(roots=["Q1"])
    assert set(found) == {"wd:Q3", "wd:Q4", "wd:Q8"}
    assert counts == {
        "found below the roots": 9,
        "of another rank": 2,
        "without picture": 0,
        "extinct": 2,
        "humans": 1,
        "mythical or imaginary": 1,
        "exported": 3,
    }
    everything, _ = export(roots=["Q1"], leave_out=[])
    assert len(everything) == 7
    strict, counts = export(roots=["Q1"], leave_out=["hybrid"])
    assert counts["hybrids"] == 1 and "wd:Q8" not in strict


def test_a_common_name_lends_its_taxon_name_picture_and_articles(export) -> None:
    found, _ = export(roots=["Q1"], min_sitelinks=100, languages=["en", "de"])
    assert set(found) == {"wd:Q3", "wd:Q4"}
    dog = found["wd:Q3"]
    assert (dog["vernacularName"], dog["sitelinks"], dog["images"]) == ("dog", 250, ["Dog.jpg"])
    assert dog["description"] == "species of mammal", "its own comes first"
    assert {("Hund", "de"), ("domestic dog", "en")} <= {(name["text"], name["language"]) for name in dog["names"]}
    assert dog["identifiers"] == [{"scheme": "gbif", "value": "5219200"}]
    assert "wild dog" not in [name["text"] for name in dog["names"]], "a name of several taxa is no name of one"


def test_groups_and_breeds_come_by_common_names(export) -> None:
    found, counts = export(roots=["Q1"], common_names=True)
    assert {"wd:Q5001", "wd:Q5002"} <= set(found)
    assert "wd:Q144" not in found and counts["common name of an exported taxon"] == 1
    assert "wd:Q5003" not in found, "an instance of dog is one dog"
    assert "wd:Q5004" not in found and counts["named individuals"] == 1
    sheepdog = found["wd:Q5002"]
    assert (sheepdog["scientificName"], sheepdog["taxonRank"], sheepdog["vernacularName"]) == (None, None, "sheepdog")
    assert sheepdog["naturalType"] == "dog" and sheepdog["kingdom"] == "Animalia"


def test_fruits_come_by_the_taxa_that_yield_them(export) -> None:
    found, counts = export(roots=["Plantae"], products=["Q3314483"])
    assert set(found) == {"wd:Q51", "wd:Q89"}, "wood is no fruit"
    assert counts["cultivars"] == 1
    assert found["wd:Q89"]["naturalType"] == "fruit" and found["wd:Q89"]["kingdom"] == "Plantae"


def test_what_no_camera_sees_is_left_out(export) -> None:
    with pytest.raises(UserError, match="1 too small to see"):
        export(roots=["Bacteria"])
    assert set(export(roots=["Bacteria"], visible_only=False)[0]) == {"wd:Q41"}


def test_classes_of_things_without_the_excluded_ones(export) -> None:
    found, counts = export(classes=["vehicle"], exclude=["Q202"])
    assert set(found) == {"wd:Q101", "wd:Q102"}, "no instances, nothing nameless, nothing excluded"
    assert counts == {
        "found below the roots": 6,
        "without a name": 1,
        "without picture": 2,
        "below an excluded class": 1,
        "exported": 2,
    }
    tandem = found["wd:Q102"]
    assert (tandem["scientificName"], tandem["vernacularName"], tandem["naturalType"]) == (None, "tandem", "bicycle")
    assert tandem["higherClassification"] == "vehicle|bicycle", "what stands above the wanted class says nothing"
    assert [name["kind"] for name in tandem["names"]] == ["label"]
    assert set(export(classes=["vehicle"])[0]) == {"wd:Q101", "wd:Q102", "wd:Q103"}


def test_an_excluded_class_above_a_wanted_one_excludes_nothing_there(export, caplog: pytest.LogCaptureFixture) -> None:
    found, _ = export(classes=["Q100", "Q110"], exclude=["Q202"])
    assert set(found) == {"wd:Q101", "wd:Q102", "wd:Q111"}
    assert "wd:Q110 is itself below wd:Q202" in caplog.text


def test_living_things_and_things_in_one_export(export) -> None:
    found, _ = export(roots=["Q1"], classes=["Q100"], min_sitelinks=100)
    assert set(found) == {"wd:Q3", "wd:Q4", "wd:Q101"}


def test_wordnets_living_things_are_merged_and_counted(export, tmp_path: Path) -> None:
    lines = [
        "  1 WordNet 3.0 Copyright 2006 by Princeton University.",
        "00000010 03 n 01 living_thing 0 000 | alive",
        "00000020 03 n 01 animal 0 001 @ 00000010 n 0000 | a creature",
        "00000030 05 n 02 dog 0 Canis_familiaris 0 001 @ 00000020 n 0000 | a member of the genus Canis",
        "00000040 05 n 01 okapi 0 001 @ 00000020 n 0000 | similar to the giraffe",
    ]
    (tmp_path / "data.noun").write_text("\n".join(lines))
    found, _ = export(roots=["Q1"], wordnet=str(tmp_path))
    assert set(found) == {"wd:Q3", "wd:Q4", "wd:Q8", "wn:00000040-n"}
    assert list(found) == sorted(found), "in the order of entityID"
    assert {"scheme": "wordnet30", "value": "00000030-n"} in found["wd:Q3"]["identifiers"]


def test_a_class_that_is_none_or_several(export) -> None:
    with pytest.raises(UserError, match=r"knowledge\.classes: no class 'spaceship'"):
        export(classes=["spaceship"])
    with pytest.raises(UserError, match=r"knowledge\.exclude: no class 'Q106'"):
        export(classes=["vehicle"], exclude=["Q106"])
    with pytest.raises(UserError) as error:
        export(classes=["bank"])
    assert "wd:Q301  bank, side of a river, in object" in str(error.value)
