"""Fetch one batch: what is there already is used again, the rest is fetched, the manifest holds every candidate.

Two passes. The first asks for every candidate; what it can't finish, because a host fails for now or because the next
link lies at a host of another job, it leaves to the second, which is one job a lane and reads the manifests of the
first.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kg2clip import provenance, tables, web
from kg2clip.download import media, reasons
from kg2clip.download.board import Board
from kg2clip.download.engine import Engine, StoppedError
from kg2clip.download.fetch import Fetcher, Job
from kg2clip.download.selection import Batch, Candidate, select, select_leftovers
from kg2clip.download.shards import Archive, Journal, Row, Shard
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import only_writer, sha256_bytes
from kg2clip.identifiers import stable_hash
from kg2clip.progress import Progress
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

OPEN_SHARDS = 4  # worked on side by side, so that the last slow rows of one do not leave the other hosts idle
RULES = ("max_bytes", "max_redirects", "respect_opt_out", "private_hosts")  # settings that decide what is taken

Counts = dict[str, Any]  # a batch's funnel, see `count`
OpenShard = Callable[[int], Shard]  # with its candidates, made anew: those of all shards would fill the memory


def fetch_batch(candidates: Path, name: str, output: Path, settings: Settings) -> Counts:
    """Fetch a batch into raw tars in the folder `name` beside `output` and write its manifest; return its funnel.

    Raises:
        UserError: no such batch, no contact, another process at work, the disk full.
    """
    batch = select(candidates, name, settings)
    return _write(batch, _finish(batch, output, settings), output)


def fetch_leftovers(candidates: Path, manifests: Sequence[Path], name: str, output: Path, settings: Settings) -> Counts:
    """Fetch, as `fetch_batch` does, what the first pass left to a lane's second.

    Args:
        manifests: of all batches of the first pass.

    Raises:
        IncompleteError: some still fail for now and the config does not accept that. What was fetched is kept.
        UserError: as `fetch_batch`.
    """
    batch = select_leftovers(candidates, manifests, name, settings)
    records = _finish(batch, output, settings)
    if not settings["accept_partial"]:
        _check_complete(name, records)
    return _write(batch, records, output)


def _write(batch: Batch, records: Sequence[Path], output: Path) -> Counts:
    """The manifest: the shards' records one after the other, so that never all rows are in memory."""
    tables.write_parts(map(tables.read, records), tables.DOWNLOADS, output)
    counts = count(map(tables.read, records))
    log.info("%s: %s", batch.name, _summarise(counts, batch.number is None))
    return counts


def _check_complete(name: str, records: Sequence[Path]) -> None:
    hosts, why, total = Counter[str](), Counter[str](), 0
    for rows in map(tables.read, records):
        missing = rows.filter(reasons.transient_among(rows))
        total += rows.num_rows
        hosts += _histogram(missing, "host")
        why += _histogram(missing, "reason")
    if why:
        raise IncompleteError(_tell_missing(name, hosts, why, total))


def _finish(batch: Batch, output: Path, settings: Settings) -> list[Path]:
    """The records of a batch's shards, of those that hold anything, all its tars being whole."""
    folder = output.parent / batch.name
    rules = stable_hash({key: settings["download"][key] for key in RULES})

    def open_shard(number: int) -> Shard:
        return Shard(folder, number, batch.candidates(number), rules)

    with only_writer(folder):
        try:
            _bring(batch, open_shard, settings)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"the disk of {folder} is full. Free some space and run the same command again; nothing is lost"
            ) from None
        _remove_shards_beyond(folder, len(batch.shards))
    return [open_shard(number).record for number, rows in enumerate(batch.shards) if rows.num_rows]


def count(parts: Iterable[pa.Table]) -> Counts:
    """The funnel of rows of a manifest: candidates in, each status and each reason out.

    Of the successes those that a further link served; of the others those that another pass or run may still get.
    """
    statuses, why, served, left = Counter[str](), Counter[str](), 0, 0
    for rows in parts:
        statuses += _histogram(rows, "status")
        why += _histogram(rows, "reason")
        tried = pc.greater(pc.fill_null(pc.list_value_length(rows.column("tried")), 0), 0)
        served += pc.sum(pc.and_(pc.equal(rows.column("status"), reasons.SUCCESS), tried)).as_py() or 0
        left += pc.sum(pc.or_(reasons.transient_among(rows), rows.column("nextURI").is_valid())).as_py() or 0
    return {
        "candidates": statuses.total(),
        **{status: statuses[status] for status in (reasons.SUCCESS, reasons.FAILED, reasons.REFUSED)},
        "reasons": dict(sorted(why.items())),
        "served by a further link": served,
        "left over": left,
    }


