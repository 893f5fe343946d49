"""A SPARQL 1.1 endpoint, asked politely and believed only when its answer is whole.

Short answers (counts, pages of VALUES) come through SPARQLWrapper, long ones are streamed over requests; both as SPARQL
JSON, the one format in which every engine keeps every text (QLever's TSV does not escape quotes and tabs). An answer
counts only if it parses to its end and has as many rows as a separate COUNT says: WDQS breaks off in the middle under
status 200 (SPARQLWrapper issue 171), QLever appends its error to the rows, other engines cut at a limit of their own.
Answers are kept as they came, by query and endpoint, so that a rerun asks nothing again.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import urljoin

import ijson
import requests
from SPARQLWrapper import JSON, POST, SELECT, SPARQLWrapper
from urllib3.exceptions import HTTPError

from kg2clip import provenance, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import atomic_path
from kg2clip.identifiers import bucket, stable_hash

log = logging.getLogger(__name__)

PREFIXES = """\
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
PREFIX skos: <http://www.w3.org/2004/02/skos/core#>
PREFIX owl: <http://www.w3.org/2002/07/owl#>
PREFIX schema: <http://schema.org/>
PREFIX wikibase: <http://wikiba.se/ontology#>
PREFIX wd: <http://www.wikidata.org/entity/>
PREFIX wdt: <http://www.wikidata.org/prop/direct/>
"""

LONGEST_WAIT = 300.0  # seconds that a Retry-After may ask for; beyond, the run stops and says so
PAUSE = 20.0  # seconds after a 429 that asks for no time of its own
DEADLINE = 1800.0  # seconds for one whole answer, however slowly it drips
MAX_PAGE = 256 << 20  # bytes of a short answer; a page that is larger is halved
TOO_MUCH = frozenset({413, 414, 504})  # too large, or a proxy that waited in vain: asking for less may do
GAVE_UP = re.compile(r"(operation |query )?timed out|[\w.]{0,80}timeout\w{0,80}|time-out", re.IGNORECASE)
MAX_SAID = 8000  # characters of an error's page that are looked at
LIMITS = frozenset(digit * 10**power for digit in (1, 2, 5) for power in range(4, 8))  # of rows, as engines have them
NOT_IN_IRI = re.compile(r'[\x00-\x20<>"{}|^`\\]')  # SPARQL 1.1, rule 139
SOME_VALUE = "/.well-known/genid/"  # Wikidata's addresses for blank nodes
BINDINGS = "results.bindings.item"  # where SPARQL JSON has its rows

Item = TypeVar("Item")
Result = TypeVar("Result")


class Term(NamedTuple):
    """An RDF term: IRI or literal, with the literal's language ("" without one)."""

    value: str
    language: str = ""


Row = dict[str, Term]
Binding = dict[str, dict[str, str]]  # a row in SPARQL JSON


class TooHeavyError(Exception):
    """The endpoint gave up on a query (QLever says so with status 429): ask for less at a time."""


