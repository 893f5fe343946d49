"""From entities and queries to calls, days, money, pictures, disk and GPU hours, by plain arithmetic.

Calls and days are ranges: at the least one query fills each entity, at the most every query is asked to its last page.
Pictures, disk and training are upper bounds (every entity gets all that is wanted, nothing is dropped) until the run
itself knows better. What is assumed is listed in ASSUMPTIONS, with its source.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

from kg2clip.settings import Settings

DAY = 86_400  # seconds
NAMES = {
    "scientific": 1.0,
    "vernacular": 1.0,
    "synonym": 1.0,
}  # queries by name of an entity, where only entities are known
RAW_KB, DECODED_KB = 150, 24  # of a picture of 960 pixels as fetched; of one of 256 pixels as stored
OPEN_DATA_GB = 65  # at the fullest moment (docs/sources.md)
H100_TFLOPS, UTILISATION = 989, 0.3  # bf16 without sparsity; the share of it that training reaches

ASSUMPTIONS = (
    f"a fetched picture has {RAW_KB} kB (a Wikimedia thumbnail of 960 pixels)",
    f"a decoded picture has {DECODED_KB} kB (short side 256 pixels) and is stored twice",
    f"training reaches {UTILISATION:.0%} of the {H100_TFLOPS} TFLOPS of an H100 in bf16; half of that is common",
    "Commons: 23 of 24 recorded pages have a usable description",
    "GBIF: none of 78 recorded pictures has a text; iNaturalist has no texts",
)


@dataclass(frozen=True)
class Habit:
    """How a source is asked, and what it says of its pictures."""

    page: int  # hits in an answer at most; 0 where pictures come from a file
    lookups: int = 0  # calls before the first page: which taxon a name means
    taxa_only: bool = False  # knows scientific names and synonyms only
    texted: float | None = None  # share of its pictures with a text of their own; None: not known


HABITS: Mapping[str, Habit] = {
    "wikidata": Habit(50, texted=23 / 24),
    "commons": Habit(50, texted=23 / 24),
    "commonscategories": Habit(50, lookups=1, taxa_only=True, texted=23 / 24),
    "inaturalist": Habit(200, lookups=1, taxa_only=True, texted=0.0),
    "inaturalistopendata": Habit(0, taxa_only=True, texted=0.0),
    "gbif": Habit(300, lookups=1, taxa_only=True, texted=0.0),
    "gbifdownload": Habit(0, lookups=1, taxa_only=True, texted=0.0),
    "brave": Habit(200),
}
UNKNOWN = Habit(0)


@dataclass(frozen=True)
class Demand:
    """What the graph gave, or will give.

    Attributes:
        origin: where the numbers come from, for the reader.
        queries: by kind (noun ...) and kind of name (scientific ...).
        images: pictures that the graph itself names.
    """

    origin: str
    entities: int
    queries: Mapping[tuple[str, str], int]
    images: int

    @property
    def total(self) -> int:
        """All queries."""
        return sum(self.queries.values())

    def nouns(self, taxa_only: bool) -> int:
        """Queries by names, all or those by scientific names."""
        wanted = ("scientific", "synonym") if taxa_only else None
        return sum(
            count
            for (kind, name), count in self.queries.items()
            if kind == "noun" and (wanted is None or name in wanted)
        )


def demand_of(queries: Iterable[Mapping[str, Any]], entities: int, images: int, origin: str) -> Demand:
    """The demand of rows of `tables.QUERIES`."""
    counts = Counter((query["kind"], query["nameKind"]) for query in queries)
    return Demand(origin, entities, counts, images)


def rough_demand(entities: int, config: Settings, origin: str) -> Demand:
    """The demand where no more is known than a number of entities: one query for each kind of name, and as many with
    attributes as an entity may have.
    """
    wanted = config["queries"]
    queries = {("noun", kind): entities for kind in wanted["names"] if "noun" in wanted["kinds"]}
    for kind, many in (("attribute-noun", "attributes_per_entity"), ("attribute", "attributes_per_type")):
        if kind in wanted["kinds"]:
            queries[kind, ""] = wanted[many] * entities
    return Demand(origin, entities, queries, entities)


@dataclass(frozen=True)
class SourcePlan:
    """What one source will be asked."""

    name: str
    least: int
    most: int
    made: int  # calls of earlier runs
    finished: bool
    per_second: float
    per_day: float  # budget of calls
    usd_per_1000: float
    texted: float | None

    @property
    def days(self) -> tuple[float, float]:
        """Days of the calls that are left, at the least and at the most."""
        return self._days(self._left(self.least)), self._days(self._left(self.most))

    @property
    def usd(self) -> tuple[float, float]:
        """Money for the calls that are left, at the least and at the most."""
        return self._left(self.least) * self.usd_per_1000 / 1000, self._left(self.most) * self.usd_per_1000 / 1000

    def _days(self, calls: int) -> float:
        """Days at the allowed pace, and a wait for the next one wherever a day's budget is used up."""
        at_a_time = min(self.per_day, self.per_second * DAY)
        waits = max(0, ceil(calls / at_a_time) - 1)
        return waits + (calls - waits * at_a_time) / (self.per_second * DAY)

    def _left(self, calls: int) -> int:
        return 0 if self.finished else max(0, calls - self.made)


