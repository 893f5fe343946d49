"""The candidates of one batch, or of a lane's leftovers, shard by shard."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip import folder, tables, web
from kg2clip.download import reasons
from kg2clip.download.lanes import (
    WEB,
    Lane,
    batch_name,
    batch_names,
    batch_of,
    lane_of,
    lanes,
    leftover_names,
    leftovers_name,
    shard_of,
)
from kg2clip.errors import UserError
from kg2clip.licences import allowed
from kg2clip.settings import Settings

Tried = Mapping[str, Any]  # tables.TRIED


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to fetch from the first of its links that serves it; links are as the sources gave them.

    Attributes:
        key: candidateID.
        links: all its links, the first choice first.
        tried: what the first pass found of the links before those of this pass.
        stop: the place of the first link that is none of this pass, because a host of another job has it.
        entry: where a redirect of the first of this pass's links led, and where this pass begins.
        file: of a picture in the user's own folder, which is read and not fetched.
        refused: the reason for which nobody is asked.
    """

    key: str
    links: tuple[str | None, ...]
    tried: tuple[Tried, ...] = ()
    stop: int = 1
    entry: str | None = None
    file: Path | None = None
    refused: str | None = None

    @property
    def next_link(self) -> str | None:
        """The link with which another lane goes on if all of this pass fail."""
        return self.links[self.stop] if self.stop < len(self.links) else None

    def addresses(self) -> Iterator[tuple[int, str]]:
        """The places of this pass's links, and the addresses that go over the wire; links that can't are left out."""
        if self.file or self.refused:
            return
        for place in range(len(self.tried), self.stop):
            uri = self.entry if self.entry and place == len(self.tried) else self.links[place]
            if url := _wire_form(uri):
                yield place, url

    def answered_by(self, row: Mapping[str, Any]) -> bool:
        """Whether an outcome of an earlier run is this candidate's: of the same links, and all there is to try."""
        if self.refused or row["reason"] == reasons.LICENCE:
            return bool(row["reason"] == self.refused)
        if reasons.is_transient(row["reason"]):
            return False
        asked = (*(tried["accessURI"] for tried in row["tried"] or ()), row["accessURI"])
        return asked == self.links[: self.stop if reasons.passes_on(row["reason"]) else len(asked)]


@dataclass(frozen=True, slots=True)
class Batch:
    """One job's work: for each of its shards the candidates, sorted by key."""

    name: str
    lane: Lane
    number: int | None  # None: the leftovers of the whole lane
    lanes: Sequence[Lane]
    shards: tuple[dict[str, Candidate], ...]
    _known: dict[str | None, bool] = field(default_factory=dict)

    def owns(self, host: str | None) -> bool:
        """Whether this job asks a host. One that no address names belongs to every job: nobody will be asked."""
        if host not in self._known:
            own = host is None or lane_of(host, self.lanes) is self.lane
            if own and host is not None and self.lane.name == WEB and self.number is not None:
                own = batch_of("", host, self.lane) == self.number
            self._known[host] = own
        return self._known[host]

    def add(self, candidate: Candidate) -> None:
        """Put a candidate into its shard."""
        self.shards[shard_of(candidate.key, len(self.shards))][candidate.key] = candidate

    def stop(self, links: Sequence[str | None], start: int) -> int:
        """The place after `start` of the first link that another job has to ask."""
        own = (place for place in range(start + 1, len(links)) if not self.owns(_host(links[place])))
        return next(own, len(links))

    def in_order(self) -> Iterator[tuple[Candidate, ...]]:
        """The shards' candidates by key."""
        for shard in self.shards:
            yield tuple(shard[key] for key in sorted(shard))


