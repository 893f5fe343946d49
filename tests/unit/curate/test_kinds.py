"""What kind of picture it is, by its colours and by the words of its texts."""

from __future__ import annotations

import glob
from typing import Any

import numpy as np
import pytest
from harvests import Harvest
from PIL import Image
from textures import encoded, texture

from kg2clip.curate import kinds
from kg2clip.curate.decode import Rules, decode
from kg2clip.mirror import build, oddities, subjects, tuxpaint
from kg2clip.mirror.tuxpaint import cutouts

RULES = Rules(256, 90, "#ffffff", 50_000_000)
PHOTOGRAPHS = sorted(glob.glob("/usr/share/tuxpaint/templates/*.jpg"))  # of Debian's tuxpaint-data, where installed

installed = pytest.mark.skipif(not tuxpaint.is_installed(), reason=f"needs Debian's {tuxpaint.PACKAGE}")


@pytest.mark.parametrize("quality", [40, 90])
@pytest.mark.parametrize("collection", ["rendered", pytest.param("tuxpaint", marks=installed)])
@pytest.mark.parametrize("subject", ["photograph", "drawing", "map", "logo"])
def test_pictures_of_the_mirror(subject: str, collection: str, quality: int) -> None:
    species = build.COLLECTIONS[collection].species()
    for number in range(3):
        picture = build.draw(collection, species[7 * number % len(species)].scientific_name, number)
        shown = encoded(subjects.draw(subject, picture, number), quality=quality)
        assert kinds.seen(decode(shown, RULES).image) == subject


@pytest.mark.skipif(not PHOTOGRAPHS, reason="needs Debian's tuxpaint-data")
def test_real_photographs() -> None:
    for path in PHOTOGRAPHS:
        with open(path, "rb") as file:
            assert kinds.seen(decode(file.read(), RULES).image) == "photograph", path


@pytest.mark.parametrize("ground", ["white", "black", "#90b8e0"])
def test_a_photograph_before_a_plain_ground(ground: str) -> None:
    picture = Image.new("RGB", (400, 300), ground)
    picture.paste(texture(1, 120, 100), (150, 90))
    assert kinds.seen(decode(encoded(picture), RULES).image) == "photograph"
    picture.paste(texture(2, 90, 100), (0, 0))  # it may touch the edge
    assert kinds.seen(decode(encoded(picture), RULES).image) == "photograph"


@installed
def test_cut_out_photographs_on_white() -> None:
    stamps = [path for kind in ("food", "plants") for path in (cutouts.STAMPS / kind).rglob("*.png")]
    shown = sorted(path for path in stamps if "cartoon" not in path.parts)[::3]
    seen = [kinds.seen(decode(path.read_bytes(), RULES).image) for path in shown]
    assert seen.count("photograph") >= 0.93 * len(seen) > 20


def test_a_sky_that_fades_is_no_map() -> None:
    rows = np.linspace((120, 170, 230), (250, 250, 250), 300)
    sky = np.repeat(rows[:, None], 400, axis=1).round().astype(np.uint8)
    picture = Image.fromarray(sky)
    picture.paste(texture(3, 400, 80), (0, 220))
    assert kinds.seen(decode(encoded(picture), RULES).image) == "photograph"


@pytest.mark.parametrize("size", [(1, 1), (9, 400), (13, 13)])
def test_small_pictures_are_of_some_kind(size: tuple[int, int]) -> None:
    assert kinds.seen(texture(1).resize(size)) in kinds.KINDS


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Bombus terrestris distribution map.png", "map"), ("Map of the range", "map"), ("Verbreitungskarte", "map"),
        ("Map butterfly (Araschnia levana)", None), ("Mapping the genome", None),
        ("Logo of a nature reserve", "logo"), ("Coat of Arms of Berlin", "logo"), ("Ecologos", None),
        ("Herbarium sheet of Linaria vulgaris", "specimen"), ("Apis mellifera · Holotype, dorsal", "specimen"),
        ("A fine specimen of an oak", None), ("Museum specimen", "specimen"), ("Turdus merula MHNT.ZOO", "specimen"),
        ("Illustration from Köhler", "drawing"), ("Water colour, 1820", "drawing"), ("Line-art", None),
        ("Herbarium illustration", "specimen"), ("", None), ("European robin in the snow", None),
    ],
)  # fmt: skip
def test_words(text: str, kind: str | None) -> None:
    assert kinds.said(text) == kind


@pytest.fixture
def judged(harvest: Harvest) -> Harvest:
    photograph = texture(1)
    harvest.pictures = {
        "a-photograph": encoded(photograph),
        "b-drawing": encoded(subjects.draw("drawing", texture(2), 1)),
        "c-logo": encoded(subjects.draw("logo", oddities.scene(), 1)),
        "d-told": encoded(texture(4)),
        "e-tagged": encoded(texture(5)),
        "f-broken": encoded(texture(6))[:500],
    }
    harvest.said = {"d-told": {"title": "Apis, holotype"}, "e-tagged": {"tags": ["bee", "Engraving"]}}
    harvest.said["f-broken"] = {"title": "A map of nothing"}
    harvest.write()
    assert harvest.decode().returncode == 0
    return harvest


def told(harvest: Harvest) -> dict[str, Any]:
    done = harvest.decide()
    assert done.returncode == 0, done.stderr
    return harvest.rows(harvest.decisions)


def test_pictures_are_tagged_and_kept(judged: Harvest) -> None:
    rows = told(judged)
    assert {key: row["pictureKind"] for key, row in rows.items()} == {
        "a-photograph": "photograph", "b-drawing": "drawing", "c-logo": "logo", "d-told": "specimen",
        "e-tagged": "drawing", "f-broken": None,
    }  # fmt: skip
    assert {key for key, row in rows.items() if row["kept"]} == set(rows) - {"f-broken"}


def test_kinds_that_are_not_wanted_are_dropped(judged: Harvest) -> None:
    judged.config = {"curate": {"picture_kinds": ["photograph", "specimen"]}}
    judged.write()
    rows = told(judged)
    dropped = {key for key, row in rows.items() if row["reason"] == "picture-kind"}
    assert dropped == {"b-drawing", "c-logo", "e-tagged"} and rows["f-broken"]["reason"] == "truncated"
