"""A real run's bundle: it verifies with another copy of the code, a changed byte is named, its dataset is made again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.small import ROOT, SmallRun, surroundings


@pytest.fixture(scope="module")
def bundle(undisturbed: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the small chain, in a folder of its own."""
    target = tmp_path_factory.mktemp("bundle") / "small"
    done = program(ROOT, "bundle.py", "--config", str(undisturbed.config), "--output", str(target), "--no-archive")
    assert done.returncode == 0, done.stdout[-3000:]
    return target


def program(code: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"scripts/{name}", *options],
        cwd=code,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def test_all_is_as_the_tables_say(undisturbed: SmallRun) -> None:
    done = program(ROOT, "verify.py", "--config", str(undisturbed.config))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "warning" not in done.stdout


def test_the_bundle_verifies_on_another_copy_of_the_code_and_a_changed_byte_is_named(
    bundle: Path, tmp_path: Path
) -> None:
    for part in ("scripts", "config", "envs"):
        shutil.copytree(ROOT / part, tmp_path / "clone" / part, ignore=shutil.ignore_patterns("__pycache__"))
    whole = program(tmp_path / "clone", "verify_bundle.py", str(bundle))
    assert whole.returncode == 0, whole.stdout[-3000:]
    assert "byte for byte" in whole.stdout and "warning" not in whole.stdout
    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    manifest = changed / "data" / "results" / "dataset" / "manifest.parquet"
    content = bytearray(manifest.read_bytes())
    content[len(content) // 2] ^= 1
    manifest.write_bytes(content)
    told = program(tmp_path / "clone", "verify_bundle.py", str(changed))
    assert told.returncode == 1
    assert "ERROR    data/results/dataset/manifest.parquet" in told.stdout


def test_the_dataset_is_made_again_byte_for_byte(undisturbed: SmallRun, bundle: Path, tmp_path: Path) -> None:
    again = ("--", sys.executable, "scripts/rebuild.py", str(bundle), "--output", str(tmp_path / "again"))
    done = program(ROOT, "with_mirror.py", "--config", str(undisturbed.config), *again)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "byte for byte" in done.stdout
    ours, theirs = (folder / "dataset" / "train-00000.tar" for folder in (tmp_path / "again", undisturbed.results))
    assert ours.read_bytes() == theirs.read_bytes()
