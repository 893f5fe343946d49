"""Each picture that ../shared/bad-inputs.md names, in its words: the pixels expected, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kg2clip.curate.decode import RefusedError, Rules, decode
from kg2clip.curate.hashes import looks
from kg2clip.mirror import oddities

BAD_INPUTS = Path(__file__).resolve().parents[4] / "shared" / "bad-inputs.md"
RULES = Rules(short_side=256, jpeg_quality=90, background="#ffffff", max_pixels=50_000_000)
SCENE = oddities.scene

Pixels = Callable[[], Image.Image]


def stored(image: Image.Image) -> Image.Image:
    """As the decoder scales a picture of 480 x 360."""
    return image.resize((341, 256), Image.Resampling.LANCZOS)


def scene() -> Image.Image:
    return stored(SCENE())


def strip() -> Image.Image:
    return SCENE().resize(oddities.STRIP)


def panorama() -> Image.Image:
    width, height = oddities.PANORAMA
    image = Image.new("RGB", (width, height))
    for left in range(0, width, SCENE().width):
        image.paste(SCENE(), (left, 0))
    return image.resize((width * 256 // height, 256), Image.Resampling.LANCZOS)


def plain(colour: str) -> Pixels:
    return lambda: Image.new("RGB", (341, 256), colour)


# By line of the list: its words, the file of the gallery, the reason or the pixels and how far off they may be in the
# mean, in levels of 0 to 255 (what JPEG, WebP, AVIF and a palette of 256 colours cost).
EXPECTED: dict[str, list[tuple[str, str, str | Pixels, float]]] = {
    "Truncated JPEG at 30/60/90 %; garbage after the end marker; JPEG named .png": [
        ("30", "truncated-30.jpg", "truncated", 0),
        ("60", "truncated-60.jpg", "truncated", 0),
        ("90 %", "truncated-90.jpg", "truncated", 0),
        ("garbage after the end marker", "garbage.jpg", scene, 2),
        ("JPEG named .png", "a-jpeg.png", scene, 2),
    ],
    "Animated GIF/WebP, SVG, AVIF, HEIC, JPEG XL, multi-page TIFF, PDF": [
        ("Animated GIF", "animated.gif", scene, 8),
        ("WebP", "animated.webp", scene, 4),
        ("SVG", "drawing.svg", "svg", 0),
        ("AVIF", "photo.avif", scene, 4),
        ("HEIC", "photo.heic", "heic", 0),
        ("JPEG XL", "photo.jxl", "jpeg-xl", 0),
        ("JPEG XL", "boxed.jxl", "jpeg-xl", 0),
        ("multi-page TIFF", "pages.tif", scene, 0.1),
        ("PDF", "leaflet.pdf", "pdf", 0),
    ],
    "1x1, 5000x3, 30000x30000 one-bit PNG (bomb), 40,000 px panoramas (TreeOfLife-10M-WEBP card)": [
        ("1x1", "1x1.png", lambda: SCENE().resize((1, 1)), 0.1),
        ("5000x3", "strip.png", strip, 0.1),
        ("30000x30000 one-bit PNG (bomb)", "bomb.png", "too-many-pixels", 0),
        ("40,000 px panoramas", "panorama.jpg", panorama, 4),
    ],
    "Plain white or black image (hash quality), 300 near-equal frames of one camera trap": [
        ("Plain white", "white.jpg", plain("white"), 0.1),
        ("black image", "black.jpg", plain("black"), 0.1),
        # What becomes of all of them together: tests/unit/mirror/test_oddities.py.
        ("300 near-equal frames of one camera trap", "trap-000.jpg", scene, 8),
    ],
}
CASES = [(words, *rest) for cases in EXPECTED.values() for words, *rest in cases]


@pytest.mark.parametrize(("words", "file", "expected", "within"), CASES, ids=[case[1] for case in CASES])
def test_pixels_or_reason(words: str, file: str, expected: str | Pixels, within: float) -> None:
    content = oddities.content(file)[1]
    if isinstance(expected, str):
        with pytest.raises(RefusedError, match=f"^{expected}$"):
            decode(content, RULES)
        return
    found, wanted = decode(content, RULES).image, expected()
    assert found.mode == "RGB" and found.size == wanted.size
    assert np.abs(np.asarray(found, float) - np.asarray(wanted, float)).mean() <= within


@pytest.mark.parametrize("file", ["white.jpg", "black.jpg"])
def test_a_plain_picture_has_no_quality(file: str) -> None:
    seen = looks(decode(oddities.content(file)[1], RULES).image)
    assert (seen.quality, seen.deviation) == (0, 0)


def test_the_whole_list_is_here() -> None:
    if not BAD_INPUTS.exists():
        pytest.skip("../shared/bad-inputs.md is not on this machine")
    images = BAD_INPUTS.read_text(encoding="utf-8").partition("**Images**\n")[2].partition("\n\n")[0]
    assert [line.removeprefix("- ") for line in images.splitlines()] == list(EXPECTED)
    for line, cases in EXPECTED.items():
        assert all(words in line for words, *_ in cases)