class Endpoint:
    """One SPARQL endpoint and the answers it gave.

    Args:
        url: where queries are posted. Since the user names it, it may lie on this machine or in the user's network.
        contact: who asks, for the agent string.
        answers: folder of kept answers.
        snapshot: the user's name for the state of the graph; another name asks everything anew.
    """

    def __init__(self, url: str, contact: str, answers: Path, snapshot: str = "") -> None:
        self.url = web.check_url(url)
        self.host = web.host_of(self.url) or ""
        self.asked = 0
        self._contact = contact
        self._answers = answers
        self._snapshot = snapshot
        self._session = web.session(contact, private_hosts=[self.host])
        self._one_at_a_time = threading.RLock()  # pages are read ahead by threads; the endpoint sees one request
        self._noting = threading.Lock()
        self._counts: set[Path] = set()
        self._record: dict[str, dict[str, Any]] = {}

    def count(self, where: str, variable: str = "?item", divisible: bool = False) -> int:
        """How many distinct values `variable` has in a graph pattern.

        Raises:
            TooHeavyError: the endpoint gives up, and the caller can ask for less at a time (`divisible`).
        """
        query = f"SELECT (COUNT(DISTINCT {variable}) AS ?count) WHERE {{ {where} }}"
        return self._count(query, query, divisible)

    def select(self, query: str) -> list[Row]:
        """The rows of a query with a short answer."""
        return self._asked(lambda: self._short(query, query), self._path(query), divisible=False)

    def stream(self, query: str, expected: int, divisible: bool = False) -> Iterator[Row]:
        """The rows of a query with a long answer: to the disk as they come, from there when they are whole.

        Raises:
            IncompleteError: the answer has not the number of rows that a separate COUNT promised.
            TooHeavyError: the endpoint gives up, and the caller can ask for less at a time (`divisible`).
        """
        path = self._path(query)
        rows = self._asked(lambda: self._long(path, query), path, divisible)
        if rows != expected:
            for stale in {path, *self._counts}:
                stale.unlink(missing_ok=True)
            raise IncompleteError(
                f"{self.url} gave {rows} rows where its own count says {expected}. "
                "Run the same command again: both are asked anew"
            )
        return _rows_on_disk(path)

    def pages(self, items: Iterable[str], size: int, query: Callable[[str], str]) -> Iterator[Row]:
        """The rows of a query about many items, asked for in pages of VALUES and halved where the endpoint gives up.

        Args:
            items: IRIs.
            size: items in a page at most.
            query: makes a page's query from the text of its VALUES block: `<iri> <iri> ...`.
        """
        for rows in ahead(lambda page: self._page(page, query), steady_pages(sorted(items), size)):
            yield from rows

    def record(self) -> list[dict[str, Any]]:
        """For the provenance: every query (the pages of one as one), how often it was asked, its rows, and when."""
        return [{"query": query, **facts} for query, facts in self._record.items()]

    def _page(self, page: list[str], query: Callable[[str], str]) -> Iterable[Row]:
        text, title = query(" ".join(map(iri, page))), query("...")
        try:
            return self._asked(lambda: self._short(text, title), self._path(text), divisible=len(page) > 1)
        except TooHeavyError as error:
            log.info("%s gives up on %d items at once (%s): asking for half", self.url, len(page), error)
        middle = len(page) // 2
        return [*self._page(page[:middle], query), *self._page(page[middle:], query)]

    def _count(self, query: str, title: str, divisible: bool = False) -> int:
        path = self._path(query)
        self._counts.add(path)
        rows = self._asked(lambda: self._short(query, title), path, divisible)
        try:
            return int(rows[0]["count"].value)
        except (LookupError, ValueError):
            path.unlink()
            raise IncompleteError(f"{self.url} answers a COUNT with {rows}. Is it a SPARQL 1.1 endpoint?") from None

    def _short(self, query: str, title: str) -> list[Row]:
        path = self._path(query)
        rows = self._kept(path, lambda file: _rows(_bindings(file.read())))
        if rows is None:
            rows = self._ask_and_keep(path, query)
        # Virtuoso, for one, ends every answer at 10,000 rows without a word.
        if len(rows) in LIMITS and len(rows) != self._count(_counted(query), _counted(title)):
            path.unlink()
            raise TooHeavyError(f"it cuts its answers at {len(rows)} rows")
        self._note(title, path, len(rows))
        return rows

    def _long(self, path: Path, query: str) -> int:
        rows = self._kept(path, lambda file: sum(1 for _ in ijson.items(file, BINDINGS)))
        if rows is None:
            rows = self._stream_and_keep(path, query)
        self._note(query, path, rows)
        return rows

    def _asked(self, ask: Callable[[], Result], path: Path, divisible: bool) -> Result:
        """What `ask` returns. Where the endpoint gives up, a question that can be divided is never asked whole again,
        the others are asked once more; then it is the user's turn.
        """
        gave_up = path.with_suffix(".gave-up")
        if divisible and gave_up.exists():
            raise TooHeavyError("it gave up before")
        try:
            return ask()
        except TooHeavyError as error:
            if divisible:
                self._answers.mkdir(parents=True, exist_ok=True)
                gave_up.touch()
                raise
            log.info("%s gives up on a query (%s): asking once more", self.url, error)
        try:
            return ask()
        except TooHeavyError as error:
            raise IncompleteError(
                f"{self.url} gives up on a query: {error}. Run the same command later, name smaller branches in "
                "knowledge.roots, or set knowledge.endpoint to another one"
            ) from None

    # Kept answers: a line about the question, then the answer as it came.

    def _path(self, query: str) -> Path:
        return self._answers / f"{stable_hash(self.url, self._snapshot, query)}.json.gz"

    def _kept(self, path: Path, read: Callable[[IO[bytes]], Result]) -> Result | None:
        """What `read` makes of a kept answer; None if there is none, or a damaged one."""
        if not path.exists():
            return None
        try:
            with gzip.open(path) as file:
                file.readline()
                return read(file)  # type: ignore[arg-type]
        except (OSError, EOFError, zlib.error, ijson.JSONError, web.TransientError) as error:
            log.info("%s is damaged (%s): asking again", path, error)
            path.unlink(missing_ok=True)
            return None

    def _ask_and_keep(self, path: Path, query: str) -> list[Row]:
        """The rows of a short answer. While it is kept and its rows are made, another thread asks already."""
        wrapper = _Wrapper(self.url, PREFIXES + query, self._post)
        content, bindings = self._ask(lambda: self._ask_short(wrapper))
        rows = _rows(bindings)
        with self._keeping(path, query) as file:
            file.write(content)
        return rows

    def _stream_and_keep(self, path: Path, query: str) -> int:
        """The number of rows of a long answer."""

        def keep() -> int:
            with self._keeping(path, query) as file:
                return self._ask_long(query, file)

        return self._ask(keep)

    def _ask(self, ask: Callable[[], Result]) -> Result:
        """What `ask` returns, which may fail for now, when it is our turn."""
        web.check_contact(self.host, self._contact)

        def named() -> Result:
            with _failures_named():
                return ask()

        with self._one_at_a_time:
            result: Result = web.with_retries(named, self.url, longest_wait=LONGEST_WAIT)
            self.asked += 1
        return result

    @contextmanager
    def _keeping(self, path: Path, query: str) -> Iterator[IO[bytes]]:
        question = {"endpoint": self.url, "date": provenance.now(), "query": query}
        with atomic_path(path) as temporary, gzip.open(temporary, "wb", compresslevel=1) as file:
            file.write(json.dumps(question).encode() + b"\n")
            yield file  # type: ignore[misc]

    def _note(self, title: str, path: Path, rows: int) -> None:
        with gzip.open(path) as file:
            date = json.loads(file.readline())["date"]
        with self._noting:
            facts = self._record.setdefault(title, {"answers": 0, "rows": 0, "first": date, "last": date})
            facts["answers"] += 1
            facts["rows"] += rows
            facts["first"], facts["last"] = min(facts["first"], date), max(facts["last"], date)

    # The wire.

    def _ask_short(self, wrapper: _Wrapper) -> tuple[bytes, list[Binding]]:
        content = wrapper.query().response.read()
        return content, _bindings(content)

    def _ask_long(self, query: str, file: IO[bytes]) -> int:
        response = self._post({"query": PREFIXES + query}, {"Accept": "application/sparql-results+json"})
        rows, start, end = 0, b"", b""
        bindings = ijson.sendable_list()
        parser = ijson.items_coro(bindings, BINDINGS)
        try:
            for chunk in _chunks(response):
                start, end = start or chunk, (end + chunk)[-2000:]
                file.write(chunk)
                parser.send(chunk)
                rows += len(bindings)
                bindings.clear()
            parser.close()
        except ijson.JSONError as error:
            _refuse_answer(end, str(error))
        if not rows:
            _bindings(start)  # an object without rows may be an error message: QLever's has no bindings
        return rows

    def _post(self, form: dict[str, str] | bytes, headers: dict[str, str]) -> requests.Response:
        timeouts = (web.CONNECT_TIMEOUT, web.READ_TIMEOUT)
        response = self._session.post(
            self.url, data=form, headers=headers, timeout=timeouts, stream=True, allow_redirects=False
        )
        if response.status_code != 200:
            self._refuse(response)
        return response

    def _refuse(self, response: requests.Response) -> NoReturn:
        status, wait = response.status_code, web.retry_after(response.headers.get("Retry-After"))
        if place := response.headers.get("Location"):
            raise UserError(f"{self.url} has moved. Set knowledge.endpoint: {urljoin(self.url, place)}")
        body = b"".join(_chunks(response, most=1 << 20)).decode("utf-8", "replace")[:MAX_SAID]
        gave_up = GAVE_UP.search(body) if status in (429, 500) else None
        if gave_up or status in TOO_MUCH:
            raise TooHeavyError(f"status {status}" + (f", {gave_up[0]}" if gave_up else ""))
        if status in web.TRANSIENT_STATUS:
            raise web.TransientError(f"status {status}", PAUSE if wait is None and status == 429 else wait)
        said = _plain(body) or response.reason
        if status in (401, 403):
            raise UserError(
                f"{self.url} shuts us out with status {status}: {said}. Check contact: and knowledge.endpoint; "
                "a public endpoint that was asked too often opens again after some hours"
            )
        raise UserError(f"{self.url} refuses a query with status {status}: {said}. Check knowledge.endpoint")


