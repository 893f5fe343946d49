"""The gallery of odd pictures: files that are cut, mislabelled, huge, blank, or of a kind that few programs expect.

Made in memory, from one drawn picture, byte for byte the same each time. Each entry says what must become of it:
in the download, in the decoder, and in the filters with their default settings.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageDraw

from kg2clip.mirror import rendered

SIZE = (480, 360)  # of the drawn picture, and of all entries that state no other
STRIP, PANORAMA = (5000, 3), (40_000, 320)
FRAMES = 300  # of the camera trap


@dataclass(frozen=True)
class Oddity:
    """A picture of the gallery and what must become of it.

    Attributes:
        name: what it is; entries that belong together share it.
        file: its name under /pictures/.
        media_type: what the server says it is.
        make: makes the bytes.
        lost: why the download does not take it; None if it does.
        refused: why the decoder does not take it; None if it does.
        size: width and height of the decoded picture, upright, in pixels; None if refused.
        format: as found in the bytes; None if refused.
        flags: what the decoder must notice, among other things.
        dropped: why the filters drop what was decoded; None if they keep it.
    """

    name: str
    file: str
    media_type: str
    make: Callable[[], bytes]
    lost: str | None = None
    refused: str | None = None
    size: tuple[int, int] | None = None
    format: str | None = None
    flags: tuple[str, ...] = ()
    dropped: str | None = None


def content(file: str) -> tuple[str, bytes]:
    """The declared media type and the bytes of a picture of the gallery.

    Raises:
        KeyError: the gallery has no such file.
    """
    oddity = _by_file()[file]
    return oddity.media_type, _bytes(file)


@cache
def _by_file() -> dict[str, Oddity]:
    return {oddity.file: oddity for oddity in ODDITIES}


@cache
def _bytes(file: str) -> bytes:
    return _by_file()[file].make()


@cache
def scene() -> Image.Image:
    """The picture that most entries show."""
    return rendered.draw(rendered.species()[0], 7, *SIZE)


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@cache
def placeholder(number: int = 0) -> bytes:
    """What a host shows in place of a picture that was taken away; with a number, scaled and encoded anew."""
    image = Image.new("RGB", (500, 400), "#eeeeee")
    ImageDraw.Draw(image).text((130, 180), "This photo is no longer available", fill="#555555", font_size=16)
    if not number:
        return encoded(image, "PNG")
    scale = 0.6 + number * 0.37 % 1
    size = round(image.width * scale), round(image.height * scale)
    return encoded(image.resize(size, Image.Resampling.LANCZOS), quality=50 + number * 17 % 45)


def _truncated(percent: int) -> bytes:
    whole = encoded(scene(), quality=90)
    return whole[: len(whole) * percent // 100]


def _animated(form: str, **options: Any) -> bytes:
    others = [scene().rotate(180), scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return encoded(scene(), form, save_all=True, append_images=others, duration=100, loop=0, **options)


def _pages() -> bytes:
    return encoded(scene(), "TIFF", save_all=True, append_images=[scene().rotate(180), Image.new("L", (60, 40))])


ORIENTATION = 0x0112  # the EXIF tag
STORED_AS = {  # how a camera that writes an orientation has turned the upright picture (EXIF 2.3, 4.6.4)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def _oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = scene().transpose(STORED_AS[orientation]) if orientation in STORED_AS else scene()
    return encoded(stored, quality=95, exif=exif.tobytes())


def _plain(colour: str) -> bytes:
    return encoded(Image.new("RGB", SIZE, colour))


def _png(width: int, height: int, bits: int, colour_type: int, rows: Iterable[bytes]) -> bytes:
    """A PNG file whose pixels never lie in memory all at once; each row begins with its filter byte."""
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(row) for row in rows), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _bomb() -> bytes:
    side = 30_000
    row = bytes(1 + side // 8)
    return _png(side, side, 1, 0, (row for _ in range(side)))


def _deep(mode: str) -> bytes:
    levels = np.asarray(scene().convert(mode)).astype(">u2") * 257  # 255 becomes 65535
    width, height = SIZE
    return _png(width, height, 16, {"L": 0, "RGB": 2}[mode], (b"\0" + row.tobytes() for row in levels))


def _panorama() -> bytes:
    image = Image.new("RGB", PANORAMA)
    for left in range(0, PANORAMA[0], SIZE[0]):
        image.paste(scene(), (left, 0))
    return encoded(image, quality=50)


def _palette() -> bytes:
    image = scene().quantize(64)
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


def _cut_out(mode: str) -> bytes:
    alpha = Image.new("L", SIZE)
    ImageDraw.Draw(alpha).ellipse((40, 30, 440, 330), fill=255)
    image = scene().convert(mode)
    image.putalpha(alpha)
    return encoded(image, "PNG")


# Red, green and blue of Display P3 adapted to D50, as its ICC profile gives them (SMPTE EG 432-1, Bradford).
DISPLAY_P3 = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
_PROFILE_DATE, _PROFILE_ID = slice(24, 36), slice(84, 100)


def display_p3() -> bytes:
    """A colour profile with the primaries of Display P3 and the curve of sRGB, without the time of its making."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_PROFILE_DATE] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    profile[_PROFILE_ID] = bytes(16)
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in DISPLAY_P3:
            values = (round(value * 65536) for value in DISPLAY_P3[name])
            struct.pack_into(">3i", profile, offset + 8, *values)
    return bytes(profile)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def _heic() -> bytes:
    return _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + _box(b"mdat", bytes(2000))