def _histogram(rows: pa.Table, column: str) -> Counter[str]:
    """How often each value but null stands in a column."""
    counts = pc.value_counts(rows.column(column).drop_null()).to_pylist()
    return Counter({str(one["values"]): one["counts"] for one in counts})


def _summarise(counts: Counts, last: bool) -> str:
    """What became of a batch, in a line; `last`: no pass follows."""
    told = [f"{counts['success']:,} of {counts['candidates']:,} pictures"]
    if further := counts["served by a further link"]:
        told.append(f"{further:,} of them by a further link")
    told += [f"{reason} {number:,}" for reason, number in Counter[str](counts["reasons"]).most_common()]
    if left := counts["left over"]:
        told.append(
            f"{left:,} left over for {'another run or the hosts of a third lane' if last else 'another pass or run'}"
        )
    return ", ".join(told)


def _bring(batch: Batch, open_shard: OpenShard, settings: Settings) -> None:
    todo = []
    for number in range(len(batch.shards)):
        shard = open_shard(number)
        if shard.is_finished():
            shard.journal.unlink(missing_ok=True)
        else:
            todo.append(number)
    if todo:
        expected = _reuse(batch, map(open_shard, todo), Archive.of(shard.folder, shard.rules))
        _check_contacts(expected, settings)
        _fetch(batch, open_shard, todo, expected, settings)


def _reuse(batch: Batch, shards: Iterable[Shard], archive: Archive) -> Counter[str]:
    """Carry what earlier runs fetched into the journals, of all shards before the first old tar is replaced.

    Return the hosts that are still to be asked, with the number of pictures whose first link of this pass lies there.
    """
    hosts: Counter[str] = Counter()
    for shard in shards:
        with Journal(shard) as journal:
            for candidate in shard.candidates:
                if candidate.key in journal:
                    continue
                if candidate.refused:
                    journal.append(_row(batch, candidate, candidate.refused, 0), None)
                elif candidate.file is None and not any(candidate.addresses()):
                    journal.append(_row(batch, candidate, reasons.BAD_URL, candidate.stop - 1), None)
            for candidate, row, body in archive.find([one for one in shard.candidates if one.key not in journal]):
                journal.append(_again(batch, candidate, row), body)
            for candidate in shard.candidates:
                if candidate.key not in journal:
                    asked = [web.host_of(url) or "" for _, url in candidate.addresses()]
                    hosts.update(asked[:1])
                    hosts.update(dict.fromkeys(asked[1:], 0))
    return hosts


def _fetch(
    batch: Batch, open_shard: OpenShard, todo: Sequence[int], expected: Mapping[str, int], settings: Settings
) -> None:
    scratch = open_shard(todo[0]).folder / ".engine"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with (
        Progress(total=sum(batch.shards[number].num_rows for number in todo), desc=batch.name, unit="pictures") as bar,
        Fetcher(settings, batch.owns) as fetcher,
        Engine(fetcher, scratch) as engine,
        ThreadPoolExecutor(OPEN_SHARDS, "shard") as pool,
    ):
        board = Board(bar, fetcher, expected)
        futures = [pool.submit(_fetch_shard, batch, open_shard, number, engine, board, settings) for number in todo]
        try:
            wait(futures)
        except BaseException:
            fetcher.stop()
            pool.shutdown(cancel_futures=True)
            raise
        errors = [error for future in futures if (error := future.exception())]
        # A shard that fails stops the others: its own error tells why.
        for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
            raise error
        board.log()
    shutil.rmtree(scratch, ignore_errors=True)


def _fetch_shard(
    batch: Batch, open_shard: OpenShard, number: int, engine: Engine, board: Board, settings: Settings
) -> None:
    shard = open_shard(number)
    with Journal(shard) as journal:
        wanted = [candidate for candidate in shard.candidates if candidate.key not in journal]
        for own in (candidate for candidate in wanted if candidate.file):
            journal.append(*_read_own(batch, own, settings["download"]["max_bytes"]))
        wanted = [candidate for candidate in wanted if not candidate.file]
        board.skip(len(shard.candidates) - len(wanted))
        failed_for_now: list[Row] = []
        addresses = [tuple(zip(*candidate.addresses(), strict=True)) for candidate in wanted]  # places, URLs

        def save(job: Job, body: bytes | None, sha256: str | None) -> None:
            row = _row_of(batch, wanted[job.key], addresses[job.key][0], job, sha256)
            if reasons.is_transient(row["reason"]):
                failed_for_now.append(row)
            else:
                journal.append(row, body)
            board.count(web.host_of(job.urls[0]), row["reason"])

        if wanted:
            engine.run(number, [urls for _, urls in addresses], save)
        shard.seal(journal, failed_for_now)