class _Wrapper(SPARQLWrapper):  # type: ignore[misc]
    """SPARQLWrapper that sends through our HTTP layer instead of urllib."""

    def __init__(self, url: str, query: str, post: Callable[..., requests.Response]) -> None:
        super().__init__(url)
        self.setMethod(POST)
        self.setReturnFormat(JSON)
        self.setQuery(query)
        self._send = post
        self._request = self._createRequest()  # takes milliseconds, in which another thread may have its turn

    def _parseQueryType(self, query: str) -> str:  # noqa: N802 - a page of VALUES takes it 10 ms
        return str(SELECT)

    def _query(self) -> tuple[Any, str]:
        headers = {name: self._request.get_header(name) for name in ("Accept", "Content-type")}
        content = b"".join(_chunks(self._send(self._request.data, headers), most=MAX_PAGE))
        return io.BytesIO(content), self.returnFormat


def _chunks(response: requests.Response, most: int | None = None) -> Iterator[bytes]:
    """A body as it comes, within a total time.

    Raises:
        TooHeavyError: it has more than `most` bytes.
        TransientError: it takes longer than DEADLINE.
    """
    started, size = time.monotonic(), 0
    with response:
        while chunk := response.raw.read1(1 << 16, decode_content=True):
            size += len(chunk)
            if most is not None and size > most:
                raise TooHeavyError(f"its answer has more than {most >> 20} MB")
            if time.monotonic() - started > DEADLINE:
                raise web.TransientError(f"its answer takes longer than {DEADLINE:.0f} seconds")
            yield chunk


