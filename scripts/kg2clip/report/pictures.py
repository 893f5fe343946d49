"""Pictures of the report: read by position from the tars, made small, put into the page as data."""

from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from kg2clip import tars
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes
from kg2clip.report.results import Results, Row

log = logging.getLogger(__name__)

LONG_SIDE = 160  # pixels
JPEG_QUALITY = 80
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Thumbnail:
    """A small JPEG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def thumbnail(content: bytes) -> Thumbnail | None:
    """Shrink a picture to a long side of 160 px; None if Pillow refuses it."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            opened.draft("RGB", (LONG_SIDE, LONG_SIDE))
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("a picture can't be shown: %s", error)
        return None
    picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(), *picture.size)


def read(path: Path, offset: int, size: int) -> bytes | None:
    """Read `size` bytes at `offset`; None if the file is absent or too short."""
    try:
        return tars.read_at(path, offset, size)
    except UserError as error:
        log.warning("a picture can't be shown: %s", error)
        return None


@dataclass
class Pictures:
    """Finds the pictures of a run: packed ones, decoded ones and those of the benchmarks."""

    results: Results
    _members: dict[tuple[str, str], dict[str, tars.Member]] = field(default_factory=dict)

    def packed(self, sample: Row) -> Thumbnail | None:
        """The picture of a row of the dataset's manifest.

        Raises:
            UserError: the shard is absent or holds something else.
        """
        shard = self.results.folder / "dataset" / sample["shard"]
        content = read(shard, sample["offset"], sample["size"])
        if content is None or sha256_bytes(content) != sample["sha256"]:
            manifest = self.results.folder / "dataset" / "manifest.parquet"
            raise UserError(
                f"{shard} does not hold the picture {sample['key']} that {manifest} describes. "
                f"Pack it again with: snakemake --force {manifest}"
            )
        return thumbnail(content)

    def decoded(self, tar: str | None, offset: int | None, size: int | None) -> Thumbnail | None:
        """A picture of the decoded tars, at the place that the feature table gives; None if it is no longer stored."""
        if tar is None or offset is None or size is None:
            return None
        content = read(self.results.folder / "curate" / tar, offset, size)
        return thumbnail(content) if content is not None else None

    def benchmark(self, name: str | None, key: str | None) -> Thumbnail | None:
        """A benchmark's picture by its `split/key`; under an unknown name all benchmarks are searched for it."""
        split, _, member = (key or "").rpartition("/")
        known = self.results.benchmarks
        for folder in [known[name]] if name in known else list(known.values()):
            place = self._index(folder, split).get(member)
            content = read(place.tar, place.offset, place.size) if place else None
            if content is not None:
                return thumbnail(content)
        return None

    def _index(self, folder: Path, split: str) -> dict[str, tars.Member]:
        known = self._members.get((str(folder), split))
        if known is not None:
            return known
        paths = sorted((folder / split).glob("*.tar")) if split else []
        members = [member for path in paths for member in tars.members(path)]
        found = {Path(member.name).stem: member for member in members if member.name.lower().endswith(SUFFIXES)}
        self._members[str(folder), split] = found
        return found
