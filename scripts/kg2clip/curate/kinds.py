"""What kind of picture it is: photograph, drawing, map, logo, specimen. A tag; nothing is dropped for it unasked.

Words of its texts tell, where there are any; else the colours. Few of them make a drawn picture: a photograph has
hundreds, even before a plain wall. Colours are counted as 4 bits of each channel. *Ground* is what looks like the
picture's edge all around, *inks* the fewest colours that make up most of what is not ground, *palette* those of its
flat areas.

* drawing: hardly any chroma, on a light ground: pencil, engraving, line art
* logo: a plain edge all around and few inks, or large flat areas of two colours
* map: no such edge, large flat areas of few colours

What that can't see: coloured plates and paintings pass for photographs, a specimen too, unless a text says what it is;
a map whose sea reaches around it may pass for a logo, a grey photograph on white for a drawing. The limits were chosen
on 24 pictures of each kind and collection of the mirror. On others of tuxpaint, copies and crops among them, 877 of 879
photographs, all 60 drawings, 46 of 47 logos and 32 of 34 maps were told right, and so were 260 photographs of rendered
ones and 19 real ones. Other people's drawings, maps and logos were not at hand: for them nothing is known.
"""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOGRAPH, DRAWING, MAP, SPECIMEN, LOGO = KINDS = ("photograph", "drawing", "map", "specimen", "logo")

EDGE = 6  # pixels
NEAR = 24  # levels that the ground may differ from the edge's median
FLAT = 6  # levels between neighbours
GREY, GREYS = 12, 0.95  # levels between the strongest and the weakest channel, and the share of pixels below
LIGHT = 200  # level of paper
PLAIN = 0.02  # of the edge may be something else
LARGE = 0.4  # of the area
MOST, NEARLY_ALL = 0.7, 0.9
LOGO_INKS, LOGO_COLOURS, MAP_COLOURS = 5, 2, 6

# Whole words, as titles of Commons, GBIF and museums have them. "Map" alone is a butterfly, "specimen" a fine oak.
WORDS = {
    MAP: r"(distribution|range|locator|location|occurrence|topographic(al)?) maps?|maps? of|verbreitungskarte"
    r"|carte de r[ée]partition|mapa de distribuci[óo]n",
    LOGO: r"logos?|logotype|coats? of arms|pictograms?",
    SPECIMEN: r"herbarium( sheets?| specimens?)?|herbari[uo]|holotypes?|paratypes?|lectotypes?|syntypes?|neotypes?"
    r"|(museum|pinned|preserved|mounted|type|voucher) specimens?|taxiderm(y|ied)|mhnt",
    DRAWING: r"drawings?|illustrations?|engravings?|etchings?|lithographs?|woodcuts?|water ?colou?rs?|paintings?"
    r"|sketch(es)?|line art|clip ?art|cartoons?|botanical plates?",
}
_WORDS = {kind: re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) for kind, words in WORDS.items()}


def said(texts: str) -> str | None:
    """The kind that a picture's texts name; None where they name none."""
    return next((kind for kind, words in _WORDS.items() if words.search(texts)), None)


def seen(image: Image.Image) -> str:
    """The kind by the colours of an upright RGB picture: photograph, drawing, map or logo."""
    pixels = np.asarray(image)
    frame = np.ones(pixels.shape[:2], bool)
    frame[EDGE:-EDGE, EDGE:-EDGE] = False
    ground = np.median(pixels[frame], axis=0).astype(np.uint8)
    rest = _extremes(cv2.absdiff(pixels, np.full_like(pixels, ground)))[0] > NEAR
    strongest, weakest = _extremes(pixels)
    chroma = cv2.subtract(strongest, weakest)[rest]
    if ground.min() >= LIGHT and len(chroma) and np.quantile(chroma, GREYS) <= GREY:
        return DRAWING
    red, green, blue = (channel.astype(np.uint16) >> 4 for channel in cv2.split(pixels))
    colours = red << 8 | green << 4 | blue
    if rest[frame].mean() <= PLAIN:
        return LOGO if _fewest(colours[rest], MOST) <= LOGO_INKS else PHOTOGRAPH
    flat = _flat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    if flat.mean() < LARGE or (count := _fewest(colours[flat], NEARLY_ALL)) > MAP_COLOURS:
        return PHOTOGRAPH
    return LOGO if count <= LOGO_COLOURS else MAP


def _extremes(pixels: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The strongest and the weakest channel of each pixel."""
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.max(cv2.max(red, green), blue)), np.asarray(cv2.min(cv2.min(red, green), blue))


def _flat(grey: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that hardly differ from all their neighbours."""
    around = np.ones((3, 3), np.uint8)
    return cv2.subtract(cv2.dilate(grey, around), cv2.erode(grey, around)) <= FLAT


def _fewest(colours: NDArray[Any], share: float) -> int:
    """How few colours make up a share of some pixels."""
    counts = np.sort(np.bincount(colours))[::-1]
    return int(np.searchsorted(np.cumsum(counts), share * len(colours))) + 1