def _bindings(content: bytes) -> list[Binding]:
    """The rows of a whole SPARQL JSON answer, as they came."""
    try:
        bindings: list[Binding] = json.loads(content)["results"]["bindings"]
        if not isinstance(bindings, list):
            raise TypeError
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        _refuse_answer(content[-2000:], type(error).__name__)
    return bindings


def _refuse_answer(end: bytes, problem: str) -> NoReturn:
    """Say that an answer under status 200 is not whole; its end tells whether the engine ran out of time."""
    if gave_up := GAVE_UP.search(end.decode("utf-8", "replace")):
        raise TooHeavyError(f"its answer breaks off with {gave_up[0]}")
    kind = "a web page" if b"</html" in end.lower() else f"no whole SPARQL JSON ({problem})"
    raise web.TransientError(f"its answer is {kind}")


def _rows_on_disk(path: Path) -> Iterator[Row]:
    with gzip.open(path) as file:
        file.readline()
        for binding in ijson.items(file, BINDINGS):
            yield from _rows([binding])


@contextmanager
def _failures_named() -> Iterator[None]:
    """Turn the network's failures into `web.TransientError`."""
    try:
        yield
    except (requests.RequestException, HTTPError, ConnectionError, TimeoutError) as error:
        raise web.TransientError(_brief(error)) from None


