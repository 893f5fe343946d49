"""One's own pictures: a table of addresses (CSV or Parquet), or a folder of pictures with their texts.

In, for `table`: a row a picture with the columns of COLUMNS; rows that can't be used are left out and listed, with
their line and reason, in `rejected.csv` beside the kept answers. In, for `folder`: `Bombus terrestris/any name.jpg`,
the subfolder saying what is shown, with a text in `any name.txt` where there is one. No call is made. Pictures of the
folder are read by the stage download, from that folder only (`kg2clip.folder`).
"""

from __future__ import annotations

import csv
import difflib
import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip import folder as own_folder
from kg2clip import web
from kg2clip.errors import UserError
from kg2clip.files import atomic_path, read_json, write_json
from kg2clip.search.hits import hit
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

NAME, ADDRESS = "name", "accessURI"
COLUMNS = (  # of a table; the first two are needed
    NAME, ADDRESS, "title", "altText", "description", "caption", "tags", "license", "creator", "rightsHolder",
    "furtherInformationURL", "occurrenceID",
)  # fmt: skip
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".avif")
MAX_TEXT = 10_000  # bytes read of a text file
PAGE_SIZE, CHUNK = 300, 20_000
MEMORY = "2GB"

Row = Mapping[str, str]


class OwnTable(Source):
    """The source `table`; `wanted` is its section of the config."""

    name = "table"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted
        self._index: NameIndex | None = None
        self._counts: dict[str, Any] = {}

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Check the table's rows and index them by name, unless that was done for this very file.

        Raises:
            UserError: there is no such table, or it lacks a needed column.
        """
        path = Path(self._wanted["path"])
        if not path.is_file():
            raise UserError(f"{path} is not there (search.sources.table.path)")
        state = {"path": str(path), "size": path.stat().st_size, "modified": path.stat().st_mtime_ns}
        built = answers.folder / "table.json"
        index = answers.folder / "table.parquet"
        if not built.exists() or not index.exists() or read_json(built)["table"] != state:
            built.unlink(missing_ok=True)
            checked = Checked(answers.folder / "rejected.csv")
            NameIndex.build(checked.rows(read_table(path)), index)
            write_json(built, {"table": state, "counts": checked.close()})
        self._counts = read_json(built)["counts"]
        if self._counts["rejected"]:
            why = ", ".join(f"{reason} {number}" for reason, number in self._counts["reasons"].items())
            log.warning("%s: %d rows can't be used (%s)", path, self._counts["rejected"], why)
            log.warning("they are listed in %s", answers.folder / "rejected.csv")
        self._index = NameIndex(index)

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures under the name that a query asks for, in the table's order."""
        if self._index is None:
            raise RuntimeError("prepare() comes before pages()")
        if query["kind"] == "noun":
            for rows in self._index.pages(query["name"]):
                yield [_hit_of(row) for row in rows]

    def facts(self) -> dict[str, Any]:
        """How many rows were used, and how many were not, by reason."""
        return {"table": self._counts}


def _hit_of(row: Row) -> Hit:
    return hit(
        OwnTable.name,
        row[ADDRESS],
        row[ADDRESS],
        page=row.get("furtherInformationURL"),
        title=row.get("title"),
        alt_text=row.get("altText"),
        description=row.get("description"),
        caption=row.get("caption"),
        tags=row.get("tags", "").split("|"),
        license=row.get("license"),
        creator=row.get("creator"),
        rights_holder=row.get("rightsHolder"),
        originalURI=row[ADDRESS],
        occurrenceID=row.get("occurrenceID"),
    )


