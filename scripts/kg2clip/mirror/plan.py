"""What the mirror shows and what is wrong with it: one row a file page, drawn from the seed, so that the truth is
known.

Faults of links (unknown host, 404), copies (same bytes, re-encoded), pictures that also stand in the benchmark
(leaks), pictures that are too small, and texts that are useless or name another species. Rates and strengths are
those of design 5.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from kg2clip.identifiers import candidate_id, stable_hash
from kg2clip.mirror.rendered import Species

UPLOAD_HOST = "upload.mirror.test"
COMMONS_HOST = "commons.mirror.test"
QUERY_HOST = "query.mirror.test"

PICTURES = "pictures"  # folder of a mirror's files
PAGES = "pages.jsonl"  # its file pages

SHARE = {  # of the pictures (copies, links, size) or of all file pages (texts)
    "copy-exact": 0.08,
    "copy-reencoded": 0.10,
    "leak-exact": 0.06,  # of the benchmark's pictures
    "leak-reencoded": 0.06,
    "dead-host": 0.02,
    "not-found": 0.03,
    "too-small": 0.02,
    "useless-text": 0.22,
    "wrong-text": 0.06,
}
WIDTH, HEIGHT = 480, 360
FIRST_TEST_SEED = 1_000_000  # picture seeds of held-out pictures start here, so that no training picture has one

TRUTH = pa.schema(
    [
        ("candidateID", pa.string()),
        ("sourceID", pa.string()),  # the file's title
        ("accessURI", pa.string()),
        ("scientificName", pa.string()),  # what the picture shows
        ("pictureID", pa.string()),  # the same for all copies of one picture
        ("fault", pa.string()),  # dead-host, not-found, too-small, or null
        ("copyKind", pa.string()),  # exact, reencoded, or null
        ("copyOf", pa.string()),  # candidateID of the original, null for a leak
        ("benchmarkKey", pa.string()),  # test/s0000012 where the picture stands in the benchmark
        ("quality", pa.int32()),  # JPEG quality
        ("scale", pa.float64()),
        ("textFault", pa.string()),  # useless, wrong, or null
        ("sha256", pa.string()),  # of the bytes served; null where none are
    ]
)


@dataclass(frozen=True)
class FilePage:
    """A file page of the mirror's Commons, with its truth."""

    title: str
    page_id: int
    species: str  # scientific name
    picture_seed: int
    quality: int
    scale: float
    description: str  # HTML, as in extmetadata
    categories: str
    license: tuple[str, str, str]  # code, short name, URL
    artist: str  # HTML
    fault: str | None = None
    copy_kind: str | None = None
    copy_of: str | None = None  # title
    benchmark_key: str | None = None
    text_fault: str | None = None

    @property
    def picture_id(self) -> str:
        """The same for all copies of one picture."""
        return f"{self.species}#{self.picture_seed}"

    @property
    def path(self) -> str:
        """Path of the file at the upload host, as Commons builds it: by the MD5 of the name."""
        name = self.title.replace(" ", "_")
        digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        return f"/wikipedia/commons/{digest[0]}/{digest[:2]}/{name}"

    @property
    def host(self) -> str:
        """Where the file lies; for a dead link a host that nobody knows."""
        return f"gone-{self.page_id % 7}.mirror.test" if self.fault == "dead-host" else UPLOAD_HOST


@dataclass(frozen=True)
class TestPicture:
    """A picture of the benchmark."""

    __test__ = False  # for pytest: no test class
    species: str
    label: int
    split: str
    key: str
    picture_seed: int


LICENSES = [
    ("cc-by-sa-4.0", "CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0"),
    ("cc-by-4.0", "CC BY 4.0", "https://creativecommons.org/licenses/by/4.0"),
    ("cc-zero", "CC0", "http://creativecommons.org/publicdomain/zero/1.0/deed.en"),
    ("pd", "Public domain", ""),
    ("cc-by-sa-3.0", "CC BY-SA 3.0", "https://creativecommons.org/licenses/by-sa/3.0"),
]
GOOD_TEXTS = [
    "{common} ({scientific})",
    "A {colour} {common}, seen in the early morning",
    "<i>{scientific}</i> &ndash; {common} in its habitat",
    "{common} photographed at close range",
    "Close view of a {common} with its {colour} parts in sight",
    '<b>{common}</b>, <i>{scientific}</i>, <a href="https://example.org/place">nature reserve</a>',
    "The {common} is a common sight here in summer",
]
USELESS_TEXTS = [
    "DSC_{number:04d}.JPG", "IMG {number}", "Image", "photo", "", "untitled", "017A{number:04d}.NEF", "Own work",
    "https://example.org/{number}", "Picture {number}", "SONY DSC", "Creative Commons Attribution-Share Alike 4.0",
]  # fmt: skip


def plan_benchmark(species: Sequence[Species], per_species: int) -> list[TestPicture]:
    """The benchmark's pictures: a third of each species in `dev`, the others in `test`."""
    pictures = []
    places = {"dev": 0, "test": 0}
    for number in range(per_species):
        split = "dev" if number % 3 == 0 else "test"
        for label, shown in enumerate(species):
            key = f"{split}/s{places[split]:07d}"
            places[split] += 1
            pictures.append(TestPicture(shown.scientific_name, label, split, key, FIRST_TEST_SEED + number))
    return pictures


