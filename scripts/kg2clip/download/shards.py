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
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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

    def is_finished(self) -> bool:
        """Whether its record answers to its input and settings, lacks nothing that may still come, and verifies."""
        if not self.candidates:
            return not self.record.exists()
        record = read_record(self.record)
        if record is None or record.fingerprint != self.fingerprint:
            return False
        if pc.any(reasons.transient_among(record.rows)).as_py():
            return False
        if tars.mark_of(self.tar).exists() and not self.tar.exists():
            return True
        kept = record.rows.filter(pc.equal(record.rows.column("status"), reasons.SUCCESS))
        stored = dict(zip(*(kept.column(name).to_pylist() for name in ("candidateID", "sha256")), strict=True))
        found = {key: sha256_bytes(member.read()) for key, member in bodies(self.tar).items()}
        return found == stored

    def seal(self, journal: Journal, missing: Iterable[Row]) -> None:
        """Turn the journal, and the rows of what failed for now, into the finished tar and record."""
        late = {row["candidateID"]: row for row in missing}
        tars.mark_of(self.tar).unlink(missing_ok=True)
        with tars.writing(self.tar) if journal.has_pictures() else nullcontext() as tar:
            rows = tables.gather(self._pour(journal, late, tar), tables.DOWNLOADS)
        if tar is None:
            self.tar.unlink(missing_ok=True)
        if rows.num_rows:
            labels = {_RULES: self.rules, _FINGERPRINT: self.fingerprint}
            tables.write(rows, tables.DOWNLOADS.with_metadata(labels), self.record)
        else:
            self.record.unlink(missing_ok=True)
        journal.remove()

    def _pour(self, journal: Journal, late: Mapping[str, Row], tar: tars.TarWriter | None) -> Iterator[Row]:
        """The rows in the order of their keys; their bodies go into the tar."""
        for candidate in self.candidates:
            row, body = (late[candidate.key], None) if candidate.key in late else journal.entry(candidate.key)
            if body is not None and tar is not None:
                tar.add(f"{candidate.key}.{media.extension(row['mediaType'])}", body)
            yield {**row, "shard": self.tar.name if body is not None else None}


@dataclass(frozen=True)
class Record:
    """A finished shard's rows (`tables.DOWNLOADS`) and what they answered to."""

    rows: pa.Table
    rules: str
    fingerprint: str


def read_record(path: Path) -> Record | None:
    """Read a shard's record; None if it is absent, torn or of another version."""
    try:
        labels = pq.read_schema(path).metadata or {}
        table = tables.read(path)
        if table.schema.names != tables.DOWNLOADS.names:
            return None
        return Record(tables.as_table(table, tables.DOWNLOADS), labels[_RULES].decode(), labels[_FINGERPRINT].decode())
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

    rows: pa.Table = field(default_factory=tables.DOWNLOADS.empty_table)
    bodies: dict[str, tars.Member] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, rules: str) -> Archive:
        """Gather all finished shards of a folder that obeyed the same rules."""
        archive = cls()
        for path in sorted(folder.glob("*.rows.parquet")):
            record = read_record(path)
            if record is None or record.rules != rules:
                continue
            archive.rows = pa.concat_tables([archive.rows, record.rows])
            archive.bodies.update(bodies(path.with_name(path.name.replace(".rows.parquet", ".tar"))))
        return archive

    def find(self, candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Row, bytes | None]]:
        """Those candidates whose links are the same, whose outcome is final and whose body is whole, with both."""
        keys = pa.array([candidate.key for candidate in candidates], tables.text)
        places = pc.index_in(keys, value_set=self.rows.column("candidateID").combine_chunks())
        rows = self.rows.take(places.drop_null()).to_pylist()
        wanted = {candidate.key: candidate for candidate in candidates}
        for row in rows:
            candidate = wanted[row["candidateID"]]
            if not candidate.answered_by(row):
                continue
            if row["status"] != reasons.SUCCESS:
                yield candidate, row, None
            elif (body := self._body(candidate.key)) is not None and sha256_bytes(body) == row["sha256"]:
                yield candidate, row, body

    def _body(self, key: str) -> bytes | None:
        try:
            return self.bodies[key].read() if key in self.bodies else None
        except UserError:
            return None


class Journal:
    """What has arrived for an unfinished shard, in a file that only grows: a line of JSON (the row), then the body.

    A kill in mid-write leaves a torn end, which the next opening cuts off. Only final outcomes are written. In memory
    there is only where each entry lies.
    """

    def __init__(self, shard: Shard) -> None:
        """Open the shard's journal; one that obeyed other rules is begun anew."""
        self._places: dict[str, tuple[int, int, int]] = {}  # where the line begins, the body begins, the body ends
        self._path = shard.journal
        self._head = json.dumps({"rules": shard.rules}).encode() + b"\n"
        shard.folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "a+b")  # noqa: SIM115  (closed by __exit__)
        self._end = self._load(shard.candidates)
        self._file.truncate(self._end)
        if not self._end:
            self._write(self._head)

    def __enter__(self) -> Journal:
        """Use it as `with Journal(shard) as journal`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; it stays until `remove`."""
        self._file.close()

    def __contains__(self, key: str) -> bool:
        """Whether a candidate's outcome is there."""
        return key in self._places

    def __len__(self) -> int:
        """How many outcomes are there."""
        return len(self._places)

    def append(self, row: Row, body: bytes | None) -> None:
        """Keep a row, and its body if there is one."""
        line = json.dumps(row, ensure_ascii=True).encode() + b"\n"
        start = self._end
        self._write(line + (body or b""))
        self._places[row["candidateID"]] = (start, start + len(line), self._end)

    def entry(self, key: str) -> tuple[Row, bytes | None]:
        """A candidate's row, and the body of its picture if there is one."""
        start, middle, end = self._places[key]
        content = os.pread(self._file.fileno(), end - start, start)
        if len(content) != end - start:
            raise UserError(f"{self._path} is torn: it ends before byte {end}")
        row: Row = json.loads(content[: middle - start])
        return row, content[middle - start :] if row["status"] == reasons.SUCCESS else None

    def has_pictures(self) -> bool:
        """Whether any outcome is a picture."""
        return any(end > middle for _, middle, end in self._places.values())

    def remove(self) -> None:
        """Delete the file: the shard is finished."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()
        self._end += len(content)

    def _load(self, candidates: Iterable[Candidate]) -> int:
        """Find all whole entries that answer to a candidate; return where the last whole one ends."""
        self._file.seek(0)
        if self._file.readline() != self._head:
            return 0
        end = self._file.tell()
        wanted = {candidate.key: candidate for candidate in candidates}
        for row, place in self._entries():
            start, end = end, self._file.tell()
            self._places.pop(row["candidateID"], None)
            if row["candidateID"] in wanted and wanted[row["candidateID"]].answered_by(row):
                self._places[row["candidateID"]] = (start, place, end)
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
