"""Licences in one spelling: SPDX identifiers where there is one, `public-domain`, `all-rights-reserved`, else
`unknown`.

Unknown is a value, not a guess. The forms read are those of the recorded answers: cc-by-sa-4.0, CC BY-SA 4.0,
CC_BY_NC_4_0, http://creativecommons.org/licenses/by-nc/4.0/legalcode, CC0, pd, "Public domain", "© all rights
reserved".
"""

from __future__ import annotations

import re

UNKNOWN = "unknown"

_URL = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/(\d(?:\.\d)?))?", re.IGNORECASE)
_SHORT = re.compile(
    r"^cc[ _-]*((?:by|nc|nd|sa)(?:[ _-]+(?:by|nc|nd|sa))*)(?:[ _-]*v?(\d)(?:[._](\d))?)?(?:[ _-]+[a-z]{2,3})?$"
)
_PARTS = ("by", "nc", "nd", "sa")


def normalize(*said: str | None) -> str:
    """The licence that the first readable of several statements names (URL, short name, code)."""
    for statement in said:
        if statement and (found := _read(statement.strip())):
            return found
    return UNKNOWN


def _read(statement: str) -> str | None:
    if match := _URL.search(statement):
        return _from_url(*match.groups())
    text = " ".join(statement.lower().split())
    if re.fullmatch(r"cc[ _-]?(0|zero)([ _-]?1[._]0)?", text):
        return "CC0-1.0"
    if text in ("pd", "public domain", "publicdomain", "pdm", "no restrictions") or text.startswith(("pd-", "pd ")):
        return "public-domain"
    if "all rights reserved" in text:
        return "all-rights-reserved"
    if match := _SHORT.fullmatch(text):
        parts, major, minor = match.groups()
        return _name(re.split(r"[ _-]+", parts), f"{major}.{minor or 0}" if major else None)
    return None


def _from_url(kind: str, code: str, version: str | None) -> str | None:
    if kind.lower() == "publicdomain":
        return {"zero": "CC0-1.0", "mark": "public-domain"}.get(code.lower())
    return _name(code.lower().split("-"), version)


def _name(parts: list[str], version: str | None) -> str | None:
    if "by" not in parts or not set(parts) <= set(_PARTS):
        return None
    code = "-".join(part for part in _PARTS if part in parts).upper()
    return f"CC-{code}-{version}" if version else f"CC-{code}"
