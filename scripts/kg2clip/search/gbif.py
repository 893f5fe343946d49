"""GBIF: occurrence search for small runs, and the life cycle of a download for large ones.

Terms (reference: harvest 3.1): keyless search, at most tens of thousands of requests a day from one client, and those
who train models take bulk data from downloads; a download needs an account, three at a time, and gives a DOI to cite.
Answers have the recorded shapes (../shared/samples/gbif): `/v2/species/match` with keys as strings, `/v1/occurrence`
with keys as numbers, errors as plain text.
"""

from __future__ import annotations

import logging
import os
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import HTTPBasicAuth

from kg2clip import web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import atomic_path, read_json, write_json
from kg2clip.search.darwin_core import is_wanted, read_media, taxon_name
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

PAGE_SIZE = 300  # the API's limit
LAST_OFFSET = 100_000  # offset and limit together may not pass it
BACKBONE = "d7dddbf4-2cf0-4f39-9b2a-bb099caae36c"  # the checklist that the flat fields of records follow
USER, PASSWORD = "GBIF_USER", "GBIF_PASSWORD"  # environment variables

Answer = Mapping[str, Any]


class GbifSearch(Source):
    """The source `gbif`; `wanted` is its section of the config."""

    name = "gbif"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted
        self._asked = 0

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures of records under a query's name, a list for each page of records.

        A synonym is asked for by its own key: the records that were published under it, whatever GBIF unites it with.
        """
        name = taxon_name(query)
        key = name and self._match(name, answers)
        if not key:
            return
        offset, limit = 0, min(PAGE_SIZE, self._wanted["per_query"])
        while offset + limit <= LAST_OFFSET:
            page = self._get(
                answers,
                "v1/occurrence/search",
                {
                    "taxonKey": key,
                    "mediaType": "StillImage",
                    "occurrenceStatus": "PRESENT",
                    "basisOfRecord": list(self._wanted["basis_of_record"]),
                    "limit": str(limit),
                    "offset": str(offset),
                },
            )
            yield read_occurrences(page, self._wanted["basis_of_record"])
            offset += len(page.get("results") or [])
            if page.get("endOfRecords", True) or not page.get("results"):
                return

    def _match(self, name: str, answers: Answers) -> str | None:
        return matched_key(
            self._get(answers, "v2/species/match", {"scientificName": name, "checklistKey": BACKBONE}), name
        )

    def _get(self, answers: Answers, path: str, parameters: Mapping[str, str | list[str]]) -> dict[str, Any]:
        # Kept answers count too: what a run needs in all decides, not how often it was stopped.
        self._asked += 1
        if self._asked > self._wanted["max_calls"]:
            raise IncompleteError(
                f"these queries need more than {self._wanted['max_calls']} answers of GBIF's search API "
                "(search.sources.gbif.max_calls). Its bulk use is forbidden: use a download. Request one of format "
                "DWCA, name its zip file in search.sources.darwin_core.path, and take gbif out of search.sources"
            )
        return answers.get(f"{service(self._wanted['api'])}/{path}", parameters)


def service(api: str) -> str:
    """The service's address without a version, as the paths here bring their own."""
    return api.rstrip("/").removesuffix("/v1").removesuffix("/v2")


def matched_key(answer: Answer, name: str) -> str | None:
    """The key of the taxon that bears exactly this name; None for guesses (FUZZY, HIGHERRANK) and for no match."""
    usage, diagnostics = answer.get("usage") or {}, answer.get("diagnostics") or {}
    same = name.casefold() in (str(usage.get(key)).casefold() for key in ("canonicalName", "name"))
    exact = diagnostics.get("matchType") == "EXACT" and same
    return str(usage["key"]) if exact and usage.get("key") else None


def read_occurrences(page: Answer, bases: Sequence[str]) -> list[Hit]:
    """The pictures of a page of records, in its order; of records that say ABSENT or are of other bases, none."""
    wanted = (record for record in page.get("results") or [] if is_wanted(record, bases))
    return [hit for record in wanted for media in record.get("media") or [] if (hit := _read(record, media))]


def _read(record: Answer, media: Answer) -> Hit | None:
    key = record.get("key") or record.get("gbifID")
    return read_media(GbifSearch.name, {**record, "gbifID": str(key) if key else None}, media)


# Downloads: request, wait, fetch. The password is read where it is sent and is in no file, log or message.

WAITING = ("PREPARING", "RUNNING", "SUSPENDED")


@dataclass(frozen=True)
class Download:
    """A finished download: its key, the DOI to cite, the number of records and the zip file."""

    key: str
    doi: str | None
    records: int
    path: Path


def picture_predicate(taxon_keys: Sequence[str | int], bases: Sequence[str]) -> dict[str, Any]:
    """What to ask a download for: records with pictures of these taxa (GBIF's predicates, as recorded)."""
    return {
        "type": "and",
        "predicates": [
            {"type": "in", "key": "TAXON_KEY", "values": sorted({str(key) for key in taxon_keys})},
            {"type": "equals", "key": "MEDIA_TYPE", "value": "StillImage"},
            {"type": "equals", "key": "OCCURRENCE_STATUS", "value": "PRESENT"},
            {"type": "in", "key": "BASIS_OF_RECORD", "values": list(bases)},
        ],
    }


