"""Which picture goes into which shard: kept pictures with their copies, splits, and the seeded mix.

Out of core: the tables pass through DuckDB, which spills into a folder of the dataset, so that ten million pictures
need no more memory than DuckDB's share.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from kg2clip import tables
from kg2clip.dataset.splits import SPLITS, TEST, TRAIN, VAL, hold_out
from kg2clip.errors import UserError
from kg2clip.settings import Settings

MEMORY = "4GB"
SPILL = ".packing"  # in the dataset's folder, which one process writes at a time
MANY_PICTURES, MANY_ENTITIES = 20, 3  # a text of more pictures and more entities than this belongs to a site
COPY_FIELDS = (
    "candidateID", "source", "sourceID", "accessURI", "originalURI", "furtherInformationURL", "title", "altText",
    "description", "caption", "tags", "license", "licenseURL", "creator", "rightsHolder", "retrieved", "queryIDs",
    "entityIDs",
)  # fmt: skip

PICTURES = """
CREATE VIEW candidates AS FROM read_parquet({candidates});
CREATE VIEW decisions AS FROM read_parquet({decisions});
CREATE TABLE kept AS SELECT candidateID AS key, coalesce(groupID, candidateID) AS groupID FROM decisions WHERE kept;
CREATE TABLE members AS
    SELECT key, key AS candidateID FROM kept UNION ALL
    SELECT key, candidateID FROM decisions JOIN kept ON survivorID = key WHERE NOT coalesce(decisions.kept, false);
CREATE TABLE places AS
    SELECT candidateID AS key, arg_min({{tar: tar, file: filename, start: "offset", size: size, width: storedWidth,
                                         height: storedHeight}}, filename) AS lies
    FROM read_parquet({features}, filename = true, union_by_name = true) SEMI JOIN kept ON candidateID = key
    WHERE tar IS NOT NULL GROUP BY candidateID;
