"""A SPARQL 1.1 endpoint, asked politely and believed only when its answer is whole.

Small answers (counts, pages of VALUES) come through SPARQLWrapper, long ones are streamed; both as SPARQL JSON, the
one format in which every engine keeps every text (QLever's TSV does not escape quotes and tabs). An answer counts
only if it parses to its end: WDQS breaks off in the middle under status 200 (SPARQLWrapper issue 171), QLever appends
its error to the rows. Answers are kept by query and endpoint, so that a rerun asks nothing again.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import ijson
import requests
from SPARQLWrapper import JSON, POST, SPARQLWrapper
from urllib3.exceptions import HTTPError

from kg2clip import provenance, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import atomic_path
from kg2clip.identifiers import stable_hash

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


class Term(NamedTuple):
    """An RDF term: IRI or literal, with the literal's language ("" without one)."""

    value: str
    language: str = ""


Row = dict[str, Term]


class TooHeavyError(Exception):
    """The endpoint gave up on a query (QLever says so with status 429): ask for less at a time."""


class Endpoint:
    """One SPARQL endpoint and the answers it gave.

    Args:
        url: where queries are posted.
        contact: who asks, for the agent string.
        answers: folder of kept answers.
        snapshot: the user's name for the state of the graph; another name asks everything anew.
    """

    def __init__(self, url: str, contact: str, answers: Path, snapshot: str = "") -> None:
        self.url = web.check_url(url)
        self.host = urlsplit(self.url).hostname or ""
        self.asked = 0
        self._contact = contact
        self._answers = answers
        self._snapshot = snapshot
        self._session = web.session(contact)

    def count(self, where: str, variable: str = "?item") -> int:
        """How many distinct values `variable` has in a graph pattern."""
        rows = self.select(f"SELECT (COUNT(DISTINCT {variable}) AS ?count) WHERE {{ {where} }}")
        return int(rows[0]["count"].value)

    def select(self, query: str) -> list[Row]:
        """The rows of a query with a short answer."""
        return self._kept(query, lambda: self._retried(lambda: self._ask(query)))

    def stream(self, query: str, expected: int) -> list[Row]:
        """The rows of a query with a long answer, read as they come.

        Raises:
            IncompleteError: the answer has not the number of rows that a separate COUNT promised.
        """
        rows = self._kept(query, lambda: self._retried(lambda: list(self._read_stream(query))))
        if len(rows) == expected:
            return rows
        self._path(query).unlink(missing_ok=True)
        raise IncompleteError(
            f"{self.url} gave {len(rows)} rows where its own count says {expected}. Run the same command again"
        )

    def pages(self, items: Sequence[str], size: int, query: Callable[[str], str]) -> Iterator[Row]:
        """The rows of a query about many items, asked for in pages of VALUES and halved where the endpoint gives up.

        Args:
            items: IRIs.
            size: items in a page.
            query: makes a page's query from the text of its VALUES block: `<iri> <iri> ...`.
        """
        for page in batched_list(sorted(items), size):
            yield from self._page(page, query)

    def _page(self, page: list[str], query: Callable[[str], str]) -> Iterable[Row]:
        try:
            return self.select(query(" ".join(map(iri, page))))
        except TooHeavyError:
            if len(page) == 1:
                raise IncompleteError(
                    f"{self.url} gives up on a query about {page[0]} alone. Try another endpoint"
                ) from None
            middle = len(page) // 2
            return [*self._page(page[:middle], query), *self._page(page[middle:], query)]

    def _kept(self, query: str, ask: Callable[[], list[Row]]) -> list[Row]:
        path = self._path(query)
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return [{name: Term(*term) for name, term in row.items()} for row in json.load(file)["rows"]]
        web.check_contact(self.host, self._contact)
        rows = ask()
        self.asked += 1
        kept = {"endpoint": self.url, "date": provenance.now(), "query": query, "rows": rows}
        with atomic_path(path) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as file:
            json.dump(kept, file)
        return rows

    def _path(self, query: str) -> Path:
        return self._answers / f"{stable_hash(self.url, self._snapshot, query)}.json.gz"

    def _retried(self, ask: Callable[[], list[Row]]) -> list[Row]:
        rows: list[Row] = web.with_retries(ask, self.url)
        return rows

    def _ask(self, query: str) -> list[Row]:
        wrapper = _Wrapper(self.url, self._post)
        wrapper.setMethod(POST)
        wrapper.setReturnFormat(JSON)
        wrapper.setQuery(PREFIXES + query)
        with _failures_named():
            try:
                bindings = wrapper.queryAndConvert()["results"]["bindings"]
            except (ValueError, KeyError, TypeError) as error:
                raise web.TransientError(f"its answer is no whole SPARQL JSON ({type(error).__name__})") from None
        return [_row(binding) for binding in bindings]

    def _read_stream(self, query: str) -> Iterator[Row]:
        with _failures_named():
            response = self._post(
                {"query": PREFIXES + query}, {"Accept": "application/sparql-results+json"}, stream=True
            )
            response.raw.decode_content = True
            try:
                for binding in ijson.items(response.raw, "results.bindings.item"):
                    yield _row(binding)
            except ijson.JSONError as error:
                raise web.TransientError(f"its answer is no whole SPARQL JSON ({error})") from None
            finally:
                response.close()

    def _post(self, form: dict[str, str], headers: dict[str, str], stream: bool = False) -> requests.Response:
        timeouts = (web.CONNECT_TIMEOUT, web.READ_TIMEOUT)
        response = self._session.post(self.url, data=form, headers=headers, timeout=timeouts, stream=stream)
        if response.status_code == 200:
            return response
        body = " ".join(response.text[:2000].split())
        if response.status_code == 429 and ("timed out" in body.lower() or "timeout" in body.lower()):
            raise TooHeavyError(body)
        if response.status_code in web.TRANSIENT_STATUS:
            raise web.TransientError(
                f"status {response.status_code}", web.retry_after(response.headers.get("Retry-After"))
            )
        raise UserError(f"{self.url} refuses a query with status {response.status_code}: {body[:300]}")


