"""Pictures taken out of a finished dataset: the shards that hold them are thinned, and no other is touched.

It needs the dataset alone, not what it was packed from. What comes out is what packing with the same list would give.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kg2clip import tables, tars
from kg2clip.dataset import index

Row = dict[str, Any]


def thin(manifest: Path, removed: Iterable[str]) -> tuple[list[str], list[str]]:
    """Take pictures out of the shards; the manifest still names them afterwards, until `finish` has written it anew.

    Run again after a kill it ends the same: it goes by what the shards hold.

    Args:
        removed: candidateIDs; a picture goes when any of its copies is among them.

    Returns:
        The shards that were changed, and those that the dataset has now, in their order.

    Raises:
        UserError: a shard is missing or torn.
    """
    with duckdb.connect() as database:
        database.read_parquet(str(manifest), file_row_number=True).create_view("dataset")
        shards = database.execute("SELECT shard FROM dataset GROUP BY shard ORDER BY min(file_row_number)").fetchall()
        database.register("removed", pa.table({"candidateID": pa.array(list(removed), pa.string())}))
        goes = database.execute(
            "SELECT shard, list(DISTINCT key) "
            "FROM (SELECT shard, key, unnest(candidateIDs) AS candidateID FROM dataset) "
            "SEMI JOIN removed USING (candidateID) GROUP BY shard ORDER BY shard"
        ).fetchall()
    emptied = {shard for shard, keys in goes if not _thin(manifest, shard, set(keys))}
    return [shard for shard, _ in goes], [shard for (shard,) in shards if shard not in emptied]


def _thin(manifest: Path, shard: str, keys: set[str]) -> int:
    """Write a shard without some of its samples; return how many are left."""
    tar = manifest.parent / shard
    known = index.facts(tar)
    table = index.read(tar) if known else _rows_of(manifest, shard)
    rows = {row["key"]: row for row in table.to_pylist() if row["key"] not in keys}
    if not rows:
        tar.unlink(missing_ok=True)
        index.path_of(tar).unlink(missing_ok=True)
        return 0
    members = [member for member in tars.members(tar) if member.name.partition(".")[0] in rows]
    with tars.writing(tar) as writer:
        for member in members:
            offset = writer.add(member.name, member.read())
            if member.name.endswith(".jpg"):
                rows[member.name.removesuffix(".jpg")]["offset"] = offset
    facts = dataclasses.replace(known or index.Facts("", "", ""), keys=index.hash_keys(rows), sha256=writer.sha256)
    index.write(tar, tables.as_table(list(rows.values()), tables.DATASET), facts)
    return len(rows)


def _rows_of(manifest: Path, shard: str) -> pa.Table:
    table = tables.read(manifest)
    return table.filter(pc.equal(table["shard"], shard))
