"""decide_pictures.py: every candidate once, with its reason; copies and leaks found, the order of inputs without effect."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from harvests import Harvest
from PIL import Image, ImageOps
from textures import benchmark, encoded, texture

from kg2clip import tables
from kg2clip.files import sha256_file
from kg2clip.licences import allowed, openness


def altered(seed: int, width: int = 450, height: int = 300) -> Image.Image:
    return texture(seed).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Harvest:
    """Pictures of every fate, decoded."""
    harvest = Harvest(tmp_path_factory.mktemp("decoded"))
    harvest.pictures = {
        "a-first": encoded(texture(1), quality=95),
        "a-same-bytes": encoded(texture(1), quality=95),
        "a-small": encoded(altered(1, 330, 220), quality=40),
        "a-mirrored": encoded(ImageOps.mirror(texture(1)), quality=80),
        "a-pixels": encoded(texture(1), quality=95, comment=b"other bytes, same pixels"),
        "b-alone": encoded(texture(2)),
        "c-leaks": encoded(altered(3, 400, 267), quality=70),
        "c-copy": encoded(texture(3), quality=90),
        "d-leaks-mirrored": encoded(ImageOps.mirror(texture(4)), quality=60),
        "e-leaks-bytes": encoded(texture(5)),
        "f-small": encoded(texture(6, 190, 300)),
        "g-long": encoded(texture(7, 1000, 300)),
        "h-blank": encoded(Image.new("RGB", (300, 300), "#777777")),
        "i-unlicensed": encoded(texture(8)),
        "j-broken": encoded(texture(9))[:2000],
        "l-noncommercial": encoded(texture(10)),
        "l-open": encoded(altered(10, 330, 220)),
    }
    harvest.failed = {"k-gone": "http-404", "k-refused": "robots"}
    harvest.said = {
        "i-unlicensed": {"license": "unknown"},
        "l-noncommercial": {"license": "CC-BY-NC-4.0"},
        "l-open": {"license": "CC0-1.0"},
        "a-small": {"altText": "a long text that says much"},
    }
    harvest.write()
    benchmark(
        harvest.folder / "bench",
        {
            "dev": [encoded(altered(3, 900, 600))],
            "test": [encoded(texture(100)), encoded(texture(4)), encoded(texture(5))],
        },
    )
    assert harvest.decode().returncode == 0
    return harvest


@pytest.fixture
def judged(decoded: Harvest, tmp_path: Path) -> Harvest:
    """The same in a folder of the test's own."""
    shutil.copytree(decoded.folder, tmp_path, dirs_exist_ok=True)
    return replace(decoded, folder=tmp_path)


def decided(harvest: Any) -> dict[str, dict[str, Any]]:
    done = harvest.decide("--benchmark", f"living={harvest.folder / 'bench'}")
    assert done.returncode == 0, done.stderr
    rows: dict[str, dict[str, Any]] = harvest.rows(harvest.decisions)
    return rows


def test_every_fate(judged: Any) -> None:
    rows = decided(judged)
    fates = {key: (row["stage"], row["reason"]) for key, row in rows.items()}
    assert fates == {
        "a-first": (None, None),
        "a-same-bytes": ("duplicate", "duplicate"),
        "a-small": ("duplicate", "duplicate"),
        "a-mirrored": ("duplicate", "duplicate"),
        "a-pixels": ("duplicate", "duplicate"),
        "b-alone": (None, None),
        "c-leaks": ("decontamination", "benchmark"),
        "c-copy": ("decontamination", "benchmark"),
        "d-leaks-mirrored": ("decontamination", "benchmark"),
        "e-leaks-bytes": ("decontamination", "benchmark"),
        "f-small": ("filter", "too-small"),
        "g-long": ("filter", "aspect"),
        "h-blank": ("filter", "blank"),
        "i-unlicensed": ("licence", "licence"),
        "j-broken": ("decode", "truncated"),
        "k-gone": ("download", "http-404"),
        "k-refused": ("download", "robots"),
        "l-noncommercial": ("duplicate", "duplicate"),
        "l-open": (None, None),
    }
    assert {key for key, row in rows.items() if row["kept"]} == {"a-first", "b-alone", "l-open"}
    assert (rows["a-first"]["fetchedURI"], rows["k-gone"]["fetchedURI"]) == ("http://a-first", None)
    assert {rows[key]["survivorID"] for key in rows if key.startswith("a-")} == {"a-first"}
    assert rows["l-noncommercial"]["survivorID"] == "l-open"
    assert rows["b-alone"]["survivorID"] == "b-alone" and rows["k-gone"]["survivorID"] is None
    matches = {key: row["match"] for key, row in rows.items()}
    assert matches["a-same-bytes"] == "sha256" and matches["a-pixels"] == "pixels"
    assert matches["a-small"] == "pdq" and matches["a-mirrored"] == "pdq-mirrored" and matches["b-alone"] is None
    assert 0 <= rows["a-small"]["distance"] <= 31
    leaks = {
        key: (row["benchmark"], row["benchmarkKey"], row["match"]) for key, row in rows.items() if row["benchmark"]
    }
    assert leaks["c-leaks"][:2] == ("living", "dev/s0000000")
    assert leaks["d-leaks-mirrored"] == ("living", "test/s0000001", "pdq-mirrored")
    assert leaks["e-leaks-bytes"] == ("living", "test/s0000002", "sha256")
    assert (rows["g-long"]["width"], rows["g-long"]["height"]) == (1000, 300)


