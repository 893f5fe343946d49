"""A dataset's manifest, sizes and papers, from the indices of its shards alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from kg2clip import tables
from kg2clip.dataset import index, papers
from kg2clip.dataset.splits import SPLITS
from kg2clip.files import atomic_path, write_json
from kg2clip.settings import Settings


def finish(folder: Path, shards: Sequence[str], entities: Path, settings: Settings, newest: datetime) -> dict[str, Any]:
    """Write all that stands beside the shards; remove shards and indices of earlier runs.

    Args:
        shards: in the order of the manifest.
        entities: knowledge/entities.parquet, for the names in the data card.
        newest: when the newest picture was found.

    Returns:
        Counts for the provenance.
    """
    manifest, sizes, hashes = folder / "manifest.parquet", {}, {}
    dropped: Counter[str] = Counter()
    with atomic_path(manifest) as temporary, pq.ParquetWriter(temporary, tables.DATASET, **tables.STORED) as writer:
        for shard in shards:
            rows = index.read(folder / shard)
            writer.write_table(tables.as_table(rows, tables.DATASET))
            sizes[shard] = rows.num_rows
            if known := index.facts(folder / shard):
                hashes[shard] = known.sha256
                dropped.update(known.dropped_texts)
    write_json(folder / "sizes.json", sizes)
    counts = {**measure(manifest), "droppedTexts": dict(sorted(dropped.items()))}
    papers.write_attribution(manifest, folder / "attribution.csv")
    papers.write_card(manifest, entities, counts, settings, folder / "README.md")
    papers.write_croissant(manifest, hashes, settings, newest, folder / "croissant.json")
    _remove_stale(folder, shards)
    return counts


def measure(manifest: Path) -> dict[str, Any]:
    """What a manifest holds: samples by split and licence, and the share of each kind and origin of text."""
    with duckdb.connect() as database:
        database.read_parquet(str(manifest)).create_view("dataset")
        samples, shards, copies, several = _rows(
            database,
            "SELECT count(*), count(DISTINCT shard), coalesce(sum(len(candidateIDs) - 1), 0)::BIGINT, "
            "count(*) FILTER (len(entityIDs) > 1) FROM dataset",
        )[0]
        splits = _rows(
            database,
            "SELECT split, count(*), count(DISTINCT groupID), count(DISTINCT shard) FROM dataset GROUP BY ALL",
        )
        licences = _rows(
            database,
            "SELECT coalesce(license, 'unknown') AS license, count(*) FROM dataset GROUP BY ALL ORDER BY license",
        )
        return {
            "samples": samples,
            "shards": shards,
            "splits": {
                split: {"samples": number, "groups": groups, "shards": parts}
                for split, number, groups, parts in sorted(splits, key=lambda row: SPLITS.index(row[0]))
            },
            "mergedCopies": copies,
            "severalEntities": several,
            "shareByKind": _shares(database, "kind", samples),
            "shareByOrigin": _shares(database, "origin", samples),
            "licences": dict(licences),
        }


def _shares(database: duckdb.DuckDBPyConnection, column: str, samples: int) -> dict[str, float]:
    """How often training draws texts of each kind or origin."""
    query = (
        f"SELECT t.{column} AS name, fsum(t.weight) FROM (SELECT unnest(texts) AS t FROM dataset) "
        "GROUP BY ALL ORDER BY name"
    )
    return {name: round(weight / samples, 6) for name, weight in _rows(database, query)}


def _rows(database: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return database.execute(query).fetchall()


def _remove_stale(folder: Path, shards: Sequence[str]) -> None:
    """Remove shards and indices, whole or half-written, that an earlier run left behind."""
    present = {path.name for shard in shards for path in (folder / shard, index.path_of(folder / shard))}
    for split in SPLITS:
        for path in (*folder.glob(f"{split}-*"), *folder.glob(f".{split}-*.part")):
            if path.name not in present:
                path.unlink()
