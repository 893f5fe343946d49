"""One picture: a drawn scene, a cut-out with its shadow in the light of that scene, the camera.

Scenes are those of `rendered`, drawn evenly whatever the kind, so that only the cut-out gives the kind away.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kg2clip.identifiers import stable_hash
from kg2clip.mirror.rendered import scenes
from kg2clip.mirror.tuxpaint.cutouts import Pixels, load, resized
from kg2clip.mirror.tuxpaint.kinds import Kind

FIRST_SCENE_SEED = 1_000_000
FIRST_HELD_OUT_SEED = 2_000_000

_SCENES = tuple(sorted({one for habitat in scenes.HABITATS.values() for one in habitat}, key=lambda one: one.__name__))
_TILT = 15.0  # degrees
_LEAVES = ((70, 116, 50), (120, 132, 60), (96, 72, 44))


def draw(
    kind: Kind, picture_seed: int, width: int = 480, height: int = 360, individual: int | None = None
) -> Image.Image:
    """Compose one RGB picture. The same kind, seeds and size always give the same pixels.

    Args:
        individual: seed of the cut-out, one for all pictures of an individual; by default the picture's.

    Raises:
        UserError: the package is not installed.
        ValueError: the seed asks for a held-out cut-out of a kind that has none.
    """
    rng = np.random.default_rng(int(stable_hash("tuxpaint", kind.taxon_id, picture_seed, length=16), 16))
    pixels = _background(rng, width, height)
    individual = picture_seed if individual is None else individual
    chosen = np.random.default_rng(int(stable_hash("individual", kind.taxon_id, individual, length=16), 16))
    cutout = _placed(rng, load(choose_cutout(kind, individual, chosen)), width, height)
    pixels = _over(pixels, _shadow(rng, cutout))
    pixels = _over(pixels, _lit(rng, cutout))
    if rng.random() < 0.3:
        _occlude(rng, pixels)
    return Image.fromarray(_photograph(rng, pixels))


def choose_cutout(kind: Kind, picture_seed: int, rng: np.random.Generator) -> str:
    """Choose the cut-out that a picture shows, by the range of its seed (see the package's docstring)."""
    if picture_seed < FIRST_HELD_OUT_SEED:
        return kind.cutouts[int(rng.integers(len(kind.cutouts)))]
    if not kind.held_out:
        raise ValueError(f"{kind.scientific_name} has no held-out cut-out, so no picture of seed {picture_seed}")
    return kind.held_out


def _background(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Draw any scene, half of the time out of focus."""
    choices = scenes.COMMON if rng.random() < 0.25 else _SCENES
    pixels = choices[int(rng.integers(len(choices)))](rng, width, height)
    return _blurred(pixels, width / 480 * rng.uniform(1, 6)) if rng.random() < 0.5 else pixels


def _placed(rng: np.random.Generator, cutout: Pixels, width: int, height: int) -> Pixels:
    """Lay a cut-out on a transparent canvas: 40 to 90 % of the frame, mirrored or not, tilted, seen a little askew."""
    angle = math.radians(rng.uniform(-_TILT, _TILT))
    squeeze, shear, mirror = rng.uniform(0.85, 1.0), rng.normal(0, 0.06), rng.choice([-1, 1])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn @ np.array([[mirror * squeeze, shear], [0, 1]])
    rows, columns = cutout.shape[:2]
    extent = np.abs(linear) @ (columns, rows)  # of the turned cut-out's frame
    scale = min(width / extent[0], height / extent[1]) * rng.uniform(0.4, 0.9)
    free = np.maximum(0, np.array([width, height]) - scale * extent)
    centre = np.array([width, height]) / 2 + free * rng.uniform(-0.5, 0.5, 2)
    small = resized(cutout, min(1.0, scale))  # a warp alone would leave out pixels
    rows, columns = small.shape[:2]
    linear = linear * scale * (cutout.shape[1] / columns)
    matrix = np.column_stack([linear, centre - linear @ ((columns - 1) / 2, (rows - 1) / 2)])
    return np.asarray(cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def _shadow(rng: np.random.Generator, cutout: Pixels) -> Pixels:
    """Cast a soft shadow down and to one side, as premultiplied RGBA."""
    height, width = cutout.shape[:2]
    quarter = (width // 4, height // 4)
    alpha = cv2.resize(np.ascontiguousarray(cutout[..., 3]), quarter, interpolation=cv2.INTER_AREA)
    move = np.array([[1, 0, rng.normal(0, 0.03) * quarter[0]], [0, 1, rng.uniform(0, 0.06) * quarter[1]]])
    soft = cv2.GaussianBlur(cv2.warpAffine(alpha, move, quarter), (0, 0), quarter[0] / 120 * rng.uniform(1.5, 4))
    dark = np.zeros((height, width, 4), np.uint8)
    dark[..., 3] = cv2.resize(cv2.convertScaleAbs(soft, alpha=rng.uniform(0.15, 0.6)), (width, height))
    return dark


def _lit(rng: np.random.Generator, cutout: Pixels) -> Pixels:
    """Put a cut-out into a light of its own: brightness, colour temperature, an uneven shade across it."""
    height, width = cutout.shape[:2]
    alpha = np.ascontiguousarray(cutout[..., 3])
    light = rng.uniform(0.75, 1.2) * (1 + 0.25 * scenes.noise(rng, width // 4, height // 4, 2, 2))
    light = cv2.resize(np.clip(light, 0.35, 1.6), (width, height), interpolation=cv2.INTER_LINEAR)
    warmth = rng.normal(0, 0.06)
    factors = cv2.merge([cv2.convertScaleAbs(light, alpha=128 * gain) for gain in (1 + warmth, 1.0, 1 - warmth)])
    lit = cv2.multiply(np.ascontiguousarray(cutout[..., :3]), factors, scale=1 / 128)
    return np.dstack([cv2.min(lit, cv2.merge([alpha] * 3)), alpha])


def _over(below: Pixels, above: Pixels) -> Pixels:
    """Lay premultiplied RGBA over RGB."""
    hole = cv2.merge([255 - above[..., 3]] * 3)
    return np.asarray(cv2.add(cv2.multiply(below, hole, scale=1 / 255), above[..., :3]), dtype=np.uint8)


def _occlude(rng: np.random.Generator, pixels: Pixels) -> None:
    """Let some blades or leaves hide a little of the picture."""
    if rng.random() < 0.5:
        scenes.grass(rng, pixels, int(rng.integers(3, 9)), rng.uniform(0.3, 0.6))
    else:
        scenes.leaves(rng, pixels, int(rng.integers(1, 4)), 0.14, _LEAVES)


def _photograph(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Expose the whole: uneven light, contrast, colour temperature; sometimes a lack of focus, sensor noise."""
    height, width = pixels.shape[:2]
    shade = np.clip(0.93 + 0.22 * scenes.noise(rng, width // 4, height // 4, 2, 2), 0.5, 1.0)
    shade = cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR)
    dimmed = cv2.multiply(pixels, cv2.merge([cv2.convertScaleAbs(shade, alpha=255)] * 3), scale=1 / 255)
    warmth, contrast, gain = rng.normal(0, 0.05), rng.uniform(0.8, 1.2), rng.uniform(0.85, 1.2)
    levels = ((np.arange(256) - 128) * contrast + 128) * gain
    curve = np.stack([levels * (1 + warmth), levels, levels * (1 - warmth)], axis=1)
    taken = np.asarray(cv2.LUT(dimmed, _bytes(curve)[None]), dtype=np.uint8)
    if rng.random() < 0.3:
        taken = _blurred(taken, width / 480 * rng.uniform(0.6, 1.8))
    if rng.random() < 0.4:
        grain = rng.normal(0, rng.uniform(3, 9), (height // 2, width // 2)).astype(np.float32)
        layer = cv2.merge([cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)] * 3)
        taken = np.asarray(cv2.add(taken, layer, dtype=cv2.CV_8U), dtype=np.uint8)
    return taken


def _blurred(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), dtype=np.uint8)


def _bytes(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
