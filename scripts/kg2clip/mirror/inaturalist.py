"""The mirror's iNaturalist: observations with their photos, the part of API v1 that a search for a taxon's photos
uses, the hosts of the photos, and the open data tables.

Answers have the fields and types of the recorded ones (../shared/samples/inaturalist). Ids and names of the higher
taxa are iNaturalist's own; those of species and genera are the mirror's. What else is there: photos under another
licence than their observation, with all rights reserved (these lie on another host and in no table), several photos
of one individual, bursts, one photo in two observations, observations that a benchmark's pictures are from, and for
some URLs a 429 at the first attempt.
"""

from __future__ import annotations

import datetime
import gzip
import io
import json
import random
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from kg2clip.files import atomic_path, sha256_file, write_text
from kg2clip.identifiers import bucket, stable_hash
from kg2clip.mirror import rendered
from kg2clip.mirror.plan import HEIGHT, PICTURES, WIDTH, TestPicture
from kg2clip.mirror.rendered import Species
from kg2clip.mirror.shots import Shot, plan_shots

API_HOST = "api.inaturalist.mirror.test"
OPEN_HOST = "inaturalist-open-data.mirror.test"  # photos under an open licence
STATIC_HOST = "static.inaturalist.mirror.test"  # all others
WEB_HOST = "www.inaturalist.mirror.test"  # observations' pages, in links only; photos that moved, at their old address

OBSERVATIONS = "observations.jsonl"  # in the mirror's folder
OPEN_DATA = "open_data"  # its folder of tables
REFUSED = "inaturalist.refused"  # addresses that were refused once, a line each: a restart refuses no second time

MAX_PER_PAGE, PER_PAGE, WINDOW = 200, 30, 10_000
THROTTLED = 4  # of a hundred URLs of the API: the first attempt gets 429
SIDES = {"original": 2048, "large": 1024, "medium": 500, "small": 240, "thumb": 100}  # longest side in pixels
SQUARE = 75
TABLES = frozenset(f"/{name}.csv.gz" for name in ("observations", "photos", "observers", "taxa"))  # of the open data
TAXON_PHOTOS = 9  # that a taxon's own answer shows

FIRST_PICTURE_SEED, FIRST_SIBLING_SEED = 500_000, 800_000  # no other collection of the mirror draws these pictures
FIRST_OBSERVATION, FIRST_PHOTO = 60_000_000, 100_000_000
FIRST_TEST_OBSERVATION, FIRST_TEST_PHOTO = 70_000_000, 200_000_000
FIRST_SPECIES, FIRST_GENUS = 2_000_000, 10_000_000  # species: plus NCBI's id, so that the two are never equal

PHOTOS = {1: 0.60, 2: 0.22, 3: 0.10, 4: 0.05, 6: 0.03}  # photos of an observation, with their shares
GRADES = {"research": 0.70, "needs_id": 0.20, "casual": 0.10}
LICENSES: dict[str | None, float] = {
    "cc-by-nc": 0.58, None: 0.14, "cc-by": 0.12, "cc0": 0.08, "cc-by-nc-sa": 0.04, "cc-by-sa": 0.02,
    "cc-by-nc-nd": 0.02,
}  # fmt: skip
OTHER_LICENSE = 0.10  # of photos whose licence is not their observation's
SHARED_PHOTO = 0.03  # of observations whose first photo stands in a second one
TEST_OBSERVED = 0.2  # of a benchmark's pictures that are photos of observations
SERVED: dict[str | None, float] = {None: 0.4, "observation": 0.4, "id": 0.2}  # of these: without or with the test photo
TEST_CROP = (0.3, 0.5)  # share of the area of a test photo that is missing where it is served


@dataclass(frozen=True)
class Photo:
    """A photo; `path` is that of its file in original size below the mirror's pictures/.

    `benchmark_key` names the test picture that it is (`leak` is `id`) or whose observation it is of (`observation`).
    """

    id: int
    license_code: str | None
    shot: Shot
    width: int
    height: int
    path: str
    benchmark_key: str | None = None
    leak: str | None = None
    fault: str | None = None  # size-gone: served in original size only; moved: served at its old address only

    @property
    def name(self) -> str:
        """What stands for the size in an address: photos/1/{}.jpg."""
        return self.path.replace("original", "{}")

    def url(self, size: str) -> str:
        """Its address in a size."""
        host = OPEN_HOST if self.license_code else STATIC_HOST
        address = f"http://{host}/{self.name.format(size)}"
        return f"{address}?{1_500_000_000 + self.id}" if host == STATIC_HOST and self.id % 2 else address

    @property
    def published_url(self) -> str:
        """Its address as others publish it, who copied it long ago."""
        return f"http://{WEB_HOST}/{self.path}" if self.fault == "moved" else self.url("original")


