"""scripts/remove.py and the list that packing reads: what goes, what stays, and that all papers agree."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml
from unit.dataset.test_pack_dataset import command, packed, write

import pack_dataset
import remove as program
from kg2clip import removals, tables
from kg2clip.errors import UserError
from kg2clip.files import sha256_file

KEPT = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed run of 6 shards and more, where results/ has the layout of a run."""
    folder = tmp_path_factory.mktemp("made")
    write(folder, kept=KEPT, test_share=0.1, val_share=0.1)
    packed(folder)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(made, tmp_path / "run"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["dataset"]["removed"] = str(folder / "removed.csv")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    results = folder / "results" / "bees"
    for name, place in (
        ("candidates", "search"), ("decisions", "curate"), ("entities", "knowledge"), ("queries", "queries")
    ):  # fmt: skip
        (results / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"{name}.parquet", results / place)
    shutil.move(folder / "dataset", results / "dataset")
    (results / "provenance").mkdir()
    shutil.copy(folder / "provenance.json", results / "provenance" / "pack_dataset.json")
    return folder


class Removal(Protocol):
    """scripts/remove.py on a run: what it said."""

    def __call__(self, run: Path, *words: str) -> str: ...


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Removal:
    def run_it(run: Path, *words: str) -> str:
        line = ["remove.py", *words, "--reason", "asked by its author", "--config", str(run / "config.yaml")]
        monkeypatch.setattr(sys, "argv", line)
        monkeypatch.chdir(run)
        program.main()
        return capsys.readouterr().out

    return run_it


def state(run: Path) -> dict[str, str]:
    folder = run / "results" / "bees" / "dataset"
    return {path.name: sha256_file(path) for path in folder.iterdir() if path.name != ".lock"}


def manifest(run: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tables.read(run / "results" / "bees" / "dataset" / "manifest.parquet").to_pylist()
    return rows


def test_three_keys_change_three_shards_and_all_papers_agree(run: Path, removed: Removal) -> None:
    before, rows = state(run), manifest(run)
    gone = [next(row["key"] for row in rows if row["shard"] == f"train-0000{number}.tar") for number in range(3)]
    said = removed(run, *gone)
    after = state(run)
    changed = {name for name in before if name.endswith(".tar") and after[name] != before[name]}
    assert changed == {f"train-0000{number}.tar" for number in range(3)} and set(after) == set(before)
    assert all(name in said for name in changed)
    left = {row["key"] for row in rows} - set(gone)
    folder = run / "results" / "bees" / "dataset"
    assert {row["key"] for row in manifest(run)} == left
    with open(folder / "attribution.csv", newline="") as file:
        assert {line["key"] for line in csv.DictReader(file)} == left
    assert sum(json.loads((folder / "sizes.json").read_text()).values()) == len(left)
    described = {
        part["name"]: part.get("sha256") for part in json.loads((folder / "croissant.json").read_text())["distribution"]
    }
    assert (
        all(described[name] == after[name] for name in changed) and described["manifest"] == after["manifest.parquet"]
    )
    assert f"{len(left)} pictures of" in (folder / "README.md").read_text()
    record = json.loads((run / "results" / "bees" / "provenance" / "pack_dataset.json").read_text())
    assert (record["counts"]["samples"], record["counts"]["removed"]) == (len(left), 3)
    listed = removals.read(run / "removed.csv")
    assert {row["candidateID"] for row in listed} >= set(gone)
    assert {row["reason"] for row in listed} == {"asked by its author"}


def test_packing_with_the_list_gives_the_same_and_moves_no_other_picture(
    run: Path, removed: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {row["key"]: row for row in manifest(run)}
    gone = sorted(rows)[::9]
    removed(run, *gone)
    thinned = state(run)
    shutil.rmtree(run / "dataset", ignore_errors=True)
    for again in (run / "results" / "bees" / "dataset", run / "dataset"):  # over what is there, and from nothing
        marks = {path.name: path.stat().st_mtime_ns for path in again.glob("*.tar")}
        line = [part if part != str(run / "dataset") else str(again) for part in command(run)[1:]]
        monkeypatch.setattr(sys, "argv", line)
        pack_dataset.main()
        assert {path.name: sha256_file(path) for path in again.glob("*.tar")} == {
            name: sha for name, sha in thinned.items() if name.endswith(".tar")
        }
        for name in ("manifest.parquet", "sizes.json", "attribution.csv", "croissant.json", "README.md"):
            assert sha256_file(again / name) == thinned[name], name
        assert all((again / name).stat().st_mtime_ns == mark for name, mark in marks.items()), "nothing written twice"
    for row in manifest(run):
        assert (row["split"], row["shard"]) == (rows[row["key"]]["split"], rows[row["key"]]["shard"])
    assert json.loads((run / "provenance.json").read_text())["counts"]["removed"] == len(gone)


def test_an_address_and_a_copy_name_the_picture_with_all_its_copies(run: Path, removed: Removal) -> None:
    path = run / "results" / "bees" / "search" / "candidates.parquet"
    rows = tables.read(path).to_pylist()
    rows[4]["furtherInformationURL"] = "https://photos.test/4"
    tables.write(rows, tables.CANDIDATES, path)
    removed(run, "https://photos.test/4", "copy")
    keys = {row["key"] for row in manifest(run)}
    assert len(keys) == KEPT - 2 and not keys & {f"{4:020d}", f"{0:020d}"}
    assert set(removals.keys(run / "removed.csv")) == {f"{4:020d}", f"{0:020d}", "copy"}


def test_it_needs_the_dataset_alone_and_ends_the_same_after_a_kill(run: Path, removed: Removal) -> None:
    key = manifest(run)[0]["key"]
    twin = Path(shutil.copytree(run, run.with_name("twin")))
    for place in ("search", "curate"):
        shutil.rmtree(twin / "results" / "bees" / place)
    shutil.rmtree(twin / "curate")
    config = yaml.safe_load((twin / "config.yaml").read_text())
    config["dataset"]["removed"] = str(twin / "removed.csv")
    (twin / "config.yaml").write_text(yaml.safe_dump(config))
    removed(run, key)
    removed(twin, key)
    assert state(twin) == state(run)
    other = manifest(run)[0]["key"]
    before = (twin / "results/bees/dataset/manifest.parquet").read_bytes()
    removed(twin, other)
    # As a kill between the shards and the manifest leaves it.
    (twin / "results/bees/dataset/manifest.parquet").write_bytes(before)
    removed(twin, other)
    removed(run, other)
    assert state(twin) == state(run)


def test_what_names_no_picture_changes_nothing(run: Path, removed: Removal) -> None:
    before = state(run)
    with pytest.raises(UserError, match=r"https://nowhere\.test/"):
        removed(run, manifest(run)[0]["key"], "https://nowhere.test/")
    assert state(run) == before and not (run / "removed.csv").exists()


def test_keys_come_from_a_file_as_people_write_them(run: Path, removed: Removal) -> None:
    first, second = (row["key"] for row in manifest(run)[:2])
    text = f"\ufeff# wanted out\r\n{first}\r\n\r\n  {second}  \r\n{first}\r\n"
    (run / "keys.txt").write_text(text, encoding="utf-8", newline="")
    removed(run, "@keys.txt", second)
    assert not {row["key"] for row in manifest(run)} & {first, second} and len(manifest(run)) == KEPT - 2
    assert [row["candidateID"] for row in removals.read(run / "removed.csv")].count(first) == 1
    (run / "keys.txt").write_text("# nothing\n")
    with pytest.raises(UserError, match="no key"):
        removed(run, "@keys.txt")
    with pytest.raises(UserError, match="missing.txt can't be read"):
        removed(run, "@missing.txt")


def test_all_pictures_taken_down_is_told_and_a_rerun_says_the_same(run: Path, removed: Removal) -> None:
    everything = [row["key"] for row in manifest(run)]
    for _ in range(2):
        with pytest.raises(UserError, match="nothing is left"):
            removed(run, *everything)
    assert not list((run / "results/bees/dataset").glob("*.tar"))
    assert set(removals.keys(run / "removed.csv")) >= set(everything)
    done = subprocess.run(command(run), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "all pictures were taken down" in done.stderr


def test_the_list_is_a_table_that_people_may_edit(tmp_path: Path) -> None:
    path = tmp_path / "removed.csv"
    assert removals.keys(path) == []
    removals.add(path, [{"candidateID": "b", "reason": "x, y"}, {"candidateID": "a"}])
    removals.add(path, [{"candidateID": "a", "reason": "twice"}])
    assert [(row["candidateID"], row["reason"]) for row in removals.read(path)] == [("b", "x, y"), ("a", "")]
    path.write_text("candidateID\nc\n\n")
    assert removals.keys(path) == ["c"]
    # As a spreadsheet saves it.
    path.write_text("\ufeffcandidateID,reason\r\n c ,x\r\nc,y\r\n# by hand\r\n", encoding="utf-8", newline="")
    assert removals.keys(path) == ["# by hand", "c"], "what is no id names no picture"
    removals.add(path, [{"candidateID": "d"}])
    assert removals.keys(path) == ["# by hand", "c", "d"]
    path.write_text("key\nc\n")
    with pytest.raises(UserError, match="no column candidateID"):
        removals.keys(path)
