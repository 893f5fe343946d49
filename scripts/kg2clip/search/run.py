"""Search a source for all entities, and merge what the sources found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from kg2clip import tables
from kg2clip.progress import Progress
from kg2clip.search.brave import BraveImages
from kg2clip.search.commons import Commons, CommonsCategories
from kg2clip.search.darwin_core import DarwinCoreArchive
from kg2clip.search.gbif import GbifSearch
from kg2clip.search.gbif_download import GbifDownload
from kg2clip.search.inaturalist import INaturalist
from kg2clip.search.inaturalist_tables import INaturalistOpenData
from kg2clip.search.own import OwnFolder, OwnTable
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.search.wikidata import WikidataImages
from kg2clip.settings import Settings

Entities = Sequence[Mapping[str, Any]]  # rows of tables.ENTITIES

SOURCES: Mapping[str, Callable[[Settings, Entities], Source]] = {
    "wikidata": lambda wanted, entities: WikidataImages(wanted, {row["entityID"]: row["images"] for row in entities}),
    "commons": lambda wanted, _: Commons(wanted),
    "commonscategories": lambda wanted, _: CommonsCategories(wanted),
    "inaturalist": lambda wanted, _: INaturalist(wanted),
    "inaturalistopendata": lambda wanted, _: INaturalistOpenData(wanted),
    "gbif": lambda wanted, _: GbifSearch(wanted),
    "gbifdownload": lambda wanted, _: GbifDownload(wanted),
    "darwincore": lambda wanted, _: DarwinCoreArchive(wanted),
    "table": lambda wanted, _: OwnTable(wanted),
    "folder": lambda wanted, _: OwnFolder(wanted),
    "brave": lambda wanted, _: BraveImages(wanted),
}


def search_source(
    source: Source,
    queries: Sequence[Query],
    answers: Answers,
    per_query: int,
    per_entity: int,
    found_before: Mapping[str, int],
) -> list[Hit]:
    """All hits of a source, as rows of `tables.HITS`. A query stops paging when it or its entity has enough.

    Args:
        queries: rows of `tables.QUERIES`; those of an entity are asked in the order names, then attributes.
        per_query: hits taken from a query at most.
        per_entity: candidates wanted for an entity, over all sources.
        found_before: candidates that earlier sources found, by entityID.
    """
    source.prepare(queries, answers)
    of_entity: dict[str, list[Query]] = defaultdict(list)
    for query in sorted(queries, key=lambda query: (query["kind"] != "noun", query["queryID"])):
        of_entity[query["entityID"]].append(query)
    rows: list[Hit] = []
    # Entities for which earlier sources found least come first: a quota that ends early went where it was needed.
    order = sorted(of_entity, key=lambda entity: (found_before.get(entity, 0), entity))
    for entity in Progress(order, desc=f"searching {source.name}", unit="entities"):
        rows.extend(
            _search_entity(source, of_entity[entity], answers, per_query, per_entity - found_before.get(entity, 0))
        )
    return rows


def _search_entity(
    source: Source, queries: Sequence[Query], answers: Answers, per_query: int, wanted: int
) -> list[Hit]:
    rows: list[Hit] = []
    found: set[str] = set()
    for query in queries:
        taken = 0
        if len(found) >= wanted:
            break
        for page in source.pages(query, answers):
            hits = page[: per_query - taken]
            found_by = {"queryID": query["queryID"], "entityID": query["entityID"]}
            date = {"retrieved": answers.date} if answers.date else {}  # a kept answer keeps its date
            rows.extend({**found_by, "rank": taken + place, **hit, **date} for place, hit in enumerate(hits))
            taken += len(hits)
            found.update(hit["candidateID"] for hit in hits)
            if taken >= per_query or len(found) >= wanted:
                break
    return rows


def merge_hits(paths: Sequence[Path]) -> pa.Table:
    """Hits to candidates: the same picture found by several queries is one row with all its queries and entities.

    Out of core, so that ten million hits need no more memory than ten thousand.
    """
    columns = ", ".join(
        f"best.{name}" for name in tables.CANDIDATES.names if name not in ("queryIDs", "entityIDs", "rank")
    )
    hits = duckdb.read_parquet([str(path) for path in paths])  # noqa: F841 - DuckDB finds it by its name
    merged = duckdb.sql(
        f"""
        WITH merged AS (
            SELECT candidateID, min(rank) AS rank,
                   list_sort(list(DISTINCT queryID)) AS queryIDs, list_sort(list(DISTINCT entityID)) AS entityIDs
            FROM hits GROUP BY candidateID
        ), best AS (
            SELECT DISTINCT ON (candidateID) * FROM hits ORDER BY candidateID, rank, queryID
        )
        SELECT {columns}, merged.queryIDs, merged.entityIDs, merged.rank
        FROM best JOIN merged USING (candidateID) ORDER BY candidateID
        """
    )
    assert merged is not None  # only statements without result give None
    return merged.to_arrow_table()
