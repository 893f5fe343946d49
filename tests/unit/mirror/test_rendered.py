"""The `rendered` pictures: the tables hold true names, the traits drive the drawing, no two pictures hash alike."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pdqhash
import pytest
import taxoniq
from PIL import Image

from kg2clip.mirror import rendered
from kg2clip.mirror.rendered import table
from kg2clip.mirror.rendered.canvas import Canvas, ellipse
from kg2clip.mirror.rendered.picture import PLANS
from kg2clip.mirror.rendered.scenes import HABITATS

SPECIES = rendered.species()
BY_NAME = {one.scientific_name: one for one in SPECIES}
NEAR_DUPLICATE = 31  # PDQ bits; design 5 keeps apart what is closer
SAMPLE = ["Bombus terrestris", "Turdus merula", "Amanita phalloides", "Amphiprion ocellaris", "Panthera leo"]


def test_enough_species_of_very_different_groups() -> None:
    groups = Counter(one.group for one in SPECIES)
    assert len(BY_NAME) == len(SPECIES) >= 48
    assert set(groups) == set(PLANS)
    assert min(groups.values()) >= 5


def test_most_groups_hold_lookalikes_of_one_genus() -> None:
    genera = defaultdict(Counter)  # type: ignore[var-annotated]
    for one in SPECIES:
        genera[one.group][one.scientific_name.split()[0]] += 1
    assert all(max(counts.values()) >= 2 for counts in genera.values())


@pytest.mark.parametrize("one", SPECIES, ids=lambda one: one.scientific_name)
def test_ncbi_knows_the_species_under_this_name_and_number(one: rendered.Species) -> None:
    taxon = taxoniq.Taxon(scientific_name=one.scientific_name)
    assert (taxon.tax_id, taxon.rank.name) == (one.taxon_id, "species")


def test_names_collide_as_in_life() -> None:
    genus_groups = defaultdict(set)
    for one in SPECIES:
        genus_groups[one.scientific_name.split()[0]].add(one.group)
    assert all(genus_groups[genus] == {"birds", "flowers"} for genus in ("Prunella", "Linaria", "Oenanthe"))
    assert {one.scientific_name for one in SPECIES if "robin" in one.aliases} == {
        "Erithacus rubecula",
        "Turdus migratorius",
    }


@pytest.mark.parametrize("one", SPECIES, ids=lambda one: one.scientific_name)
def test_row_is_complete(one: rendered.Species) -> None:
    assert one.vernacular_name and one.vernacular_name not in one.aliases
    assert one.scientific_name not in one.synonyms
    assert one.description.endswith(".") and one.description.count(".") == 1
    assert one.word("habitat") in HABITATS
    assert all(trait.value and trait.source for trait in one.traits.values())


@pytest.mark.parametrize("one", SPECIES, ids=lambda one: one.scientific_name)
def test_colours_of_the_whole_are_colours_of_parts(one: rendered.Species) -> None:
    parts = {word for name in one.traits if name != "colour" for word in one.words(name)}
    drawn = parts | {"green"} if one.group == "flowers" else parts
    assert one.colours and set(one.colours) <= drawn & set(rendered.COLOURS)


class Recording(dict):  # type: ignore[type-arg]
    """A mapping that knows which of its keys were read."""

    def __init__(self, values: object) -> None:
        super().__init__(values)  # type: ignore[call-overload]
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> object:
        self.read.add(key)
        return super().__getitem__(key)


@pytest.mark.parametrize("one", SPECIES, ids=lambda one: one.scientific_name)
def test_every_trait_is_drawn(one: rendered.Species) -> None:
    traits = Recording(one.traits)
    for seed in range(2):
        rendered.draw(replace(one, traits=traits), seed, 120, 90)
    assert set(traits) - traits.read == {"colour"}  # said of the whole, drawn as parts


def test_same_seed_same_pixels_in_another_process_too() -> None:
    code = (
        "import hashlib; from kg2clip.mirror import rendered\n"
        "one = {s.scientific_name: s for s in rendered.species()}['Turdus merula']\n"
        "print(hashlib.sha256(rendered.draw(one, 7).tobytes()).hexdigest())"
    )
    scripts = Path(rendered.__file__).parents[3]
    runs = {
        subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1 and len(runs.pop().strip()) == 64
    first, again = (rendered.draw(BY_NAME["Vulpes vulpes"], 3) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != rendered.draw(BY_NAME["Vulpes vulpes"], 4).tobytes()


@pytest.mark.parametrize("size", [(480, 360), (200, 300), (64, 64)])
def test_size_and_mode(size: tuple[int, int]) -> None:
    for one in (BY_NAME[name] for name in SAMPLE):
        picture = rendered.draw(one, 0, *size)
        assert isinstance(picture, Image.Image)
        assert (picture.size, picture.mode) == (size, "RGB")


def _hashes(pictures: Iterator[Image.Image]) -> tuple[np.ndarray, np.ndarray, list[int]]:  # type: ignore[type-arg]
    plain, mirrored, qualities = [], [], []
    for picture in pictures:
        pixels = np.asarray(picture)
        bits, quality = pdqhash.compute(pixels)
        plain.append(bits)
        qualities.append(quality)
        mirrored.append(pdqhash.compute(np.ascontiguousarray(pixels[:, ::-1]))[0])
    return np.array(plain, int), np.array(mirrored, int), qualities


def test_pictures_are_no_near_duplicates_of_one_another() -> None:
    pictures = (rendered.draw(BY_NAME[name], seed) for name in SAMPLE for seed in range(40))
    plain, mirrored, qualities = _hashes(pictures)
    for first, second in itertools.combinations(range(len(plain)), 2):
        assert np.count_nonzero(plain[first] != plain[second]) > NEAR_DUPLICATE
        assert np.count_nonzero(plain[first] != mirrored[second]) > NEAR_DUPLICATE
    assert np.mean(np.array(qualities) >= 50) >= 0.99


def test_one_picture_of_each_species_differs_from_all_others() -> None:
    plain, _, qualities = _hashes(rendered.draw(one, 100) for one in SPECIES)
    distances = [np.count_nonzero(a != b) for a, b in itertools.combinations(plain, 2)]
    assert min(distances) > NEAR_DUPLICATE
    assert min(qualities) >= 50


def test_a_changed_trait_shows() -> None:
    red = BY_NAME["Amanita muscaria"]
    blue = replace(red, traits={**red.traits, "capColour": rendered.Trait("blue", "test")})
    for seed in range(4):
        warm, cold = (np.asarray(rendered.draw(one, seed), int).mean(axis=(0, 1)) for one in (red, blue))
        assert warm[0] - warm[2] > cold[0] - cold[2] + 5


def test_pattern_stays_inside_its_outline() -> None:
    canvas = Canvas.blank(80, 60).at(40, 30, 0, 20, 20)
    canvas.fill(ellipse(0, 0, 1, 1), (10, 10, 10))
    with canvas.inside(ellipse(0, 0, 0.5, 0.5)):
        canvas.fill([(-9, -9), (9, -9), (9, 9), (-9, 9)], (200, 0, 0))
    assert tuple(canvas.pixels[30, 40]) == (200, 0, 0, 255)
    assert tuple(canvas.pixels[30, 55]) == (10, 10, 10, 255)
    assert tuple(canvas.pixels[2, 2]) == (0, 0, 0, 0)


def test_outline_beyond_the_picture_is_no_error() -> None:
    canvas = Canvas.blank(20, 20).at(500, 500, 0, 5, 5)
    with canvas.inside(ellipse(0, 0, 1, 1)):
        canvas.spot(0, 0, 1, (1, 2, 3))
    assert not canvas.pixels.any()


def test_unknown_colour_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "traits.csv"
    wrong.write_text(table.TRAITS_FILE.read_text().replace("colour,red|white,", "colour,mauvish|white,", 1))
    monkeypatch.setattr(table, "TRAITS_FILE", wrong)
    with pytest.raises(ValueError, match="mauvish"):
        table._all.__wrapped__()
