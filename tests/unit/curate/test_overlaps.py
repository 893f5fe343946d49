"""Crops and pictures with something laid over them: windows, alignment, and what becomes of the copies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from harvests import Harvest
from PIL import Image, ImageDraw, ImageOps
from scipy.fft import dct
from textures import benchmark, encoded, texture

from kg2clip import tables
from kg2clip.curate import neighbours, overlaps
from kg2clip.curate.alignment import View, agreement, view
from kg2clip.curate.copies import NO_LINK, OVERLAP, Groups, evidence, merge
from kg2clip.curate.decode import Rules
from kg2clip.curate.overlaps import NEAREST, Comparison, Pictures
from kg2clip.curate.windows import MIRRORING, WINDOWS, window_hashes
from kg2clip.files import sha256_file

RULES = Rules(256, 90, "#ffffff", 50_000_000)


def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of the sides."""
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def banded(image: Image.Image, share: float = 0.1) -> Image.Image:
    """With a half-transparent band and a text on it."""
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    top = image.height // 2
    draw.rectangle((0, top, image.width, top + image.height * share), fill=(255, 255, 255, 150))
    draw.text((50, top), "(c) somebody who likes long texts", fill=(60, 60, 60, 255))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def test_the_hash_of_the_whole_is_that_of_its_cosine_transform() -> None:
    grey = np.asarray(texture(1).convert("L").resize((64, 64)), np.float32)
    spectrum = dct(dct(grey, axis=0), axis=1)[1:17, 1:17]
    wanted = spectrum > np.median(spectrum)
    assert np.unpackbits(window_hashes(grey)[0].view(np.uint8)).sum() == 128 == wanted.sum()
    # Integrals over pixels weigh frequencies anew, which moves the median, but hardly.
    found = np.sort(np.unpackbits(window_hashes(grey)[0].view(np.uint8)).reshape(16, 16), axis=None)
    assert found.tolist() == np.sort(wanted, axis=None).tolist()


@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_a_window_looks_like_the_crop_that_shows_it(number: int) -> None:
    picture = texture(2)
    left, right, top, bottom = WINDOWS[number]
    crop = cut(picture, left, top, 1 - right, 1 - bottom)
    apart = neighbours.distances(view(crop).hashes[0], view(picture).hashes)
    assert apart.argmin() == number and apart[number] <= 10


@pytest.mark.parametrize("seed", range(3))
def test_agreement(seed: int) -> None:
    picture, other = texture(seed), texture(seed + 50)
    whole = view(picture)
    for copy in (
        cut(picture, 0.05, 0.05, 0.05, 0.05), cut(picture, 0.1, 0, 0, 0), cut(picture, 0, 0, 0.01, 0.03),
        banded(picture), banded(cut(picture, 0.03, 0.01, 0.02, 0)), picture.resize((150, 100)),
        picture.point(lambda level: int(level * 0.8 + 30)),
    ):  # fmt: skip
        assert min(agreement(view(copy), whole), agreement(whole, view(copy))) >= 0.75
    assert agreement(whole, view(other)) < 0.2
    assert agreement(whole, view(Image.blend(picture, other, 0.45))) < 0.6
    assert agreement(whole, whole) == 1


def test_mirrored_crops_agree() -> None:
    picture = texture(7)
    whole, crop = view(picture), view(cut(ImageOps.mirror(picture), 0.04, 0.01, 0.03, 0.05))
    assert min(agreement(whole, crop), agreement(crop, whole)) >= 0.75
    mirrored = view(ImageOps.mirror(picture)).hashes[0]
    assert neighbours.distances(whole.hashes[0] ^ MIRRORING, mirrored) <= 8


