"""iNaturalist: the photos of a taxon's observations, through the API (small runs) or from the open data tables.

Terms: keyless; one call a second and fewer than 10,000 a day, "for applications, not scraping"; the monthly tables of
the bucket inaturalist-open-data are the way for bulk, and hold the openly licensed photos only (reference: harvest
3.1). There are no texts: neither source gives a title, an alt text or a description. A photo's licence is its own,
not that of its observation; null means all rights reserved (../shared/samples/README.md).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import duckdb

from kg2clip import provenance
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import atomic_path, only_writer, read_json, write_json
from kg2clip.identifiers import candidate_id
from kg2clip.search import licenses
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings
from kg2clip.texts import clean

log = logging.getLogger(__name__)

PAGE_SIZE = 200  # observations an answer, the API's limit
SIZES = ("square", "small", "medium", "large", "original")
INDEX_MEMORY = "2GB"  # half of what the rule search_images asks for; beyond it DuckDB works on disk
SITE = "https://www.inaturalist.org"
TABLES = {  # the columns needed of each open data table
    "observations": ("observation_uuid", "taxon_id", "quality_grade"),
    "photos": (
        "photo_id", "observation_uuid", "observer_id", "extension", "license", "width", "height", "position",
    ),
    "observers": ("observer_id", "login", "name"),
    "taxa": ("taxon_id", "ancestry", "name", "active"),
}  # fmt: skip

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
            observations = answer.get("results") or []
            fresh: dict[str, Hit] = {}
            for hit in read_observations(observations, self._wanted["photo_size"], self._wanted["licenses"]):
                if hit["sourceID"] not in seen:
                    fresh.setdefault(hit["sourceID"], hit)
            yield list(fresh.values())
            seen.update(fresh)
            newest = max((observation["id"] for observation in observations), default=last)
            if newest <= last or answer.get("total_results", 0) <= len(observations):
                return
            last = newest

    def _find_taxon(self, query: Query, answers: Answers) -> int | None:
        answer = self._ask(answers, "/taxa", {"q": query["name"], "is_active": "true"})
        found = [taxon for taxon in answer.get("results") or [] if taxon.get("is_active") is not False]
        matches = {
            taxon["id"]: taxon.get("ancestor_ids") or [] for taxon in found if taxon.get("name") == query["name"]
        }
        matches = without_descendants(matches)
        if len(matches) > 1 and query["disambiguation"]:
            answer = self._ask(answers, f"/taxa/{','.join(map(str, sorted(matches)))}", {})
            names = {taxon["id"]: _ancestor_names(taxon) for taxon in answer.get("results") or []}
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


class INaturalistOpenData(Source):
    """The source `inaturalistopendata`: the open data tables in the folder that the config names. Makes no calls."""

    name = "inaturalistopendata"

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted
        self._tables: OpenData | None = None

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The photos of the taxon that the query names, in one list; the first photo of each observation comes
        first.
        """
        if not names_taxon(query):
            return
        self._tables = self._tables or OpenData(Path(self._wanted["folder"]))
        taxon = only_match(query, self._tables.find_taxa(query["name"], query["disambiguation"]))
        if taxon is not None:
            yield list(self._tables.hits(taxon, self._wanted))


def names_taxon(query: Query) -> bool:
    """Whether a query can name a taxon of iNaturalist: it knows no attributes, and common names are shared by many."""
    return query["kind"] == "noun" and query["nameKind"] in ("scientific", "synonym")


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
        for photo in observation.get("photos") or []
        if wanted == "any" or photo.get("license_code") in wanted
        if (hit := _read_photo(observation, photo, size))
    ]


