"""The mirror's GBIF: occurrence records with their media, name matching, search, and downloads made in steps.

Answers have the fields and types of the recorded ones (../shared/samples/gbif): `/v2/species/match` with keys as
strings, `/v1/occurrence/search` with keys as numbers, errors as plain text. What else is there: records that say
ABSENT, specimens, names that GBIF holds for synonyms, media without address or format, sounds, licences in free
words that differ from the record's, fishes without a class, names that are matched loosely, bursts, observations of
iNaturalist published again with their photos, and for some URLs a 429 without Retry-After at the first attempt.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import random
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from aiohttp import web
from taxoniq import Taxon

from kg2clip.files import read_json, sha256_file, write_json, write_text
from kg2clip.identifiers import bucket, candidate_id, stable_hash
from kg2clip.mirror import inaturalist
from kg2clip.mirror.faults import Visits
from kg2clip.mirror.plan import PICTURES
from kg2clip.mirror.rendered import Species
from kg2clip.mirror.shots import Shot, plan_shots

API_HOST = "api.gbif.mirror.test"
MEDIA_HOST = "gbif-media.mirror.test"
PAGE_HOST = "records.mirror.test"  # stands in links only

OCCURRENCES = "occurrences.jsonl"  # in the mirror's folder
DOWNLOADS = "gbif_downloads.json"  # downloads asked for, and how often
JOURNAL = "gbif.jsonl"  # requests seen, for the faults that pass

MAX_LIMIT, DEFAULT_LIMIT, WINDOW = 300, 20, 100_000
THROTTLED = 4  # of a hundred URLs of the API: the first attempt gets 429
AT_A_TIME = 3  # downloads in the making
PREPARING, RUNNING = 1, 2  # questions for a download's status that are answered so; the third finds it made

FIRST_PICTURE_SEED = 700_000  # no other collection of the mirror draws these pictures
FIRST_KEY, FIRST_KEY_AGAIN = 4_000_000_000, 4_100_000_000

BACKBONE, CATALOGUE = "d7dddbf4-2cf0-4f39-9b2a-bb099caae36c", "7ddf754f-d193-4cc9-b351-99906754a03b"
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
# NCBI's names of higher taxa in the backbone's words; it has no class for ray-finned fishes.
BACKBONE_NAMES = {
    "Metazoa": "Animalia", "Viridiplantae": "Plantae", "Streptophyta": "Tracheophyta", "Actinopteri": None,
}  # fmt: skip

CC = "http://creativecommons.org"
LICENSES = {f"{CC}/licenses/by-nc/4.0/": 0.6, f"{CC}/licenses/by/4.0/": 0.25, f"{CC}/publicdomain/zero/1.0/": 0.15}
INATURALIST_LICENSES = {  # those that GBIF takes
    "cc0": f"{CC}/publicdomain/zero/1.0/", "cc-by": f"{CC}/licenses/by/4.0/", "cc-by-nc": f"{CC}/licenses/by-nc/4.0/",
}  # fmt: skip
AGAIN = 30  # of a hundred observations of iNaturalist that may be published here
LOST = {
    "size-gone": 12,
    "moved": 8,
}  # of a hundred photos of these: their address at iNaturalist is dead, that here is not
PUBLISHERS_WORDS = (
    "All rights reserved",
    "© the photographer, ask before use",
    "CC BY-NC-ND",
    "Reservados todos los derechos",
)
BASES = {"HUMAN_OBSERVATION": 0.82, "PRESERVED_SPECIMEN": 0.1, "MACHINE_OBSERVATION": 0.05, "MATERIAL_SAMPLE": 0.03}
MEDIA = {1: 0.6, 2: 0.25, 3: 0.1, 0: 0.05}  # media of a record, with their shares
SHARE = {  # of records (absent, synonym) or of media
    "absent": 0.04,
    "synonym": 0.2,
    "no-address": 0.04,
    "no-format": 0.25,
    "no-license": 0.05,
    "own-words": 0.08,
    "sound": 0.03,
    "not-found": 0.03,
}

KINDS = ("StillImage", "MovingImage", "Sound", "InteractiveResource")
BASES_KNOWN = (
    *BASES,
    "OBSERVATION",
    "LIVING_SPECIMEN",
    "FOSSIL_SPECIMEN",
    "MATERIAL_CITATION",
    "OCCURRENCE",
    "UNKNOWN",
)
ENUMERATIONS = {  # parameter: its values, and the word that an error uses
    "mediaType": (KINDS, "MediaType"),
    "basisOfRecord": (BASES_KNOWN, "BasisOfRecord"),
    "occurrenceStatus": (("PRESENT", "ABSENT"), "OccurrenceStatus"),
}  # fmt: skip


@dataclass(frozen=True)
class Media:
    """A picture or sound of a record; `path` is that of its file, at its host and below the mirror's pictures/."""

    path: str
    shot: Shot
    type: str
    format: str | None
    license: str | None
    has_address: bool
    fault: str | None  # not-found, or null
    elsewhere: str | None = None  # its address, where it is published again from another site
    benchmark_key: str | None = None  # of the test picture whose observation it is of

    @property
    def address(self) -> str:
        """Where it is served."""
        return self.elsewhere or f"http://{MEDIA_HOST}{self.path}"


