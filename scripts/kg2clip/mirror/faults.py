"""The mirror's hostile hosts: one stable URL for each thing that servers of the web do to a harvest.

What a URL answers depends on the URL, and for some hosts on how often it was asked: each request is written to a
journal in the mirror's folder before it is answered, and a server that starts again goes on counting from there.
Two answers need the clock, since what they mimic does: the rate limit of strict.mirror.test, and a Retry-After that
is a date two seconds ahead.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import time
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from aiohttp import web

from kg2clip.mirror import endpoints, oddities, rendered, wordings

DOMAIN = "mirror.test"
FAULTS_HOST, BROKEN, SLOW, DOWN, MOODY, TOMORROW, LIMITED, PICKY, STRICT, OPTOUT, ROBOTS, NO_ROBOTS, IDN = (
    f"{name}.{DOMAIN}"
    for name in (
        "faults", "broken", "slow", "down", "moody", "tomorrow", "limited", "picky", "strict", "optout", "robots",
        "norobots", "xn--bcher-kva",
    )
)  # fmt: skip
GONE = f"gone.{DOMAIN}"  # no host
MUTE = f"mute.{DOMAIN}"  # a port of its own, that takes connections and never says a word
FAULTS_URL, BROKEN_URL, SLOW_URL = f"http://{FAULTS_HOST}", f"http://{BROKEN}", f"http://{SLOW}"

JOURNAL = "faults.jsonl"  # in the mirror's folder: host, path, attempt, requests open at that host

HOUR = 60  # attempts for which a URL of down.mirror.test answers 503: an hour of one a minute
ALLOWANCE = 20  # requests that limited.mirror.test answers between two refusals
CONNECTIONS, RATE = 2, 10  # what strict.mirror.test allows at a time, and in a second
WINDOW = 0.9  # seconds over which RATE is counted: a client that keeps to it may be early by a tenth
THINKING = 0.05  # seconds that strict.mirror.test takes to answer, so that simultaneous requests meet
SURPLUS_PAUSE = 0.2  # seconds
LONGEST = 600.0  # seconds after which an answer that never ends is given up
ROBOTS_TEXT = "User-agent: *\nDisallow: /private/\nAllow: /private/press/\nDisallow: /*.draft.jpg$\n"
RETRY_AFTER: dict[str, Callable[[], str | None]] = {  # the header's values, by their names in URLs
    "seconds": lambda: "1",
    "date": lambda: formatdate(time.time() + 2, usegmt=True),
    "past": lambda: "Wed, 21 Oct 2015 07:28:00 GMT",
    "senseless": lambda: "soon",
    "absent": lambda: None,
    "day": lambda: "86400",
    "century": lambda: "Thu, 31 Dec 2099 23:59:59 GMT",
}
OPTING_OUT = {  # values of X-Robots-Tag, by the names of the files on optout.mirror.test
    "noai": ["noai"],
    "noimageai": ["noai, noimageai"],
    "noml": ["NoML"],
    "noindex": ["noindex, unavailable_after: 25 Jun 2030 15:00:00 GMT"],
    "second": ["nofollow", "max-snippet: 10, noai"],
    "us": ["otherbot: nofollow, kg2clip: noai"],
}
NOT_MEANT = {
    "other": ["otherbot: noai, noindex"],
    "harmless": ["all, max-image-preview: large"],
}
WIRE_PATHS = {  # as a source may write a path, and as it must be asked for
    "a b.jpg": "a%20b.jpg",
    "Bär.jpg": "B%C3%A4r.jpg",
    "鸟.jpg": "%E9%B8%9F.jpg",
    "a%2520b.jpg": "a%2520b.jpg",
    "a%2Fb.jpg": "a%2Fb.jpg",
    "100%.jpg": "100%25.jpg",
    "a,b;c=1.jpg": "a,b;c=1.jpg",
    "it's(1).jpg": "it's(1).jpg",
    "part.jpg#top": "part.jpg",
    "q.jpg?x=a b&y=%26": "q.jpg?x=a%20b&y=%26",
}


@dataclass(frozen=True)
class Fault:
    """A URL of the hostile hosts and what must become of it.

    Attributes:
        name: what the server does; entries that belong together share it.
        url: as a source would give it.
        status, reason: of the download manifest; on success there is no reason.
    """

    name: str
    url: str
    status: str
    reason: str | None = None


def _good(name: str, url: str) -> Fault:
    return Fault(name, url, "success")


def _failed(name: str, url: str, reason: str) -> Fault:
    return Fault(name, url, "failed", reason)


def _refused(name: str, url: str, reason: str) -> Fault:
    return Fault(name, url, "refused", reason)


def _to(target: str) -> str:
    return f"{FAULTS_URL}/to/{target}"


def placeholder_url(number: int) -> str:
    """An address whose picture was taken away: even ones are redirected to one and the same placeholder."""
    return f"{FAULTS_URL}/{'placeholder' if number % 2 else 'removed'}/{number}.jpg"


FAULTS: list[Fault] = [
    _good("nothing: an ordinary picture", f"{FAULTS_URL}/ok/robin.jpg"),
    # addresses
    *(_good("spaces, non-ASCII, %2520, comma, ;, fragment", f"{FAULTS_URL}/wire/{path}") for path in WIRE_PATHS),
    _good("IDN host", f"http://bücher.{DOMAIN}/ok/robin.jpg"),
    _refused("4,000-character URL", f"{FAULTS_URL}/ok/{'x' * 4000}.jpg", "bad-url"),
    _refused("data:", "data:image/png;base64,iVBORw0KGgo=", "bad-url"),
    _refused("file:", "file:///etc/hostname", "bad-url"),
    _refused("link-local address", "http://169.254.169.254/latest/meta-data/", "private-address"),
    _failed("host that does not exist", f"http://{GONE}/robin.jpg", "dns"),
    # bodies
    _failed("404 with a page", f"{FAULTS_URL}/status/404/robin.jpg", "http-404"),
    _failed("410", f"{FAULTS_URL}/status/410/robin.jpg", "http-410"),
    _failed("HTML with status 200 and type image/jpeg", f"{FAULTS_URL}/html/robin.jpg", "not-an-image"),
    _failed("0 bytes", f"{FAULTS_URL}/empty/robin.jpg", "empty"),
    _good("gzip body, said so", f"{FAULTS_URL}/gzip/robin.jpg"),
    _good("gzip body, not said so (the decoder: unknown-format)", f"{FAULTS_URL}/gzip-unsaid/robin.jpg"),
    _failed("Content-Length too long", f"{BROKEN_URL}/too-long/robin.jpg", "cut"),
    _good("Content-Length too short (the decoder: truncated)", f"{BROKEN_URL}/too-short/robin.jpg"),
    _failed("Content-Length too short, the rest at once", f"{BROKEN_URL}/surplus/robin.jpg", "protocol"),
    _failed("chunked body cut", f"{BROKEN_URL}/chunks-cut/robin.jpg", "cut"),
    _failed("no HTTP", f"{BROKEN_URL}/no-http/robin.jpg", "protocol"),
    _failed("connection closed without an answer", f"{BROKEN_URL}/closed/robin.jpg", "connect"),
    _failed("TLS where none is spoken", f"https://{BROKEN}/ok/robin.jpg", "connect"),
    _refused("endless stream", f"{FAULTS_URL}/endless/robin.jpg", "too-large"),
    _refused("Content-Length of 99 GB", f"{FAULTS_URL}/declared/robin.jpg", "too-large"),
    # time
    _failed("1 byte per second", f"{SLOW_URL}/drip/robin.jpg", "timeout"),
    _failed("stalled TLS", f"https://{MUTE}/robin.jpg", "timeout"),
    _failed("stalled before the answer", f"{SLOW_URL}/stalled/robin.jpg", "timeout"),
    _failed("stalled in the body", f"{SLOW_URL}/half/robin.jpg", "timeout"),
    # redirects
    _good("3 redirects", f"{FAULTS_URL}/stairs/3/robin.jpg"),
    _failed("11 redirects", f"{FAULTS_URL}/stairs/11/robin.jpg", "too-many-redirects"),
    _failed("redirect loop", f"{FAULTS_URL}/loop/a/robin.jpg", "redirect-loop"),
    *(_good("redirect to a placeholder (recorded as the final URL)", f"{FAULTS_URL}/removed/{n}.jpg") for n in (1, 2)),
    *(_good("placeholder in place of the picture, each of its own size", placeholder_url(n)) for n in (1, 3)),
    _refused("redirect to a link-local address", _to("http://169.254.169.254/latest/meta-data/"), "private-address"),
    _refused("redirect to loopback", _to("http://127.0.0.1:9/robin.jpg"), "private-address"),
    _refused("redirect to loopback, IPv6", _to("http://[::1]/robin.jpg"), "private-address"),
    _refused("redirect to file:", _to("file:///etc/hostname"), "bad-url"),
    _failed("redirect to a host that does not exist", _to(f"http://{GONE}/robin.jpg"), "dns"),
    # moods
    *(
        _good("503 or 429 at first; Retry-After as seconds, as date, absent", f"http://{MOODY}/{status}/1/{wait}/robin.jpg")
        for status in (429, 503)
        for wait in ("seconds", "date", "past", "senseless", "absent")
    ),
    _failed("429 with Retry-After 86400", f"http://{TOMORROW}/429/1/day/robin.jpg", "http-429"),
    _failed("503 for an hour", f"http://{DOWN}/503/{HOUR}/absent/robin.jpg", "http-503"),
    *(_good("429 after 20 requests", f"http://{LIMITED}/ok/{number:02d}.jpg") for number in range(25)),
    *(_good("2 connections, 10 requests a second", f"http://{STRICT}/ok/{number:02d}.jpg") for number in range(12)),
    _good("403 for browser-like agents, of which we are none", f"http://{PICKY}/ok/robin.jpg"),
    # wishes
    _good("robots.txt allows", f"http://{ROBOTS}/public/robin.jpg"),
    _refused("robots.txt disallows", f"http://{ROBOTS}/private/robin.jpg", "robots"),
    _good("robots.txt allows, by the longer rule", f"http://{ROBOTS}/private/press/robin.jpg"),
    _refused("robots.txt disallows, by a wildcard", f"http://{ROBOTS}/public/robin.draft.jpg", "robots"),
    _failed("robots.txt answers 503", f"http://{NO_ROBOTS}/ok/robin.jpg", "robots-unreachable"),
    *(_refused("X-Robots-Tag noai, noml ...", f"http://{OPTOUT}/{tag}.jpg", "opt-out") for tag in OPTING_OUT),
    *(_good("X-Robots-Tag that does not mean us", f"http://{OPTOUT}/{tag}.jpg") for tag in NOT_MEANT),
]  # fmt: skip


class Visits:
    """How often each URL was asked, kept over restarts, and how many requests each host had at a time.

    Attributes:
        requests: requests of all times, by host.
        peak: requests open at the same time at most, since this start, by host.
    """

    def __init__(self, path: Path) -> None:
        """Go on from what the journal says; a torn last line, left by a kill, is cut off."""
        self.requests: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._open: defaultdict[str, dict[int, web.Request]] = defaultdict(dict)  # by identity: they have no hash
        self._journal = open(path, "a+b", buffering=0)  # noqa: SIM115 - open as long as we serve
        self._load()

    def _load(self) -> None:
        self._journal.seek(0)
        whole, end, _ = self._journal.read().rpartition(b"\n")
        self._journal.truncate(len(whole) + len(end))
        for line in whole.splitlines():
            visit = json.loads(line)
            self._count(visit["host"], visit["path"])

    def begin(self, host: str, request: web.Request) -> int:
        """Count a request before it is answered; return the number of the attempt at this URL, from 1."""
        # A client that gave up is gone at once; its answer may take a moment longer to notice.
        there = {key: other for key, other in self._open[host].items() if is_there(other)}
        self._open[host] = {**there, id(request): request}
        self.peak[host] = max(self.peak[host], self.open_at(host))
        attempt = self._count(host, request.raw_path)
        visit = {"host": host, "path": request.raw_path, "attempt": attempt, "open": self.open_at(host)}
        self._journal.write(json.dumps(visit).encode() + b"\n")
        return attempt

    def end(self, host: str, request: web.Request) -> None:
        """Say that a request was answered."""
        self._open[host].pop(id(request), None)

    def open_at(self, host: str) -> int:
        """Requests that a host is answering now."""
        return len(self._open[host])

    def _count(self, host: str, path: str) -> int:
        self.requests[host] += 1
        self._attempts[host, path] += 1
        return self._attempts[host, path]


class FaultsSite:
    """The hostile hosts, the gallery of odd pictures, search results with hostile texts, and endpoints in trouble."""

    hosts: tuple[str, ...] = (
        FAULTS_HOST, BROKEN, SLOW, DOWN, MOODY, TOMORROW, LIMITED, PICKY, STRICT, OPTOUT, ROBOTS, NO_ROBOTS, IDN,
        endpoints.HOST,
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        """`folder` is the mirror's; the journal of visits lies there."""
        self.visits = Visits(folder / JOURNAL)
        self._recent: deque[float] = deque(maxlen=RATE)  # when strict.mirror.test was last asked
        self._rules: dict[str, Callable[[web.Request, int], Awaitable[web.StreamResponse]]] = {
            MOODY: _moody, TOMORROW: _moody, DOWN: _moody, LIMITED: self._limited, PICKY: _picky,
            STRICT: self._strict, OPTOUT: _opting_out, ROBOTS: _ok, endpoints.HOST: _endpoint,
        }  # fmt: skip

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer by the host's rule, or by the first part of the path."""
        host = request.host.split(":")[0]
        attempt = self.visits.begin(host, request)
        try:
            if request.path == "/robots.txt":
                return _robots(host)
            if rule := self._rules.get(host):
                return await rule(request, attempt)
            kind = ANSWERS.get(request.path.split("/")[1], _not_found)
            return await kind(request)
        finally:
            self.visits.end(host, request)

    async def _limited(self, request: web.Request, _: int) -> web.StreamResponse:
        if self.visits.requests[LIMITED] % (ALLOWANCE + 1) == 0:
            return web.Response(status=429, headers={"Retry-After": "1"})
        return await _ok(request)

    async def _strict(self, request: web.Request, _: int) -> web.StreamResponse:
        now = time.monotonic()
        hasty = len(self._recent) == RATE and now - self._recent[0] < WINDOW
        self._recent.append(now)
        crowded = self.visits.open_at(STRICT) > CONNECTIONS
        await asyncio.sleep(THINKING)
        return web.Response(status=429) if hasty or crowded else await _ok(request)


