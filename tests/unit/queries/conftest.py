"""The queries that the program makes of entities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from exports import Row

import build_queries
from kg2clip import settings, tables


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., list[Row]]:
    """Write the entities, run the program's work with changes to the config's section, and read the queries."""

    def run(entities: Sequence[Row], seed: int = 1, **changes: Any) -> list[Row]:
        config = {"project": "x", "knowledge": {"roots": ["x"]}, "queries": {"excluded_words": [], **changes}}
        tables.write(list(entities), tables.ENTITIES, tmp_path / "entities.parquet")
        config = settings.complete({**config, "seed": seed}, "test")
        counts = build_queries.write_queries(tmp_path / "entities.parquet", tmp_path / "queries.parquet", config)
        rows: list[Row] = tables.read(tmp_path / "queries.parquet").to_pylist()
        assert counts["queries"] == len(rows)
        assert counts["entities"] == len(entities)
        return rows

    return run
