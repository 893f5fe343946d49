"""Entities as an export has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def ancestor(scientific: str, common: str | None = None, rank: str | None = None, number: int | None = None) -> Row:
    return {
        "entityID": f"ncbi:{number}" if number else f"a:{scientific}",
        "taxonID": f"ncbi:{number}" if number else None,
        "scientificName": scientific,
        "vernacularName": common,
        "taxonRank": rank,
    }


def entity(
    identifier: str,
    names: Sequence[tuple[str, str]],
    ancestors: Sequence[Row],
    attributes: Sequence[tuple[str, str]] = (),
    **more: Any,
) -> Row:
    """An entity; `names` are texts with their kinds, `attributes` values with their categories."""
    natural = next((row for row in ancestors if row["vernacularName"]), None)
    return {
        "entityID": identifier,
        "scientificName": next((text for text, kind in names if kind == "scientific"), None),
        "names": [{"text": text, "language": "en", "kind": kind} for text, kind in names],
        "naturalType": natural and natural["vernacularName"],
        "naturalTypeID": natural and natural["entityID"],
        "taxonRank": "genus",
        "ancestors": list(ancestors),
        "attributes": [{"category": category, "value": value, "source": "P462"} for value, category in attributes],
        **more,
    }


def texts(rows: Sequence[Row], identifier: str) -> list[str]:
    return [row["text"] for row in rows if row["entityID"] == identifier]
