"""Fetch one batch: what is there already is used again, the rest is fetched, the manifest holds every candidate.

Two passes. The first asks for every candidate; what it can't finish, because a host fails for now or because the next
link lies at a host of another job, it leaves to the second, which is one job a lane and reads the manifests of the
first.
"""

from __future__ import annotations

import errno
import heapq
import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from kg2clip import provenance, tables, web
from kg2clip.download import media, reasons
from kg2clip.download.engine import Engine, StoppedError
from kg2clip.download.fetch import Fetcher, Host, Job
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
HOSTS_SHOWN = 20


def fetch_batch(candidates: Path, name: str, output: Path, settings: Settings) -> list[Row]:
    """Fetch a batch into raw tars in the folder `name` beside `output` and write its manifest; return its rows.

    Raises:
        UserError: no such batch, no contact, another process at work, the disk full.
    """
    rows = _finish(select(candidates, name, settings), output, settings)
    tables.write(rows, tables.DOWNLOADS, output)
    return rows


def fetch_leftovers(
    candidates: Path, manifests: Sequence[Path], name: str, output: Path, settings: Settings
) -> list[Row]:
    """Fetch, as `fetch_batch` does, what the first pass left to a lane's second.

    Args:
        manifests: of all batches of the first pass.

    Raises:
        IncompleteError: some still fail for now and the config does not accept that. What was fetched is kept.
        UserError: as `fetch_batch`.
    """
    rows = _finish(select_leftovers(candidates, manifests, name, settings), output, settings)
    missing = [row for row in rows if reasons.is_transient(row["reason"])]
    if missing and not settings["accept_partial"]:
        raise IncompleteError(_tell_missing(name, missing, len(rows)))
    tables.write(rows, tables.DOWNLOADS, output)
    return rows


def _finish(batch: Batch, output: Path, settings: Settings) -> list[Row]:
    """The rows of a batch, all its tars being whole."""
    folder = output.parent / batch.name
    with only_writer(folder):
        rules = stable_hash({key: settings["download"][key] for key in RULES})
        shards = [Shard(folder, number, rows, rules) for number, rows in enumerate(batch.in_order())]
        try:
            rows = _bring(batch, shards, settings)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"the disk of {folder} is full. Free some space and run the same command again; nothing is lost"
            ) from None
        _remove_shards_beyond(folder, len(shards))
    log.info("%s: %s", batch.name, _summarise(rows))
    return rows


def count(rows: Sequence[Row]) -> dict[str, Any]:
    """The batch's funnel: candidates in, each status and each reason out.

    Of the successes those that a further link served; of the others those that another pass or run may still get.
    """
    statuses = Counter(row["status"] for row in rows)
    why = Counter(row["reason"] for row in rows if row["reason"])
    return {
        "candidates": len(rows),
        **{status: statuses[status] for status in (reasons.SUCCESS, reasons.FAILED, reasons.REFUSED)},
        "reasons": dict(sorted(why.items())),
        "served by a further link": sum(row["status"] == reasons.SUCCESS and bool(row["tried"]) for row in rows),
        "left over": sum(reasons.is_transient(row["reason"]) or bool(row["nextURI"]) for row in rows),
    }


def _summarise(rows: Sequence[Row]) -> str:
    """What became of a batch, in a line."""
    found = count(rows)
    told = [f"{found['success']:,} of {found['candidates']:,} pictures"]
    if further := found["served by a further link"]:
        told.append(f"{further:,} of them by a further link")
    told += [f"{reason} {number:,}" for reason, number in Counter(found["reasons"]).most_common()]
    if left := found["left over"]:
        told.append(f"{left:,} left over for another pass or run")
    return ", ".join(told)


def _bring(batch: Batch, shards: Sequence[Shard], settings: Settings) -> list[Row]:
    finished = {shard.number: shard.finished_rows() for shard in shards}
    todo = [shard for shard in shards if finished[shard.number] is None]
    if todo:
        _reuse(batch, todo)
        finished.update(_fetch(batch, todo, settings))
    for shard in shards:
        if finished[shard.number] is not None:
            shard.journal.unlink(missing_ok=True)
    rows = [row for shard in shards for row in finished[shard.number] or []]
    return sorted(rows, key=lambda row: str(row["candidateID"]))


def _reuse(batch: Batch, shards: Sequence[Shard]) -> None:
    """Carry what earlier runs fetched into the journals, of all shards before the first old tar is replaced."""
    archive = Archive.of(shards[0].folder, shards[0].rules)
    for shard in shards:
        with Journal(shard) as journal:
            for candidate in shard.candidates:
                if candidate.key in journal.rows:
                    continue
                if candidate.refused:
                    journal.append(_row(batch, candidate, candidate.refused, 0), None)
                elif candidate.file is None and not any(candidate.addresses()):
                    journal.append(_row(batch, candidate, reasons.BAD_URL, candidate.stop - 1), None)
                elif found := archive.find(candidate):
                    journal.append(_again(batch, candidate, found[0]), found[1])