def test_funnel_adds_up(judged: Any) -> None:
    decided(judged)
    record = json.loads(judged.provenance("decide_pictures").read_text())
    counts = record["counts"]
    lost = sum(number for reasons in counts["dropped"].values() for number in reasons.values())
    assert counts["candidates"] == counts["kept"] + lost == 19
    assert counts["leakedInto"] == {"living": 4} and record["benchmarks"]["living"]["pictures"] == 4


def test_order_of_inputs_has_no_effect(judged: Any) -> None:
    decided(judged)
    wanted = sha256_file(judged.decisions)
    for path, schema in (
        (judged.folder / "search" / "candidates.parquet", tables.CANDIDATES),
        (judged.manifest, tables.DOWNLOADS),
        (judged.features, tables.FEATURES),
    ):
        table = tables.read(path)
        tables.write(table.take(pa.array(range(len(table) - 1, -1, -1))), schema, path)
    decided(judged)
    assert sha256_file(judged.decisions) == wanted


def test_a_whole_group_goes_when_one_member_leaks(judged: Any) -> None:
    benchmark(judged.folder / "bench", {"test": [encoded(texture(1), quality=95)]})
    rows = decided(judged)
    assert {rows[key]["reason"] for key in rows if key.startswith("a-")} == {"benchmark"}
    assert {rows[key]["benchmarkKey"] for key in rows if key.startswith("a-")} == {"test/s0000000"}


def test_benchmarks_of_the_config_are_used_unless_others_are_given(judged: Any) -> None:
    judged.config = {"evaluate": {"benchmarks": {"living": {"path": str(judged.folder / "bench")}}}}
    judged.write()
    assert judged.decide().returncode == 0
    assert judged.rows(judged.decisions)["e-leaks-bytes"]["benchmark"] == "living"


def test_licence_choice(judged: Any) -> None:
    for choice, unlicensed, open_only in (("any", False, False), ("open", True, True)):
        judged.config = {"dataset": {"licenses": choice}}
        judged.write()
        assert judged.decide().returncode == 0
        rows = judged.rows(judged.decisions)
        assert (rows["i-unlicensed"]["reason"] == "licence") == unlicensed
        assert (rows["l-noncommercial"]["reason"] == "licence") == open_only


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("benchmark", "has no split with an nshards.txt"),
        ("shard", "0.tar is missing"),
        ("downloads", "candidates have no row in the download manifests"),
        ("features", "fetched pictures have no row in the features tables"),
        ("option", "write it as NAME=PATH"),
    ],
)
def test_mistakes_are_told_in_a_sentence(judged: Any, spoil: str, message: str) -> None:
    option = f"living={judged.folder / 'bench'}"
    if spoil == "benchmark":
        option = f"living={judged.folder / 'nowhere'}"
    elif spoil == "shard":
        (judged.folder / "bench" / "test" / "0.tar").unlink()
    elif spoil == "option":
        option = "living"
    else:
        path = judged.manifest if spoil == "downloads" else judged.features
        schema = tables.DOWNLOADS if spoil == "downloads" else tables.FEATURES
        tables.write(tables.read(path).slice(1), schema, path)
    done = judged.decide("--benchmark", option)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not judged.decisions.exists()


def test_a_second_try_that_succeeded_counts(judged: Any, tmp_path: Path) -> None:
    first = judged.folder / "download" / "first.manifest.parquet"
    tables.write([{"candidateID": "b-alone", "status": "failed", "reason": "timeout"}], tables.DOWNLOADS, first)
    done = judged.run(
        "decide_pictures", "--candidates", judged.folder / "search" / "candidates.parquet", "--entities", judged.entities,
        "--downloads", first, judged.manifest, "--features", judged.features, "--output", judged.decisions,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert judged.rows(judged.decisions)["b-alone"]["kept"]


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("CC0-1.0", 0), ("public-domain", 0), ("CC-BY-4.0", 1), ("cc-by-2.0", 1), ("CC-BY-SA-3.0", 2), ("CC-BY-SA", 2),
        ("CC-BY-ND-4.0", 3), ("CC-BY-NC-4.0", 4), ("CC-BY-NC-SA-4.0", 5), ("CC-BY-NC-ND-4.0", 6), ("unknown", 7),
        ("all-rights-reserved", 7), ("GFDL-1.2", 2), ("LAL", 2), (None, 7), ("", 7), ("CC-BYE", 7),
    ],
)  # fmt: skip
def test_openness(name: str | None, rank: int) -> None:
    assert openness(name) == rank
    assert (
        allowed(name, "any") and allowed(name, "open") == (rank <= 2) and allowed(name, "noncommercial") == (rank <= 6)
    )
