"""Large files over HTTP: fetched once, gone on with where a stopped run ended, whole or absent.

The bytes so far lie beside the target as `.NAME.part`, with what the server called them (ETag or Last-Modified) in
`.NAME.part.json`. A range is asked for with If-Range (RFC 9110, 13.1.5), so that a file that has changed in between
comes from its start and two versions are never mixed.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from kg2clip import web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import read_json, sync, write_json
from kg2clip.progress import Progress

log = logging.getLogger(__name__)

BLOCK = 2**16  # bytes; at most so many are lost with a connection
SPARE = 2**30  # bytes that stay free on the disk
IDENTITY = {"Accept-Encoding": "identity"}  # the bytes as they are stored there


def fetch_file(url: str, path: Path, contact: str, max_bytes: int) -> dict[str, Any]:
    """Fetch a file to `path`, unless it is there.

    Tried again for as long as each try brings something; after that the next call goes on.

    Args:
        contact: who asks.
        max_bytes: a larger file is refused.

    Returns:
        What the server said of it: url, size, etag, lastModified; empty if it was there.

    Raises:
        IncompleteError: the server gives no more for now. What was fetched is kept.
        UserError: too large, no room on the disk, or the server refuses.
    """
    if path.exists():
        return {}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    web.check_contact(urlsplit(url).hostname or "", contact)
    while True:
        before = _size(part)
        try:
            state: dict[str, Any] = web.with_retries(lambda: _go_on(url, part, contact, max_bytes), url)
            break
        except IncompleteError:
            if _size(part) <= before:
                raise
    sync(part)
    os.replace(part, path)
    sync(path.parent)
    _state_path(part).unlink()
    return state


def remote_size(url: str, contact: str) -> int | None:
    """Bytes of a file, as its server says; None if it does not say.

    Raises:
        IncompleteError: the server does not answer.
        UserError: the server refuses.
    """
    web.check_contact(urlsplit(url).hostname or "", contact)

    def ask() -> int | None:
        try:
            answer = web.session(contact).head(
                web.check_url(url),
                headers=IDENTITY,
                timeout=(web.CONNECT_TIMEOUT, web.READ_TIMEOUT),
                allow_redirects=True,
            )
        except requests.RequestException as error:
            raise web.TransientError(type(error).__name__) from None
        _check_status(url, answer)
        return _length(answer)

    size: int | None = web.with_retries(ask, url)
    return size


def check_room(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what the disk can't hold.

    Raises:
        UserError: fewer than `needed` bytes, and some to spare, are free where `folder` is.
    """
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + SPARE:
        raise UserError(
            f"{what} needs {_gigabytes(needed + SPARE)} on the disk of {folder}, and {_gigabytes(free)} are free. "
            "Make room there, or name another folder in the config"
        )


def _go_on(url: str, part: Path, contact: str, max_bytes: int) -> dict[str, Any]:
    state = read_json(_state_path(part)) if _state_path(part).exists() else {}
    start = _size(part) if state.get("url") == url and state.get("validator") else 0
    headers = {**IDENTITY, **({"Range": f"bytes={start}-", "If-Range": state["validator"]} if start else {})}
    timeouts = (web.CONNECT_TIMEOUT, web.READ_TIMEOUT)
    try:
        with web.session(contact).get(web.check_url(url), headers=headers, timeout=timeouts, stream=True) as response:
            if start and response.status_code == 416:  # nothing lies behind: whole, or not what it was
                if _size(part) == state.get("size"):
                    return dict(state)
                part.unlink()
                raise web.TransientError("the file is not what it was")
            _check_status(url, response)
            if response.status_code == 200:
                start = 0
            elif not _begins_at(response, start):
                part.unlink(missing_ok=True)
                raise web.TransientError("it gives another range than was asked for")
            return _receive(url, response, part, start, max_bytes)
    except (requests.RequestException, HTTPError) as error:
        raise web.TransientError(type(error).__name__) from None


def _receive(url: str, response: requests.Response, part: Path, start: int, max_bytes: int) -> dict[str, Any]:
    length = _length(response)
    size = None if length is None else start + length
    if (size or 0) > max_bytes:
        raise UserError(f"{url} has {_gigabytes(size or 0)}, more than the {_gigabytes(max_bytes)} allowed")
    check_room(part.parent, (size or 0) - start, f"{part.name[1:-5]}, {_gigabytes((size or 0) - start)},")
    etag, changed = response.headers.get("ETag"), response.headers.get("Last-Modified")
    strong = etag if etag and not etag.startswith("W/") else None
    state = {"url": url, "size": size, "validator": strong or changed, "etag": etag, "lastModified": changed}
    write_json(_state_path(part), state)
    name = part.name[1:-5]
    with (
        open(part, "ab" if start else "wb") as file,
        Progress(desc=name, total=size, initial=start, unit="B", unit_scale=True) as bar,
    ):
        for block in response.iter_content(BLOCK):
            file.write(block)
            bar.update(len(block))
            if file.tell() > max_bytes:
                raise UserError(f"{url} gives more than the {_gigabytes(max_bytes)} allowed")
    if size is not None and _size(part) != size:
        raise web.TransientError(f"it ended after {_size(part)} of {size} bytes")
    return {**state, "size": _size(part)}


def _begins_at(response: requests.Response, start: int) -> bool:
    told = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return told is not None and int(told[1]) == start


def _check_status(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status in web.TRANSIENT_STATUS:
        raise web.TransientError(f"status {status}", web.retry_after(response.headers.get("Retry-After")))
    if status not in (200, 206):
        raise UserError(f"{url} refuses a request with status {status}. Check the address in the config")


def _length(response: requests.Response) -> int | None:
    said = response.headers.get("Content-Length", "")
    return int(said) if said.isdecimal() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size:,} bytes"