def test_flat_pictures_agree_in_nothing() -> None:
    flat = view(Image.new("RGB", (300, 200), "#777777"))
    assert agreement(flat, flat) == 0


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Harvest:
    """Pictures that are copies in part, decoded, and a benchmark that some of them leaked into."""
    harvest = Harvest(tmp_path_factory.mktemp("overlaps"))
    harvest.pictures = {
        "a-cropped": encoded(cut(texture(1), 0.04, 0.05, 0.05, 0.03)),
        "a-one-side": encoded(cut(texture(1), 0, 0, 0, 0.1), quality=60),
        "a-mirrored-crop": encoded(cut(ImageOps.mirror(texture(1)), 0.05, 0, 0.03, 0.04)),
        "a-original": encoded(texture(1)),
        "a-watermarked": encoded(banded(texture(1), 0.12)),
        "b-alone": encoded(texture(2)),
        "b-alike": encoded(Image.blend(texture(2), texture(40), 0.45)),
        "c-shows-less": encoded(cut(texture(3), 0.03, 0.03, 0.04, 0.04)),
        "d-copy-of-more": encoded(texture(4).resize((400, 267))),
        "d-shows-more": encoded(texture(4)),
    }
    harvest.write()
    strangers = [encoded(texture(seed)) for seed in (60, 61)]
    tests = [encoded(texture(3), quality=95), *strangers, encoded(cut(texture(4), 0.05, 0.02, 0.05, 0.05))]
    benchmark(harvest.folder / "bench", {"test": tests})
    assert harvest.decode().returncode == 0
    return harvest


@pytest.fixture
def judged(decoded: Harvest, tmp_path: Path) -> Harvest:
    """The same in a folder of the test's own."""
    shutil.copytree(decoded.folder, tmp_path, dirs_exist_ok=True)
    return replace(decoded, folder=tmp_path)


def decided(harvest: Harvest, *options: object) -> dict[str, dict[str, object]]:
    done = harvest.decide("--benchmark", f"living={harvest.folder / 'bench'}", *options)
    assert done.returncode == 0, done.stderr
    return harvest.rows(harvest.decisions)


def test_crops_and_watermarks_are_copies(judged: Harvest) -> None:
    rows = decided(judged)
    assert {key for key, row in rows.items() if row["kept"]} == {"a-original", "b-alone", "b-alike"}
    copies = {key: (row["survivorID"], row["match"]) for key, row in rows.items() if row["stage"] == "duplicate"}
    assert copies.pop("a-watermarked")[0] == "a-original"
    assert copies == {key: ("a-original", "overlap") for key in ("a-cropped", "a-mirrored-crop", "a-one-side")}


def test_a_test_picture_that_shows_more_or_less_is_found(judged: Harvest) -> None:
    rows = decided(judged)
    leaks = {key: (row["benchmarkKey"], row["match"]) for key, row in rows.items() if row["stage"] == "decontamination"}
    assert leaks["c-shows-less"] == ("test/s0000000", "overlap")
    assert leaks["d-shows-more"] == ("test/s0000003", "overlap")
    assert leaks.keys() == {"c-shows-less", "d-shows-more", "d-copy-of-more"}, "a leak's copies go with it"


def test_order_and_workers_have_no_effect(judged: Harvest) -> None:
    decided(judged)
    wanted = sha256_file(judged.decisions)
    table = tables.read(judged.features)
    tables.write(table.take(pa.array(range(len(table) - 1, -1, -1))), tables.FEATURES, judged.features)
    decided(judged, "--workers", 2)
    assert sha256_file(judged.decisions) == wanted


def test_null_leaves_them(judged: Harvest) -> None:
    judged.config = {"curate": {"overlap": None}}
    judged.write()
    rows = decided(judged)
    assert rows["a-cropped"]["kept"] and rows["c-shows-less"]["kept"]


def merged(pairs: list[tuple[int, int]], alike: set[tuple[int, int]]) -> tuple[Groups, list[tuple[int, int]]]:
    """Five groups, of which pictures 0, 2, 4, 6, 8 survived; the higher the number, the likelier to survive."""
    groups = Groups(np.repeat(np.arange(0, 10, 2), 2), np.tile([NO_LINK, 0], 5))
    asked: list[tuple[int, int]] = []

    def tell(wanted: np.ndarray) -> np.ndarray:
        asked.extend(map(tuple, wanted.tolist()))
        return np.array([pair in alike for pair in map(tuple, wanted.tolist())], bool)

    found = np.array(pairs, np.int64).reshape(-1, 2)
    return merge(groups, np.arange(0, 10, 2), found, np.arange(10)[::-1], tell), asked


