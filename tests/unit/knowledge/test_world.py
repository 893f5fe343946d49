"""The world: classes of things below their super-entities, over a real server that holds WordNet's nouns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import oxigraph

from kg2clip import settings, tables, web
from kg2clip.errors import UserError
from kg2clip.knowledge.export import export_entities
from kg2clip.knowledge.sparql import Endpoint
from kg2clip.mirror import graph
from kg2clip.wordnet import WordNet, read_wordnet

DEBIAN = Path("/usr/share/wordnet")
pytestmark = pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's wordnet-base is not installed")
# WordNet's words for some of the reference's super-entities and of those that it only lists as excluded.
VEHICLE, INSTRUMENT, FOOD = "wn:04524313-n", "wn:03800933-n", "wn:00021265-n"
MILITARY_VEHICLE, ABSTRACTION = "wn:03764276-n", "wn:00002137-n"

Export = Callable[..., tuple[dict[str, dict], dict[str, int]]]


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return read_wordnet(DEBIAN)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory, wordnet: WordNet):
    folder = tmp_path_factory.mktemp("graph")
    with oxigraph(folder, "".join(graph.things(wordnet))) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
        endpoint = Endpoint("http://graph.test/query", "", folder / "answers")

        def run(**keys: object) -> tuple[dict[str, dict], dict[str, int]]:
            keys = {"require_image": False, "page_size": 1000, **keys}
            wanted = settings.complete({"project": "x", "knowledge": keys}, "test")["knowledge"]
            rows, counts = export_entities(endpoint, wanted)
            return {row["entityID"]: row for row in rows}, dict(counts)

        yield run


def test_all_that_is_below_a_class_and_nothing_else(export: Export, wordnet: WordNet) -> None:
    found, counts = export(classes=[VEHICLE, INSTRUMENT])
    below = wordnet.below([VEHICLE.removeprefix("wn:"), INSTRUMENT.removeprefix("wn:")])
    kinds = {f"wn:{one}" for one in below if not wordnet.synsets[one].instance}
    assert set(found) == kinds and len(kinds) > 500
    assert counts == {"found below the roots": len(kinds), "exported": len(kinds), "without a name": 0}
    violin = next(row for row in found.values() if row["vernacularName"] == "violin")
    assert violin["naturalType"] == "bowed stringed instrument"
    assert violin["higherClassification"] == "musical instrument|stringed instrument|bowed stringed instrument"
    assert {"fiddle"} <= {name["text"] for name in violin["names"]}
    tables.as_table(list(found.values()), tables.ENTITIES)


def test_an_excluded_class_subtracts_whatever_way_leads_to_it(export: Export, wordnet: WordNet) -> None:
    """In the reference a thing that is below a wanted and an excluded class stays in."""
    found, counts = export(classes=[VEHICLE, FOOD], exclude=[MILITARY_VEHICLE, ABSTRACTION])
    both = {wanted: wordnet.below([wanted.removeprefix("wn:")]) for wanted in (VEHICLE, FOOD)}
    barred = wordnet.below([one.removeprefix("wn:") for one in (MILITARY_VEHICLE, ABSTRACTION)])
    kinds = {one for those in both.values() for one in those if not wordnet.synsets[one].instance}
    assert set(found) == {f"wn:{one}" for one in kinds - barred}
    assert counts["below an excluded class"] == len(kinds & barred) > 100
    assert counts["found below the roots"] == len(kinds)
    words = {row["vernacularName"] for row in found.values()}
    assert "bicycle" in words and "tank" not in words


def test_a_name_with_many_meanings_is_asked_back(export: Export) -> None:
    with pytest.raises(UserError) as error:
        export(classes=["vehicle"])
    assert "wn:04524313-n  vehicle, a conveyance that transports people or objects" in str(error.value)
