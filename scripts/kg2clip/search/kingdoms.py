"""Which kingdom a record is of: a name alone may mean an animal and a plant (Prunella, Linaria, Erycina pusilla).

The graph and GBIF call kingdoms by several names; others than these (Chromista, Protozoa) are cut so differently by
both that they decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Kingdoms = Mapping[str, str | None]  # by entityID, as in tables.ENTITIES

_NAMES = {  # GBIF's name of a kingdom by the graph's
    "animalia": "Animalia", "metazoa": "Animalia", "plantae": "Plantae", "viridiplantae": "Plantae",
    "archaeplastida": "Plantae", "fungi": "Fungi",
}  # fmt: skip


def kingdoms_of(entities: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """The kingdoms of entities by their ids."""
    return {row["entityID"]: row.get("kingdom") for row in entities}


def gbif_name(kingdom: str | None) -> str | None:
    """What GBIF calls a kingdom; None where that decides nothing."""
    return _NAMES.get(kingdom.casefold()) if isinstance(kingdom, str) else None


def may_be_same(ours: str | None, theirs: str | None, ambiguous: bool) -> bool:
    """Whether a taxon of our kingdom may be one of theirs that bears the same name.

    Args:
        ambiguous: other taxa are known to share the name: then it has to be sure.
    """
    one, other = gbif_name(ours), gbif_name(theirs)
    return one == other if one and other else not ambiguous
