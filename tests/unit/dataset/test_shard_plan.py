"""The plan of the shards: whole groups, equal sizes, every source and entity in every shard; texts of sites."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from unit.dataset.test_pack_dataset import write

from kg2clip import settings, tables
from kg2clip.dataset import index
from kg2clip.dataset.pack import samples
from kg2clip.dataset.plan import Inputs, planned
from kg2clip.errors import UserError
from kg2clip.settings import Settings

KEPT, SIZE = 400, 40


def inputs(folder: Path) -> Inputs:
    names = {name: folder / f"{name}.parquet" for name in ("entities", "queries", "candidates", "decisions")}
    return Inputs(**names, features=[folder / "curate" / "web-000.features.parquet"])


def change(path: Path, schema: Any, said: Any) -> None:
    rows = tables.read(path).to_pylist()
    for number, row in enumerate(rows):
        row |= said(number, row)
    tables.write(rows, schema, path)


@pytest.fixture(scope="module")
def harvest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inputs, Settings]:
    """Pictures in the order of two sources and eight entities, in groups of two."""
    folder = tmp_path_factory.mktemp("harvest")
    write(folder, kept=KEPT, shard_size=SIZE, test_share=0.1, val_share=0.05)
    change(
        folder / "candidates.parquet",
        tables.CANDIDATES,
        lambda number, row: {
            "source": "commons" if number < KEPT // 2 else "inaturalist",
            "entityIDs": [f"wd:Q{number // 50}"] if number < KEPT else ["wd:Q0"],
            "title": ["Bees of the World", "A bee", "Bees of 3 entities"][(number % 3 if number < 150 else 0)],
        },
    )
    return inputs(folder), settings.load(folder / "config.yaml")


def test_groups_are_whole_and_every_entity_is_held_out(harvest: tuple[Inputs, Settings], tmp_path: Path) -> None:
    of_group, of_entity, sizes = defaultdict(set), Counter[tuple[str, str]](), Counter[str]()
    sources: dict[str, Counter[str]] = defaultdict(Counter)
    with planned(harvest[0], tmp_path, harvest[1], []) as plan:
        shards = plan.shards()
        for shard, table in plan.samples(shards):
            found = list(samples(table))
            assert len(found) == shard.samples and index.hash_keys(sample.key for sample in found) == shard.keys
            for sample in found:
                of_group[sample.group].add(sample.split)
                of_entity[sample.split, sample.merged("entityIDs")[0]] += 1
                sizes[shard.name] += 1
                sources[shard.name][sample.copies[0]["source"]] += 1
    assert len(of_group) == KEPT // 2 and all(len(splits) == 1 for splits in of_group.values())
    assert sorted(sizes) == sorted(shard.name for shard in shards) and sizes.total() == KEPT
    for entity in range(8):
        assert of_entity["test", f"wd:Q{entity}"] in (4, 6), "a tenth of 25 groups of two"
        assert of_entity["val", f"wd:Q{entity}"] in (2, 4)
    train = {name: size for name, size in sizes.items() if name.startswith("train")}
    assert max(train.values()) - min(train.values()) <= 1 and max(train.values()) <= SIZE
    for name in train:
        assert 0.25 < sources[name]["commons"] / train[name] < 0.75, f"{name} is mixed"


def test_another_seed_mixes_otherwise_and_the_order_of_rows_does_nothing(
    harvest: tuple[Inputs, Settings], tmp_path: Path
) -> None:
    def shards_of(given: Inputs, seed: int) -> list[Any]:
        with planned(given, tmp_path / "dataset", {**harvest[1], "seed": seed}, []) as plan:
            return plan.shards()

    turned = Inputs(**{**vars(harvest[0]), "decisions": tmp_path / "d.parquet", "candidates": tmp_path / "c.parquet"})
    for name, schema in (("decisions", tables.DECISIONS), ("candidates", tables.CANDIDATES)):
        tables.write(tables.read(getattr(harvest[0], name)).to_pylist()[::-1], schema, getattr(turned, name))
    assert shards_of(harvest[0], 1) == shards_of(turned, 1) != shards_of(harvest[0], 2)


def test_texts_of_sites_need_many_pictures_and_many_entities(harvest: tuple[Inputs, Settings], tmp_path: Path) -> None:
    with planned(harvest[0], tmp_path, harvest[1], []) as plan:
        assert plan.site_texts() == {"Bees of the World"}, "the others stand for three entities"


def test_what_is_missing_or_all_taken_down_is_told(harvest: tuple[Inputs, Settings], tmp_path: Path) -> None:
    everything = tables.read(harvest[0].candidates)["candidateID"].to_pylist()
    lost = dataclasses.replace(harvest[0], queries=tmp_path / "queries.parquet")
    no_pictures = dataclasses.replace(harvest[0], features=[tmp_path / "none.features.parquet"])
    tables.write([], tables.FEATURES, no_pictures.features[0])
    for given, removed, says in (
        (harvest[0], everything, "all pictures were taken down"),
        (lost, [], r"queries\.parquet is missing"),
        (no_pictures, [], "400 kept pictures have no decoded file"),
    ):
        with pytest.raises(UserError, match=says), planned(given, tmp_path, harvest[1], removed):
            pass
    assert not list(tmp_path.glob(".packing*"))