@dataclass(frozen=True)
class Occurrence:
    """A record of one individual; `species` is what it shows, `identified_as` that name or a synonym of it."""

    key: int
    species: str
    identified_as: str
    lineage: Mapping[str, str]  # by rank, without ranks that the backbone lacks
    basis_of_record: str
    occurrence_status: str
    license: str
    person: str
    date: str
    media: tuple[Media, ...]
    published_as: str | None = None  # occurrenceID of a record that is published again

    @property
    def occurrence_id(self) -> str:
        """Its name at its publisher."""
        return self.published_as or f"http://{PAGE_HOST}/records/{self.key}"


def plan_occurrences(species: Sequence[Species], per_species: int, seed: int) -> list[Occurrence]:
    """`per_species` records of each species, in the order of their keys."""
    made: list[Occurrence] = []
    for shown in species:
        lineage = backbone_lineage(shown.taxon_id, shown.scientific_name)
        pictures = FIRST_PICTURE_SEED
        for number in range(per_species):
            draw = random.Random(stable_hash(seed, "occurrence", shown.scientific_name, number))
            made.append(_occur(draw, shown, lineage, FIRST_KEY + len(made), pictures))
            pictures += len(made[-1].media)
    return made


def publish_again(
    observations: Iterable[inaturalist.Observation], species: Sequence[Species], seed: int
) -> list[Occurrence]:
    """Records of observations of iNaturalist, which publishes those of research grade and open licence here too."""
    by_name = {shown.scientific_name: shown for shown in species}
    made: list[Occurrence] = []
    for one in observations:
        if not (photos := _photos_again(one, seed)):
            continue
        made.append(
            Occurrence(
                key=FIRST_KEY_AGAIN + len(made),
                species=one.species,
                identified_as=one.species,
                lineage=backbone_lineage(by_name[one.species].taxon_id, one.species),
                basis_of_record="HUMAN_OBSERVATION",
                occurrence_status="PRESENT",
                license=INATURALIST_LICENSES[str(one.license_code)],
                person=one.user,
                date=one.observed_on,
                media=tuple(_again(photo) for photo in photos),
                published_as=one.uri,
            )
        )
    return made


def lost_photos(observations: Iterable[inaturalist.Observation], seed: int) -> dict[int, str]:
    """Faults by photo: of some that are published here too, so that their second link can save them."""
    ids = {photo.id for one in observations for photo in _photos_again(one, seed) if not photo.benchmark_key}
    order = iter(sorted(ids, key=lambda photo: stable_hash(seed, "lost", photo)))
    counts = {fault: math.ceil(share * len(ids) / 100) for fault, share in LOST.items()}
    return {photo: fault for fault, count in counts.items() for photo in itertools.islice(order, count)}


def _photos_again(one: inaturalist.Observation, seed: int) -> list[inaturalist.Photo]:
    """The photos of an observation that are published here too."""
    photos = [photo for photo in one.photos if photo.license_code in INATURALIST_LICENSES]
    wanted = one.quality_grade == "research" and one.license_code in INATURALIST_LICENSES
    return photos if wanted and bucket(f"{seed} again {one.id}", 100) < AGAIN else []


def _again(photo: inaturalist.Photo) -> Media:
    return Media(
        path=f"/{photo.path}",
        shot=photo.shot,
        type="StillImage",
        format="image/jpeg",
        license=INATURALIST_LICENSES[str(photo.license_code)],
        has_address=True,
        fault=None,
        elsewhere=photo.published_url,
        benchmark_key=photo.benchmark_key,
    )


