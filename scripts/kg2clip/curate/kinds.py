"""What kind of picture it is: photograph, drawing, map, logo, specimen. A tag; nothing is dropped for it unasked.

Words of its texts tell, where there are any; else the colours. Few of them make a drawn picture: a photograph has
hundreds, even before a plain wall. *Ground* is what looks like the picture's edge, *inks* the fewest colours that make
up most of what is not ground (colours of 4 bits a channel).

* drawing: hardly any chroma, on a light ground: pencil, engraving, line art
* logo: mostly ground along the edge, few inks, and these flat in large part, as no cut-out photograph is
* map: no such edge, large flat areas of few colours and few shades (6 bits a channel; a sky that fades has many)

What that can't see: coloured plates and paintings pass for photographs, a specimen too, unless a text says what it is;
a map whose sea reaches around it may pass for a logo, one in black on white for a drawing, a grey icon too.

The limits were chosen on pictures of the mirror (seed 1), whose drawings, maps and logos come from one program each,
and on 80 cut-out photographs of animals on white. Of tuxpaint's in seeds 2 and 3 1,655 of 1,658 photographs, all 108
drawings and 41 logos and 37 of 38 maps are told right; of rendered ones of seed 1 31 of 35 maps, and 3 of 66
photographs, the six hardest among them, pass for maps. Other people's pictures, what there was on one Debian: all 19
photographs are told right and 86 of 89 cut-outs of food and plants; of 15 line drawings 11 (3 pass for photographs, 1
for a map); all 12 maps in black on white pass for drawings; of 74 icons 38 are logos and 27 drawings; of 116 cartoons
70 pass for photographs. Maps and logos of the web are less plain than the mirror's: what is found of them is not known.
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
PLAIN = 0.2  # of the edge may be something else
LARGE, DRAWN = 0.4, 0.25  # flat parts of the whole, and of what is not ground
MOST, NEARLY_ALL = 0.7, 0.9
LOGO_INKS, MAP_COLOURS, MAP_SHADES = 5, 6, 40

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
    flat = _flat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    if not rest.any() or flat[rest].mean() < DRAWN:
        return PHOTOGRAPH
    if rest[frame].mean() <= PLAIN:
        return LOGO if _fewest(_coded(pixels[rest], 4), MOST) <= LOGO_INKS else PHOTOGRAPH
    limits = ((4, MAP_COLOURS), (6, MAP_SHADES))
    few = flat.mean() >= LARGE and all(_fewest(_coded(pixels[flat], bits), NEARLY_ALL) <= most for bits, most in limits)
    return MAP if few else PHOTOGRAPH


def _extremes(pixels: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The strongest and the weakest channel of each pixel."""
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.max(cv2.max(red, green), blue)), np.asarray(cv2.min(cv2.min(red, green), blue))


def _flat(grey: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that hardly differ from all their neighbours."""
    around = np.ones((3, 3), np.uint8)
    return cv2.subtract(cv2.dilate(grey, around), cv2.erode(grey, around)) <= FLAT


def _coded(colours: NDArray[Any], bits: int) -> NDArray[np.uint32]:
    """Colours (n x 3) as numbers, of so many bits a channel."""
    red, green, blue = colours.T.astype(np.uint32) >> (8 - bits)
    return np.asarray(red << 2 * bits | green << bits | blue)


def _fewest(colours: NDArray[Any], share: float) -> int:
    """How few colours make up a share of some pixels."""
    counts = np.sort(np.bincount(colours))[::-1]
    return int(np.searchsorted(np.cumsum(counts), share * len(colours))) + 1
