"""Splits: whole groups, every entity in proportion, by the seed."""

from __future__ import annotations

import pytest

from kg2clip.dataset.splits import hold_out


def strata(*sizes: int) -> list[list[str]]:
    return [[f"{entity}-{number}" for number in range(size)] for entity, size in enumerate(sizes)]


def of(held: dict[str, str], split: str) -> list[str]:
    return sorted(name for name, chosen in held.items() if chosen == split)


def test_every_entity_gives_its_share() -> None:
    held = hold_out(strata(100, 50, 200), {"test": 0.1, "val": 0.04})
    for entity, size in enumerate((100, 50, 200)):
        mine = {split: [name for name in of(held, split) if name.startswith(f"{entity}-")] for split in ("test", "val")}
        assert len(mine["test"]) == pytest.approx(0.1 * size, abs=1), entity
        assert len(mine["val"]) == pytest.approx(0.04 * size, abs=1), entity


def test_small_entities_give_one_in_turn() -> None:
    held = hold_out(strata(*[10] * 30), {"test": 0.02})
    assert len(held) == 6 and len({name.split("-")[0] for name in held}) == 6


def test_the_only_group_of_an_entity_is_trained_on_and_nobody_gives_for_it() -> None:
    held = hold_out(strata(*[1] * 500, 20), {"test": 0.1, "val": 0.1})
    assert all(name.startswith("500-") for name in held)
    assert len(of(held, "test")) == len(of(held, "val")) == 2
    assert hold_out(strata(2, 2, 2), {"test": 0.5, "val": 0.5}).keys() <= {"0-0", "1-0", "2-0"}
    assert hold_out(strata(10), {"test": 0.0}) == {}


def test_new_groups_leave_most_of_the_others_where_they_are() -> None:
    before = hold_out([[f"g{number}" for number in range(0, 200, 2)]], {"test": 0.1})
    after = hold_out([[f"g{number}" for number in range(200)]], {"test": 0.1})
    assert len(set(before) & set(after)) >= len(before) - 1
