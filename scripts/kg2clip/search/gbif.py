"""GBIF's occurrence search, for small runs; `gbif_download` is the way for bulk.

Terms (reference: harvest 3.1, https://www.gbif.org/restricted): keyless, no tens of thousands of requests a day from
one client, no offsets above 10,000, and those who train models take bulk data from downloads or snapshots. Answers have
the recorded shapes (../shared/samples/gbif): `/v2/species/match` with keys as strings, `/v1/occurrence` with keys as
numbers, errors as plain text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kg2clip.errors import UserError
from kg2clip.search.darwin_core import is_wanted, name_key, read_media, taxon_name
from kg2clip.search.hits import objects
from kg2clip.search.kingdoms import Kingdoms, gbif_name, may_be_same
from kg2clip.search.limits import check_limits
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings

PAGE_SIZE = 300  # the API's limit
LAST_OFFSET = 10_000  # beyond it GBIF may restrict a client
CALLS_PER_NAME = 2  # at least: which taxon, and its first page
BACKBONE = "d7dddbf4-2cf0-4f39-9b2a-bb099caae36c"  # the checklist that the flat fields of records follow
USE_DOWNLOAD = (
    "GBIF asks those who train models to take downloads in bulk: in the config, put gbifdownload: {} in the place of "
    "gbif (it needs a free account), or a download of yours: darwincore: {path: its zip file}"
)

Answer = Mapping[str, Any]


class GbifSearch(Source):
    """The source `gbif`; `wanted` is its section of the config, `kingdoms` those of the entities."""

    name = "gbif"

    def __init__(self, wanted: Settings, kingdoms: Kingdoms | None = None) -> None:
        self._wanted = wanted
        self._kingdoms = kingdoms or {}
        self._asked = 0

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Refuse haste and bulk use before the first call.

        Raises:
            UserError: the config asks too fast, or the queries need more answers than `max_calls`.
        """
        check_limits(self.name, self._wanted)
        names = {name for query in queries if (name := taxon_name(query))}
        if (needed := CALLS_PER_NAME * len(names)) > self._wanted["max_calls"]:
            raise UserError(
                f"{len(names)} names need at least {needed} answers of GBIF's search API, and a run may use "
                f"{self._wanted['max_calls']} (search.sources.gbif.max_calls). {USE_DOWNLOAD}"
            )

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures of records under a query's name, a list for each page of records.

        A synonym is asked for by its own key: the records that were published under it, whatever GBIF unites it with.
        """
        name = taxon_name(query)
        key = name and self._match(query, answers)
        if not key:
            return
        offset, limit = 0, min(PAGE_SIZE, self._wanted["per_query"])
        while offset + limit <= LAST_OFFSET:
            page = self._get(
                answers,
                "v1/occurrence/search",
                {
                    "taxonKey": key,
                    "mediaType": "StillImage",
                    "occurrenceStatus": "PRESENT",
                    "basisOfRecord": list(self._wanted["basis_of_record"]),
                    "limit": str(limit),
                    "offset": str(offset),
                },
            )
            yield read_occurrences(page, self._wanted["basis_of_record"])
            found = len(objects(page.get("results")))
            offset += found
            ended = page.get("endOfRecords")
            if not found or (ended if isinstance(ended, bool) else found < limit):
                return

    def _match(self, query: Query, answers: Answers) -> str | None:
        kingdom = self._kingdoms.get(query["entityID"])
        return matched_key(self._get(answers, MATCH, match_request(query, kingdom)), query, kingdom)

    def _get(self, answers: Answers, path: str, parameters: Mapping[str, str | list[str]]) -> dict[str, Any]:
        # Kept answers count too: what a run needs in all decides, not how often it was stopped.
        self._asked += 1
        if self._asked > self._wanted["max_calls"]:
            raise UserError(
                f"these queries need more than {self._wanted['max_calls']} answers of GBIF's search API "
                f"(search.sources.gbif.max_calls). {USE_DOWNLOAD}"
            )
        return answers.get(f"{service(self._wanted['api'])}/{path}", parameters)


MATCH = "v2/species/match"


def match_request(query: Query, kingdom: str | None) -> dict[str, str]:
    """What to ask of MATCH for the taxon of a query's name; where others share the name, in the entity's kingdom."""
    hint = gbif_name(kingdom) if query.get("disambiguation") else None
    return {"scientificName": query["name"], "checklistKey": BACKBONE, **({"kingdom": hint} if hint else {})}


def service(api: str) -> str:
    """The service's address without a version, as the paths here bring their own."""
    return api.rstrip("/").removesuffix("/v1").removesuffix("/v2")


def matched_key(answer: Answer, query: Query, kingdom: str | None = None) -> str | None:
    """The key of the taxon that bears exactly a query's name; None for guesses (FUZZY, HIGHERRANK), for no match and
    for a taxon of another kingdom than the entity's.
    """
    usage, diagnostics = (next(iter(objects([answer.get(key)])), {}) for key in ("usage", "diagnostics"))
    same = name_key(query["name"]) in (name_key(str(usage.get(key))) for key in ("canonicalName", "name"))
    classification = objects(answer.get("classification"))
    theirs = next((one.get("name") for one in classification if one.get("rank") == "KINGDOM"), None)
    meant = may_be_same(kingdom, theirs, bool(query.get("disambiguation")))
    exact = diagnostics.get("matchType") == "EXACT" and same and meant
    return str(usage["key"]) if exact and usage.get("key") else None


def read_occurrences(page: Answer, bases: Sequence[str]) -> list[Hit]:
    """The pictures of a page of records, in its order; of records that say ABSENT or are of other bases, none."""
    wanted = (record for record in objects(page.get("results")) if is_wanted(record, bases))
    return [hit for record in wanted for media in objects(record.get("media")) if (hit := _read(record, media))]


def _read(record: Answer, media: Answer) -> Hit | None:
    key = record.get("key") or record.get("gbifID")
    return read_media(GbifSearch.name, {**record, "gbifID": str(key) if key else None}, media)
