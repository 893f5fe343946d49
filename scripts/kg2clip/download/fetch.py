"""The polite fetcher: each host has its own queue and limits, so that a host that waits holds up no other.

One thread runs an asyncio loop. A job is one picture; a step is one request of it. A redirect or a retry is a new step
that waits in the queue of the host it leads to, so every request anywhere obeys its own host's connections, rate,
bandwidth, robots.txt and pauses. One that leads to a host of another job ends here: that host's limits are its job's.
Finished jobs go to the queue (`desk`) of whoever ordered them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import queue
import random
import re
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from kg2clip import web
from kg2clip.download import media, reasons
from kg2clip.download.encoding import Decoder, EncodingError
from kg2clip.download.lanes import Lane, lane_of, lanes
from kg2clip.download.optout import LONGEST_DELAY, Robots, opts_out, reserves_mining
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 15.0  # seconds without a byte
BACKOFF = 1.0  # seconds before the first retry; doubled each time, with jitter
LONGEST_BACKOFF = 30.0
LONGEST_WAIT = 120.0  # seconds that Retry-After is obeyed for; a host that asks for longer is left to the next run
BREAKER = 20  # transient failures in a row after which a host is given up (harvest.md 8)
TRANSFERS = 100  # requests under way at a time, over all hosts
HELD_BYTES = 256 << 20  # bodies fetched and not yet taken: above it no request starts, those under way may end
LATE = 0.02  # seconds by which a turn may come late without putting off those after it: a loop never wakes on the dot
WINDOW = 100  # turns that are looked back on, so that those caught up do not make a second too full
DEBT = 0.1  # seconds of bandwidth taken before they are paid for: shorter waits are too coarse, they add up
CHUNK = 64 << 10
ROBOTS_BYTES = 500 << 10  # RFC 9309, 2.5: a parser need not read more
ROBOTS_REDIRECTS = 5  # RFC 9309, 2.3.1.2
IDENTITY = {"Accept-Encoding": "identity"}  # the bytes as they are stored there
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture. `reason` is a word of `reasons`, None on success."""

    reason: str | None
    body: bytes | None = None
    http_status: int | None = None
    media_type: str | None = None
    location: str | None = None  # where a redirect leads
    wait: float | None = None  # seconds that the host asks for


Desk = queue.SimpleQueue["Job"]


@dataclass(eq=False, slots=True)
class Job:
    """One picture to fetch, from the first request to its outcome."""

    key: int  # the row's number for whoever ordered it
    urls: Sequence[str]  # as `web.check_url` writes them; the next is tried when one fails for good
    desk: Desk
    failures: list[str] = field(default_factory=list)  # of the urls tried before, each its reason
    outcome: Outcome | None = None  # set when done
    saved: asyncio.Event | None = None  # set when its body is on disk
    current: str = ""  # where redirects have led
    seen: list[str] = field(default_factory=list)
    attempts: int = 0  # at all urls
    tries: int = 0  # at this one
    spent: float = 0.0  # seconds of the total timeout used up in this attempt

    def start_attempt(self) -> None:
        """Begin again at the url itself: one behind a redirect may have expired."""
        self.current = self.urls[len(self.failures)]
        self.seen, self.spent = [self.current], 0.0
        self.attempts += 1
        self.tries += 1

    def start_next_url(self, reason: str) -> bool:
        """Go on to the next url; False if there is none."""
        if len(self.failures) + 1 >= len(self.urls):
            return False
        self.failures.append(reason)
        self.tries = 0
        self.start_attempt()
        return True


