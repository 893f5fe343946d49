"""The candidates of one batch, shard by shard."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip import folder, web
from kg2clip.download.lanes import Lane, batch_name, batch_names, batch_of, lane_of, lanes, shard_of
from kg2clip.errors import UserError
from kg2clip.settings import Settings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to fetch. `uri` is as the source gave it, `url` as it goes over the wire, None if it can't."""

    key: str  # candidateID
    uri: str | None
    url: str | None
    host: str | None
    file: Path | None = None  # of a picture in the user's own folder, which is read and not fetched


@dataclass(frozen=True, slots=True)
class Batch:
    """One job's work: for each of its shards the candidates, sorted by key."""

    name: str
    lane: Lane
    shards: tuple[tuple[Candidate, ...], ...]


def select(path: Path, name: str, settings: Settings) -> Batch:
    """Find a batch's candidates in search/candidates.parquet; only the chosen rows are kept in memory.

    Raises:
        UserError: the config has no such batch, the table is missing or torn, or a candidate stands in it twice.
    """
    all_lanes = lanes(settings)
    wanted = _find_lane(name, all_lanes, settings)
    shards: list[dict[str, Candidate]] = [{} for _ in range(settings["download"]["shards_per_batch"])]
    known: dict[str | None, Lane] = {}
    for key, uri in _read(path):
        host = web.host_of(uri) if uri else None
        lane = known.get(host) or known.setdefault(host, lane_of(host, all_lanes))
        if lane is not wanted or batch_name(lane, batch_of(key, host, lane)) != name:
            continue
        shard = shards[shard_of(key, len(shards))]
        if key in shard:
            raise UserError(f"{path} holds the candidate {key} twice. Make it again with: snakemake -f {path}")
        shard[key] = Candidate(key, uri, _wire_form(uri), host, folder.find(uri, key, settings))
    return Batch(name, wanted, tuple(tuple(shard[key] for key in sorted(shard)) for shard in shards))


def _find_lane(name: str, all_lanes: list[Lane], settings: Settings) -> Lane:
    for lane in all_lanes:
        if name in {batch_name(lane, number) for number in range(lane.batches)}:
            return lane
    names = batch_names(settings)
    close = difflib.get_close_matches(name, names, n=1) or names[-1:]
    raise UserError(f"the config has no batch {name!r}. Its batches run from {names[0]} to {names[-1]}; try {close[0]}")


def _read(path: Path) -> Iterator[tuple[str, str | None]]:
    try:
        with pq.ParquetFile(path) as table:
            for rows in table.iter_batches(columns=["candidateID", "accessURI"]):
                yield from zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True)
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Make it with: snakemake {path}") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is no whole table ({error}). Remove it and run again") from None


def _wire_form(uri: str | None) -> str | None:
    try:
        return web.check_url(uri or "")
    except web.RefusedError:
        return None
