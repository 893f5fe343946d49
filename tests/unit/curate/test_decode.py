"""Every kind of picture of the web: the pixels expected, or the reason why not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from textures import encoded, texture

from kg2clip.curate.decode import Picture, RefusedError, Rules, decode, encode
from kg2clip.curate.hashes import looks

RULES = Rules(short_side=256, jpeg_quality=90, background="#ffffff", max_pixels=50_000_000)


def read(content: bytes, rules: Rules = RULES) -> Picture:
    return decode(content, rules)


def reason(content: bytes) -> str:
    with pytest.raises(RefusedError) as refusal:
        read(content)
    return str(refusal.value)


def corners(picture: Picture) -> list[tuple[int, ...]]:
    pixels = np.asarray(picture.image).astype(int)
    return [tuple(pixels[y, x]) for y in (2, -3) for x in (2, -3)]


def near(found: object, wanted: object, within: int = 6) -> bool:
    return bool(np.abs(np.subtract(found, wanted)).max() <= within)


RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 180, 30), (30, 30, 200), (200, 200, 30)


def quarters() -> Image.Image:
    image = Image.new("RGB", (60, 40), RED)
    image.paste(GREEN, (30, 0, 60, 20))
    image.paste(BLUE, (0, 20, 30, 40))
    image.paste(YELLOW, (30, 20, 60, 40))
    return image


UPRIGHT = {
    1: [RED, GREEN, BLUE, YELLOW],
    2: [GREEN, RED, YELLOW, BLUE],
    3: [YELLOW, BLUE, GREEN, RED],
    4: [BLUE, YELLOW, RED, GREEN],
    5: [RED, BLUE, GREEN, YELLOW],
    6: [BLUE, RED, YELLOW, GREEN],
    7: [YELLOW, GREEN, BLUE, RED],
    8: [GREEN, YELLOW, RED, BLUE],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read(encoded(quarters(), form, exif=exif.tobytes(), **({"lossless": True} if form == "WEBP" else {})))
    assert near(corners(picture), UPRIGHT[orientation], 25)
    assert (picture.width, picture.height) == ((60, 40) if orientation < 5 else (40, 60))
    assert picture.image.size == (picture.width, picture.height)


def test_broken_exif_is_passed_over() -> None:
    picture = read(encoded(quarters(), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"))
    assert near(corners(picture), UPRIGHT[1], 25)


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.linspace(0, 65535, 300 * 300).reshape(300, 300).astype(np.uint16)
    picture = read(encoded(Image.fromarray(levels), "PNG"))
    grey = np.asarray(picture.image)[..., 0].astype(float)
    assert near(grey.mean(), 127.5, 1) and grey.max() - grey.min() > 250
    assert {"16-bit", "grey"} <= set(picture.flags)


def test_16_bit_colour_png_is_scaled() -> None:
    picture = read(png(8, 8, 16, 2, b"".join(b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 8 for _ in range(8))))
    assert near(np.asarray(picture.image)[4, 4], (255, 128, 0), 1)
    assert "16-bit" in picture.flags


def test_float_tiff_is_scaled_from_its_own_range() -> None:
    picture = read(encoded(Image.fromarray(np.linspace(-1, 3, 10000, dtype=np.float32).reshape(100, 100)), "TIFF"))
    assert near(np.asarray(picture.image).mean(), 127.5, 1) and "32-bit" in picture.flags


def test_cmyk_becomes_rgb() -> None:
    picture = read(encoded(Image.new("CMYK", (50, 50), (0, 255, 255, 0)), quality=95))
    assert near(np.asarray(picture.image)[20, 20], (255, 0, 0), 4) and "cmyk" in picture.flags


def test_transparency_stands_on_the_background() -> None:
    image = Image.new("RGBA", (40, 40), (10, 200, 10, 0))  # the hidden colour must not show
    image.paste((200, 0, 0, 255), (0, 0, 20, 40))
    rules = Rules(256, 90, "#0000ff", 50_000_000)
    picture = read(encoded(image, "PNG"), rules)
    assert corners(picture) == [(200, 0, 0), (0, 0, 255), (200, 0, 0), (0, 0, 255)] and "alpha" in picture.flags


def test_hidden_colours_do_not_bleed_when_scaled() -> None:
    image = Image.new("RGBA", (1024, 1024), (0, 255, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 511, 1024))
    assert np.asarray(read(encoded(image, "PNG"), Rules(64, 90, "#000000", 50_000_000)).image)[..., 1].max() <= 2


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_grey_and_palette_with_transparency(mode: str) -> None:
    if mode == "LA":
        image = Image.new("LA", (40, 40), (0, 0))
        image.paste((90, 255), (0, 0, 20, 40))
        content = encoded(image, "PNG")
    else:
        palette = Image.new("P", (40, 40), 1)
        palette.putpalette([90, 90, 90, 0, 0, 0])
        palette.paste(0, (0, 0, 20, 40))
        content = encoded(palette, "PNG", transparency=1)
    assert corners(read(content)) == [(90, 90, 90), (255, 255, 255)] * 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr"])
def test_other_modes_become_rgb(mode: str) -> None:
    form = "JPEG" if mode == "YCbCr" else "PNG"
    picture = read(encoded(texture(1, 90, 60).convert(mode), form))
    assert picture.image.mode == "RGB" and picture.image.size == (90, 60)


def test_colour_profile_is_converted() -> None:
    profile = swapped_profile()
    picture = read(encoded(Image.new("RGB", (40, 40), (250, 5, 5)), "PNG", icc_profile=profile))
    assert near(np.asarray(picture.image)[20, 20], (5, 5, 250), 40) and "icc" in picture.flags


def test_profile_of_another_colour_space_is_passed_over() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = read(encoded(Image.new("RGB", (40, 40), RED), "PNG", icc_profile=lab))
    assert corners(picture) == [RED] * 4 and "icc-broken" in picture.flags
    picture = read(encoded(Image.new("RGB", (40, 40), RED), "PNG", icc_profile=b"no profile"))
    assert corners(picture) == [RED] * 4 and "icc-broken" in picture.flags


def test_grey_picture_with_rgb_profile() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = read(encoded(Image.new("L", (40, 40), 90), icc_profile=srgb))
    assert near(corners(picture), [(90, 90, 90)] * 4, 2) and "icc" in picture.flags


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(form: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if form == "WEBP" else {}
    picture = read(encoded(frames[0], form, save_all=True, append_images=frames[1:], **options))
    assert near(corners(picture), [RED] * 4) and "animated" in picture.flags


def test_first_page_of_a_tiff() -> None:
    picture = read(encoded(quarters(), "TIFF", save_all=True, append_images=[Image.new("RGB", (60, 40))]))
    assert corners(picture) == UPRIGHT[1] and picture.flags == ("multi-page",)


def test_avif() -> None:
    picture = read(encoded(quarters(), "AVIF", quality=95))
    assert picture.format == "AVIF" and near(corners(picture), UPRIGHT[1], 25)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(form: str, share: float) -> None:
    content = encoded(texture(3), form)
    assert reason(content[: int(len(content) * share)]) in ("truncated", "broken")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_truncated_files_are_named_so(form: str) -> None:
    content = encoded(texture(3), form)
    assert reason(content[: len(content) // 2]) == "truncated"


def test_progressive_truncated_jpeg_is_refused() -> None:
    content = encoded(texture(3), progressive=True)
    assert reason(content[: int(len(content) * 0.6)]) == "truncated"


def test_garbage_after_the_end_marker_is_harmless() -> None:
    content = encoded(texture(3))
    assert (np.asarray(read(content + b"GARBAGE" * 999).image) == np.asarray(read(content).image)).all()


def test_format_by_its_bytes() -> None:
    assert [read(encoded(quarters(), form)).format for form in ("JPEG", "PNG", "BMP")] == ["JPEG", "PNG", "BMP"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"%PDF-1.4 ...", "pdf"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "html"),
        (b"\n <html lang='en'><svg></svg>", "html"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b"<svg width='1'/>", "svg"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "heic"),
        (b"\xff\x0a\x00\x00", "jpeg-xl"),
        (b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a", "jpeg-xl"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp41", "unknown-format"),
        (b"just text", "unknown-format"),
        (b"\x1f\x8b\x08\x00 gzip", "unknown-format"),
    ],
)
def test_what_is_no_picture(content: bytes, expected: str) -> None:
    assert reason(content) == expected


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_its_header() -> None:
    assert reason(png(30000, 30000, 1, 0, bytes(1000))) == "too-many-pixels"


def test_a_side_that_no_jpeg_can_have() -> None:
    assert reason(png(70000, 2, 8, 0, bytes(2 * 70001))) == "side-too-long"


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ((1, 1), (1, 1)),
        ((5000, 3), (5000, 3)),
        ((512, 384), (341, 256)),
        ((384, 512), (256, 341)),
        ((256, 999), (256, 999)),
    ],
)
def test_short_side_is_never_enlarged(size: tuple[int, int], stored: tuple[int, int]) -> None:
    picture = read(encoded(Image.new("RGB", size, RED)))
    assert picture.image.size == stored and (picture.width, picture.height) == size
    looks(picture.image)


@pytest.mark.parametrize("size", [(2400, 1600), (1536, 1024), (1152, 768), (768, 512)])
def test_large_jpeg_decoded_small_looks_the_same(size: tuple[int, int]) -> None:
    content = encoded(texture(5, *size), quality=95)
    found = np.asarray(read(content).image).astype(float)
    with Image.open(io.BytesIO(content)) as whole:
        wanted = np.asarray(whole.resize((384, 256), Image.Resampling.LANCZOS)).astype(float)
    assert np.abs(found - wanted).mean() < 1 and np.quantile(np.abs(found - wanted), 0.999) <= 12


def test_stored_jpeg_has_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    source = encoded(quarters(), exif=exif.tobytes(), comment=b"secret comment", dpi=(72, 72))
    stored = encode(read(source).image, 90)
    assert b"secret" not in stored
    with Image.open(io.BytesIO(stored)) as image:
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_blank_picture_has_no_deviation_and_no_quality() -> None:
    seen = looks(read(encoded(Image.new("RGB", (300, 300), "white"))).image)
    assert seen.deviation == 0 and seen.quality == 0
    assert looks(texture(1)).deviation > 20 and looks(texture(1)).quality > 90


def test_mirror_hash_is_the_hash_of_the_mirrored_pixels() -> None:
    for seed in range(20):
        image = texture(seed, 300 + seed, 200 + 3 * seed)
        assert looks(image).pdq_mirrored == looks(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).pdq


def swapped_profile() -> bytes:
    """An RGB profile whose red and blue primaries have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {}
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        tags[name] = (132 + 12 * number, offset, size)
    for name, other in ((b"rXYZ", b"bXYZ"), (b"bXYZ", b"rXYZ")):
        struct.pack_into(">4s", profile, tags[name][0], other)
    return bytes(profile)
