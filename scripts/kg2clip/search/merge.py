"""Hits to candidates: each picture once, whatever queries, entities and sources found it.

Out of core: hits pass through DuckDB with a fixed share of memory and spill to a folder beside the output, so that ten
million need hardly more memory than one million.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import atomic_path, scratch_folder

MEMORY = "4GB"  # DuckDB's share; with what lies outside its count the program stays below 8 GB
PART = 1_000_000  # hits whose lists are gathered at a time
GROUP = 50_000  # rows of a row group of the output

# What another link of the same picture may add where the first one says nothing.
TEXTS = ("title", "altText", "description", "caption")
FILLED = (*TEXTS, "tags", "observationID", "occurrenceID")
CREDIT = ("license", "licenseOriginal", "licenseURL", "creator", "rightsHolder")  # of one link, never mixed

# A hit's place is its number in the order of asking: a picture stands for itself with the columns of the hit that was
# found first. A candidate whose hits bear several keys takes one of them for all, so that it is never in two pictures.
PLACED = """
CREATE VIEW hits AS {parts};
CREATE TABLE keyed AS
    SELECT hash(candidateID) AS candidate, min(hash(pictureKey)) AS picture FROM hits GROUP BY ALL;
CREATE TABLE placed AS
    SELECT picture, candidate, place, rank, queryID, entityID FROM hits JOIN keyed ON candidate = hash(candidateID);
DROP TABLE keyed;
"""

# Lists that are being gathered can't leave memory, so they are gathered for a part of the pictures at a time.
PICTURES = """
SELECT picture, min(place) AS place, min(rank) AS rank, min(candidate) <> max(candidate) AS linked,
       list_sort(list(DISTINCT queryID)) AS queryIDs, list_sort(list(DISTINCT entityID)) AS entityIDs
FROM placed WHERE {part} GROUP BY picture
"""

MEMBERS = """
CREATE TABLE members AS
WITH firsts AS (
    SELECT picture, candidate, min(placed.place) AS place
    FROM placed SEMI JOIN (FROM pictures WHERE linked) USING (picture) GROUP BY ALL
)
SELECT hits.*, picture FROM hits JOIN firsts USING (place);
DROP TABLE placed;
"""

LINKS = """
SELECT picture,
       list({{candidateID: candidateID, source: source, sourceID: sourceID, accessURI: accessURI}}
            ORDER BY place)[2:] AS links,
       arg_min({{{credit}}}, place) FILTER (license <> 'unknown') AS credit,
       {filled}
