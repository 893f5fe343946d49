"""One source's answers and the ledger of its calls, in one SQLite file.

One file, since a cluster's file systems suffer from a hundred thousand small ones. Whoever opens it holds the lock of
its folder (`files.only_writer`), so SQLite may keep the file to itself: only then does its write-ahead log work on
network file systems (https://www.sqlite.org/wal.html, 8). A call is synced before it is made, an answer before it is
used: what was paid for survives a power cut. All threads that wait for the disk share one commit: with one for each, a
disk that syncs in 3 ms would allow a hundred calls a second.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary, finalize

from kg2clip import provenance
from kg2clip.errors import UserError

NAME = "answers.sqlite"
LEVEL = 3  # of zlib: half the time of the default for a tenth more bytes
TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    request TEXT PRIMARY KEY,  -- hash of address and parameters
    date TEXT NOT NULL,        -- when the source gave it, UTC
    url TEXT NOT NULL,
    parameters TEXT NOT NULL,  -- JSON
    content BLOB NOT NULL      -- what came back, zlib
);
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY,
    date TEXT NOT NULL,        -- when it was made, UTC
    host TEXT NOT NULL,
    status TEXT                -- HTTP status, 'no answer', or null where the run ended before either
);
"""


class Kept(NamedTuple):
    """An answer and the date on which the source gave it."""

    date: str
    content: bytes


class Store:
    """Answers by request, and calls by number. Safe to use from several threads; open it with `open_store`.

    Raises:
        UserError: the file is damaged, or another program holds it.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store of a source, made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._committing = threading.Lock()
        self._written = self._synced = 0  # statements
        path = folder / NAME
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            finalize(self, _close, self._database)  # a connection is part of a cycle: it would live on for a while
            for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.executescript(TABLES)
            days = self._database.execute("SELECT substr(date, 1, 10), count(*) FROM calls GROUP BY 1").fetchall()
            self._database.execute("BEGIN")
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{path} can't be used ({error}). If no other run uses it, move it away: its questions are asked anew"
            ) from None
        self.calls_by_day: Counter[str] = Counter(dict(days))

    @property
    def calls(self) -> int:
        """Calls made in all runs."""
        return self.calls_by_day.total()

    def find(self, request: str) -> Kept | None:
        """The answer to a request, if it was given before."""
        with self._lock:
            row = self._database.execute("SELECT date, content FROM answers WHERE request = ?", [request]).fetchone()
        return Kept(row[0], zlib.decompress(row[1])) if row else None

    def begin_call(self, host: str) -> int:
        """Write a call down, so that one cut off by a crash counts too; give its number. `sync` before it is made."""
        date = provenance.now()
        self.calls_by_day[date[:10]] += 1
        return self._write("INSERT INTO calls (date, host) VALUES (?, ?)", [date, host])

    def end_call(self, number: int, status: int | str) -> None:
        """Write down how a call ended."""
        self._write("UPDATE calls SET status = ? WHERE number = ?", [str(status), number])

    def keep(self, request: str, date: str, url: str, parameters: str, content: bytes) -> None:
        """Keep an answer, on the disk before this returns."""
        row = [request, date, url, parameters, zlib.compress(content, LEVEL)]
        self._write("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", row)
        self.sync()

    def sync(self) -> None:
        """Wait until all that this thread has written is on the disk."""
        with self._lock:
            mine = self._written
        with self._committing:
            if self._synced >= mine:
                return  # another thread's commit took it along
            with self._lock:
                written = self._written
                self._database.execute("COMMIT")
                self._database.execute("BEGIN")
            self._synced = written

    def _write(self, statement: str, row: Sequence[object]) -> int:
        with self._lock:
            self._written += 1
            return int(self._database.execute(statement, row).lastrowid or 0)


def _close(database: sqlite3.Connection) -> None:
    database.commit()
    database.close()


_open: WeakValueDictionary[Path, Store] = WeakValueDictionary()


def open_store(folder: Path) -> Store:
    """The store of a folder: one for all who use it in this process, as SQLite lets the file to one only."""
    path = folder.resolve()
    store = _open.get(path)
    if store is None:
        store = _open[path] = Store(path)
    return store