def _fetch(batch: Batch, shards: Sequence[Shard], settings: Settings) -> dict[int, list[Row]]:
    _check_contacts(shards, settings)
    scratch = shards[0].folder / ".engine"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    rows: dict[int, list[Row]] = {}
    total = sum(len(shard.candidates) for shard in shards)
    with (
        Progress(total=total, desc=batch.name, unit="pictures") as bar,
        Fetcher(settings, batch.owns) as fetcher,
        Engine(fetcher, scratch) as engine,
        ThreadPoolExecutor(OPEN_SHARDS, "shard") as pool,
    ):
        board = _Board(bar, fetcher)
        futures = {shard.number: pool.submit(_fetch_shard, batch, shard, engine, board, settings) for shard in shards}
        try:
            wait(futures.values())
        except BaseException:
            fetcher.stop()
            pool.shutdown(cancel_futures=True)
            raise
        errors = [error for future in futures.values() if (error := future.exception())]
        # A shard that fails stops the others: its own error tells why.
        for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
            raise error
        rows = {number: future.result() for number, future in futures.items()}
        _log_hosts(fetcher.hosts())
    shutil.rmtree(scratch, ignore_errors=True)
    return rows


def _fetch_shard(batch: Batch, shard: Shard, engine: Engine, board: _Board, settings: Settings) -> list[Row]:
    with Journal(shard) as journal:
        wanted = [candidate for candidate in shard.candidates if candidate.key not in journal.rows]
        for own in (candidate for candidate in wanted if candidate.file):
            journal.append(*_read_own(batch, own, settings["download"]["max_bytes"]))
        wanted = [candidate for candidate in wanted if not candidate.file]
        board.advance(len(shard.candidates) - len(wanted))
        failed_for_now: list[Row] = []

        addresses = [list(candidate.addresses()) for candidate in wanted]

        def save(job: Job, body: bytes | None, sha256: str | None) -> None:
            row = _row_of(batch, wanted[job.key], [place for place, _ in addresses[job.key]], job, sha256)
            if reasons.is_transient(row["reason"]):
                failed_for_now.append(row)
            else:
                journal.append(row, body)
            board.advance(1)

        if wanted:
            engine.run(shard.number, [[url for _, url in urls] for urls in addresses], save)
        return shard.seal(journal, failed_for_now)


class _Board:
    """The progress of all shards together, with the hosts that most is expected from."""

    def __init__(self, bar: Progress, fetcher: Fetcher) -> None:
        self._bar = bar
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._shown = 0.0

    def advance(self, rows: int) -> None:
        with self._lock:
            if time.monotonic() - self._shown >= 1.0:
                self._shown = time.monotonic()
                longest = heapq.nlargest(3, self._fetcher.hosts(), key=lambda host: len(host.queue))
                self._bar.set_postfix_str("; ".join(map(_describe, longest)), refresh=False)
            self._bar.update(rows)


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


def _check_contacts(shards: Iterable[Shard], settings: Settings) -> None:
    """Refuse the whole batch, before its first request, if it would ask a public host anonymously (design 6.12)."""
    private = set(settings["download"]["private_hosts"])
    candidates = (candidate for shard in shards for candidate in shard.candidates)
    hosts = {web.host_of(url) for candidate in candidates for _, url in candidate.addresses()}
    for host in sorted(host for host in hosts if host and host not in private):
        if not web.is_private_literal(host):
            web.check_contact(host, settings["contact"])


def _remove_shards_beyond(folder: Path, shards: int) -> None:
    """Delete shards beyond the configured number: what could be used of them has moved."""
    for path in folder.iterdir():
        number = path.name.split(".")[0]
        if number.isdigit() and int(number) >= shards:
            path.unlink()


def _log_hosts(hosts: Sequence[Host]) -> None:
    asked = sorted((host for host in hosts if host.counts), key=lambda host: -host.counts.total())
    for host in asked[:HOSTS_SHOWN]:
        log.info("%s", _describe(host))
    if len(asked) > HOSTS_SHOWN:
        log.info("and %d more hosts", len(asked) - HOSTS_SHOWN)


def _describe(host: Host) -> str:
    kinds = ", ".join(f"{reason} {number}" for reason, number in host.counts.most_common())
    return f"{host.name}: {kinds or 'nothing yet'}, {host.rate():.1f} a second, {len(host.queue)} waiting"


def _tell_missing(name: str, missing: Sequence[Row], total: int) -> str:
    hosts = Counter(row["host"] or "?" for row in missing)
    why = Counter(row["reason"] for row in missing)
    shown = ", ".join(f"{host} {number}" for host, number in hosts.most_common(5))
    more = f" and {len(hosts) - 5} more hosts" if len(hosts) > 5 else ""
    kinds = ", ".join(f"{reason} {number}" for reason, number in why.most_common(5))
    return (
        f"{name}: {len(missing)} of {total} pictures could not be fetched for now ({kinds}) from {shown}{more}. "
        "What was fetched is kept. Run the same command again to try only these, "
        "or set accept_partial: true in the config to go on without them"
    )
