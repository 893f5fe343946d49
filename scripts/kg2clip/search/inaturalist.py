"""iNaturalist's API: the photos of a taxon's observations, for small runs; `inaturalist_tables` is the way for bulk.

Terms: keyless; one call a second and fewer than 10,000 a day, "for applications, not scraping" (iNaturalist's API
recommended practices; reference: harvest 3.1). There are no texts: no title, no alt text, no description. A photo's
licence is its own, not that of its observation; null means all rights reserved (../shared/samples/README.md).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kg2clip import provenance
from kg2clip.errors import IncompleteError, UserError
from kg2clip.identifiers import candidate_id
from kg2clip.names import RANKS
from kg2clip.search import licenses
from kg2clip.search.hits import INT64, objects, whole, words
from kg2clip.search.limits import check_limits
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings
from kg2clip.texts import clean

log = logging.getLogger(__name__)

PAGE_SIZE = 200  # observations an answer, the API's limit
CALLS_PER_NAME = 2  # at least: which taxon, and its first page
SIZES = ("square", "small", "medium", "large", "original")
SITE = "https://www.inaturalist.org"

_MEDIA_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp"}
_CREDITS = [  # whom an attribution names, in the forms that iNaturalist writes
    re.compile(r"^\(c\) (.+?), (?:all|some) rights reserved\b"),
    re.compile(r"^\(c\) (.+), [^,]*\(CC [A-Z-]+\)"),  # in other languages
    re.compile(r"^(.+), no known copyright restrictions\b"),
    re.compile(r"\buploaded by (.+)$"),
]


class INaturalist(Source):
    """The source `inaturalist`, asked through API v1; `wanted` is its section of the config."""

    name = "inaturalist"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Refuse haste and bulk use before the first call.

        Raises:
            UserError: the config asks too fast, or the queries need more calls than `max_calls`.
        """
        check_limits(self.name, self._wanted)
        names = {name_of(query) for query in queries if names_taxon(query)}
        if (needed := CALLS_PER_NAME * len(names)) > self._wanted["max_calls"]:
            raise UserError(
                f"{len(names)} names need at least {needed} calls of iNaturalist's API, and a run may make "
                f"{self._wanted['max_calls']} (search.sources.inaturalist.max_calls). iNaturalist asks for fewer than "
                "10000 a day and gives its data in bulk as tables: in the config, put inaturalistopendata: {} in the "
                "place of inaturalist"
            )

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The photos of the taxon that the query names, by observation, oldest first, each once; a list an answer."""
        taxon = self._find_taxon(query, answers) if names_taxon(query) else None
        if taxon is None:
            return
        request = {
            "taxon_id": str(taxon),
            "photos": "true",
            "quality_grade": ",".join(self._wanted["quality_grades"]),
            "order_by": "id",
            "order": "asc",
            "per_page": str(min(PAGE_SIZE, self._wanted["per_query"])),
        }
        if self._wanted["licenses"] != "any":
            request["photo_license"] = ",".join(self._wanted["licenses"])
        seen: set[str] = set()
        last = 0
        while True:
            answer = self._ask(answers, "/observations", {**request, "id_above": str(last)})
            observations = objects(answer.get("results"))
            fresh: dict[str, Hit] = {}
            for hit in read_observations(observations, self._wanted["photo_size"], self._wanted["licenses"]):
                if hit["sourceID"] not in seen:
                    fresh.setdefault(hit["sourceID"], hit)
            yield list(fresh.values())
            seen.update(fresh)
            newest = max((number for one in observations if (number := whole(one.get("id"), INT64))), default=last)
            if newest <= last or _is_last(answer, len(observations), int(request["per_page"])):
                return
            last = newest

    def _find_taxon(self, query: Query, answers: Answers) -> int | None:
        name = name_of(query)
        answer = self._ask(answers, "/taxa", {"q": name, "is_active": "true"})
        found = [taxon for taxon in objects(answer.get("results")) if taxon.get("is_active") is not False]
        matches = without_descendants(
            {
                number: _ancestor_ids(taxon)
                for taxon in found
                if taxon.get("name") == name and (number := whole(taxon.get("id"), INT64))
            }
        )
        if len(matches) > 1 and query["disambiguation"]:
            answer = self._ask(answers, f"/taxa/{','.join(map(str, sorted(matches)))}", {})
            names = {whole(taxon.get("id"), INT64): _ancestor_names(taxon) for taxon in objects(answer.get("results"))}
            word = query["disambiguation"].casefold()
            matches = {taxon: above for taxon, above in matches.items() if word in names.get(taxon, ())}
        return only_match(query, matches)

    def _ask(self, answers: Answers, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        if answers.calls >= self._wanted["max_calls"]:
            raise IncompleteError(
                f"the API of iNaturalist was called {answers.calls} times, as often as search.sources.inaturalist."
                "max_calls allows in one run. What was found is kept: run the same command again tomorrow, or, for "
                "large groups, take the source inaturalistopendata, which reads the monthly tables and makes no calls"
            )
        # Without a locale attributions come in the language that a server guesses.
        return answers.get(f"{self._wanted['api'].rstrip('/')}{path}", {**parameters, "locale": "en"})


def _is_last(answer: Mapping[str, Any], found: int, asked: int) -> bool:
    """Whether no page comes after this one. A total that is absent, or less than what came, is no total."""
    total = whole(answer.get("total_results"), INT64)
    return found < asked if total is None or total < found else total == found


def names_taxon(query: Query) -> bool:
    """Whether a query can name a taxon of iNaturalist: it knows no attributes, and common names are shared by many."""
    return query["kind"] == "noun" and query["nameKind"] in ("scientific", "synonym")


def name_of(query: Query) -> str:
    """A query's name as iNaturalist writes it: without the word for a rank below the species (subsp., var., f.)."""
    return " ".join(word for word in query["name"].split() if word not in RANKS)


