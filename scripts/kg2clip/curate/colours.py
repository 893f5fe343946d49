"""Whether two pictures of one layout agree in their colours, as far as copies do.

Luminances alone take a drawing in red for its like in blue: a logo, a flag, an icon in another colour. But copies may
differ in their colours too: made grey or sepia, faded, graded warmer or cooler, one more vivid than the other. All of
these change every colour of a picture in one way: its chroma by a factor, and a cast that grows with the light, as
gains of the channels give it; of a grey or toned copy the cast is all that is left. The change that fits best is found
in closed form; a copy has little left over wherever there is any colour. What is recoloured beyond that counts as
another picture.

Measured on 120 photographs of the mirror (tuxpaint, seed 1): grey, warmer, cooler, fainter, more vivid, darker copies,
copies of more contrast and of JPEG quality 30 at a quarter of the sides agree, all of them; of copies in sepia 27 and
of those with each channel stretched to its whole range 20 don't. Of 561 pairs of logos in different colours 459 are
told apart, of 34 logos in the opposite hue 28: the others have little chroma, or hues too near.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 4  # parts of a picture along each axis, of which the mean colours are kept
COLOURED, TINT = 24, 12  # levels of an opponent colour: from which a part bears it, and in which copies may differ
FADED, VIVID = 0.6, 1.5  # the factor of the chroma
CAST = 0.35  # as a share of the light, at most
TONED = 8  # levels that a grey or toned copy may differ from its cast anywhere
ENOUGH = 0.1  # of the parts must be coloured
SHARE = 0.6  # of the coloured parts, in which copies agree
PARTS = SIDE * SIDE
FLIPPED = np.arange(PARTS).reshape(SIDE, SIDE)[:, ::-1].ravel()  # the parts of the mirror image
CHUNK = 1 << 14  # pairs compared at once: 20 MB

Colours = NDArray[np.uint8]  # n x parts x red, green, blue
Levels = NDArray[np.float32]


def parts(thumbnail: Image.Image) -> bytes:
    """The mean colours of the 4 x 4 parts of a square picture, row by row: 48 bytes."""
    return thumbnail.reduce(thumbnail.width // SIDE).tobytes()


def same_colours(first: Colours, second: Colours) -> NDArray[np.bool_]:
    """Which of n pairs of pictures agree in their colours."""
    found = [
        _same(first[start : start + CHUNK], second[start : start + CHUNK]) for start in range(0, len(first), CHUNK)
    ]
    return np.concatenate([np.empty(0, bool), *found])


def _same(first: Colours, second: Colours) -> NDArray[np.bool_]:
    # Most copies have the same levels; what changed them is asked of the others only.
    same = np.asarray((np.abs(first.astype(np.int16) - second) <= TINT // 2).all(axis=(1, 2)))
    one, other = first[~same].astype(np.float32), second[~same].astype(np.float32)
    same[~same] = agreement(one, other) >= SHARE
    return same


def agreement(first: Levels, second: Levels, inside: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Share of the coloured parts in which the colours of one picture explain those of the other.

    Args:
        first, second: n x parts x red, green, blue, in levels of 0 to 255.
        inside: n x parts: which are compared; by default all.

    Returns:
        n shares; 1 where hardly any part is coloured.
    """
    there = np.ones(first.shape[:2], bool) if inside is None else inside
    return np.maximum(_explained(first, second, there), _explained(second, first, there))


def _explained(source: Levels, copy: Levels, there: NDArray[np.bool_]) -> NDArray[np.float64]:
    weight = there[..., None].astype(np.float32)
    chroma, wanted = _opponents(source) * weight, _opponents(copy) * weight
    light = source.mean(axis=2, keepdims=True) * weight
    # Least squares of wanted = factor * chroma + cast * light, with one factor for both opponent colours.
    lights = np.maximum((light**2).sum(axis=1), 1)
    mean, mean_wanted = (chroma * light).sum(axis=1) / lights, (wanted * light).sum(axis=1) / lights
    spread = (chroma**2).sum(axis=(1, 2)) - (mean**2 * lights).sum(axis=1)
    common = (chroma * wanted).sum(axis=(1, 2)) - (mean * mean_wanted * lights).sum(axis=1)
    factor = np.clip(common / np.maximum(spread, 1), FADED, VIVID)
    factor = np.where(_toned(wanted, copy.mean(axis=2, keepdims=True) * weight), 0, factor)[:, None]
    cast = np.clip(mean_wanted - factor * mean, -CAST, CAST)
    explained = factor[..., None] * chroma + cast[:, None] * light
    strongest = np.maximum(np.maximum(np.abs(chroma), np.abs(wanted)), np.abs(explained)).max(axis=2)
    coloured = there & (strongest > COLOURED)
    close = np.abs(explained - wanted).max(axis=2) <= TINT
    share = (coloured & close).sum(axis=1) / np.maximum(coloured.sum(axis=1), 1)
    return np.where(coloured.mean(axis=1) < ENOUGH, 1.0, share)


def _toned(chroma: Levels, light: Levels) -> NDArray[np.bool_]:
    """Whether pictures are grey, or of a single tone that grows with the light."""
    tone = (chroma * light).sum(axis=1) / np.maximum((light**2).sum(axis=1), 1)
    left = np.abs(chroma - np.clip(tone, -CAST, CAST)[:, None] * light)
    return np.asarray(left.max(axis=(1, 2)) <= TONED)


def _opponents(colours: NDArray[Any]) -> Levels:
    """Red against green, and blue against both."""
    red, green, blue = np.moveaxis(np.asarray(colours, np.float32), 2, 0)
    return np.stack([red - green, blue - (red + green) / 2], axis=2)
