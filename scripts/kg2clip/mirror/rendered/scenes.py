"""Backgrounds: each a seeded scene with large structure of strong contrast, so that no two pictures hash alike.

Every scene takes a random generator and a size and returns RGB pixels of shape (height, width, 3). A habitat names
the scenes in which its species are shown; plain and blurred ones are shared by all, so that a background alone does
not give a species away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from kg2clip.mirror.rendered.canvas import Pixels, bend, ellipse, moved, ribbon, shaded, smooth
from kg2clip.mirror.rendered.colours import RGB

Field = NDArray[np.float32]
T = TypeVar("T")
Scene = Callable[[np.random.Generator, int, int], Pixels]


def noise(
    rng: np.random.Generator, width: int, height: int, cells: int, octaves: int = 3, stretch: float = 1.0
) -> Field:
    """Sum octaves of smooth random values in about -1 to 1; `stretch` above 1 draws them out sideways."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows = max(2, round(cells * 2**octave * height / width * stretch))
        columns = max(2, round(cells * 2**octave / stretch))
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total


def ramp(field: Field, colours: Sequence[RGB], low: float = -1.0, high: float = 1.0) -> Pixels:
    """Map values from `low` to `high` onto evenly spaced colours."""
    steps = np.linspace(0, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), steps, [c[i] for c in colours]) for i in range(3)], axis=1)
    levels = cv2.convertScaleAbs(np.clip(field, low, high) - low, alpha=255 / (high - low))
    return np.asarray(cv2.LUT(cv2.merge([levels] * 3), np.rint(table).astype(np.uint8)[None]), dtype=np.uint8)


def varied(rng: np.random.Generator, colour: RGB, amount: float = 0.15) -> RGB:
    """Jitter a colour in brightness, and a little in each channel."""
    factor = rng.uniform(1 - amount, 1 + amount) * rng.uniform(1 - amount / 4, 1 + amount / 4, 3)
    red, green, blue = (int(v) for v in np.clip(np.asarray(colour) * factor, 0, 255))
    return red, green, blue


