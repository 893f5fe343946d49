"""The candidates of one batch, or of a lane's leftovers, shard by shard."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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

_CHOSEN = pa.schema(
    [
        ("candidateID", tables.text),
        ("links", tables.texts),  # all links, the first choice first
        ("license", tables.text),
        ("tried", pa.list_(tables.TRIED)),  # as in Candidate
        ("entry", tables.text),
    ]
)
_LEFT = pa.schema([_CHOSEN.field(name) for name in ("candidateID", "tried", "entry")])
# A web address whose host needs no parser: one without user, port in digits, nothing that urlsplit would strip.
_PLAIN = r"^(?:http|https)://(?P<host>[A-Za-z0-9.-]+)(?::[0-9]*)?(?:[/?#]|$)"
_NOT_OURS, _OURS, _BY_KEY, _UNKNOWN = range(4)  # whose a candidate is, by its first link's host


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
    """One job's work: of each of its shards the chosen rows, sorted by key, as compact as Arrow holds them."""

    name: str
    lane: Lane
    number: int | None  # None: the leftovers of the whole lane
    settings: Settings
    lanes: Sequence[Lane]
    shards: tuple[pa.Table, ...] = ()  # _CHOSEN
    _known: dict[str | None, bool] = field(default_factory=dict)

    def owns(self, host: str | None) -> bool:
        """Whether this job asks a host. One that no address names belongs to every job: nobody will be asked."""
        if host not in self._known:
            own = host is None or lane_of(host, self.lanes) is self.lane
            if own and host is not None and self.lane.name == WEB and self.number is not None:
                own = batch_of("", host, self.lane) == self.number
            self._known[host] = own
        return self._known[host]

    def candidates(self, shard: int) -> tuple[Candidate, ...]:
        """A shard's candidates by key."""
        return tuple(self._candidate(row) for row in self.shards[shard].to_pylist())

    def _candidate(self, row: Mapping[str, Any]) -> Candidate:
        key, links, tried = row["candidateID"], tuple(row["links"]), tuple(row["tried"] or ())
        own = (place for place in range(len(tried) + 1, len(links)) if not self.owns(_host(links[place])))
        stop = next(own, len(links))
        if self.number is None:
            return Candidate(key, links, tried, stop, row["entry"])
        file = folder.find(links[0], key, self.settings)
        refused = None if allowed(row["license"], self.settings["dataset"]["licenses"]) else reasons.LICENCE
        return Candidate(key, links, stop=stop, file=file, refused=refused)


def select(path: Path, name: str, settings: Settings) -> Batch:
    """Find a batch's candidates in search/candidates.parquet; only the chosen rows are kept in memory.

    Raises:
        UserError: the config has no such batch, the table is missing or torn, or a candidate stands in it twice.
    """
    batch = _batch(name, settings, leftovers=False)
    whose = lru_cache(1 << 16)(lambda host: _whose(web.host_of(f"http://{host}"), batch))
    chosen = [_chosen(rows.take(_places(rows, batch, whose))) for rows in _read(path)]
    return _in_shards(batch, chosen, path)


def select_leftovers(path: Path, manifests: Sequence[Path], name: str, settings: Settings) -> Batch:
    """Find what the first pass left for a lane's second: its own failures for now, and what other jobs pass on to it.

    Args:
        manifests: those of all batches, of all lanes.

    Raises:
        UserError: the config has no such lane, a table is missing or torn.
    """
    batch = _batch(name, settings, leftovers=True)
    left = pa.concat_tables([_LEFT.empty_table(), *(_left(manifest, batch) for manifest in manifests)])
    keys = left.column("candidateID").combine_chunks()
    chosen = []
    for rows in _read(path) if left.num_rows else ():
        places = pc.index_in(rows.column("candidateID"), value_set=keys)
        found = left.take(places.drop_null())
        chosen.append(_chosen(rows.filter(places.is_valid()), found.column("tried"), found.column("entry")))
    return _in_shards(batch, chosen, path)


def _left(manifest: Path, batch: Batch) -> pa.Table:
    """What a manifest leaves to the leftovers `batch`, as `_LEFT`."""
    rows = tables.read(manifest, ["candidateID", "accessURI", "host", "tried", "nextURI", "reason"])
    found = []
    for row in rows.filter(pc.or_(reasons.transient_among(rows), rows.column("nextURI").is_valid())).to_pylist():
        tried = row["tried"] or []
        host = row["host"] if reasons.is_transient(row["reason"]) else _host(row["nextURI"])
        if reasons.passes_on(row["reason"]):
            tried.append({"accessURI": row["accessURI"], "reason": row["reason"]})
        entry = row["nextURI"] if row["reason"] == reasons.OTHER_LANE else None
        if batch.owns(host):
            found.append({"candidateID": row["candidateID"], "tried": tried, "entry": entry})
    return pa.Table.from_pylist(found, _LEFT)


