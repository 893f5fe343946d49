"""How a source makes a hit: the columns of `tables.HITS` that a candidate has, cleaned in one way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kg2clip import provenance, web
from kg2clip.identifiers import candidate_id
from kg2clip.search import licenses
from kg2clip.search.source import Hit
from kg2clip.texts import clean, without_site

INT32, INT64 = 2**31 - 1, 2**63 - 1


def hit(
    source: str,
    source_id: str,
    address: str,
    *,
    page: str | None = None,
    title: str | None = None,
    alt_text: str | None = None,
    description: str | None = None,
    caption: str | None = None,
    tags: Sequence[str] = (),
    license: str | Sequence[str] | None = None,
    creator: str | None = None,
    rights_holder: str | None = None,
    **more: Any,
) -> Hit:
    """A picture that a source has found.

    Args:
        source: the source's name.
        source_id: what the picture is called there; with the source's name it decides the candidate's identity.
        address: of the picture.
        page: where a person sees it.
        license: one statement or several (address, name, code) in the source's words; the first readable one counts.
        creator: whom the licence asks to credit, and nothing more about them.
        more: other columns of a candidate (originalURI, width, height, format ...), as they are.
    """
    said = [text for one in ([license] if isinstance(license, str) else license or ()) if (text := clean(one))]
    return {
        "candidateID": candidate_id(source, source_id),
        "source": source,
        "sourceID": source_id,
        "accessURI": address,
        "furtherInformationURL": page,
        "title": without_site(clean(title), web.host_of(page) if page else None),
        "altText": clean(alt_text),
        "description": clean(description),
        "caption": clean(caption),
        "tags": [tag for one in tags if (tag := clean(one))] or None,
        "license": licenses.normalize(*said),
        "licenseOriginal": said[0] if said else None,
        "licenseURL": next((one for one in said if one.startswith(("http://", "https://"))), None),
        "creator": clean(creator),
        "rightsHolder": clean(rights_holder),
        "retrieved": provenance.now(),
        **more,
    }


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list (or of a map, which is how some answers write one); what else stands there is left out."""
    found = list(value.values()) if isinstance(value, Mapping) else value
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def words(value: object) -> str | None:
    """A text as a source has it; None for null, blanks, numbers and whatever else a field may hold."""
    return value.strip() or None if isinstance(value, str) else None


def whole(value: object, most: int = INT32) -> int | None:
    """A size as a number, also where it is written as a text; None for what is none."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most else None
