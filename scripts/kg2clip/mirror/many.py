"""The mirror at scale: as many file pages and pictures as are asked for, made when they are asked for.

A second Commons, for measurements. Its API stands at http://many.mirror.test/COUNT/w/api.php and knows the first COUNT
pages; page and picture of a number are the same at every COUNT, follow from the mirror's seed and the number alone, and
are stored nowhere. So one small mirror serves a thousand candidates and ten million, in the same memory.

A picture is put together from bands of a few hundred drawn ones, without decoding: a JPEG with restart markers can be
cut at them, and bands encoded alike fit together (ITU-T T.81, E.1.4). Its middle shows the species, the bands around it
parts of other pictures. Links are dead, copies planted and texts spoilt at the rates of `plan`; of copies there are
exact, re-encoded and mirrored ones, each of a page with a lower number.
"""

from __future__ import annotations

import copy
import io
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, overload

import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web
from PIL import Image

from kg2clip import provenance, tables
from kg2clip.files import atomic_path, read_json, sha256_bytes
from kg2clip.identifiers import bucket, candidate_id, stable_hash
from kg2clip.mirror import graph, subjects
from kg2clip.mirror.build import READY, Species, choose_species, curie, draw
from kg2clip.mirror.commons import Pages, wiki_page
from kg2clip.mirror.plan import Alteration, FilePage, make_page, pick, truth_row
from kg2clip.mirror.truth import TRUTH
from kg2clip.progress import Progress
from kg2clip.texts import clean

HOST = "many.mirror.test"
FILE_HOSTS = tuple(f"files{number}.{HOST}" for number in range(8))
FIRST_PAGE = 10_000_000  # page ids begin here, so that titles differ from those of the mirror's Commons

BASES = 3  # drawn pictures of a species that its pictures show; around it one of each
BANDS = 6  # of a picture
MIDDLE = (2, 3)  # bands that show the species
BAND_ROWS = 4  # rows of 16 pixels, the blocks that JPEG codes together
PLAIN = Alteration()
REENCODED = (Alteration(quality=30), Alteration(quality=50), Alteration(quality=75), Alteration(scale=0.5))
COPY_KINDS = ("exact", "reencoded", "mirrored")
TRIES = 5  # drawn numbers among which a copy looks for a page that can be copied
SPDX = {"cc-by-sa-4.0": "CC-BY-SA-4.0", "cc-by-4.0": "CC-BY-4.0", "cc-zero": "CC0-1.0", "pd": "public-domain",
        "cc-by-sa-3.0": "CC-BY-SA-3.0"}  # fmt: skip
ROWS = 20_000  # of a table that are in memory at a time
_clean = lru_cache(maxsize=10_000)(clean)  # few texts differ


class Bands(NamedTuple):
    """A JPEG cut at its restart markers."""

    head: bytes
    body: Sequence[bytes]


