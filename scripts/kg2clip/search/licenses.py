"""Licences in one spelling: SPDX identifiers where there is one, `public-domain`, `all-rights-reserved`, else
`unknown`.

Unknown is a value, not a guess: what is not understood to its last word stays unknown ("CC BY 4.0, but ask first"), and
the original is kept beside it. Understood are addresses (creativecommons.org in all forms, spdx.org, gnu.org,
rightsstatements.org), codes (CC_BY_NC_4_0, cc-by-2.5-in, CC BY-NC-ND 4.0 Int.) and the names of the Creative Commons
licences in the languages of licenses.yaml ("Namensnennung - Nicht kommerziell 4.0 International"). Of several licences
that are offered together the most open one counts, since the reader may choose; of a licence and more conditions both
count.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

import yaml

UNKNOWN = "unknown"
RESERVED = "all-rights-reserved"
PUBLIC_DOMAIN = "public-domain"
LONGEST = 400  # characters; a longer text is no licence's name, though it may hold its address

_PARTS = ("by", "nc", "nd", "sa")
_ADDRESS = re.compile(r"(?<![a-z0-9.-])(?:https?://)?(?:[a-z0-9-]+\.)+[a-z]{2,}/[^\s\"'<>|;]*")
_DEED = re.compile(r"creativecommons\.org/(licen[sc]es|publicdomain)/([a-z+-]+)(?:/(\d(?:\.\d)?))?")
_IN_COPYRIGHT = re.compile(r"rightsstatements\.org/(?:vocab|page)/inc\b")  # the other statements promise nothing

_CHOICE = re.compile(
    r"\s*[|;]\s*|\s+(?:or|oder|ou|o|eller)\s+(?!(?:any )?later)"
    r"|\s*[/,+]\s*(?=(?:cc|gfdl|gnu|fal|lal|pd|creative commons)(?![^\W\d_]))"
)
_LEAD = re.compile(
    r"(?:(?:this|the) (?:work|image|picture|photo|photograph|file|media|content|data ?set) (?:is|was) )?"
    r"(?:(?:made )?(?:licen[sc]ed|available|published|released|shared|distributed) )?"
    r"under (?:the terms of )?(?:an? |the )?"
    r"|(?:licen[sc]e|lizenz|licencia|licenza|licença|rights)\s*:\s*"
)
_GFDL = re.compile(
    r"(?:gnu )?(?:gfdl|fdl|free documentation licen[cs]e)(?:,? ?(?:version |v|-)? ?(1\.[123]))?"
    r"\+?(?:,? (?:or (?:any )?later|only)(?: version)?)?"
)
_FREE_ART = re.compile(r"(?:fal|lal|free art licen[cs]e|licence art libre)(?:[ -]\d\.\d)?")
_PUBLIC_DOMAIN = re.compile(
    r"(?:cc[ -])?(?:pdm?|public[ -]?domain(?: mark| dedication)?)(?: 1\.0)?(?: universal)?"
    r"|no (?:known )?(?:copyright )?restrictions|pd-[\w-]+|pd (?:us|old|self|art|usgov|ineligible)(?: [a-z0-9]+){0,3}"
)
_WAIVED = re.compile(r"waived all rights .*\(cc0(?: 1\.0)?\)")  # the sentence that GBIF's publishers use
_OTHERS = {  # names of other licences that only ask for attribution; the version stands in the group
    "OGL-UK-{}.0": re.compile(r"(?:ogl(?:-uk)?|open government licen[cs]e)[ -]?(?:v|version )?([123])(?:\.0)?"),
    "etalab-{}.0": re.compile(
        r"(?:etalab|licence ouverte|etalab open licen[cs]e|licence ouverte etalab)[ -]?v?(2)(?:\.0)?"
    ),
}

_KNOWN = yaml.safe_load((Path(__file__).with_suffix(".yaml")).read_text(encoding="utf-8"))
_ENGLISH: dict[str, list[str]] = _KNOWN["english"]
_OTHER = {code: sorted(words, key=len, reverse=True) for code, words in _KNOWN["other"].items()}
_NOUNS = frozenset(_KNOWN["nouns"])
_IDLE = _NOUNS.union(_KNOWN["idle"], _KNOWN["countries"])
_ZERO = frozenset(_KNOWN["zero"])
_CODE = re.compile(r"(?:cc)?(?:by|nc|nd|sa)+|cc")
_VERSION = re.compile(r"[1-4](?:[._][015])?")


def normalize(*said: object) -> str:
    """The licence that the first readable of several statements names (URL, short name, code).

    Whatever is no text (null, a number) says nothing.
    """
    for statement in said:
        if isinstance(statement, str) and (found := _read(statement)):
            return found
    return UNKNOWN


@lru_cache(maxsize=4096)  # millions of pictures bear a few dozen statements
def _read(statement: str) -> str | None:
    text = unicodedata.normalize("NFKC", statement).casefold()
    text = " ".join(re.sub("[\u2010-\u2015\u2212]", "-", text).replace("\u2019", "'").split())
    if any(words in text for words in _KNOWN["reserved"]) or _IN_COPYRIGHT.search(text):
        return RESERVED
    if "/" in text and (found := _from_addresses(text)) is not None:
        return found or None
    if len(text) > LONGEST or "?" in text:
        return None
    found_words = [_from_words(part) for part in _CHOICE.split(text) if part]
    return min(filter(None, found_words), key=_conditions) if found_words and all(found_words) else None


def _conditions(license_id: str) -> tuple[bool, bool, bool, int, str]:
    limits = ("-NC" in license_id, "-ND" in license_id)
    return *limits, not license_id.startswith("CC"), len(license_id), license_id  # of equals always the same one


def _from_addresses(text: str) -> str | None:
    """The licence whose address a text holds; "" where addresses and words are at odds, None without a known one."""
    found = {license_id for address in _ADDRESS.findall(text) if (license_id := _from_address(address))}
    if not found:
        return None
    words = _ADDRESS.sub(" ", text)
    if len(found) > 1 and not re.search(r"\bor\b|\||;", words):
        return ""
    chosen = min(found, key=_conditions)
    limits = {"nc", "nd"} & set(_codes(_translated(words)[0]))
    return chosen if all(f"-{limit.upper()}" in chosen for limit in limits) else ""


def _from_address(address: str) -> str | None:
    if match := _DEED.search(address):
        return _from_deed(match[1], match[2], match[3])
    if match := re.search(r"spdx\.org/licenses/([a-z0-9.-]+?)(?:\.html|\.json)?$", address):
        return _from_words(match[1])
    if match := re.search(r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?(fdl(?:-1\.[123])?)", address):
        return _from_words(match[1])
    if "artlibre.org/" in address:
        return "LAL"
    if match := re.search(r"creativecommons\.org/(?:.*/)?public-domain/(cc0|pdm)", address):
        return _from_words(match[1])
    if match := re.search(r"nationalarchives\.gov\.uk/doc/open-government-licence/version/([123])", address):
        return f"OGL-UK-{match[1]}.0"
    return None


def _from_deed(kind: str, code: str, version: str | None) -> str | None:
    if kind == "publicdomain" or code == "publicdomain":
        return {"zero": "CC0-1.0", "mark": PUBLIC_DOMAIN, "publicdomain": PUBLIC_DOMAIN}.get(code)
    return _name(code.split("-"), version)


def _from_words(text: str) -> str | None:
    text = re.sub(r"cc[ _-]?(?:0|zero)(?![a-z0-9.])|(?:creative commons|cc) (?:0|zero)(?![a-z0-9.])", "cc0", text)
    text = _LEAD.sub("", text, count=1).strip(" .,") if _LEAD.match(text) else text.strip(" .,")
    if "cc0" in text and (_ZERO.issuperset(re.findall(r"\d(?:[._]\d)?|cc0|[^\W\d_]+", text)) or _WAIVED.search(text)):
        return "CC0-1.0"
    if _PUBLIC_DOMAIN.fullmatch(text) or text in _KNOWN["public domain"]:
        return PUBLIC_DOMAIN
    if match := _GFDL.fullmatch(text):
        return f"GFDL-{match[1]}" if match[1] else "GFDL"
    if _FREE_ART.fullmatch(text):
        return "LAL"
    for license_id, name in _OTHERS.items():
        if match := name.fullmatch(text):
            return license_id.format(match[1])
    return _creative_commons(text)


def _creative_commons(text: str) -> str | None:
    """A licence's name or code in which every word is known: `cc by-nc 4.0`, `attribution-noncommercial 4.0`."""
    translated, plain = _translated(text)
    words = re.findall(r"\d+(?:[._]\d+)*|[^\W\d_]+", translated)
    while words and words[0] in _NOUNS:
        words.pop(0)
    if not words or not _CODE.fullmatch(words[0]):
        return None
    versions = {word.replace("_", ".") for word in words if _VERSION.fullmatch(word)}
    if not all(_CODE.fullmatch(word) or _VERSION.fullmatch(word) or word in _IDLE for word in words):
        return None
    codes = set(_codes(translated))
    if not ("cc" in codes or versions or (plain and len(codes) > 1)):
        return None  # "attribution" alone is asked for by many
    return _name(sorted(codes - {"cc"}), max(versions, default=None))


def _translated(text: str) -> tuple[str, bool]:
    """A text with the conditions' names as codes, and whether all of these stood in English or were codes."""
    said = text
    for code, names in _OTHER.items():  # "non commerciale" before "non commercial"
        for name in names:
            said = said.replace(name, " " if code == "idle" else f" {code} ")
    translated = said
    for code, names in _ENGLISH.items():
        for name in names:
            translated = translated.replace(name, f" {code} ")
    return translated, said == text


def _codes(translated: str) -> list[str]:
    glued = [word for word in re.findall(r"[^\W\d_]+", translated) if _CODE.fullmatch(word)]
    return [code for word in glued for code in re.findall("cc|by|nc|nd|sa", word)]


def _name(parts: list[str], version: str | None) -> str | None:
    if "by" not in parts or not set(parts) <= set(_PARTS) or {"nd", "sa"} <= set(parts):
        return None
    code = "-".join(part for part in _PARTS if part in parts).upper()
    if version and "." not in version:
        version = f"{version}.0"
    return f"CC-{code}-{version}" if version else f"CC-{code}"
