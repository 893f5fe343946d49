"""The tutorial, typed line by line as it stands in a clone of its own, with the mirror in the internet's place (minutes)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from workflow.small import ROOT, STEPS, SmallRun, surroundings

from kg2clip import web
from kg2clip.files import read_json

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
NOT_IN_A_CLONE = (".git", ".venv", "results", "resources", "models", "site", ".snakemake", "*_cache", "__pycache__")
ELSEWHERE = {
    "git clone ADDRESS kg2clip": "the fixture `clone`",
    "cd kg2clip": "each command is typed there",
    "make demo": "tests/full/test_demo.py",
    "python scripts/fetch_model.py hf-hub:imageomics/bioclip models/bioclip": "tests/unit/train/test_fetch_model.py",
    "python scripts/doctor.py --profile slurm": "tests/cluster",
    "snakemake --profile slurm": "tests/cluster",
}


def typed() -> list[str]:
    """The commands of the console blocks, in their order."""
    found = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in found for line in block.splitlines()]


def block(key: str) -> dict:
    """The first piece of config in the page that has a key."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(content for content in map(yaml.safe_load, blocks) if key in content)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose config is the tutorial's, but for the small mirror's group, sources and hosts."""
    folder = tmp_path / "kg2clip"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE))
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    small = yaml.safe_load(SmallRun("test-tutorial").config.read_text())
    told = block("project")
    small |= {key: told[key] for key in ("project", "contact")}
    small["train"]["experiments"] = {"main": {"recipe": "entitynet-b32"}}
    del small["evaluate"]["benchmarks"]
    write(folder, small)
    return folder


def write(clone: Path, config: dict) -> None:
    (clone / "config" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture
def internet(clone: Path) -> Iterator[dict[str, str]]:
    """The environment of a terminal from which the mirror is reached."""
    say = f"import os, sys; print(os.environ['{web.RESOLVE}'], flush=True); sys.stdin.read()"
    command = [sys.executable, "scripts/with_mirror.py", "--", sys.executable, "-c", say]
    mirror = subprocess.Popen(
        command, cwd=clone, env=surroundings(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert mirror.stdin and mirror.stdout
    places = json.loads(mirror.stdout.readline())
    try:
        yield {**surroundings(), web.RESOLVE: json.dumps(places)}
    finally:
        mirror.stdin.close()
        mirror.wait(30)


def photograph(clone: Path) -> None:
    """Lay pictures into my-photos/ as the tutorial says: the mirror's test pictures of three species."""
    benchmark = clone / "results" / "bumblebees" / "mirror" / "benchmark"
    names = [entry["scientificName"] for entry in read_json(benchmark / "classes.json")]
    for split in ("dev", "test"):
        for path in sorted((benchmark / split).glob("*.tar")):
            with tarfile.open(path) as tar:
                content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
            for name, label in ((n, int(c)) for n, c in content.items() if n.endswith(".cls")):
                if label < 3:
                    picture = clone / "my-photos" / split / names[label] / f"{Path(name).stem}.jpg"
                    picture.parent.mkdir(parents=True, exist_ok=True)
                    picture.write_bytes(content[name.replace(".cls", ".jpg")])


def test_the_tutorial_leads_to_its_end(clone: Path, internet: dict[str, str]) -> None:
    said = {}
    for command in typed():
        if command in ELSEWHERE:
            continue
        config = yaml.safe_load((clone / "config" / "config.yaml").read_text())
        if "pack_benchmark.py" in command:
            photograph(clone)
        if command == "snakemake --profile local":
            config["train"]["experiments"] = {"main": STEPS}  # the public model is not on this machine
            config["evaluate"]["benchmarks"] = block("evaluate")["evaluate"]["benchmarks"]
        if "why.py" in command:
            config["train"]["experiments"]["main"] = {**STEPS, "steps": 9}
        write(clone, config)
        print(f"$ {command}", flush=True)
        done = subprocess.run(
            ["bash", "-c", f"source .venv/bin/activate && {command}"],
            cwd=clone, env=internet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200,
        )  # fmt: skip
        print(done.stdout, flush=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
        said[command] = done.stdout
    results = clone / "results" / "bumblebees"
    assert (results / "dataset" / "README.md").is_file() and (results / "report" / "index.html").is_file()
    assert (clone / "predictions" / "contact-sheet.html").is_file()
    assert (clone / "results" / "bumblebees-bundle.tar.gz").is_file()
    assert "train_model" in said["python scripts/why.py --profile local"]
