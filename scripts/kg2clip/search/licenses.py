"""Licences in one spelling: SPDX identifiers where there is one, `public-domain`, `all-rights-reserved`, else
`unknown`.

Unknown is a value, not a guess: words that are no form below stay unknown, and the original is kept beside it. The
forms are those of the recorded answers and of the publishers in GBIF: cc-by-sa-4.0, CC BY-SA 4.0, CC_BY_NC_4_0,
http://creativecommons.org/licenses/by-nc/4.0/legalcode, Attribution-NonCommercial 4.0 International, CC0, pd, "Public
domain", "© all rights reserved", GFDL, rightsstatements.org. Of several licences that are offered together the most
open one counts, since the reader may choose.
"""

from __future__ import annotations

import re

UNKNOWN = "unknown"
RESERVED = "all-rights-reserved"
PUBLIC_DOMAIN = "public-domain"

_URL = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/(\d(?:\.\d)?))?", re.IGNORECASE)
_SHORT = re.compile(
    r"cc[ _-]*((?:by|nc|nd|sa)(?:[ _-]+(?:by|nc|nd|sa))*)"  # the conditions
    r"(?:[ _-]*v?(\d)(?:[._](\d))?)?(?:[-,]\d\.\d)*"  # the version; "3.0-2.5-2.0" are several, the first is the newest
    r"(?:[ _-]+(?:international|unported|generic|\(?[a-z]{2,3}\)?))?"  # the country
)
_LONG = {
    "attribution": "by", "noncommercial": "nc", "non-commercial": "nc", "noderivatives": "nd", "noderivs": "nd",
    "no derivatives": "nd", "no-derivatives": "nd", "sharealike": "sa", "share-alike": "sa", "share alike": "sa",
}  # fmt: skip
_FREE_ART = re.compile(r"(fal|lal|free art licen[cs]e|licence art libre)([ -]\d\.\d)?")
_RESERVED = ("all rights reserved", "alle rechte vorbehalten", "todos los derechos reservados", "tous droits réservés")
_PARTS = ("by", "nc", "nd", "sa")
_CHOICE = re.compile(r"\s*(?:[|/;]|\bor\b|\boder\b|\bou\b)\s*")


def normalize(*said: str | None) -> str:
    """The licence that the first readable of several statements names (URL, short name, code)."""
    for statement in said:
        if statement and (found := _read(statement.strip())):
            return found
    return UNKNOWN


def _read(statement: str) -> str | None:
    if match := _URL.search(statement):
        return _from_url(*match.groups())
    if "rightsstatements.org/" in statement.lower():
        return RESERVED if "/InC" in statement else None  # in copyright; the others promise nothing
    text = " ".join(statement.lower().split())
    if any(words in text for words in _RESERVED):
        return RESERVED
    found = [one for part in _CHOICE.split(text) if (one := _from_words(part))]
    return min(found, key=_conditions, default=None)


def _conditions(license_id: str) -> tuple[bool, bool, bool, int]:
    return "-NC" in license_id, "-ND" in license_id, not license_id.startswith("CC"), len(license_id)


def _from_words(text: str) -> str | None:
    if re.fullmatch(r"cc[ _-]?(0|zero)([ _-]?(v ?)?1[._]0)?( universal| deed| public domain dedication)*", text):
        return "CC0-1.0"
    if re.fullmatch(r"(cc )?(pd|pdm|public ?domain( mark)?|no restrictions)( ?1\.0)?", text):
        return PUBLIC_DOMAIN
    if text.startswith(("pd-", "pd ")):
        return PUBLIC_DOMAIN
    if match := re.fullmatch(r"(?:gfdl|gnu free documentation licen[cs]e)(?:[ -](1\.[123]))?\+?(?: or later)?", text):
        return f"GFDL-{match[1]}" if match[1] else "GFDL"
    if _FREE_ART.fullmatch(text):
        return "LAL"
    if match := _SHORT.fullmatch(_shortened(text)):
        parts, major, minor = match.groups()
        return _name(re.split(r"[ _-]+", parts), f"{major}.{minor or 0}" if major else None)
    return None


def _shortened(text: str) -> str:
    """`creative commons attribution-noncommercial 4.0` as `cc by-nc 4.0`."""
    if "attribution" not in text:
        return text
    for word in sorted(_LONG, key=len, reverse=True):
        text = text.replace(word, _LONG[word])
    text = re.sub(r"^(creative commons|cc)[ :-]*", "", text).replace(" licence", "").replace(" license", "")
    return f"cc {text}"


def _from_url(kind: str, code: str, version: str | None) -> str | None:
    if kind.lower() == "publicdomain" or code.lower() == "publicdomain":
        return {"zero": "CC0-1.0", "mark": PUBLIC_DOMAIN, "publicdomain": PUBLIC_DOMAIN}.get(code.lower())
    return _name(code.lower().split("-"), version)


def _name(parts: list[str], version: str | None) -> str | None:
    if "by" not in parts or not set(parts) <= set(_PARTS):
        return None
    code = "-".join(part for part in _PARTS if part in parts).upper()
    return f"CC-{code}-{version}" if version else f"CC-{code}"