def _frame(number: int) -> bytes:
    """A frame of a camera trap: the same place, other noise and light, the number in the corner."""
    noise = np.random.default_rng(number).normal(0, 3, (*SIZE[::-1], 1))
    levels = np.asarray(scene()).astype(float) * (0.97 + 0.0002 * number) + noise
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    ImageDraw.Draw(image).text((8, 344), f"TRAIL CAM  {number:03d}", fill="white")
    return encoded(image, quality=80)


SVG = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="480" height="360">
<script>alert(1)</script><image href="file:///etc/hostname"/><circle cx="240" cy="180" r="90"/>
</svg>
"""
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 480 360]>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


KINDS = {  # media type and Pillow's name, by the ending of a file's name
    "jpg": ("image/jpeg", "JPEG"),
    "png": ("image/png", "PNG"),
    "gif": ("image/gif", "GIF"),
    "webp": ("image/webp", "WEBP"),
    "avif": ("image/avif", "AVIF"),
    "tif": ("image/tiff", "TIFF"),
    "heic": ("image/heic", "HEIC"),
    "jxl": ("image/jxl", "JXL"),
    "svg": ("image/svg+xml", "SVG"),
    "pdf": ("application/pdf", "PDF"),
}


def _taken(
    name: str,
    file: str,
    make: Callable[[], bytes],
    flags: str = "",
    size: tuple[int, int] = SIZE,
    format: str | None = None,
    dropped: str | None = None,
) -> Oddity:
    media_type, usual = KINDS[file.rsplit(".", 1)[1]]
    return Oddity(
        name, file, media_type, make, size=size, format=format or usual, flags=tuple(flags.split()), dropped=dropped
    )


def _refused(name: str, file: str, make: Callable[[], bytes], reason: str, lost: str | None = None) -> Oddity:
    return Oddity(name, file, KINDS[file.rsplit(".", 1)[1]][0], make, lost=lost, refused=reason)


ODDITIES: list[Oddity] = [
    *(
        _refused(f"truncated JPEG, {percent} %", f"truncated-{percent}.jpg", partial(_truncated, percent), "truncated")
        for percent in (30, 60, 90)
    ),
    _taken("garbage after the end marker", "garbage.jpg", lambda: encoded(scene()) + b"GARBAGE\r\n" * 999),
    _taken("JPEG named .png", "a-jpeg.png", lambda: encoded(scene()), format="JPEG"),
    _taken("animated GIF", "animated.gif", partial(_animated, "GIF"), "animated"),
    _taken("animated WebP", "animated.webp", partial(_animated, "WEBP", quality=80), "animated"),
    _refused("SVG", "drawing.svg", lambda: SVG, "svg"),
    # One thread: how libaom shares the work among several is not ours to fix.
    _taken("AVIF", "photo.avif", lambda: encoded(scene(), "AVIF", quality=70, speed=9, max_threads=1)),
    _refused("HEIC", "photo.heic", _heic, "heic"),
    _refused("JPEG XL, bare", "photo.jxl", lambda: b"\xff\x0a" + bytes(500), "jpeg-xl"),
    _refused("JPEG XL, in a container", "boxed.jxl", lambda: _box(b"JXL ", b"\r\n\x87\n") + bytes(500), "jpeg-xl"),
    _taken("multi-page TIFF", "pages.tif", _pages, "multi-page"),
    _refused("PDF", "leaflet.pdf", lambda: PDF, "pdf"),
    _taken("1x1", "1x1.png", lambda: encoded(scene().resize((1, 1)), "PNG"), size=(1, 1), dropped="too-small"),
    _taken("5000x3", "strip.png", lambda: encoded(scene().resize(STRIP), "PNG"), size=STRIP, dropped="too-small"),
    _refused("30000x30000 one-bit PNG (bomb)", "bomb.png", _bomb, "too-many-pixels"),
    _taken("40,000 px panorama", "panorama.jpg", _panorama, size=PANORAMA, dropped="aspect"),
    _taken("plain white", "white.jpg", partial(_plain, "white"), dropped="blank"),
    _taken("plain black", "black.jpg", partial(_plain, "black"), dropped="blank"),
    *(
        _taken("EXIF orientations", f"exif-{turn}.jpg", partial(_oriented, turn), "exif-rotated" if turn > 1 else "")
        for turn in range(1, 9)
    ),
    _taken("CMYK", "cmyk.jpg", lambda: encoded(scene().convert("CMYK")), "cmyk"),
    _taken("16-bit PNG, grey", "deep-grey.png", partial(_deep, "L"), "16-bit grey"),
    _taken("16-bit PNG, colour", "deep.png", partial(_deep, "RGB"), "16-bit"),
    _taken("palette with transparency", "palette.png", _palette, "alpha"),
    _taken("grey with alpha", "grey-alpha.png", partial(_cut_out, "L"), "alpha grey"),
    _taken("colour with alpha", "cut-out.png", partial(_cut_out, "RGB"), "alpha"),
    _taken("ICC profile (Display P3)", "display-p3.jpg", lambda: encoded(scene(), icc_profile=display_p3()), "icc"),
    _refused("0 bytes", "empty.jpg", lambda: b"", "empty", lost="empty"),
    *(_taken("camera trap, 300 frames", f"trap-{frame:03d}.jpg", partial(_frame, frame)) for frame in range(FRAMES)),
]