def _brief(error: BaseException) -> str:
    text = str(error)
    if "refused" in text:
        return "connection refused"
    if "resolve" in text.lower() or "name resolution" in text.lower():
        return "its host name is unknown"
    return f"{type(error).__name__}: {text[:150]}"


def _plain(page: str) -> str:
    """The first words of an error page."""
    words = re.sub(r"<(script|style|head)\b.*?</\1>|<[^>]*>", " ", page, flags=re.IGNORECASE | re.DOTALL)
    return " ".join(words.split())[:300]


def _rows(bindings: Iterable[Binding]) -> list[Row]:
    try:
        return [_row(binding) for binding in bindings]
    except (LookupError, TypeError, AttributeError) as error:
        raise IncompleteError(f"an answer has the form of SPARQL JSON, but not its rows ({error!r})") from None


def _row(binding: Binding) -> Row:
    """A row without its unbound variables.

    "Some value" (a blank node, or the address that Wikidata makes up for one) can't be asked about: it is unbound too.
    """
    return {
        name: Term(term["value"], term.get("xml:lang", ""))
        for name, term in binding.items()
        if term["type"] != "bnode" and SOME_VALUE not in term["value"]
    }


def _counted(query: str) -> str:
    """The query that counts another one's rows."""
    return f"SELECT (COUNT(*) AS ?count) WHERE {{ {{ {query} }} }}"


def any_of(properties: Iterable[str], subject: str, value: str) -> str:
    """A graph pattern: `value` is what one of the properties (wdt:P31) says of `subject`; ?property says which.

    Oxigraph takes a hundred times longer over a second VALUES block for the properties: it reads the whole graph.
    """
    return " UNION ".join(f"{{ {subject} {key} {value} BIND({key} AS ?property) }}" for key in properties)


def ahead(work: Callable[[Item], Result], items: Iterable[Item], threads: int = 2) -> Iterator[Result]:
    """What `work` makes of each item, in order; threads work on the next ones while this one is used.

    With two, one asks the endpoint while the other reads its answer.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def steady_pages(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` items, in order, each at least half full, that end where an item's own hash says so.

    So an item more or less changes its own page and perhaps the next few: after a change of a filter the kept answers
    about all other pages serve again. (Content-defined chunking, as backup programs cut files.)
    """
    items = list(items)
    if len(items) <= size:
        yield from [items] if items else []
        return
    page: list[str] = []
    for item in items:
        page.append(item)
        if len(page) == size or (2 * len(page) >= size and bucket(item, max(2, size // 4)) == 0):
            yield page
            page = []
    if page:
        yield page


def iri(value: str) -> str:
    """An IRI as a SPARQL term.

    Raises:
        UserError: it holds a character that would end the term.
    """
    if NOT_IN_IRI.search(value):
        raise UserError(f"{value!r} is no IRI")
    return f"<{value}>"


def literal(text: str, language: str = "") -> str:
    """A text as a SPARQL string, escaped (SPARQL 1.1, 19.7), with its language.

    Raises:
        UserError: it holds NUL or half a character (a lone surrogate), which no query may.
    """
    if re.search("[\\x00\\ud800-\\udfff]", text):
        raise UserError(f"{text!r} holds a sign that no text has")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{escaped}"@{language}' if language else f'"{escaped}"'