def download(
    api: str,
    predicate: Mapping[str, Any],
    path: Path,
    contact: str,
    max_bytes: int,
    pause: float = 30,
    patience: float = 3 * 3600,
) -> Download:
    """Request a download of format DWCA, wait for it and fetch its zip file to `path`.

    The key is kept beside `path`, so that a run that was stopped waits for the same download. A finished one is not
    asked for again.

    Args:
        max_bytes: a larger zip file is refused.
        pause: seconds between two questions.
        patience: seconds to wait for in all.

    Raises:
        UserError: no or wrong account, a failed download, or another download stands at `path`.
        IncompleteError: not ready yet, or three other downloads are in the making.
    """
    state_path = path.with_name(f"{path.name}.request.json")
    state = read_json(state_path) if state_path.exists() else {}
    if state and state["predicate"] != predicate:
        raise UserError(f"{path} is for another request. Remove it and {state_path.name}, or choose another path")
    if not state:
        state = {"key": request_download(api, predicate, contact), "predicate": dict(predicate)}
        write_json(state_path, state)
    if not (path.exists() and "records" in state):
        status = wait_for_download(api, state["key"], contact, pause, patience)
        fetch_zip(status, path, contact, max_bytes)
        state |= {"doi": status.get("doi"), "records": status.get("totalRecords") or 0}
        write_json(state_path, state)
    return Download(state["key"], state["doi"], state["records"], path)


def request_download(api: str, predicate: Mapping[str, Any], contact: str) -> str:
    """Ask GBIF to make a download; gives its key. Not tried again after a lost answer: it may have been heard."""
    url = f"{service(api)}/v1/occurrence/download/request"
    user, password = _account(url)
    body = {"creator": user, "sendNotification": False, "format": "DWCA", "predicate": predicate}
    web.check_contact(urlsplit(url).hostname or "", contact)
    try:
        response = web.session(contact).post(
            web.check_url(url),
            json=body,
            auth=HTTPBasicAuth(user.encode(), password.encode()),
            timeout=(web.CONNECT_TIMEOUT, web.READ_TIMEOUT),
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise IncompleteError(f"{url} does not answer ({type(error).__name__}). Run the same command later") from None
    if response.status_code in (401, 403):
        raise UserError(f"GBIF does not accept the account in {USER} and {PASSWORD}. Set both to your account's")
    if response.status_code in (420, 429):
        raise IncompleteError("GBIF makes three downloads of an account at a time. Run the same command later")
    key = response.text.strip()
    if response.status_code not in (200, 201) or not key or not set(key) <= set("0123456789-"):
        said = " ".join(key[:300].replace(password, "***").split())
        raise UserError(f"{url} refuses the request with status {response.status_code}: {said}")
    log.info("GBIF makes download %s", key)
    return key


def _account(url: str) -> tuple[str, str]:
    user, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
    if not user or not password:
        raise UserError(f"a GBIF download needs your account: set the environment variables {USER} and {PASSWORD}")
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in web.resolve_map():
        raise UserError(f"{url} is no https address: your password is not sent there")
    return user, password


def wait_for_download(api: str, key: str, contact: str, pause: float, patience: float) -> dict[str, Any]:
    """Ask for a download's status until it is made. Only SUCCEEDED counts: `downloadLink` is there from the start."""
    url = f"{service(api)}/v1/occurrence/download/{key}"
    until = time.monotonic() + patience
    while True:
        status: dict[str, Any] = web.with_retries(lambda: _status(url, contact), url)
        if status.get("status") == "SUCCEEDED":
            return status
        if status.get("status") not in WAITING:
            raise UserError(f"GBIF's download {key} ended with {status.get('status')}: see {url}, and request it anew")
        if time.monotonic() > until:
            raise IncompleteError(f"GBIF's download {key} is still {status['status']}. Run the same command later")
        time.sleep(pause)


def _status(url: str, contact: str) -> dict[str, Any]:
    with _open(url, contact) as response:
        try:
            status = response.json()
        except ValueError:
            raise web.TransientError("its answer is no JSON") from None
    if not isinstance(status, dict):
        raise web.TransientError("its answer is no JSON object")
    return status


def fetch_zip(status: Answer, path: Path, contact: str, max_bytes: int) -> None:
    """Fetch a finished download's zip file; `path` is whole or absent."""
    url, size = str(status.get("downloadLink")), status.get("size")
    if isinstance(size, int) and size > max_bytes:
        raise UserError(f"{url} has {size} bytes, more than the {max_bytes} allowed. Ask for fewer taxa")
    with atomic_path(path) as temporary:
        web.with_retries(lambda: _fetch(url, temporary, contact, max_bytes), url)
        if (isinstance(size, int) and size != temporary.stat().st_size) or not zipfile.is_zipfile(temporary):
            raise IncompleteError(f"{url} did not give a whole zip file. Run the same command again")


def _fetch(url: str, target: Path, contact: str, max_bytes: int) -> None:
    with _open(url, contact) as response, open(target, "wb") as file:
        try:
            for block in response.iter_content(2**20):
                file.write(block)
                if file.tell() > max_bytes:
                    raise UserError(f"{url} gives more than the {max_bytes} bytes allowed. Ask for fewer taxa")
        except requests.RequestException as error:
            raise web.TransientError(type(error).__name__) from None


def _open(url: str, contact: str) -> requests.Response:
    web.check_contact(urlsplit(url).hostname or "", contact)
    timeouts = (web.CONNECT_TIMEOUT, web.READ_TIMEOUT)
    try:
        response = web.session(contact).get(web.check_url(url), timeout=timeouts, stream=True)
    except requests.RequestException as error:
        raise web.TransientError(type(error).__name__) from None
    if response.status_code in web.TRANSIENT_STATUS:
        raise web.TransientError(f"status {response.status_code}", web.retry_after(response.headers.get("Retry-After")))
    if response.status_code != 200:
        said = " ".join(response.raw.read(300).decode("utf-8", "replace").split())
        raise UserError(f"{url} refuses a request with status {response.status_code}: {said}")
    return response