@dataclass(frozen=True)
class Observation:
    """An observation of one individual; `species` is a scientific name, `user` a login."""

    id: int
    uuid: str
    species: str
    taxon_id: int
    quality_grade: str
    license_code: str | None
    photos: tuple[Photo, ...]
    user: str
    observed_on: str

    @property
    def uri(self) -> str:
        """Its page, by which others name it too."""
        return f"http://{WEB_HOST}/observations/{self.id}"


@dataclass(frozen=True)
class Taxon:
    """A taxon of iNaturalist; `ancestors` are root first, without itself."""

    id: int
    rank_level: int
    rank: str
    name: str
    common_name: str | None = None
    ancestors: tuple[Taxon, ...] = ()
    synonyms: tuple[str, ...] = ()

    @property
    def lineage(self) -> tuple[Taxon, ...]:
        """Its ancestors and itself."""
        return (*self.ancestors, self)


def _chain(*ranks: tuple[int, int, str, str, str | None]) -> Taxon:
    above: tuple[Taxon, ...] = ()
    for fields in ranks:
        above = (*above, Taxon(*fields, ancestors=above))
    return above[-1]


_LIFE = (48460, 100, "stateofmatter", "Life", None)
_ANIMALS = (1, 70, "kingdom", "Animalia", "Animals")
_VERTEBRATES = (
    _LIFE, _ANIMALS, (2, 60, "phylum", "Chordata", "Chordates"), (355675, 57, "subphylum", "Vertebrata", "Vertebrates"),
)  # fmt: skip
_INSECTS = _chain(
    _LIFE, _ANIMALS, (47120, 60, "phylum", "Arthropoda", "Arthropods"),
    (372739, 57, "subphylum", "Hexapoda", "Hexapods"), (47158, 50, "class", "Insecta", "Insects"),
)  # fmt: skip
_PARENTS = {  # of the rendered groups; the names by which iNaturalist calls the group's icon
    **{group: (_INSECTS, 47158, "Insecta") for group in ("bees", "beetles", "butterflies", "dragonflies")},
    "birds": (_chain(*_VERTEBRATES, (3, 50, "class", "Aves", "Birds")), 3, "Aves"),
    "mammals": (_chain(*_VERTEBRATES, (40151, 50, "class", "Mammalia", "Mammals")), 40151, "Mammalia"),
    "fishes": (
        _chain(*_VERTEBRATES, (47178, 50, "class", "Actinopterygii", "Ray-finned Fishes")), 47178, "Actinopterygii",
    ),
    "flowers": (
        _chain(
            _LIFE, (47126, 70, "kingdom", "Plantae", "Plants"),
            (211194, 60, "phylum", "Tracheophyta", "Vascular Plants"),
            (47125, 57, "subphylum", "Angiospermae", "Flowering Plants"),
        ), 47126, "Plantae",
    ),
    "mushrooms": (_chain(_LIFE, (47170, 70, "kingdom", "Fungi", "Fungi Including Lichens")), 47170, "Fungi"),
}  # fmt: skip
_ICONS = {icon: name for _, icon, name in _PARENTS.values()}


def plan_observations(species: Sequence[Species], per_species: int, seed: int) -> list[Observation]:
    """`per_species` observations of each species and some second ones of the same photo, in the order of their ids."""
    observations: list[Observation] = []
    photos = 0
    for shown in species:
        pictures = FIRST_PICTURE_SEED
        for number in range(per_species):
            draw = random.Random(stable_hash(seed, "observation", shown.scientific_name, number))
            shots = plan_shots(draw, shown.scientific_name, _choose(draw, PHOTOS), pictures)
            made = _observe(draw, shown, FIRST_OBSERVATION + len(observations), FIRST_PHOTO + photos, shots, seed)
            observations.append(made)
            photos += len(made.photos)
            pictures += len(made.photos)
            if draw.random() < SHARED_PHOTO:
                again = FIRST_OBSERVATION + len(observations)
                twin = replace(made, id=again, uuid=_uuid(seed, "observation", again), photos=made.photos[:1])
                observations.append(twin)
    return observations