def _read_photo(observation: Mapping[str, Any], photo: Mapping[str, Any], size: str) -> Hit | None:
    address = photo.get("url")
    if not photo.get("id") or not address or photo.get("hidden"):
        return None
    code = photo.get("license_code")
    dimensions = photo.get("original_dimensions") or {}
    attribution = photo.get("attribution") or ""
    creator = clean(read_credit(attribution) or photo.get("attribution_name"))
    page = observation.get("uri") or f"{SITE}/observations/{observation.get('id')}"
    return {
        **_hit(str(photo["id"]), INaturalist.name),
        "observationID": observation.get("uuid"),
        "occurrenceID": page,  # as GBIF's copy of the record has it
        "accessURI": resize(address, size),
        "originalURI": resize(address, "original"),
        "furtherInformationURL": page,
        "format": _media_type(address),
        "width": dimensions.get("width"),
        "height": dimensions.get("height"),
        "license": "all-rights-reserved" if code is None and "license_code" in photo else licenses.normalize(code),
        "licenseOriginal": code,
        "creator": creator,
        "rightsHolder": creator if attribution.startswith("(c)") else None,
    }


def _hit(photo: str, source: str) -> Hit:
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


def _media_type(address: str) -> str | None:
    return _MEDIA_TYPES.get(re.split("[?#]", address)[0].rpartition(".")[2].lower())


def _ancestor_names(taxon: Mapping[str, Any]) -> set[str]:
    names = [
        name
        for ancestor in taxon.get("ancestors") or []
        for name in (ancestor.get("name"), ancestor.get("preferred_common_name"))
    ]
    return {name.casefold() for name in names if name}


