"""An export made again: the same bytes on the same day, and after a change of a filter only what it touches is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from servers import oxigraph

from kg2clip import settings, tables, web
from kg2clip.knowledge.export import export_entities
from kg2clip.knowledge.sparql import Endpoint, steady_pages

SPECIES, GENERA = 400, 20


def word(number: int) -> str:
    """A number as letters, since scientific names have no digits."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def graph() -> str:
    lines = [
        "@prefix wd: <http://www.wikidata.org/entity/> . @prefix wdt: <http://www.wikidata.org/prop/direct/> .",
        "@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix wikibase: <http://wikiba.se/ontology#> .",
        'wd:Q7432 rdfs:label "species"@en . wd:Q1 wdt:P225 "Animalia" ; wdt:P1843 "animals"@en .',
    ]
    for genus in range(GENERA):
        lines.append(
            f'wd:Q{100 + genus} wdt:P225 "Genus{word(genus)}" ; wdt:P171 wd:Q1 ; wdt:P1843 "beasts {genus}"@en .'
        )
    for one in range(SPECIES):
        lines.append(
            f'wd:Q{1000 + one} wdt:P225 "Genus{word(one % GENERA)} species{word(one)}" ; wdt:P105 wd:Q7432 ; '
            f'wdt:P171 wd:Q{100 + one % GENERA} ; wikibase:sitelinks {one} ; rdfs:label "beast {one}"@en, "Tier {one}"@de .'
        )
    return "\n".join(lines)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory):
    with oxigraph(tmp_path_factory.mktemp("graph"), graph()) as port:
        yield port


@pytest.fixture
def export(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Export into a file, with the answers of a folder; give the file's bytes and how many queries were asked."""
    monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))

    def run(answers: str = "answers", **keys: object) -> tuple[bytes, int]:
        knowledge = {"roots": ["Q1"], "require_image": False, "page_size": 20, **keys}
        wanted = settings.complete({"project": "x", "knowledge": knowledge}, "test")["knowledge"]
        endpoint = Endpoint("http://graph.test/query", "", tmp_path / answers)
        rows, _ = export_entities(endpoint, wanted)
        tables.write_stream(rows, tables.ENTITIES, tmp_path / "entities.parquet")
        return (tmp_path / "entities.parquet").read_bytes(), endpoint.asked

    return run


def test_two_exports_are_byte_identical(export) -> None:
    first, asked = export()
    assert asked > 100
    again, asked = export(answers="others")
    assert again == first and asked > 100
    assert export() == (first, 0), "a rerun asks nothing"
    assert export(answers="thirds", page_size=400)[0] == first, "whatever the size of pages"


def test_a_changed_filter_asks_only_what_it_touches(export) -> None:
    _, everything = export()
    fewer, asked = export(min_sitelinks=3)  # three species less
    assert asked < everything / 8
    assert export(answers="others", min_sitelinks=3)[0] == fewer, "as if nothing had been kept"
    _, asked = export(leave_out=[])
    assert asked == 0, "what was read of each serves every choice"
    _, asked = export(languages=["de"])
    assert 0 < asked < everything, "names are asked anew, lineages are not"


def test_pages_are_steady() -> None:
    items = [f"http://x/Q{number}" for number in range(5000)]
    before = {tuple(page) for page in steady_pages(items, 100)}
    assert [item for page in steady_pages(items, 100) for item in page] == items
    assert max(map(len, before)) <= 100 and 55 < len(items) / len(before) < 85
    for gone in (0, 17, 4999, 2500):
        after = {tuple(page) for page in steady_pages(items[:gone] + items[gone + 1 :], 100)}
        assert len(after - before) <= 8
    assert list(steady_pages([], 10)) == [] and list(steady_pages(["a", "b"], 1)) == [["a"], ["b"]]