@lru_cache(maxsize=256)
def picture_of(path: str) -> bytes:
    """The picture at a path of the hostile hosts: another one at each path, the same each time."""
    known = rendered.species()
    number = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big")
    return oddities.encoded(rendered.draw(known[number % len(known)], number, 320, 240), quality=85)


def _picture(request: web.Request) -> bytes:
    return picture_of(request.path.rsplit("/", 1)[-1])


async def _ok(request: web.Request, _: int = 0) -> web.StreamResponse:
    return web.Response(body=_picture(request), content_type="image/jpeg")


def _page(status: int) -> web.Response:
    text = f"<!DOCTYPE html><html><body><h1>{status}</h1></body></html>"
    return web.Response(status=status, text=text, content_type="text/html")


async def _not_found(request: web.Request) -> web.StreamResponse:
    return _page(404)


def _robots(host: str) -> web.StreamResponse:
    if host == ROBOTS:
        return web.Response(text=ROBOTS_TEXT)
    return _page(503 if host == NO_ROBOTS else 404)


async def _moody(request: web.Request, attempt: int) -> web.StreamResponse:
    """/STATUS/TIMES/RETRY-AFTER/NAME: the status for so many attempts, then the picture."""
    status, times, wait = request.path.split("/")[1:4]
    if attempt > int(times):
        return await _ok(request)
    header = RETRY_AFTER[wait]()
    return web.Response(status=int(status), headers={"Retry-After": header} if header else {})


