"""When two hits are one picture: the same file found at several sources, such as an iNaturalist photo in GBIF.

Known from addresses alone, without asking anyone: the number of an iNaturalist photo, the name of a Wikimedia file,
else the address without what does not matter in it. Copies under other addresses are found later, by their pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from kg2clip import web

# Whole labels of the host, so that no stranger's address passes for one of theirs.
_INATURALIST = re.compile(r"https?://(?:[^/]+\.)?(?:inaturalist|inaturalist-open-data)\.[^/]+/photos/(\d+)/[a-z]+\.")
_WIKIMEDIA = re.compile(
    r"https?://upload\.[^/]+/wikipedia/commons/(?:thumb/)?[0-9a-f]/[0-9a-f]{2}/([^/?#]+)"
    r"|https?://commons\.[^/]+/wiki/Special:(?:FilePath|Redirect/file)/([^/?#]+)"
)
_PORTS = {"http": ":80", "https": ":443"}


def picture_key(hit: Mapping[str, Any]) -> str:
    """The same text for all hits that are one picture; the candidate's own identity where there is no address.

    A link to a part of a page (#...), http or https, a default port and the letters' case in a host make no difference.
    """
    address = hit.get("originalURI") or hit.get("accessURI")
    if not address:
        return f"candidate:{hit['candidateID']}"
    if match := _INATURALIST.match(address):
        return f"inaturalist:{match[1]}"
    if match := _WIKIMEDIA.match(address):
        name = unquote(match[1] or match[2]).replace(" ", "_")
        return f"commons:{name[:1].upper()}{name[1:]}"
    return _plain(address)


def _plain(address: str) -> str:
    try:
        # bücher.example and xn--bcher-kva.example are one host.
        parts = urlsplit(address.strip() if address.isascii() else web.check_url(address, len(address) * 12))
    except (ValueError, web.RefusedError):
        return address
    host = parts.netloc.lower().removesuffix(_PORTS.get(parts.scheme, ":")).rstrip(".")
    return f"{host}{unquote(parts.path) or '/'}{'?' if parts.query else ''}{parts.query}"
