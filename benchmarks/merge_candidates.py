"""From hits to candidates: scripts/merge_candidates.py on one and on ten million hits of three sources.

Three fifths of the hits are of one source, a quarter of a second; the third finds partly the same pictures as the
second under names of its own. Two thirds of a source's hits are pictures that were not found before, one in fifty also
for another entity. The aim: ten million in under 10 minutes and 8 GB on two cores, the cost of a million no higher than
with one million. Competitor, on one million: pandas, with drop_duplicates and groupby, for which all hits have to be in
memory; it gathers the queries and entities of a picture, but neither its links nor what they add.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.measure import child
from kg2clip import settings, tables

PACKAGES = ("duckdb", "pyarrow", "pandas")
ROOT = Path(__file__).resolve().parents[1]
MILLION = 1_000_000
SHARES = {"commons": (60, 0), "inaturalist": (25, 10**9), "gbif": (15, 10**9)}  # per cent, number of the first picture

HITS = """
SELECT left(md5('q' || (i // 50)), 20) AS queryID,
       'wd:Q' || ((i // 500) + (p % 50 = 0)::INT) AS entityID,
       i % 50 AS rank,
       '{key}:' || p AS pictureKey,
       left(sha256('{source}' || p), 20) AS candidateID,
       '{source}' AS source,
       'Number ' || p || '.jpg' AS sourceID,
       'https://pictures.example.org/{key}/' || p || '/of_some_animal.jpg' AS accessURI,
       'https://pages.example.org/{source}/Number_' || p || '_of_some_animal' AS furtherInformationURL,
       'Some animal in the ' || md5('a' || p) AS title,
       'A description of some length, as people write it, with place and date: ' || md5('b' || p) AS description,
       'CC-BY-SA-4.0' AS license,
       'https://creativecommons.org/licenses/by-sa/4.0' AS licenseURL,
       'Photographer ' || (p % 100000) AS creator,
       '2026-01-01T00:00:00Z' AS retrieved
FROM (SELECT i, i % ({count} * 2 // 3) + {first} AS p FROM range({count}) t(i))
"""
PANDAS = """
import sys, pandas
hits = pandas.concat([pandas.read_parquet(path) for path in sys.argv[2:]], ignore_index=True)
first = hits.drop_duplicates("pictureKey").set_index("pictureKey")
groups = hits.groupby("pictureKey")
first["queryIDs"] = groups["queryID"].unique().map(sorted)
first["entityIDs"] = groups["entityID"].unique().map(sorted)
first["rank"] = groups["rank"].min()
first.sort_values("candidateID").to_parquet(sys.argv[1], compression="zstd")
"""


def run(scratch: Path) -> list[dict[str, Any]]:
    """One row a way and a number of hits."""
    rows = []
    for millions in (1, 10):
        paths = make_hits(scratch / str(millions), millions * MILLION)
        rows.append({"way": "merge_candidates.py", **measured(ours(scratch, paths), millions)})
        if millions == 1:
            command: list[str | Path] = [sys.executable, "-c", PANDAS, scratch / "pandas.parquet", *paths]
            rows.append({"way": "pandas", **measured(command, millions)})
    return rows


def make_hits(folder: Path, count: int) -> list[Path]:
    """Write the hits of all sources, and the entities; give the paths of the hits."""
    folder.mkdir()
    entities = [{"entityID": f"wd:Q{number}", "ancestors": []} for number in range(count // 500 + 2)]
    tables.write(entities, tables.ENTITIES, folder / "entities.parquet")
    empty = tables.as_table([], tables.HITS)  # gives the columns that HITS does not fill, in their order
    database = duckdb.connect()
    database.register("empty", empty)
    paths = []
    for source, (share, first) in SHARES.items():
        key = "inaturalist" if source == "gbif" else source
        query = HITS.format(source=source, key=key, first=first, count=count * share // 100)
        paths.append(folder / f"{source}.hits.parquet")
        rows = f"SELECT * FROM empty UNION ALL BY NAME ({query})"
        database.execute(f"COPY ({rows}) TO '{paths[-1]}' (FORMAT parquet, COMPRESSION zstd)")
    return paths


def ours(scratch: Path, paths: list[Path]) -> list[str | Path]:
    """The program's command."""
    config = {"project": "bench", "knowledge": {"roots": ["x"]}}
    os.environ[settings.ENVIRONMENT] = json.dumps(config)
    return [
        sys.executable, ROOT / "scripts" / "merge_candidates.py", "--hits", *paths,
        "--entities", paths[0].with_name("entities.parquet"), "--output", scratch / "candidates.parquet",
        "--provenance", scratch / "provenance.json",
    ]  # fmt: skip


def measured(command: list[str | Path], millions: int) -> dict[str, Any]:
    """Run a command; what it took."""
    done = child(command)
    return {
        "hits": millions * MILLION,
        "seconds": done.seconds,
        "processor seconds": done.processor_seconds,
        "processor seconds a million": done.processor_seconds / millions,
        "memory GB": done.peak_bytes / 2**30,
    }
