"""Photos of one observation: views that no hash finds alike, bursts that differ by their shift."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kg2clip.curate.hashes import looks
from kg2clip.mirror import rendered, tuxpaint
from kg2clip.mirror.rendered.look import Look
from kg2clip.mirror.shots import FRAMES, MARGIN, SHIFTS, Shot, cut_frame, plan_shots

SPECIES = rendered.species()
COLLECTIONS = [
    pytest.param(rendered, id="rendered"),
    pytest.param(
        tuxpaint,
        id="tuxpaint",
        marks=pytest.mark.skipif(not tuxpaint.is_installed(), reason=f"{tuxpaint.PACKAGE} is not installed"),
    ),
]


def apart(one: Image.Image, other: Image.Image) -> int:
    hashes = [np.unpackbits(np.frombuffer(looks(picture).pdq, np.uint8)) for picture in (one, other)]
    return int((hashes[0] != hashes[1]).sum())


def test_bursts_have_three_to_six_frames_of_one_scene_and_known_shifts() -> None:
    plans = [plan_shots(random.Random(seed), "x", 2, 40) for seed in range(400)]
    bursts = [[shot for shot in plan if shot.frame] for plan in plans if any(shot.frame for shot in plan)]
    assert {len(burst) for burst in bursts} == set(range(FRAMES[0], FRAMES[1] + 1))
    for burst in bursts:
        assert [shot.frame for shot in burst] == list(range(1, len(burst) + 1))
        assert len({(shot.picture_seed, shot.individual) for shot in burst}) == 1
        assert burst[0].shift == 0 and all(SHIFTS[0] <= shot.shift <= SHIFTS[1] for shot in burst[1:])
    for plan in plans:
        assert len({shot.picture_id for shot in plan}) == len(plan)
        assert {shot.individual for shot in plan} == {40} and all(shot.picture_seed < 40 + len(plan) for shot in plan)
    assert plan_shots(random.Random(1), "x", 0, 40) == []


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_frames_are_near_and_other_views_are_as_far_as_strangers(collection: Any) -> None:
    for seed, species in enumerate(collection.species()[:24:3]):
        scene = collection.draw(species, seed, round(480 * MARGIN), round(360 * MARGIN), individual=seed)
        first, second, far = (
            cut_frame(scene, Shot("x", seed, seed, frame, shift)) for frame, shift in ((1, 0.0), (2, 0.006), (3, 0.04))
        )
        assert first.size == (480, 360)
        assert 0 < apart(first, second) <= 31 < apart(first, far)
        assert apart(first, collection.draw(species, seed + 100, individual=seed)) > 90


def test_a_frame_shows_no_border() -> None:
    white = Image.new("RGB", (round(480 * MARGIN), round(360 * MARGIN)), "white")
    for frame in range(1, 7):
        seen = np.asarray(cut_frame(white, Shot("x", 1, 1, frame, SHIFTS[1])))
        assert seen.min() == seen.max()


def test_an_individual_keeps_its_tints_in_every_pose() -> None:
    def tints(individual: int, seed: int) -> list[tuple[int, int, int]]:
        look = Look(SPECIES[0], np.random.default_rng(seed), individual)
        return [look.tint(word) for word in ("red", "black")]

    assert tints(1, 1) == tints(1, 2) and tints(1, 1) != tints(2, 1)
    look = Look(SPECIES[0], np.random.default_rng(1), 1)
    assert [look.tint(word) for word in ("black", "red")] == tints(1, 1)[::-1], "whichever is asked for first"


@pytest.mark.skipif(not tuxpaint.is_installed(), reason=f"{tuxpaint.PACKAGE} is not installed")
def test_an_individual_is_one_cutout() -> None:
    kind = next(kind for kind in tuxpaint.species() if tuxpaint.has_held_out(kind))
    held_out = tuxpaint.FIRST_HELD_OUT_SEED + 4
    one, other = (np.asarray(tuxpaint.draw(kind, seed, individual=held_out)) for seed in (1, 2))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, np.asarray(tuxpaint.draw(kind, 1))), "the held-out cut-out, not one for training"
