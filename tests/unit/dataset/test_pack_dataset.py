"""pack_dataset.py: shards that any tool reads, papers that validate, the same bytes each time."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import psutil
import pytest
import webdataset as wds
import yaml
from etils import epath
from PIL import Image

from kg2clip import tables, tars
from kg2clip.files import sha256_bytes, sha256_file
from kg2clip.settings import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """23 kept pictures, two of each observation, one of them with a merged copy, and one dropped."""
    write(tmp_path)
    return tmp_path


def write(folder: Path, kept: int = 23, **dataset: Any) -> None:
    keys = [f"{number:020d}" for number in range(kept)]
    features = []
    with tars.writing(folder / "curate" / "web-000" / "00000.tar") as writer:
        for number, key in enumerate(keys):
            buffer = io.BytesIO()
            Image.new("RGB", (40, 30), (number, 100, 200)).save(buffer, "JPEG")
            offset = writer.add(f"{key}.jpg", buffer.getvalue())
            features.append(
                {
                    "candidateID": key,
                    "tar": "web-000/00000.tar",
                    "offset": offset,
                    "size": len(buffer.getvalue()),
                    "storedWidth": 40,
                    "storedHeight": 30,
                }
            )
    said = {
        "source": "commons",
        "accessURI": "http://first.test/x",
        "license": "CC-BY-4.0",
        "creator": '=HYPERLINK("x")',
        "retrieved": "2026-01-02T03:04:05Z",
    }
    candidates = [
        {
            "candidateID": key,
            "altText": f"bee number {number} on a flower",
            "queryIDs": ["q1"],
            "entityIDs": ["wd:Q1"],
            **said,
        }
        for number, key in enumerate(keys)
    ]
    candidates.append(
        {
            "candidateID": "copy",
            "altText": "the same bee",
            "queryIDs": ["q2"],
            "entityIDs": ["wd:Q2"],
            **said,
            "license": "unknown",
        }
    )
    candidates.append({"candidateID": "gone", "queryIDs": ["q1"], "entityIDs": ["wd:Q1"], **said})
    decisions = [
        {"candidateID": key, "kept": True, "survivorID": key, "groupID": keys[number - number % 2]}
        for number, key in enumerate(keys)
    ]
    decisions.append(
        {
            "candidateID": "copy",
            "kept": False,
            "stage": "duplicate",
            "reason": "duplicate",
            "survivorID": keys[0] if keys else None,
        }
    )
    decisions.append({"candidateID": "gone", "kept": False, "stage": "download", "reason": "dns"})
    decisions[0]["fetchedURI"] = "http://second.test/x"  # its first link is dead
    entities = [
        {"entityID": "wd:Q1", "scientificName": "Apis mellifera", "vernacularName": "<b>honey</b> bee | [x](y)"},
        {"entityID": "wd:Q2", "scientificName": "Bombus terrestris"},
    ]
    queries = [
        {"queryID": "q1", "entityID": "wd:Q1", "text": "honey bee"},
        {"queryID": "q2", "entityID": "wd:Q2", "text": "bumblebee"},
    ]
    tables.write(features, tables.FEATURES, folder / "curate" / "web-000.features.parquet")
    tables.write(candidates, tables.CANDIDATES, folder / "candidates.parquet")
    tables.write(decisions, tables.DECISIONS, folder / "decisions.parquet")
    tables.write(entities, tables.ENTITIES, folder / "entities.parquet")
    tables.write(queries, tables.QUERIES, folder / "queries.parquet")
    dataset = {"shard_size": 10, "removed": str(folder / "removed.csv"), **dataset}
    config = {"project": "bees", "knowledge": {"roots": ["Apidae"]}, "dataset": dataset}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def command(folder: Path, *more: str) -> list[str]:
    names = ("entities", "queries", "candidates", "decisions")
    inputs = [part for name in names for part in (f"--{name}", str(folder / f"{name}.parquet"))]
    inputs += [
        "--features",
        str(folder / "curate" / "web-000.features.parquet"),
        "--output-dir",
        str(folder / "dataset"),
    ]
    inputs += ["--provenance", str(folder / "provenance.json"), "--config", str(folder / "config.yaml")]
    return [sys.executable, str(ROOT / "scripts" / "pack_dataset.py"), *inputs, *more]


def pack(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), capture_output=True, text=True, check=False)


def packed(folder: Path, *more: str) -> list[dict[str, Any]]:
    done = pack(folder, *more)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = tables.read(folder / "dataset" / "manifest.parquet").to_pylist()
    return rows


def test_shards_and_manifest(project: Path) -> None:
    rows = packed(project)
    folder = project / "dataset"
    sizes = json.loads((folder / "sizes.json").read_text())
    assert sizes == {"train-00000.tar": 8, "train-00001.tar": 8, "train-00002.tar": 7}
    assert len({row["key"] for row in rows}) == 23 and [row["key"] for row in rows] != sorted(
        row["key"] for row in rows
    )
    for row in rows:
        jpeg = tars.read_at(folder / row["shard"], row["offset"], row["size"])
        assert sha256_bytes(jpeg) == row["sha256"] and jpeg[:2] == b"\xff\xd8"
        assert math.isclose(math.fsum(text["weight"] for text in row["texts"]), 1, abs_tol=1e-12)
        with Image.open(io.BytesIO(jpeg)) as image:
            assert abs(image.getpixel((5, 5))[0] - int(row["key"])) <= 4  # type: ignore[index]
    counts = json.loads((project / "provenance.json").read_text())["counts"]
    assert (counts["samples"], counts["shards"], counts["mergedCopies"], counts["severalEntities"]) == (23, 3, 1, 1)
    assert counts["shareByKind"]["alt-text"] == 0.5


def test_copies_are_merged_not_dropped(project: Path) -> None:
    row = next(row for row in packed(project) if row["key"] == "0" * 20)
    assert row["groupID"] == "0" * 20, "what a split of one's own must keep together"
    assert row["candidateIDs"] == ["0" * 20, "copy"] and row["license"] == "CC-BY-4.0"
    assert row["accessURI"] == "http://second.test/x", "the link that served"
    assert row["entityIDs"] == ["wd:Q1", "wd:Q2"] and row["queryIDs"] == ["q1", "q2"]
    texts = {text["text"]: text["weight"] for text in row["texts"]}
    assert texts["the same bee"] == texts["bee number 0 on a flower"] == 0.25 and "bumblebee" in texts


def test_webdataset_reads_the_shards(project: Path) -> None:
    rows = {row["key"]: row for row in packed(project)}
    shards = [str(path) for path in sorted((project / "dataset").glob("train-*.tar"))]
    samples = list(wds.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert {sample["__key__"] for sample in samples} == set(rows)
    for sample in samples:
        texts = sample["json"]["texts"]
        assert sample["txt"] == texts[0]["text"] and sample["jpg"].size == (40, 30)
        assert texts == rows[sample["__key__"]]["texts"]
        assert sample["json"]["copies"][0]["candidateID"] == sample["__key__"]


def test_same_inputs_same_bytes(project: Path) -> None:
    packed(project)
    files = sorted(path for path in (project / "dataset").iterdir() if path.name != ".lock")
    once = {path.name: sha256_file(path) for path in files}
    for path in files:
        path.unlink()
    packed(project, "--workers", "2")
    assert {path.name: sha256_file(path) for path in files} == once, "whatever the number of processes"
    assert set(once) == {
        "train-00000.tar", "train-00001.tar", "train-00002.tar", "sizes.json", "manifest.parquet", "croissant.json",
        "README.md", "attribution.csv", "train-00000.index.parquet", "train-00001.index.parquet",
        "train-00002.index.parquet",
    }  # fmt: skip
    changed = project / "dataset" / "train-00001.tar"
    written = {path.name: path.stat().st_mtime_ns for path in files}
    changed.write_bytes(changed.read_bytes()[:5000] + b"x" + changed.read_bytes()[5001:])
    packed(project)
    now = {path.name for path in files if path.stat().st_mtime_ns != written[path.name] and path.suffix == ".tar"}
    assert now == {"train-00001.tar"}, "what is whole is not written again"
    assert {path.name: sha256_file(path) for path in files} == once


def test_killed_at_any_moment_the_next_run_ends_the_same(project: Path) -> None:
    packed(project)
    folder = project / "dataset"
    wanted = {path.name: sha256_file(path) for path in folder.iterdir() if path.name != ".lock"}
    for state in ("train-00000.tar", "sizes.json", "manifest.parquet"):
        for path in folder.iterdir():
            path.unlink()
        several = ("--workers", "2") if state == "train-00000.tar" else ()
        process = subprocess.Popen(command(project, *several), stderr=subprocess.DEVNULL)
        while process.poll() is None and not (folder / state).exists():
            time.sleep(0.001)
        helpers = psutil.Process(process.pid).children(recursive=True)
        assert bool(helpers) == bool(several)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(helpers, timeout=5)[1], "an orphan would write beside its successor"
        packed(project)
        assert {path.name: sha256_file(path) for path in folder.iterdir() if path.name != ".lock"} == wanted


def test_shards_of_an_earlier_run_go(project: Path) -> None:
    packed(project)
    (project / "dataset" / ".train-00007.tar.part").write_bytes(b"half")
    write(project, kept=9)
    packed(project)
    left = [path.name for path in sorted((project / "dataset").glob("*train-*"))]
    assert left == ["train-00000.index.parquet", "train-00000.tar"]


def test_croissant_is_valid_and_loads(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["key"]: row for row in packed(project)}
    # The library keeps extracted tars by their relative name only; another data set's must not be taken for ours.
    from mlcroissant._src.operation_graph.operations import extract

    monkeypatch.setattr(extract, "EXTRACT_PATH", epath.Path(project / "extracted"))
    dataset = mlc.Dataset(jsonld=str(project / "dataset" / "croissant.json"))
    assert not dataset.metadata.issues.errors
    samples = list(dataset.records("samples"))
    assert {sample["samples/key"].decode() for sample in samples} == set(rows)
    images = list(dataset.records("images"))
    assert {image["images/key"].decode() for image in images} == set(rows)
    assert all(image["images/image"].size == (40, 30) for image in images)
    assert not dataset.metadata.issues.warnings


def test_papers_disarm_texts_of_the_web(project: Path) -> None:
    packed(project)
    with open(project / "dataset" / "attribution.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 23 and {line["creator"] for line in lines} == {'\'=HYPERLINK("x")'}
    card = (project / "dataset" / "README.md").read_text()
    assert "\\[x\\]\\(y\\)" in card and "<b>" not in card and "honey" in card
    assert "| CC\\-BY\\-4.0 | 23 |" in card and "23 pictures of 2 entities in 3 shards" in card


def test_a_picture_of_a_natural_type_has_the_querys_text_and_no_species(project: Path) -> None:
    for name, schema in (("queries", tables.QUERIES), ("candidates", tables.CANDIDATES)):
        rows = tables.read(project / f"{name}.parquet").to_pylist()
        if name == "queries":
            rows.append({"queryID": "q9", "entityID": "wd:Q9", "kind": "attribute", "text": "yellow bees"})
        else:
            rows[5] |= {"queryIDs": ["q9"], "entityIDs": ["wd:Q9"], "altText": None}
        tables.write(rows, schema, project / f"{name}.parquet")
    sample = next(row for row in packed(project) if row["key"] == f"{5:020d}")
    assert [text["text"] for text in sample["texts"]] == ["yellow bees"]
    assert sample["entityIDs"] == ["wd:Q9"]


def test_one_picture_is_trained_on_whatever_the_shares(project: Path) -> None:
    write(project, kept=1, test_share=0.5, val_share=0.4)
    assert [(row["split"], row["shard"]) for row in packed(project)] == [("train", "train-00000.tar")]


def test_texts_at_their_worst(project: Path) -> None:
    said = {
        1: "\x00\x01\x02", 2: "\U0001f41d\U0001f41d", 3: "bee " * 2500, 4: "\ud800 bee".encode("utf-8", "replace").decode(),
        5: " \u202e\u200b\t\r\n", 6: "bee\r\non a\x0bflower\x00", 7: "<script>alert(1)</script>", 8: "a" * 10_000,
    }  # fmt: skip
    rows = tables.read(project / "candidates.parquet").to_pylist()
    for number, text in said.items():
        rows[number] |= {"altText": text, "title": text, "creator": text}
    tables.write(rows, tables.CANDIDATES, project / "candidates.parquet")
    samples = {int(row["key"]): row for row in packed(project)}
    web = {number: [text["text"] for text in samples[number]["texts"] if text["kind"] == "alt-text"] for number in said}
    assert web == {
        1: [], 2: [], 3: [("bee " * 125).strip()], 4: ["? bee"], 5: [], 6: ["bee on a flower"], 7: [], 8: ["a" * 500]
    }  # fmt: skip
    for path in sorted((project / "dataset").glob("*.tar")):
        for member in tars.members(path):
            if member.name.endswith(".txt"):
                text = member.read().decode()
                assert text.strip() == text and text.isprintable() and len(text) <= 500
    with open(project / "dataset" / "attribution.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 23


def test_nothing_kept_is_told(project: Path) -> None:
    write(project, kept=0)
    done = pack(project)
    assert done.returncode == 1 and "no picture is left to pack" in done.stderr


def test_missing_and_torn_decoded_tars_are_named(project: Path) -> None:
    tar = project / "curate" / "web-000" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:9000])
    done = pack(project)
    assert done.returncode == 1 and str(tar) in done.stderr and "Traceback" not in done.stderr
    assert not (project / "dataset" / "manifest.parquet").exists()
    tar.unlink()
    assert f"{tar} is missing" in pack(project).stderr


def test_no_text_is_told(project: Path) -> None:
    write(project, alt_text_share=0, text_weights={"type": 1})
    done = pack(project)
    assert done.returncode == 1 and "dataset.text_weights" in done.stderr
