"""Bytes from the web to one upright sRGB picture, or the reason why not (design 6.4).

What the usual downloader gets wrong is done right here: EXIF orientation is applied, colour profiles are converted,
16 bits are scaled instead of clipped, transparent pixels stand on a declared background.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from kg2clip.settings import Settings

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP")
JPEG_LIMIT = 65500  # pixels of a side that libjpeg can write
# Of the wanted sides at least, when libjpeg decodes at a half, a quarter or an eighth. Against decoding whole (measured
# by benchmarks/decode.py) values are 0.9 levels off in the mean at most, one in a thousand 11. With a gap of 2 pictures
# of 1024 x 768, the size of most, would be decoded whole, which takes 2.6 times as long.
GAP = 1.5
ORIENTATION = 0x0112  # the EXIF tag
# Passes over the whole picture that a progressive JPEG may ask for; cameras and programs write 10 or so. A file of 1 MB
# can ask for thousands, each of a tenth of a second.
MOST_SCANS = 500
START_OF_SCAN = b"\xff\xda"
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a TIFF tag; Pillow minds it up to 8 bits
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDES_SWAPPED = (5, 6, 7, 8)

# The limit of pixels is ours: it is checked on the header, before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


class RefusedError(Exception):
    """A picture that is not used; the message is the reason, in one word of the features table."""


@dataclass(frozen=True)
class Rules:
    """How pictures are decoded: the keys of the config that change a decoded picture."""

    short_side: int
    jpeg_quality: int
    background: str
    max_pixels: int

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules that a config states."""
        curate = settings["curate"]
        return cls(curate["short_side"], curate["jpeg_quality"], curate["background"], curate["max_pixels"])


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        image: upright RGB, scaled down to the short side.
        format: as found in the bytes, not as named.
        width, height: of the original, upright, in pixels.
        flags: what was special: 16-bit, 32-bit, alpha, animated, cmyk, exif-rotated, grey, icc, icc-broken, multi-page.
    """

    image: Image.Image
    format: str
    width: int
    height: int
    flags: tuple[str, ...]


def decode(content: bytes, rules: Rules) -> Picture:
    """Decode a picture.

    Raises:
        RefusedError: empty, html, svg, pdf, heic, jpeg-xl, unknown-format, too-many-scans, too-many-pixels,
            side-too-long, truncated, unsupported-colours or broken.
    """
    if reason := _unwanted_format(content):
        raise RefusedError(reason)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=FORMATS) as source:
            return _decode(source, rules)
    except RefusedError:
        raise
    except UnidentifiedImageError:
        raise RefusedError(_why_unreadable(content, "")) from None
    except MemoryError:
        raise RefusedError("too-many-pixels") from None
    except Exception as error:  # Pillow answers to hostile bytes with errors of any class; all mean the same to us
        log.debug("refused", exc_info=True)
        raise RefusedError(_why_unreadable(content, str(error))) from None


def encode(image: Image.Image, quality: int) -> bytes:
    """Encode as JPEG without any metadata."""
    clean = image.copy()
    clean.info = {}  # Pillow would carry a comment over
    buffer = io.BytesIO()
    clean.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _decode(source: Image.Image, rules: Rules) -> Picture:
    width, height = source.size
    if width * height > rules.max_pixels:
        raise RefusedError("too-many-pixels")
    size = _stored_size(width, height, rules.short_side)
    if max(size) > JPEG_LIMIT:
        raise RefusedError("side-too-long")
    flags, levels = _flags(source), _levels(source)
    found_format = source.format or ""
    profile = source.info.get("icc_profile")
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for little.
    source.draft(None, (int(GAP * size[0]), int(GAP * size[1])))
    source.load()
    # The TIFF plug-in says the upright size and turns the picture itself on loading.
    orientation = 1 if found_format == "TIFF" else _orientation(source)
    image = _resize(_to_plain_mode(source, levels), size)
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    image = _to_srgb(image.convert("RGB") if alpha else image, profile, flags)
    if alpha:
        flags.add("alpha")
        image = Image.composite(image, Image.new("RGB", image.size, rules.background), alpha)
    if orientation in TURNS:
        flags.add("exif-rotated")
        image = image.transpose(TURNS[orientation])
        if orientation in SIDES_SWAPPED:
            width, height = height, width
    return Picture(image, found_format, width, height, tuple(sorted(flags)))


def _stored_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    scale = short_side / min(width, height)
    if scale >= 1:
        return width, height
    return max(short_side, round(width * scale)), max(short_side, round(height * scale))


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale with a filter; Pillow weighs colours by their opacity, so that hidden ones don't bleed."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _flags(source: Image.Image) -> set[str]:
    flags = set()
    # Counting frames would go through all of them. MPO: a photograph with its previews.
    if getattr(source, "is_animated", False) and source.format != "MPO":
        flags.add("multi-page" if source.format == "TIFF" else "animated")
    if source.mode == "CMYK":
        flags.add("cmyk")
    if source.mode in ("1", "L", "LA", "I;16", "I;16B", "I", "F"):
        flags.add("grey")
    if source.mode in ("I", "F"):
        flags.add("32-bit")
    elif "16" in _raw_mode(source) or _raw_mode(source) == "I;12":
        flags.add("16-bit")
    return flags


def _raw_mode(source: Image.Image) -> str:
    """How the file stores pixels, which Pillow's mode hides: RGB;16B becomes RGB."""
    tiles: list[Any] = getattr(source, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _orientation(source: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it can't be read."""
    try:
        orientation = source.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF raises errors of any class
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_plain_mode(source: Image.Image, levels: tuple[int, int]) -> Image.Image:
    """L, RGB, CMYK or LAB, which colour profiles know, or RGBA where some pixel is not opaque."""
    image = _to_8_bits(source, levels)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image.convert("RGB") if image.getchannel("A").getextrema() == (255, 255) else image
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _levels(source: Image.Image) -> tuple[int, int]:
    """What black and white are among grey levels of 12 or 16 bits."""
    brightest = 4095 if _raw_mode(source) == "I;12" else 65535
    tags = getattr(source, "tag_v2", {})
    return (brightest, 0) if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else (0, brightest)


def _to_8_bits(image: Image.Image, levels: tuple[int, int]) -> Image.Image:
    """Scale grey levels of more than 8 bits: those of 12 or 16 from black to white, others (no range declared) from
    their own.
    """
    if image.mode.startswith("I;16"):
        black, white = map(float, levels)
        greys = np.asarray(image).astype(np.float32)
    elif image.mode in ("I", "F"):
        greys = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
        black, white = float(greys.min()), float(greys.max())
    else:
        return image
    # In place: a picture of the most pixels that are allowed would take 400 MB for each copy.
    greys -= black
    greys *= 255 / (white - black) if white != black else 0
    return Image.fromarray(np.rint(greys, out=greys).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None, flags: set[str]) -> Image.Image:
    """Convert by the colour profile; a profile that is broken or of another colour space is passed over."""
    if profile:
        try:
            image = _apply(profile, image, grey="grey" in flags)
            flags.add("icc")
        except (ImageCms.PyCMSError, OSError, ValueError):
            flags.add("icc-broken")
    if image.mode == "LAB":  # says what colours it means without a profile
        image = _apply(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), image, grey=False)
    try:
        return image.convert("RGB")
    except ValueError:
        raise RefusedError("unsupported-colours") from None


def _apply(profile: bytes, image: Image.Image, grey: bool) -> Image.Image:
    transform, space = _transform(profile, image.mode)
    if transform:
        return transform.apply(image)
    # Grey levels under an RGB profile, or stored as RGB under a grey one, are common and meant well.
    other = {"RGB": "RGB", "GRAY": "L"}.get(space) if grey else None
    if not other or other == image.mode:
        raise ImageCms.PyCMSError(f"a {space} profile for {image.mode}")
    return _apply(profile, image.convert(other), grey)


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The way to sRGB and the profile's colour space; no way where the space is not the picture's."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if PROFILE_SPACES.get(mode) != space:
        return None, space
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB"), space


PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
HTML = re.compile(rb"^\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script)\b", re.IGNORECASE | re.DOTALL)
SVG = re.compile(rb"<svg[\s>:]", re.IGNORECASE)


def _unwanted_format(content: bytes) -> str | None:
    """What the first bytes show to be no picture that we decode."""
    start = content[:1024].removeprefix(b"\xef\xbb\xbf")
    if not content:
        return "empty"
    if start.startswith(b"%PDF"):
        return "pdf"
    if start.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")):
        return "jpeg-xl"
    if start[4:8] == b"ftyp" and start[8:12] != b"avif" and b"avi" not in start[8:64]:
        return "heic" if re.search(rb"hei[cxms]|hev[cxms]|mif1|msf1", start[8:64]) else "unknown-format"
    if start.startswith(b"\xff\xd8") and content.count(START_OF_SCAN) > MOST_SCANS:
        return "too-many-scans"
    if HTML.match(start):
        return "html"
    if start.lstrip().startswith(b"<") and SVG.search(start):
        return "svg"
    return None


STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")  # of the formats that we decode


def _why_unreadable(content: bytes, error: str) -> str:
    """Tell data that end too early from data that are wrong, and both from what is no picture."""
    if content.startswith(b"RIFF") and len(content) < 8 + int.from_bytes(content[4:8], "little"):
        return "truncated"
    if content[4:8] == b"ftyp":
        return "truncated" if _end_of_boxes(content) > len(content) else "broken"
    if re.search(r"truncated|unexpected end|not enough|incomplete", error, re.IGNORECASE):
        return "truncated"
    return "broken" if content.startswith(STARTS) else "unknown-format"


def _end_of_boxes(content: bytes) -> int:
    """Where the last box of an ISO media file (AVIF) ends; beyond the content where it is cut off."""
    position = 0
    while 0 <= position <= len(content) - 8:
        size = int.from_bytes(content[position : position + 4], "big")
        if size < 8:  # to the end of the file, or of 64 bits, which no picture needs
            break
        position += size
    return position
