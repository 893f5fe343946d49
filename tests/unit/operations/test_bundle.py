"""A bundle is whole, the same each time, without secrets; it verifies elsewhere, and what is changed in it is named."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.operations.conftest import finish, report
from unit.report.conftest import Run as Made

import verify_bundle
from kg2clip import removals, tables
from kg2clip.dataset import papers
from kg2clip.errors import UserError
from kg2clip.files import read_json, sha256_file, write_json
from kg2clip.operations import bag
from kg2clip.operations.bundle import TEXTS, Choice, bundle, portable
from kg2clip.operations.findings import Finding, error, line
from kg2clip.operations.recheck import recheck

SHARD, WEIGHTS = "data/results/dataset/train-00000.tar", "data/results/models/main/open_clip_model.safetensors"


def wrong(folder: Path) -> list[Finding]:
    return [finding for finding in recheck(folder) if finding.level == "error"]


@pytest.fixture(scope="module")
def packed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and all that it was made of gone."""
    root = tmp_path_factory.mktemp("run")
    made = finish(root)
    target = tmp_path_factory.mktemp("elsewhere") / "bees-bundle"
    bundle(made.folder, made.settings, target, Choice())
    shutil.rmtree(root)
    return target


@pytest.fixture
def packed(packed_once: Path, tmp_path: Path) -> Path:
    """The bundle, in another place."""
    return shutil.copytree(packed_once, tmp_path / "bees-bundle")


def test_a_bundle_verifies_without_the_run_that_it_was_made_of(packed: Path) -> None:
    found = list(recheck(packed))
    assert [finding for finding in found if finding.level != "ok"] == []
    assert {"checksums", "code", "tables", "evaluation", "report", "figures"} <= {finding.about for finding in found}
    assert list((packed / "data" / "figures").glob("*.svg"))
    assert not (packed / SHARD).exists() and not (packed / WEIGHTS).exists()


def test_it_is_a_bag_with_a_crate_that_names_every_file(packed: Path) -> None:
    assert subprocess.run(["sha256sum", "-c", "--quiet", bag.MANIFEST], cwd=packed).returncode == 0
    assert subprocess.run(["sha256sum", "-c", "--quiet", bag.TAG_MANIFEST], cwd=packed).returncode == 0
    graph = json.loads((packed / "data" / "ro-crate-metadata.json").read_text())["@graph"]
    named = {part["@id"] for part in graph if part["@type"] == "File"} | {"ro-crate-metadata.json"}
    present = {path.relative_to(packed / "data").as_posix() for path in (packed / "data").rglob("*") if path.is_file()}
    assert named == present


def test_two_bundles_of_one_run_are_equal_byte_for_byte(finished: Made, tmp_path: Path) -> None:
    archives = []
    for place in ("one", "two"):
        bundle(finished.folder, finished.settings, tmp_path / place / "bees-bundle", Choice())
        archives.append(tmp_path / place / "bees-bundle.tar.gz")
        bag.pack(tmp_path / place / "bees-bundle", archives[-1])
    assert sha256_file(archives[0]) == sha256_file(archives[1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_changed_byte_is_found_and_named_in_each_file(packed: Path) -> None:
    for path in sorted(path for path in packed.rglob("*") if path.is_file() and path.name != "bagit.txt"):
        before = path.read_bytes()
        flip(path)
        try:
            named = [finding.about for finding in bag.check(packed) if finding.level == "error"]
        except UserError as failure:
            named = [str(failure)]
        assert any(path.name in name for name in named) or path.name in (bag.MANIFEST, bag.TAG_MANIFEST), path
        assert named, path
        path.write_bytes(before)
    assert wrong(packed) == []


def add(packed: Path) -> None:
    (packed / "data" / "extra.csv").write_text("a")


def reach_out(packed: Path) -> None:
    (packed / "data" / "LINK").symlink_to("/etc/hostname")
    with open(packed / bag.MANIFEST, "a") as file:
        file.write(f"{sha256_file('/etc/hostname')}  data/LINK\n{sha256_file('/etc/hostname')}  ../../etc/hostname\n")


def name_also(packed: Path, name: str, make: Callable[[Path], object] | None = None) -> None:
    if make:
        make(packed / name)
    with open(packed / bag.MANIFEST, "a") as file:
        file.write(f"{'0' * 64}  {name}\n")


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (
            lambda packed: (packed / "data/results/queries/queries.parquet").unlink(),
            "data/results/queries/queries.parquet",
        ),
        (add, "data/extra.csv"),
        (reach_out, "data/LINK"),
        (reach_out, "../../etc/hostname"),
        (lambda packed: (packed / "data" / "FOLDER").symlink_to("/etc"), "data/FOLDER"),
        (lambda packed: (packed / "data" / "NOWHERE").symlink_to("nowhere"), "data/NOWHERE"),
        (lambda packed: (packed / "run.sh").write_text("rm"), "run.sh"),
        (lambda packed: os.mkfifo(packed / "data" / "PIPE"), "data/PIPE"),
        (lambda packed: name_also(packed, "data/PIPE", os.mkfifo), "data/PIPE"),
        (lambda packed: name_also(packed, "data/SAME", lambda path: path.symlink_to("config.yaml")), "data/SAME"),
        (lambda packed: name_also(packed, "/etc/hostname"), "/etc/hostname"),
        (lambda packed: name_also(packed, "data/../../x"), "data/../../x"),
        (lambda packed: name_also(packed, "data/a%00b"), "'data/a\\x00b'"),
        (lambda packed: name_also(packed, "data/" + "a" * 5000), "data/" + "a" * 5000),
        (lambda packed: name_also(packed, "data/\x1b[2Jx"), "'data/\\x1b[2Jx'"),
    ],
)
def test_what_is_gone_or_added_is_named(packed: Path, damage: Callable[[Path], None], file: str) -> None:
    damage(packed)
    assert any(line(finding).startswith(f"ERROR    {file}: ") for finding in wrong(packed))


