"""GBIF downloads: one request for all taxa, a zip file with a DOI, read as a Darwin Core archive: the bulk way.

Terms (reference: harvest 3.1): a free account (its name and password in the environment variables GBIF_USER and
GBIF_PASSWORD), three downloads at a time, and the DOI is cited. The life cycle is as recorded
(../shared/samples/gbif): request, wait until SUCCEEDED, fetch. The password is read where it is sent and is in no file,
log or message.
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
from kg2clip.files import read_json, write_json
from kg2clip.identifiers import stable_hash
from kg2clip.largefiles import fetch_file
from kg2clip.progress import Progress
from kg2clip.search.darwin_core import Pictures, taxon_name
from kg2clip.search.gbif import MATCH, match_request, matched_key, service
from kg2clip.search.kingdoms import Kingdoms
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

USER, PASSWORD = "GBIF_USER", "GBIF_PASSWORD"  # environment variables
MAX_KEYS = 9_000  # GBIF took so many in one request, and not 10,000 (discourse.gbif.org/t/1152)
WAITING = ("PREPARING", "RUNNING", "SUSPENDED")

Answer = Mapping[str, Any]


class GbifDownload(Source):
    """The source `gbifdownload`; `wanted` is its section of the config, `kingdoms` those of the entities."""

    name = "gbifdownload"

    def __init__(self, wanted: Settings, kingdoms: Kingdoms | None = None) -> None:
        self._wanted = wanted
        self._kingdoms = kingdoms or {}
        self._made: Download | None = None
        self._pictures: Pictures | None = None

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Request the download of all names, wait for it, fetch it, index its pictures. A stopped run goes on.

        Raises:
            IncompleteError: the download is not ready yet, or three others are in the making.
            UserError: no account, too many names, or the download failed.
        """
        predicate = picture_predicate(self._keys(queries, answers), self._wanted["basis_of_record"])
        max_bytes = int(self._wanted["max_gigabytes"] * 1e9)
        path = answers.folder / f"{stable_hash(predicate)}.zip"  # another request is another file
        self._made = download(self._wanted["api"], predicate, path, answers.contact, max_bytes)
        self._pictures = Pictures(self._made.path, self._wanted["basis_of_record"], answers.folder, self._kingdoms)

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures of records under a query's name, in the download's order."""
        if self._pictures is None:
            raise RuntimeError("prepare() comes before pages()")
        yield from self._pictures.pages(self.name, query)

    def facts(self) -> dict[str, Any]:
        """The DOI to cite, the download's key and its number of records."""
        made = self._made
        return {"doi": made.doi, "download": made.key, "records": made.records} if made else {}

    def _keys(self, queries: Sequence[Query], answers: Answers) -> list[str]:
        if branches := self._wanted["taxon_keys"]:
            return [str(key) for key in branches]
        named = {(name, query["entityID"]): query for query in queries if (name := taxon_name(query))}
        if len(named) > MAX_KEYS:
            raise UserError(
                f"{len(named)} names are too many for one download of GBIF's, which takes {MAX_KEYS}. Name the branch "
                "instead: search.sources.gbifdownload.taxon_keys: [its key], the number in its address "
                "https://www.gbif.org/species/NUMBER"
            )
        url = f"{service(self._wanted['api'])}/{MATCH}"
        found = set()
        for _, query in Progress(sorted(named.items()), desc="taxa at GBIF", unit="names"):
            kingdom = self._kingdoms.get(query["entityID"])
            if key := matched_key(answers.get(url, match_request(query, kingdom)), query, kingdom):
                found.add(key)
        if not found:
            raise UserError(
                "GBIF knows none of the names by exactly this spelling: take gbifdownload out of the config"
            )
        return sorted(found)


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
    web.check_contact(urlsplit(url).hostname or "", contact)
    try:
        response = web.session(contact).get(web.check_url(url), timeout=(web.CONNECT_TIMEOUT, web.READ_TIMEOUT))
    except requests.RequestException as error:
        raise web.TransientError(type(error).__name__) from None
    if response.status_code in web.TRANSIENT_STATUS:
        raise web.TransientError(f"status {response.status_code}", web.retry_after(response.headers.get("Retry-After")))
    if response.status_code != 200:
        said = " ".join(response.content[:300].decode("utf-8", "replace").split())
        raise UserError(f"{url} refuses a request with status {response.status_code}: {said}")
    try:
        status = response.json()
    except (ValueError, RecursionError):
        raise web.TransientError("its answer is no JSON") from None
    if not isinstance(status, dict):
        raise web.TransientError("its answer is no JSON object")
    return status


def fetch_zip(status: Answer, path: Path, contact: str, max_bytes: int) -> None:
    """Fetch a finished download's zip file; `path` is whole or absent, and a stopped fetch is gone on with."""
    url, size = str(status.get("downloadLink")), status.get("size")
    if isinstance(size, int) and size > max_bytes:
        raise UserError(f"{url} has {size} bytes, more than the {max_bytes} allowed. Ask for fewer taxa")
    fetch_file(url, path, contact, max_bytes)
    if (isinstance(size, int) and size != path.stat().st_size) or not zipfile.is_zipfile(path):
        path.unlink()
        raise IncompleteError(f"{url} did not give a whole zip file. Run the same command again")
