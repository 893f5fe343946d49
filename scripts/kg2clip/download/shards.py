"""A shard on disk: what has been fetched survives a kill, and what is finished is proven so.

Files, none of them declared to Snakemake:
`NNNNN.journal`       while the shard is worked on: rows and bodies in the order of their arrival
`NNNNN.tar`           when it is finished: bodies sorted by key, exactly as received; absent if there are none
`NNNNN.rows.parquet`  written after the tar: the shard's rows of the manifest and what they answer to
The journal goes last, so a kill between two of these steps loses nothing.
`NNNNN.dropped`       in the place of a tar that was dropped once its pictures were decoded (download.keep_raw)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow.parquet as pq

from kg2clip import tables, tars
from kg2clip.download import media, reasons
from kg2clip.download.selection import Candidate
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes
from kg2clip.identifiers import stable_hash

Row = dict[str, Any]  # a row of tables.DOWNLOADS

_RULES, _FINGERPRINT = b"kg2clip.rules", b"kg2clip.fingerprint"


@dataclass(frozen=True)
class Shard:
    """One raw tar of a batch. `rules` is a hash of the settings that decide what may be taken."""

    folder: Path
    number: int
    candidates: tuple[Candidate, ...]
    rules: str

    @property
    def name(self) -> str:
        """Its number as five digits."""
        return f"{self.number:05d}"

    @property
    def tar(self) -> Path:
        """The raw tar."""
        return self.folder / f"{self.name}.tar"

    @property
    def record(self) -> Path:
        """The rows of the finished shard."""
        return self.folder / f"{self.name}.rows.parquet"

    @property
    def journal(self) -> Path:
        """What has arrived while the shard is not finished."""
        return self.folder / f"{self.name}.journal"

    @property
    def fingerprint(self) -> str:
        """A hash of everything that a finished shard answers to."""
        return stable_hash(
            self.rules, [[one.key, one.links, one.tried, one.stop, one.refused] for one in self.candidates]
        )

    def finished_rows(self) -> list[Row] | None:
        """The shard's rows if they answer to its input and settings, lack nothing that may still come, and verify."""
        if not self.candidates:
            return [] if not self.record.exists() else None
        record = read_record(self.record)
        if record is None or record.fingerprint != self.fingerprint:
            return None
        if any(reasons.is_transient(row["reason"]) for row in record.rows):
            return None
        if tars.mark_of(self.tar).exists() and not self.tar.exists():
            return record.rows
        stored = {row["candidateID"]: row["sha256"] for row in record.rows if row["status"] == reasons.SUCCESS}
        found = {key: sha256_bytes(member.read()) for key, member in bodies(self.tar).items()}
        return record.rows if found == stored else None

    def seal(self, journal: Journal, missing: Iterable[Row]) -> list[Row]:
        """Turn the journal, and the rows of what failed for now, into the finished tar and record; return the rows."""
        by_key = {row["candidateID"]: row for row in missing}
        rows = [by_key.get(candidate.key) or journal.rows[candidate.key] for candidate in self.candidates]
        rows = [{**row, "shard": self.tar.name if row["status"] == reasons.SUCCESS else None} for row in rows]
        stored = [row for row in rows if row["shard"]]
        tars.mark_of(self.tar).unlink(missing_ok=True)
        if stored:
            with tars.writing(self.tar) as tar:
                for row in stored:
                    key = row["candidateID"]
                    tar.add(f"{key}.{media.extension(row['mediaType'])}", journal.body(key))
        else:
            self.tar.unlink(missing_ok=True)
        if rows:
            labels = {_RULES: self.rules, _FINGERPRINT: self.fingerprint}
            tables.write(rows, tables.DOWNLOADS.with_metadata(labels), self.record)
        else:
            self.record.unlink(missing_ok=True)
        journal.remove()
        return rows


@dataclass(frozen=True)
class Record:
    """A finished shard's rows and what they answered to."""

    rows: list[Row]
    rules: str
    fingerprint: str