def backbone_lineage(taxon_id: int, name: str) -> dict[str, str]:
    """The names of a species' ranks, root first, as GBIF's backbone has them."""
    found = {taxon.rank.name: taxon.scientific_name for taxon in Taxon(taxon_id).ranked_lineage}
    named = {rank: BACKBONE_NAMES.get(found[rank], found[rank]) for rank in RANKS if rank in found}
    return {rank: text for rank, text in {**named, "species": name}.items() if text}


def _occur(draw: random.Random, shown: Species, lineage: Mapping[str, str], key: int, first_picture: int) -> Occurrence:
    license = _choose(draw, LICENSES)
    synonym = bool(shown.synonyms) and draw.random() < SHARE["synonym"]
    shots = plan_shots(draw, shown.scientific_name, _choose(draw, MEDIA), first_picture)
    return Occurrence(
        key=key,
        species=shown.scientific_name,
        identified_as=draw.choice(shown.synonyms) if synonym else shown.scientific_name,
        lineage=lineage,
        basis_of_record=_choose(draw, BASES),
        occurrence_status="ABSENT" if draw.random() < SHARE["absent"] else "PRESENT",
        license=license,
        person=f"Person {draw.randint(1, 60)}",
        date=f"{draw.randint(2005, 2025)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
        media=tuple(_media(draw, key, place, shot, license) for place, shot in enumerate(shots)),
    )


def _media(draw: random.Random, key: int, place: int, shot: Shot, license: str) -> Media:
    has = {fault: draw.random() < share for fault, share in SHARE.items()}
    words = draw.choice(PUBLISHERS_WORDS) if has["own-words"] else license
    sound = has["sound"]
    return Media(
        path=f"/gbif/{key}/{place + 1}.{'mp3' if sound else 'jpg'}",
        shot=shot,
        type="Sound" if sound else "StillImage",
        format=None if has["no-format"] else "audio/mpeg" if sound else "image/jpeg",
        license=None if has["no-license"] else words,
        has_address=not has["no-address"],
        fault="not-found" if has["not-found"] or sound or has["no-address"] else None,
    )


def _choose(draw: random.Random, shares: Mapping[Any, float]) -> Any:
    return draw.choices(list(shares), weights=list(shares.values()))[0]


def write_occurrences(occurrences: Iterable[Occurrence], folder: Path) -> None:
    """Write the mirror's list of records, one line of JSON each."""
    lines = (json.dumps(asdict(occurrence), ensure_ascii=False) for occurrence in occurrences)
    write_text(folder / OCCURRENCES, "".join(f"{line}\n" for line in lines))


def read_occurrences(folder: Path) -> list[Occurrence]:
    """The mirror's list of records."""
    return [_from_json(line) for line in (folder / OCCURRENCES).read_text(encoding="utf-8").splitlines()]


def _from_json(line: str) -> Occurrence:
    content = json.loads(line)
    media = (Media(**{**one, "shot": Shot(**one["shot"])}) for one in content["media"])
    return Occurrence(**{**content, "media": tuple(media)})


def drawings(occurrences: Iterable[Occurrence]) -> Iterator[tuple[str, Shot]]:
    """The files that a build must draw: path below pictures/ and what it shows."""
    for one in occurrences:
        for media in one.media:
            if media.fault is None and not media.elsewhere:
                yield media.path.lstrip("/"), media.shot


def truth_row(occurrence: Occurrence, media: Media, sha256: str | None) -> dict[str, Any]:
    """What the mirror knows of a picture, as a row of `plan.TRUTH`; columns left out are null."""
    return {
        "candidateID": candidate_id("gbif", media.address),
        "sourceID": media.address,
        "accessURI": media.address,
        "scientificName": occurrence.species,
        "pictured": media.shot.species,
        "subject": "photograph",
        "pictureID": media.shot.picture_id,
        "observationID": occurrence.occurrence_id,
        "burstID": occurrence.occurrence_id if media.shot.frame else None,
        "shift": media.shot.shift,
        "copyKind": "republished" if media.benchmark_key else None,
        "benchmarkKey": media.benchmark_key,
        "fault": media.fault,
        "sha256": sha256,
    }


