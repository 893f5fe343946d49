"""The `tuxpaint` pictures: the table holds true taxa; training, scene and held-out pictures are kept apart."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pdqhash
import pytest
import taxoniq

from kg2clip.errors import UserError
from kg2clip.mirror import tuxpaint
from kg2clip.mirror.rendered import COLOURS
from kg2clip.mirror.tuxpaint import cutouts
from kg2clip.mirror.tuxpaint.picture import choose_cutout

KINDS = tuxpaint.species()
BY_NAME = {one.vernacular_name: one for one in KINDS}
NEAR_DUPLICATE = 31  # PDQ bits; design 5 keeps apart what is closer
SCENE, HELD_OUT = tuxpaint.FIRST_SCENE_SEED, tuxpaint.FIRST_HELD_OUT_SEED

needs_package = pytest.mark.skipif(
    not tuxpaint.is_installed(), reason=f"the Debian package {tuxpaint.PACKAGE} is not installed"
)


def test_enough_kinds_of_very_different_groups() -> None:
    groups = Counter(one.group for one in KINDS)
    assert len(KINDS) >= 60
    assert {"mammals", "birds", "fishes", "insects", "flowers", "trees", "fruits", "mushrooms"} <= set(groups)
    assert sum(map(tuxpaint.has_held_out, KINDS)) >= 20


@pytest.mark.parametrize("one", KINDS, ids=lambda one: one.scientific_name)
def test_ncbi_knows_the_taxon_under_this_number_and_name(one: tuxpaint.Kind) -> None:
    assert taxoniq.Taxon(one.taxon_id).scientific_name == one.scientific_name


def test_no_kind_is_another_or_stands_below_it() -> None:
    numbers = {one.taxon_id for one in KINDS}
    assert len(numbers) == len(KINDS)
    for one in KINDS:
        above = {taxon.tax_id for taxon in taxoniq.Taxon(one.taxon_id).lineage[1:]}
        assert not above & numbers, one.scientific_name


def test_no_name_means_two_kinds() -> None:
    names = Counter(
        name
        for one in KINDS
        for name in {
            name.casefold() for name in (one.scientific_name, one.vernacular_name, *one.aliases, *one.synonyms)
        }
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("one", KINDS, ids=lambda one: one.scientific_name)
def test_row_is_complete(one: tuxpaint.Kind) -> None:
    assert one.vernacular_name and one.vernacular_name not in one.aliases
    assert one.description.endswith(".") and one.description.count(".") == 1
    assert one.cutouts and set(one.cartoon) <= set(one.all_cutouts)
    assert {name for name in one.all_cutouts if "/cartoon/" in name} <= set(one.cartoon)
    assert tuxpaint.has_held_out(one) == (len(one.all_cutouts) > 1)


def test_no_cutout_shows_two_kinds_or_is_held_out_and_trained() -> None:
    files = Counter(name for one in KINDS for name in one.all_cutouts)
    assert set(files.values()) == {1}
    assert not [name for name in files if Path(name).stem.endswith(("_mirror", "_flip"))]


@pytest.mark.parametrize(
    ("seeds", "held_out"),
    [(range(200), False), (range(SCENE, SCENE + 200), False), (range(HELD_OUT, HELD_OUT + 200), True)],
)
def test_seed_range_decides_between_training_and_held_out_cutouts(seeds: range, held_out: bool) -> None:
    apple = BY_NAME["apple"]
    shown = {choose_cutout(apple, seed, np.random.default_rng(seed)) for seed in seeds}
    assert shown == ({apple.held_out} if held_out else set(apple.cutouts))


def test_held_out_picture_of_a_kind_that_has_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Phascolarctos cinereus has no held-out cut-out"):
        choose_cutout(BY_NAME["koala"], HELD_OUT, np.random.default_rng(0))


def test_without_the_package_the_message_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutouts, "STAMPS", tmp_path)
    cutouts.load.cache_clear()
    assert not tuxpaint.is_installed()
    with pytest.raises(UserError, match="apt-get install tuxpaint-stamps-default"):
        tuxpaint.draw(BY_NAME["koala"], 0)


@needs_package
def test_same_seed_same_pixels_in_another_process_too() -> None:
    code = (
        "import hashlib; from kg2clip.mirror import tuxpaint\n"
        "one = {s.vernacular_name: s for s in tuxpaint.species()}['koala']\n"
        "print(hashlib.sha256(tuxpaint.draw(one, 7).tobytes()).hexdigest())"
    )
    scripts = Path(tuxpaint.__file__).parents[3]
    other = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True).stdout
    here = tuxpaint.draw(BY_NAME["koala"], 7)
    assert other.strip() == hashlib.sha256(here.tobytes()).hexdigest()
    assert here.tobytes() != tuxpaint.draw(BY_NAME["koala"], 8).tobytes()


@needs_package
@pytest.mark.parametrize("one", KINDS, ids=lambda one: one.scientific_name)
def test_cutouts_are_what_they_should_be(one: tuxpaint.Kind) -> None:
    for name in one.all_cutouts:
        pixels = cutouts.load(name)
        height, width, channels = pixels.shape
        assert channels == 4 and 200 <= max(height, width) <= 400
        assert 0.02 < (pixels[..., 3] > 128).mean() < 0.98, "neither empty nor a rectangle without transparency"
        assert (pixels[..., :3] <= pixels[..., 3:]).all(), "premultiplied"
        first, *others = (np.argwhere((pixels[..., 3] > 0).any(axis=axis)).ravel() for axis in (0, 1))
        assert all(line[0] <= 8 for line in (first, *others)), "trimmed"


@needs_package
def test_colours_are_measured_in_the_words_of_the_vocabulary() -> None:
    assert all(one.colours and set(one.colours) <= set(COLOURS) for one in KINDS)
    assert {name: BY_NAME[name].colours[0] for name in ("tomato", "blackbird", "plum", "mandarin", "lemon")} == {
        "tomato": "red",
        "blackbird": "black",
        "plum": "purple",
        "mandarin": "orange",
        "lemon": "yellow",
    }


@needs_package
@pytest.mark.parametrize("size", [(480, 360), (200, 300), (64, 64)])
def test_size_and_mode(size: tuple[int, int]) -> None:
    for one in KINDS[::24]:
        picture = tuxpaint.draw(one, 0, *size)
        assert (picture.size, picture.mode) == (size, "RGB")


@needs_package
def test_cutout_fills_the_frame_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from kg2clip.mirror.tuxpaint import picture

    cutout = np.full((100, 200, 4), 255, np.uint8)
    shares = []
    for seed in range(60):
        alpha = picture._placed(np.random.default_rng(seed), cutout, 480, 360)[..., 3] > 128
        rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
        shares.append(max((columns[-1] - columns[0] + 1) / 480, (rows[-1] - rows[0] + 1) / 360))
        assert alpha.sum() > 0.5 * len(rows) * len(columns)
    assert 0.38 <= min(shares) < 0.5 and 0.8 < max(shares) <= 0.92


@needs_package
def test_pictures_are_no_near_duplicates_of_one_another() -> None:
    plain, mirrored, qualities = [], [], []
    for name in ("koala", "orange", "avocado", "apricot"):
        one = BY_NAME[name]
        tests = [*range(SCENE, SCENE + 5), *(range(HELD_OUT, HELD_OUT + 5) if one.held_out else ())]
        for seed in (*range(12), *tests):
            pixels = np.asarray(tuxpaint.draw(one, seed))
            bits, quality = pdqhash.compute(pixels)
            plain.append(bits)
            qualities.append(quality)
            mirrored.append(pdqhash.compute(np.ascontiguousarray(pixels[:, ::-1]))[0])
    for first, second in itertools.combinations(range(len(plain)), 2):
        assert np.count_nonzero(plain[first] != plain[second]) > NEAR_DUPLICATE
        assert np.count_nonzero(plain[first] != mirrored[second]) > NEAR_DUPLICATE
    assert np.mean(np.array(qualities) >= 50) >= 0.99


@needs_package
def test_pictures_of_different_kinds_differ() -> None:
    hashes = [pdqhash.compute(np.asarray(tuxpaint.draw(one, 100)))[0] for one in KINDS[::3]]
    assert min(np.count_nonzero(a != b) for a, b in itertools.combinations(hashes, 2)) > NEAR_DUPLICATE
