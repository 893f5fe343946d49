"""Photos of one observation, bursts, and test pictures known by their ids: recorded, and removed as far as they reach."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from harvests import Harvest
from PIL import Image
from textures import benchmark, encoded, texture

from kg2clip.curate.copies import Fingerprints
from kg2clip.curate.observations import (
    IDS,
    NONE,
    find_bursts,
    find_observations,
    read_ids,
    same_id,
    together,
)
from kg2clip.files import sha256_file
from kg2clip.identifiers import candidate_id


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(IDS))


def test_a_sidecar_is_read_with_the_names_of_candidates_and_of_img2dataset() -> None:
    ids = read_ids({"source": "inaturalist", "sourceID": 92152429, "url": "https://x.test/1.jpg", "width": 3, "n": [1]})
    assert ids["candidateID"] == candidate_id("inaturalist", "92152429")
    assert ids["accessURI"] == "https://x.test/1.jpg" and ids["observationID"] is None
    assert set(read_ids({"sourceID": "1", "observationID": " "}).values()) == {None}, "an id needs its source"


def test_ids_match_in_any_column_whatever_the_scheme() -> None:
    pictures = table(
        {"accessURI": "http://x.test/medium.jpg", "originalURI": "http://x.test/original.jpg"},
        {"accessURI": "https://x.test/2.jpg"},
        {},
    )
    tests = table({"accessURI": "https://y.test/1.jpg"}, {"accessURI": "https://x.test/original.jpg"}, {})
    assert same_id(pictures, tests, ("accessURI", "originalURI")).tolist() == [1, NONE, NONE], "null is no id"
    assert same_id(pictures, table(), ("accessURI",)).tolist() == [NONE] * 3


def test_an_observation_is_known_by_either_of_its_ids() -> None:
    pictures = table(
        {},
        {"observationID": "uuid-1", "occurrenceID": "https://x.test/observations/1"},
        {"observationID": "gbif:7", "occurrenceID": "http://x.test/observations/1"},
        {"observationID": "gbif:7"},
        {"observationID": "uuid-2"},
        {},
    )
    assert find_observations(pictures).tolist() == [NONE, 1, 1, 1, 4, NONE]


def test_what_belongs_together_in_any_way_is_one_chain() -> None:
    copies, observation = np.array([0, 0, 2, 3, 3]), np.array([NONE, 1, 1, NONE, NONE])
    assert together(copies, observation).tolist() == [0, 0, 0, 3, 3]
    assert together(np.arange(3)).tolist() == [0, 1, 2]


def walking(steps: list[int]) -> Fingerprints:
    """Hashes of which each has so many bits more than the one before."""
    bits = np.zeros((len(steps), 256), np.uint8)
    for row, count in enumerate(np.cumsum(steps)):
        bits[row, :count] = 1
    pdq = np.packbits(bits, axis=1).view(np.uint64)
    names = np.array([f"{number}" for number in range(len(steps))], object)
    count = len(steps)
    return Fingerprints(names, names.copy(), pdq, ~pdq, np.ones(count, bool), np.zeros((count, 16, 3), np.uint8))


def test_a_burst_is_a_chain_within_one_observation() -> None:
    prints = walking([0, 60, 60, 5, 5, 60])
    burst, nearest = find_bursts(prints, np.array([0, 0, 0, 3, 3, NONE]), 64)
    assert burst.tolist() == [0, 0, 0, 3, 3, NONE] and nearest.tolist() == [60, 60, 60, 5, 5, NONE]
    burst, _ = find_bursts(prints, np.array([0, 0, 0, 3, 3, NONE]), 59)
    assert burst.tolist() == [NONE, NONE, NONE, 3, 3, NONE]


def test_the_same_photo_twice_or_one_without_structure_makes_no_burst() -> None:
    prints = walking([0, 0, 5])
    prints.pixels[1] = prints.pixels[0]
    prints.telling[2] = False
    assert find_bursts(prints, np.zeros(3, np.int64), 64)[0].tolist() == [NONE] * 3


def test_three_hundred_frames_are_one_burst() -> None:
    burst, _ = find_bursts(walking([0] + [1] * 255 + [0] * 44), np.zeros(300, np.int64), 1)
    assert set(burst.tolist()) == {0}


def frame(seed: int, shift: int) -> bytes:
    """What a camera sees that moved by some of 450 pixels."""
    return encoded(texture(seed, 600, 400).crop((50 + shift, 50, 500 + shift, 350)), quality=90)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Harvest:
    harvest = Harvest(tmp_path_factory.mktemp("observed"))
    inaturalist = {"source": "inaturalist", "license": "CC-BY-4.0"}
    harvest.pictures = {
        "a-frame-1": frame(1, 0),
        "a-frame-2": frame(1, 3),
        "a-frame-3": frame(1, 14),
        "a-other-view": frame(2, 0),
        "b-alike-elsewhere": encoded(Image.blend(Image.open(io.BytesIO(frame(1, 0))), texture(30), 0.45)),
        "c-test": encoded(texture(3)),
        "c-sibling": encoded(texture(4)),
        "c-siblings-copy": encoded(texture(4).resize((330, 220), Image.Resampling.BICUBIC), quality=70),
        "d-named": encoded(texture(5)),
        candidate_id("inaturalist", "77"): encoded(texture(6)),
        "f-address": encoded(texture(7)),
        "g-page": encoded(texture(8)),
        "h-alone": encoded(texture(9)),
    }
    harvest.said = {
        **{
            key: {"observationID": f"uuid-{key[0]}", **inaturalist}
            for key in harvest.pictures
            if key[:2] in ("a-", "d-", "h-")
        },
        "c-test": {"observationID": "uuid-c", "occurrenceID": "https://x.test/c", **inaturalist},
        "c-sibling": {"observationID": "gbif:3", "occurrenceID": "http://x.test/c"},
        "b-alike-elsewhere": {"observationID": "uuid-b", "license": "CC0-1.0"},
        "a-frame-2": {"observationID": "uuid-a", "license": "CC0-1.0"},
        "f-address": {"accessURI": "https://x.test/medium.jpg", "originalURI": "https://x.test/original.jpg"},
        "g-page": {"furtherInformationURL": "https://x.test/page"},
    }
    harvest.write()
    strangers = [encoded(texture(seed)) for seed in range(20, 24)]
    benchmark(
        harvest.folder / "bench",
        {"test": [encoded(texture(3), quality=60), *strangers]},
        {
            "test/s0000001": {"observationID": "uuid-d"},
            "test/s0000002": {"source": "inaturalist", "sourceID": "77"},
            "test/s0000003": {"url": "http://x.test/original.jpg"},
            "test/s0000004": {"furtherInformationURL": "https://x.test/page"},
        },
    )
    assert harvest.decode().returncode == 0
    done = harvest.decide("--benchmark", f"wild={harvest.folder / 'bench'}")
    assert done.returncode == 0, done.stderr
    return harvest


@pytest.fixture(scope="module")
def rows(decoded: Harvest) -> dict[str, dict[str, Any]]:
    return decoded.rows(decoded.decisions)


def test_one_frame_of_a_burst_is_kept_and_all_bear_its_name(rows: dict[str, dict[str, Any]]) -> None:
    frames = [rows[f"a-frame-{number}"] for number in (1, 2, 3)]
    assert {row["burstID"] for row in frames} == {"a-frame-1"}
    assert {row["survivorID"] for row in frames} == {"a-frame-2"}, "the open licence survives"
    assert [row["reason"] for row in frames] == ["burst", None, "burst"]
    assert {row["match"] for row in frames if row["reason"]} == {"burst"}
    assert all(0 < row["distance"] <= 64 for row in frames if row["reason"])


def test_another_view_stays_and_so_does_what_only_looks_like_it(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["a-other-view"]["kept"] and rows["a-other-view"]["burstID"] is None
    assert rows["b-alike-elsewhere"]["kept"], "beyond 31 bits only photos of one observation are compared"


def test_no_split_may_cut_through_copies_and_observations(rows: dict[str, dict[str, Any]]) -> None:
    groups = {key: row["groupID"] for key, row in rows.items()}
    assert {groups[key] for key in groups if key.startswith("a-")} == {"a-frame-1"}
    assert {groups[key] for key in groups if key.startswith("c-")} == {"c-sibling"}, "by occurrenceID, then by looks"
    assert groups["h-alone"] == "h-alone"


def test_the_observation_of_a_test_picture_leaves_whole(rows: dict[str, dict[str, Any]]) -> None:
    gone = {key: (row["match"], row["benchmarkKey"]) for key, row in rows.items() if row["stage"] == "decontamination"}
    assert gone == {
        "c-test": ("pdq", "test/s0000000"),
        "c-sibling": ("observation", "test/s0000000"),
        "c-siblings-copy": ("observation", "test/s0000000"),
        "d-named": ("observation", "test/s0000001"),
        candidate_id("inaturalist", "77"): ("source-id", "test/s0000002"),
        "f-address": ("address", "test/s0000003"),
        "g-page": ("page", "test/s0000004"),
    }
    assert rows["h-alone"]["kept"]


def test_a_torn_sidecar_is_told(decoded: Harvest, tmp_path: Any) -> None:
    benchmark(tmp_path / "bench", {"test": [encoded(texture(3))]}, {"test/s0000000": b"{torn"})
    before = sha256_file(decoded.decisions)
    done = decoded.decide("--benchmark", f"wild={tmp_path / 'bench'}")
    assert done.returncode == 1 and "s0000000.json is no JSON" in done.stderr and "Traceback" not in done.stderr
    assert sha256_file(decoded.decisions) == before
