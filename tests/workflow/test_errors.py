"""Mistakes of a user: one clear sentence with what to do, a status that is not 0, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow.small import ROOT, SmallRun, surroundings


def snakemake(config: dict, *options: str, profile: bool = True) -> subprocess.CompletedProcess[str]:
    path = ROOT / "results" / f"{config['project']}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = ["snakemake", "--configfile", str(path), "--replace-workflow-config", "--nolock", *options]
    command += ["--profile", "local"] if profile else ["--cores", "1"]
    return subprocess.run(
        command, cwd=ROOT, env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )


def clear(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    for word in words:
        assert word in done.stdout, done.stdout[-3000:]


BASE = {"project": "test-errors", "knowledge": {"roots": ["Bombus"]}}
ENTITIES = "results/test-errors/knowledge/entities.parquet"


def test_a_typo_in_the_config() -> None:
    done = snakemake({**BASE, "download": {"max_byte": 3}}, "-n")
    clear(done, "download.max_byte is no key of the config; did you mean max_bytes?")


def test_a_wrong_value() -> None:
    clear(snakemake({**BASE, "dataset": {"licenses": "free"}}, "-n"), "dataset.licenses is 'free'; choose one of: open")


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("project: test-errors\nknowledge: {roots: [Bombus]}\nseed: 1\nseed: 2\n")
    done = snakemake(BASE, "-n", "--configfile", str(path))
    clear(done, f"{path} is no valid YAML: line 4, column 1: the key seed stands twice")


def test_a_model_that_is_not_fetched_stops_its_training_and_not_the_harvest() -> None:
    config = {**BASE, "train": {"experiments": {"main": {"recipe": "finetune", "pretrained": "local-dir:models/none"}}}}
    clear(snakemake(config, "-n"), "error: there is no model in models/none", "python scripts/fetch_model.py")
    harvest = snakemake(config, "-n", "results/test-errors/dataset/manifest.parquet")
    assert harvest.returncode == 0, harvest.stdout


def test_too_many_batches() -> None:
    lanes = {"web": {"batches": 100}, "a": {"batches": 1, "hosts": ["a.org"]}}
    clear(snakemake({**BASE, "download": {"lanes": lanes}}, "-n"), "asks for 101 batches in all; at most 100")


def test_a_missing_contact_at_the_first_public_request_and_only_there() -> None:
    assert snakemake(BASE, "-n").returncode == 0
    clear(snakemake(BASE, ENTITIES), "qlever.dev is a public host", "Set contact:")


def test_an_endpoint_that_is_down() -> None:
    knowledge = {"roots": ["Bombus"], "endpoint": "http://graph.invalid/query"}
    done = snakemake({**BASE, "contact": "someone@example.org", "knowledge": knowledge}, ENTITIES)
    clear(done, "http://graph.invalid/query does not answer", "its host name is unknown")


def test_a_lane_without_limit_refuses_to_start() -> None:
    clear(
        snakemake(BASE, ENTITIES, profile=False), "no limit is set for the download lane", "snakemake --profile local"
    )


@pytest.mark.parametrize(
    ("root", "words"), [("Bombbus", "no taxon 'Bombbus'"), ("Prunella", "'Prunella' means several taxa")]
)
def test_a_root_that_is_unknown_or_a_homonym(undisturbed: SmallRun, root: str, words: str) -> None:
    small = SmallRun("test-errors")
    config = yaml.safe_load(small.config.read_text())
    config["knowledge"]["roots"] = [root]
    config["mirror"] = yaml.safe_load(undisturbed.config.read_text())["mirror"]
    small.config.write_text(yaml.safe_dump(config))
    command = [
        sys.executable, "scripts/with_mirror.py", "--config", str(undisturbed.config), "--", "snakemake",
        "--configfile", str(small.config), "--replace-workflow-config", "--profile", "local", "--nolock", ENTITIES,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    clear(done, words, "knowledge.roots")


def test_no_section_mirror() -> None:
    command = [sys.executable, "scripts/with_mirror.py", "--config", "config/config.yaml", "--", "true"]
    clear(
        subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True),
        "has no section mirror",
    )