def plan_test_observations(
    species: Sequence[Species], tests: Sequence[TestPicture], seed: int
) -> dict[str, Observation]:
    """Observations from which some of a benchmark's pictures are taken, by the picture's key: their first photo.

    The benchmark tells the ids of all of them. `as_served` says which of them the mirror serves.
    """
    by_name = {shown.scientific_name: shown for shown in species}
    observed = {}
    photos = FIRST_TEST_PHOTO
    for place, test in enumerate(tests):
        draw = random.Random(stable_hash(seed, "test observation", test.key))
        if draw.random() >= TEST_OBSERVED:
            continue
        first = FIRST_SIBLING_SEED + 3 * place
        others = [Shot(test.species, first + number, test.picture_seed) for number in range(draw.randint(1, 3))]
        shots = [Shot(test.species, test.picture_seed, test.picture_seed), *others]
        observation = FIRST_TEST_OBSERVATION + place
        observed[test.key] = _observe(draw, by_name[test.species], observation, photos, shots, seed)
        photos += len(shots)
    return observed


def as_served(observed: Mapping[str, Observation], seed: int) -> list[Observation]:
    """Those of the test pictures' observations that are served, with all photos, or without the test picture itself.

    Where it is served so much of it is cut away that its id gives it away rather than its looks.
    """
    served = []
    for key, one in observed.items():
        draw = random.Random(stable_hash(seed, "served", key))
        kind = _choose(draw, SERVED)
        if kind is None:
            continue
        test, *others = (replace(photo, benchmark_key=key, leak="observation") for photo in one.photos)
        cut = replace(test.shot, crop=round(draw.uniform(*TEST_CROP), 3))
        photos = [replace(test, leak="id", shot=cut), *others] if kind == "id" else others
        served.append(replace(one, photos=tuple(photos)))
    return served


def lose_photos(observations: Sequence[Observation], lost: Mapping[int, str]) -> list[Observation]:
    """The same observations, photos with these ids having these faults."""
    return [
        replace(one, photos=tuple(replace(photo, fault=lost.get(photo.id)) for photo in one.photos))
        for one in observations
    ]


def ids_of(observation: Observation) -> dict[str, str]:
    """What a benchmark tells of a test picture that is an observation's first photo."""
    return {
        "source": "inaturalist",
        "sourceID": str(observation.photos[0].id),
        "observationID": observation.uuid,
        "occurrenceID": observation.uri,
    }


def _observe(
    draw: random.Random, shown: Species, observation: int, first_photo: int, shots: Sequence[Shot], seed: int
) -> Observation:
    license_code = _choose(draw, LICENSES)
    photos = []
    for place, shot in enumerate(shots):
        extension = draw.choice(("jpg", "jpg", "jpeg"))
        photos.append(
            Photo(
                id=first_photo + place,
                license_code=_choose(draw, LICENSES) if draw.random() < OTHER_LICENSE else license_code,
                shot=shot,
                width=WIDTH,
                height=HEIGHT,
                path=f"photos/{first_photo + place}/original.{extension}",
            )
        )
    return Observation(
        id=observation,
        uuid=_uuid(seed, "observation", observation),
        species=shown.scientific_name,
        taxon_id=FIRST_SPECIES + shown.taxon_id,
        quality_grade=_choose(draw, GRADES),
        license_code=license_code,
        photos=tuple(photos),
        user=f"observer{draw.randint(1, 60)}",
        observed_on=f"{draw.randint(2012, 2024)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
    )


def _choose(draw: random.Random, shares: Mapping[Any, float]) -> Any:
    return draw.choices(list(shares), weights=list(shares.values()))[0]


def _uuid(*parts: Any) -> str:
    return str(uuid.UUID(hex=stable_hash(*parts, length=32), version=4))


def write_observations(observations: Iterable[Observation], folder: Path) -> None:
    """Write the mirror's list of observations, one line of JSON each."""
    write_text(folder / OBSERVATIONS, "".join(f"{json.dumps(asdict(observation))}\n" for observation in observations))


def read_observations(folder: Path) -> list[Observation]:
    """The mirror's list of observations."""
    return [_from_json(line) for line in (folder / OBSERVATIONS).read_text(encoding="utf-8").splitlines()]