async def _endpoint(request: web.Request, attempt: int) -> web.StreamResponse:
    return endpoints.answer(request.path, attempt, RETRY_AFTER)


async def _picky(request: web.Request, _: int) -> web.StreamResponse:
    return _page(403) if "Mozilla" in request.headers.get("User-Agent", "Mozilla") else await _ok(request)


async def _opting_out(request: web.Request, _: int) -> web.StreamResponse:
    response = web.Response(body=_picture(request), content_type="image/jpeg")
    for value in {**OPTING_OUT, **NOT_MEANT}.get(request.path.strip("/").removesuffix(".jpg"), []):
        response.headers.add("X-Robots-Tag", value)
    return response


async def _wire(request: web.Request) -> web.StreamResponse:
    """The picture only for a path that was encoded as it must be."""
    known = request.raw_path.removeprefix("/wire/") in WIRE_PATHS.values()
    return await _ok(request) if known else _page(404)


async def _status(request: web.Request) -> web.StreamResponse:
    return _page(int(request.path.split("/")[2]))


async def _html(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\n <!DOCTYPE html><p>Please log in", content_type="image/jpeg")


async def _empty(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"", content_type="image/jpeg")


async def _gzip(request: web.Request) -> web.StreamResponse:
    response = await _gzip_unsaid(request)
    response.headers["Content-Encoding"] = "gzip"
    return response


async def _gzip_unsaid(request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(_picture(request), mtime=0), content_type="image/jpeg")


async def _too_long(request: web.Request) -> web.StreamResponse:
    body = _picture(request)
    return await _begin(request, body, close=True, length=len(body) + 1000)


async def _too_short(request: web.Request) -> web.StreamResponse:
    """Half the picture as declared; the rest when the client has long finished."""
    body = _picture(request)
    half = len(body) // 2
    response = await _begin(request, body[:half], length=half, last=True)
    await asyncio.sleep(SURPLUS_PAUSE)
    _say(request, body[half:])  # past aiohttp, which keeps to the declared length
    return response


async def _surplus(request: web.Request) -> web.StreamResponse:
    """Half the picture as declared, and the rest in the same breath, where the next answer would begin."""
    body = _picture(request)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body) // 2}\r\n\r\n"
    return _say(request, head.encode() + body)


