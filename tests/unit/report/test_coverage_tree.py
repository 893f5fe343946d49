"""The circle of the coverage: its parts add up, holes stay holes, and rings that tell nothing are left out."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

from kg2clip.report import charts, coverage, tree
from kg2clip.report.coverage import Taxon

HOSTILE = "</script><b onclick=x>\u202e"


def taxon(number: int, genus: int | None, family: int | None, kept: int = 1, name: str | None = None) -> Taxon:
    ancestors = [
        {"entityID": f"{rank}{at}", "scientificName": f"{rank}{at}", "vernacularName": None, "taxonRank": rank}
        for rank, at in (("genus", genus), ("family", family), ("class", 0))
        if at is not None
    ]
    entity = {
        "entityID": f"e{number}",
        "scientificName": name or f"species {number}",
        "vernacularName": None,
        "taxonRank": "species",
        "ancestors": ancestors,
    }
    return Taxon(entity, "", 1, 1, 1, kept)


def test_each_ring_holds_every_entity_once_and_lies_within_the_ring_inside_it() -> None:
    arcs = tree.arcs([taxon(n, n // 3, n // 6, kept=n) for n in range(18)])
    assert {arc.ring: arc.rank for arc in arcs} == {0: "family", 1: "genus", 2: "species"}, "one class tells nothing"
    for ring in range(3):
        parts = [arc for arc in arcs if arc.ring == ring]
        assert sum(arc.entities for arc in parts) == 18
        assert sum(arc.kept for arc in parts) == sum(range(18))
        assert sum(arc.covered for arc in parts) == 17
        assert math.isclose(sum(arc.end - arc.start for arc in parts), 1)
        assert all(before.end == after.start for before, after in itertools.pairwise(parts))
    for arc in arcs:
        if arc.ring:
            assert any(o.ring == arc.ring - 1 and o.start <= arc.start and arc.end <= o.end for o in arcs)


def test_where_a_lineage_has_a_hole_nothing_is_drawn_and_what_lies_outside_is() -> None:
    arcs = tree.arcs([taxon(n, n // 2, None if n < 4 else n // 4) for n in range(12)])
    families = [arc for arc in arcs if arc.rank == "family"]
    assert sum(arc.entities for arc in families) == 8
    assert sum(arc.entities for arc in arcs if arc.rank == "species") == 12


def test_a_ring_that_repeats_the_next_is_left_out() -> None:
    arcs = tree.arcs([taxon(n, n, n // 4) for n in range(12)])
    assert {arc.rank for arc in arcs} == {"family", "species"}


def test_many_entities_are_told_by_their_groups() -> None:
    arcs = tree.arcs([taxon(n, n // 10, n // 100) for n in range(20_000)])
    assert {arc.rank for arc in arcs} == {"family"}
    assert len(arcs) == 200 and sum(arc.entities for arc in arcs) == 20_000


def test_one_entity_or_none_has_no_tree() -> None:
    assert tree.arcs([]) == tree.arcs([taxon(1, 1, 1)]) == ()
    assert charts.coverage_tree(()) is None


def test_names_from_outside_are_text_in_the_picture_and_in_the_data(run: Any) -> None:
    chart = charts.coverage_tree(tree.arcs([taxon(n, n // 3, n // 6, name=HOSTILE) for n in range(18)]))
    assert chart is not None
    assert "<b " not in chart.picture and "</script" not in chart.picture
    assert "\u202e" not in chart.picture and "\\u202e" not in json.dumps(chart.specification)


def test_a_row_of_the_table_is_found_by_its_groups(run: Any) -> None:
    taxa = {one.entity["scientificName"]: one for one in coverage.all_taxa(coverage.measure(run.open()))}
    assert tree.lineage(taxa["Bombus terrestris"]) == "Insecta Bombus"
    assert 'data-words="Insecta Bombus"' in run.html()