def test_merged_groups_have_one_survivor() -> None:
    found, asked = merged([(0, 1), (1, 2)], {(0, 2)})
    assert found.survivor.tolist() == [4] * 6 + [6, 6, 8, 8] and asked == [(0, 2)]
    assert found.rank.tolist() == [OVERLAP, 0, OVERLAP, 0, *[NO_LINK, 0] * 3]
    assert evidence(OVERLAP) == ("overlap", None)


def test_a_chain_is_cut_where_the_ends_are_no_copies() -> None:
    found, _ = merged([(0, 1), (1, 2), (2, 3)], set())
    assert found.survivor.tolist() == [2, 2, 2, 2, 6, 6, 6, 6, 8, 8]


def test_nothing_to_merge() -> None:
    found, asked = merged([], set())
    assert found.survivor.tolist() == np.repeat(np.arange(0, 10, 2), 2).tolist() and not asked


def crowd(count: int, bits: int) -> Pictures:
    """Pictures whose hashes differ in `bits` bits from one of a kind, all windows alike."""
    random = np.random.default_rng(1)
    hashes = np.unpackbits(np.repeat(random.integers(0, 256, (1, 32), np.uint8), count, axis=0), axis=1)
    for row in hashes:
        row[random.choice(256, bits, replace=False)] ^= 1
    packed = np.repeat(np.packbits(hashes, axis=1).view(np.uint64)[:, None], len(WINDOWS), axis=1)

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, count, 500):
            yield np.arange(start, min(count, start + 500)), packed[start : start + 500]

    return Pictures(count, lambda place: pytest.fail("not to be read"), blocks)


def logo(colour: str) -> Image.Image:
    image = Image.new("RGB", (480, 360), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((70, 10, 410, 350), fill=colour)
    draw.ellipse((160, 80, 220, 140), fill="white")
    return image


def test_one_shape_in_another_colour_is_another_picture() -> None:
    green = view(logo("#14680d"))
    assert agreement(green, view(logo("#1b2955"))) < 0.3 and agreement(green, view(logo("#4a3c61"))) < 0.3
    assert agreement(green, view(cut(logo("#14680d"), 0.02, 0.01, 0.03, 0))) > 0.9
    assert agreement(green, view(logo("#14680d").convert("L").convert("RGB"))) > 0.9, "a copy without colours"


def test_pictures_of_one_layout_do_not_explode() -> None:
    frames = crowd(300, 12)
    found = overlaps._nearest(frames, frames)
    assert np.bincount(found[:, 0]).tolist() == [NEAREST] * 300


def test_the_closest_are_looked_at_whatever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = crowd(200, 10)
    whole = overlaps._nearest(frames, frames)
    monkeypatch.setattr(overlaps, "BUFFERED", 100)
    backwards = replace(frames, blocks=lambda: reversed(list(frames.blocks())))
    assert (overlaps._nearest(backwards, backwards) == whole).all()


def test_no_pictures() -> None:
    none = Pictures(0, lambda place: pytest.fail("there is none"), lambda: iter(()))
    comparison = Comparison([], RULES, 0.6)
    assert len(comparison.copies(none)) == 0 == len(comparison.matches(none, none))


def test_crowds_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "LARGEST", 20)
    hashes = np.concatenate([block for _, block in crowd(1000, 0).blocks()])[:, 0]
    found = list(neighbours.Index(hashes).sharing(hashes[:5], 60))
    assert sum(len(pairs.first) for pairs in found) == 5 * 16 * 20


def test_views_are_small() -> None:
    seen = view(texture(1))
    assert isinstance(seen, View) and sum(part.nbytes for part in seen) < 140_000