def rewrite_scores(packed: Path) -> None:
    path = packed / "data/results/evaluation/scores.parquet"
    rows = tables.read(path).to_pylist()
    best = next(row for row in rows if row["split"] == "test" and row["chosen"] and row["metric"] == "top1")
    best["value"] = 0.99
    tables.write(rows, tables.SCORES, path)


def rewrite_report(packed: Path) -> None:
    path = packed / "data/results/report/index.html"
    text = path.read_text()
    path.write_text(text.replace("87.5", "97.5"))
    assert path.read_text() != text


def drop_a_row(packed: Path) -> None:
    path = packed / "data/results/curate/decisions.parquet"
    tables.write(tables.read(path).slice(1), tables.DECISIONS, path)


def relicense(packed: Path) -> None:
    path = packed / "data/results/dataset/attribution.csv"
    text = path.read_text()
    path.write_text(text.replace("CC-BY-", "CC0-", 1))
    assert path.read_text() != text


def redraw(packed: Path) -> None:
    path = packed / "data/figures/figure-1.svg"
    path.write_text(path.read_text().replace("<svg", "<svg id='x'"))


@pytest.mark.parametrize(
    ("falsify", "about"),
    [
        (rewrite_scores, {"scores.parquet", "report"}),
        (rewrite_report, {"report"}),
        (drop_a_row, {"report", "decisions.parquet"}),
        (relicense, {"attribution.csv"}),
        (redraw, {"figures"}),
    ],
)
def test_a_number_that_does_not_follow_is_found_though_all_checksums_were_made_anew(
    packed: Path, falsify: Callable[[Path], None], about: set[str]
) -> None:
    falsify(packed)
    bag.write_tags(packed, {})
    found = wrong(packed)
    assert about <= {Path(finding.about).name for finding in found}
    assert not [finding for finding in found if "snakemake" in finding.says], "a bundle is not to be made again"


def rewrite(packed: Path, file: str, content: bytes) -> None:
    (packed / "data" / file).write_bytes(content)


@pytest.mark.parametrize(
    "falsify",
    [
        lambda packed: rewrite(packed, "code/version.json", b"[" * 100_000),
        lambda packed: rewrite(packed, "report-pictures.json", b'{"packed x": 3}'),
        lambda packed: rewrite(packed, "results/provenance/make_report.json", b"{}"),
        lambda packed: rewrite(packed, "config.yaml", b"project: ../../x\n"),
        lambda packed: rewrite(packed, "results/report/index.html", b"\xff"),
        lambda packed: shutil.copy(
            packed / "data/results/queries/queries.parquet", packed / "data/results/search/candidates.parquet"
        ),
        lambda packed: shutil.copy(
            packed / "data/results/queries/queries.parquet", packed / "data/results/evaluation/main/heldout.parquet"
        ),
    ],
)
def test_a_hostile_bundle_with_true_checksums_gives_a_line_and_no_traceback(
    packed: Path, falsify: Callable[[Path], object]
) -> None:
    falsify(packed)
    bag.write_tags(packed, {})
    assert wrong(packed)


