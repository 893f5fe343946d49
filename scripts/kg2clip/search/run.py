"""Ask a source about all entities, those first that have least, until each has enough."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, NamedTuple, overload

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kg2clip import tables
from kg2clip.errors import IncompleteError
from kg2clip.progress import Progress
from kg2clip.search.brave import BraveImages
from kg2clip.search.commons import Commons, CommonsCategories
from kg2clip.search.darwin_core import DarwinCoreArchive
from kg2clip.search.gbif import GbifSearch
from kg2clip.search.gbif_download import GbifDownload
from kg2clip.search.identity import picture_key
from kg2clip.search.inaturalist import INaturalist
from kg2clip.search.inaturalist_tables import INaturalistOpenData
from kg2clip.search.kingdoms import kingdoms_of
from kg2clip.search.own import OwnFolder, OwnTable
from kg2clip.search.source import Answers, ClosedError, Hit, Query, QueryRefusedError, Source
from kg2clip.search.wikidata import WikidataImages
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

Entities = Sequence[Mapping[str, Any]]  # rows of tables.ENTITIES

SOURCES: Mapping[str, Callable[[Settings, Entities], Source]] = {
    "wikidata": lambda wanted, entities: WikidataImages(wanted, {row["entityID"]: row["images"] for row in entities}),
    "commons": lambda wanted, _: Commons(wanted),
    "commonscategories": lambda wanted, _: CommonsCategories(wanted),
    "inaturalist": lambda wanted, _: INaturalist(wanted),
    "inaturalistopendata": lambda wanted, _: INaturalistOpenData(wanted),
    "gbif": lambda wanted, entities: GbifSearch(wanted, kingdoms_of(entities)),
    "gbifdownload": lambda wanted, entities: GbifDownload(wanted, kingdoms_of(entities)),
    "darwincore": lambda wanted, entities: DarwinCoreArchive(wanted, kingdoms_of(entities)),
    "table": lambda wanted, _: OwnTable(wanted),
    "folder": lambda wanted, _: OwnFolder(wanted),
    "brave": lambda wanted, _: BraveImages(wanted),
}

MAX_FAILURES = 20  # requests that fail for good before the source is left alone
AHEAD = 25  # entities under way for each connection; their hits wait in memory for those before them
NAMES = ("scientific", "vernacular", "alias", "synonym")  # in this order an entity is asked for by its names


Failure = IncompleteError | QueryRefusedError


class Searched(NamedTuple):
    """What the search for one entity gave, whether it has enough, and why this is not all, if so."""

    hits: list[Hit]
    enough: bool
    failure: Failure | None


class Search:
    """A search of one source; go through it once, then read what it counted.

    Args:
        queries: rows of `tables.QUERIES`.
        per_query: hits taken from a query at most.
        per_entity: pictures wanted for an entity, over all sources.
        found_before: keys of the pictures that earlier searches found, by entityID.
        connections: threads that ask at a time. What comes out, and in which order, does not depend on it.
        fame: how widely an entity is known, by entityID (its sitelinks): of those with as few pictures the least known
            comes first, so that a quota that ends early went where it was needed.
    """

    def __init__(
        self,
        source: Source,
        queries: Sequence[Query],
        answers: Answers,
        per_query: int,
        per_entity: int,
        found_before: Mapping[str, Collection[str]],
        connections: int = 1,
        fame: Mapping[str, int | None] | None = None,
    ) -> None:
        self.failures: Counter[str] = Counter()  # entities not searched to their end, by reason
        self._with_enough = 0
        self._source = source
        self._queries = Queries.of(queries)
        self._answers = answers
        self._per_query = per_query
        self._per_entity = per_entity
        self._found = found_before
        self._connections = connections
        self._fame = fame or {}

    @property
    def entities(self) -> int:
        """Entities that have a query."""
        return len(self._queries.of_entity)

    def __iter__(self) -> Iterator[list[Hit]]:
        """The hits of one entity after the other, as rows of `tables.HITS`."""
        self._source.prepare(self._queries, self._answers)
        order = sorted(
            self._queries.of_entity,
            key=lambda entity: (len(self._found.get(entity, ())), self._fame.get(entity) or 0, entity),
        )
        with Progress(total=len(order), desc=f"searching {self._source.name}", unit="entities") as bar:
            for searched in self._in_order(order):
                if searched.failure is not None:
                    self._note(searched.failure)
                self._with_enough += searched.enough
                yield searched.hits
                bar.update()

    def _in_order(self, entities: Sequence[str]) -> Iterator[Searched]:
        """Search several entities at a time; give them in their order."""
        waiting: deque[Future[Searched]] = deque()
        with ThreadPoolExecutor(self._connections, "search") as pool:
            try:
                rest = iter(entities)
                for entity in islice(rest, AHEAD * self._connections):
                    waiting.append(pool.submit(self._search, entity))
                while waiting:
                    yield waiting.popleft().result()
                    for entity in islice(rest, 1):
                        waiting.append(pool.submit(self._search, entity))
            except BaseException:  # a mistake in the config, Ctrl-C, or nobody wants the rest
                self._answers.close("the run was stopped")
                pool.shutdown(cancel_futures=True)
                raise

    def _search(self, entity: str) -> Searched:
        known = set(self._found.get(entity, ()))
        hits: list[Hit] = []
        failure: Failure | None = None
        try:
            for query in self._queries.of_one(entity):
                if len(known) >= self._per_entity:
                    break
                self._ask(query, known, hits)
        except (IncompleteError, QueryRefusedError) as error:
            failure = error
        return Searched(hits, len(known) >= self._per_entity, failure)

    def _ask(self, query: Query, known: set[str], hits: list[Hit]) -> None:
        """Add the hits of a query, until it or the entity has enough, and their pictures to those known."""
        taken = 0
        for page in self._source.pages(query, self._answers):
            found_by = {"queryID": query["queryID"], "entityID": query["entityID"]}
            date = {"retrieved": self._answers.date} if self._answers.date else {}  # a kept answer keeps its date
            for hit in page[: self._per_query - taken]:
                key = hit.get("pictureKey") or picture_key(hit)
                hits.append({**found_by, "rank": taken, **hit, **date, "pictureKey": key})
                known.add(key)
                taken += 1
            if taken >= self._per_query or len(known) >= self._per_entity:
                return

    def _note(self, failure: Failure) -> None:
        reason = str(failure)
        self.failures[reason] += 1
        if isinstance(failure, ClosedError):
            return
        log.warning("%s", reason)
        if self.failures.total() >= MAX_FAILURES:
            self._answers.close(f"{MAX_FAILURES} requests failed, the last one so: {reason}")

    def counts(self) -> dict[str, int]:
        """What the search took and what it left, for the provenance."""
        counts = {
            "queries": len(self._queries),
            "entities": self.entities,
            "entities not searched to their end": self.failures.total(),
            "entities with enough pictures": self._with_enough,
            "calls made": self._answers.calls,
            "answers kept from before": self._answers.kept,
        }
        asked = self._answers.calls or self._answers.kept
        return counts | ({"calls in all runs": self._answers.store.calls} if asked else {})

    def missing(self) -> str | None:
        """What is missing and what to type, if some entities were not searched to their end."""
        if not self.failures:
            return None
        reasons = "; ".join(f"{reason} ({count})" for reason, count in self.failures.most_common(3))
        more = f"; and {len(self.failures) - 3} other reasons" if len(self.failures) > 3 else ""
        return (
            f"{self._source.name}: {self.failures.total()} of {self.entities} entities are not searched to their end: "
            f"{reasons}{more}. All answers are kept. Run the same command again, on another day where a budget is used "
            "up, or set accept_partial: true in the config to go on without the rest"
        )


def search_source(
    source: Source,
    queries: Sequence[Query],
    answers: Answers,
    per_query: int,
    per_entity: int,
    found_before: Mapping[str, Collection[str]],
    connections: int = 1,
) -> list[Hit]:
    """All hits of a small search in memory; the arguments are those of `Search`.

    Raises:
        IncompleteError: some entities were not searched to their end.
    """
    search = Search(source, queries, answers, per_query, per_entity, found_before, connections)
    hits = list(chain.from_iterable(search))
    if missing := search.missing():
        raise IncompleteError(missing)
    return hits


class Queries(Sequence[Query]):
    """Rows of `tables.QUERIES` by entity; as Python objects only while they are looked at.

    Those of an entity stand in the order in which they are asked: scientific names, common names, synonyms, attributes.
    """

    def __init__(self, table: pa.Table) -> None:
        """Sort a table of queries."""
        place = pc.fill_null(pc.index_in(table["nameKind"], pa.array(NAMES)), len(NAMES))
        table = table.append_column("_kind", pc.not_equal(table["kind"], "noun").cast("int8")).append_column(
            "_place", place
        )
        keys = [(name, "ascending") for name in ("entityID", "_kind", "_place", "queryID")]
        self._table = table.sort_by(keys).select(tables.QUERIES.names).combine_chunks()
        counted = pc.value_counts(self._table["entityID"])  # in the order of their first appearance
        entities, counts = (counted.field(name).to_pylist() for name in ("values", "counts"))
        starts = accumulate(counts, initial=0)
        self.of_entity = {
            entity: (start, count) for entity, count, start in zip(entities, counts, starts, strict=False)
        }

    @classmethod
    def of(cls, queries: Sequence[Query]) -> Queries:
        """Queries from rows."""
        return queries if isinstance(queries, cls) else cls(tables.as_table(list(queries), tables.QUERIES))

    def of_one(self, entity: str) -> list[Query]:
        """The queries of an entity."""
        return list(self._table.slice(*self.of_entity[entity]).to_pylist())

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Query: ...
    @overload
    def __getitem__(self, index: slice) -> Queries: ...
    def __getitem__(self, index: int | slice) -> Query | Queries:
        if isinstance(index, slice):
            return Queries(self._table[index])
        return dict(self._table.slice(range(len(self))[index], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Query]:
        for batch in self._table.to_batches(max_chunksize=10_000):
            yield from batch.to_pylist()


class Found(Mapping[str, Collection[str]]):
    """The pictures that earlier searches found, by entity; as Python objects only while they are looked at."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the hits of earlier searches."""
        self._keys: Any = None
        self._place: dict[str, int] = {}
        if not paths:
            return
        answer: Any = duckdb.sql(
            "SELECT entityID, list(DISTINCT pictureKey) AS keys FROM read_parquet(?) GROUP BY entityID",
            params=[[str(path) for path in paths]],
        )
        found = answer.to_arrow_table()
        self._keys = found["keys"]
        self._place = {entity: place for place, entity in enumerate(found["entityID"].to_pylist())}

    def __getitem__(self, entity: str) -> Collection[str]:
        return frozenset(self._keys[self._place[entity]].as_py())

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)
