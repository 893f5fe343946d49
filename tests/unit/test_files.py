"""Files are whole or absent, and a folder has one writer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kg2clip import identifiers, tables
from kg2clip.errors import UserError
from kg2clip.files import atomic_path, only_writer, scratch_folder, sha256_bytes, sha256_file, write_text

SCRIPTS = str(Path(__file__).resolve().parents[2] / "scripts")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_kill_in_mid_write_leaves_the_old_file_and_the_next_write_works(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    code = f"""
import os, signal
from kg2clip.files import atomic_path
with atomic_path({str(target)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": SCRIPTS}).returncode == -9
    assert target.read_text() == "old"
    write_text(target, "new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_second_writer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    code = f"""
import sys
from kg2clip.files import only_writer
with only_writer({str(tmp_path)!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], env={"PYTHONPATH": SCRIPTS}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdout.readline()
    with pytest.raises(UserError, match=f"written by process {holder.pid}"), only_writer(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with only_writer(tmp_path):
        pass


def test_a_scratch_folder_is_empty_and_goes_whatever_happens(tmp_path: Path) -> None:
    left_by_a_killed_run = tmp_path / ".table.scratch" / "old"
    left_by_a_killed_run.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path / "table") as scratch:
        assert not list(scratch.iterdir())
        (scratch / "new").write_text("x")
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert sha256_file(tmp_path / "a") == sha256_bytes(b"abc") == expected


def test_identifiers_are_stable_and_keep_parts_apart() -> None:
    assert identifiers.stable_hash("ab", "c") != identifiers.stable_hash("a", "bc")
    assert identifiers.candidate_id("commons", "A.jpg") == identifiers.candidate_id("commons", "A.jpg")
    assert "." not in identifiers.candidate_id("commons", "A.jpg")
    spread = [identifiers.bucket(str(number), 4) for number in range(4000)]
    assert min(spread.count(place) for place in range(4)) > 900


def test_tables_refuse_unknown_columns_and_fill_missing_ones(tmp_path: Path) -> None:
    tables.write([{"queryID": "q"}], tables.QUERIES, tmp_path / "q.parquet")
    assert tables.read(tmp_path / "q.parquet").schema.names == tables.QUERIES.names
    with pytest.raises(KeyError, match="querryID"):
        tables.write([{"querryID": "q"}], tables.QUERIES, tmp_path / "q.parquet")


def test_missing_and_torn_tables_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing. Make it with: snakemake"):
        tables.read(tmp_path / "none.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(UserError, match="is no whole table"):
        tables.read(tmp_path / "torn.parquet")
