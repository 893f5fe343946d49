"""What the public services allow at most, whatever the config says (reference: harvest 3.1 and 3.2)."""

from __future__ import annotations

from typing import NamedTuple

from kg2clip import web
from kg2clip.errors import UserError
from kg2clip.settings import Settings


class Limit(NamedTuple):
    """Calls at a time, calls a second, and who says so."""

    connections: int | None
    requests_per_second: float | None
    says: str


WIKIMEDIA = Limit(3, None, "Wikimedia allows 3 calls at a time (its robot policy)")
LIMITS = {
    "commons": WIKIMEDIA,
    "commonscategories": WIKIMEDIA,
    "wikidata": WIKIMEDIA,
    "inaturalist": Limit(None, 100 / 60, "iNaturalist throttles more than 100 calls a minute and asks for 60"),
    "gbif": Limit(1, None, "GBIF asks for one call at a time of a client that searches"),
}


def check_limits(source: str, wanted: Settings) -> None:
    """Refuse a config that would ask a public service faster than it allows.

    Args:
        wanted: the source's section of the config.

    Raises:
        UserError: too many calls at a time or a second.
    """
    host, limit = web.host_of(wanted["api"]) or "", LIMITS[source]
    if web.is_reserved(host) or host in web.resolve_map():
        return  # the mirror's, or a test's
    for key, most in (("connections", limit.connections), ("requests_per_second", limit.requests_per_second)):
        if most is not None and wanted.get(key, 0) > most:
            raise UserError(f"{limit.says}: set search.sources.{source}.{key} to at most {most:.3g}")
