"""The whole chain on the small mirror: it ends well, does nothing twice, needs no network, and its numbers add up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import open_clip
import pytest
import torch

from kg2clip import tables
from kg2clip.mirror import tuxpaint
from kg2clip.report.notices import may_pass
from workflow.declared_files import listed
from workflow.small import ROOT, SmallRun, surroundings

DESIGN = [  # design 4, but for what stands once an experiment, batch or benchmark
    "knowledge/entities.parquet",
    "queries/queries.parquet",
    "search/candidates.parquet",
    "curate/decisions.parquet",
    "dataset/manifest.parquet",
    "dataset/croissant.json",
    "dataset/README.md",
    "dataset/attribution.csv",
    "models/main/open_clip_config.json",
    "models/main/open_clip_model.safetensors",
    "models/main/README.md",
    "models/main/metrics.json",
    "evaluation/main/heldout.parquet",
    "evaluation/scores.parquet",
    "mirror/truth.parquet",
    "report/index.html",
]


SEARCHES = ("wikidata", "commons", "inaturalist", "gbif", "commons-attributes")


def rows(small: SmallRun, path: str) -> list[dict]:
    return tables.read(small.results / path).to_pylist()


def test_the_files_of_the_design_are_there_and_no_process_is_left(undisturbed: SmallRun) -> None:
    assert [path for path in DESIGN if not (undisturbed.results / path).is_file()] == []
    assert undisturbed.processes() == []


def test_a_second_run_does_nothing_within_20_seconds(undisturbed: SmallRun) -> None:
    started = time.monotonic()
    again = undisturbed.run()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout
    assert time.monotonic() - started < 20


def test_the_funnel_adds_up(undisturbed: SmallRun) -> None:
    """Every row that enters a step is found again in its exits."""
    step = {
        path.stem: json.loads(path.read_text())["counts"]
        for path in (undisturbed.results / "provenance").glob("*.json")
    }
    exported = step["export_entities"]
    found, left = exported["found below the roots"], exported["exported"]
    assert found - (sum(exported.values()) - found - left) == left, "every other count is a reason"
    entities = rows(undisturbed, "knowledge/entities.parquet")
    assert left == len(entities)

    queries = rows(undisturbed, "queries/queries.parquet")
    assert {row["entityID"] for row in queries} <= {row["entityID"] for row in entities}
    hits = [row for search in SEARCHES for row in rows(undisturbed, f"search/{search}.hits.parquet")]
    candidates = rows(undisturbed, "search/candidates.parquet")
    linked = {link["candidateID"] for row in candidates for link in row["links"] or ()}
    assert {row["candidateID"] for row in hits} == {row["candidateID"] for row in candidates} | linked
    assert len(hits) == step["merge_candidates"]["hits"]
    assert len(candidates) == len(hits) - step["merge_candidates"]["merged with another hit"]

    manifests = sorted((undisturbed.results / "download").glob("*.manifest.parquet"))
    first = {path for path in manifests if "leftovers" not in path.name}
    fetches = {path: tables.read(path).to_pylist() for path in manifests}
    asked = sorted(row["candidateID"] for path in first for row in fetches[path])
    assert asked == sorted(row["candidateID"] for row in candidates)
    left = [row for path in first for row in fetches[path] if row["nextURI"] or may_pass(row["reason"] or "")]
    again = [row for path in fetches.keys() - first for row in fetches[path]]
    assert sorted(row["candidateID"] for row in again) == sorted(row["candidateID"] for row in left)
    downloads = [row for found in fetches.values() for row in found]
    assert all((row["status"] == "success") == (row["reason"] is None) for row in downloads)

    features = [
        row
        for path in sorted((undisturbed.results / "curate").glob("*.features.parquet"))
        for row in tables.read(path).to_pylist()
    ]
    fetched = sorted(row["candidateID"] for row in downloads if row["status"] == "success")
    assert sorted(row["candidateID"] for row in features) == fetched

    decisions = rows(undisturbed, "curate/decisions.parquet")
    assert sorted(row["candidateID"] for row in decisions) == sorted(row["candidateID"] for row in candidates)
    assert all(row["kept"] == (row["reason"] is None) for row in decisions)
    lost_by = Counter(row["stage"] for row in decisions if not row["kept"])
    assert lost_by["licence"] == sum(row["reason"] == "licence" for row in downloads) > 0
    assert lost_by["licence"] + lost_by["download"] == len(candidates) - len(fetched)
    assert lost_by["decode"] == sum(row["status"] != "decoded" for row in features)

    dataset = rows(undisturbed, "dataset/manifest.parquet")
    kept = {row["candidateID"] for row in decisions if row["kept"]}
    assert {row["key"] for row in dataset} == kept and len(dataset) == len(kept)
    merged = [candidate for row in dataset for candidate in row["candidateIDs"]]
    duplicates = {row["candidateID"] for row in decisions if row["stage"] == "duplicate" and row["survivorID"] in kept}
    assert sorted(merged) == sorted(kept | duplicates)


def test_what_arrived_is_what_the_mirror_served(undisturbed: SmallRun) -> None:
    truth = {row["candidateID"]: row for row in rows(undisturbed, "mirror/truth.parquet")}
    for path in (undisturbed.results / "download").glob("*.manifest.parquet"):
        for row in tables.read(path).to_pylist():
            served = truth[row["candidateID"]]
            left = row["reason"] == "licence" or row["nextURI"]  # not asked for, or the second pass's
            if not served["expectedReason"] and served["fault"] != "placeholder" and not left:
                assert row["sha256"] == served["sha256"]


def test_copies_and_leaks_are_found(undisturbed: SmallRun) -> None:
    scores = {(row["detector"], row["kind"]): row for row in rows(undisturbed, "mirror/scores.parquet")}
    for detector in ("duplicates", "leaked test pictures"):
        assert scores[detector, "exact"]["recall"] == 1.0
        assert scores[detector, "exact"]["precision"] == 1.0
        assert scores[detector, "reencoded"]["recall"] >= 0.9
    for kind in ("at a host of its lane", "at a host of another lane"):
        saved = scores["saved by a further link", kind]
        assert saved["planted"] > 0 and saved["recall"] >= 0.8
    for detector in ("odd links", "odd pictures"):
        assert scores[detector, "dropped for the right reason"]["planted"] > 5
        assert scores[detector, "dropped for the right reason"]["recall"] == 1.0


def test_the_model_loads_in_open_clip(undisturbed: SmallRun) -> None:
    name = f"local-dir:{undisturbed.results / 'models' / 'main'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokens = open_clip.get_tokenizer(name)(["Prunella modularis"])
    assert torch.isfinite(model.encode_text(tokens)).all()
    assert preprocess is not None


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this machine")
def test_no_network_is_needed(undisturbed: SmallRun) -> None:
    inside = ("unshare", "-n", sys.executable, str(ROOT / "tests" / "workflow" / "loopback.py"))
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        inside = ("unshare", "-rn", *inside[2:])
        if subprocess.run([*inside, "true"], capture_output=True).returncode:
            pytest.skip("this machine gives no network namespaces")
    offline = SmallRun("test-offline")
    offline.clear()
    done = offline.run(before=inside)
    assert done.returncode == 0, done.stdout[-6000:]
    ours = (offline.results / "dataset" / "manifest.parquet").read_bytes()
    assert ours == (undisturbed.results / "dataset" / "manifest.parquet").read_bytes()


@pytest.mark.skipif(not tuxpaint.is_installed(), reason="tuxpaint-stamps-default is not installed (make stamps)")
def test_the_harvest_half_on_photographs() -> None:
    photos = SmallRun("test-tuxpaint", "demo-tuxpaint.yaml")
    photos.clear()
    done = photos.run("--until", "score_against_truth")
    assert done.returncode == 0, done.stdout[-6000:]
    scores = {(row["detector"], row["kind"]): row for row in rows(photos, "mirror/scores.parquet")}
    assert scores["duplicates", "exact"]["recall"] == scores["duplicates", "exact"]["precision"] == 1.0
    assert scores["leaked test pictures", "exact"]["recall"] == 1.0
    assert len(rows(photos, "dataset/manifest.parquet")) > 60
    assert (photos.results / "mirror" / "benchmark-individuals" / "classnames.txt").is_file()


def test_a_deleted_file_is_made_again(undisturbed: SmallRun) -> None:
    scores = undisturbed.results / "evaluation" / "scores.parquet"
    before = tables.read(scores)
    scores.unlink()
    planned = undisturbed.run("-n")
    assert "rule gather_scores" in planned.stdout
    assert "rule train_model" not in planned.stdout
    assert undisturbed.run().returncode == 0
    assert tables.read(scores).equals(before)


def test_the_datasets_own_test_is_evaluated_where_it_is_wanted(undisturbed: SmallRun) -> None:
    wanted = undisturbed.config.with_name("test-own.yaml")
    wanted.write_text(undisturbed.config.read_text().replace("own: false", "own: true"))
    rules = {step.partition(".")[0] for step in listed(SimpleNamespace(config=wanted))}  # type: ignore[arg-type]
    assert rules == {"evaluate_own", "gather_scores", "make_report", "write_card", "all"}


def test_why_names_a_changed_setting_and_what_follows(undisturbed: SmallRun) -> None:
    changed = undisturbed.config.with_name("test-why.yaml")
    changed.write_text(undisturbed.config.read_text().replace("min_side: 64", "min_side: 65"))
    for config, said in (
        (undisturbed.config, "nothing would run"),
        (changed, "curate.min_side (64 before, 65 now)"),
    ):
        command = [sys.executable, "scripts/why.py", "--configfile", str(config), "--replace-workflow-config"]
        done = subprocess.run(command, cwd=ROOT, env=surroundings(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert "follows from that: " in done.stdout and "train_model" in done.stdout
