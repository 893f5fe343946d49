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
from dataclasses import asdict, dataclass, replace
from typing import Any

from kg2clip.identifiers import candidate_id, stable_hash
from kg2clip.mirror.faults import FAULTS, FAULTS_URL, placeholder_url
from kg2clip.mirror.oddities import ODDITIES
from kg2clip.mirror.rendered import Species
from kg2clip.mirror.truth import COPY_KINDS, LEAK_KINDS

UPLOAD_HOST = "upload.mirror.test"
COMMONS_HOST = "commons.mirror.test"
QUERY_HOST = "query.mirror.test"

PICTURES = "pictures"  # folder of a mirror's files
PAGES = "pages.jsonl"  # its file pages

SHARE = {  # of a species' pictures (copies, links, sizes, subjects), of the benchmark's (leaks), of all pages (texts)
    "copy-exact": 0.08,
    "copy-reencoded": 0.08,
    "copy-cropped": 0.03,
    "copy-watermarked": 0.03,
    "copy-mirrored": 0.03,
    "leak-exact": 0.05,
    "leak-reencoded": 0.05,
    "leak-cropped": 0.02,
    "leak-mirrored": 0.02,
    "leak-watermarked": 0.02,
    "dead-host": 0.02,
    "not-found": 0.03,
    "too-small": 0.02,
    "drawing": 0.02,
    "map": 0.01,
    "logo": 0.01,
    "wrong-species": 0.02,
    "useless-text": 0.22,
    "wrong-text": 0.06,
}
WIDTH, HEIGHT = 480, 360
FIRST_TEST_SEED = 1_000_000  # picture seeds of held-out pictures start here, so that no training picture has one