@dataclass(frozen=True)
class TrainingPlan:
    """What one experiment will take; hours are None where the model's size is not known."""

    name: str
    model: str
    pairs: int
    gpu_hours: float | None


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    demand: Demand
    sources: tuple[SourcePlan, ...]
    pictures: int
    pictures_known: bool  # counted rather than bounded
    download_days: float
    disk_gigabytes: Mapping[str, float]
    training: tuple[TrainingPlan, ...]
    alt_text_share: float
    warnings: tuple[str, ...] = field(default=())
    language_model: Settings | None = None  # knowledge.language_model


def plan_source(name: str, wanted: Settings, demand: Demand, made: int = 0, finished: bool = False) -> SourcePlan:
    """The calls of a source, least and most.

    Args:
        wanted: its section of the config.
        made: calls of earlier runs.
        finished: whether its search is done.
    """
    habit = HABITS.get(name, UNKNOWN)
    per_second, per_day = wanted.get("requests_per_second", 1), wanted.get("calls_per_day", float("inf"))
    least = most = 0
    if name == "wikidata":
        least = most = ceil(demand.images / habit.page)
    elif habit.page or habit.lookups:
        attributes = demand.total - demand.nouns(False) if wanted.get("attributes") else 0
        queries = demand.nouns(habit.taxa_only) + attributes
        pages = ceil(wanted["per_query"] / habit.page) if habit.page else 0
        least = min(demand.entities, queries) * (habit.lookups + min(pages, 1))
        most = queries * (habit.lookups + pages)
    usd = wanted.get("usd_per_1000_calls", 0.0)
    return SourcePlan(name, least, most, made, finished, per_second, per_day, usd, habit.texted)


def download_days(pictures: int, lanes: Mapping[str, Settings]) -> float:
    """Days of the downloads if all pictures come from one host of the slowest lane that names hosts."""
    named = [lane for lane in lanes.values() if lane["hosts"]] or list(lanes.values())
    per_second: float = min(
        min(lane["requests_per_second"], lane["megabits_per_second"] * 1e6 / (RAW_KB * 8e3)) for lane in named
    )
    return pictures / per_second / DAY


def disk(pictures: int, sources: Iterable[str]) -> dict[str, float]:
    """Gigabytes by what lies there."""
    tables = {"iNaturalist's tables": OPEN_DATA_GB} if "inaturalistopendata" in sources else {}
    return tables | {
        "raw pictures": pictures * RAW_KB / 1e6,
        "decoded pictures": pictures * DECODED_KB / 1e6,
        "shards": pictures * DECODED_KB / 1e6,
    }


def gigaflops(model: Mapping[str, Any], image_size: int, context: int) -> float:
    """Computing for one pair in training, forward and backward, in 10^9 operations.

    A transformer layer of width w takes 24 w^2 for each of n tokens and 4 n^2 w for their attention; the backward pass
    takes twice the forward one (Kaplan et al. 2020, arXiv 2001.08361, 2.1). Agrees within 4 % with open_clip's profile.
    """
    vision, text = model["vision_cfg"], model["text_cfg"]
    tokens = (image_size // vision["patch_size"]) ** 2 + 1
    pictures = _layers(vision["layers"], vision["width"], tokens)
    texts = _layers(text["layers"], text["width"], context)
    return 3 * (pictures + texts) / 1e9


def _layers(layers: int, width: int, tokens: int) -> float:
    return float(layers * (24 * width**2 * tokens + 4 * tokens**2 * width))


def gpu_hours(pairs: int, billions: float) -> float:
    """Hours on one H100."""
    return pairs * billions / (H100_TFLOPS * 1e3 * UTILISATION) / 3600


def known_model(name: str) -> Mapping[str, Any] | None:
    """open_clip's config of a model, without importing open_clip; None unless both its towers are transformers."""
    package = find_spec("open_clip")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "model_configs", f"{name}.json")
        if path.is_file():
            config: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            whole = isinstance(config.get("vision_cfg", {}).get("layers"), int) and "layers" in config.get(
                "text_cfg", {}
            )
            return config if whole and "patch_size" in config["vision_cfg"] else None
    return None
