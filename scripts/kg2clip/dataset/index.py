"""The index beside each shard: the rows of its samples with the place of each JPEG, and what the shard was made from.

`train-00000.index.parquet` has the columns of tables.DATASET. With its metadata a run that was stopped knows which
shards are whole, and the dataset's manifest is put together from the indices alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip import tables
from kg2clip.files import atomic_path, sha256_file

METADATA = b"kg2clip.shard"


@dataclass(frozen=True)
class Facts:
    """What a shard was made from.

    Attributes:
        recipe: a hash of what all shards depend on: inputs, settings, code.
        keys: SHA-256 of the samples' keys in their order, joined by commas.
        sha256: of the tar.
        dropped_texts: texts of the web that were not used for its samples, by reason.
    """

    recipe: str
    keys: str
    sha256: str
    dropped_texts: dict[str, int] = field(default_factory=dict)


def path_of(tar: Path) -> Path:
    """Where the index of a shard lies."""
    return tar.with_suffix(".index.parquet")


def hash_keys(keys: Iterable[str]) -> str:
    """The hash of keys for `Facts.keys`."""
    return hashlib.sha256(",".join(keys).encode()).hexdigest()


def write(tar: Path, rows: pa.Table, facts: Facts) -> None:
    """Write the index of a shard that is written already, atomically."""
    metadata = {METADATA: json.dumps(asdict(facts)).encode()}
    with atomic_path(path_of(tar)) as temporary:
        pq.write_table(rows.replace_schema_metadata(metadata), temporary, **tables.STORED)


def read(tar: Path) -> pa.Table:
    """The rows of a shard."""
    return tables.read(path_of(tar)).replace_schema_metadata(None)


def facts(tar: Path) -> Facts | None:
    """What a shard was made from; None where there is no index that says so."""
    try:
        metadata = pq.read_schema(path_of(tar)).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return Facts(**json.loads(metadata[METADATA])) if METADATA in metadata else None


def is_whole(tar: Path, recipe: str, keys: str) -> bool:
    """Whether a shard lies there that was made from this recipe of these samples, and is as it was written."""
    known = facts(tar)
    return (
        known is not None
        and (known.recipe, known.keys) == (recipe, keys)
        and tar.is_file()
        and sha256_file(tar) == known.sha256
    )
