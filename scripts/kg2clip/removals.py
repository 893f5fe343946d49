"""Pictures that somebody wants out: one list for all projects of a clone, which packing obeys and the report counts.

A CSV table (config: dataset.removed), so that people can read it, keep it and hand it on: candidateID, reason, date,
page. A picture goes when any of its copies is on the list. scripts/remove.py writes it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from kg2clip.errors import UserError
from kg2clip.files import atomic_path
from kg2clip.identifiers import stable_hash

COLUMNS = ("candidateID", "reason", "date", "furtherInformationURL")


def read(path: Path | str) -> list[dict[str, str]]:
    """The rows of the list; none where there is no list yet.

    Raises:
        UserError: the file is no such table.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
            table = csv.DictReader(file)
            rows = [{name: (row.get(name) or "").strip() for name in COLUMNS} for row in table]
            known = table.fieldnames or ()
    except FileNotFoundError:
        return []
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} (dataset.removed) is no CSV table ({error})") from None
    if "candidateID" not in known:
        raise UserError(f"{path} (dataset.removed) has no column candidateID, which names the pictures to leave out")
    return [row for row in rows if row["candidateID"]]


def keys(path: Path | str) -> list[str]:
    """The candidateIDs on the list, sorted, each once; raises as `read` does."""
    return sorted({row["candidateID"] for row in read(path)})


def digest(path: Path | str) -> str:
    """What stands for the list among a job's parameters: packing runs again when it names other pictures."""
    return stable_hash(keys(path))


def add(path: Path | str, rows: Iterable[Mapping[str, str]]) -> None:
    """Append rows of COLUMNS, atomically; a candidateID that is listed already keeps its row.

    Raises:
        UserError: the file is there and is no such table.
    """
    listed = {row["candidateID"]: row for row in read(path)}
    for row in rows:
        listed.setdefault(row["candidateID"], dict(row))
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed.values())