def test_a_name_that_stands_twice_in_a_manifest_is_refused(packed: Path) -> None:
    name_also(packed, "data/config.yaml")
    with pytest.raises(UserError, match=r"names data/config\.yaml twice"):
        wrong(packed)


def test_with_pictures_and_weights_they_are_checked_too(finished: Made, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    bundle(finished.folder, finished.settings, folder, Choice(pictures=True, models=True))
    assert (folder / SHARD).is_file() and (folder / WEIGHTS).is_file()
    assert wrong(folder) == [] and "indices" in {finding.about for finding in recheck(folder)}
    flip(folder / SHARD)
    bag.write_tags(folder, {})
    assert any(finding.about.endswith("train-00000.tar") for finding in wrong(folder))


def test_a_secret_or_an_unfinished_or_an_outdated_run_is_refused(
    finished: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    monkeypatch.setenv("BRAVE_API_KEY", "very-secret-value")
    finished.settings["contact"] = "https://me.test/?key=very-secret-value"
    with pytest.raises(UserError, match=r"config\.yaml would hold the value of BRAVE_API_KEY"):
        bundle(finished.folder, finished.settings, target, Choice())
    finished.settings["contact"] = "me@x.test"
    drop = tables.read(finished.folder / "curate" / "decisions.parquet")
    tables.write(drop.slice(1), tables.DECISIONS, finished.folder / "curate" / "decisions.parquet")
    with pytest.raises(UserError, match="is not what the tables give"):
        bundle(finished.folder, finished.settings, target, Choice())
    (finished.folder / "curate" / "decisions.parquet").unlink()
    with pytest.raises(UserError, match="not finished"):
        bundle(finished.folder, finished.settings, target, Choice())
    assert not target.exists() and list(tmp_path.glob(".bundle*")) == []


def test_what_is_no_bundle_is_left_alone(finished: Made, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="is no bundle"):
        bundle(finished.folder, finished.settings, tmp_path / "mine", Choice())
    with pytest.raises(UserError, match="no bundle"):
        list(recheck(tmp_path / "mine"))


def test_the_archive_is_checked_and_one_that_climbs_out_is_refused(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bag.pack(packed, tmp_path / "b.tar.gz")
    monkeypatch.setattr(sys, "argv", ["verify_bundle.py", str(tmp_path / "b.tar.gz")])
    verify_bundle.main()
    assert "the bundle is whole" in capsys.readouterr().out
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../evil"))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="no whole .tar.gz"):
        bag.unpack(tmp_path / "evil.tar.gz", tmp_path / "out")
    assert not (tmp_path.parent / "evil").exists()


def test_nothing_says_where_on_the_machine_the_run_lay(finished: Made, tmp_path: Path) -> None:
    folder, heldout = tmp_path / "home of anna" / "benchmark", finished.settings["evaluate"]["benchmarks"]["heldout"]
    shutil.copytree(heldout["path"], folder)
    heldout["path"] = str(folder)
    record = finished.folder / "provenance" / "pack_dataset.json"
    judge = {"fit_model": f"local-dir:{folder}", "fit_weights": "~anna/weights.bin", "shown": "a/b of c"}
    assert portable(judge) == {"fit_model": "local-dir:benchmark", "fit_weights": "weights.bin", "shown": "a/b of c"}
    write_json(record, {**read_json(record), "settings": {"curate": judge}})
    report(finished)
    bundle(finished.folder, finished.settings, tmp_path / "b", Choice())
    texts = [path for path in (tmp_path / "b").rglob("*") if path.suffix in TEXTS]
    assert [path for path in texts if "anna" in path.read_text() or str(tmp_path) in path.read_text()] == []
    assert wrong(tmp_path / "b") == []


def test_what_was_taken_down_is_told_without_the_list_of_the_machine(finished: Made, tmp_path: Path) -> None:
    manifest, removed = finished.folder / "dataset" / "manifest.parquet", tmp_path / "list.csv"
    first, *others = tables.read(manifest).to_pylist()
    finished.settings["dataset"]["removed"] = str(removed)
    rows = [
        {"candidateID": first["candidateIDs"][0], "reason": "asked by A. Person"},
        {"candidateID": "of-another-run"},
    ]
    removals.add(removed, rows)
    with pytest.raises(UserError, match="still holds 1 pictures of .*list.csv"):
        bundle(finished.folder, finished.settings, tmp_path / "b", Choice())
    tables.write(others, tables.DATASET, manifest)
    papers.write_attribution(manifest, manifest.with_name("attribution.csv"))
    report(finished)
    bundle(finished.folder, finished.settings, tmp_path / "b", Choice())
    assert removals.keys(tmp_path / "b" / "data" / "removed.csv") == [first["candidateIDs"][0]]
    assert "Person" not in (tmp_path / "b" / "data" / "removed.csv").read_text()
    removed.unlink()
    assert wrong(tmp_path / "b") == []


def test_a_bundle_with_pictures_needs_whole_shards(finished: Made, tmp_path: Path) -> None:
    (finished.folder / "dataset" / "train-00000.tar").unlink()
    with pytest.raises(UserError, match=r"train-00000\.tar is gone, .* Type: rm .* and bundle then"):
        bundle(finished.folder, finished.settings, tmp_path / "b", Choice(pictures=True))


def test_what_a_bundle_says_can_neither_move_the_cursor_nor_be_a_command(packed: Path) -> None:
    version = packed / "data" / "code" / "version.json"
    write_json(version, {"commit": "main; rm -rf ~", "codeHashes": {}})
    bag.write_tags(packed, {})
    told = [finding.says for finding in recheck(packed) if finding.about == "code"]
    assert told and "rm -rf" not in told[0]
    assert line(error("a\x1b[2J", "one\nok       two\r")) == "ERROR    'a\\x1b[2J': one\n         'ok       two\\r'"


def archive_of(path: Path, *members: tarfile.TarInfo) -> Path:
    """An archive of headers alone, whatever sizes they tell."""
    with gzip.open(path, "wb") as packed:
        for member in members:
            packed.write(member.tobuf(format=tarfile.PAX_FORMAT))
        packed.write(bytes(1024))
    return path


def member(name: str, **facts: object) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(header, key, value)
    return header


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([member("b/data/x", size=10**16)], "too full for"),
        ([member("b/x", type=tarfile.SYMTYPE, linkname="/etc")], "is a link or a device"),
        ([member("b/x", type=tarfile.LNKTYPE, linkname="../../etc/hostname")], "is a link or a device"),
        ([member("b/x", type=tarfile.CHRTYPE)], "is a link or a device"),
        ([member("b/a"), member("b/b"), member("b/c"), member("b/d")], "holds more than 3 files"),
        ([member("b/y", type=tarfile.XHDTYPE, size=10**9), member("b/x")], "a header is too long"),
        ([member("b/x"), member("c/x")], "holds more than one folder"),
        ([member("x")], "holds more than one folder"),
        ([], "holds more than one folder"),
    ],
)
def test_an_archive_that_is_a_bomb_or_no_bundle_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[tarfile.TarInfo], says: str
) -> None:
    monkeypatch.setattr(bag, "MOST_FILES", 3)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=says):
        bag.unpack(archive_of(tmp_path / "b.tar.gz", *members), tmp_path / "out")


def test_a_torn_archive_is_told(packed: Path, tmp_path: Path) -> None:
    bag.pack(packed, tmp_path / "b.tar.gz")
    whole = (tmp_path / "b.tar.gz").read_bytes()
    half, hurt = len(whole) // 2, io.BytesIO(whole)
    hurt.seek(half)
    hurt.write(os.urandom(1000))
    for number, content in enumerate((whole[:half], hurt.getvalue(), b"", b"no archive")):
        (tmp_path / "b.tar.gz").write_bytes(content)
        (tmp_path / f"out{number}").mkdir()
        try:
            assert any(
                found.level == "error"
                for found in bag.check(bag.unpack(tmp_path / "b.tar.gz", tmp_path / f"out{number}"))
            )
        except UserError as told:
            assert "b.tar.gz" in str(told)
