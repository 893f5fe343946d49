"""The conda environments say what the pip lock says, and hold what their stages import."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import kg2clip
from kg2clip import codehash
from kg2clip.operations.doctor import rule_names

ROOT = Path(__file__).resolve().parents[2]
CHANNELS = ["conda-forge", "bioconda", "nodefaults"]
PYTHON = "3.11"
TAXONKIT = {"pytaxonkit", "taxonkit"}  # of bioconda alone


def programs() -> dict[str, list[str]]:
    """The programs of all rules, by the environment that the rule names."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule, stage in re.findall(
            r"^rule (\w+):\n(?:(?: .*)?\n)*?    conda:\n +\"../envs/(\w+)\.yaml\"", path.read_text(), re.MULTILINE
        ):
            found.setdefault(stage, []).append(rule)
    return found


PROGRAMS = programs()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock() -> dict[str, str]:
    lines = (ROOT / "envs" / "pip-lock.txt").read_text().splitlines()
    pins = (line.split(";")[0].split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version.strip() for name, version in pins}


def environment(stage: str) -> dict[str, str]:
    content = yaml.safe_load((ROOT / "envs" / f"{stage}.yaml").read_text())
    pip = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    return {normal(name): version for name, version in (line.split("==") for line in pip)}


def needed(stage: str) -> set[str]:
    """Distributions that the stage's programs import, also inside functions."""
    owners = packages_distributions()
    found = set()
    for program in PROGRAMS[stage]:
        for path in codehash.code_files(program):
            if path.suffix != ".py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
                    names = [ast.literal_eval(node.args[0])]
                tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"kg2clip"}
                found.update(normal(owners[top][0]) for top in tops)
    return found


def test_every_rule_names_an_environment_and_every_environment_is_used() -> None:
    assert {rule for rules in PROGRAMS.values() for rule in rules} == rule_names()
    assert set(PROGRAMS) == {path.stem for path in (ROOT / "envs").glob("*.yaml")}


@pytest.mark.parametrize("stage", PROGRAMS)
def test_an_environment_is_written_as_conda_reads_it_with_every_version(stage: str) -> None:
    text = (ROOT / "envs" / f"{stage}.yaml").read_text()
    content = yaml.safe_load(text)
    *plain, pip = content["dependencies"]
    assert set(content) == {"channels", "dependencies"} and set(pip) == {"pip"}
    of_bioconda = {line.split("=")[0] for line in plain} & TAXONKIT
    assert content["channels"] == [name for name in CHANNELS if name != "bioconda" or of_bioconda]
    assert plain[:2] == [f"python={PYTHON}", "pip"], "pip is named, or conda warns"
    assert all(re.fullmatch(r"[a-z-]+=[\d.]+", line) for line in plain[2:])
    assert pip["pip"] == sorted(set(pip["pip"])) and all(
        re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in pip["pip"]
    )


def test_python_is_the_same_everywhere() -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^FROM \S+/python:([\d.]+)-", image, re.MULTILINE)[1] == PYTHON  # type: ignore[index]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    versions = [step["with"]["python-version"] for step in workflow["jobs"]["test"]["steps"] if "with" in step]
    assert versions == [PYTHON]
    first, beyond = kg2clip.PYTHON
    assert first <= tuple(map(int, PYTHON.split("."))) < beyond
    assert f"assert {first} <= sys.version_info < {beyond}" in (ROOT / "Makefile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["ruff"]["target-version"] == f"py{PYTHON.replace('.', '')}"


def test_the_image_is_built_from_files_that_are_there_and_installs_what_make_does() -> None:
    image = (ROOT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*)$", image, re.MULTILINE) for name in line.split()[:-1]]
    assert copied == ["envs/pip-lock.txt"] and all((ROOT / name).is_file() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not [name for name in copied if any(name.startswith(folder.rstrip("/")) for folder in ignored)]
    made = re.search(r"pip install (.*) --no-deps -r envs/pip-lock.txt", (ROOT / "Makefile").read_text())
    assert made and "--no-deps --requirement /tmp/pip-lock.txt" in image
    instructions = re.findall(r"^([A-Z]+) ", image, re.MULTILINE)
    assert set(instructions) <= {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "CMD"} and instructions[0] == "FROM"


@pytest.mark.parametrize("stage", PROGRAMS)
def test_an_environment_holds_what_its_stage_imports_at_the_locks_versions(stage: str) -> None:
    pins = environment(stage)
    assert pins == {name: lock()[name] for name in pins}
    assert set(pins) == needed(stage)