def read_record(path: Path) -> Record | None:
    """Read a shard's record; None if it is absent, torn or of another version."""
    try:
        labels = pq.read_schema(path).metadata or {}
        table = tables.read(path)
        if table.schema.names != tables.DOWNLOADS.names:
            return None
        return Record(table.to_pylist(), labels[_RULES].decode(), labels[_FINGERPRINT].decode())
    except (UserError, OSError, ValueError, KeyError):
        return None


def bodies(tar: Path) -> dict[str, tars.Member]:
    """Where the bodies of a raw tar lie, by key; nothing if it is absent or torn."""
    try:
        return {member.name.split(".")[0]: member for member in tars.members(tar)}
    except UserError:
        return {}


@dataclass
class Archive:
    """What a batch's folder already holds, from whatever config or input, ready to be used again."""

    rules: str
    _rows: dict[str, Row] = field(default_factory=dict)
    _bodies: dict[str, tars.Member] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, rules: str) -> Archive:
        """Gather all finished shards of a folder that obeyed the same rules."""
        archive = cls(rules)
        for path in sorted(folder.glob("*.rows.parquet")):
            record = read_record(path)
            if record is None or record.rules != rules:
                continue
            archive._rows.update((row["candidateID"], row) for row in record.rows)
            archive._bodies.update(bodies(path.with_name(path.name.replace(".rows.parquet", ".tar"))))
        return archive

    def find(self, candidate: Candidate) -> tuple[Row, bytes | None] | None:
        """The row and body of a candidate, if its links are the same, its outcome final and its body whole."""
        row = self._rows.get(candidate.key)
        if row is None or not candidate.answered_by(row):
            return None
        if row["status"] != reasons.SUCCESS:
            return row, None
        member = self._bodies.get(candidate.key)
        try:
            body = member.read() if member else None
        except UserError:
            return None
        return (row, body) if body is not None and sha256_bytes(body) == row["sha256"] else None


class Journal:
    """What has arrived for an unfinished shard, in a file that only grows: a line of JSON (the row), then the body.

    A kill in mid-write leaves a torn end, which the next opening cuts off. Only final outcomes are written.
    """

    def __init__(self, shard: Shard) -> None:
        """Open the shard's journal; one that obeyed other rules is begun anew."""
        self.rows: dict[str, Row] = {}
        self._places: dict[str, int] = {}
        self._path = shard.journal
        self._head = json.dumps({"rules": shard.rules}).encode() + b"\n"
        shard.folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "a+b")  # noqa: SIM115  (closed by __exit__)
        self._end = self._load()
        self._file.truncate(self._end)
        if not self._end:
            self._write(self._head)
        self._keep_only(shard.candidates)

    def __enter__(self) -> Journal:
        """Use it as `with Journal(shard) as journal`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; it stays until `remove`."""
        self._file.close()

    def append(self, row: Row, body: bytes | None) -> None:
        """Keep a row, and its body if there is one."""
        line = json.dumps(row, ensure_ascii=True).encode() + b"\n"
        start = self._end
        self._write(line + (body or b""))
        self.rows[row["candidateID"]] = row
        self._places[row["candidateID"]] = start + len(line)

    def body(self, key: str) -> bytes:
        """The body of a picture."""
        return tars.read_at(self._path, self._places[key], self.rows[key]["bytes"])

    def remove(self) -> None:
        """Delete the file: the shard is finished."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()
        self._end += len(content)

    def _load(self) -> int:
        """Read all whole entries; return where the last one ends."""
        self._file.seek(0)
        if self._file.readline() != self._head:
            return 0
        end = self._file.tell()
        for row, place in self._entries():
            self.rows[row["candidateID"]] = row
            self._places[row["candidateID"]] = place
            end = self._file.tell()
        return end

    def _entries(self) -> Iterator[tuple[Row, int]]:
        while (line := self._file.readline()).endswith(b"\n"):
            try:
                row = json.loads(line)
            except ValueError:
                return
            place = self._file.tell()
            body = self._file.read(row["bytes"] or 0)
            if row["status"] == reasons.SUCCESS and sha256_bytes(body) != row["sha256"]:
                return
            yield row, place

    def _keep_only(self, candidates: Iterable[Candidate]) -> None:
        wanted = {candidate.key: candidate for candidate in candidates}
        self.rows = {key: row for key, row in self.rows.items() if key in wanted and wanted[key].answered_by(row)}
