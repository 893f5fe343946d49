"""The reduced demo through `--profile slurm-ci` on a real Slurm: what each rule gets, and what survives the cluster.

Minutes: each level of the graph waits for the plugin's polling. Part of make test-slurm and make test-all.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from workflow.small import ROOT, STEPS, SmallRun, surroundings

from cluster.slurm import Cluster, missing
from kg2clip import tables
from kg2clip.files import read_json

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

# rule: partition, GPUs, CPUs, megabytes and minutes of its first attempt, as profiles/slurm-ci says.
ASKED = {
    "export_entities": ("cpu", 0, 1, 1000, 10),
    "build_queries": ("cpu", 0, 1, 1000, 10),
    "search_images": ("cpu", 0, 1, 1000, 10),
    "merge_candidates": ("cpu", 0, 1, 1000, 10),
    "fetch_batch": ("cpu", 0, 1, 2000, 10),
    "fetch_leftovers": ("cpu", 0, 1, 2000, 10),
    "decode_batch": ("cpu", 0, 2, 2000, 10),
    "decide_pictures": ("cpu", 0, 2, 2000, 10),
    "pack_dataset": ("cpu", 0, 2, 2000, 10),
    "train_model": ("gpu", 1, 2, 3000, 10),
    "evaluate_model": ("gpu", 1, 2, 3000, 10),
    "make_report": ("cpu", 0, 1, 2000, 10),
}


# Long enough to be cancelled on the way, and to meet a time limit of a minute.
LONG = {
    "train": {
        "experiments": {"main": {**STEPS, "steps": 400}, "untrained": {**STEPS, "steps": 0}},
        "checkpoint_seconds": 2,
    }
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


class ClusterRun(SmallRun):
    """The small chain, its jobs sent to Slurm."""

    profile = "profiles/slurm-ci"

    def __init__(self, **changes: object) -> None:
        """Its mirror takes its time for an answer, so that requests of several jobs meet there."""
        super().__init__("test-slurm", latency=0.1, **changes)

    def command(self, *options: str) -> list[str]:
        return [self.profile if part == "local" else part for part in super().command(*options)]

    def with_resources(self, rule: str, **resources: object) -> ClusterRun:
        """The same run under a profile that gives a rule other resources.

        (--set-resources on the command line would take the place of all that the profile sets.)
        """
        profile = yaml.safe_load((ROOT / "profiles" / "slurm-ci" / "config.yaml").read_text())
        profile["set-resources"][rule].update(resources)
        folder = self.config.with_name(f"{self.project}-profile")
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(profile))
        changed = copy.copy(self)
        changed.profile = str(folder)
        return changed

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Run in the background, output into a file beside the results."""
        log = open(self.config.with_suffix(".log"), "w")  # noqa: SIM115 - as long as the run
        return subprocess.Popen(
            self.command(*options), cwd=ROOT, env=surroundings(), stdout=log, stderr=subprocess.STDOUT, text=True
        )


