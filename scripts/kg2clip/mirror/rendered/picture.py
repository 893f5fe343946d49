"""One picture: a scene, one to three individuals in their light, what stands before them, the camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from kg2clip.identifiers import stable_hash
from kg2clip.mirror.rendered import birds, fishes, flowers, insects, mammals, mushrooms, scenes
from kg2clip.mirror.rendered.canvas import Canvas, Pixels
from kg2clip.mirror.rendered.look import Look
from kg2clip.mirror.rendered.table import Species

Drawer = Callable[[Canvas, Look], None]


@dataclass(frozen=True)
class BodyPlan:
    """How a group is drawn: the drawer, its half extents in drawing units, the largest tilt in degrees.

    `sociable` is the chance of more than one individual in a picture; `shadow` says whether one falls behind it.
    """

    drawer: Drawer
    half_width: float
    half_height: float
    tilt: float
    sociable: float = 0.2
    shadow: bool = True


PLANS: dict[str, BodyPlan] = {
    "bees": BodyPlan(insects.bee, 0.95, 1.0, 180),
    "butterflies": BodyPlan(insects.butterfly, 1.2, 1.0, 60),
    "beetles": BodyPlan(insects.beetle, 0.95, 1.1, 180),
    "dragonflies": BodyPlan(insects.dragonfly, 1.1, 0.95, 180),
    "birds": BodyPlan(birds.bird, 1.25, 1.0, 14),
    "mammals": BodyPlan(mammals.mammal, 1.2, 0.95, 6),
    "mushrooms": BodyPlan(mushrooms.mushroom, 0.95, 1.05, 12, sociable=0.45),
    "flowers": BodyPlan(flowers.flower, 0.8, 0.92, 18, sociable=0.4, shadow=False),
    "fishes": BodyPlan(fishes.fish, 1.15, 0.9, 24, sociable=0.3),
}


def draw(
    species: Species, picture_seed: int, width: int = 480, height: int = 360, individual: int | None = None
) -> Image.Image:
    """Draw one RGB picture. The same species, seeds and size always give the same pixels.

    Args:
        individual: seed of the main individual's own tints; by default another one in each picture.
    """
    rng = np.random.default_rng(int(stable_hash("rendered", species.scientific_name, picture_seed, length=16), 16))
    plan = PLANS[species.group]
    pixels = scenes.background(rng, species.word("habitat"), width, height)
    if rng.random() < 0.35:
        pixels = _blurred(pixels, width / 480 * rng.uniform(1, 5))
    *others, main = _places(rng, plan, width, height)
    for place in others:
        pixels = _put(rng, pixels, plan, Look(species, rng, int(rng.integers(2**32))), place)
    pixels = _put(rng, pixels, plan, Look(species, rng, picture_seed if individual is None else individual), main)
    if rng.random() < 0.3:
        _occlude(rng, pixels)
    return Image.fromarray(_photograph(rng, pixels))


def _blurred(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), dtype=np.uint8)


def _places(rng: np.random.Generator, plan: BodyPlan, width: int, height: int) -> list[tuple[float, float, float]]:
    """Choose x, y and pixels a unit for each individual; the main one comes last, hence in front."""
    fit = min(width / plan.half_width, height / plan.half_height) / 2
    size = fit * rng.uniform(0.66, 1.02)
    free_x = max(0.0, width / 2 - size * plan.half_width) * 0.8
    free_y = max(0.0, height / 2 - size * plan.half_height) * 0.8
    x, y = width / 2 + rng.uniform(-free_x, free_x), height / 2 + rng.uniform(-free_y, free_y)
    places = [(x, y, size)]
    if rng.random() < plan.sociable:
        for _ in range(int(rng.integers(1, 3))):
            smaller = size * rng.uniform(0.4, 0.7)
            side = rng.choice([-1, 1])
            places.insert(0, (x + side * width * rng.uniform(0.28, 0.5), y + rng.normal(0, 0.15) * height, smaller))
    return places


def _put(
    rng: np.random.Generator, pixels: Pixels, plan: BodyPlan, look: Look, place: tuple[float, float, float]
) -> Pixels:
    """Draw one individual, light it and lay it over the scene with its shadow."""
    height, width = pixels.shape[:2]
    x, y, size = place
    blank = Canvas.blank(width, height)
    mirrored = rng.choice([-1, 1])
    squeeze = rng.uniform(0.86, 1.08)  # seen a little from the side
    canvas = blank.at(x, y, rng.uniform(-plan.tilt, plan.tilt), size * mirrored * squeeze, size)
    plan.drawer(canvas, look)
    alpha = np.ascontiguousarray(blank.pixels[..., 3])
    if plan.shadow:
        pixels = _over(pixels, _shadow(rng, alpha, size))
    return _over(pixels, _lit(rng, blank.pixels, alpha, size))


def _over(below: Pixels, above: Pixels) -> Pixels:
    """Lay premultiplied RGBA over RGB."""
    hole = cv2.merge([255 - above[..., 3]] * 3)
    return np.asarray(cv2.add(cv2.multiply(below, hole, scale=1 / 255), above[..., :3]), dtype=np.uint8)


def _shadow(rng: np.random.Generator, alpha: Pixels, size: float) -> Pixels:
    """Cast a soft shadow down and to one side."""
    height, width = alpha.shape
    small = cv2.resize(alpha, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    move = np.array([[1, 0, rng.normal(0, 0.04) * size], [0, 1, rng.uniform(0, 0.05) * size]], np.float32)
    small = cv2.GaussianBlur(cv2.warpAffine(small, move, (width // 4, height // 4)), (0, 0), 2.0)
    soft = cv2.resize(cv2.convertScaleAbs(small, alpha=rng.uniform(0.2, 0.6)), (width, height))
    dark = np.zeros((height, width, 4), np.uint8)
    dark[..., 3] = soft
    return dark


def _lit(rng: np.random.Generator, pixels: Pixels, alpha: Pixels, size: float) -> Pixels:
    """Give an individual form and texture: light from one side, shade on the other, fine mottling.

    The form comes from the outline: the blurred silhouette, moved towards the light less moved away from it, is
    bright along lit borders and dark along the others.
    """
    height, width = alpha.shape
    quarter = (width // 4, height // 4)
    form = cv2.GaussianBlur(
        cv2.resize(alpha, quarter, interpolation=cv2.INTER_AREA).astype(np.float32) / 255, (0, 0), max(1.0, size / 40)
    )
    angle = rng.uniform(-2.8, -0.3)  # the light comes from above
    reach = size / 40
    move = np.array([[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]], np.float32)
    away = np.array([[1, 0, -reach * np.cos(angle)], [0, 1, -reach * np.sin(angle)]], np.float32)
    relief = cv2.warpAffine(form, away, quarter) - cv2.warpAffine(form, move, quarter)
    light = 1 + rng.uniform(0.2, 0.5) * relief + 0.06 * scenes.noise(rng, *quarter, 30, 1)
    light = cv2.resize(light * np.float32(0.5), (width, height), interpolation=cv2.INTER_LINEAR)
    factor = cv2.convertScaleAbs(light, alpha=255)
    lit = cv2.multiply(np.ascontiguousarray(pixels[..., :3]), cv2.merge([factor] * 3), scale=2 / 255)
    return np.dstack([cv2.min(lit, cv2.merge([alpha] * 3)), alpha])


def _occlude(rng: np.random.Generator, pixels: Pixels) -> None:
    """Let some blades or a leaf hide a little of the picture."""
    if rng.random() < 0.6:
        scenes.grass(rng, pixels, int(rng.integers(3, 9)), rng.uniform(0.3, 0.7))
    else:
        scenes.leaves(rng, pixels, int(rng.integers(1, 4)), 0.15, ((70, 116, 50), (120, 132, 60), (96, 72, 44)))


def _photograph(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Light, exposure, colour temperature, then sometimes lack of focus and sensor noise."""
    height, width = pixels.shape[:2]
    shade = np.clip(0.93 + 0.22 * scenes.noise(rng, width, height, 2, 2), 0.5, 1.0)
    dimmed = cv2.multiply(pixels, cv2.merge([cv2.convertScaleAbs(shade, alpha=255)] * 3), scale=1 / 255)
    warmth, contrast, gain = rng.normal(0, 0.05), rng.uniform(0.8, 1.2), rng.uniform(0.85, 1.25)
    levels = (np.arange(256) - 128) * contrast + 128
    table = np.stack([levels * gain * (1 + warmth), levels * gain, levels * gain * (1 - warmth)], axis=1)
    lit: Pixels = np.asarray(cv2.LUT(dimmed, np.clip(np.rint(table), 0, 255).astype(np.uint8)[None]), dtype=np.uint8)
    if rng.random() < 0.3:
        lit = _blurred(lit, width / 480 * rng.uniform(0.6, 1.6))
    if rng.random() < 0.4:
        strength = int(rng.integers(4, 14))
        grain = rng.integers(0, 2 * strength + 1, (height, width), dtype=np.uint8)
        noisy = cv2.subtract(cv2.add(lit, cv2.merge([grain] * 3)), np.full_like(lit, strength))
        return np.asarray(noisy, dtype=np.uint8)
    return lit
