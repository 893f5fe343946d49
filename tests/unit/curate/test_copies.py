"""Search for near hashes and groups of copies, held against brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kg2clip.curate import copies, neighbours
from kg2clip.curate.copies import Fingerprints, best_matches, evidence, group


def flipped(hashes: np.ndarray, bits: int, seed: int) -> np.ndarray:
    """Copies of hashes with so many bits changed."""
    random = np.random.default_rng(seed)
    out = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row in out:
        row[random.choice(256, bits, replace=False)] ^= 1
    return np.packbits(out, axis=1).view(np.uint64)


def hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 4), dtype=np.uint64)


def prints(pdq: np.ndarray, mirrored: np.ndarray | None = None, **columns: list[object]) -> Fingerprints:
    names = np.array([f"{number:064d}" for number in range(len(pdq))], object)
    return Fingerprints(
        np.array(columns["sha256"], object) if "sha256" in columns else names,
        np.array(columns["pixels"], object) if "pixels" in columns else names,
        pdq,
        hashes(len(pdq), 99) if mirrored is None else mirrored,
        np.array(columns["telling"], bool) if "telling" in columns else np.ones(len(pdq), bool),
        np.repeat(np.array(columns.get("colours", [(9, 9, 9)] * len(pdq)), np.uint8).reshape(-1, 1, 3), 16, axis=1),
    )


@pytest.mark.parametrize("distance", [0, 10, 15, 16, 31])
def test_search_finds_exactly_what_brute_force_finds(distance: int) -> None:
    first = hashes(60)
    second = np.concatenate([flipped(first, bits, bits) for bits in (0, 9, 15, 16, 17, 30, 31, 32)])
    everything = neighbours.distances(first[:, None], second[None])
    wanted = {(int(a), int(b), int(everything[a, b])) for a, b in np.argwhere(everything <= distance)}
    found = {
        pair
        for block in neighbours.within(first, second, distance)
        for pair in zip(*map(np.ndarray.tolist, block), strict=True)
    }
    assert found == wanted and len(wanted) >= 60


@pytest.mark.parametrize("distance", [0, 15, 31])
def test_pairs_within_one_array_come_from_one_end(distance: int) -> None:
    some = np.concatenate([hashes(30), flipped(hashes(30), 9, 1), flipped(hashes(30), 31, 2), hashes(5)])
    everything = neighbours.distances(some[:, None], some[None])
    wanted = {(int(a), int(b)) for a, b in np.argwhere(everything <= distance) if a < b}
    found = [
        tuple(sorted(pair))
        for block in neighbours.Index(some).pairs(distance)
        for pair in zip(block.first.tolist(), block.second.tolist(), strict=True)
    ]
    assert set(found) == wanted and len(wanted) >= 5
    assert not distance or len(found) < 16 * len(wanted)


def test_worst_case_of_31_bits_spread_over_all_chunks() -> None:
    one = np.zeros((1, 4), np.uint64)
    bits = np.zeros(256, np.uint8)
    bits[[chunk * 16 + place for chunk in range(16) for place in (0, 1)][:31]] = 1
    other = np.packbits(bits).view(np.uint64)[None]
    assert [int(block.distance[0]) for block in neighbours.within(one, other, 31)][:1] == [31]


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.repeat(hashes(3), 40, axis=0)

    def found() -> set[tuple[int, ...]]:
        return {
            pair
            for block in neighbours.within(first, first, 5)
            for pair in zip(*map(np.ndarray.tolist, block), strict=True)
        }

    whole = found()
    monkeypatch.setattr(neighbours, "BLOCK", 50)
    assert found() == whole and len(whole) == 3 * 40 * 40


def test_pdq_distance_of_256_is_not_taken_for_0() -> None:
    assert neighbours.distances(np.zeros(4, np.uint64), ~np.zeros(4, np.uint64)) == 256


def test_groups_by_every_evidence() -> None:
    pdq = hashes(8)
    pdq[5] = flipped(pdq[4:5], 31, 1)[0]
    mirrored = hashes(8, 7)
    mirrored[6] = flipped(pdq[7:8], 4, 2)[0]
    mirrored[7] = flipped(pdq[6:7], 4, 3)[0]
    pdq[1], pdq[3] = pdq[0], pdq[2]
    sha256 = ["a", "a", "c", "d", "e", "f", "g", "h"]
    pixels = ["1", "1", "3", "3", "5", "6", "7", "8"]
    found = group(
        prints(pdq, mirrored, sha256=sha256, pixels=pixels, telling=[0, 0, 0, 0, 1, 1, 1, 1]), np.arange(8), 31
    )
    assert found.survivor.tolist() == [0, 0, 2, 2, 4, 4, 6, 6]
    assert [evidence(int(rank)) for rank in found.rank[1::2]] == [
        ("sha256", None), ("pixels", None), ("pdq", 31), ("pdq-mirrored", 4),
    ]  # fmt: skip
    assert (found.rank[::2] == copies.NO_LINK).all()


def test_dull_pictures_are_not_compared_by_looks() -> None:
    pdq = np.repeat(hashes(1), 2, axis=0)
    assert group(prints(pdq, telling=[1, 0]), np.arange(2), 31).survivor.tolist() == [0, 1]
    assert group(prints(pdq, telling=[1, 1]), np.arange(2), 31).survivor.tolist() == [0, 0]


RED, GREEN, GREY = (180, 20, 20), (20, 120, 20), (70, 70, 70)


def test_one_shape_in_other_colours_is_another_picture() -> None:
    pdq = flipped(np.repeat(hashes(1), 6, axis=0), 5, 1)
    pdq[3:] = pdq[:3]  # equal hashes too
    found = group(prints(pdq, colours=[RED, GREEN, RED, GREEN, GREEN, RED]), np.arange(6), 31)
    assert found.survivor.tolist() == [0, 1, 0, 1, 1, 0]
    tests = prints(pdq[:1], colours=[GREEN], sha256=["t"], pixels=["t"])
    assert best_matches(prints(pdq[:2], colours=[RED, GREEN]), tests, 31)[0].tolist() == [copies.NO_LINK, 0]


def test_a_grey_copy_does_not_join_two_colours() -> None:
    pictures = prints(np.repeat(hashes(1), 3, axis=0), colours=[GREY, RED, GREEN])
    assert group(pictures, np.array([1, 0, 2]), 31).survivor.tolist() == [1, 1, 2]
    assert group(pictures, np.array([0, 1, 2]), 31).survivor.tolist() == [0, 0, 0], "it may be a copy of either"


def test_the_colours_of_a_mirror_image_are_mirrored() -> None:
    pdq, turned = hashes(2), hashes(2, 7)
    turned[0], turned[1] = pdq[1], pdq[0]
    one = prints(pdq, turned)
    half = np.zeros((1, 4, 4, 3), np.uint8)
    half[:, :, :2], half[:, :, 2:] = RED, GREEN
    for other, found in ((half[:, :, ::-1], [0, 0]), (half, [0, 1])):
        both = replace(one, colours=np.concatenate([half, other]).reshape(2, 16, 3))
        assert group(both, np.arange(2), 31).survivor.tolist() == found


def test_survivor_is_the_one_of_the_lowest_order() -> None:
    pdq = np.repeat(hashes(1), 4, axis=0)
    assert group(prints(pdq), np.array([3, 2, 0, 1]), 31).survivor.tolist() == [2] * 4


def test_a_chain_is_split_at_twice_the_distance() -> None:
    bits = np.zeros((6, 256), np.uint8)
    for step in range(6):
        bits[step, : 25 * step] = 1  # 25 bits from one to the next, 125 from end to end
    pdq = np.packbits(bits, axis=1).view(np.uint64)
    found = group(prints(pdq), np.arange(6), 31)
    assert found.survivor.tolist() == [0, 0, 0, 3, 3, 3]
    apart = neighbours.distances(pdq, pdq[found.survivor])
    assert apart.max() <= 62 and found.rank[3] == copies.NO_LINK


def test_groups_do_not_depend_on_the_order_of_pictures() -> None:
    base = hashes(40)
    pdq = np.concatenate([base, flipped(base, 12, 1), flipped(base[:20], 28, 2)])
    order = np.random.default_rng(5).permutation(len(pdq))
    found = group(prints(pdq), order, 31)
    shuffled = np.random.default_rng(6).permutation(len(pdq))
    mixed = prints(pdq)
    again = group(mixed.take(shuffled), order[shuffled], 31)
    assert (shuffled[again.survivor] == found.survivor[shuffled]).all()
    assert len(set(found.survivor.tolist())) == 40


def test_thousands_of_equal_hashes_are_one_group_in_no_time() -> None:
    pdq = np.repeat(hashes(2), 20_000, axis=0)
    found = group(prints(pdq, np.repeat(hashes(2, 3), 20_000, axis=0)), np.arange(40_000), 31)
    assert set(found.survivor.tolist()) == {0, 20_000}


def test_thinning_on_the_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pdq = flipped(np.repeat(hashes(3), 30, axis=0), 8, 4)
    whole = copies.forest(prints(pdq), 31)
    monkeypatch.setattr(copies, "BUFFERED", 0)
    assert all((one == other).all() for one, other in zip(whole, copies.forest(prints(pdq), 31), strict=True))
    assert len(whole.first) == 87


def test_best_match_is_the_surest() -> None:
    pdq = hashes(4)
    others = np.concatenate([flipped(pdq[:1], 20, 1), flipped(pdq[:1], 6, 2), hashes(1, 50), pdq[2:3]])
    mine = prints(pdq, sha256=["a", "b", "c", "d"], pixels=["1", "2", "3", "4"])
    theirs = prints(others, hashes(4, 77), sha256=["w", "x", "d", "y"], pixels=["5", "6", "7", "8"])
    position, rank = best_matches(mine, theirs, 31)
    assert position.tolist() == [1, copies.NO_LINK, 3, 2]
    assert [evidence(int(one)) for one in rank] == [("pdq", 6), (None, None), ("pdq", 0), ("sha256", None)]


def test_nothing_to_match() -> None:
    empty = prints(np.empty((0, 4), np.uint64), np.empty((0, 4), np.uint64))
    assert best_matches(prints(hashes(2)), empty, 31)[0].tolist() == [copies.NO_LINK] * 2
    assert len(group(empty, np.empty(0, np.int64), 31).survivor) == 0