def without_descendants(matches: Mapping[int, Sequence[int]]) -> dict[int, Sequence[int]]:
    """Taxa (id: ids of its ancestors) without those below another: a subgenus that bears its genus' name is in it."""
    return {taxon: above for taxon, above in matches.items() if not (set(above) - {taxon}) & set(matches)}


def only_match(query: Query, matches: Iterable[int]) -> int | None:
    """The taxon that a name means. None, with a warning, where it could be any of several."""
    found = sorted(matches)
    if len(found) > 1:
        log.warning("%s is the name of %d taxa of iNaturalist (%s): left out", query["name"], len(found), found)
    return found[0] if len(found) == 1 else None


def read_observations(observations: Iterable[Mapping[str, Any]], size: str, wanted: str | Sequence[str]) -> list[Hit]:
    """Observations of an answer as hits, one a photo.

    Args:
        size: one of SIZES.
        wanted: `any`, or the licence codes (cc0, cc-by-nc ...) of the photos to take.
    """
    return [
        hit
        for observation in observations
        for photo in objects(observation.get("photos"))
        if wanted == "any" or photo.get("license_code") in wanted
        if (hit := _read_photo(observation, photo, size))
    ]


def _read_photo(observation: Mapping[str, Any], photo: Mapping[str, Any], size: str) -> Hit | None:
    address, number = words(photo.get("url")), whole(photo.get("id"), INT64)
    if not number or not address or photo.get("hidden"):
        return None
    code = photo.get("license_code")
    dimensions: Mapping[str, Any] = next(iter(objects([photo.get("original_dimensions")])), {})
    attribution = words(photo.get("attribution")) or ""
    creator = clean(read_credit(attribution) or photo.get("attribution_name"))
    page = words(observation.get("uri")) or f"{SITE}/observations/{observation.get('id')}"
    return {
        **photo_hit(str(number), INaturalist.name),
        "observationID": words(observation.get("uuid")),
        "occurrenceID": page,  # as GBIF's copy of the record has it
        "accessURI": resize(address, size),
        "originalURI": resize(address, "original"),
        "furtherInformationURL": page,
        "format": media_type(address),
        "width": whole(dimensions.get("width")),
        "height": whole(dimensions.get("height")),
        "license": "all-rights-reserved" if code is None and "license_code" in photo else licenses.normalize(code),
        "licenseOriginal": words(code),
        "creator": creator,
        "rightsHolder": creator if attribution.startswith("(c)") else None,
    }


def photo_hit(photo: str, source: str) -> Hit:
    """The columns that a photo has whichever way it was found."""
    # One identity for both sources: the same photo is one candidate, whichever way it was found.
    return {
        "candidateID": candidate_id(INaturalist.name, photo),
        "source": source,
        "sourceID": photo,
        "title": None,
        "altText": None,
        "description": None,
        "bytes": None,
        "licenseURL": None,  # a code bears no version
        "sha1": None,
        "retrieved": provenance.now(),
    }


def resize(address: str, size: str) -> str:
    """The address of a photo in another size: the stem of its last path segment; an address of another form stays."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    folder, _, last = parts.path.rpartition("/")
    stem, dot, extension = last.partition(".")
    return urlunsplit(parts._replace(path=f"{folder}/{size}{dot}{extension}")) if stem in SIZES else address


def read_credit(attribution: str) -> str | None:
    """Whom an attribution names: "(c) Person 1, some rights reserved (CC BY)" gives Person 1; None if nobody."""
    return next((match[1] for pattern in _CREDITS if (match := pattern.search(attribution))), None)


def media_type(address: str) -> str | None:
    """The media type that an address' extension tells, or None."""
    return _MEDIA_TYPES.get(re.split("[?#]", address)[0].rpartition(".")[2].lower())


def _ancestor_ids(taxon: Mapping[str, Any]) -> list[int]:
    said = taxon.get("ancestor_ids")
    return [number for one in said if (number := whole(one, INT64))] if isinstance(said, list) else []


def _ancestor_names(taxon: Mapping[str, Any]) -> set[str]:
    names = [
        name
        for ancestor in objects(taxon.get("ancestors"))
        for name in (words(ancestor.get("name")), words(ancestor.get("preferred_common_name")))
    ]
    return {name.casefold() for name in names if name}