def _from_json(line: str) -> Observation:
    content = json.loads(line)
    photos = (Photo(**{**photo, "shot": Shot(**photo["shot"])}) for photo in content["photos"])
    return Observation(**{**content, "photos": tuple(photos)})


@cache
def taxa() -> Mapping[int, Taxon]:
    """All taxa, by id: the rendered species, their genera and what is above them."""
    known: dict[int, Taxon] = {}
    for shown in rendered.species():
        parent = _PARENTS[shown.group][0]
        name = shown.scientific_name.split()[0]
        # A name may be that of an animal and of a plant: Prunella.
        genus_id = FIRST_GENUS + int(stable_hash("genus", parent.name, name, length=6), 16)
        genus = Taxon(genus_id, 20, "genus", name, None, parent.lineage)
        one = Taxon(
            FIRST_SPECIES + shown.taxon_id, 10, "species", shown.scientific_name, shown.vernacular_name,
            genus.lineage, shown.synonyms,
        )  # fmt: skip
        known.update({taxon.id: taxon for taxon in one.lineage})
    return known


class Api:
    """The answers of API v1, as status and JSON."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self._observations = {observation.id: observation for observation in observations}
        self._by_taxon: dict[int, list[Observation]] = defaultdict(list)
        for observation in observations:
            for taxon in taxa()[observation.taxon_id].lineage:
                self._by_taxon[taxon.id].append(observation)

    def answer(self, path: str, parameters: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """The answer to a request; only `/v1/taxa` and `/v1/observations`, with or without ids, are known."""
        asked = re.fullmatch(r"/v1/(taxa|observations)(?:/([0-9,]+))?", path)
        if not asked:
            return 404, {"error": "Not Found", "status": 404}
        try:
            page, per_page = int(parameters.get("page", 1)), int(parameters.get("per_page", PER_PAGE))
            per_page = max(0, min(MAX_PER_PAGE, per_page))
            if page * per_page > WINDOW:
                message = "Result window is too large, page * per_page must be less than or equal to 10000"
                return 403, {"error": message, "status": 403}
            found = self._find(asked[1], _numbers(asked[2]) if asked[2] else None, parameters)
        except ValueError:  # a number that is none
            return 422, {"error": "Unprocessable Entity", "status": 422}
        results = found[max(0, page - 1) * per_page :][:per_page]
        return 200, {
            "total_results": len(found), "page": page, "per_page": per_page, "results": [one() for one in results],
        }  # fmt: skip

    def _find(
        self, kind: str, ids: set[int] | None, parameters: Mapping[str, str]
    ) -> list[Callable[[], dict[str, Any]]]:
        """All results of a request, in order, each still to be written out."""
        if kind == "observations":
            return [partial(self._observation, one) for one in self._find_observations(ids, parameters)]
        form = (
            partial(self._taxon_found, words=parameters.get("q", "").casefold()) if ids is None else self._taxon_asked
        )
        return [partial(form, one) for one in self._find_taxa(ids, parameters)]

    def _find_taxa(self, ids: set[int] | None, parameters: Mapping[str, str]) -> list[Taxon]:
        ranks = _words(parameters, "rank")
        words = parameters.get("q", "").casefold()
        found = [
            taxon
            for taxon in taxa().values()
            if (ids is None or taxon.id in ids)
            and (not ranks or taxon.rank in ranks)
            and (not words or _matched_term(taxon, words))
            and parameters.get("is_active", "true") in ("true", "any")
        ]
        return sorted(
            found, key=lambda taxon: (taxon.name.casefold() != words, -len(self._by_taxon[taxon.id]), taxon.id)
        )

    def _find_observations(self, ids: set[int] | None, parameters: Mapping[str, str]) -> list[Observation]:
        wanted = _numbers(parameters["id"]) if "id" in parameters else ids
        if "taxon_id" in parameters:
            lists = [self._by_taxon.get(taxon, []) for taxon in sorted(_numbers(parameters["taxon_id"]))]
            found = {one.id: one for observations in lists for one in observations}
        else:
            found = self._observations
        grades, own, photo = (_words(parameters, key) for key in ("quality_grade", "license", "photo_license"))
        above, below = int(parameters.get("id_above", 0)), int(parameters.get("id_below", 2**62))
        kept = [
            one
            for one in found.values()
            if (wanted is None or one.id in wanted)
            and above < one.id < below
            and (not grades or one.quality_grade in grades)
            and (not own or one.license_code in own)
            and (not photo or any(shot.license_code in photo for shot in one.photos))
        ]
        # Ids grow with the time of creation, the service's default order.
        return sorted(kept, key=lambda one: one.id, reverse=parameters.get("order", "desc") == "desc")

    def _taxon_found(self, taxon: Taxon, words: str) -> dict[str, Any]:
        """A taxon as a search gives it."""
        return {**self._taxon(taxon), "vision": True, "matched_term": _matched_term(taxon, words) or taxon.name}

    def _taxon_asked(self, taxon: Taxon) -> dict[str, Any]:
        """A taxon as it comes when asked for by its id."""
        children = [one for one in taxa().values() if one.ancestors and one.ancestors[-1].id == taxon.id]
        shots = [(shot, one.user) for one in self._by_taxon[taxon.id] for shot in one.photos][:TAXON_PHOTOS]
        asked = self._ancestor(taxon)
        return {
            **asked,
            "vision": True,
            "photos_locked": False,
            "conservation_status": None,
            "conservation_statuses": [],
            "listed_taxa": [],
            "listed_taxa_count": 0,
            "wikipedia_summary": None,
            # The root is not among the ancestors that the service lists.
            "ancestors": [
                {**self._ancestor(one), "complete_rank": "order" if one.rank_level > 40 else "species"}
                for one in taxon.ancestors[1:]
            ],
            "children": [self._ancestor(one) for one in children],
            "taxon_photos": [
                {"taxon_id": taxon.id, "photo": _full_photo(*shot), "taxon": {**asked, "photos_locked": False}}
                for shot in shots
            ],
        }

    def _ancestor(self, taxon: Taxon) -> dict[str, Any]:
        """A taxon as it stands in answers to ids: the service writes more into these."""
        return {
            **self._taxon(taxon),
            "provisional": False,
            "default_photo": self._default_photo(taxon, _credited_photo),
        }

    def _taxon(self, taxon: Taxon) -> dict[str, Any]:
        return {
            **self._short_taxon(taxon),
            "taxon_schemes_count": 1,
            "taxon_changes_count": 0,
            "flag_counts": {"unresolved": 0, "resolved": 0},
            "current_synonymous_taxon_ids": None,
            "atlas_id": None,
            "complete_species_count": None,
        }

    def _indexed_taxon(self, taxon: Taxon) -> dict[str, Any]:
        """A taxon as it stands in observations and identifications."""
        return {
            **self._taxon(taxon),
            "min_species_ancestry": ",".join(str(above.id) for above in taxon.lineage),
            "min_species_taxon_id": taxon.id,
            "photos_locked": False,
            "created_at": "2008-10-26T20:24:33+00:00",
            "universal_search_rank": len(self._by_taxon[taxon.id]),
        }

    def _short_taxon(self, taxon: Taxon) -> dict[str, Any]:
        """The fields that a taxon has wherever it stands."""
        icon = next((above.id for above in reversed(taxon.lineage) if above.id in _ICONS), None)
        return {
            **({"preferred_common_name": _headline(taxon.common_name)} if taxon.common_name else {}),
            "id": taxon.id,
            "name": taxon.name,
            "rank": taxon.rank,
            "rank_level": taxon.rank_level,
            "parent_id": taxon.ancestors[-1].id if taxon.ancestors else None,
            "ancestry": "/".join(str(above.id) for above in taxon.ancestors) or None,
            "ancestor_ids": [above.id for above in taxon.lineage],
            "iconic_taxon_id": icon,
            "iconic_taxon_name": _ICONS.get(icon) if icon else None,
            "is_active": True,
            "extinct": False,
            "default_photo": self._default_photo(taxon, _taxon_photo),
            "observations_count": len(self._by_taxon[taxon.id]),
            "wikipedia_url": f"https://en.wikipedia.org/wiki/{taxon.name.replace(' ', '_')}",
        }

    def _default_photo(self, taxon: Taxon, form: Callable[[Photo, str], dict[str, Any]]) -> dict[str, Any] | None:
        photos = ((photo, one.user) for one in self._by_taxon[taxon.id] for photo in one.photos if photo.license_code)
        return next((form(*photo) for photo in photos), None)

    def _observation(self, observation: Observation) -> dict[str, Any]:
        number = observation.id
        taxon = taxa()[observation.taxon_id]
        date = _date_details(observation.observed_on, hour=12)
        time = f"{observation.observed_on}T12:00:00+00:00"
        research = observation.quality_grade == "research"
        latitude, longitude = _place(number)
        photos = [_photo(photo, observation.user) for photo in observation.photos]
        named = [self._identification(observation, taxon, place) for place in range(2 if research else 1)]
        return {
            "id": number,
            "uuid": observation.uuid,
            "uri": observation.uri,
            "quality_grade": observation.quality_grade,
            "license_code": observation.license_code,
            "captive": observation.quality_grade == "casual",
            "taxon": {
                **self._indexed_taxon(taxon),
                "endemic": False,
                "threatened": False,
                "introduced": False,
                "native": True,
            },
            "species_guess": _headline(taxon.common_name or taxon.name),
            "user": {**_user(observation.user), "preferences": {}},
            "photos": photos,
            "observation_photos": [
                {"id": photo["id"] - 1_000, "position": place, "uuid": _uuid("placed", number, place), "photo": photo}
                for place, photo in enumerate(photos)
            ],
            "sounds": [],
            "description": None,
            "observed_on": observation.observed_on,
            "observed_on_string": observation.observed_on,
            "observed_on_details": date,
            "time_observed_at": time,
            "observed_time_zone": "Etc/UTC",
            "created_at": time,
            "created_at_details": date,
            "created_time_zone": "Etc/UTC",
            "updated_at": time,
            "time_zone_offset": "+00:00",
            "location": f"{latitude},{longitude}",
            "geojson": {"coordinates": [longitude, latitude], "type": "Point"},
            "place_guess": "Place removed",
            "place_ids": [],
            "positional_accuracy": number % 500 if number % 3 else None,
            "public_positional_accuracy": number % 500 if number % 3 else None,
            "geoprivacy": None,
            "taxon_geoprivacy": "open",
            "obscured": False,
            "mappable": True,
            "map_scale": None,
            "ident_taxon_ids": [above.id for above in taxon.lineage],
            "community_taxon_id": taxon.id if research else None,
            "identifications": named,
            "identifications_count": len(named) - 1,
            "identifications_most_agree": research,
            "identifications_some_agree": research,
            "identifications_most_disagree": False,
            "num_identification_agreements": len(named) - 1,
            "num_identification_disagreements": 0,
            "owners_identification_from_vision": bool(number % 2),
            "non_owner_ids": named[1:],
            "reviewed_by": [one["user"]["id"] for one in named],
            "cached_votes_total": 0,
            "comments_count": 0,
            "faves_count": 0,
            "oauth_application_id": None,
            "site_id": 1,
            "spam": False,
            "preferences": {"prefers_community_taxon": None},
            **{key: [] for key in _EMPTY_LISTS},
        }

    def _identification(self, observation: Observation, taxon: Taxon, place: int) -> dict[str, Any]:
        number = observation.id * 10 + place
        user = observation.user if place == 0 else f"identifier{observation.id % 20 + 1}"
        return {
            "id": number,
            "uuid": _uuid("identification", number),
            "created_at": f"{observation.observed_on}T13:00:00+00:00",
            "created_at_details": _date_details(observation.observed_on, hour=13),
            "body": None,
            "category": "supporting" if place else "improving",
            "current": True,
            "flags": [],
            "own_observation": place == 0,
            "taxon_change": None,
            "vision": bool(observation.id % 2),
            "disagreement": None,
            "previous_observation_taxon_id": taxon.id if place else None,
            **({"previous_observation_taxon": self._indexed_taxon(taxon)} if place else {}),
            "spam": False,
            "taxon_id": taxon.id,
            "taxon": self._short_taxon(taxon),
            "hidden": False,
            "moderator_actions": [],
            "user": _user(user),
        }


_EMPTY_LISTS = (
    "annotations", "comments", "faves", "flags", "ofvs", "outlinks", "project_ids", "project_ids_with_curator_id",
    "project_ids_without_curator_id", "project_observations", "quality_metrics", "tags", "votes",
)  # fmt: skip


class INaturalistSite:
    """The API, and the hosts of the photos; one of them has the open data tables too."""

    hosts: tuple[str, ...] = (API_HOST, OPEN_HOST, STATIC_HOST, WEB_HOST)

    def __init__(self, folder: Path) -> None:
        observations = read_observations(folder)
        self._folder = folder
        self._api = Api(observations)
        self._pictures = folder / PICTURES
        self._salt = sha256_file(folder / OBSERVATIONS)  # another seed, other faults
        self._photos = {photo.id: photo for one in observations for photo in one.photos}
        self._journal = folder / REFUSED
        self._refused = set(self._journal.read_text().splitlines()) if self._journal.exists() else set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An API answer, a photo in one of its sizes, or an open data table."""
        host = request.host.split(":")[0]
        if host == OPEN_HOST and request.path in TABLES:
            return web.Response(body=(self._tables() / request.path[1:]).read_bytes(), content_type="application/gzip")
        if host != API_HOST:
            return self._photo(host, request.path)
        if self._refuses(request.raw_path):
            # The service's front answers before the API does: no JSON, no Retry-After.
            return _page(429, "Too Many Requests")
        status, content = self._api.answer(request.path, request.query)
        return web.json_response(content, status=status)

    def throttles(self, address: str) -> bool:
        """Whether the first attempt at an address is refused."""
        return bucket(f"{self._salt} {address}", 100) < THROTTLED

    def _tables(self) -> Path:
        folder = self._folder.resolve() / OPEN_DATA
        return folder if folder.is_dir() else open_data(self._folder.resolve())

    def _refuses(self, address: str) -> bool:
        if not self.throttles(address) or address in self._refused:
            return False
        with open(self._journal, "a", encoding="utf-8") as journal:
            journal.write(f"{address}\n")
        self._refused.add(address)
        return True

    def _photo(self, host: str, path: str) -> web.Response:
        _, *folders, name = path.split("/")
        size = name.partition(".")[0]
        known = len(folders) == 2 and folders[0] == "photos" and folders[1].isdecimal()
        photo = self._photos.get(int(folders[1])) if known else None
        if photo is None or f"/{photo.name.format(size)}" != path or (host == OPEN_HOST and not photo.license_code):
            return _page(404, "Not Found")
        if (host == WEB_HOST) != (photo.fault == "moved") or (photo.fault == "size-gone" and size != "original"):
            return _page(404, "Not Found")
        file = self._pictures / photo.path
        if (size not in SIDES and size != "square") or not file.is_file():
            return _page(404, "Not Found")
        return web.Response(body=_scaled(file.read_bytes(), size), content_type="image/jpeg")


