"""iNaturalist Open Data: the monthly tables of the bucket inaturalist-open-data, joined on this machine: the bulk way.

Terms: keyless, no limit of calls; openly licensed photos only (reference: harvest 3.1). The tables are fetched once,
one after the other; of each only the needed columns are kept, and the rest is deleted before the next one comes. Then
they are joined out of core into an index sorted by taxon, which all projects share. Disk: see ROOM. Your own copies of
the tables in the folder are used as they are and stay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import duckdb

from kg2clip.errors import UserError
from kg2clip.files import atomic_path, only_writer, read_json, write_json
from kg2clip.largefiles import check_room, fetch_file, remote_size
from kg2clip.search import licenses
from kg2clip.search.inaturalist import (
    SITE,
    media_type,
    name_of,
    names_taxon,
    only_match,
    photo_hit,
    resize,
    without_descendants,
)
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings
from kg2clip.texts import clean

log = logging.getLogger(__name__)

INDEX_MEMORY = "2GB"  # half of what the rule search_images asks for; beyond it DuckDB works on disk
MAX_TABLE = 10**11  # bytes of a packed table; the largest of 2026 has 2 * 10**10
# Bytes on disk at the fullest moment for each byte of the packed tables. Per photo the packed tables have 81 bytes,
# what is kept of them 32, the index 21 (measured on 4.8 million synthetic rows); sorting spills about 100 to the disk.
ROOM = 2.0

# The needed columns of each table, as they are kept: the largest tables come last.
TABLES: Mapping[str, Mapping[str, str]] = {
    "taxa": {
        "taxonID": "CAST(taxon_id AS INTEGER)",
        "ancestorIDs": "CAST(coalesce(string_split(ancestry, '/'), []) AS INTEGER[])",
        "name": "name",
        "active": "active = 'true'",
    },
    "observers": {"observerID": "CAST(observer_id AS INTEGER)", "creator": "coalesce(name, login)"},
    "observations": {
        "observationID": "CAST(observation_uuid AS UUID)",
        "taxonID": "CAST(taxon_id AS INTEGER)",
        "quality": "quality_grade",
    },
    "photos": {
        "photoID": "CAST(photo_id AS BIGINT)",
        "observationID": "CAST(observation_uuid AS UUID)",
        "observerID": "CAST(observer_id AS INTEGER)",
        "extension": "extension",
        "license": "license",
        "width": "TRY_CAST(width AS INTEGER)",
        "height": "TRY_CAST(height AS INTEGER)",
        "position": "TRY_CAST(position AS INTEGER)",
    },
}
COLUMNS = {
    "taxa": ("taxon_id", "ancestry", "name", "active"),
    "observers": ("observer_id", "login", "name"),
    "observations": ("observation_uuid", "taxon_id", "quality_grade"),
    "photos": (
        "photo_id", "observation_uuid", "observer_id", "extension", "license", "width", "height", "position",
    ),
}  # fmt: skip

Fetch = Callable[[str, Path], dict[str, Any]]  # the table's name, where to put it; gives what the server said of it
Stamp = dict[str, Any]  # which state of a table this is


class INaturalistOpenData(Source):
    """The source `inaturalistopendata`; `wanted` is its section of the config."""

    name = "inaturalistopendata"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted
        self._tables: OpenData | None = None

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Fetch the tables and build the index, unless they are there.

        Raises:
            IncompleteError: the bucket gives no more for now. What was fetched is kept.
            UserError: no contact, no room on the disk, or tables that can't be read.
        """
        self._open(answers.contact)

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The photos of the taxon that the query names, in one list; the first photo of each observation comes
        first.
        """
        if not names_taxon(query):
            return
        tables = self._open(answers.contact)
        taxon = only_match(query, tables.find_taxa(name_of(query), query["disambiguation"]))
        if taxon is not None:
            yield list(tables.hits(taxon, self._wanted))

    def facts(self) -> dict[str, Any]:
        """The dates of the tables."""
        return {"tables": self._tables.dates} if self._tables else {}

    def _open(self, contact: str) -> OpenData:
        def fetch(name: str, path: Path) -> Stamp:
            return fetch_file(f"{address}/{name}.csv.gz", path, contact, MAX_TABLE)

        address = self._wanted["tables"].rstrip("/")
        if self._tables is None:
            folder = Path(self._wanted["folder"])
            if not is_ready(folder):
                _check_room(folder, address, contact)
            self._tables = OpenData(folder, fetch)
        return self._tables


class OpenData:
    """The tables of a folder, with an index (three Parquet files in `index/`) that is built once.

    Args:
        fetch: brings a table; without it the tables have to be in the folder.

    Raises:
        UserError: a table is missing, damaged or has other columns, or the folder can't be written.
    """

    def __init__(self, folder: Path, fetch: Fetch | None = None) -> None:
        index = build_index(folder, fetch)
        self.dates = {name: stamp.get("lastModified") for name, stamp in read_json(index / BUILT).items()}
        self._database = duckdb.connect()
        for name in ("photos", "taxa", "lineages"):
            self._database.read_parquet(str(index / f"{name}.parquet")).create_view(name)

    def find_taxa(self, name: str, word: str | None = None) -> dict[int, Sequence[int]]:
        """Active taxa of exactly this scientific name, with the ids of their ancestors; of several, those with an
        ancestor named `word`.
        """
        rows = self._ask("SELECT taxonID, ancestorIDs FROM taxa WHERE name = ?", [name])
        matches = without_descendants(dict(rows))
        if len(matches) <= 1 or not word:
            return matches
        ancestors = [ancestor for above in matches.values() for ancestor in above]
        named = self._ask(
            "SELECT taxonID FROM taxa WHERE lower(name) = lower(?) AND list_contains(?, taxonID)", [word, ancestors]
        )
        known = {taxon for (taxon,) in named}
        return {taxon: above for taxon, above in matches.items() if known & set(above)}

    def hits(self, taxon: int, wanted: Settings) -> Iterator[Hit]:
        """The photos of a taxon and of all taxa below it, at most `per_query`, each once."""
        rows = self._ask(
            """
            WITH found AS (
                SELECT * FROM photos
                WHERE taxonID IN (SELECT taxonID FROM lineages WHERE ancestorID = $taxon)
                  AND list_contains($grades, quality) AND ($any OR list_contains($licenses, lower(license)))
                QUALIFY row_number() OVER (PARTITION BY photoID ORDER BY place, observationID) = 1
            )
            SELECT photoID, observationID, extension, license, width, height, creator
            FROM found ORDER BY place, photoID LIMIT $limit
            """,
            {
                "taxon": taxon,
                "grades": list(wanted["quality_grades"]),
                "any": wanted["licenses"] == "any",
                "licenses": [] if wanted["licenses"] == "any" else list(wanted["licenses"]),
                "limit": wanted["per_query"],
            },
        )
        for photo, observation, extension, license, width, height, creator in rows:
            address = f"{wanted['pictures'].rstrip('/')}/photos/{photo}/original.{extension}"
            spoken = licenses.normalize(license)
            yield {
                **photo_hit(str(photo), INaturalistOpenData.name),
                "observationID": str(observation),
                "accessURI": resize(address, wanted["photo_size"]),
                "originalURI": address,
                "furtherInformationURL": f"{SITE}/observations/{observation}",
                "format": media_type(address),
                "width": width,
                "height": height,
                "license": spoken,
                "licenseOriginal": license,
                "creator": clean(creator),
                "rightsHolder": None if spoken in ("CC0-1.0", "public-domain") else clean(creator),
            }

    def _ask(self, query: str, values: Any) -> list[Any]:
        return self._database.cursor().execute(query, values).fetchall()


def read_open_data(folder: Path, names: Sequence[str], wanted: Settings) -> dict[str, list[Hit]]:
    """The photos of taxa by exact scientific name, as `INaturalistOpenData` finds them; names of several taxa or of
    none give no photos.
    """
    opened = OpenData(folder)
    matches = {name: list(opened.find_taxa(name)) for name in names}
    return {name: list(opened.hits(found[0], wanted)) if len(found) == 1 else [] for name, found in matches.items()}


# The index. In its folder everything is ours: fetched tables (NAME.csv.gz), what is kept of them (NAME.columns.parquet,
# with the table's stamp in NAME.columns.json), and the index itself, which is whole once BUILT is there.

BUILT = "built.json"  # the stamps of the tables that the index was built from


def is_ready(folder: Path) -> bool:
    """Whether the index stands, and your own tables, where there are any, are those that it was built from."""
    if not (folder / "index" / BUILT).exists():
        return False
    built = read_json(folder / "index" / BUILT)
    own = {name: _stamp(path) for name in TABLES if (path := folder / f"{name}.csv.gz").is_file()}
    return all(built.get(name) == stamp for name, stamp in own.items())


def build_index(folder: Path, fetch: Fetch | None = None) -> Path:
    """Join the tables into Parquet files sorted by taxon, unless that was done for these very tables.

    Gives the files' folder. Out of core: the tables of 2026 hold some hundred million photos.
    """
    index = folder / "index"
    try:
        with only_writer(index):
            if not is_ready(folder):
                (index / BUILT).unlink(missing_ok=True)
                stamps = {name: _keep_columns(folder, name, fetch) for name in TABLES}
                _join(index)
                write_json(index / BUILT, stamps)
                for name in TABLES:
                    for path in (index / f"{name}.columns.parquet", index / f"{name}.columns.json"):
                        path.unlink(missing_ok=True)
    except PermissionError as error:
        raise UserError(f"the index of {folder} can't be written there ({error.strerror}): copy the tables") from None
    return index


def _keep_columns(folder: Path, name: str, fetch: Fetch | None) -> Stamp:
    """Bring a table's needed columns into the index's folder, typed; give the table's stamp."""
    own, fetched = folder / f"{name}.csv.gz", folder / "index" / f"{name}.csv.gz"
    kept, told = folder / "index" / f"{name}.columns.parquet", folder / "index" / f"{name}.columns.json"
    stamp: Stamp | None = read_json(told) if told.exists() and kept.exists() else None
    if own.is_file():
        if stamp != _stamp(own):
            _write_columns(own, name, kept)
            write_json(told, _stamp(own))
        return _stamp(own)
    if stamp is not None:
        return stamp
    others = [other for other in TABLES if (folder / f"{other}.csv.gz").is_file()]
    if fetch is None or others:
        raise UserError(
            f"{own} is not there. Put all four tables there ({', '.join(f'{table}.csv.gz' for table in TABLES)}, from "
            "https://inaturalist-open-data.s3.amazonaws.com), or none: then they are fetched"
        )
    log.info("fetching %s.csv.gz", name)
    said = fetch(name, fetched) or {"size": fetched.stat().st_size}
    try:
        _write_columns(fetched, name, kept)
        write_json(told, said)
    finally:
        fetched.unlink()  # read, or damaged: then the next run fetches it anew
    return said


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return {
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "lastModified": formatdate(status.st_mtime, usegmt=True),
    }


