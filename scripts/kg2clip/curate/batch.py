"""One batch of downloads: raw tars to decoded tars and a table of features, shard by shard, resumable at each."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip import tables, tars
from kg2clip.curate.decode import Rules
from kg2clip.curate.pictures import Examiners, Outcome, Work
from kg2clip.errors import UserError
from kg2clip.files import atomic_path, sha256_file
from kg2clip.identifiers import stable_hash
from kg2clip.progress import Progress

log = logging.getLogger(__name__)

RECIPE = 5  # raise it when the same bytes shall give other pixels or hashes: shards are then decoded anew
LIBRARIES = ("pillow", "pdqhash", "numpy")  # their versions may change pixels and hashes
NOT_PICTURES = (".json", ".txt")
FINGERPRINT, TAR_SHA256 = b"kg2clip.fingerprint", b"kg2clip.tarSHA256"  # in the metadata of a shard's table


@dataclass(frozen=True)
class Batch:
    """Where a batch's files lie.

    Attributes:
        manifest: `download/{batch}.manifest.parquet`; the raw tars lie in `download/{batch}/`.
        features: `curate/{batch}.features.parquet`; the decoded tars lie in `curate/{batch}/`.
    """

    manifest: Path
    features: Path

    @property
    def name(self) -> str:
        """The batch's name, which is its manifest's."""
        return self.manifest.name.removesuffix(".manifest.parquet")

    @property
    def raw(self) -> Path:
        """Folder of the raw tars."""
        return self.manifest.parent / self.name

    @property
    def decoded(self) -> Path:
        """Folder of the decoded tars and of the state of each shard."""
        return self.features.parent / self.name


def decode_batch(batch: Batch, rules: Rules, examiners: Examiners) -> pa.Table:
    """Decode all pictures of a batch that were fetched; shards that are whole from an earlier run are left alone.

    Returns:
        The features, a row for each fetched picture, by shard and candidateID.

    Raises:
        UserError: a raw tar is missing, torn, or holds other pictures than the manifest says.
    """
    downloads = tables.read_frame(batch.manifest, ["candidateID", "shard", "status", "sha256"])
    fetched = downloads[downloads["status"] == "success"].sort_values(["shard", "candidateID"])
    shards = {str(shard): rows for shard, rows in fetched.groupby("shard")}
    found = []
    with Progress(total=len(fetched), desc=f"decoding {batch.name}", unit="pictures") as progress:
        for shard, rows in shards.items():
            found.append(_shard(batch, shard, rows, rules, examiners, progress))
    _remove_stale(batch.decoded, set(shards))
    return pa.concat_tables([tables.FEATURES.empty_table(), *found])


def _shard(
    batch: Batch, shard: str, rows: pd.DataFrame, rules: Rules, examiners: Examiners, progress: Progress
) -> pa.Table:
    fingerprint = _fingerprint(rows, rules)
    state, tar = _state_file(batch.decoded, shard), batch.decoded / shard
    if (whole := _verified(state, tar, fingerprint)) is not None:
        progress.update(len(rows))
        return whole
    works = _works(batch, shard, rows, rules)
    features = []
    with tars.writing(tar) as writer:
        for (key, said), outcome in zip(_keys(rows), examiners.outcomes(works), strict=True):
            if said and outcome.sha256 != said:
                raise UserError(
                    _advice(batch, f"{batch.raw / shard} holds other bytes for {key} than the manifest says")
                )
            place = {}
            if outcome.jpeg:
                offset = writer.add(f"{key}.jpg", outcome.jpeg)
                place = {"tar": f"{batch.name}/{shard}", "offset": offset, "size": len(outcome.jpeg)}
            features.append({"candidateID": key, "batch": batch.name, **place, **_row(outcome)})
            progress.update()
    table = tables.as_table(features, tables.FEATURES)
    _save_state(table, state, {FINGERPRINT: fingerprint.encode(), TAR_SHA256: sha256_file(tar).encode()})
    return table


def _keys(rows: pd.DataFrame) -> list[tuple[str, str | None]]:
    return list(zip(rows["candidateID"], rows["sha256"], strict=True))


def _fingerprint(rows: pd.DataFrame, rules: Rules) -> str:
    """What a shard's features depend on: its pictures, the rules, and the code that decodes."""
    libraries = {library: version(library) for library in LIBRARIES}
    return stable_hash(_keys(rows), vars(rules), RECIPE, libraries)


def _works(batch: Batch, shard: str, rows: pd.DataFrame, rules: Rules) -> list[Work]:
    if not (batch.raw / shard).exists() and tars.mark_of(batch.raw / shard).exists():
        raise UserError(
            f"{batch.raw / shard} was dropped after decoding (download.keep_raw) and is needed to decode anew. "
            f"Fetch its batch again: rm -r {batch.raw} {batch.manifest} and start snakemake again"
        )
    try:
        members = tars.members(batch.raw / shard)
    except UserError as error:
        raise UserError(_advice(batch, str(error))) from None
    pictures = {Path(member.name).stem: member for member in members if not member.name.endswith(NOT_PICTURES)}
    if missing := [key for key in rows["candidateID"] if key not in pictures]:
        raise UserError(_advice(batch, f"{batch.raw / shard} lacks {len(missing)} pictures, among them {missing[0]}"))
    return [Work(pictures[key], rules) for key in rows["candidateID"]]


def drop_raw(batch: Batch) -> None:
    """Delete the raw tars of a batch whose features are written (download.keep_raw)."""
    for tar in sorted(batch.raw.glob("*.tar")):
        tars.drop(tar)


def _advice(batch: Batch, problem: str) -> str:
    return f"{problem}. Fetch them again: rm {batch.manifest} and start snakemake again; what is whole is kept"


def _row(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {
        "status": "refused" if outcome.reason else "decoded",
        "reason": outcome.reason,
        "format": outcome.format,
        "width": outcome.width,
        "height": outcome.height,
        "storedWidth": outcome.stored_width,
        "storedHeight": outcome.stored_height,
        "flags": list(outcome.flags),
        "pictureKind": outcome.kind,
        "sha256": outcome.sha256,
    }
    if looks := outcome.looks:
        row |= {
            "deviation": looks.deviation,
            "pixelHash": looks.pixels,
            "pdq": looks.pdq,
            "pdqMirrored": looks.pdq_mirrored,
            "pdqQuality": looks.quality,
            "windows": looks.windows,
            "colours": looks.colours,
        }
    return row


def _state_file(folder: Path, shard: str) -> Path:
    return folder / f"{shard}.features.parquet"


def _save_state(table: pa.Table, path: Path, metadata: dict[bytes, bytes]) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, **tables.STORED)


def _verified(state: Path, tar: Path, fingerprint: str) -> pa.Table | None:
    """A shard's features of an earlier run, where they and the decoded tar are whole and of the same inputs."""
    if not (state.exists() and tar.exists()):
        return None
    try:
        table = pq.read_table(state)
    except (OSError, pa.ArrowInvalid):
        return None
    metadata = table.schema.metadata or {}
    if metadata.get(FINGERPRINT) != fingerprint.encode() or metadata.get(TAR_SHA256) != sha256_file(tar).encode():
        return None
    return tables.as_table(table, tables.FEATURES).replace_schema_metadata(None)


def _remove_stale(folder: Path, shards: set[str]) -> None:
    """Remove shards that the manifest no longer names."""
    if not folder.exists():
        return
    for path in folder.iterdir():
        if path.name.split(".tar")[0] + ".tar" in shards or path.name == ".lock":
            continue
        path.unlink()