class Host:
    """A host's queue, limits and history."""

    def __init__(self, name: str, lane: Lane, verdict: str | None) -> None:
        """`verdict` is a reason for which no request to this host will be made."""
        self.name = name
        self.lane = lane
        self.verdict = verdict
        self.queue: deque[Job] = deque()
        self.workers = 0
        self.slots = asyncio.Semaphore(lane.connections)
        self.gate = asyncio.Lock()  # of those with a slot one waits for the next moment, the others behind it
        self.spacing = 1.0 / lane.requests_per_second
        self.ready_at = 0.0  # loop time of the next allowed request
        self.turns: deque[float] = deque(maxlen=min(WINDOW, max(1, int(lane.requests_per_second))))  # loop times
        self.paid_until = 0.0  # loop time at which the bytes received so far are within the bandwidth
        self.failures = 0  # transient, in a row
        self.robots: dict[str, Robots] = {}
        self.robots_lock = asyncio.Lock()
        self.counts: Counter[str] = Counter()  # what became of the links asked here, by reason
        self.received = 0  # bytes of bodies
        self.first = self.last = 0.0  # when it was first asked, and when its last outcome came, by time.monotonic

    def count(self, reason: str) -> None:
        """Count what became of a link."""
        self.counts[reason] += 1
        self.last = time.monotonic()

    def due(self) -> float:
        """Seconds until the next request is allowed; not above 0 if it is now."""
        return max(self.ready_at, self.paid_until - DEBT) - asyncio.get_running_loop().time()

    def take_turn(self) -> None:
        """Make the next request wait as long as the rate asks.

        Turns lie on a grid, so that a late one costs nothing, but no second holds more of them than are allowed.
        """
        now = asyncio.get_running_loop().time()
        self.ready_at = (self.ready_at if now - self.ready_at < LATE else now) + self.spacing
        self.turns.append(now)
        if len(self.turns) == self.turns.maxlen:
            self.ready_at = max(self.ready_at, self.turns[0] + len(self.turns) * self.spacing)

    def pause(self, seconds: float) -> None:
        """Make no request for some seconds."""
        self.ready_at = max(self.ready_at, asyncio.get_running_loop().time() + seconds)

    async def pace(self, received: int, deadline: asyncio.Timeout) -> None:
        """Wait until `received` more bytes are within the lane's bandwidth. The wait does not count as the server's."""
        loop = asyncio.get_running_loop()
        self.paid_until = max(self.paid_until, loop.time()) + received * 8e-6 / self.lane.megabits_per_second
        due = self.paid_until - loop.time()
        if due < DEBT:
            return
        when = deadline.when()
        deadline.reschedule(when + due if when is not None else None)
        await asyncio.sleep(due)


