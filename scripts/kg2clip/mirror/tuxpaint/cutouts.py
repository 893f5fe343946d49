"""The cut-outs: PNG files with transparency, where the Debian package has put them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kg2clip.errors import UserError
from kg2clip.mirror.rendered import COLOURS

Pixels = NDArray[np.uint8]

PACKAGE = "tuxpaint-stamps-default"
STAMPS = Path("/usr/share/tuxpaint/stamps")

# Pixels of a cut-out's longer side: more than 400 a picture of 480 x 360 does not show; the smallest files have 50,
# whose pixels would stand out as squares if they were not enlarged smoothly.
_SHORTEST, _LONGEST = 200, 400
_SHARE = 0.15  # of the votes that a colour needs to be named
_MOST_COLOURS = 3
_MEASURED = 64  # pixels of the longer side: enough for shares of an area
_LAB_WEIGHTS = np.array([0.35, 1, 1], np.float32)


def is_installed() -> bool:
    """Say whether the package stands on this machine, with every cut-out that kinds.csv names."""
    from kg2clip.mirror.tuxpaint.kinds import species  # kinds needs this module

    return all((STAMPS / name).is_file() for kind in species() for name in kind.all_cutouts)


@cache
def load(name: str) -> Pixels:
    """Read a cut-out as premultiplied RGBA of shape (height, width, 4), trimmed to what is not transparent.

    Raises:
        UserError: the file is not there.
    """
    try:
        with Image.open(STAMPS / name) as file:
            picture = file.convert("RGBA")
    except FileNotFoundError:
        raise UserError(
            f"{STAMPS / name} is not there, which the picture collection `tuxpaint` needs. Type: apt-get install "
            f"{PACKAGE}, or choose `mirror.collection: rendered`"
        ) from None
    picture = picture.crop(picture.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox())
    pixels = np.asarray(picture)
    alpha = cv2.merge([np.ascontiguousarray(pixels[..., 3])] * 3)
    colour = cv2.multiply(np.ascontiguousarray(pixels[..., :3]), alpha, scale=1 / 255)
    premultiplied = np.dstack([colour, pixels[..., 3]])
    side = max(premultiplied.shape[:2])
    return resized(premultiplied, min(max(side, _SHORTEST), _LONGEST) / side)


def resized(pixels: Pixels, scale: float) -> Pixels:
    """Multiply the sides of premultiplied RGBA by `scale`: shrunk by averaging areas, enlarged by cubic curves."""
    if scale == 1:
        return pixels
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    alpha = np.ascontiguousarray(scaled[..., 3])
    return np.dstack([cv2.min(np.ascontiguousarray(scaled[..., :3]), cv2.merge([alpha] * 3)), alpha])


def measure_colours(names: Iterable[str]) -> tuple[str, ...]:
    """Name the main colours of cut-outs in the words of `rendered.COLOURS`, largest share first.

    Each pixel votes for the word nearest to it in CIELAB. Lightness counts less than hue, since it is light and shade
    as much as colour, and a vivid pixel more than a grey one: a red comb is worth more than its area.
    """
    words = _lab(np.array(list(COLOURS.values()), np.uint8)) * _LAB_WEIGHTS
    share = np.zeros(len(words))
    for name in names:
        pixels = load(name)
        pixels = resized(pixels, _MEASURED / max(pixels.shape[:2]))
        solid = pixels[pixels[..., 3] >= 128].astype(np.float32)
        colours = _lab(np.minimum(solid[:, :3] * 255 / solid[:, 3:], 255).astype(np.uint8))
        nearest = np.linalg.norm(colours[:, None] * _LAB_WEIGHTS - words, axis=2).argmin(axis=1)
        vividness = 1 + np.hypot(colours[:, 1], colours[:, 2]) / 20
        share += np.bincount(nearest, weights=vividness, minlength=len(words)) / vividness.sum()
    share /= share.sum()
    order = sorted(range(len(words)), key=lambda index: -share[index])[:_MOST_COLOURS]
    return tuple(list(COLOURS)[index] for index in order if share[index] >= _SHARE)


def _lab(colours: Pixels) -> NDArray[np.float32]:
    """Turn sRGB of shape (n, 3) into CIELAB (D65): L in 0 to 100, a and b about -127 to 127."""
    lab = cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return np.asarray(lab[0], dtype=np.float32)