def read_table(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a CSV (comma, semicolon or tab; UTF-8) or Parquet table: line and values, all texts, empty ones left
    out.

    Raises:
        UserError: it can't be read, or a needed column is missing.
    """
    try:
        if path.suffix.lower() == ".parquet":
            yield from _read_parquet(path)
        else:
            yield from _read_csv(path)
    except (pa.ArrowInvalid, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read as a table in UTF-8 ({error})") from None


def _read_csv(path: Path) -> Iterator[tuple[int, Row]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        separator = max(",;\t", key=header.count)
        columns = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        _check_columns(path, columns)
        rows = csv.reader(file, delimiter=separator, strict=True)  # a quote that nobody closes would swallow all rows
        for cells in rows:
            values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
            if values:
                yield rows.line_num + 1, values


def _read_parquet(path: Path) -> Iterator[tuple[int, Row]]:
    with pq.ParquetFile(path) as table:
        columns = table.schema_arrow.names
        _check_columns(path, columns)
        line = 1
        for batch in table.iter_batches(batch_size=CHUNK, columns=[name for name in COLUMNS if name in columns]):
            for row in batch.to_pylist():
                line += 1
                yield line, {name: text for name, value in row.items() if (text := _text(value))}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(str(one) for one in value)
    return str(value).strip() if value is not None and value == value else ""  # NaN is not itself


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    for needed in (NAME, ADDRESS):
        if needed not in columns:
            close = difflib.get_close_matches(needed, columns, n=1, cutoff=0.5)
            advice = f"rename {close[0]}" if close else f"it has: {', '.join(columns)[:200]}"
            raise UserError(f"{path} has no column {needed} ({advice}). Needed are {NAME} and {ADDRESS}")


class Checked:
    """Lets usable rows pass and lists the others in a file, with their line and reason."""

    def __init__(self, rejected: Path) -> None:
        rejected.parent.mkdir(parents=True, exist_ok=True)
        self._path = rejected
        self._why: Counter[str] = Counter()
        self._used = 0

    def rows(self, rows: Iterable[tuple[int, Row]]) -> Iterator[tuple[str, Row]]:
        """Name and values of the usable rows."""
        seen: set[int] = set()
        with atomic_path(self._path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "reason", NAME, ADDRESS))
            for line, row in rows:
                if reason := _refusal(row, seen):
                    self._why[reason] += 1
                    writer.writerow((line, reason, row.get(NAME, "")[:200], row.get(ADDRESS, "")[:200]))
                else:
                    self._used += 1
                    yield row[NAME], {name: row[name] for name in COLUMNS if name in row}

    def close(self) -> dict[str, Any]:
        """How many rows passed, and how many did not, by reason."""
        return {"used": self._used, "rejected": self._why.total(), "reasons": dict(sorted(self._why.items()))}


def _refusal(row: Row, seen: set[int]) -> str | None:
    if NAME not in row:
        return "no-name"
    if ADDRESS not in row:
        return "no-address"
    try:
        address = web.check_url(row[ADDRESS])
    except web.RefusedError as error:
        return error.reason
    if web.is_private_literal(web.host_of(address) or ""):
        return "private-address"
    identity = hash((_key(row[NAME]), address))
    if identity in seen:
        return "twice"
    seen.add(identity)
    return None


class OwnFolder(Source):
    """The source `folder`; `wanted` is its section of the config."""

    name = own_folder.SOURCE

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted
        self._files: dict[str, list[Path]] = {}

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """List the folder.

        Raises:
            UserError: there is no such folder, or no picture in its subfolders.
        """
        root = Path(self._wanted["path"])
        if not root.is_dir():
            raise UserError(f"{root} is no folder (search.sources.folder.path)")
        for path in sorted(root.glob("*/**/*")):
            if path.suffix.lower() in SUFFIXES and own_folder.is_inside(path, root):
                self._files.setdefault(_key(path.relative_to(root).parts[0]), []).append(path)
        if not self._files:
            raise UserError(
                f"{root} has no pictures in subfolders that bear the names of what they show, as in "
                "Bombus terrestris/picture.jpg"
            )

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures in the subfolder of the name that a query asks for, by their names."""
        if query["kind"] != "noun":
            return
        files = iter(self._files.get(_key(query["name"]), ()))
        while page := list(islice(files, PAGE_SIZE)):
            yield [self._hit_of(path) for path in page]

    def facts(self) -> dict[str, Any]:
        """How many pictures and subfolders there are."""
        return {"pictures": sum(map(len, self._files.values())), "subfolders": len(self._files)}

    def _hit_of(self, path: Path) -> Hit:
        root = Path(self._wanted["path"])
        address = own_folder.address_of(path, root)
        text = path.with_suffix(".txt")
        said = text.read_bytes()[:MAX_TEXT].decode("utf-8", "replace") if text.is_file() else None
        relative = path.relative_to(root).as_posix()
        return hit(
            self.name, relative, address, caption=said, license=self._wanted["license"],
            creator=self._wanted["creator"], bytes=path.stat().st_size,
        )  # fmt: skip


class NameIndex:
    """Rows looked up by name, whatever their number: a Parquet file sorted by name."""

    def __init__(self, path: Path) -> None:
        self._database = duckdb.connect()
        self._database.read_parquet(str(path)).create_view("named")

    @staticmethod
    def build(rows: Iterable[tuple[str, Row]], path: Path) -> None:
        """Write the index of rows, each with its name, out of core."""
        schema = pa.schema([("name", pa.string()), ("place", pa.int64()), ("row", pa.string())])
        path.parent.mkdir(parents=True, exist_ok=True)
        unsorted = path.with_name(f".{path.name}.unsorted")
        with pq.ParquetWriter(unsorted, schema) as writer:
            counted = enumerate(rows)
            while chunk := list(islice(counted, CHUNK)):
                made = [
                    {"name": _key(name), "place": place, "row": json.dumps(row, ensure_ascii=False)}
                    for place, (name, row) in chunk
                ]
                writer.write_table(pa.Table.from_pylist(made, schema=schema))
        spill = str(path.parent / ".duckdb")
        with (
            duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": spill}) as database,
            atomic_path(path) as temporary,
        ):
            database.read_parquet(str(unsorted)).order("name, place").write_parquet(str(temporary), compression="zstd")
        unsorted.unlink()

    def pages(self, name: str) -> Iterator[list[dict[str, str]]]:
        """The rows of a name, in their order, PAGE_SIZE at a time."""
        cursor = self._database.cursor()
        cursor.execute("SELECT row FROM named WHERE name = ? ORDER BY place", [_key(name)])
        while rows := cursor.fetchmany(PAGE_SIZE):
            yield [json.loads(row) for (row,) in rows]


def _key(name: str) -> str:
    # A Mac's folders are named in decomposed letters.
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").casefold().split())