class Fetcher:
    """Fetches jobs in the background: `with Fetcher(settings, owns) as fetcher: fetcher.submit(jobs)`."""

    def __init__(self, settings: Settings, owns: Callable[[str | None], bool]) -> None:
        """Take limits from the config; nothing is asked yet. `owns` tells which hosts this job asks."""
        self._owns = owns
        options = settings["download"]
        self._lanes = lanes(settings)
        self._contact: str = settings["contact"]
        self._private = frozenset(options["private_hosts"])
        self._total: float = options["total_timeout"]
        self._max_bytes: int = options["max_bytes"]
        self._max_redirects: int = options["max_redirects"]
        self._attempts: int = options["attempts"]
        self._respect: bool = options["respect_opt_out"]
        self._hosts: dict[str, Host] = {}
        self._open: set[Job] = set()
        self._held = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="fetcher", daemon=True)

    def __enter__(self) -> Fetcher:
        """Start the loop."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the loop; unfinished jobs end as stopped."""
        self.stop()
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs in; each arrives at its desk with an outcome, in any order."""
        self._loop.call_soon_threadsafe(self._take_in, jobs)

    def taken(self, job: Job, size: int) -> None:
        """Say that a job's body of `size` bytes has been written: its memory is free, and so is its connection."""
        self._loop.call_soon_threadsafe(self._release, job, size)

    def stop(self) -> None:
        """End all jobs now, as stopped."""
        self._loop.call_soon_threadsafe(self._stop)

    def hosts(self) -> list[Host]:
        """The hosts asked so far, for reports."""
        return list(self._hosts.values())

    # Everything below runs in the loop's thread.

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:  # whatever ended the loop: nobody may wait for ever
            self._started.set()
            for job in list(self._open):
                self._deliver(job, Outcome(reasons.STOPPED))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Name lookups block a thread each: with fewer, silent name servers of some hosts would hold up the others'.
        self._loop.set_default_executor(ThreadPoolExecutor(TRANSFERS, "names"))
        self._end = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._transfers = asyncio.Semaphore(TRANSFERS)
        connector = aiohttp.TCPConnector(resolver=web.Resolver(self._private), limit=0, ttl_dns_cache=60)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": web.agent(self._contact), "Accept": "image/*, */*;q=0.1", **IDENTITY},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT),
            auto_decompress=False,  # see encoding.py
        ) as self._session:
            self._started.set()
            await self._end.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take_in(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._open.add(job)
            job.start_attempt()
            self._enqueue(job)

    def _release(self, job: Job, size: int) -> None:
        assert job.saved is not None
        job.saved.set()
        self._held -= size
        if self._held < HELD_BYTES:
            self._room.set()

    def _stop(self) -> None:
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        for job in list(self._open):
            self._deliver(job, Outcome(reasons.STOPPED))

    def _enqueue(self, job: Job) -> None:
        if self._stopped:
            self._deliver(job, Outcome(reasons.STOPPED))
            return
        host = self._host(web.host_of(job.current) or "")
        host.queue.append(job)
        if host.workers < host.lane.connections:
            host.workers += 1
            task = asyncio.create_task(self._work(host))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _host(self, name: str) -> Host:
        if name not in self._hosts:
            self._hosts[name] = Host(name, lane_of(name, self._lanes), self._refusal(name))
        return self._hosts[name]

    def _refusal(self, name: str) -> str | None:
        try:
            # aiohttp asks no resolver about hosts that are addresses, so these are checked here.
            if _is_address(name):
                web.check_address(name, name, self._private)
            if name not in self._private:
                web.check_contact(name, self._contact)
        except web.RefusedError as error:
            return error.reason
        return None

    async def _work(self, host: Host) -> None:
        try:
            while host.queue:
                job = host.queue.popleft()
                try:
                    outcome = await self._step(host, job)
                    if outcome is not None and outcome.body is not None:
                        job.saved = asyncio.Event()
                    if outcome is not None:
                        self._settle(host, job, outcome)
                    if job.saved is not None:
                        # So a kill costs a host at most one picture for each connection.
                        await job.saved.wait()
                except Exception:
                    # A job that never arrives at its desk would block its shard for ever.
                    log.exception("%s could not be fetched", job.current)
                    self._deliver(job, Outcome(reasons.OUR_ERROR), host)
        finally:
            host.workers -= 1

    async def _step(self, host: Host, job: Job) -> Outcome | None:
        """Make the job's next request. None: a redirect, the job waits elsewhere for its next step."""
        host.first = host.first or time.monotonic()
        if host.verdict:
            job.attempts -= len(job.seen) == 1  # this one asks nobody
            return Outcome(host.verdict)
        try:
            if self._respect and not (await self._robots(host, job.current)).allows(job.current):
                return Outcome(reasons.ROBOTS)
            async with self._turn(host), asyncio.timeout(self._total - job.spent) as deadline:
                began = self._loop.time()
                async with self._session.get(URL(job.current, encoded=True), allow_redirects=False) as response:
                    outcome = await self._judge(host, response, deadline)
                job.spent += self._loop.time() - began
        except (aiohttp.ClientError, OSError, web.RefusedError, EncodingError, _RobotsUnreachableError) as error:
            return _from_error(error)
        return self._follow(job, outcome) if outcome.location else outcome

    @asynccontextmanager
    async def _turn(self, host: Host) -> AsyncIterator[None]:
        """Wait until the host may be asked and there is room, then hold one of the host's connections."""
        async with host.slots:
            async with host.gate:
                await self._moment(host)
            try:
                yield
            finally:
                self._transfers.release()

    async def _moment(self, host: Host) -> None:
        while True:
            await self._room.wait()
            while (due := host.due()) > 0:
                await asyncio.sleep(due)
            await self._transfers.acquire()
            if host.due() <= 0:
                host.take_turn()
                return
            self._transfers.release()  # while this one waited for its place, the host asked for a pause

    async def _judge(self, host: Host, response: aiohttp.ClientResponse, deadline: asyncio.Timeout) -> Outcome:
        status, headers = response.status, response.headers
        told = Outcome(reasons.http(status), http_status=status)
        if status in REDIRECTS:
            return replace(told, location=headers.get("Location"))
        if status != 200:
            return replace(told, wait=web.retry_after(headers.get("Retry-After")))
        asked_not_to = opts_out(headers.getall("X-Robots-Tag", []))
        if self._respect and (asked_not_to or reserves_mining(headers.getall("tdm-reservation", []))):
            return replace(told, reason=reasons.OPT_OUT)
        if (response.content_length or 0) > self._max_bytes:
            return replace(told, reason=reasons.TOO_LARGE)
        body = await self._read(host, response, deadline, self._max_bytes)
        if len(body) > self._max_bytes:
            return replace(told, reason=reasons.TOO_LARGE)
        if not body:
            return replace(told, reason=reasons.EMPTY)
        kind = media.media_type(body, headers.get("Content-Type", ""))
        if not media.may_be_image(kind):
            return replace(told, reason=reasons.NOT_AN_IMAGE, media_type=kind)
        return replace(told, reason=None, body=body, media_type=kind)

    async def _read(self, host: Host, response: aiohttp.ClientResponse, deadline: asyncio.Timeout, limit: int) -> bytes:
        """The body; of one longer than `limit` the first bytes, more than `limit`, and the rest is not received."""
        body = bytearray()
        decoder = Decoder(response.headers.getall("Content-Encoding", []))
        async for chunk in response.content.iter_chunked(CHUNK):
            host.received += len(chunk)
            body += decoder.decode(chunk, limit + 1 - len(body))
            if len(body) > limit:
                response.close()
                break
            await host.pace(len(chunk), deadline)
        else:
            decoder.check_end()
        return bytes(body)

    def _follow(self, job: Job, answer: Outcome) -> Outcome | None:
        try:
            target = web.check_url(urljoin(job.current, _as_text(answer.location or "")))
        except (web.RefusedError, ValueError):
            return replace(answer, reason=reasons.BAD_URL)
        if target in job.seen:
            return replace(answer, reason=reasons.REDIRECT_LOOP)
        if len(job.seen) > self._max_redirects:
            return replace(answer, reason=reasons.TOO_MANY_REDIRECTS)
        if not self._owns(web.host_of(target)):
            return replace(answer, reason=reasons.OTHER_LANE, location=target)
        job.seen.append(target)
        job.current = target
        self._enqueue(job)
        return None

    def _settle(self, host: Host, job: Job, outcome: Outcome) -> None:
        """Hand a job over, or put it back for another attempt."""
        if outcome.reason in (reasons.UNKNOWN_HOST, reasons.PRIVATE_ADDRESS):
            host.verdict = outcome.reason  # holds for all its rows; asking again would only take turns
        if not reasons.is_transient(outcome.reason):
            host.failures = 0
            if reasons.passes_on(outcome.reason) and job.start_next_url(str(outcome.reason)):
                host.count(str(outcome.reason))
                self._enqueue(job)
                return
            self._deliver(job, outcome, host)
            return
        host.failures += 1
        wait = outcome.wait
        if not host.verdict and (host.failures >= BREAKER or (wait or 0.0) > LONGEST_WAIT):
            host.verdict = reasons.HOST_DOWN
            asks = f"asks to wait {wait:.0f} seconds" if wait else f"failed {host.failures} times in a row"
            log.warning("%s %s (%s); it is asked no more in this run", host.name, asks, outcome.reason)
        if host.verdict or job.tries >= self._attempts:
            self._deliver(job, outcome, host)
            return
        backoff = min(LONGEST_BACKOFF, BACKOFF * 2 ** (job.tries - 1)) * random.uniform(0.5, 1.5)
        if outcome.http_status in (429, 503):
            host.pause(backoff if wait is None else wait)  # it speaks of the host, not of one picture
        job.start_attempt()
        self._loop.call_later(backoff if wait is None else wait, self._enqueue, job)

    def _deliver(self, job: Job, outcome: Outcome, host: Host | None = None) -> None:
        if job not in self._open:
            return
        self._open.discard(job)
        job.outcome = outcome
        if outcome.body is not None:
            self._held += len(outcome.body)
            if self._held >= HELD_BYTES:
                self._room.clear()
        if host is not None:
            host.count(outcome.reason or reasons.SUCCESS)
        job.desk.put(job)

    async def _robots(self, host: Host, url: str) -> Robots:
        origin = url[: url.index("/", len("https://"))]  # a URL as `check_url` writes it has a path
        if (known := host.robots.get(origin)) is not None:
            return known
        async with host.robots_lock:
            if host.verdict is None and origin not in host.robots:
                host.robots[origin] = robots = Robots(await self._robots_text(f"{origin}/robots.txt"))
                if host.spacing < robots.crawl_delay <= LONGEST_DELAY:
                    log.info("%s asks for %g seconds between requests", host.name, robots.crawl_delay)
                    host.spacing = robots.crawl_delay
        return host.robots.get(origin) or Robots("")

    async def _robots_text(self, url: str) -> str:
        """The text of a robots.txt; empty, so that nothing is disallowed, if there is none (RFC 9309, 2.3.1.3)."""
        status, answer = await self._ask_robots(url)
        for _ in range(ROBOTS_REDIRECTS):
            if status not in REDIRECTS:
                break
            try:
                url = web.check_url(urljoin(url, _as_text(answer)))
                status, answer = await self._ask_robots(url)
            except (aiohttp.ClientError, OSError, ValueError, web.RefusedError):
                return ""  # it leads nowhere, and that says nothing about the first host
        return answer if status == 200 else ""

    async def _ask_robots(self, url: str) -> tuple[int, str]:
        """Status and text, or where a redirect leads."""
        host = self._host(web.host_of(url) or "")
        if host.verdict:
            return 404, ""
        async with (
            self._turn(host),
            asyncio.timeout(self._total) as deadline,
            self._session.get(URL(url, encoded=True), allow_redirects=False) as response,
        ):
            if response.status == 200:
                try:
                    return 200, (await self._read(host, response, deadline, ROBOTS_BYTES)).decode("utf-8", "replace")
                except EncodingError:
                    return 200, ""  # what can't be read holds no rules (RFC 9309, 2.3.1.5)
            if reasons.is_transient(reasons.http(response.status)):
                raise _RobotsUnreachableError(response.status, web.retry_after(response.headers.get("Retry-After")))
            return response.status, response.headers.get("Location", "")


class _RobotsUnreachableError(Exception):
    def __init__(self, status: int, wait: float | None) -> None:
        super().__init__(f"robots.txt answers {status}")
        self.status, self.wait = status, wait


def _as_text(location: str) -> str:
    """A Location header whose bytes are no UTF-8 (aiohttp keeps them as surrogates) with these percent-encoded."""
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:X}", location)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True