class OpenData:
    """The open data tables of a folder, with an index (three Parquet files in `index/`) that is built once.

    Raises:
        UserError: a table is missing, damaged or has other columns, or the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        index = build_index(folder)
        self._database = duckdb.connect()
        for name in ("photos", "taxa", "lineages"):
            self._database.read_parquet(str(index / f"{name}.parquet")).create_view(name)

    def find_taxa(self, name: str, word: str | None = None) -> dict[int, Sequence[int]]:
        """Active taxa of exactly this scientific name, with the ids of their ancestors; of several, those with an
        ancestor named `word`.
        """
        rows = self._database.execute("SELECT taxonID, ancestorIDs FROM taxa WHERE name = ?", [name]).fetchall()
        matches = without_descendants(dict(rows))
        if len(matches) <= 1 or not word:
            return matches
        ancestors = [ancestor for above in matches.values() for ancestor in above]
        named = self._database.execute(
            "SELECT taxonID FROM taxa WHERE lower(name) = lower(?) AND list_contains(?, taxonID)", [word, ancestors]
        ).fetchall()
        known = {taxon for (taxon,) in named}
        return {taxon: above for taxon, above in matches.items() if known & set(above)}

    def hits(self, taxon: int, wanted: Settings) -> Iterator[Hit]:
        """The photos of a taxon and of all taxa below it, at most `per_query`, each once."""
        rows = self._database.execute(
            """
            WITH found AS (
                SELECT * FROM photos
                WHERE taxonID IN (SELECT taxonID FROM lineages WHERE ancestorID = $taxon)
                  AND list_contains($grades, quality) AND ($any OR list_contains($licenses, lower(license)))
                QUALIFY row_number() OVER (PARTITION BY photoID ORDER BY place, observationID) = 1
            )
            SELECT photoID, observationID, extension, license, width, height, creator
            FROM found ORDER BY place, photoID LIMIT $limit
            """,
            {
                "taxon": taxon,
                "grades": list(wanted["quality_grades"]),
                "any": wanted["licenses"] == "any",
                "licenses": [] if wanted["licenses"] == "any" else list(wanted["licenses"]),
                "limit": wanted["per_query"],
            },
        ).fetchall()
        for photo, observation, extension, license, width, height, creator in rows:
            address = f"{wanted['pictures'].rstrip('/')}/photos/{photo}/original.{extension}"
            spoken = licenses.normalize(license)
            yield {
                **_hit(str(photo), INaturalistOpenData.name),
                "observationID": observation,
                "accessURI": resize(address, wanted["photo_size"]),
                "originalURI": address,
                "furtherInformationURL": f"{SITE}/observations/{observation}",
                "format": _media_type(address),
                "width": width,
                "height": height,
                "license": spoken,
                "licenseOriginal": license,
                "creator": clean(creator),
                "rightsHolder": None if spoken in ("CC0-1.0", "public-domain") else clean(creator),
            }


def read_open_data(folder: Path, names: Sequence[str], wanted: Settings) -> dict[str, list[Hit]]:
    """The photos of taxa by exact scientific name, as `INaturalistOpenData` finds them; names of several taxa or of
    none give no photos.
    """
    opened = OpenData(folder)
    matches = {name: list(opened.find_taxa(name)) for name in names}
    return {name: list(opened.hits(found[0], wanted)) if len(found) == 1 else [] for name, found in matches.items()}


def build_index(folder: Path) -> Path:
    """Join the tables into Parquet files sorted by taxon, unless that was done for these very files; give their folder.

    Out of core: the tables of 2026 hold some hundred million photos.
    """
    paths = {name: folder / f"{name}.csv.gz" for name in TABLES}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        raise UserError(
            f"{' and '.join(missing)} is not there. Fetch the tables once with: "
            "aws s3 cp --no-sign-request --recursive --exclude '*' --include '*.csv.gz' s3://inaturalist-open-data/ "
            f"{folder}"
        )
    index = folder / "index"
    ready = index / "built.json"
    state = {name: [path.stat().st_size, path.stat().st_mtime_ns] for name, path in paths.items()}
    try:
        with only_writer(index):
            if not ready.exists() or read_json(ready) != state:
                ready.unlink(missing_ok=True)
                _write_index(paths, index)
                write_json(ready, state)
    except PermissionError as error:
        raise UserError(f"the index of {folder} can't be written there ({error.strerror}): copy the tables") from None
    return index


def _write_index(paths: Mapping[str, Path], index: Path) -> None:
    log.info("building the index of %s", index.parent)
    database = duckdb.connect(config={"temp_directory": str(index / "tmp"), "memory_limit": INDEX_MEMORY})
    try:
        for name, path in paths.items():
            # Names hold quotation marks that open nothing; numbers may be missing.
            table = database.read_csv(
                str(path), sep="\t", header=True, quotechar="", escapechar="", all_varchar=True, compression="gzip"
            )
            if absent := [column for column in TABLES[name] if column not in table.columns]:
                raise UserError(f"{path} has no column {', '.join(absent)}: it is no table of iNaturalist's open data")
            table.create_view(name)
        for name, query in _INDEX.items():
            with atomic_path(index / f"{name}.parquet") as temporary:
                database.sql(query).write_parquet(str(temporary), compression="zstd")
    except duckdb.Error as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"the tables in {index.parent} can't be read; fetch them again ({reason})") from None
    finally:
        database.close()


_INDEX = {
    "photos": """
        SELECT
            CAST(taxon_id AS BIGINT) AS taxonID, CAST(photo_id AS BIGINT) AS photoID,
            observation_uuid AS observationID, quality_grade AS quality, extension, license,
            TRY_CAST(width AS INTEGER) AS width, TRY_CAST(height AS INTEGER) AS height,
            coalesce(observers.name, login) AS creator,
            row_number() OVER (
                PARTITION BY observation_uuid ORDER BY TRY_CAST(position AS INTEGER), CAST(photo_id AS BIGINT)
            ) AS place
        FROM photos JOIN observations USING (observation_uuid)
        LEFT JOIN observers ON observers.observer_id = photos.observer_id
        WHERE taxon_id IS NOT NULL
        ORDER BY taxonID, place, photoID, observationID
    """,
    "taxa": """
        SELECT CAST(taxon_id AS BIGINT) AS taxonID, name,
               CAST(coalesce(string_split(ancestry, '/'), []) AS BIGINT[]) AS ancestorIDs
        FROM taxa WHERE active = 'true' AND name IS NOT NULL ORDER BY name, taxonID
    """,
    "lineages": """
        SELECT CAST(unnest(list_append(coalesce(string_split(ancestry, '/'), []), taxon_id)) AS BIGINT) AS ancestorID,
               CAST(taxon_id AS BIGINT) AS taxonID
        FROM taxa ORDER BY ancestorID, taxonID
    """,
}
