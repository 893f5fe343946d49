"""What an image source is: a name, and a way to answer a query page by page.

A source only builds requests and reads answers; `Answers` asks, waits, counts calls and keeps what came back. To add
a source, write a subclass of `Source`, name it in `SOURCES` (search/run.py) and give its settings a place in
config/schema.yaml; docs/sources.md has an example that a test runs.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from kg2clip import provenance, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.identifiers import stable_hash
from kg2clip.search.pace import Pace
from kg2clip.search.store import Store, open_store

Query = Mapping[str, Any]  # a row of tables.QUERIES
Hit = dict[str, Any]  # the candidate's columns of tables.HITS; `hits.hit` makes one

LONGEST_WAIT = 60.0  # seconds; a source that asks for more is left alone until the next run
MAX_ANSWER, BLOCK = 64 * 2**20, 2**16  # bytes; the longest answers of the shipped sources have a few hundred kilobytes
BUSY = ("maxlag", "ratelimited", "readonly", "cirrussearch-too-busy-error", "cirrussearch-backend-error")  # MediaWiki's
BAD_ACCESS = frozenset({401, 402, 403, 407})  # the whole source is closed to us, not one query


class Source:
    """An image source. A subclass gives `name` and `pages`; most need no more.

    With `connections` in its config a source is asked from so many threads at a time, else from one: `pages` of one
    entity's queries come one after the other from one of them.
    """

    name: str

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """What has to be done once, before the first query: refuse a use that the source forbids, fetch its files.

        Raises:
            UserError: the source forbids what is asked of it; the message says what to use.
        """

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The hits of a query, best first, one list an answer; it ends where the source has no more."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What the provenance has to keep about the source's data, such as the DOI to cite; asked for at the end."""
        return {}


class ClosedError(IncompleteError):
    """No more calls are made in this run: a budget is used up, or the source asks to be left alone."""


class QueryRefusedError(UserError):
    """The source does not take this request; others it may take."""