def select(path: Path, name: str, settings: Settings) -> Batch:
    """Find a batch's candidates in search/candidates.parquet; only the chosen rows are kept in memory.

    Raises:
        UserError: the config has no such batch, the table is missing or torn, or a candidate stands in it twice.
    """
    batch = _batch(name, settings, leftovers=False)
    choice = settings["dataset"]["licenses"]
    known: dict[str | None, Lane] = {}
    for key, uri, links, license_id in _read(path):
        host = _host(uri)
        lane = known.get(host) or known.setdefault(host, lane_of(host, batch.lanes))
        if lane is not batch.lane or batch_of(key, host, lane) != batch.number:
            continue
        if key in batch.shards[shard_of(key, len(batch.shards))]:
            raise UserError(f"{path} holds the candidate {key} twice. Make it again with: snakemake -f {path}")
        everything = (uri, *links)
        file = folder.find(uri, key, settings)
        refused = None if allowed(license_id, choice) else reasons.LICENCE
        batch.add(Candidate(key, everything, stop=batch.stop(everything, 0), file=file, refused=refused))
    return batch


def select_leftovers(path: Path, manifests: Sequence[Path], name: str, settings: Settings) -> Batch:
    """Find what the first pass left for a lane's second: its own failures for now, and what other jobs pass on to it.

    Args:
        manifests: those of all batches, of all lanes.

    Raises:
        UserError: the config has no such lane, a table is missing or torn.
    """
    batch = _batch(name, settings, leftovers=True)
    left = {row["candidateID"]: row for manifest in manifests for row in _left(manifest, batch)}
    for key, uri, links, _ in _read(path) if left else ():
        if (row := left.get(key)) is None:
            continue
        everything, tried = (uri, *links), tuple(row["tried"] or ())
        if reasons.passes_on(row["reason"]):
            tried += ({"accessURI": row["accessURI"], "reason": row["reason"]},)
        entry = row["nextURI"] if row["reason"] == reasons.OTHER_LANE else None
        batch.add(Candidate(key, everything, tried, batch.stop(everything, len(tried)), entry))
    return batch


def _left(manifest: Path, batch: Batch) -> Iterator[dict[str, Any]]:
    columns = ["candidateID", "accessURI", "host", "tried", "nextURI", "reason"]
    for row in tables.read_rows(manifest, columns):
        if reasons.is_transient(row["reason"]):
            wanted = batch.owns(row["host"])
        else:
            wanted = row["nextURI"] is not None and batch.owns(_host(row["nextURI"]))
        if wanted:
            yield row


def _batch(name: str, settings: Settings, leftovers: bool) -> Batch:
    all_lanes = lanes(settings)
    shards = settings["download"]["shards_per_batch"]
    for lane in all_lanes:
        if leftovers and name == leftovers_name(lane.name):
            return Batch(name, lane, None, all_lanes, tuple({} for _ in range(shards * lane.batches)))
        if not leftovers and (number := _number(name, lane)) is not None:
            return Batch(name, lane, number, all_lanes, tuple({} for _ in range(shards)))
    names = leftover_names(settings) if leftovers else batch_names(settings)
    close = difflib.get_close_matches(name, names, n=1) or names[-1:]
    raise UserError(f"the config has no batch {name!r}. Its batches run from {names[0]} to {names[-1]}; try {close[0]}")


def _number(name: str, lane: Lane) -> int | None:
    return next((number for number in range(lane.batches) if batch_name(lane, number) == name), None)


def _read(path: Path) -> Iterator[tuple[str, str | None, list[str | None], str | None]]:
    """candidateID, accessURI, the addresses of further links, licence."""
    try:
        with pq.ParquetFile(path) as table:
            for rows in table.iter_batches(columns=["candidateID", "accessURI", "links", "license"]):
                columns = [rows.column(name).to_pylist() for name in ("candidateID", "accessURI", "links", "license")]
                for key, uri, links, license_id in zip(*columns, strict=True):
                    yield key, uri, [link["accessURI"] for link in links or ()], license_id
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Make it with: snakemake {path}") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is no whole table ({error}). Remove it and run again") from None


def _host(uri: str | None) -> str | None:
    return web.host_of(uri) if uri else None


def _wire_form(uri: str | None) -> str | None:
    try:
        return web.check_url(uri or "")
    except web.RefusedError:
        return None