"""

# A group belongs to the rarest of the entities that it shows.
STRATA = """
WITH shown AS (
    SELECT DISTINCT groupID, unnest(entityIDs) AS entityID
    FROM kept JOIN members USING (key) JOIN candidates USING (candidateID)
), belongs AS (
    SELECT groupID, first(entityID ORDER BY groups, entityID) AS entityID
    FROM shown JOIN (SELECT entityID, count(*) AS groups FROM shown GROUP BY ALL) USING (entityID) GROUP BY groupID
)
SELECT list(groupID ORDER BY md5(concat('split ', $seed, groupID)), groupID)
FROM belongs GROUP BY entityID ORDER BY md5(concat('split ', $seed, entityID)), entityID
"""

# Shards of a split differ by one sample at most, the larger ones first.
SHARDS = """
CREATE TABLE planned AS
WITH mixed AS (
    SELECT key, groupID, coalesce(split, $train) AS split,
        row_number() OVER (PARTITION BY split ORDER BY md5(concat($seed, key)), key) - 1 AS place,
        count(*) OVER (PARTITION BY split) AS total
    FROM kept LEFT JOIN held USING (groupID)
), cut AS (
    SELECT *, total // shards AS size, total % shards AS larger
    FROM (SELECT *, (total + $size - 1) // $size AS shards FROM mixed)
), numbered AS (
    SELECT *, CASE WHEN place < larger * (size + 1) THEN place // (size + 1)
              ELSE larger + (place - larger * (size + 1)) // size END AS number
    FROM cut
)
SELECT key, groupID, split, place, printf('%s-%05d.tar', split, number) AS shard FROM numbered
"""

PLAN = """
CREATE TABLE plan AS
FROM planned ANTI JOIN (SELECT key FROM members SEMI JOIN removed USING (candidateID)) USING (key)
"""

SAMPLES = """
SELECT shard, key, plan.groupID, split, {fields}, unnest(lies)
FROM plan JOIN wanted USING (shard) JOIN members USING (key) JOIN candidates c USING (candidateID)
    JOIN decisions d USING (candidateID) JOIN places USING (key)
ORDER BY shard, place, candidateID <> key, candidateID
"""

SITE_TEXTS = """
WITH said AS (
    SELECT key, unnest([altText, caption, description, title, array_to_string(tags, ', ')]) AS text
    FROM members JOIN candidates USING (candidateID)
), often AS (
    SELECT text, list(DISTINCT key) AS keys FROM said WHERE text <> ''
    GROUP BY text HAVING count(DISTINCT key) > $pictures
), entities AS (
    SELECT key, unnest(entityIDs) AS entityID FROM members JOIN candidates USING (candidateID)
)
SELECT text FROM (SELECT text, unnest(keys) AS key FROM often) JOIN entities USING (key)
GROUP BY text HAVING count(DISTINCT entityID) > $entities
"""


@dataclass(frozen=True)
class Inputs:
    """The tables that a dataset is packed from."""

    entities: Path
    queries: Path
    candidates: Path
    features: Sequence[Path]
    decisions: Path

    def of_pictures(self) -> dict[str, Sequence[Path]]:
        """The tables of which pictures there are."""
        return {"candidates": [self.candidates], "decisions": [self.decisions], "features": self.features}

    def all(self) -> list[Path]:
        """Every table."""
        return [self.entities, self.queries, self.candidates, self.decisions, *self.features]


@dataclass(frozen=True)
class Shard:
    """A shard to be written: its name, its number of samples, and a hash of their keys in their order."""

    name: str
    samples: int
    keys: str


class Plan:
    """The shards of a dataset and what goes into them."""

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        """Read from a database in which the plan was made."""
        self._database = database

    def shards(self) -> list[Shard]:
        """All shards, in the order of SPLITS and of their numbers."""
        found = self._database.execute(
            "SELECT shard, count(*), sha256(string_agg(key, ',' ORDER BY place)) FROM plan GROUP BY shard, split "
            "ORDER BY list_position($splits, split), shard",
            {"splits": list(SPLITS)},
        )
        return [Shard(*row) for row in found.fetchall()]

    def samples(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, pa.Table]]:
        """For each of some shards a row for each copy of each sample, in their order, the survivor's first."""
        names = pa.table({"shard": pa.array([shard.name for shard in shards], pa.string())})
        self._database.register("names", names)
        self._database.execute("CREATE OR REPLACE TABLE wanted AS FROM names")
        served = {"candidateID": "candidateID", "accessURI": "coalesce(d.fetchedURI, c.accessURI) AS accessURI"}
        fields = ", ".join(served.get(name, f"c.{name}") for name in COPY_FIELDS)
        waiting = {shard.name: shard for shard in shards}
        rows = self._database.sql(SAMPLES.format(fields=fields)).to_arrow_reader(10_000)
        for name, table in _by_shard(rows):
            yield waiting[name], table

    def site_texts(self) -> frozenset[str]:
        """Texts of the web of more than 20 pictures of more than 3 entities: names of sites and the like."""
        limits = {"pictures": MANY_PICTURES, "entities": MANY_ENTITIES}
        return frozenset(text for (text,) in self._database.execute(SITE_TEXTS, limits).fetchall())

    def newest(self) -> str:
        """When the newest of all pictures was found, those taken down included; empty where nobody knows."""
        query = "SELECT max(retrieved) FROM members JOIN candidates USING (candidateID)"
        return str((self._database.execute(query).fetchone() or ("",))[0] or "")

    def removed(self) -> int:
        """Kept pictures that are left out because somebody wants them out."""
        query = "SELECT (SELECT count(*) FROM kept) - (SELECT count(*) FROM plan)"
        return int((self._database.execute(query).fetchone() or (0,))[0])


@contextmanager
def planned(inputs: Inputs, folder: Path, settings: Settings, removed: Sequence[str]) -> Iterator[Plan]:
    """Plan the dataset of a folder.

    Pictures that were taken down take part in the plan and then leave it, so that no other picture moves.

    Args:
        removed: candidateIDs; a picture goes when any of its copies is among them.

    Raises:
        UserError: nothing is kept, a table is missing or torn, or a kept picture has no decoded file.
    """
    for path in inputs.all():
        tables.count(path)  # says which one is missing or torn
    spill = folder / SPILL
    shutil.rmtree(spill, ignore_errors=True)
    database = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": str(spill)})
    try:
        _make(database, inputs, settings, removed)
        yield Plan(database)
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        said = " ".join(str(error).split("LINE")[0].split())[:500]
        raise UserError(f"the tables can't be read ({said}). Remove the one that is torn and run again") from None
    finally:
        database.close()
        shutil.rmtree(spill, ignore_errors=True)


def _make(database: duckdb.DuckDBPyConnection, inputs: Inputs, settings: Settings, removed: Sequence[str]) -> None:
    files = {name: f"[{', '.join(map(_quoted, paths))}]" for name, paths in inputs.of_pictures().items()}
    database.execute(PICTURES.format(**files))
    if not _number(database, "SELECT count(*) FROM kept"):
        raise UserError(f"no picture is left to pack; {inputs.decisions} says why (columns stage and reason)")
    seed, dataset = f"{settings['seed']} ", settings["dataset"]
    strata = database.execute(STRATA, {"seed": seed})
    held = hold_out(
        (groups for (groups,) in _rows(strata)), {split: dataset[f"{split}_share"] for split in (TEST, VAL)}
    )
    _table(database, "held", {"groupID": list(held), "split": list(held.values())})
    database.execute(SHARDS, {"seed": seed, "train": TRAIN, "size": dataset["shard_size"]})
    _table(database, "removed", {"candidateID": list(removed)})
    database.execute(PLAN)
    lost = database.execute(
        "SELECT count(*), min(key) FROM plan WHERE key NOT IN (SELECT key FROM places) "
        "OR key NOT IN (SELECT candidateID FROM candidates)"
    ).fetchone()
    if lost and lost[0]:
        raise UserError(f"{lost[0]} kept pictures have no decoded file, among them {lost[1]}. Give all features tables")
    if not _number(database, "SELECT count(*) FROM plan"):
        raise UserError(f"all pictures were taken down: {dataset['removed']} names every one")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _table(database: duckdb.DuckDBPyConnection, name: str, columns: dict[str, list[str]]) -> None:
    table = pa.table({column: pa.array(values, pa.string()) for column, values in columns.items()})
    database.register(f"{name}_given", table)
    database.execute(f"CREATE TABLE {name} AS FROM {name}_given")
    database.unregister(f"{name}_given")


def _number(database: duckdb.DuckDBPyConnection, query: str) -> int:
    return int((database.execute(query).fetchone() or (0,))[0])


def _rows(found: duckdb.DuckDBPyConnection) -> Iterator[tuple[list[str]]]:
    while rows := found.fetchmany(1000):
        yield from rows


def _by_shard(rows: pa.RecordBatchReader) -> Iterator[tuple[str, pa.Table]]:
    """Rows that come ordered by shard, a table for each shard."""
    name = ""
    parts: list[pa.RecordBatch] = []
    for batch in rows:
        if not batch.num_rows:
            continue
        ends = batch["shard"].to_numpy(zero_copy_only=False)
        borders = [0, *(place for place in range(1, len(ends)) if ends[place] != ends[place - 1]), len(ends)]
        for start, end in itertools.pairwise(borders):
            if parts and ends[start] != name:
                yield name, pa.Table.from_batches(parts)
                parts = []
            name = ends[start]
            parts.append(batch.slice(start, end - start))
    if parts:
        yield name, pa.Table.from_batches(parts)
