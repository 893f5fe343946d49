"""Kinds of files that the web holds and few programs expect: the colour expected, or the reason why there is none."""

from __future__ import annotations

import base64
import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, ImageCms, ImageDraw, TiffImagePlugin
from textures import encoded, texture

from kg2clip import tars
from kg2clip.curate.decode import RefusedError, Rules, decode
from kg2clip.curate.pictures import Examiners, Outcome, Work, examine

RULES = Rules(short_side=256, jpeg_quality=90, background="#ffffff", max_pixels=50_000_000)
RED, GREEN, WHITE, GREY = (200, 30, 30), (30, 180, 30), (255, 255, 255), (90, 90, 90)
SIZE = (40, 30)

Colour = tuple[int, int, int]
Case = tuple[str, Callable[[], bytes], Colour | str, set[str]]


def plain(colour: Any = RED, mode: str = "RGB", form: str = "PNG", **options: Any) -> bytes:
    return encoded(Image.new(mode, SIZE, colour), form, **options)


def png(bits: int, kind: int, row: bytes | None, *extra: tuple[bytes, bytes], size: tuple[int, int] = SIZE) -> bytes:
    """A PNG file of equal rows, or of none, with other chunks before the pixels."""
    header = struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0)
    rows = zlib.compress(b"" if row is None else (b"\0" + row) * size[1])
    chunks = ((b"IHDR", header), *extra, (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff(tags: dict[int, tuple[int, int, Any]], strip: bytes, again: bool = False) -> bytes:
    """A little-endian TIFF file of one strip; tags by number: type, count, value. `again`: the next page is this one."""
    tags = tags | {273: (4, 1, 8), 278: (3, 1, SIZE[1]), 279: (4, 1, len(strip))}
    place = 8 + len(strip)
    after = place + 2 + 12 * len(tags) + 4
    rows, more = b"", b""
    for tag, (kind, count, value) in sorted(tags.items()):
        if count > 2 or kind == 12:
            packed = struct.pack(f"<{count}{'d' if kind == 12 else 'H'}", *value)
            value, more = after + len(more), more + packed
        elif count == 2:
            value = value[0] | value[1] << 16
        rows += struct.pack("<HHII", tag, kind, count, value)
    directory = struct.pack("<H", len(tags)) + rows + struct.pack("<I", place if again else 0)
    return b"II*\0" + struct.pack("<I", place) + strip + directory + more


def tags(bits: int | tuple[int, ...], photometric: int, **more: Any) -> dict[int, tuple[int, int, Any]]:
    samples = len(bits) if isinstance(bits, tuple) else 1
    stored = (3, samples, bits) if samples > 1 else (3, 1, bits)
    return {
        256: (3, 1, SIZE[0]), 257: (3, 1, SIZE[1]), 258: stored, 259: (3, 1, 1), 262: (3, 1, photometric),
        277: (3, 1, samples),
    }  # fmt: skip


def packed_12_bits(level: int) -> bytes:
    pair = bytes([level >> 4, (level & 15) << 4 | level >> 8, level & 255])
    return pair * (SIZE[0] // 2) * SIZE[1]


def oriented(orientation: Any, form: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return plain(form=form, exif=exif.tobytes())


def ycck() -> bytes:
    """A JPEG in YCCK as Adobe writes it: inverted CMYK, of which the first three went through YCbCr."""
    cyan, magenta, yellow = 0, 255, 255  # and no black: red
    luma, blue, red = Image.new("RGB", (1, 1), (cyan, magenta, yellow)).convert("YCbCr").getpixel((0, 0))  # type: ignore[misc]
    content = plain((255 - luma, 255 - blue, 255 - red, 0), "CMYK", "JPEG", quality=95)
    place = content.index(b"Adobe")
    return content[: place + 11] + b"\x02" + content[place + 12 :]


def profiled(space: str, mode: str = "RGB", colour: Any = RED, form: str = "JPEG") -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()  # type: ignore[arg-type]
    return plain(colour, mode, form, icc_profile=profile)


def frames(form: str, **options: Any) -> bytes:
    others = [Image.new("RGB", SIZE, GREEN)] * 2
    return encoded(Image.new("RGB", SIZE, RED), form, save_all=True, append_images=others, **options)


def with_height(height: int) -> bytes:
    """A JPEG whose frame header says another height (0: it comes later, in a DNL segment)."""
    content = plain(form="JPEG")
    place = content.index(b"\xff\xc0")
    return content[: place + 5] + struct.pack(">H", height) + content[place + 7 :]


def scans(count: int) -> bytes:
    """A progressive JPEG whose last pass is asked for again and again."""
    content = encoded(texture(1), progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + b"\xff\xd9"


def gif(width: int, height: int, screen: tuple[int, int] = SIZE) -> bytes:
    """A GIF file whose only frame is of some size."""
    palette = bytes(RED) + bytes(GREEN)
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + palette + frame + b";"


def bmp(width: int, height: int, bits: int, body: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + header + body


def webp_header(width: int, height: int) -> bytes:
    """A WebP file that has a header alone."""
    extended = (
        b"VP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended


def bomb(kind: bytes, head: bytes, megabytes: int = 80) -> bytes:
    """A PNG with a text, or a profile, that unpacks to megabytes."""
    return png(8, 2, bytes(RED) * SIZE[0], (kind, head + zlib.compress(bytes(megabytes << 20), 1)))


def damaged(kind: bytes) -> bytes:
    """A PNG in which the checksum of a chunk is wrong."""
    content = png(8, 2, bytes(RED) * SIZE[0], (b"tEXt", b"Title\0a picture"))
    end = content.index(kind) + 4 + int.from_bytes(content[content.index(kind) - 4 : content.index(kind)], "big")
    return content[:end] + b"\0\0\0\0" + content[end + 4 :]


def cut_out(form: str, **options: Any) -> bytes:
    image = Image.new("RGBA", SIZE, (*GREEN, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 19, 29), fill=(*RED, 255))
    return encoded(image, form, **options)


ARITHMETIC = (  # 16 x 16 in red, made by cjpeg -arithmetic of libjpeg-turbo 2.1.5
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8X"
    "GBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/yQARCAAQ"
    "ABADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AMhKo8XcsID/2Q=="
)
EXIF_IN_WORDS = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4sI", 0x0112, 2, 2, b"6\0\0\0", 0)
DEEP = struct.pack(">HHH", 200 * 257, 30 * 257, 30 * 257)
OPAQUE, CLEAR = struct.pack(">H", 65535), bytes(2)

CASES: list[Case] = [
    # depth
    ("16-bit grey PNG", lambda: png(16, 0, struct.pack(">H", 90 * 257) * 40), GREY, {"16-bit", "grey"}),
    ("16-bit grey PNG with alpha", lambda: png(16, 4, (struct.pack(">H", 90 * 257) + OPAQUE) * 40), GREY, set()),
    ("16-bit colour PNG", lambda: png(16, 2, DEEP * 40), RED, {"16-bit"}),
    ("16-bit colour PNG with alpha", lambda: png(16, 6, (DEEP + OPAQUE) * 40), RED, {"16-bit"}),
    ("16-bit colour PNG, all clear", lambda: png(16, 6, (DEEP + CLEAR) * 40), WHITE, {"16-bit", "alpha"}),
    ("16-bit colour PNG with a clear colour", lambda: png(16, 2, DEEP * 40, (b"tRNS", DEEP)), (WHITE), {"alpha"}),
    ("16-bit grey PNG with a clear level", lambda: png(16, 0, DEEP[:2] * 40, (b"tRNS", DEEP[:2])), (200, 200, 200), set()),
    ("2-bit grey PNG", lambda: png(2, 0, bytes([0b01010101]) * 10), (85, 85, 85), {"grey"}),
    ("1-bit PNG", lambda: plain(1, "1"), WHITE, {"grey"}),
    ("1-bit PNG with a clear level", lambda: png(1, 0, b"\0" * 5, (b"tRNS", b"\0\0")), WHITE, {"alpha"}),
    ("8-bit PNG with a clear colour", lambda: plain(RED, transparency=RED), WHITE, {"alpha"}),
    ("16-bit grey TIFF", lambda: tiff(tags(16, 1), struct.pack("<H", 90 * 257) * 1200), GREY, {"16-bit"}),
    ("16-bit grey TIFF, white is zero", lambda: tiff(tags(16, 0), struct.pack("<H", 165 * 257) * 1200), GREY, {"16-bit"}),
    ("12-bit grey TIFF", lambda: tiff(tags(12, 1), packed_12_bits(90 * 4095 // 255)), GREY, {"16-bit"}),
    ("16-bit colour TIFF", lambda: tiff(tags((16,) * 3, 2), struct.pack("<HHH", 51400, 7710, 7710) * 1200), RED, {"16-bit"}),
    ("1-bit TIFF, white is zero", lambda: tiff(tags(1, 0), bytes(5 * 30)), WHITE, {"grey"}),
    ("32-bit float TIFF, one level", lambda: plain(7.5, "F", "TIFF"), (0, 0, 0), {"32-bit"}),
    ("TIFF of five channels", lambda: tiff(tags((8,) * 5, 2) | {338: (3, 2, (0, 0))}, bytes((*RED, 255, 255)) * 1200), RED, set()),
    ("TIFF of seven channels", lambda: tiff(tags((8,) * 7, 2), bytes((*RED, 1, 2, 3, 4)) * 1200), "broken", set()),
    # colours
    ("CMYK JPEG with Adobe's marker", lambda: plain((0, 255, 255, 0), "CMYK", "JPEG", quality=95), (255, 0, 0), {"cmyk"}),
    ("YCCK JPEG", ycck, (255, 0, 0), {"cmyk"}),
    ("CMYK TIFF", lambda: plain((0, 255, 255, 0), "CMYK", "TIFF"), (255, 0, 0), {"cmyk"}),
    ("RGB JPEG without YCbCr", lambda: plain(form="JPEG", keep_rgb=True), RED, set()),
    ("Lab TIFF", lambda: plain((137, 189, 172), "LAB", "TIFF"), (227, 70, 57), set()),
    ("Lab TIFF with a Lab profile", partial(profiled, "LAB", "LAB", (137, 189, 172), "TIFF"), (227, 70, 57), {"icc"}),
    ("broken colour profile", lambda: plain(form="JPEG", icc_profile=b"\0" * 200), RED, {"icc-broken"}),
    ("cut colour profile", lambda: plain(form="JPEG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:300]), RED, {"icc-broken"}),
    ("Lab profile on an RGB JPEG", partial(profiled, "LAB"), RED, {"icc-broken"}),
    ("RGB profile on a CMYK JPEG", partial(profiled, "sRGB", "CMYK", (0, 255, 255, 0)), (255, 0, 0), {"icc-broken"}),
    ("RGB profile on a grey JPEG", partial(profiled, "sRGB", "L", 90), GREY, {"icc"}),
    ("palette with several clear entries", lambda: png(8, 3, bytes([1]) * 40, (b"PLTE", bytes(GREEN + RED)), (b"tRNS", b"\0\0")), WHITE, {"alpha"}),
    ("palette index beyond its end", lambda: png(8, 3, bytes([9]) * 40, (b"PLTE", bytes(GREEN + RED))), (0, 0, 0), set()),
    ("grey with alpha", lambda: plain((90, 255), "LA"), GREY, {"grey"}),
    ("WebP without loss, with alpha", lambda: cut_out("WEBP", lossless=True), RED, {"alpha"}),
    ("GIF with a clear colour", lambda: plain(0, "P", "GIF", transparency=0), WHITE, {"alpha"}),
    ("AVIF with alpha", lambda: cut_out("AVIF", quality=95), RED, {"alpha"}),
    # orientation
    *((f"orientation {turn!r}, {form}", partial(oriented, turn, form), RED, set()) for turn in (0, 9, 65535) for form in ("JPEG", "TIFF", "PNG")),
    ("orientation in words, JPEG", lambda: plain(form="JPEG", exif=EXIF_IN_WORDS), RED, set()),
    ("orientation in words, TIFF", lambda: tiff(tags((8,) * 3, 2) | {274: (2, 2, (ord("6"), 0))}, bytes(RED) * 1200), RED, set()),
    ("orientation twice, TIFF", lambda: tiff(tags((8,) * 3, 2) | {274: (3, 2, (6, 6))}, bytes(RED) * 1200), RED, set()),
    ("AVIF, turned", partial(oriented, 6, "AVIF"), RED, {"exif-rotated"}),
    # JPEG
    ("arithmetic coding", lambda: base64.b64decode(ARITHMETIC), RED, set()),
    ("no height, DNL", partial(with_height, 0), "broken", set()),
    ("a height that is a lie", partial(with_height, 60_000), RED, set()),  # what is there; the aspect drops it
    ("a photograph with its previews (MPO)", lambda: frames("MPO"), RED, set()),
    ("a zip behind it", lambda: plain(form="JPEG") + b"PK\x03\x04" + os.urandom(3000) + b"PK\x05\x06" + bytes(18), RED, set()),
    ("a film behind it (motion photo)", lambda: plain(form="JPEG") + b"\0\0\0\x18ftypmp42" + bytes(3000), RED, set()),
    ("500 passes", partial(scans, 600), "too-many-scans", set()),
    # animations
    ("animated PNG", lambda: frames("PNG"), RED, {"animated"}),
    ("animated AVIF", lambda: frames("AVIF", quality=95), RED, {"animated"}),
    ("animated WebP", lambda: frames("WEBP", lossless=True), RED, {"animated"}),
    ("frame of no size", partial(gif, 0, 0), "broken", set()),
    ("frame larger than its screen", partial(gif, 65535, 65535), "too-many-pixels", set()),
    # other formats
    ("BMP", lambda: plain(form="BMP"), RED, set()),
    ("BMP, top down", lambda: bmp(40, -30, 24, bytes(RED[::-1]) * 1200), RED, set()),
    ("BMP of 5 bits a channel", lambda: bmp(40, 30, 16, struct.pack("<H", 25 << 10 | 4 << 5 | 4) * 1200), (206, 33, 33), set()),
    ("BMP with a palette", lambda: plain(1, "1", "BMP"), WHITE, {"grey"}),
    ("ICO", lambda: plain(form="ICO", sizes=[(16, 16)]), "unknown-format", set()),
    ("TGA", lambda: plain(form="TGA"), "unknown-format", set()),
    ("PPM", lambda: plain(form="PPM"), "unknown-format", set()),
    ("PSD", lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30, 40, 8, 3) + bytes(99), "unknown-format", set()),
    ("JPEG 2000", lambda: plain(form="JPEG2000"), "unknown-format", set()),
    ("a page named .jpg", lambda: b"\xef\xbb\xbf <!-- x --><HTML><img src='a.jpg'></HTML>", "html", set()),
    # damage and spite
    ("text of 80 MB", partial(bomb, b"zTXt", b"Comment\0\0"), "broken", set()),
    ("international text of 80 MB", partial(bomb, b"iTXt", b"Comment\0\1\0\0\0"), "broken", set()),
    ("profile of 80 MB", partial(bomb, b"iCCP", b"profile\0\0"), "broken", set()),
    ("long text, not packed", lambda: png(8, 2, bytes(RED) * 40, (b"tEXt", b"Comment\0" + b"x" * 3_000_000)), RED, set()),
    ("wrong checksum of the header", partial(damaged, b"IHDR"), "broken", set()),
    ("wrong checksum of the pixels", partial(damaged, b"IDAT"), RED, set()),  # zlib has one of its own
    ("wrong checksum of a text", partial(damaged, b"tEXt"), "broken", set()),
    ("PNG header of 2^31 - 1 squared", partial(png, 8, 2, None, size=(2**31 - 1, 2**31 - 1)), "too-many-pixels", set()),
    ("PNG of no width", lambda: png(8, 2, b"", size=(0, 30)), "broken", set()),
    ("BMP header of 2^31 - 1 squared", lambda: bmp(2**31 - 1, 2**31 - 1, 24, b""), "too-many-pixels", set()),
    ("WebP header of 16383 squared", partial(webp_header, 16383, 16383), "broken", set()),
    ("TIFF header of 2^32 - 1 squared", lambda: tiff(tags(8, 1) | {256: (4, 1, 2**32 - 1), 257: (4, 1, 2**32 - 1)}, b""), "too-many-pixels", set()),
    ("TIFF whose next page is itself", lambda: tiff(tags((8,) * 3, 2), bytes(RED) * 1200, again=True), RED, set()),
    ("TIFF whose pages are cut off", lambda: encoded(Image.new("RGB", SIZE, RED), "TIFF", save_all=True, append_images=[Image.new("RGB", SIZE)])[:-300], RED, {"multi-page"}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "expected", "flags"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_colour_or_reason(make: Callable[[], bytes], expected: Colour | str, flags: set[str]) -> None:
    content, start = make(), time.process_time()
    if isinstance(expected, str):
        with pytest.raises(RefusedError, match=f"^{expected}$"):
            decode(content, RULES)
    else:
        picture = decode(content, RULES)
        assert picture.image.mode == "RGB" and flags <= set(picture.flags)
        assert np.abs(np.subtract(picture.image.getpixel((4, 4)), expected)).max() <= 6
    assert time.process_time() - start < 2


@pytest.mark.parametrize("plugin", [GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile])
def test_frames_are_not_counted(plugin: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "n_frames", property(lambda self: pytest.fail("a file of 30 MB has a million of them")))
    assert "animated" in decode(frames("GIF"), RULES).flags and "multi-page" in decode(frames("TIFF"), RULES).flags


def test_a_deep_picture_takes_little_memory() -> None:
    deep, rules = Image.fromarray(np.full((3000, 4000), 90 * 257, np.uint16)), replace(RULES, short_side=64)
    content = encoded(deep, "PNG")
    tracemalloc.start()
    decode(content, rules)
    peak = tracemalloc.get_traced_memory()[1]  # of numpy; Pillow's own is not seen
    tracemalloc.stop()
    assert peak < 7 * 3000 * 4000


def busy_when_told(work: Work) -> Outcome:
    while b"busy" in work.member.read():
        pass
    return examine(work)


def test_a_picture_that_never_ends_is_refused(tmp_path: Path) -> None:
    with tars.writing(tmp_path / "raw.tar") as writer:
        writer.add("busy.jpg", plain(form="JPEG") + b"busy")
    works = [Work(member, RULES) for member in tars.members(tmp_path / "raw.tar")]
    with Examiners(1, busy_when_told, longest=0.2) as examiners:
        assert [outcome.reason for outcome in examiners.outcomes(works)] == ["decoder-crash"]