def _places(rows: pa.RecordBatch, batch: Batch, whose_is: Callable[[str], int]) -> pa.Array:
    """The places of the rows that are the batch's: by the host of their first link, else by their key."""
    uris, keys = rows.column("accessURI"), rows.column("candidateID")
    plain = pc.struct_field(pc.extract_regex(uris, pattern=_PLAIN), "host").dictionary_encode()
    whose = [whose_is(host) for host in plain.dictionary.to_pylist()]
    codes = np.array([*whose, _UNKNOWN])[plain.indices.fill_null(len(whose)).to_numpy()]
    places = []
    for place in np.flatnonzero(codes != _NOT_OURS).tolist():
        code = codes[place] if codes[place] != _UNKNOWN else _whose(_host(uris[place].as_py()), batch)
        if code == _OURS or (code == _BY_KEY and batch_of(keys[place].as_py(), None, batch.lane) == batch.number):
            places.append(place)
    return pa.array(places, pa.int64())


def _whose(host: str | None, batch: Batch) -> int:
    if lane_of(host, batch.lanes) is not batch.lane:
        return _NOT_OURS
    if batch.lane.batches == 1:
        return _OURS
    if batch.lane.name != WEB or host is None:
        return _BY_KEY
    return _OURS if batch_of("", host, batch.lane) == batch.number else _NOT_OURS


def _chosen(rows: pa.RecordBatch, tried: Any = None, entry: Any = None) -> pa.Table:
    """Rows of the candidates' table as `_CHOSEN`."""
    uris, links = (rows.column(name).to_pylist() for name in ("accessURI", "links"))
    everything = [[uri, *(link["accessURI"] for link in more or ())] for uri, more in zip(uris, links, strict=True)]
    empty = pa.nulls(rows.num_rows)
    columns = [rows.column("candidateID"), pa.array(everything, tables.texts), rows.column("license")]
    columns += [empty if column is None else column for column in (tried, entry)]
    return pa.table(columns, names=_CHOSEN.names).cast(_CHOSEN)


def _in_shards(batch: Batch, chosen: Sequence[pa.Table], path: Path) -> Batch:
    """The batch with its rows in their shards.

    Raises:
        UserError: a candidate stands twice in the table `path`.
    """
    rows = pa.concat_tables([_CHOSEN.empty_table(), *chosen])
    count = batch.settings["download"]["shards_per_batch"] * (batch.lane.batches if batch.number is None else 1)
    numbers = pa.array([shard_of(key, count) for key in rows.column("candidateID").to_pylist()], pa.int32())
    rows = rows.append_column("shard", numbers).sort_by([("shard", "ascending"), ("candidateID", "ascending")])
    keys = rows.column("candidateID")
    same = pc.equal(keys.slice(1), keys.slice(0, max(0, len(keys) - 1)))
    if pc.any(same).as_py():
        raise UserError(
            f"{path} holds the candidate {keys.slice(1).filter(same)[0]} twice. Make it again with: snakemake -f {path}"
        )
    ends = np.searchsorted(rows.column("shard").to_numpy(), range(count + 1))
    rows = rows.drop_columns("shard")
    return replace(batch, shards=tuple(rows[start:end] for start, end in pairwise(ends.tolist())))


def _batch(name: str, settings: Settings, leftovers: bool) -> Batch:
    all_lanes = lanes(settings)
    for lane in all_lanes:
        if leftovers and name == leftovers_name(lane.name):
            return Batch(name, lane, None, settings, all_lanes)
        if not leftovers and (number := _number(name, lane)) is not None:
            return Batch(name, lane, number, settings, all_lanes)
    names = leftover_names(settings) if leftovers else batch_names(settings)
    close = difflib.get_close_matches(name, names, n=1) or names[-1:]
    raise UserError(f"the config has no batch {name!r}. Its batches run from {names[0]} to {names[-1]}; try {close[0]}")


def _number(name: str, lane: Lane) -> int | None:
    return next((number for number in range(lane.batches) if batch_name(lane, number) == name), None)


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    """candidateID, accessURI, further links and licence of all candidates, so many rows at a time."""
    try:
        with pq.ParquetFile(path) as table:
            yield from table.iter_batches(10_000, columns=["candidateID", "accessURI", "links", "license"])
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