FIRST_ODD_SEED = 9_000_000
FIRST_REMOVED_SEED = 9_500_000
# Reasons that end a download for good; the others would leave it incomplete, as they should.
LASTING = frozenset(
    {
        "bad-url", "private-address", "too-large", "opt-out", "robots", "http-404", "http-410", "not-an-image", "empty",
        "too-many-redirects", "redirect-loop",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Alteration:
    """What was done to a picture before it was uploaded; strengths as design 5 fixes them."""

    quality: int = 90  # JPEG
    scale: float = 1.0  # of the sides
    crop: float = 0.0  # share of the area cut away, 0.01 to 0.1
    watermark: float = 0.0  # share of the area covered, 0.05 to 0.12
    mirrored: bool = False


def draw_alteration(draw: random.Random, copy_kind: str | None) -> Alteration:
    """The alteration of a copy of some kind."""
    if copy_kind == "reencoded":
        return Alteration(quality=draw.randint(30, 95), scale=round(draw.uniform(0.25, 1.0), 3))
    if copy_kind == "cropped":
        return Alteration(crop=round(draw.uniform(0.01, 0.1), 3))
    if copy_kind == "watermarked":
        return Alteration(watermark=round(draw.uniform(0.05, 0.12), 3))
    return Alteration(mirrored=copy_kind == "mirrored")


@dataclass(frozen=True)
class FilePage:
    """A file page of the mirror's Commons, with its truth."""

    title: str
    page_id: int
    species: str  # scientific name, as the page says
    pictured: str  # scientific name of what the picture shows
    picture_seed: int
    alteration: Alteration
    description: str  # HTML, as in extmetadata
    categories: str
    license: tuple[str, str, str]  # code, short name, URL
    artist: str  # HTML
    subject: str = "photograph"
    fault: str | None = None
    copy_kind: str | None = None
    copy_of: str | None = None  # title
    benchmark_key: str | None = None
    text_fault: str | None = None
    text_kind: str | None = None  # of a useless text
    address: str | None = None  # where the file is said to lie, if not in its own place
    expected: str | None = None  # the reason for which that must be dropped

    @property
    def picture_id(self) -> str:
        """The same for all copies of one picture."""
        return f"{self.pictured}#{self.picture_seed}#{self.subject}"

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

    @property
    def url(self) -> str:
        """The file's address, as its page gives it."""
        return self.address or f"http://{self.host}{self.path}"


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
USELESS_TEXTS = [  # with their kinds, of truth.USELESS_KINDS
    ("DSC_{number:04d}.JPG", "file name"), ("IMG {number}", "file name"), ("Image", "generic"), ("photo", "generic"),
    ("", "empty"), ("untitled", "generic"), ("017A{number:04d}.NEF", "file name"), ("Own work", "licence"),
    ("https://example.org/{number}", "address"), ("Picture {number}", "file name"), ("SONY DSC", "generic"),
    ("Creative Commons Attribution-Share Alike 4.0", "licence"),
]  # fmt: skip


def plan_benchmark(
    species: Sequence[Species], per_species: int, first_seed: int = FIRST_TEST_SEED
) -> list[TestPicture]:
    """The benchmark's pictures: a third of each species in `dev`, the others in `test`."""
    pictures = []
    places = {"dev": 0, "test": 0}
    for number in range(per_species):
        split = "dev" if number % 3 == 0 else "test"
        for label, shown in enumerate(species):
            key = f"{split}/s{places[split]:07d}"
            places[split] += 1
            pictures.append(TestPicture(shown.scientific_name, label, split, key, first_seed + number))
    return pictures


def plan_files(species: Sequence[Species], per_species: int, tests: Sequence[TestPicture], seed: int) -> list[FilePage]:
    """All file pages, in the order of their page ids."""
    pages: list[FilePage] = []
    for shown in species:
        for number in range(per_species):
            original = make_page(shown, species, number, len(pages), seed)
            pages.append(original)
            pages.extend(_copies(original, shown, species, len(pages), seed))
    by_name = {shown.scientific_name: shown for shown in species}
    for test in tests:
        for kind in LEAK_KINDS:
            draw = random.Random(stable_hash(seed, "leak", kind, test.key))
            if draw.random() < SHARE[f"leak-{kind}"]:
                leak = make_page(by_name[test.species], species, test.picture_seed, len(pages), seed, copy_kind=kind)
                pages.append(replace(leak, benchmark_key=test.key))
    return pages


def plan_oddities(species: Sequence[Species], first: int, seed: int) -> list[FilePage]:
    """File pages whose links or pictures must be dropped for good: those of the hostile hosts (docs/mirror.md)."""
    odd = [("odd-link", fault.url, fault.reason) for fault in FAULTS if fault.reason in LASTING]
    odd += [
        ("odd-picture", f"{FAULTS_URL}/pictures/{oddity.file}", oddity.refused)
        for oddity in ODDITIES
        if oddity.refused and not oddity.lost
    ]
    pages = []
    for number, (fault, address, reason) in enumerate(odd):
        shown = species[number % len(species)]
        page = make_page(shown, species, FIRST_ODD_SEED + number, first + number, seed, copy_kind="odd")
        pages.append(replace(page, copy_kind=None, fault=fault, address=address, expected=reason))
    return pages


def plan_placeholders(species: Sequence[Species], first: int, seed: int) -> list[FilePage]:
    """File pages, one for every other species, whose host shows a placeholder in place of the picture."""
    pages = []
    for number, shown in enumerate(species[::2], start=1):
        page = make_page(shown, species, FIRST_REMOVED_SEED + number, first + number - 1, seed, copy_kind="odd")
        pages.append(replace(page, copy_kind=None, fault="placeholder", address=placeholder_url(number)))
    return pages


def truth_row(page: FilePage, sha256: str | None) -> dict[str, Any]:
    """What the mirror knows of a file page, as a row of `TRUTH`."""
    return {
        "candidateID": candidate_id("commons", page.title),
        "sourceID": page.title,
        "accessURI": page.url,
        "scientificName": page.species,
        "pictured": page.pictured,
        "subject": page.subject,
        "pictureID": page.picture_id,
        "fault": page.fault,
        "copyKind": page.copy_kind,
        "copyOf": page.copy_of and candidate_id("commons", page.copy_of),
        "benchmarkKey": page.benchmark_key,
        "quality": page.alteration.quality,
        "scale": page.alteration.scale,
        "crop": page.alteration.crop,
        "watermark": page.alteration.watermark,
        "textFault": page.text_fault,
        "textKind": page.text_kind,
        "expectedReason": page.expected,
        "sha256": sha256,
    }


def as_json(page: FilePage) -> str:
    """A page as one line of JSON."""
    return json.dumps(asdict(page), ensure_ascii=False)


def from_json(line: str) -> FilePage:
    """A page from its line of JSON."""
    content = json.loads(line)
    alteration = Alteration(**content.pop("alteration"))
    return FilePage(**{**content, "license": tuple(content["license"]), "alteration": alteration})


def _copies(
    original: FilePage, shown: Species, species: Sequence[Species], first: int, seed: int
) -> Iterator[FilePage]:
    if original.fault:
        return
    for kind in COPY_KINDS:
        draw = random.Random(stable_hash(seed, "copy", kind, original.title))
        if draw.random() >= SHARE[f"copy-{kind}"]:
            continue
        copy = make_page(shown, species, original.picture_seed, first, seed, copy_kind=kind)
        yield replace(copy, copy_of=original.title, pictured=original.pictured, subject=original.subject)
        first += 1


def make_page(
    shown: Species, species: Sequence[Species], picture_seed: int, page_id: int, seed: int, copy_kind: str | None = None
) -> FilePage:
    """A page of a species, with the faults that its seed and number bring; a copy has none but its text's."""
    draw = random.Random(stable_hash(seed, "page", shown.scientific_name, picture_seed, copy_kind))
    fault = pick(draw, ("dead-host", "not-found", "too-small")) if copy_kind is None else None
    oddity = pick(draw, ("drawing", "map", "logo", "wrong-species")) if copy_kind is None else None
    text_fault = pick(draw, ("useless-text", "wrong-text"))
    name = shown.vernacular_name if draw.random() < 0.5 else shown.scientific_name
    if text_fault == "useless-text":
        name = "DSC"
    pictured = _another(draw, shown, species) if oddity == "wrong-species" else shown
    small = replace(draw_alteration(draw, copy_kind), scale=0.12)
    alteration = small if fault == "too-small" else draw_alteration(draw, copy_kind)
    description, text_kind = _describe(draw, shown, species, text_fault)
    return FilePage(
        title=f"{name[:1].upper()}{name[1:]} {page_id + 1:05d}.jpg",
        page_id=page_id + 1,
        species=shown.scientific_name,
        pictured=pictured.scientific_name,
        picture_seed=picture_seed,
        alteration=alteration,
        description=description,
        categories=f"{shown.scientific_name}|Files of the mirror",
        license=draw.choice(LICENSES),
        artist=_artist(draw.randint(1, 40)),
        subject=oddity if oddity in ("drawing", "map", "logo") else "photograph",
        fault=fault,
        copy_kind=copy_kind,
        text_fault={"useless-text": "useless", "wrong-text": "wrong"}.get(text_fault or ""),
        text_kind=text_kind,
    )


def _another(draw: random.Random, shown: Species, species: Sequence[Species]) -> Species:
    return draw.choice([other for other in species if other is not shown] or list(species))


def _artist(number: int) -> str:
    return f'<a href="//{COMMONS_HOST}/wiki/User:Person_{number}">Person &amp; {number}</a>'


def pick(draw: random.Random, faults: Sequence[str]) -> str | None:
    """One of the faults, each with its share, or none."""
    place = draw.random()
    for fault in faults:
        if place < SHARE[fault]:
            return fault
        place -= SHARE[fault]
    return None


def _describe(
    draw: random.Random, shown: Species, species: Sequence[Species], text_fault: str | None
) -> tuple[str, str | None]:
    """A description, and its kind if it is useless."""
    if text_fault == "useless-text":
        template, kind = draw.choice(USELESS_TEXTS)
        return template.format(number=draw.randint(1, 9999)), kind
    if text_fault == "wrong-text":
        shown = _another(draw, shown, species)
    template = draw.choice(GOOD_TEXTS)
    colour = draw.choice(shown.colours or ("small",))
    return template.format(common=shown.vernacular_name, scientific=shown.scientific_name, colour=colour), None