def _one(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def paint(pixels: Pixels, outline: NDArray[np.float64], colour: RGB) -> None:
    """Fill an outline in pixel coordinates."""
    cv2.fillPoly(pixels, [np.rint(outline * 16).astype(np.int32)], colour, lineType=cv2.LINE_AA, shift=4)


def grass(rng: np.random.Generator, pixels: Pixels, count: int, reach: float) -> None:
    """Paint blades that rise from the lower edge to `reach` of the height."""
    height, width = pixels.shape[:2]
    for _ in range(count):
        start = (rng.uniform(-0.05, 1.05) * width, height * rng.uniform(0.98, 1.1))
        blade = bend(start, -90 + rng.normal(0, 14), height * reach * rng.uniform(0.4, 1.1), rng.normal(0, 45), 6)
        colour = varied(rng, _one(rng, ((70, 120, 44), (112, 152, 60), (44, 88, 40), (160, 164, 92))), 0.25)
        paint(pixels, ribbon(blade, np.linspace(width * rng.uniform(0.008, 0.022), 0.5, 6)), colour)


def leaves(rng: np.random.Generator, pixels: Pixels, count: int, size: float, colours: Sequence[RGB]) -> None:
    """Scatter pointed leaves with a lighter midrib."""
    height, width = pixels.shape[:2]
    for _ in range(count):
        length = width * size * rng.uniform(0.5, 1.4)
        spine = bend((rng.uniform(0, width), rng.uniform(0, height)), rng.uniform(0, 360), length, rng.normal(0, 30), 7)
        colour = varied(rng, _one(rng, colours), 0.3)
        paint(pixels, ribbon(spine, np.array([0, 0.3, 0.45, 0.45, 0.36, 0.2, 0]) * length), colour)
        rib = np.rint(spine * 16).astype(np.int32)
        cv2.polylines(pixels, [rib], False, varied(rng, colour, 0.3), 1, cv2.LINE_AA, 4)


def _split(rng: np.random.Generator, width: int, height: int, above: Pixels, below: Pixels, at: float) -> Pixels:
    """Join two scenes along an uneven horizon at the fraction `at` of the height."""
    line = at * height + noise(rng, width, 4, 4, 3)[0] * height * rng.uniform(0.02, 0.09)
    line += (np.arange(width) - width / 2) * rng.normal(0, 0.08)
    return np.where((np.arange(height)[:, None] < line[None, :])[..., None], above, below)


def sky(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Clouds on blue, or a bright overcast with dark clouds."""
    clouds = noise(rng, width, height, int(rng.integers(2, 5)), 4, 1.7) + rng.uniform(-0.3, 0.3)
    palettes: tuple[list[RGB], ...] = (
        [(74, 128, 196), (120, 170, 220), (224, 232, 238), (250, 250, 248)],
        [(112, 128, 148), (168, 178, 188), (226, 226, 222)],
        [(46, 82, 150), (238, 180, 140), (250, 224, 190)],
    )
    return ramp(clouds, _one(rng, palettes), -0.8, 0.9)


def meadow(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Grassland, mostly with a horizon, blades and dots of flowers."""
    ground = ramp(noise(rng, width, height, 5, 4, 0.5), [(52, 84, 34), (104, 142, 54), (166, 176, 88)], -1.1, 1.1)
    pixels = ground
    if rng.random() < 0.7:
        pixels = _split(rng, width, height, sky(rng, width, height), ground, rng.uniform(0.15, 0.6))
    for _ in range(int(rng.integers(0, 30))):
        colour = _one(rng, ((240, 214, 60), (240, 240, 236), (170, 90, 180), (214, 60, 60)))
        radius = width * rng.uniform(0.004, 0.014)
        paint(pixels, ellipse(rng.uniform(0, width), rng.uniform(0.5, 1) * height, radius, radius), colour)
    grass(rng, pixels, int(rng.integers(10, 40)), rng.uniform(0.2, 0.6))
    return pixels


def foliage(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Leaves near and far over dark gaps."""
    pixels = ramp(noise(rng, width, height, 4, 3), [(18, 34, 18), (54, 92, 40), (122, 158, 70)], -1, 1)
    greens = ((58, 110, 46), (90, 142, 58), (36, 76, 40), (140, 168, 74), (70, 104, 66))
    leaves(rng, pixels, int(rng.integers(12, 26)), rng.uniform(0.14, 0.3), greens)
    return pixels


def litter(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Forest floor: fallen leaves on dark soil, some moss."""
    pixels = ramp(noise(rng, width, height, 4, 4), [(36, 26, 20), (84, 62, 42), (96, 104, 50)], -1, 1)
    browns = ((140, 92, 48), (104, 66, 38), (172, 124, 66), (86, 58, 40), (120, 112, 56), (196, 150, 90))
    leaves(rng, pixels, int(rng.integers(22, 44)), rng.uniform(0.1, 0.2), browns)
    return pixels


def woodland(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Trunks before a light or a dark depth, over a floor."""
    depth = ramp(noise(rng, width, height, 3, 3), [(40, 60, 40), (126, 152, 96), (214, 222, 180)], -1, 1)
    pixels = _split(rng, width, height, depth, litter(rng, width, height), rng.uniform(0.5, 0.85))
    for _ in range(int(rng.integers(2, 6))):
        x, thick = rng.uniform(0, width), width * rng.uniform(0.03, 0.13)
        trunk = bend((x, height * rng.uniform(0.75, 1.05)), -90 + rng.normal(0, 4), height * 1.2, rng.normal(0, 12), 6)
        colour = varied(rng, _one(rng, ((74, 58, 46), (112, 98, 84), (52, 44, 40), (196, 190, 182))), 0.2)
        paint(pixels, ribbon(trunk, np.linspace(thick, thick * 0.7, 6)), colour)
    return pixels


def bark(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Furrowed bark or weathered wood, upright or across."""
    grain = noise(rng, width, height, int(rng.integers(6, 12)), 3, rng.choice([0.35, 3.0]))
    grain += noise(rng, width, height, 2, 2)
    palettes: tuple[list[RGB], ...] = (
        [(40, 30, 24), (104, 82, 62), (158, 134, 108)],
        [(60, 60, 58), (136, 132, 124), (206, 202, 192)],
        [(66, 40, 26), (136, 88, 56), (196, 152, 108)],
    )
    return ramp(grain, _one(rng, palettes), -1.4, 1.4)


def sand(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Dunes, ripples and shadows."""
    angle = rng.uniform(-0.5, 0.5)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    waves = np.sin((y + angle * x) * rng.uniform(30, 90) + 6 * noise(rng, width, height, 3, 2))
    return ramp(
        0.35 * waves + noise(rng, width, height, 3, 3),
        [(120, 92, 66), (196, 164, 120), (232, 210, 168), (246, 232, 204)],
        -1.2,
        1.2,
    )


def stones(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Boulders and pebbles, lit from above, with lichen."""
    pixels = ramp(noise(rng, width, height, 6, 3), [(44, 44, 42), (92, 88, 82)], -1, 1)
    for _ in range(int(rng.integers(12, 30))):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), width * rng.uniform(0.05, 0.17)
        angles = np.linspace(0, 2 * np.pi, 8)[:-1] + rng.normal(0, 0.15, 7)
        shape = np.stack([np.cos(angles), 0.7 * np.sin(angles)], axis=1) * (radius * rng.uniform(0.75, 1.15, (7, 1)))
        colour = varied(rng, _one(rng, ((128, 126, 122), (164, 156, 144), (96, 98, 104), (140, 120, 100))), 0.2)
        paint(pixels, smooth(moved(shape, x, y)), shaded(colour, 0.6))
        paint(pixels, smooth(moved(shape * 0.88, x, y - radius * 0.09)), colour)
    return pixels


def water(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Rippled water with reflections, sometimes a bank."""
    ripples = noise(rng, width, height, int(rng.integers(4, 8)), 3, 2.5) * 0.6 + noise(rng, width, height, 2, 2)
    palettes: tuple[list[RGB], ...] = (
        [(20, 44, 54), (60, 104, 120), (150, 186, 196), (222, 234, 236)],
        [(30, 46, 28), (78, 104, 66), (150, 170, 130), (214, 222, 200)],
    )
    pixels = ramp(ripples, _one(rng, palettes), -1.2, 1.2)
    if rng.random() < 0.4:
        pixels = _split(rng, width, height, foliage(rng, width, height), pixels, rng.uniform(0.15, 0.45))
    if rng.random() < 0.5:
        grass(rng, pixels, int(rng.integers(5, 18)), rng.uniform(0.4, 0.9))
    return pixels


def snow(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Snow with blue shadows and bare patches of rock."""
    field = noise(rng, width, height, 3, 4)
    pixels = ramp(field, [(96, 116, 150), (176, 192, 214), (230, 236, 242), (250, 250, 250)], -1, 0.8)
    rock = ramp(noise(rng, width, height, 9, 2), [(52, 54, 58), (124, 118, 110)], -1, 1)
    bare = noise(rng, width, height, 3, 3) > rng.uniform(0.3, 0.7)
    pixels[bare] = rock[bare]
    if rng.random() < 0.4:
        pixels = _split(rng, width, height, sky(rng, width, height), pixels, rng.uniform(0.15, 0.5))
    return pixels


def savanna(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Dry grass under a wide sky, a flat-topped tree or two."""
    ground = ramp(noise(rng, width, height, 5, 4, 1.6), [(116, 88, 44), (186, 154, 88), (222, 200, 138)], -1, 1)
    horizon = rng.uniform(0.25, 0.6)
    pixels = _split(rng, width, height, sky(rng, width, height), ground, horizon)
    for _ in range(int(rng.integers(0, 4))):
        x, size, foot = rng.uniform(0, width), height * rng.uniform(0.15, 0.4), height * (horizon + rng.uniform(0, 0.2))
        paint(pixels, ribbon(bend((x, foot), -90, size, rng.normal(0, 20), 4), [size / 12] * 4), (70, 54, 40))
        crown = smooth(np.array([(-0.8, 0), (-0.4, -0.25), (0.5, -0.22), (0.9, 0), (0.1, 0.1)]) * size)
        paint(pixels, moved(crown, x, foot - size), varied(rng, (84, 96, 46)))
    return pixels


def reef(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Blue water above corals, fans and anemones."""
    pixels = ramp(noise(rng, width, height, 3, 3), [(8, 40, 84), (24, 96, 150), (96, 180, 206)], -1, 1)
    colours: tuple[RGB, ...] = (
        (196, 120, 104),
        (150, 110, 150),
        (210, 180, 110),
        (110, 140, 90),
        (90, 70, 80),
        (222, 200, 180),
        (170, 84, 110),
    )
    for _ in range(int(rng.integers(7, 16))):
        x, y, size = rng.uniform(0, width), height * rng.uniform(0.35, 1.1), width * rng.uniform(0.06, 0.2)
        colour = varied(rng, _one(rng, colours), 0.25)
        if rng.random() < 0.5:
            paint(pixels, smooth(ellipse(x, y, size, size * 0.7)[::4] + rng.normal(0, size * 0.12, (8, 2))), colour)
            continue
        for _ in range(9):
            arm = bend((x, y), -90 + rng.normal(0, 40), size * rng.uniform(0.9, 1.7), rng.normal(0, 60), 6)
            paint(pixels, ribbon(arm, np.linspace(size * 0.2, size * 0.1, 6)), varied(rng, colour, 0.12))
    return pixels


def open_water(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """The sea seen from within: shafts of light over a sandy or dark bottom."""
    shafts = noise(rng, width, height, int(rng.integers(3, 7)), 3, 0.3) + noise(rng, width, height, 2, 2)
    pixels = ramp(shafts, [(6, 32, 70), (18, 84, 132), (70, 160, 186), (176, 220, 222)], -1.3, 1.5)
    if rng.random() < 0.6:
        pixels = _split(rng, width, height, pixels, sand(rng, width, height), rng.uniform(0.55, 0.85))
    return pixels


def bokeh(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Out-of-focus lights and colours, as behind a close-up."""
    small = ramp(noise(rng, width // 4, height // 4, 3, 2), _tones(rng), -1, 1)
    for _ in range(int(rng.integers(10, 26))):
        radius = width // 4 * rng.uniform(0.03, 0.13)
        centre = rng.uniform(0, width // 4), rng.uniform(0, height // 4)
        paint(small, ellipse(*centre, radius, radius), _one(rng, _tones(rng)))
    soft = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.8, 2.2))
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def plain(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A sheet of paper or cloth: two or three flat tones with uneven borders and a soft shadow."""
    tones = _tones(rng)
    field = noise(rng, width, height, int(rng.integers(2, 5)), 2)
    bands = np.digitize(field, np.sort(rng.uniform(-0.5, 0.5, 2))).astype(np.float32) - 1
    return ramp(bands + 0.25 * noise(rng, width, height, 3, 3), tones, -1, 1)


def _tones(rng: np.random.Generator) -> list[RGB]:
    """Draw three muted tones, dark to light."""
    base = np.array(
        _one(
            rng,
            ((96, 120, 84), (150, 140, 120), (110, 130, 150), (150, 120, 130), (168, 156, 110), (120, 116, 112)),
        )
    )
    tones = [np.clip(base * factor + rng.normal(0, 14, 3), 0, 255) for factor in (0.45, 1.0, 1.6)]
    return [(int(t[0]), int(t[1]), int(t[2])) for t in tones]


COMMON: tuple[Scene, ...] = (bokeh, plain)
HABITATS: dict[str, tuple[Scene, ...]] = {
    "grassland": (meadow, meadow, sky, foliage),
    "garden": (foliage, meadow, bark, stones),
    "woodland": (woodland, litter, foliage, bark),
    "waterside": (water, water, foliage, sky),
    "savanna": (savanna, savanna, sand, sky),
    "desert": (sand, sand, stones, sky),
    "tundra": (snow, snow, stones, sky),
    "upland": (stones, meadow, sky, bark),
    "rainforest": (foliage, woodland, bark, sky),
    "reef": (reef, reef, reef, open_water),
}


def background(rng: np.random.Generator, habitat: str, width: int, height: int) -> Pixels:
    """Draw one of the scenes of a habitat; one picture in four stands before a scene common to all."""
    choices = COMMON if rng.random() < 0.25 else HABITATS[habitat]
    return _one(rng, choices)(rng, width, height)
