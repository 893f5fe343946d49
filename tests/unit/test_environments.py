"""The conda environments say what the pip lock says, and hold what their stages import."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import kg2clip
import write_environments
from kg2clip.errors import UserError
from kg2clip.operations.doctor import rule_names

ROOT = Path(__file__).resolve().parents[2]
CHANNELS = ["conda-forge", "bioconda", "nodefaults"]
PYTHON = "3.11"
TAXONKIT = {"pytaxonkit", "taxonkit"}  # of bioconda alone
PROGRAMS = write_environments.programs()
# Programs that no rule starts, with the environment that docs/operations.md names for them.
BY_HAND = {
    "remove": "curate",
    **dict.fromkeys(["predict", "pack_benchmark", "prepare_benchmark", "fetch_model"], "train"),
}


def packages(stage: str) -> set[str]:
    content = yaml.safe_load((ROOT / "envs" / f"{stage}.yaml").read_text())
    pip = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    return {write_environments.normal(line.partition("==")[0]) for line in pip}


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
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .*)?", line) for line in pip["pip"])
    assert set(pip["pip"]) <= set(write_environments.lock().values())


def test_python_is_the_same_everywhere() -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^FROM \S+/python:([\d.]+)-", image, re.MULTILINE)[1] == PYTHON  # type: ignore[index]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    assert (ROOT / workflow["jobs"]["test"]["steps"][-1]["run"]).read_text().splitlines()[-1] == "make test"
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
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored == ["*", *(f"!{name}" for name in copied)], "nothing else is sent to Docker"
    made = re.search(r"pip install (.*) --no-deps -r envs/pip-lock.txt", (ROOT / "Makefile").read_text())
    assert made and "--no-deps --requirement /tmp/pip-lock.txt" in image
    instructions = re.findall(r"^([A-Z]+) ", image, re.MULTILINE)
    assert set(instructions) <= {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "CMD"} and instructions[0] == "FROM"


def test_hooks_before_a_commit_are_those_of_make_lint() -> None:
    lint = re.search(r"^lint: .*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook["entry"] for hook in repository["hooks"]]
    assert lint and all(hook.startswith(".venv/bin/") for hook in hooks)
    assert [hook.removeprefix(".venv/bin/") for hook in hooks] == [
        re.sub(r" (\.|Snakefile rules)$", "", command) for command in lint[1].split(" && ")
    ]


def test_the_catalogue_of_workflows_names_a_profile_and_ways_that_there_are() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"} and usage["software-stack-deployment"] == {"conda": True}
    profile = usage["mandatory-flags"]["flags"].removeprefix("--profile ")
    assert (ROOT / profile / "config.yaml").is_file()


@pytest.mark.parametrize("stage", PROGRAMS)
def test_an_environment_holds_what_its_stage_imports_and_all_that_this_needs(stage: str) -> None:
    text = (ROOT / "envs" / f"{stage}.yaml").read_text()
    assert text == write_environments.environment(stage, PROGRAMS[stage]), "python scripts/write_environments.py"


def test_packages_whose_pins_fight_are_in_environments_of_their_own() -> None:
    for package, home in (("img2dataset", "download"), ("open-clip-torch", "train"), ("taxopy", "knowledge")):
        assert {stage for stage in PROGRAMS if package in packages(stage)} == {home}


@pytest.mark.parametrize(("program", "stage"), BY_HAND.items())
def test_a_program_runs_in_the_environment_that_the_docs_name(program: str, stage: str) -> None:
    assert write_environments.imported(program) <= packages(stage)
    page = (ROOT / "docs" / "operations.md").read_text()
    (named,) = re.findall(rf"^ *\| `envs/{stage}.yaml` \| (.*) \|$", page, re.MULTILINE)
    assert f"`{program}.py`" in named


def test_a_lock_that_lacks_a_package_or_has_another_version_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_environments.LOCK.read_text()
    monkeypatch.setattr(write_environments, "LOCK", tmp_path / "pip-lock.txt")
    for text, says in (
        (re.sub(r"^yarl==.*\n", "", whole, flags=re.MULTILINE), "yarl is needed"),
        (re.sub(r"^yarl==.*", "yarl==0.1", whole, flags=re.MULTILINE), "aiohttp asks for yarl"),
    ):
        write_environments.LOCK.write_text(text)
        with pytest.raises(UserError, match=says):
            write_environments.with_what_they_need(["aiohttp"])
