"""A dataset made again from a bundle: what is still as it was is packed, the rest is told by host."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from servers import scripted_server
from unit.operations.conftest import report
from unit.report.conftest import Run as Made
from unit.report.conftest import jpeg, noise_picture

import rebuild as program
from kg2clip import removals, settings, tables, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import sha256_bytes
from kg2clip.operations import bag, rebuild
from kg2clip.operations.bundle import Choice, bundle


@pytest.fixture
def bodies(finished: Made) -> dict[str, bytes]:
    """Give each candidate an address of its own; returns what lies there."""
    candidates = tables.read(finished.folder / "search" / "candidates.parquet").to_pylist()
    found = {row["candidateID"]: jpeg(noise_picture(n, None)) for n, row in enumerate(candidates)}
    for row in candidates:
        row |= {"accessURI": f"http://upload.test/{row['candidateID']}.jpg", "links": None}
    tables.write(candidates, tables.CANDIDATES, finished.folder / "search" / "candidates.parquet")
    for path in (finished.folder / "download").glob("commons-*.manifest.parquet"):
        rows = tables.read(path).to_pylist()
        for row in rows:
            if row["status"] == "success":
                row["sha256"] = sha256_bytes(found[row["candidateID"]])
        tables.write(rows, tables.DOWNLOADS, path)
    finished.settings["download"]["attempts"] = 1
    report(finished)
    return found


def test_what_is_the_same_is_packed_and_the_rest_is_told(
    finished: Made,
    bodies: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle(finished.folder, finished.settings, tmp_path / "bundle", Choice())
    decisions = tables.read(finished.folder / "curate" / "decisions.parquet").to_pylist()
    kept = [row["candidateID"] for row in decisions if row["kept"]]
    gone, changed, silent, *same = kept
    answers = {f"/{key}.jpg": (200, {"Content-Type": "image/jpeg"}, body) for key, body in bodies.items()}
    answers[f"/{gone}.jpg"] = (410, {}, b"")
    answers[f"/{changed}.jpg"] = (200, {"Content-Type": "image/jpeg"}, jpeg(noise_picture(999, None)))
    answers[f"/{silent}.jpg"] = (503, {}, b"")
    target = tmp_path / "again"
    monkeypatch.setattr(sys, "argv", ["rebuild.py", str(tmp_path / "bundle"), "--output", str(target)])
    with scripted_server(lambda path, body: answers.get(path, (404, {}, b""))) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"upload.test": f"127.0.0.1:{port}"}))
        with pytest.raises(IncompleteError, match="1 pictures gave no answer now"):
            program.main()
        fetched = {line.split()[0] for line in seen} - {"/robots.txt"}
        assert fetched == {f"/{key}.jpg" for key in kept}  # what was dropped is not asked for
    said = capsys.readouterr().out
    assert (
        f"upload.test: {len(kept)} pictures, {len(same)} same, 1 changed, 1 gone, 1 no answer now (http-410 1, http-503 1)"
        in said
    )
    packed = tables.read(target / "dataset" / "manifest.parquet").to_pylist()
    assert {row["key"] for row in packed} == set(same)
    with open(target / "pictures.csv", newline="") as file:
        told = {row["candidateID"]: row["outcome"] for row in csv.DictReader(file)}
    assert told == {gone: "gone", changed: "changed", silent: "no answer now"} | dict.fromkeys(same, "same")
    answers[f"/{silent}.jpg"] = (200, {"Content-Type": "image/jpeg"}, bodies[silent])
    with scripted_server(lambda path, body: answers.get(path, (404, {}, b""))) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"upload.test": f"127.0.0.1:{port}"}))
        place, config = rebuild.prepare(tmp_path / "bundle", target, "")
        rebuild._fetch_lane(place, config, ["commons-000", "commons-001", "commons-leftovers"])
        assert {line.split()[0] for line in seen} - {"/robots.txt"} == {f"/{silent}.jpg"}, "it goes on, not anew"
    now = {row["candidateID"]: row["outcome"] for row in rebuild.outcomes(place, config)}
    assert now == told | {silent: "same"}


def run(monkeypatch: pytest.MonkeyPatch, source: Path, target: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["rebuild.py", str(source), "--output", str(target)])
    program.main()


def test_without_internet_nothing_is_told_to_be_gone(
    finished: Made, bodies: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(finished.folder, finished.settings, tmp_path / "bundle", Choice())
    with pytest.raises(UserError, match=r"none of the bundle's hosts has an address \(upload\.test\)\. .*with_mirror"):
        run(monkeypatch, tmp_path / "bundle", tmp_path / "again")
    assert not (tmp_path / "again" / "download").exists()


@pytest.mark.parametrize(
    ("status", "error", "says"), [(503, IncompleteError, "gave no answer"), (410, UserError, "no picture is")]
)
def test_where_nothing_came_it_is_told_whether_it_may_come_yet(
    finished: Made,
    bodies: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    error: type[UserError],
    says: str,
) -> None:
    bundle(finished.folder, finished.settings, tmp_path / "bundle", Choice())
    with scripted_server(lambda path, body: (404 if path == "/robots.txt" else status, {}, b"")) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"upload.test": f"127.0.0.1:{port}"}))
        with pytest.raises(UserError, match=says) as ended:
            run(monkeypatch, tmp_path / "bundle", tmp_path / "again")
    assert type(ended.value) is error


def test_what_this_clone_takes_out_is_not_fetched_either(
    finished: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(finished.folder, finished.settings, tmp_path / "bundle", Choice())
    key, *_ = tables.read(finished.folder / "dataset" / "manifest.parquet")["key"].to_pylist()
    monkeypatch.chdir(tmp_path)
    removals.add(Path("config/removed.csv"), [{"candidateID": key, "reason": "asked"}])
    place, config = rebuild.prepare(tmp_path / "bundle", tmp_path / "again", "")
    assert key not in tables.read(place.folder / "search" / "kept.parquet")["candidateID"].to_pylist()
    assert removals.keys(config["dataset"]["removed"]) == [key]


def test_a_bundles_config_reaches_nothing_here() -> None:
    config = settings.complete(
        {
            "project": "theirs",
            "contact": "them@x.test",
            "knowledge": {"roots": ["Apidae"]},
            "search": {"sources": {"folder": {"path": "/home/me/pictures"}}},
            "download": {
                "private_hosts": ["router.test"],
                "respect_opt_out": False,
                "max_bytes": 10**15,
                "lanes": {
                    "web": {"connections": 64, "requests_per_second": 1e6, "megabits_per_second": 1},
                    "mirror": {"hosts": ["a.test"], "connections": 8},
                    "both": {"hosts": ["b.test", "b.org"], "connections": 8},
                },
            },
            "curate": {"max_pixels": 10**15},
        },
        "test",
    )
    own = settings.complete(rebuild.own_config(config, "ours", "me@x.test"), "test")
    assert "folder" not in own["search"]["sources"] and own["download"]["private_hosts"] == []
    assert (own["project"], own["contact"]) == ("ours", "me@x.test")
    lanes = own["download"]["lanes"]
    assert [lanes["web"][key] for key in rebuild.LANE_LIMITS] == [2, 10, 1]
    assert (lanes["mirror"]["connections"], lanes["both"]["connections"]) == (8, 2)
    assert own["download"]["respect_opt_out"] and own["download"]["max_bytes"] == 300_000_000
    assert own["curate"]["max_pixels"] == 500_000_000


def test_what_is_no_rebuilding_is_not_written_over(finished: Made, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds something else"):
        rebuild.check_target(finished.folder)
    rebuild.check_target(tmp_path / "new")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / ".lock").touch()
    rebuild.check_target(tmp_path / "begun")


def test_tables_that_are_none_of_a_bundle_are_told(finished: Made, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    bundle(finished.folder, finished.settings, target, Choice())
    results = target / "data" / "results"
    shutil.copy(results / "search" / "candidates.parquet", results / "curate" / "decisions.parquet")
    bag.write_tags(target, {})
    with pytest.raises(UserError, match="a table of the bundle is not as a bundle's"):
        rebuild.prepare(target, tmp_path / "again", "")


def test_what_was_taken_down_before_the_bundle_was_made_is_not_fetched(finished: Made, tmp_path: Path) -> None:
    manifest = finished.folder / "dataset" / "manifest.parquet"
    first, *others = tables.read(manifest).to_pylist()
    tables.write(others, tables.DATASET, manifest)
    finished.settings["dataset"]["removed"] = str(tmp_path / "removed.csv")
    removals.add(tmp_path / "removed.csv", [{"candidateID": first["key"], "reason": "asked"}])
    report(finished)
    bundle(finished.folder, finished.settings, tmp_path / "bundle", Choice())
    (tmp_path / "removed.csv").unlink()  # it is of their machine
    place, config = rebuild.prepare(tmp_path / "bundle", tmp_path / "again", "")
    wanted = tables.read(place.folder / "search" / "kept.parquet")["candidateID"].to_pylist()
    assert sorted(wanted) == sorted(row["key"] for row in others)
    assert removals.keys(config["dataset"]["removed"]) == [first["key"]]


def test_a_bundle_that_is_not_whole_is_not_rebuilt(finished: Made, tmp_path: Path) -> None:
    bundle(finished.folder, finished.settings, tmp_path / "bundle", Choice())
    (tmp_path / "bundle" / "data" / "results" / "queries" / "queries.parquet").unlink()
    with pytest.raises(UserError, match=r"not whole: .*queries\.parquet is gone"):
        rebuild.prepare(tmp_path / "bundle", tmp_path / "again", "")
