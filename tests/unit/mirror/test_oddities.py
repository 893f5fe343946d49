"""Each picture of the gallery ends in the real decoder and the real filters as its entry says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kg2clip import settings, tables
from kg2clip.curate.decisions import decide
from kg2clip.curate.decode import Picture, RefusedError, Rules, decode
from kg2clip.curate.hashes import looks
from kg2clip.curate.observations import IDS
from kg2clip.files import sha256_bytes
from kg2clip.mirror import oddities
from kg2clip.mirror.oddities import FRAMES, ODDITIES, SIZE, Oddity

RULES = Rules(short_side=256, jpeg_quality=90, background="#ffffff", max_pixels=50_000_000)
SINGLE = ODDITIES[:-FRAMES]
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def read(file: str, rules: Rules = RULES) -> Picture:
    return decode(oddities.content(file)[1], rules)


def pixels(picture: Picture | Image.Image) -> np.ndarray:
    image = picture.image if isinstance(picture, Picture) else picture
    return np.asarray(image.convert("RGB")).astype(float)


def upright() -> np.ndarray:
    return pixels(oddities.scene().resize((341, 256), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("oddity", SINGLE, ids=[oddity.file for oddity in SINGLE])
def test_the_decoder(oddity: Oddity) -> None:
    if oddity.refused:
        with pytest.raises(RefusedError, match=f"^{oddity.refused}$"):
            read(oddity.file)
        return
    picture = read(oddity.file)
    assert ((picture.width, picture.height), picture.format) == (oddity.size, oddity.format)
    assert set(oddity.flags) <= set(picture.flags)


def test_the_filters_and_the_search_for_copies() -> None:
    """Of everything that decodes, what is left is what the entries say, and one frame of the camera trap (every fourth is tried)."""
    frames = ODDITIES[-FRAMES::4]
    lone = [oddity for oddity in SINGLE if not oddity.refused]
    rows = {}
    for oddity in [*(one for one in lone if one.dropped), *frames]:
        picture = read(oddity.file)
        seen = looks(picture.image)
        rows[oddity.file] = {
            "status": "decoded", "reason": None, "pictureKind": "photograph", "width": picture.width, "height": picture.height,
            "deviation": seen.deviation, "sha256": sha256_bytes(oddities.content(oddity.file)[1]),
            "pixelHash": seen.pixels, "pdq": seen.pdq, "pdqMirrored": seen.pdq_mirrored, "pdqQuality": seen.quality,
            "colours": seen.colours,
        }  # fmt: skip
    features = pd.DataFrame.from_dict(rows, orient="index").rename_axis("candidateID")
    texts: dict[str, Any] = {"license": "CC0-1.0", "title": None, "altText": None, "description": None}
    candidates = pd.DataFrame({"candidateID": list(rows), **texts}).reindex(columns=tables.CANDIDATES.names)
    downloads = pd.DataFrame({"status": "success", "reason": None, "accessURI": None}, index=features.index)
    config = settings.complete({"project": "t", "knowledge": {"roots": ["Q1"]}}, "test")
    benchmarks = pd.DataFrame(
        columns=[
            "benchmark",
            "benchmarkKey",
            "sha256",
            "pixelHash",
            "pdq",
            "pdqMirrored",
            "pdqQuality",
            "colours",
            *IDS,
        ]
    )
    decided = decide(candidates, downloads, features, benchmarks, config).set_index("candidateID")
    trap = decided[decided.index.str.startswith("trap-")]
    assert dict(trap["reason"].fillna("kept").value_counts()) == {"duplicate": len(frames) - 1, "kept": 1}
    assert {oddity.file: oddity.dropped for oddity in lone if oddity.dropped} == dict(
        decided.drop(trap.index)["reason"]
    )


def test_all_orientations_come_out_upright() -> None:
    for turn in range(1, 9):
        assert np.abs(pixels(read(f"exif-{turn}.jpg")) - upright()).mean() < 3
    stored = {oddities.content(f"exif-{turn}.jpg")[1][-2000:] for turn in range(1, 9)}
    assert len(stored) == 8  # they do differ


def test_deep_pictures_lose_nothing_but_depth() -> None:
    large = Rules(SIZE[1], 90, "#ffffff", 50_000_000)
    assert np.abs(pixels(read("deep.png", large)) - pixels(oddities.scene())).max() <= 1
    assert np.abs(pixels(read("deep-grey.png", large)) - pixels(oddities.scene().convert("L"))).max() <= 1


def test_transparency_shows_the_background() -> None:
    for file in ("cut-out.png", "grey-alpha.png"):
        assert np.allclose(pixels(read(file))[:5, :5], 255)


def test_display_p3_becomes_more_vivid_in_srgb() -> None:
    plain, converted = pixels(read("a-jpeg.png")), pixels(read("display-p3.jpg"))
    spread = np.ptp(plain, axis=2).mean(), np.ptp(converted, axis=2).mean()
    assert spread[1] > spread[0] * 1.05
    assert np.abs(plain - converted).mean() < 20  # still the same picture


def test_the_first_frame_is_taken() -> None:
    for file in ("animated.gif", "animated.webp", "pages.tif"):
        assert np.abs(pixels(read(file)) - upright()).mean() < 8


def test_small_files_may_be_large_pictures() -> None:
    content = oddities.content("bomb.png")[1]
    assert len(content) < 200_000
    assert int.from_bytes(content[16:20], "big") * int.from_bytes(content[20:24], "big") == 900_000_000


def test_another_process_makes_the_same_bytes() -> None:
    shown = [oddity.file for oddity in (*SINGLE, ODDITIES[-1])]
    program = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from kg2clip.mirror import oddities; import hashlib; "
        f"[print(hashlib.sha256(oddities.content(file)[1]).hexdigest()) for file in {shown!r}]"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert told == [sha256_bytes(oddities.content(file)[1]) for file in shown]
