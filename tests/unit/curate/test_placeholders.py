"""Placeholders: one picture, the same or nearly so, under the names of many unrelated things."""

from __future__ import annotations

from typing import Any

import pytest
from harvests import Harvest
from textures import encoded, texture

from kg2clip.mirror import oddities


@pytest.fixture
def harvest(harvest: Harvest) -> Harvest:
    """A placeholder under five species, a photograph under a species and all above it, a plate of six species."""
    harvest.pictures = {f"gone-{number}": oddities.placeholder(number) for number in range(5)}
    harvest.said = {f"gone-{number}": {"entityIDs": [f"wd:Q{number}"]} for number in range(5)}
    lineage = ["wd:Q10", "wd:Q11", "wd:Q12", "wd:Q13", "wd:Q14"]
    for number, entity in enumerate(lineage):
        harvest.pictures[f"photo-{number}"] = encoded(texture(1), quality=95 - number)
        harvest.said[f"photo-{number}"] = {"entityIDs": [entity]}
        harvest.ancestors[entity] = lineage[number + 1 :]
    harvest.pictures["plate"] = encoded(texture(2))
    harvest.said["plate"] = {"entityIDs": [f"wd:Q{number}" for number in range(20, 26)]}
    harvest.pictures["alone"] = encoded(texture(3))
    return harvest


def reasons(harvest: Harvest, least: int | None) -> dict[str, Any]:
    harvest.config = {"curate": {"placeholder_entities": least}}
    harvest.write()
    assert harvest.decode().returncode == 0
    done = harvest.decide()
    assert done.returncode == 0, done.stderr
    return {key: row["reason"] for key, row in harvest.rows(harvest.decisions).items()}


def test_all_copies_are_dropped_and_photographs_of_one_lineage_are_not(harvest: Harvest) -> None:
    found = reasons(harvest, 5)
    assert {key for key, reason in found.items() if reason == "placeholder"} == {
        "plate", *(f"gone-{number}" for number in range(5))
    }  # fmt: skip
    assert found["photo-0"] is None and found["alone"] is None


def test_fewer_entities_than_the_limit_are_chance(harvest: Harvest) -> None:
    assert {key for key, reason in reasons(harvest, 6).items() if reason == "placeholder"} == {"plate"}


def test_entities_of_unknown_lineage_are_unrelated(harvest: Harvest) -> None:
    harvest.ancestors = {}
    assert reasons(harvest, 5)["photo-0"] == "placeholder"


def test_null_leaves_them(harvest: Harvest) -> None:
    assert "placeholder" not in reasons(harvest, None).values()