class Many(Pages):
    """All pages, by their numbers from 0; a search sees the first `count`."""

    def __init__(self, collection: str, species: Sequence[Species], seed: int, count: int = 0) -> None:
        self._collection, self.species, self._seed, self.count = collection, species, seed, count
        self._all = [shown.scientific_name for shown in choose_species(collection, 0)]
        self._names = {
            name.casefold(): place
            for place, shown in enumerate(species)
            for name in (*shown.synonyms, *shown.aliases, shown.vernacular_name, shown.scientific_name)
        }

    def limited_to(self, count: int) -> Many:
        """The same pages, of which a search sees so many."""
        limited = copy.copy(self)
        limited.count = count
        return limited

    def page(self, number: int) -> FilePage:
        """The page of a number."""
        draw = random.Random(stable_hash(self._seed, "many", number))
        kind = pick(draw, [f"copy-{kind}" for kind in COPY_KINDS])
        original = self._original(number, draw) if kind else None
        if kind is None or original is None:
            return self._make(number)
        kind = kind.removeprefix("copy-")
        strength = {"reencoded": draw.choice(REENCODED), "mirrored": Alteration(mirrored=True)}.get(kind, PLAIN)
        return replace(
            self._make(number, kind),
            pictured=original.pictured,
            picture_seed=original.picture_seed,
            copy_of=original.title,
            alteration=strength,
        )

    def _original(self, number: int, draw: random.Random) -> FilePage | None:
        """A page of the same species with a lower number that shows a picture of its own."""
        for _ in range(TRIES if number >= len(self.species) else 0):
            other = number - len(self.species) * draw.randint(1, number // len(self.species))
            if pick(random.Random(stable_hash(self._seed, "many", other)), [f"copy-{kind}" for kind in COPY_KINDS]):
                continue
            page = self._make(other)
            if page.fault is None:
                return page
        return None

    def _make(self, number: int, copy_kind: str | None = None) -> FilePage:
        shown = self.species[number % len(self.species)]
        page = make_page(shown, self.species, number, FIRST_PAGE + number, self._seed, copy_kind)
        fault = page.fault if page.fault in ("dead-host", "not-found") else None
        host = page.host if fault == "dead-host" else FILE_HOSTS[number % len(FILE_HOSTS)]
        address = f"http://{host}/{number}.jpg"
        return replace(page, fault=fault, subject="photograph", alteration=PLAIN, address=address)

    def content(self, page: FilePage) -> bytes | None:
        """The picture of a page, put together; None for a dead link."""
        if page.fault:
            return None
        chosen = random.Random(stable_hash(self._seed, "bands", page.picture_seed))
        first = BASES * self._seed
        shown = [
            (page.pictured, first + chosen.randrange(BASES)) if band in MIDDLE else (chosen.choice(self._all), first)
            for band in range(BANDS)
        ]
        bands = [_bands(self._collection, *one, page.alteration) for one in shown]
        # A comment makes the bytes of each picture its own, also where two show the same bands.
        return commented(bands[0].head, str(page.picture_seed)) + b"".join(
            one.body[place] for place, one in enumerate(bands)
        )

    def search(self, text: str) -> Sequence[FilePage]:
        """The pages of the species that a text names; of a text with more words a quarter, another for other words."""
        rest = " ".join(word for word in text.casefold().split() if ":" not in word).replace('"', "")
        for name in sorted((name for name in self._names if name in rest), key=len, reverse=True)[:1]:
            more = rest.replace(name, "").split()
            step, start = (4, bucket(" ".join(more), 4)) if more else (1, 0)
            first, kinds = self._names[name] + start * len(self.species), len(self.species)
            return Numbered(self, range(first, self.count, step * kinds))
        return []

    def titled(self, title: str) -> FilePage | None:
        """The page of a title."""
        found = re.search(r"(\d+)\.jpg$", title)
        number = int(found[1]) - FIRST_PAGE - 1 if found else -1
        page = self.page(number) if 0 <= number < self.count else None
        return page if page and page.title == title else None

    def candidates(self) -> Iterator[dict[str, Any]]:
        """What a search for every species would find, as rows of `CANDIDATES`, by number."""
        nodes = graph.name_nodes(graph.collect_taxa([], self.species).values())
        entities = {shown.scientific_name: curie(nodes[shown.taxon_id]) for shown in self.species}
        retrieved = provenance.now()
        for number in range(self.count):
            page = self.page(number)
            code, short, link = page.license
            yield {
                "candidateID": candidate_id("commons", page.title),
                "source": "commons",
                "sourceID": page.title,
                "accessURI": page.url,
                "originalURI": page.url,
                "furtherInformationURL": wiki_page(page),
                "title": page.title.removesuffix(".jpg"),
                "description": _clean(page.description),
                "format": "image/jpeg",
                "license": SPDX[code],
                "licenseOriginal": short,
                "licenseURL": link or None,
                "creator": _clean(page.artist),
                "retrieved": retrieved,
                "queryIDs": [stable_hash("many", page.species)],
                "entityIDs": [entities[page.species]],
                "rank": number // len(self.species),
            }

    def truth(self) -> Iterator[dict[str, Any]]:
        """What is known of every page, as rows of `TRUTH`, by number."""
        for number in range(self.count):
            page = self.page(number)
            content = self.content(page)
            yield truth_row(page, sha256_bytes(content) if content else None)


class Numbered(Sequence[FilePage]):
    """Pages by their numbers, made when they are looked at."""

    def __init__(self, many: Many, numbers: range) -> None:
        self._many, self._numbers = many, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> FilePage: ...
    @overload
    def __getitem__(self, place: slice) -> list[FilePage]: ...
    def __getitem__(self, place: int | slice) -> FilePage | list[FilePage]:
        if isinstance(place, slice):
            return [self._many.page(number) for number in self._numbers[place]]
        return self._many.page(self._numbers[place])


class ManySite:
    """The API, and the hosts of the pictures."""

    hosts: tuple[str, ...] = (HOST, *FILE_HOSTS)

    def __init__(self, folder: Path) -> None:
        self._many = standing(folder)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An API answer, or a picture."""
        if request.host.split(":")[0] == HOST:
            found = re.fullmatch(r"/(\d+)/w/api\.php", request.path)
            return (
                web.json_response(self._many.limited_to(int(found[1])).answer(request.query)) if found else _missing()
            )
        found = re.fullmatch(r"/(\d+)\.jpg", request.path)
        content = self._many.content(self._many.page(int(found[1]))) if found else None
        return web.Response(body=content, content_type="image/jpeg") if content else _missing()


def standing(folder: Path, count: int = 0) -> Many:
    """The pages of a built mirror."""
    settings = read_json(folder / READY)["settings"]
    species = choose_species(settings["collection"], settings["species"])
    return Many(settings["collection"], species, settings["seed"], count)


def write(rows: Iterator[dict[str, Any]], count: int, schema: pa.Schema, path: Path) -> None:
    """Write `count` rows as Parquet, a part at a time."""
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for first in Progress(range(0, count, ROWS), desc=path.name, unit=f"parts of {ROWS}"):
            part = [next(rows) for _ in range(min(ROWS, count - first))]
            writer.write_table(tables.as_table(part, schema))


def write_candidates(many: Many, path: Path, truth: Path | None = None) -> None:
    """Write the table that a search for every species would end in, and the truth if wanted."""
    write(many.candidates(), many.count, tables.CANDIDATES, path)
    if truth:
        write(many.truth(), many.count, TRUTH, truth)


@cache
def _bands(collection: str, name: str, picture_seed: int, alteration: Alteration) -> Bands:
    """The bands of a drawn picture, or of an altered copy of it."""
    if alteration == PLAIN:
        picture = draw(collection, name, picture_seed)
    else:
        plain = _bands(collection, name, picture_seed, PLAIN)
        picture = subjects.alter(Image.open(io.BytesIO(plain.head + b"".join(plain.body))), alteration)
    buffer = io.BytesIO()
    rows = round(BAND_ROWS * alteration.scale)
    picture.save(buffer, "JPEG", quality=alteration.quality, restart_marker_rows=rows)
    return cut(buffer.getvalue())


def cut(jpeg: bytes) -> Bands:
    """Cut a JPEG at its restart markers; each band but the first begins with its marker, the last ends the file."""
    place = 2
    while jpeg[place + 1] != 0xDA:  # start of scan
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    return Bands(jpeg[:place], re.split(rb"(?=\xff[\xd0-\xd7])", jpeg[place:]))


def commented(head: bytes, text: str) -> bytes:
    """The beginning of a JPEG file with a comment after its first segment, JFIF's."""
    end = 4 + int.from_bytes(head[4:6], "big")
    return head[:end] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text.encode() + head[end:]


def _missing() -> web.Response:
    return web.Response(status=404, text="<html><body>File not found</body></html>", content_type="text/html")