def _scaled(content: bytes, size: str) -> bytes:
    """A picture in one of the service's sizes; it is never enlarged."""
    with Image.open(io.BytesIO(content)) as picture:
        if size == "square":
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            scaled = picture.crop((left, top, left + side, top + side)).resize((SQUARE, SQUARE))
        elif max(picture.size) <= SIDES[size]:
            return content
        else:
            scaled = picture.copy()
            scaled.thumbnail((SIDES[size], SIDES[size]), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    scaled.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _page(status: int, reason: str) -> web.Response:
    text = f"<html><head><title>{status} {reason}</title></head><body><h1>{status} {reason}</h1></body></html>"
    return web.Response(status=status, text=text, content_type="text/html")


def open_data(folder: Path) -> Path:
    """Write the open data tables of a mirror: openly licensed photos, their observations, observers and all taxa; give
    their folder.
    """
    observations = [one for one in read_observations(folder) if any(photo.license_code for photo in one.photos)]
    target = folder / OPEN_DATA
    for name, (columns, rows) in _tables(observations).items():
        lines = ["\t".join("" if cell is None else str(cell) for cell in row) for row in (columns.split(), *rows)]
        with (
            atomic_path(target / f"{name}.csv.gz") as temporary,
            open(temporary, "wb") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,  # no name, no time: the same bytes
        ):
            packed.write("".join(f"{line}\n" for line in lines).encode())
    return target


def _tables(observations: Sequence[Observation]) -> dict[str, tuple[str, Iterator[tuple[Any, ...]]]]:
    return {
        "observations": (
            "observation_uuid observer_id latitude longitude positional_accuracy taxon_id quality_grade observed_on",
            (
                (one.uuid, _user_id(one.user), *(f"{degrees:.10f}" for degrees in _place(one.id)),
                 one.id % 500 if one.id % 3 else None, one.taxon_id, one.quality_grade, one.observed_on)
                for one in observations
            ),
        ),
        "photos": (
            "photo_uuid photo_id observation_uuid observer_id extension license width height position",
            (
                (_uuid("photo", photo.id), photo.id, one.uuid, _user_id(one.user), photo.path.rpartition(".")[2],
                 photo.license_code.upper(), photo.width, photo.height, place)
                for one in observations
                for place, photo in enumerate(one.photos)
                if photo.license_code
            ),
        ),
        "observers": (
            "observer_id login name",
            ((_user_id(user), user, _real_name(user)) for user in sorted({one.user for one in observations})),
        ),
        "taxa": (
            "taxon_id ancestry rank_level rank name active",
            (
                (taxon.id, "/".join(str(above.id) for above in taxon.ancestors), taxon.rank_level, taxon.rank,
                 taxon.name, "true")
                for taxon in taxa().values()
            ),
        ),
    }  # fmt: skip


def _numbers(text: str) -> set[int]:
    return {int(part) for part in text.split(",")}


def _words(parameters: Mapping[str, str], key: str) -> set[str]:
    return {part for part in parameters.get(key, "").split(",") if part and part != "any"}


def _matched_term(taxon: Taxon, words: str) -> str | None:
    """The first name of a taxon in which each word begins one."""
    names: tuple[str, ...] = (taxon.name, *((taxon.common_name,) if taxon.common_name else ()), *taxon.synonyms)
    for name in names:
        parts = name.casefold().split()
        if all(any(part.startswith(word) for part in parts) for word in words.split()):
            return name
    return None


def _headline(name: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in name.split())


def _photo(photo: Photo, user: str) -> dict[str, Any]:
    return {
        "id": photo.id,
        "license_code": photo.license_code,
        "url": photo.url("square"),
        "attribution": _attribution(photo.license_code, _real_name(user) or user),
        "original_dimensions": {"width": photo.width, "height": photo.height},
        "flags": [],
    }


def _taxon_photo(photo: Photo, user: str) -> dict[str, Any]:
    return {**_photo(photo, user), "square_url": photo.url("square"), "medium_url": photo.url("medium")}


def _credited_photo(photo: Photo, user: str) -> dict[str, Any]:
    return {**_taxon_photo(photo, user), "attribution_name": _real_name(user) or user}


def _full_photo(photo: Photo, user: str) -> dict[str, Any]:
    sizes = {f"{size}_url": photo.url(size) for size in ("small", "large", "original")}
    return {
        **_credited_photo(photo, user), **sizes, "type": "LocalPhoto", "native_page_url": None, "native_photo_id": None,
    }  # fmt: skip


def _attribution(license_code: str | None, name: str) -> str:
    if license_code is None:
        return f"(c) {name}, all rights reserved"
    if license_code == "cc0":
        return "no rights reserved"
    return f"(c) {name}, some rights reserved ({license_code.upper().replace('CC-', 'CC ')})"


def _user(login: str) -> dict[str, Any]:
    name = _real_name(login)
    counts = ("observations", "identifications", "journal_posts", "activity", "species")
    return {
        "id": _user_id(login),
        "login": login,
        "login_autocomplete": login,
        "login_exact": login,
        "name": name,
        "name_autocomplete": name,
        "spam": False,
        "suspended": False,
        "created_at": "2012-04-26T15:26:56+00:00",
        "orcid": None,
        "icon": None,
        "icon_url": None,
        **{f"{count}_count": bucket(f"{login} {count}", 500) for count in counts},
        "universal_search_rank": bucket(login, 500),
        "roles": [],
        "site_id": 1,
    }


def _user_id(login: str) -> int:
    return 100_000 + int("".join(sign for sign in login if sign.isdecimal())) + 1_000 * login.startswith("identifier")


def _real_name(login: str) -> str | None:
    """Two of three users tell their name."""
    number = _user_id(login)
    return f"Person {number % 1_000}, Jr." if number % 30 == 0 else f"Person {number % 1_000}" if number % 3 else None


def _date_details(date: str, hour: int) -> dict[str, Any]:
    year, month, day = map(int, date.split("-"))
    week = datetime.date(year, month, day).isocalendar().week
    return {"date": date, "week": week, "month": month, "hour": hour, "year": year, "day": day}


def _place(observation: int) -> tuple[float, float]:
    """Latitude and longitude in degrees, to a tenth."""
    return bucket(f"latitude {observation}", 1_200) / 10 - 50, bucket(f"longitude {observation}", 3_500) / 10 - 175