def _write_columns(table: Path, name: str, target: Path) -> None:
    log.info("reading %s", table)
    database = duckdb.connect(config={"memory_limit": INDEX_MEMORY})
    try:
        # Tab-separated without quoting; empty is missing.
        rows = database.read_csv(
            str(table), delimiter="\t", header=True, quotechar="", escapechar="", all_varchar=True, compression="gzip"
        )
        if absent := [column for column in COLUMNS[name] if column not in rows.columns]:
            raise UserError(f"{table} has no column {', '.join(absent)}: it is no table of iNaturalist's open data")
        rows.create_view("rows")
        columns = ", ".join(f"{reading} AS {column}" for column, reading in TABLES[name].items())
        with atomic_path(target) as temporary:
            database.sql(f"SELECT {columns} FROM rows").write_parquet(str(temporary), compression="zstd")
    except duckdb.Error as error:
        raise UserError(
            f"{table} can't be read: run the same command again, or fetch it again "
            f"({' '.join(str(error).split())[:300]})"
        ) from None
    finally:
        database.close()


def _join(index: Path) -> None:
    log.info("building the index of %s", index.parent)
    database = duckdb.connect(config={"memory_limit": INDEX_MEMORY, "temp_directory": str(index / ".duckdb")})
    try:
        for name in TABLES:
            database.read_parquet(str(index / f"{name}.columns.parquet")).create_view(name)
        for name, query in _INDEX.items():
            with atomic_path(index / f"{name}.parquet") as temporary:
                database.sql(query).write_parquet(str(temporary), compression="zstd")
    finally:
        database.close()


_INDEX = {
    "photos": """
        SELECT taxonID, photoID, observationID, quality, extension, license, width, height, creator,
               row_number() OVER (PARTITION BY observationID ORDER BY position, photoID) AS place
        FROM photos JOIN observations USING (observationID) LEFT JOIN observers USING (observerID)
        WHERE taxonID IS NOT NULL
        ORDER BY taxonID, place, photoID, observationID
    """,
    "taxa": """
        SELECT taxonID, name, ancestorIDs FROM taxa WHERE active AND name IS NOT NULL ORDER BY name, taxonID
    """,
    "lineages": """
        SELECT unnest(list_append(ancestorIDs, taxonID)) AS ancestorID, taxonID FROM taxa ORDER BY ancestorID, taxonID
    """,
}


def _check_room(folder: Path, address: str, contact: str) -> None:
    if any((folder / f"{name}.csv.gz").is_file() for name in TABLES):
        return  # your own tables, which you found room for
    here = [name for name in TABLES if (folder / "index" / f"{name}.columns.json").exists()]
    sizes = {name: remote_size(f"{address}/{name}.csv.gz", contact) or 0 for name in TABLES if name not in here}
    check_room(folder, int(ROOM * sum(sizes.values())), "iNaturalist's open data")