async def _chunks_cut(request: web.Request) -> web.StreamResponse:
    return await _begin(request, _picture(request), close=True)  # without the last chunk, which is empty


async def _no_http(request: web.Request) -> web.StreamResponse:
    return _say(request, b"220 ftp.mirror.test ready\r\n\r\n")


async def _closed(request: web.Request) -> web.StreamResponse:
    return _say(request, b"")


async def _declared(request: web.Request) -> web.StreamResponse:
    response = await _begin(request, _picture(request), length=99_000_000_000)
    return await _until_gone(request, response, b"")


async def _endless(request: web.Request) -> web.StreamResponse:
    return await _until_gone(request, await _begin(request, _picture(request)), bytes(64 << 10), pause=0)


async def _drip(request: web.Request) -> web.StreamResponse:
    return await _until_gone(request, await _begin(request, b"\xff"), b"\xd8", pause=1)


async def _half(request: web.Request) -> web.StreamResponse:
    body = _picture(request)
    return await _until_gone(request, await _begin(request, body[: len(body) // 2], length=len(body)), b"")


async def _stalled(request: web.Request) -> web.StreamResponse:
    return await _until_gone(request, web.Response(), b"")


async def _begin(
    request: web.Request, body: bytes, close: bool = False, length: int | None = None, last: bool = False
) -> web.StreamResponse:
    """Begin an answer; in chunks, where no length is declared. `last` says that the connection ends with it."""
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    response.content_length = length
    if last:
        response.force_close()
    await response.prepare(request)
    await response.write(body)
    if close and request.transport:
        request.transport.close()
    return response


def _say(request: web.Request, content: bytes) -> web.StreamResponse:
    """Say something past aiohttp, and hang up; the response returned reaches nobody."""
    if request.transport:
        request.transport.write(content)
        request.transport.close()
    return web.Response()


def is_there(request: web.Request) -> bool:
    """Whether the client still listens."""
    return request.transport is not None and not request.transport.is_closing()


async def _until_gone(
    request: web.Request, response: web.StreamResponse, more: bytes, pause: float = 0.1
) -> web.StreamResponse:
    """Write the same bytes again and again, or nothing, until the client goes."""
    began = time.monotonic()
    try:
        while is_there(request) and time.monotonic() - began < LONGEST:
            if more:
                await response.write(more)
            await asyncio.sleep(pause)
    except ConnectionError:
        pass  # it has gone
    if request.transport:
        request.transport.close()
    return response


async def _to_target(request: web.Request) -> web.StreamResponse:
    return _redirect(request.raw_path.removeprefix("/to/"))


async def _loop(request: web.Request) -> web.StreamResponse:
    _, _, turn, name = request.path.split("/")
    return _redirect(f"/loop/{'b' if turn == 'a' else 'a'}/{name}", status=301)


async def _stairs(request: web.Request) -> web.StreamResponse:
    _, _, steps, name = request.path.split("/")
    return _redirect(f"/stairs/{int(steps) - 1}/{name}", status=307) if int(steps) else await _ok(request)


async def _removed(request: web.Request) -> web.StreamResponse:
    return _redirect("/placeholder/photo_unavailable.png")


async def _placeholder(request: web.Request) -> web.StreamResponse:
    stem = request.path.rsplit("/", 1)[-1].partition(".")[0]
    if not stem.isdigit():
        return web.Response(body=oddities.placeholder(), content_type="image/png")
    return web.Response(body=oddities.placeholder(int(stem)), content_type="image/jpeg")


def _redirect(target: str, status: int = 302) -> web.Response:
    return web.Response(status=status, headers={"Location": target})


async def _gallery(request: web.Request) -> web.StreamResponse:
    try:
        media_type, body = oddities.content(request.path.removeprefix("/pictures/"))
    except KeyError:
        return _page(404)
    return web.Response(body=body, content_type=media_type)


async def _search(request: web.Request) -> web.StreamResponse:
    return web.json_response(wordings.answer(request.query, f"{FAULTS_URL}/ok"))


ANSWERS: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
    "ok": _ok, "wire": _wire, "pictures": _gallery, "w": _search,
    "status": _status, "html": _html, "empty": _empty, "gzip": _gzip, "gzip-unsaid": _gzip_unsaid,
    "too-long": _too_long, "too-short": _too_short, "surplus": _surplus, "chunks-cut": _chunks_cut,
    "no-http": _no_http, "closed": _closed, "declared": _declared, "endless": _endless,
    "drip": _drip, "half": _half, "stalled": _stalled,
    "to": _to_target, "loop": _loop, "stairs": _stairs, "removed": _removed, "placeholder": _placeholder,
}  # fmt: skip


BEGIN, END = "<!-- entries: written by kg2clip.mirror.faults -->", "<!-- end of the entries -->"


def write_into(page: Path) -> None:
    """Write the tables of all entries into a page, between its two marks.

    Raises:
        ValueError: the page lacks a mark.
    """
    text = page.read_text(encoding="utf-8")
    before, rest = text[: text.index(BEGIN)], text[text.index(END) :]
    page.write_text(f"{before}{BEGIN}\n{as_markdown()}\n{rest}", encoding="utf-8")


def as_markdown() -> str:
    """All entries as tables."""
    pictures = [(oddity.name, f"{FAULTS_URL}/pictures/{oddity.file}", _fate(oddity)) for oddity in oddities.ODDITIES]
    texts = [(one.name, *_told_text(one)) for one in wordings.WORDINGS]
    graphs = [(one.name, one.url, one.fate) for one in endpoints.TROUBLES]
    return "\n".join(
        [
            "### Servers",
            "",
            *_table(("what the server does", "URL", "must end as"), [_told(fault) for fault in FAULTS]),
            "",
            "### Pictures",
            "",
            *_table(("what the picture is", "URL", "must end as"), pictures),
            "",
            f"### Texts ({FAULTS_URL}/w/api.php)",
            "",
            *_table(("what the text is", "the page says", "must become"), texts),
            "",
            "### Knowledge graphs",
            "",
            *_table(("what the endpoint does", "URL", "a query must end as"), graphs),
        ]
    )


def _told(fault: Fault) -> tuple[str, str, str]:
    return fault.name, fault.url, f"{fault.status}: {fault.reason}" if fault.reason else fault.status


def _told_text(wording: wordings.Wording) -> tuple[str, str]:
    if wording.name.startswith("licence"):
        return " ".join(filter(None, wording.license)), wording.spdx
    return _shown(wording.description), _shown(wording.clean)


def _fate(oddity: oddities.Oddity) -> str:
    if oddity.lost:
        return f"not downloaded: {oddity.lost}"
    if oddity.refused or oddity.size is None:
        return f"refused by the decoder: {oddity.refused}"
    width, height = oddity.size
    flags = f" ({', '.join(oddity.flags)})" if oddity.flags else ""
    then = f"; dropped: {oddity.dropped}" if oddity.dropped else ""
    return f"decoded: {oddity.format}, {width} x {height}{flags}{then}"


def _shown(text: str | None) -> str:
    """A text with its invisible signs made visible."""
    if text is None:
        return "nothing"
    cut = text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"
    plain = cut.isprintable() and unicodedata.is_normalized("NFC", cut)
    return cut if plain else ascii(cut)[1:-1]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """Lines of a table; of several entries with one name and one fate the first and last are shown."""
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- |"]
    for (name, fate), group in groupby(rows, key=lambda row: (row[0], row[2])):
        shown = [_code(row[1]) for row in group]
        places = " ".join(shown) if len(shown) < 12 else f"{shown[0]} … {shown[-1]} ({len(shown)})"
        lines.append(f"| {name} | {places} | {fate.replace('|', chr(92) + '|')} |")
    return lines


def _code(text: str) -> str:
    short = text if len(text) < 200 else f"{text[:60]}…"
    return f"`{short}`" if short else ""
