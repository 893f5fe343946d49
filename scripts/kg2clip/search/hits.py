"""How a source makes a hit: the columns of `tables.HITS` that a candidate has, cleaned in one way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kg2clip import provenance, web
from kg2clip.identifiers import candidate_id
from kg2clip.search import licenses
from kg2clip.search.source import Hit
from kg2clip.texts import clean, without_site


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