FROM members WHERE {part} GROUP BY picture
"""

# Entities are at odds unless one of them lies below all the others (a species and its genus are not).
CONFLICTS = """
CREATE TABLE conflicts AS
WITH several AS (
    SELECT picture, unnest(entityIDs) AS entityID, len(entityIDs) AS count FROM pictures WHERE len(entityIDs) > 1
), above AS (
    SELECT DISTINCT entityID, ancestor.entityID AS ancestorID
    FROM (SELECT entityID, unnest(ancestors) AS ancestor FROM read_parquet('{entities}'))
), lowest AS (
    SELECT one.picture FROM several one JOIN above USING (entityID)
    JOIN several other ON other.picture = one.picture AND other.entityID = ancestorID
    GROUP BY one.picture, one.entityID, one.count HAVING count(*) = one.count - 1
)
SELECT DISTINCT picture FROM several WHERE picture NOT IN (FROM lowest);
"""

# Joined in two steps: first only the wide rows, with little beside them, then part by part all that belongs to them.
BEST = """
CREATE TABLE best AS SELECT hits.*, picture FROM hits JOIN (SELECT place, picture FROM pictures) USING (place)
"""

CANDIDATES = """
SELECT {columns}, queryIDs, entityIDs, conflicts.picture IS NOT NULL AS conflict, pictures.rank, links
FROM (FROM best WHERE candidateID >= '{low}' AND candidateID < '{high}') hits
JOIN pictures ON pictures.picture = hits.picture
LEFT JOIN links ON links.picture = hits.picture
LEFT JOIN conflicts ON conflicts.picture = hits.picture
ORDER BY candidateID
"""


def merge_hits(hits: Sequence[Path], entities: Path, output: Path) -> dict[str, int]:
    """Write search/candidates.parquet; give what came in and what went out.

    Where a picture has several links, that of the source asked first stands for it, the others become `links`, texts
    that it lacks come from them, and so does the licence where its own is unknown.

    Args:
        hits: search/{search}.hits.parquet, in the order in which the searches were made.
        entities: knowledge/entities.parquet.

    Raises:
        UserError: a table is missing or torn.
    """
    with scratch_folder(output) as spill:
        database = duckdb.connect(
            str(spill / "merge.duckdb"),
            config={"memory_limit": MEMORY, "temp_directory": str(spill), "preserve_insertion_order": False},
        )
        try:
            _gather(database, hits, entities)
            counts = _count(database)
            _write(database, counts["hits"], output)
            return counts
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            said = " ".join(str(error).split("LINE")[0].split())[:500]
            raise UserError(
                f"the hits can't be merged ({said}). Remove the table that is torn, free the disk if it is full, and "
                "run the same command again"
            ) from None
        finally:
            database.close()


def _gather(database: duckdb.DuckDBPyConnection, hits: Sequence[Path], entities: Path) -> None:
    """Make the tables `pictures`, `links` and `conflicts`."""
    parts = (
        f"SELECT * EXCLUDE (file_row_number), ({number}::BIGINT << 40) + file_row_number AS place "
        f"FROM read_parquet('{_quoted(path)}', file_row_number = true)"
        for number, path in enumerate(hits)
    )
    database.execute(PLACED.format(parts=" UNION ALL BY NAME ".join(parts)))
    count = sum(database.execute("SELECT count(*) FROM placed").fetchone() or ())
    _in_parts(database, "pictures", PICTURES, count)
    database.execute(MEMBERS)
    filled = ", ".join(f"arg_min({_some(name)}, place) AS {name}" for name in FILLED)
    credit = ", ".join(f"{name}: {name}" for name in CREDIT)
    _in_parts(database, "links", LINKS, count, filled=filled, credit=credit)
    database.execute(CONFLICTS.format(entities=_quoted(entities)))


def _write(database: duckdb.DuckDBPyConnection, hits: int, output: Path) -> None:
    """Write the candidates in the order of their ids, part by part: ids are hashes, so parts are of one size."""
    parts = 1 + hits // PART
    bounds = ["", *(f"{256 * number // parts:02x}" for number in range(1, parts)), "\U0010ffff"]
    database.execute(BEST)
    with atomic_path(output) as temporary, pq.ParquetWriter(temporary, tables.CANDIDATES, **tables.STORED) as file:
        for low, high in itertools.pairwise(bounds):
            part = database.sql(_candidates(low, high)).to_arrow_table()
            file.write_table(tables.as_table(part, tables.CANDIDATES), row_group_size=GROUP)


def _in_parts(database: duckdb.DuckDBPyConnection, table: str, query: str, hits: int, **words: str) -> None:
    """Make a table of a query over all pictures, so many at a time that about PART hits are in memory."""
    parts = 1 + hits // PART
    for number in range(parts):
        made = query.format(part=f"picture % {parts} = {number}", **words)
        database.execute(f"INSERT INTO {table} {made}" if number else f"CREATE TABLE {table} AS {made}")


def _candidates(low: str, high: str) -> str:
    columns = []
    for name in tables.HITS.names:
        if name in FILLED:
            columns.append(f"coalesce({_some(name, 'hits.')}, links.{name}) AS {name}")
        elif name in CREDIT:
            known = "coalesce(hits.license, 'unknown') <> 'unknown' OR credit IS NULL"
            columns.append(f"CASE WHEN {known} THEN hits.{name} ELSE credit.{name} END AS {name}")
        elif name in tables.CANDIDATES.names and name != "rank":
            columns.append(f"hits.{name}")
    return CANDIDATES.format(columns=", ".join(columns), low=low, high=high)


def _some(name: str, table: str = "") -> str:
    return f"nullif({table}{name}, '')" if name in TEXTS else f"{table}{name}"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _count(database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    row = database.execute(
        """
        SELECT (SELECT count(*) FROM hits), count(*), count(*) FILTER (linked), count(*) FILTER (len(entityIDs) > 1),
               (SELECT count(*) FROM conflicts)
        FROM pictures
        """
    ).fetchone()
    assert row is not None  # a count always gives one
    hits, candidates, linked, shared, conflicts = row
    return {
        "hits": hits,
        "merged with another hit": hits - candidates,
        "candidates": candidates,
        "candidates with several links": linked,
        "candidates found for several entities": shared,
        "candidates of entities at odds": conflicts,
    }