class Answers:
    """The raw answers of one source: kept by request, asked for at most so often, each call written to a ledger.

    Args:
        folder: where answers and ledger are kept (`store.NAME`). Headers never enter it.
        contact: who asks.
        requests_per_second: the pace of calls, over all threads.
        calls_per_day: calls between two midnights of UTC at most, over all runs; those that failed count too.
        calls_total: calls in all runs at most.
    """

    def __init__(
        self,
        folder: Path,
        contact: str,
        requests_per_second: float,
        calls_per_day: int | None = None,
        calls_total: int | None = None,
    ) -> None:
        self.calls = 0
        self.kept = 0
        self.folder = folder  # a source may keep files of its own there
        self.contact = contact
        self._pace = Pace(requests_per_second)
        self._per_day = calls_per_day
        self._total = calls_total
        self._closed: str | None = None
        self._date = ""
        self._stopping = threading.Event()  # wakes the threads that wait
        self._lock = threading.Lock()
        self._own = threading.local()  # what each thread has for itself: session, date of its last answer

    @cached_property
    def store(self) -> Store:
        """What is kept; opened at the first question, since some sources never ask."""
        return open_store(self.folder)

    @property
    def date(self) -> str:
        """When the source gave the answer that this thread got last; that any thread got, if this one asked nothing."""
        return str(getattr(self._own, "date", self._date))

    def close(self, reason: str) -> None:
        """Make no more calls in this run, in no thread; kept answers are given still."""
        with self._lock:
            self._closed = self._closed or reason
        self._stopping.set()

    @property
    def closed(self) -> str | None:
        """Why no more calls are made, if so."""
        return self._closed

    def get(
        self, url: str, parameters: Mapping[str, str | list[str]], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON answer to a GET request, from the folder where it was given before.

        Args:
            headers: secrets, such as a key. They are part of no file, name or message, and follow no redirect.

        Raises:
            ClosedError: it was not given before, and no more calls are made.
            IncompleteError: the source does not answer.
            QueryRefusedError: the source does not take this request.
            UserError: the source takes none of ours, or there is no contact.
        """
        request = stable_hash(url, sorted(parameters.items()))
        if before := self.store.find(request):
            with self._lock:
                self.kept += 1
            self._own.date = self._date = before.date
            return _parse(url, before.content)
        web.check_contact(urlsplit(url).hostname or "", self.contact)
        content, answer = web.with_retries(
            lambda: self._ask(url, parameters, headers or {}), url, longest_wait=LONGEST_WAIT, sleep=self._stopping.wait
        )
        self._own.date = self._date = provenance.now()
        self.store.keep(request, self._own.date, url, json.dumps(dict(parameters), ensure_ascii=False), content)
        return dict(answer)

    def _ask(
        self, url: str, parameters: Mapping[str, str | list[str]], headers: Mapping[str, str]
    ) -> tuple[bytes, dict[str, Any]]:
        self._pace.wait(self._stopping.wait)
        call = self._begin_call(urlsplit(url).hostname or "")
        try:
            response = self._session.get(
                web.check_url(url),
                params=dict(parameters),
                headers=dict(headers),
                timeout=(web.CONNECT_TIMEOUT, web.READ_TIMEOUT),
                allow_redirects=not headers,
                stream=True,
            )
            with response:
                content = _read_body(response)
        except (requests.RequestException, HTTPError) as error:
            self.store.end_call(call, "no answer")
            raise web.TransientError(type(error).__name__) from None
        except web.TransientError:
            self.store.end_call(call, "no end")
            raise
        except web.RefusedError as error:
            self.store.end_call(call, error.reason)
            if error.reason == "bad-url":  # this question is too long; others may be asked
                raise QueryRefusedError(str(error)) from None
            raise
        self.store.end_call(call, response.status_code)
        for secret in headers.values():  # a server may say back what it was told
            content = content.replace(secret.encode(), b"***")
        try:
            return content, _read(url, response, content)
        except web.TransientError as error:
            self._pace.hold(min(error.wait or 0.0, LONGEST_WAIT))
            if error.wait is not None and error.wait > LONGEST_WAIT:
                self.close(f"{urlsplit(url).hostname} asks to wait {error.wait:.0f} seconds")
            raise

    def _begin_call(self, host: str) -> int:
        """Count a call before it is made.

        Raises:
            ClosedError: none may be made any more.
        """
        with self._lock:
            if self._closed is None:
                self._closed = self._used_up()
            if self._closed is not None:
                raise ClosedError(self._closed)
            self.calls += 1
            call = self.store.begin_call(host)
        self.store.sync()
        return call

    def _used_up(self) -> str | None:
        if self._total is not None and self.store.calls >= self._total:
            return f"its {self._total} calls (calls_total) are used up; raise that number for more"
        if self._per_day is not None and self.store.calls_by_day[provenance.now()[:10]] >= self._per_day:
            return f"today's {self._per_day} calls (calls_per_day) are used up; the next day begins at 00:00 UTC"
        return None

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = web.session(self.contact)
        session: requests.Session = self._own.session
        return session


def _read_body(response: requests.Response) -> bytes:
    """The body, unless it is endless in size or time."""
    until = time.monotonic() + web.READ_TIMEOUT
    blocks, size = [], 0
    for block in response.iter_content(BLOCK):
        blocks.append(block)
        size += len(block)
        if size > MAX_ANSWER or time.monotonic() > until:
            raise web.TransientError(f"its answer has no end after {size} bytes")
    return b"".join(blocks)


def _read(url: str, response: requests.Response, content: bytes) -> dict[str, Any]:
    wait = web.retry_after(response.headers.get("Retry-After"))
    if response.status_code in web.TRANSIENT_STATUS:
        raise web.TransientError(f"status {response.status_code}", wait)
    if response.status_code != 200:
        said = " ".join(content[:300].decode("utf-8", "replace").split())
        kind = UserError if response.status_code in BAD_ACCESS else QueryRefusedError
        raise kind(f"{url} refuses a request with status {response.status_code}: {said}")
    try:
        return _parse(url, content)
    except web.TransientError as error:
        raise web.TransientError(str(error), wait) from None


def _parse(url: str, content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
        if b"\\ud" in content.lower():
            # Half a surrogate pair is legal in JSON but not in UTF-8, which all our files are.
            answer = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise web.TransientError("its answer is no JSON") from None
    if not isinstance(answer, dict):
        raise web.TransientError("its answer is no JSON object")
    error = answer.get("error")
    if not error:
        return answer
    code = error.get("code") if isinstance(error, dict) else error
    if code in BUSY or str(code).startswith("internal_api_error"):
        raise web.TransientError(f"it says {code}")
    raise QueryRefusedError(f"{url} refuses a request: {str(error)[:300]}")