class _Wrapper(SPARQLWrapper):  # type: ignore[misc]
    """SPARQLWrapper that sends through our HTTP layer instead of urllib."""

    def __init__(self, url: str, post: Callable[..., requests.Response]) -> None:
        super().__init__(url)
        self._send = post

    def _query(self) -> tuple[Any, str]:
        request = self._createRequest()
        headers = {"Accept": request.get_header("Accept"), "Content-Type": request.get_header("Content-type")}
        return _Answer(self._send(request.data, headers)), self.returnFormat


class _Answer(io.BytesIO):
    """What SPARQLWrapper expects of a urllib response."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(response.content)
        self._response = response

    def info(self) -> Any:
        return self._response.headers

    def geturl(self) -> str:
        return self._response.url


class _failures_named:  # noqa: N801 - reads as a statement
    """Turn the network's failures into `web.TransientError`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (requests.RequestException, HTTPError, OSError)):
            raise web.TransientError(_brief(error)) from None


def _brief(error: BaseException) -> str:
    text = str(error)
    if "refused" in text:
        return "connection refused"
    if "resolve" in text.lower() or "name resolution" in text.lower():
        return "its host name is unknown"
    return f"{type(error).__name__}: {text[:150]}"


def _row(binding: dict[str, dict[str, str]]) -> Row:
    return {name: Term(term["value"], term.get("xml:lang", "")) for name, term in binding.items()}


def batched_list(items: Sequence[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` items, in order."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def iri(value: str) -> str:
    """An IRI as a SPARQL term.

    Raises:
        UserError: it holds a character that would end the term.
    """
    if any(character in '<>"{}|^`\\' or character <= " " for character in value):
        raise UserError(f"{value!r} is no IRI")
    return f"<{value}>"


def literal(text: str, language: str = "") -> str:
    """A text as a SPARQL string, escaped (SPARQL 1.1, 19.7), with its language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{escaped}"@{language}' if language else f'"{escaped}"'