def steps(small: SmallRun) -> list[int]:
    """The steps that the training's log holds."""
    lines = (small.results / "models" / "main" / "training.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.fixture(scope="module")
def harvest(cluster: Cluster) -> ClusterRun:
    """The chain up to the dataset, with a decode job killed for memory and a download cancelled on the way."""
    small = ClusterRun()
    small.clear()
    running = small.start("--retries", "0", "--until", "pack_dataset")
    cluster.ask("scancel", str(cluster.wait_for_running("fetch_batch", running)))
    assert running.wait(timeout=600) != 0, "a cancelled job was not noticed"
    return small


def test_a_cancelled_download_goes_on_and_memory_grows(cluster: Cluster, harvest: ClusterRun) -> None:
    before = {job["id"] for job in cluster.jobs()}
    # Far too little for the first attempt.
    tight = harvest.with_resources("decide_pictures", mem_mb="2000 if attempt > 1 else 60")
    done = tight.run("--until", "pack_dataset", "--retries", "1")
    assert done.returncode == 0, done.stdout[-6000:]
    fresh = [job for job in cluster.jobs() if job["id"] not in before]
    decided = [(job["memory"], job["state"]) for job in fresh if job["rule"] == "decide_pictures"]
    assert decided[0][0] == 60 and decided[0][1] in ("FAILED", "OUT_OF_MEMORY", "CANCELLED")
    assert decided[1:] == [(2000, "COMPLETED")]
    candidates = tables.read(harvest.results / "search" / "candidates.parquet").num_rows
    manifests = (harvest.results / "download").glob("*-[0-9]*.manifest.parquet")
    assert sum(tables.count(path) for path in manifests if "leftovers" not in path.name) == candidates


def test_training_is_cancelled_times_out_and_ends(cluster: Cluster, harvest: ClusterRun) -> None:
    small = ClusterRun(**LONG)
    running = small.start("--retries", "0", "--until", "train_model")
    job = cluster.wait_for_running("train_model main", running)
    wait_for_checkpoint(small.results / "models" / "main" / "checkpoints")
    cluster.ask("scancel", str(job))
    assert running.wait(timeout=300) != 0
    reached = max(steps(small), default=0)
    before = {job["id"] for job in cluster.jobs()}
    done = small.with_resources("train_model", runtime=1).run("--until", "train_model", "--retries", "12")
    assert done.returncode == 0, done.stdout[-6000:]
    states = [job["state"] for job in cluster.jobs() if job["rule"] == "train_model" and job["id"] not in before]
    assert "TIMEOUT" in states and states.count("COMPLETED") == 1, states
    log = (small.results / "logs" / "train_model.main.log").read_text()
    assert "going on from step" in log
    assert steps(small)[-1] == 400 > reached
    done = small.run()
    assert done.returncode == 0, done.stdout[-6000:]


def test_the_profile_slurm_runs_as_it_is_typed(cluster: Cluster, harvest: ClusterRun) -> None:
    """After the doctor has looked at it: a cluster that keeps no records is asked by squeue."""
    small = ClusterRun(**LONG)
    small.profile = "slurm"
    status, said = diagnose(small, "slurm")
    assert status == 1 and said.splitlines()[-1].startswith("1 of "), said
    assert "partitions: have what the" in said and "Add slurm-status-command: squeue" in said
    before = {job["id"] for job in cluster.jobs()}
    done = small.run("--forcerun", "evaluate_model", "--slurm-status-command", "squeue")
    assert done.returncode == 0, done.stdout[-6000:]
    fresh = [job for job in cluster.jobs() if job["id"] not in before]
    got = {job["rule"]: tuple(job[key] for key in ("partition", "gpus", "cpus", "memory", "minutes")) for job in fresh}
    assert got["evaluate_model"] == ("gpu", 1, 4, 32000, 240)
    assert got["make_report"] == ("cpu", 0, 1, 8000, 60)
    assert {job["state"] for job in fresh} == {"COMPLETED"}


def test_a_training_over_two_nodes(harvest: ClusterRun, tmp_path: Path) -> None:
    """The command of docs/extending.md, two processes a node instead of four."""
    small = ClusterRun()
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\$ (srun .+)", page, re.MULTILINE)
    command = command.replace("results/birds/dataset", str(small.results / "dataset"))
    command = command.replace("results/birds", str(tmp_path)).replace("--processes 4", "--processes 2 --threads 1")
    words = shlex.split(f"{command} --config {small.config}")
    words[1:1] = ["--partition", "pair", "--mem", "6000", "--time", "10"]
    done = subprocess.run(words, cwd=ROOT, env=surroundings(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    trained = read_json(tmp_path / "models" / "main" / "metrics.json")
    assert trained["processes"] == 4 and trained["steps"] == STEPS["steps"]


def test_a_table_of_partitions_is_written_and_looked_at(cluster: Cluster, tmp_path: Path) -> None:
    """The plugin's own program asks the cluster; what it leaves out, the doctor names (docs/operations.md)."""
    table = tmp_path / "partitions.yaml"
    subprocess.run(["generate-slurm-partition-config", "-o", str(table)], env=surroundings(), check=True)
    partitions = yaml.safe_load(table.read_text())
    assert partitions["partitions"].keys() == {"cpu", "gpu", "pair"}
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    for wanted in (profile["default-resources"], *profile["set-resources"].values()):
        wanted.pop("slurm_partition", None)
    profile |= {"slurm-partition-config": str(table), "slurm-status-command": "squeue"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile))
    small = ClusterRun(**LONG)
    status, said = diagnose(small, str(tmp_path))
    assert status == 1 and "A partition without max_gpu counts as one without GPUs" in said, said
    partitions["partitions"]["gpu"]["max_gpu"] = 2
    table.write_text(yaml.safe_dump(partitions))
    status, said = diagnose(small, str(tmp_path))
    assert status == 0 and "partitions: have what the" in said, said


def test_each_rule_got_what_the_profile_says(cluster: Cluster, harvest: ClusterRun) -> None:
    """What a rule asks for is among what its jobs got; the tests above gave some of them less."""
    recorded = cluster.recorded()
    got: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for job in cluster.jobs():
        got[job["rule"]].add((job["partition"], job["gpus"], job["cpus"], job["memory"], job["minutes"]))
        if job["id"] not in recorded:
            assert job["state"] != "COMPLETED", job
            continue  # cancelled before its step began
        partition, visible = recorded[job["id"]]
        assert partition == job["partition"]
        assert (visible in ("0", "1")) == (job["gpus"] == 1), (job, visible)
    assert {rule: asked for rule, asked in ASKED.items() if asked not in got[rule]} == {}


def test_a_lane_holds_its_limit_over_all_jobs(harvest: ClusterRun) -> None:
    """Requests under way at a host at once, as the mirror's server counted them over the whole harvest."""
    lines = (harvest.results / "mirror" / "requests.jsonl").read_text().splitlines()
    busiest = max(entry["open"] for entry in map(json.loads, lines) if entry["host"] == "upload.mirror.test")
    assert 1 < busiest <= 8


def diagnose(small: ClusterRun, profile: str) -> tuple[int, str]:
    """The doctor's exit status and words about a profile."""
    command = [sys.executable, "scripts/doctor.py", "--offline", "--config", str(small.config), "--profile", profile]
    done = subprocess.run(command, cwd=ROOT, env=surroundings(), capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def wait_for_checkpoint(folder: Path) -> None:
    for _ in range(600):
        if list(folder.glob("*.json")):
            return
        time.sleep(0.2)
    raise AssertionError("no checkpoint within two minutes")
