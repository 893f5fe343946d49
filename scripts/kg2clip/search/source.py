"""What an image source is: a name, and a way to answer a query page by page.

A source only builds requests and reads answers; `Answers` asks, waits, counts calls and keeps what came back. To add
a source, write a subclass of `Source`, name it in `SOURCES` (search/run.py) and give its settings a place in
config/schema.yaml; docs/sources.md has an example that a test runs.
"""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from kg2clip import provenance, web
from kg2clip.errors import UserError
from kg2clip.files import atomic_path
from kg2clip.identifiers import stable_hash

log = logging.getLogger(__name__)

Query = Mapping[str, Any]  # a row of tables.QUERIES
Hit = dict[str, Any]  # the candidate's columns of tables.HITS; `hits.hit` makes one


class Source:
    """An image source. A subclass gives `name` and `pages`; most need no more."""

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


class Answers:
    """The raw answers of one source: kept by request, asked for at most so often, each call written to a ledger.

    Args:
        folder: where answers (gzip) and the ledger `calls.jsonl` are kept. Headers never enter it.
        contact: who asks.
        requests_per_second: the pace of calls.
    """

    def __init__(self, folder: Path, contact: str, requests_per_second: float) -> None:
        self.calls = 0
        self.kept = 0
        self.date = ""  # of the last answer given: when the source gave it
        self.folder = folder  # a source may keep files of its own there
        self.contact = contact
        self._pause = 1 / requests_per_second
        self._next = 0.0
        self._session = web.session(contact)

    def get(
        self, url: str, parameters: Mapping[str, str | list[str]], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON answer to a GET request, from the folder where it was given before.

        Args:
            headers: secrets, such as a key. They are part of no file, name or message, and follow no redirect.
        """
        path = self.folder / f"{stable_hash(url, sorted(parameters.items()))}.json.gz"
        if path.exists():
            self.kept += 1
            with gzip.open(path, "rt", encoding="utf-8") as file:
                before = json.load(file)
            self.date = before["date"]
            answer: dict[str, Any] = before["answer"]
            return answer
        web.check_contact(urlsplit(url).hostname or "", self.contact)
        answer = web.with_retries(lambda: self._ask(url, parameters, headers or {}), url)
        self.date = provenance.now()
        kept = {"date": self.date, "url": url, "parameters": dict(parameters), "answer": answer}
        with atomic_path(path) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as file:
            json.dump(kept, file, ensure_ascii=False)
        return answer

    def _ask(self, url: str, parameters: Mapping[str, str | list[str]], headers: Mapping[str, str]) -> dict[str, Any]:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._pause
        self.calls += 1
        timeouts = (web.CONNECT_TIMEOUT, web.READ_TIMEOUT)
        try:
            response = self._session.get(
                web.check_url(url),
                params=dict(parameters),
                headers=dict(headers),
                timeout=timeouts,
                allow_redirects=not headers,
            )
        except requests.RequestException as error:
            self._write_ledger(url, "no answer")
            raise web.TransientError(type(error).__name__) from None
        self._write_ledger(url, response.status_code)
        if response.status_code in web.TRANSIENT_STATUS:
            raise web.TransientError(
                f"status {response.status_code}", web.retry_after(response.headers.get("Retry-After"))
            )
        content = response.content
        for secret in headers.values():  # a server may say back what it was told
            content = content.replace(secret.encode(), b"***")
        if response.status_code != 200:
            said = " ".join(content[:300].decode("utf-8", "replace").split())
            raise UserError(f"{url} refuses a request with status {response.status_code}: {said}")
        return self._parse(url, content, response.headers.get("Retry-After"))

    def _parse(self, url: str, content: bytes, retry_after: str | None) -> dict[str, Any]:
        try:
            # Half a surrogate pair is legal in JSON but not in UTF-8, which all our files are.
            answer = json.loads(json.dumps(json.loads(content), ensure_ascii=False).encode("utf-8", "replace"))
        except ValueError:
            raise web.TransientError("its answer is no JSON") from None
        if not isinstance(answer, dict):
            raise web.TransientError("its answer is no JSON object")
        error = answer.get("error")
        if not error:
            return answer
        code = error.get("code") if isinstance(error, dict) else error
        if code in ("maxlag", "ratelimited", "readonly", "internal_api_error_DBQueryError"):
            raise web.TransientError(f"it says {code}", web.retry_after(retry_after))
        raise UserError(f"{url} refuses a request: {str(error)[:300]}")

    def _write_ledger(self, url: str, status: int | str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"date": provenance.now(), "host": urlsplit(url).hostname, "status": status})
        with open(self.folder / "calls.jsonl", "a", encoding="utf-8") as ledger:
            ledger.write(line + "\n")
