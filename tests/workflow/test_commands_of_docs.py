"""Every command in the README and the pages is run: as a dry-run, as --help, or as it stands where it does no harm.

A command of a new kind fails here until it can be run, or stands in UNRUN with the reason.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg2clip import settings
from kg2clip.operations import doctor
from workflow.small import ROOT, surroundings

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "config" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAMS = ("snakemake", "python", "make")
# First words of commands that are none of our programs: one that stands in a text must be in UNRUN with its reason.
OTHERS = ("apptainer", "apt-get", "cat", "cd", "conda", "cp", "docker", "git", "kill", "ln", "ls", "mkdir", "module", "mv",
          "pip", "python3", "rm", "sbatch", "scancel", "sinfo", "squeue", "srun", "sudo", "tensorboard", "unzip", "wget",
          "wsl", ".venv/bin/python", ".venv/bin/pre-commit")  # fmt: skip
LANGUAGES = {"console", "text", "yaml", "python", ""}  # of blocks; those of console hold commands
UNRUN = {
    "git clone ADDRESS kg2clip": "asks the repository's host",
    "cd kg2clip": "changes the shell that types it",
    "srun --cpus-per-task 4 --mem 8G --time 60 make demo": "asks a cluster; tests/full runs make demo",
    "python3.11 -m pip wheel --no-deps -r envs/pip-lock.txt -w wheels": "fetches all packages",
    "PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels make .venv/ready": "needs the packages that the line before fetches",
    "rsync -a --exclude .venv --exclude 'download/*/' kg2clip/ cluster:kg2clip/": "needs a cluster of the reader's",
    "source .venv/bin/activate": "changes the shell that types it; the tests' commands run in that environment",
    "conda env create -f envs/train.yaml -n kg2clip-train": "needs conda's channels",
    "conda activate kg2clip-train": "changes the shell that types it, and needs conda",
    "tmux new -s kg2clip": "opens a terminal",
    "tmux attach -t kg2clip": "opens a terminal",
    "rsync -av cluster:kg2clip/results/bumblebees/report/index.html .": "needs a cluster of the reader's",
    "rsync -av --exclude checkpoints cluster:kg2clip/results/bumblebees/models/main .": "needs a cluster of the reader's",
    "cp -r profiles/slurm profiles/mysite": "done by the fixture `mysite`, which removes it again",
    "snakemake --profile local --unlock": "would take the lock from a run of this clone; test_chain unlocks a run of its own",
    "python scripts/fetch_model.py hf-hub:imageomics/bioclip models/bioclip":
        "asks the Hugging Face Hub; test_fetch_model fetches from a folder",
    "srun --nodes 2 --ntasks-per-node 1 python scripts/train_model.py --dataset results/birds/dataset/manifest.parquet"
    " --experiment main --output results/birds/models/main"
    " --provenance results/birds/provenance/train_model.main.json --processes 4":
        "tests/cluster trains by it on two nodes",
    "caffeinate -i": "a program of macOS",
    "generate-slurm-partition-config -o profiles/mysite/partitions.yaml":
        "asks a cluster; tests/cluster does (test_profiles reads a table of its form)",
    "PYTHONPATH=scripts python -c \"from pathlib import Path; from kg2clip.mirror import faults; faults.write_into(Path('docs/mirror.md'))\"":
        "writes docs/mirror.md, which a test of the mirror holds against the code",
    "rm results/{project}/download/*-leftovers.manifest.parquet": "removes results",
    "tensorboard --logdir results/birds/models": "serves until it is stopped",
    ".venv/bin/pre-commit install": "changes the clone that it is typed in",
    "wsl --install -d Ubuntu-24.04": "a program of Windows",
    "sudo apt-get install git make python3-venv": "installs packages on the machine",
    "kill -9": "the name of what the tests do",
    'python -m open_clip_train.main --dataset-type webdataset --train-data "results/bumblebees/dataset/train-{00000..00041}.tar"'
    " --model ViT-B-32":
        "trains for hours; tests/full/test_interop.py trains with it for a moment",
}  # fmt: skip
AS_IT_STANDS = ("python scripts/plan.py --entities", "python scripts/doctor.py --profile mysite --offline")
DRY = ("-n", "--quiet", "rules", "--nolock")


def commands() -> Iterator[str]:
    """Commands of all console blocks, and those in the text that start with one of our programs."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                yield re.sub(r"\s+#.*", "", line.removeprefix("$ ")).strip()
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`([^`\n]+)`", prose):
            first = re.sub(r"^(\w+=\S+ )+", "", span).split(" ")[0]
            if " " in span and first in (*PROGRAMS, *OTHERS, *(command.split(" ")[0] for command in UNRUN)):
                yield span


ALL = list(dict.fromkeys(command for command in commands() if command))
RUN = [command for command in ALL if command not in UNRUN]


def of(program: str) -> list[str]:
    return [command for command in RUN if re.search(rf"(^| ){program} ", command)]


def run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=surroundings(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=300,
    )  # fmt: skip


@pytest.fixture
def mysite() -> Iterator[None]:
    """The copy of a profile that docs/operations.md makes."""
    folder = ROOT / "profiles" / "mysite"
    if folder.exists():
        pytest.skip("profiles/mysite is in use")
    folder.mkdir()
    (folder / "config.yaml").write_text((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    try:
        yield
    finally:
        shutil.rmtree(folder)


def test_every_command_is_of_a_kind_that_is_run() -> None:
    known = {*of("snakemake"), *of("python"), *of("make"), *UNRUN}
    assert [command for command in ALL if command not in known] == [], "run it, or put it into UNRUN with the reason"
    assert set(UNRUN) <= set(ALL), "no page holds it any more"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_command_hides_in_a_block_of_another_kind(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) % 2 == 0 and set(fences) <= LANGUAGES
    for language, block in re.findall(
        r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        lines = [line.removeprefix("$ ") for line in block.splitlines() if language != "console"]
        assert not [line for line in lines if line.startswith(tuple(f"{name} " for name in PROGRAMS))]
        assert language != "console" or not re.search(r"\\$", block, re.MULTILINE), "one command a line"


def dry_runs() -> list[tuple[str, ...]]:
    """Snakemake's commands, each once, without what makes no difference to a dry-run or is looked at by itself.

    The shipped configs and profiles are dry-run by test_habits.
    """
    found = {}
    for command in of("snakemake"):
        words = [word for word in shlex.split(command) if word not in DRY]
        if "--until" in words:
            at = words.index("--until")
            del words[at : at + 2]
        if words[1:] not in (["--profile", "local"], ["--profile", "slurm"]) and "--configfile" not in words:
            found[tuple(words)] = None
    return list(found)


@pytest.mark.parametrize("words", dry_runs(), ids=" ".join)
def test_snakemake_takes_the_command(words: tuple[str, ...], mysite: None) -> None:
    if "conda" in words and not shutil.which("conda"):
        pytest.skip("conda is not installed")
    done = run([*words, *DRY])
    assert done.returncode == 0, done.stdout[-3000:]


def test_what_snakemake_is_told_exists() -> None:
    words = [shlex.split(command) for command in of("snakemake")]
    named = {
        option: {one[one.index(option) + 1] for one in words if option in one}
        for option in ("--until", "--configfile", "--profile")
    }
    assert named["--until"] and named["--until"] <= doctor.rule_names()
    assert all((ROOT / path).is_file() for path in named["--configfile"])
    assert named["--profile"] == {"local", "slurm", "profiles/mysite"}


@pytest.mark.parametrize("command", of("make"))
def test_make_has_the_target(command: str) -> None:
    done = run(["make", "-n", *shlex.split(command)[1:]])
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("command", of("python"))
def test_a_program_knows_the_options(command: str, mysite: None) -> None:
    _, program, *words = shlex.split(command)
    if command.startswith(AS_IT_STANDS):
        config = settings.load(ROOT / "config" / "config.yaml")
        handed = {} if "--config" in words else {settings.ENVIRONMENT: json.dumps({**config, "project": "test-docs"})}
        done = run([sys.executable, program, *[re.sub(r"^N$", "250", word) for word in words]], handed)
        assert "Traceback" not in done.stdout and done.returncode in (0, 1, 2), done.stdout[-2000:]
        assert len(done.stdout.splitlines()) > 5
        return
    done = run([sys.executable, program, "--help"])
    assert done.returncode == 0, done.stdout[-2000:]
    options = {word.split("=")[0] for word in words if word.startswith("-") and word != "--"}
    assert not {option for option in options - {"--help"} if option not in done.stdout}, done.stdout


def test_the_plan_in_the_tutorial_is_what_the_program_prints() -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"plan\.py --entities 250\n```\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    done = run([sys.executable, "scripts/plan.py", "--entities", "250"])
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    assert [line for line in shown.splitlines() if line.rstrip() not in printed] == []


def test_the_pages_count_the_jobs_that_there_are() -> None:
    """The tutorial's harvest and the whole run; Snakemake's total holds the target `all`."""
    pages = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("tutorial", "costs")}
    (whole,) = re.findall(r"With `config/config.yaml` that is (\d+) jobs", pages["costs"])
    harvest = set(
        re.findall(r"of (\d+)\] (?:export|build)|of (\d+) jobs failed", pages["tutorial"].partition("## 4.")[2])
    )
    (until,) = {first or second for first, second in harvest}
    for number, options in ((whole, []), (until, ["--until", "pack_dataset"])):
        done = run(
            ["snakemake", "--profile", "local", "-n", "--nolock", "--config", "project=test-docs-jobs", *options]
        )
        assert re.findall(r"^total +(\d+)$", done.stdout, re.MULTILINE)[0] == number


def test_the_picture_of_a_container_follows_the_makefile() -> None:
    text = Path(ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = dict(re.findall(r"^export (\w+) := (\w+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert made and all(f"{name}={value}" in text for name, value in made.items())
    assert "envs/pip-lock.txt" in text and re.search(r"^FROM \S+python:3\.1[12]-", text, re.MULTILINE)
