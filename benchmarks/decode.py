"""Decode and resize: kg2clip's decoder against Pillow's plain path, on the same JPEG files, one core each.

The plain path is `Image.open(file).convert("RGB").resize(size, LANCZOS)`. Ours also checks formats and limits, turns,
and converts colours; it lets libjpeg decode at a half, a quarter or an eighth of the size where that leaves GAP times
the pixels wanted. The pictures are mosaics of the mirror's drawings, of the sizes that sources deliver: the mirror's,
iNaturalist's `large`, Commons' thumbnails, iNaturalist's originals, a camera of 12 megapixels. Differences are between
the two results, in levels of 0 to 255 over all pixels and channels.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import measure
from kg2clip.curate.decode import Rules, decode
from kg2clip.mirror import rendered

PACKAGES = ("pillow", "numpy")
SIZES = ((480, 360), (1024, 768), (1280, 960), (2048, 1536), (4000, 3000))
PICTURES, QUALITY = 4, 85
TILE = (480, 360)
RULES = Rules(short_side=256, jpeg_quality=90, background="#ffffff", max_pixels=50_000_000)


def run(scratch: Path) -> list[dict[str, Any]]:
    """A row for each size, baseline and progressive."""
    return [measured(size, progressive) for size in SIZES for progressive in (False, True)]


def notes() -> list[str]:
    """What the goal was, and where it can't be met."""
    return [
        "The goal is twice the pictures a second. Small files, whose half is not enough for GAP, are decoded whole: at "
        "480 x 360 the resampling, with the same filter on both sides, takes more than half of the time.",
        "The fingerprints and the kind that the stage takes of each picture are not in these times.",
        "Wall times of one process, in turns; other work took the same cores, so that the ratio is the measure.",
    ]


def measured(size: tuple[int, int], progressive: bool) -> dict[str, Any]:
    """Both ways over some pictures of a size."""
    files = [encoded(mosaic(size, seed), progressive) for seed in range(PICTURES)]
    took = measure.compare(
        {"plain": lambda: [plain(file) for file in files], "ours": lambda: [ours(file) for file in files]}
    )
    seconds = {row["variant"]: row["seconds"] for row in took}
    differences = np.stack([difference(plain(file), ours(file)) for file in files])
    return {
        "pixels": f"{size[0]} x {size[1]}",
        "JPEG": "progressive" if progressive else "baseline",
        "kB": round(sum(map(len, files)) / len(files) / 1000),
        "Pillow, pictures/s": PICTURES / seconds["plain"],
        "kg2clip, pictures/s": PICTURES / seconds["ours"],
        "times": 1 / took[1]["times plain"],
        "mean difference": float(differences.mean()),
        "99.9 % below": float(np.quantile(differences, 0.999)),
    }


def plain(content: bytes) -> Image.Image:
    """As one writes it without a second thought."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    scale = RULES.short_side / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def ours(content: bytes) -> Image.Image:
    """As the stage decodes."""
    return decode(content, RULES).image


def difference(one: Image.Image, other: Image.Image) -> np.ndarray:
    """Of all levels of two pictures of one size."""
    return np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))


def mosaic(size: tuple[int, int], seed: int) -> Image.Image:
    """Drawings side by side, each of another species and scene."""
    species, image = rendered.species(), Image.new("RGB", size)
    places = [(left, top) for top in range(0, size[1], TILE[1]) for left in range(0, size[0], TILE[0])]
    for number, place in enumerate(places, start=seed * len(places)):
        image.paste(rendered.draw(species[number % len(species)], number, *TILE), place)
    return image


def encoded(image: Image.Image, progressive: bool) -> bytes:
    """As a JPEG file of ordinary quality."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, progressive=progressive)
    return buffer.getvalue()
