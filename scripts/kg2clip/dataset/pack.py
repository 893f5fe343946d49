"""Kept pictures with their texts to shards of equal size, in parallel, each resumable by the index beside it."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from kg2clip import tables, tars
from kg2clip.dataset import index
from kg2clip.dataset.mix import Described, Mixer
from kg2clip.dataset.plan import COPY_FIELDS, Inputs, Plan, Shard, planned
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes, sha256_file
from kg2clip.identifiers import stable_hash
from kg2clip.languages import Names
from kg2clip.processes import die_with_parent
from kg2clip.progress import Progress
from kg2clip.settings import Settings, tracked

Row = dict[str, Any]

CREDIT_FIELDS = ("source", "license", "licenseURL", "creator", "title", "accessURI", "furtherInformationURL")
# What an entity's texts are made of, and a query's.
ENTITY_FIELDS = (
    "entityID", "scientificName", "vernacularName", "names", "description", "naturalType", "ancestors", "attributes",
)  # fmt: skip
QUERY_FIELDS = ("queryID", "entityID", "kind", "text", "name", "attribute", "category", "disambiguation")
REMEMBERED = 100_000  # entities, queries, and what both say together, that a process keeps: some 5 kB each


@dataclass(frozen=True)
class Sample:
    """A picture to be packed: where its JPEG lies, all candidates that show it, the survivor first.

    `group` is the same for all pictures that belong together by looks or observation: no split parts them.
    """

    key: str
    jpeg: tars.Member
    width: int
    height: int
    copies: list[Row]
    group: str
    split: str

    def merged(self, column: str) -> list[str]:
        """The ids in a list column of all copies, each once, sorted."""
        return sorted({value for copy in self.copies for value in (copy[column] or ())})


@dataclass(frozen=True)
class Packed:
    """What was packed: the shards in their order, when the newest picture was found, how many were taken down."""

    shards: list[str]
    newest: str
    removed: int


def pack(inputs: Inputs, folder: Path, settings: Settings, removed: Sequence[str], workers: int, code: str) -> Packed:
    """Write the shards, each with its index; those that are whole and as planned stay as they are.

    Args:
        removed: candidateIDs of pictures that were taken down.
        workers: processes that write shards; 1: this one.
        code: a hash of the code, for which all is written anew when it changes.

    Raises:
        UserError: see `planned`; a picture without any text; a decoded tar that is not what its table says.
    """
    with planned(inputs, folder, settings, removed) as plan:
        recipe = stable_hash(code, tracked(settings, "seed", "dataset"), [sha256_file(path) for path in inputs.all()])
        shards = plan.shards()
        waiting = [shard for shard in shards if not index.is_whole(folder / shard.name, recipe, shard.keys)]
        if waiting:
            job = Job(inputs.entities, inputs.queries, folder, settings, plan.site_texts(), recipe)
            with Progress(
                total=sum(shard.samples for shard in shards),
                initial=sum(shard.samples for shard in shards) - sum(shard.samples for shard in waiting),
                desc="packing",
                unit="pictures",
            ) as progress:
                for count in _written(job, plan, waiting, workers):
                    progress.update(count)
        return Packed([shard.name for shard in shards], plan.newest(), plan.removed())


def _written(job: Job, plan: Plan, waiting: Sequence[Shard], workers: int) -> Iterator[int]:
    """Write shards; gives the number of samples of each as it is done."""
    if workers == 1 or len(waiting) == 1:
        with Packer(job) as packer:
            for shard, rows in plan.samples(waiting):
                yield packer.write(shard, rows)
        return
    # Not `fork`: Arrow and DuckDB have threads in this process by now, and a fork with threads may hang.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(job,)) as pool:
        running: set[Future[int]] = set()
        try:
            for shard, rows in plan.samples(waiting):
                running.add(pool.submit(_write, shard, rows))
                if len(running) > 2 * workers:  # more would pile up in memory
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Job:
    """What a process needs to write shards."""

    entities: Path
    queries: Path
    folder: Path
    settings: Settings
    site_texts: frozenset[str]
    recipe: str


class Packer:
    """Writes shards, one after the other."""

    def __init__(self, job: Job) -> None:
        """Read the tables of entities and queries."""
        self._job = job
        self._entities = Lookup(job.entities, ENTITY_FIELDS)
        self._queries = Lookup(job.queries, QUERY_FIELDS)
        self._described = lru_cache(REMEMBERED)(self._describe)
        self._query = lru_cache(REMEMBERED)(self._queries.row)
        self._found = lru_cache(REMEMBERED)(self._find)
        self._reader = tars.Reader()

    def __enter__(self) -> Packer:
        """Nothing is opened yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the decoded tars."""
        self._reader.__exit__()

    def write(self, shard: Shard, table: pa.Table) -> int:
        """Write a shard and its index; return how many samples it has.

        Args:
            table: a row for each copy of each sample, as `Plan.samples` gives them.
        """
        mixer = Mixer.of(self._job.settings, self._job.site_texts)
        tar, rows = self._job.folder / shard.name, []
        with tars.writing(tar) as writer:
            for sample in samples(table):
                rows.append(self._add(writer, shard.name, sample, mixer))
        facts = index.Facts(self._job.recipe, shard.keys, writer.sha256, dict(sorted(mixer.dropped.items())))
        index.write(tar, tables.as_table(rows, tables.DATASET), facts)
        return len(rows)

    def _add(self, writer: tars.TarWriter, shard: str, sample: Sample, mixer: Mixer) -> Row:
        jpeg = self._reader.read(sample.jpeg)
        if not jpeg.startswith(b"\xff\xd8"):
            raise UserError(
                f"{sample.jpeg.tar} is not the tar that its features table describes; remove both and run again"
            )
        survivor, entities, queries = sample.copies[0], sample.merged("entityIDs"), sample.merged("queryIDs")
        found = self._found(tuple(entities), tuple(queries))
        if found.unknown:
            raise UserError(
                f"the candidate {sample.key} names {found.unknown}, which is in no table: search/ is older than"
                " queries/"
            )
        texts = mixer.mix(sample.copies, found.names, found.graph)
        row = {
            "key": sample.key,
            "split": sample.split,
            "groupID": sample.group,
            "sha256": sha256_bytes(jpeg),
            "width": sample.width,
            "height": sample.height,
            "entityIDs": entities,
            "queryIDs": queries,
            "candidateIDs": sorted(copy["candidateID"] for copy in sample.copies),
            "texts": texts,
            **{name: survivor[name] for name in CREDIT_FIELDS},
        }
        described = json.dumps({**row, "copies": sample.copies}, ensure_ascii=False, sort_keys=True)
        offset = writer.add(f"{sample.key}.jpg", jpeg)
        writer.add(f"{sample.key}.json", described.encode())
        writer.add(f"{sample.key}.txt", texts[0]["text"].encode())
        return {**row, "shard": shard, "offset": offset, "size": len(jpeg)}

    def _find(self, found_for: tuple[str, ...], found_by: tuple[str, ...]) -> Found:
        """What the graph says for a picture that was found for some entities by some queries."""
        asked = [query for name in found_by if (query := self._query(name))]
        described = {name: entity for name in found_for if (entity := self._described(name))}
        # What attribute queries are about are natural types, which need not be entities.
        types = {query["entityID"] for query in asked if query["kind"] == "attribute"}
        unknown = [name for name in found_for if name not in described and name not in types]
        unknown += [name for name in found_by if not self._query(name)]
        graph = Mixer.of(self._job.settings).graph(described.values(), asked)
        return Found([entity.names for entity in described.values()], graph, next(iter(unknown), None))

    def _describe(self, entity_id: str) -> Described | None:
        row = self._entities.row(entity_id)
        return Described.of(row) if row else None


@dataclass(frozen=True)
class Found:
    """What the graph says for pictures that were found alike; `unknown` is an id that no table has."""

    names: list[Names]
    graph: list[Row]
    unknown: str | None


class Lookup:
    """Rows of a table by its first column, which stay packed in memory until they are asked for."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Read the columns."""
        self._table = tables.read(path, columns).combine_chunks()
        self._places = {key: place for place, key in enumerate(self._table[columns[0]].to_pylist())}

    def row(self, key: str) -> Row | None:
        """The row, or None where there is none."""
        place = self._places.get(key)
        return None if place is None else self._table.slice(place, 1).to_pylist()[0]


_packer: Packer


def _start(job: Job) -> None:
    global _packer
    die_with_parent()
    _packer = Packer(job)


def _write(shard: Shard, rows: pa.Table) -> int:
    return _packer.write(shard, rows)


def samples(table: pa.Table) -> Iterator[Sample]:
    """The samples of a table as `Plan.samples` gives it."""
    for key, group in groupby(table.to_pylist(), key=lambda row: row["key"]):
        rows = list(group)
        first = rows[0]
        jpeg = tars.Member(Path(first["file"]).parent / first["tar"], f"{key}.jpg", first["start"], first["size"])
        copies = [{name: row[name] for name in COPY_FIELDS} for row in rows]
        yield Sample(key, jpeg, first["width"], first["height"], copies, first["groupID"], first["split"])