class RequestError(Exception):
    """A request that GBIF refuses: status and plain text."""

    def __init__(self, status: int, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.status = status


class Api:
    """Answers about records and names, as JSON."""

    def __init__(self, occurrences: Sequence[Occurrence]) -> None:
        # The order looks arbitrary, as GBIF's does, and is the same in every run.
        self.occurrences = sorted(occurrences, key=lambda one: stable_hash("order", one.key))
        self._taxa: dict[str, set[tuple[tuple[str, str], ...]]] = defaultdict(set)  # lineages by the name at their end
        self._synonyms: dict[str, Mapping[str, str]] = {}
        for one in occurrences:
            ranks = list(one.lineage.items())
            for place, (_, name) in enumerate(ranks):
                self._taxa[name].add(tuple(ranks[: place + 1]))
            if one.identified_as != one.species:
                self._synonyms[one.identified_as] = one.lineage

    def search(self, parameters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """A page of records.

        Raises:
            RequestError: a value that GBIF does not know, or a page beyond its window.
        """
        limit = min(MAX_LIMIT, _number(parameters, "limit", DEFAULT_LIMIT))
        offset = _number(parameters, "offset", 0)
        if offset + limit > WINDOW:
            raise RequestError(400, f"Max offset of {WINDOW + 1} exceeded: {offset} + {limit}")
        for name, (values, word) in ENUMERATIONS.items():
            for value in parameters.get(name, ()):
                if value not in values:
                    raise RequestError(400, f"Cannot parse {value} into a known {word}")
        found = list(self.select(parameters))
        shown = found[offset : offset + limit]
        return {
            "offset": offset,
            "limit": limit,
            "endOfRecords": offset + limit >= len(found),
            "count": len(found),
            "results": [as_record(one) for one in shown],
            "facets": [],
        }

    def select(self, wanted: Mapping[str, Sequence[str]]) -> Iterator[Occurrence]:
        """The records that have one of the values of each parameter."""
        return (one for one in self.occurrences if all(_has(one, name, values) for name, values in wanted.items()))

    def match(self, name: str) -> dict[str, Any]:
        """The taxon that bears a name: EXACT, FUZZY, HIGHERRANK (its genus) or NONE, also where several bear it."""
        if name in self._synonyms:
            accepted = tuple(self._synonyms[name].items())
            return {
                **_matched("EXACT", accepted),
                "usage": _synonym(name),
                "acceptedUsage": _usage(accepted),
                "synonym": True,
            }
        if lineages := self._taxa.get(name):
            return _matched("EXACT", *lineages) if len(lineages) == 1 else _matched("NONE")
        close = get_close_matches(name, self._taxa, 1, 0.9)
        if close and len(self._taxa[close[0]]) == 1:
            return _matched("FUZZY", *self._taxa[close[0]])
        genera = self._taxa.get(name.split(" ")[0], set()) if " " in name else set()
        return _matched("HIGHERRANK", *genera) if len(genera) == 1 else _matched("NONE")


def _number(parameters: Mapping[str, Sequence[str]], name: str, default: int) -> int:
    text = (parameters.get(name) or [str(default)])[0]
    if not text.isdecimal():
        raise RequestError(400, f"Cannot parse {text} into a known Integer")
    return int(text)


def _has(one: Occurrence, name: str, values: Sequence[str]) -> bool:
    tests: dict[str, Callable[[], Iterable[str]]] = {
        "taxonKey": lambda: taxon_keys(one),
        "mediaType": lambda: [media.type for media in one.media],
        "basisOfRecord": lambda: [one.basis_of_record],
        "occurrenceStatus": lambda: [one.occurrence_status],
    }
    return name not in tests or not values or not set(values).isdisjoint(tests[name]())


def taxon_keys(one: Occurrence) -> set[str]:
    """The keys under which a record is found: its name's, its accepted species' and those of all ranks above."""
    lineage = tuple(one.lineage.items())
    above = {str(taxon_key(lineage[: place + 1])) for place in range(len(lineage))}
    return {*above, str(name_key(one))}


def taxon_key(lineage: Sequence[tuple[str, str]]) -> int:
    """The backbone's key of the taxon at a lineage's end: the same name in two kingdoms has two."""
    return int(stable_hash("backbone", lineage[0], lineage[-1], length=7), 16) % 9_000_000 + 1_000_000


def name_key(one: Occurrence) -> int:
    """The key of the name that a record was published under."""
    return (
        _synonym_key(one.identified_as) if one.identified_as != one.species else taxon_key(tuple(one.lineage.items()))
    )


def _synonym_key(name: str) -> int:
    return int(stable_hash("synonym", name, length=7), 16) % 9_000_000 + 1_000_000


def _parts(name: str) -> dict[str, str]:
    genus, _, epithet = name.partition(" ")
    return {"genericName": genus, **({"specificEpithet": epithet} if epithet else {})}


def _usage(lineage: Sequence[tuple[str, str]]) -> dict[str, Any]:
    rank, name = lineage[-1]
    return {
        "key": str(taxon_key(lineage)),
        "name": name,
        "canonicalName": name,
        "authorship": "",
        "rank": rank.upper(),
        "status": "ACCEPTED",
        **_parts(name),
        "type": "SCIENTIFIC",
        "formattedName": " ".join(f"<i>{part}</i>" for part in name.split(" ")),
    }


def _synonym(name: str) -> dict[str, Any]:
    return {**_usage([("species", name)]), "key": str(_synonym_key(name)), "status": "SYNONYM"}


def _classification(lineage: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {"key": str(taxon_key(lineage[: place + 1])), "name": name, "rank": rank.upper()}
        for place, (rank, name) in enumerate(lineage)
    ]


def _matched(kind: str, *lineages: Sequence[tuple[str, str]]) -> dict[str, Any]:
    timings = {"sciNameMatch": 6}
    if kind == "NONE" or not lineages:
        found = {"matchType": "NONE", "issues": [], "confidence": 100, "timeTaken": 20, "timings": timings}
        return {"diagnostics": found, "synonym": False}
    timings = {"nameNRank": 0, "sciNameMatch": 6, "nameParse": 0, "luceneMatch": 6}
    return {
        "usage": _usage(lineages[0]),
        "classification": _classification(lineages[0]),
        "diagnostics": {
            "matchType": kind,
            "confidence": 99 if kind == "EXACT" else 90,
            "timeTaken": 5,
            "timings": timings,
        },
        "additionalStatus": [],
        "synonym": False,
        "left": taxon_key(lineages[0]),
        "right": taxon_key(lineages[0]) + 9,
    }


def as_record(one: Occurrence) -> dict[str, Any]:
    """A record as the search answers it."""
    lineage = tuple(one.lineage.items())
    year, month, day = (int(part) for part in one.date.split("-"))
    place = sum(map(int, (str(month), str(day)))) % 40
    day_of_year = (month - 1) * 30 + day
    stamp = "2025-10-02T09:49:09.105+00:00"
    publisher, dataset = (
        str(uuid.UUID(hex=stable_hash(word, length=32), version=4)) for word in ("publisher", "dataset")
    )
    synonym = one.identified_as != one.species
    usage = _synonym(one.identified_as) if synonym else _usage(lineage)
    return {
        "key": one.key,
        "datasetKey": dataset,
        "publishingOrgKey": publisher,
        "installationKey": publisher,
        "hostingOrganizationKey": publisher,
        "publishingCountry": "DK",
        "protocol": "DWC_ARCHIVE",
        "lastCrawled": stamp,
        "lastParsed": stamp,
        "crawlId": 234,
        "extensions": {f"{TERMS}/1.0/Multimedia": [_published(one, media) for media in one.media]} if one.media else {},
        "basisOfRecord": one.basis_of_record,
        "occurrenceStatus": one.occurrence_status,
        "classifications": {
            checklist: {
                "usage": {**_classified(usage), "key": key(usage["key"])},
                "acceptedUsage": {**_classified(_usage(lineage)), "key": key(_usage(lineage)["key"])},
                "taxonomicStatus": usage["status"],
                "classification": [{**rank, "key": key(rank["key"])} for rank in _classification(lineage)],
                "issues": ["TAXON_ID_NOT_FOUND"],
            }
            for checklist, key in ((CATALOGUE, _letters), (BACKBONE, str))
        },
        "taxonKey": int(usage["key"]),
        **{f"{rank}Key": taxon_key(lineage[: at + 1]) for at, (rank, _) in enumerate(lineage)},
        "acceptedTaxonKey": taxon_key(lineage),
        "scientificName": one.identified_as,
        "acceptedScientificName": one.species,
        **dict(lineage),
        **_parts(one.identified_as),
        "taxonRank": "SPECIES",
        "taxonomicStatus": usage["status"],
        "decimalLatitude": 40.0 + place / 2,
        "decimalLongitude": 5.0 + place / 4,
        "continent": "EUROPE",
        "gadm": {"level0": {"gid": "DNK", "name": "Denmark"}},
        "year": year,
        "month": month,
        "day": day,
        "eventDate": one.date,
        "startDayOfYear": day_of_year,
        "endDayOfYear": day_of_year,
        "issues": ["COORDINATE_ROUNDED"],
        "modified": stamp,
        "lastInterpreted": stamp,
        "license": f"{one.license}legalcode",
        "isSequenced": False,
        "identifiers": [{"identifier": f"mirror:{one.key}"}],
        "media": [_interpreted(one, media) for media in one.media],
        "facts": [],
        "relations": [],
        "isInCluster": False,
        "recordedBy": one.person,
        "identifiedBy": one.person,
        "geodeticDatum": "WGS84",
        "countryCode": "DK",
        "recordedByIDs": [],
        "identifiedByIDs": [],
        "gbifRegion": "EUROPE",
        "country": "Denmark",
        "publishedByGbifRegion": "EUROPE",
        "identifier": f"mirror:{one.key}",
        "catalogNumber": str(one.key - FIRST_KEY),
        "institutionCode": "Mirror",
        "eventTime": "18:22:20.513+02:00",
        "gbifID": str(one.key),
        "occurrenceID": one.occurrence_id,
        "taxonID": f"mirror:{taxon_key(lineage)}",
    }


TERMS, DC = "http://rs.gbif.org/terms", "http://purl.org/dc/terms"


def _letters(key: str) -> str:
    return "".join("BCDFGHJKLM"[int(digit)] for digit in key[:5])


def _classified(usage: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("key", "name", "rank", "authorship", "genericName", "specificEpithet", "formattedName")
    return {name: usage[name] for name in kept if name in usage}


def _interpreted(one: Occurrence, media: Media) -> dict[str, str]:
    said = {
        "type": media.type,
        "format": media.format,
        "references": f"http://{PAGE_HOST}/media{media.path}",
        "created": f"{one.date}T10:00:00.000+00:00",
        "creator": one.person,
        "publisher": "Mirror",
        "license": media.license,
        "rightsHolder": one.person,
        "identifier": media.address if media.has_address else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _published(one: Occurrence, media: Media) -> dict[str, str]:
    return {f"{DC}/{name}": value for name, value in _interpreted(one, media).items()}


class Downloads:
    """Downloads asked for, kept over restarts. Time is counted in questions, so that every run waits alike."""

    def __init__(self, path: Path, api: Api) -> None:
        self._path = path
        self._api = api
        self._known: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}

    def request(self, body: Mapping[str, Any]) -> str:
        """A key for a request; the same one for the same request.

        Raises:
            RequestError: a predicate that the mirror does not know, or too many downloads in the making.
        """
        digits = str(int(stable_hash("download", body), 16)).zfill(22)[-22:]
        key = f"{digits[:7]}-{digits[7:]}"
        if key not in self._known:
            _parameters(body.get("predicate") or {})
            if sum(entry["asked"] <= RUNNING for entry in self._known.values()) >= AT_A_TIME:
                raise RequestError(429, "")
            self._known[key] = {"request": dict(body), "asked": 0}
            self._save()
        return key

    def status(self, key: str) -> dict[str, Any] | None:
        """What a question for a download's state is answered; None for a key that is not known."""
        if not (entry := self._known.get(key)):
            return None
        if entry["asked"] <= RUNNING:
            entry["asked"] += 1
            self._save()
        asked, found = entry["asked"], self._select(entry)
        made = asked > RUNNING
        said = {
            name: value for name, value in entry["request"].items() if name not in ("creator", "notificationAddresses")
        }
        return {
            "key": key,
            **({"doi": f"10.15468/dl.{stable_hash('doi', key, length=6)}"} if made else {}),
            "license": "unspecified",
            "request": {**said, "type": "OCCURRENCE", "verbatimExtensions": []},
            "created": "2025-09-04T12:11:34.648+00:00",
            "modified": f"2025-09-04T12:{11 + asked}:34.648+00:00",
            "eraseAfter": "2026-03-04T12:11:34.469+00:00",
            "status": "SUCCEEDED" if made else "RUNNING" if asked > PREPARING else "PREPARING",
            "downloadLink": f"http://{API_HOST}/v1/occurrence/download/request/{key}.zip",
            "size": len(self.archive(key) or b"") if made else 0,
            "totalRecords": len(found),
            "numberDatasets": 1 if made else 0,
        }

    def archive(self, key: str) -> bytes | None:
        """The zip file of a download; None until it is made."""
        entry = self._known.get(key)
        return as_archive(self._select(entry)) if entry and entry["asked"] > RUNNING else None

    def _select(self, entry: Mapping[str, Any]) -> list[Occurrence]:
        return list(self._api.select(_parameters(entry["request"]["predicate"])))

    def _save(self) -> None:
        write_json(self._path, self._known)


PARAMETERS = {
    "TAXON_KEY": "taxonKey",
    "MEDIA_TYPE": "mediaType",
    "BASIS_OF_RECORD": "basisOfRecord",
    "OCCURRENCE_STATUS": "occurrenceStatus",
}


def _parameters(predicate: Mapping[str, Any]) -> dict[str, list[str]]:
    """A predicate in the search's parameters: `and`, `equals` and `in` over the keys that both know."""
    kind, name = predicate.get("type"), PARAMETERS.get(predicate.get("key", ""))
    if kind == "and":
        parts = [_parameters(part) for part in predicate["predicates"]]
        return {name: values for part in parts for name, values in part.items()}
    if name and kind in ("equals", "in"):
        return {name: [predicate["value"]] if kind == "equals" else list(predicate["values"])}
    raise RequestError(400, f"Cannot parse predicate of type {kind}")


DWC = "http://rs.tdwg.org/dwc/terms"
OCCURRENCE_TERMS = (
    f"{TERMS}/1.0/gbifID", f"{DC}/license", f"{DC}/rightsHolder", f"{DWC}/institutionCode", f"{DWC}/basisOfRecord",
    f"{DWC}/occurrenceID", f"{DWC}/catalogNumber", f"{DWC}/recordedBy", f"{DWC}/occurrenceStatus", f"{DWC}/eventDate",
    f"{DWC}/countryCode", f"{DWC}/scientificName", f"{DWC}/kingdom", f"{DWC}/phylum", f"{DWC}/class", f"{DWC}/order",
    f"{DWC}/family", f"{DWC}/genus", f"{DWC}/specificEpithet", f"{DWC}/taxonRank", f"{DWC}/taxonomicStatus",
    f"{TERMS}/1.0/taxonKey", f"{TERMS}/1.0/speciesKey", f"{TERMS}/1.0/species", f"{TERMS}/1.0/genericName",
    f"{TERMS}/1.0/acceptedScientificName", f"{TERMS}/1.0/mediaType",
)  # fmt: skip
MEDIA_TERMS = (
    f"{TERMS}/1.0/gbifID", f"{DC}/type", f"{DC}/format", f"{DC}/identifier", f"{DC}/references", f"{DC}/title",
    f"{DC}/description", f"{DC}/created", f"{DC}/creator", f"{DC}/contributor", f"{DC}/publisher", f"{DC}/audience",
    f"{DC}/source", f"{DC}/license", f"{DC}/rightsHolder",
)  # fmt: skip


def as_archive(occurrences: Sequence[Occurrence]) -> bytes:
    """Records as a Darwin Core archive, the same bytes for the same records."""
    records = [_record_row(one) for one in occurrences]
    media = [{"gbifID": str(one.key), **_interpreted(one, media)} for one in occurrences for media in one.media]
    verbatim = [{"gbifID": str(one.key), "scientificName": one.identified_as} for one in occurrences]
    verbatim_terms = (f"{TERMS}/1.0/gbifID", f"{DWC}/scientificName")
    tables = {
        "occurrence.txt": (f"{DWC}/Occurrence", OCCURRENCE_TERMS, records),
        "verbatim.txt": (f"{DWC}/Occurrence", verbatim_terms, verbatim),
        "multimedia.txt": (f"{TERMS}/1.0/Multimedia", MEDIA_TERMS, media),
    }
    files = {name: _lines(terms, rows) for name, (_, terms, rows) in tables.items()}
    files["meta.xml"] = _meta({name: (row_type, terms) for name, (row_type, terms, _) in tables.items()})
    files["rights.txt"] = "\nDataset: The mirror's records\nRights as supplied: see each record\n"
    files["citations.txt"] = "Please cite this data as follows, and pay attention to the rights: The mirror's records\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)
    return buffer.getvalue()


def _record_row(one: Occurrence) -> dict[str, str]:
    record = {name: str(value) for name, value in as_record(one).items() if isinstance(value, str | int)}
    # GBIF writes a record's licence in its own words here, not as an address.
    words = record["license"].removeprefix(f"{CC}/").removesuffix("/legalcode").removeprefix("licenses/")
    short = (
        "CC0_1_0" if "zero" in words else f"CC_{words}".upper().replace("/", "_").replace("-", "_").replace(".", "_")
    )
    return {**record, "license": short, "mediaType": ";".join(sorted({media.type for media in one.media}))}


def _lines(terms: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    names = [term.rsplit("/", 1)[1] for term in terms]
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


def _meta(tables: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    text = '<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">\n'
    for place, (name, (row_type, terms)) in enumerate(tables.items()):
        element, identifier = ("extension", "coreid") if place else ("core", "id")
        text += (
            rf'  <{element} encoding="UTF-8" fieldsTerminatedBy="\t" linesTerminatedBy="\n" fieldsEnclosedBy=""'
            f' ignoreHeaderLines="1" rowType={quoteattr(row_type)}>\n'
            f'    <files>\n      <location>{name}</location>\n    </files>\n    <{identifier} index="0" />\n'
        )
        fields = (f'    <field index="{index}" term={quoteattr(term)}/>\n' for index, term in enumerate(terms))
        text += "".join(fields) + f"  </{element}>\n"
    return text + "</archive>\n"


class GbifSite:
    """The API, and the host of the media."""

    hosts: tuple[str, ...] = (API_HOST, MEDIA_HOST)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures = (folder / PICTURES).resolve()
        self._salt = sha256_file(folder / OCCURRENCES)  # another seed, other faults
        self._visits = Visits(folder / JOURNAL)

    @cached_property
    def _api(self) -> Api:
        return Api(read_occurrences(self._folder))

    @cached_property
    def _downloads(self) -> Downloads:
        return Downloads(self._folder / DOWNLOADS, self._api)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An API answer, or a picture."""
        host = request.host.split(":")[0]
        if host == MEDIA_HOST:
            return self._picture(request.path)
        attempt = self._visits.begin(host, request)
        self._visits.end(host, request)
        if request.method == "GET" and attempt == 1 and bucket(f"{self._salt} {request.raw_path}", 100) < THROTTLED:
            return web.Response(status=429)
        try:
            return await self._api_answer(request)
        except RequestError as error:
            return web.Response(status=error.status, text=str(error), content_type="text/plain")

    async def _api_answer(self, request: web.Request) -> web.StreamResponse:
        parameters = {name: request.query.getall(name) for name in request.query}
        match request.path.strip("/").split("/"):
            case ["v2", "species", "match"]:
                return web.json_response(self._api.match(request.query.get("scientificName", "")))
            case ["v1", "occurrence", "search"]:
                return web.json_response(self._api.search(parameters))
            case ["v1", "occurrence", "download", "request"] if request.method == "POST":
                return await self._request(request)
            case ["v1", "occurrence", "download", "request", name]:
                if archive := self._downloads.archive(name.removesuffix(".zip")):
                    return web.Response(body=archive, content_type="application/octet-stream")
            case ["v1", "occurrence", "download", key]:
                if status := self._downloads.status(key):
                    return web.json_response(status)
        return web.Response(status=404)

    async def _request(self, request: web.Request) -> web.Response:
        kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(encoded or "Og==").decode("utf-8", "replace").partition(":")
        if kind != "Basic" or not user or not password:
            return web.Response(status=401)
        body = await request.json()
        if body.get("creator") != user:
            return web.Response(status=403)
        return web.Response(status=201, text=self._downloads.request(body), content_type="text/plain")

    def _picture(self, path: str) -> web.Response:
        target = (self._pictures / path.lstrip("/")).resolve()
        if target.is_relative_to(self._pictures / "gbif") and target.is_file():
            return web.Response(body=target.read_bytes(), content_type="image/jpeg")
        return web.Response(status=404, text="<html><body>Not found</body></html>", content_type="text/html")