def _row(
    batch: Batch,
    candidate: Candidate,
    reason: str | None,
    place: int,
    failures: Mapping[int, str] | None = None,
    **columns: Any,
) -> Row:
    """What became of a candidate at its link `place`; `failures` are the reasons of this pass's links before it."""
    before = range(len(candidate.tried), place)
    why = {**dict.fromkeys(before, reasons.BAD_URL), **(failures or {})}
    uri = candidate.links[place]
    return {
        **dict.fromkeys(tables.DOWNLOADS.names),
        "candidateID": candidate.key,
        "batch": batch.name,
        "lane": batch.lane.name,
        "accessURI": uri,
        "host": web.host_of(uri) if uri else None,
        "tried": [*candidate.tried, *({"accessURI": candidate.links[at], "reason": why[at]} for at in before)],
        "nextURI": candidate.next_link if reasons.passes_on(reason) else None,
        "status": reasons.status_of(reason),
        "reason": reason,
        "attempts": 0,
        "retrieved": provenance.now(),
        **columns,
    }


def _again(batch: Batch, candidate: Candidate, row: Row) -> Row:
    """An earlier row, whose batch may have been another one, and whose candidate may have got more links since."""
    going_on = {"nextURI": candidate.next_link} if reasons.passes_on(row["reason"]) else {}
    return {**row, "batch": batch.name, "lane": batch.lane.name, **going_on}


def _row_of(batch: Batch, candidate: Candidate, places: Sequence[int], job: Job, sha256: str | None) -> Row:
    """The row of a job that is done; `places` are those of its URLs among the candidate's links."""
    outcome = job.outcome
    assert outcome is not None
    place = places[len(job.failures)]
    failures = dict(zip(places, job.failures, strict=False))
    if reasons.passes_on(outcome.reason) and place < candidate.stop - 1:  # links follow that are no addresses
        failures[place] = str(outcome.reason)
        return _row(batch, candidate, reasons.BAD_URL, candidate.stop - 1, failures, attempts=job.attempts)
    on = {"nextURI": outcome.location} if outcome.reason == reasons.OTHER_LANE else {}
    return _row(
        batch,
        candidate,
        outcome.reason,
        place,
        failures,
        **on,
        httpStatus=outcome.http_status,
        finalURI=job.current if job.attempts else None,
        attempts=job.attempts,
        mediaType=outcome.media_type,
        bytes=len(outcome.body) if outcome.body is not None else None,
        sha256=sha256,
    )


def _read_own(batch: Batch, candidate: Candidate, max_bytes: int) -> tuple[Row, bytes | None]:
    """The row and the bytes of a picture in the user's own folder."""
    assert candidate.file is not None
    try:
        if candidate.file.stat().st_size > max_bytes:
            return _row(batch, candidate, reasons.TOO_LARGE, 0), None
        body = candidate.file.read_bytes()
    except OSError:
        return _row(batch, candidate, reasons.UNREADABLE, 0), None
    kind = media.media_type(body, "")
    reason = reasons.EMPTY if not body else None if media.may_be_image(kind) else reasons.NOT_AN_IMAGE
    if reason:
        return _row(batch, candidate, reason, 0, mediaType=kind or None), None
    return _row(batch, candidate, None, 0, mediaType=kind, bytes=len(body), sha256=sha256_bytes(body)), body


def _check_contacts(hosts: Iterable[str], settings: Settings) -> None:
    """Refuse the whole batch, before its first request, if it would ask a public host anonymously (design 6.12)."""
    private = set(settings["download"]["private_hosts"])
    for host in sorted(host for host in hosts if host not in private):
        if not web.is_private_literal(host):
            web.check_contact(host, settings["contact"])


def _remove_shards_beyond(folder: Path, shards: int) -> None:
    """Delete shards beyond the configured number: what could be used of them has moved."""
    for path in folder.iterdir():
        number = path.name.split(".")[0]
        if number.isdigit() and int(number) >= shards:
            path.unlink()


def _tell_missing(name: str, hosts: Counter[str], why: Counter[str], total: int) -> str:
    shown = ", ".join(f"{host} {number}" for host, number in hosts.most_common(5))
    more = f" and {len(hosts) - 5} more hosts" if len(hosts) > 5 else ""
    kinds = ", ".join(f"{reason} {number}" for reason, number in why.most_common(5))
    return (
        f"{name}: {why.total()} of {total} pictures could not be fetched for now ({kinds}) from {shown}{more}. "
        "What was fetched is kept. Run the same command again to try only these, "
        "or set accept_partial: true in the config to go on without them"
    )