def _from_error(error: Exception) -> Outcome:
    if isinstance(error, _RobotsUnreachableError):
        return Outcome(reasons.ROBOTS_UNREACHABLE, http_status=error.status, wait=error.wait)
    if isinstance(error, web.RefusedError):
        return Outcome(error.reason)
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return Outcome(reason(error) if callable(reason) else reason)
    raise error


def _name_reason(error: Any) -> str:
    cause = error.os_error
    unknown = isinstance(cause, socket.gaierror) and cause.errno in web.UNKNOWN_NAME
    return reasons.UNKNOWN_HOST if unknown else reasons.NO_DNS


# The first kind that fits counts: special ones stand before general ones.
_REASONS: tuple[tuple[Any, Any], ...] = (
    (aiohttp.InvalidURL, reasons.BAD_URL),
    (aiohttp.ClientConnectorDNSError, _name_reason),
    (aiohttp.ClientConnectorCertificateError, reasons.CERTIFICATE),
    (ssl.SSLCertVerificationError, reasons.CERTIFICATE),
    (TimeoutError, reasons.TIMEOUT),
    (EncodingError, reasons.ENCODING),
    (aiohttp.ClientPayloadError, reasons.CUT),
    (aiohttp.ClientResponseError, reasons.PROTOCOL),
    (aiohttp.ClientConnectionError, reasons.CONNECT),
    (aiohttp.ClientError, reasons.PROTOCOL),
    (OSError, reasons.CONNECT),
)