def plan_files(species: Sequence[Species], per_species: int, tests: Sequence[TestPicture], seed: int) -> list[FilePage]:
    """All file pages, in the order of their page ids."""
    pages: list[FilePage] = []
    for shown in species:
        for number in range(per_species):
            original = _make(shown, species, number, len(pages), seed)
            pages.append(original)
            pages.extend(_copies(original, shown, species, len(pages), seed))
    by_name = {shown.scientific_name: shown for shown in species}
    for test in tests:
        for kind in ("exact", "reencoded"):
            draw = random.Random(stable_hash(seed, "leak", kind, test.key))
            if draw.random() < SHARE[f"leak-{kind}"]:
                leak = _make(by_name[test.species], species, test.picture_seed, len(pages), seed, copy_kind=kind)
                pages.append(replace_page(leak, benchmark_key=test.key, fault=None))
    return pages


def truth_row(page: FilePage, sha256: str | None) -> dict[str, Any]:
    """What the mirror knows of a file page, as a row of `TRUTH`."""
    return {
        "candidateID": candidate_id("commons", page.title),
        "sourceID": page.title,
        "accessURI": f"http://{page.host}{page.path}",
        "scientificName": page.species,
        "pictureID": page.picture_id,
        "fault": page.fault,
        "copyKind": page.copy_kind,
        "copyOf": page.copy_of and candidate_id("commons", page.copy_of),
        "benchmarkKey": page.benchmark_key,
        "quality": page.quality,
        "scale": page.scale,
        "textFault": page.text_fault,
        "sha256": sha256,
    }


def replace_page(page: FilePage, **changes: Any) -> FilePage:
    """The page with some fields changed."""
    return FilePage(**{**page.__dict__, **changes})


def as_json(page: FilePage) -> str:
    """A page as one line of JSON."""
    return json.dumps(asdict(page), ensure_ascii=False)


def from_json(line: str) -> FilePage:
    """A page from its line of JSON."""
    content = json.loads(line)
    return FilePage(**{**content, "license": tuple(content["license"])})


def _copies(
    original: FilePage, shown: Species, species: Sequence[Species], first: int, seed: int
) -> Iterator[FilePage]:
    for kind in ("exact", "reencoded"):
        draw = random.Random(stable_hash(seed, "copy", kind, original.title))
        if original.fault is None and draw.random() < SHARE[f"copy-{kind}"]:
            copy = _make(shown, species, original.picture_seed, first, seed, copy_kind=kind)
            scale, quality = (original.scale, original.quality) if kind == "exact" else (copy.scale, copy.quality)
            yield replace_page(copy, copy_of=original.title, scale=scale, quality=quality, fault=None)
            first += 1


def _make(
    shown: Species, species: Sequence[Species], picture_seed: int, page_id: int, seed: int, copy_kind: str | None = None
) -> FilePage:
    draw = random.Random(stable_hash(seed, "page", shown.scientific_name, picture_seed, copy_kind))
    fault = _pick(draw, ("dead-host", "not-found", "too-small")) if copy_kind is None else None
    text_fault = _pick(draw, ("useless-text", "wrong-text"))
    name = shown.vernacular_name if draw.random() < 0.5 else shown.scientific_name
    title = f"{name[:1].upper()}{name[1:]} {page_id + 1:05d}.jpg"
    if text_fault == "useless-text":
        title = f"DSC {page_id + 1:05d}.jpg"
    reencoded = copy_kind == "reencoded"
    return FilePage(
        title=title,
        page_id=page_id + 1,
        species=shown.scientific_name,
        picture_seed=picture_seed,
        quality=draw.randint(30, 95) if reencoded else 90,
        scale=round(draw.uniform(0.25, 1.0), 3) if reencoded else (0.12 if fault == "too-small" else 1.0),
        description=_describe(draw, shown, species, text_fault),
        categories=f"{shown.scientific_name}|Files of the mirror",
        license=draw.choice(LICENSES),
        artist=_artist(draw.randint(1, 40)),
        fault=fault,
        copy_kind=copy_kind,
        text_fault={"useless-text": "useless", "wrong-text": "wrong"}.get(text_fault or ""),
    )


def _artist(number: int) -> str:
    return f'<a href="//{COMMONS_HOST}/wiki/User:Person_{number}">Person &amp; {number}</a>'


def _pick(draw: random.Random, faults: Sequence[str]) -> str | None:
    place = draw.random()
    for fault in faults:
        if place < SHARE[fault]:
            return fault
        place -= SHARE[fault]
    return None


def _describe(draw: random.Random, shown: Species, species: Sequence[Species], text_fault: str | None) -> str:
    if text_fault == "useless-text":
        return draw.choice(USELESS_TEXTS).format(number=draw.randint(1, 9999))
    if text_fault == "wrong-text":
        shown = draw.choice([other for other in species if other is not shown] or list(species))
    template = draw.choice(GOOD_TEXTS)
    return template.format(
        common=shown.vernacular_name, scientific=shown.scientific_name, colour=draw.choice(shown.colours or ("small",))
    )
