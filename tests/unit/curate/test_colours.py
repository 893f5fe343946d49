"""Colours of copies: what may change in them and what may not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from textures import texture

from kg2clip.curate import colours

SEPIA = (0.393, 0.769, 0.189, 0, 0.349, 0.686, 0.168, 0, 0.272, 0.534, 0.131, 0)
Grade = Callable[[Image.Image], Image.Image]


def parts(image: Image.Image) -> colours.Colours:
    small = image.resize((64, 64), Image.Resampling.HAMMING)
    return np.frombuffer(colours.parts(small), np.uint8).reshape(1, colours.PARTS, 3)


def picture(seed: int) -> Image.Image:
    """A texture that is red here and blue there, under a sky."""
    image = texture(seed, 300, 200)
    for place, colour in (
        ((0, 0, 300, 60), "#a8c8f0"),
        ((20, 80, 140, 190), "#a03020"),
        ((170, 90, 280, 180), "#204080"),
    ):
        image.paste(Image.blend(image, Image.new("RGB", image.size, colour), 0.6).crop(place), place)
    return image


def gains(red: float, green: float, blue: float) -> Grade:
    def graded(image: Image.Image) -> Image.Image:
        channels = zip(image.split(), (red, green, blue), strict=True)
        return Image.merge("RGB", [channel.point(lambda level, by=by: int(level * by)) for channel, by in channels])

    return graded


def turned(degrees: int) -> Grade:
    def recoloured(image: Image.Image) -> Image.Image:
        hue, saturation, value = image.convert("HSV").split()
        hue = hue.point(lambda level: (level + degrees * 256 // 360) % 256)
        return Image.merge("HSV", (hue, saturation, value)).convert("RGB")

    return recoloured


GRADES: dict[str, Grade] = {
    "grey": lambda image: image.convert("L").convert("RGB"),
    "sepia": lambda image: image.convert("RGB", SEPIA),
    "warm": gains(1.12, 1, 0.85),
    "cool": gains(0.88, 1, 1.12),
    "faded": lambda image: ImageEnhance.Color(image).enhance(0.5),
    "vivid": lambda image: ImageEnhance.Color(image).enhance(1.4),
    "dark": lambda image: image.point(lambda level: int(level * 0.7)),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "brighter in the middle": lambda image: image.point(lambda level: int(255 * (level / 255) ** 0.75)),
    "cut a little": lambda image: ImageOps.crop(image, 3),
}
OTHERS: dict[str, Grade] = {
    "red for blue": lambda image: Image.merge("RGB", image.split()[::-1]),
    "green for red": turned(120),
    "opposite hues": turned(180),
}


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("seed", range(3))
def test_a_grade_makes_no_other_picture(grade: str, seed: int) -> None:
    one = parts(picture(seed))
    other = parts(GRADES[grade](picture(seed)))
    assert colours.same_colours(one, other).all() and colours.same_colours(other, one).all()


@pytest.mark.parametrize("change", OTHERS)
@pytest.mark.parametrize("seed", range(3))
def test_other_hues_do(change: str, seed: int) -> None:
    one = parts(picture(seed))
    other = parts(OTHERS[change](picture(seed)))
    assert not colours.same_colours(one, other).any() and not colours.same_colours(other, one).any()


def test_many_pairs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grades = [*GRADES.values(), *OTHERS.values()]
    ones = np.concatenate([parts(picture(1))] * len(grades))
    others = np.concatenate([parts(grade(picture(1))) for grade in grades])
    whole = colours.same_colours(ones, others)
    assert whole.tolist() == [True] * len(GRADES) + [False] * len(OTHERS)
    monkeypatch.setattr(colours, "CHUNK", 2)
    assert (colours.same_colours(ones, others) == whole).all()
    assert len(colours.same_colours(ones[:0], others[:0])) == 0


def test_pictures_without_colours_agree() -> None:
    assert colours.same_colours(parts(Image.new("RGB", (9, 9), "#808080")), parts(Image.new("RGB", (9, 9), "white")))[0]
