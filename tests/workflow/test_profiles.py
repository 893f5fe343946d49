"""What each rule gets under each profile, and how small the graph of jobs stays."""

from __future__ import annotations

import logging
import re
import resource
import shlex
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file

from kg2clip.operations.doctor import rule_names
from workflow.small import ROOT, surroundings

# rule: partition, GPUs, CPUs (threads), megabytes, minutes; a change of any is a change for the people who run it.
SLURM = {
    "export_entities": ("cpu", 0, 1, 4000, 120),
    "build_queries": ("cpu", 0, 1, 4000, 30),
    "search_images": ("cpu", 0, 1, 4000, 1440),
    "merge_candidates": ("cpu", 0, 1, 8000, 60),
    "fetch_batch": ("cpu", 0, 1, 4000, 1440),
    "fetch_leftovers": ("cpu", 0, 1, 4000, 1440),
    "decode_batch": ("cpu", 0, 2, 4000, 240),
    "fit_pictures": ("gpu", 1, 4, 32000, 240),
    "decide_pictures": ("cpu", 0, 2, 16000, 240),
    "pack_dataset": ("cpu", 0, 2, 16000, 240),
    "train_model": ("gpu", 1, 8, 64000, 1440),
    "evaluate_model": ("gpu", 1, 4, 32000, 240),
    "evaluate_own": ("gpu", 1, 4, 32000, 240),
    "gather_scores": ("cpu", 0, 1, 8000, 60),
    "write_card": ("cpu", 0, 1, 4000, 30),
    "make_report": ("cpu", 0, 1, 8000, 60),
}
OF_THE_MIRROR = {"score_against_truth"}
SECONDS, JOBS = 15, 400  # design 6.1


def dry_run(*options: str) -> str:
    command = ["snakemake", "--replace-workflow-config", "-n", "--nolock", *options]
    done = subprocess.run(
        command, cwd=ROOT, env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def of_children() -> float:
    """Seconds of processor that programs started from here have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def jobs(text: str) -> dict[str, tuple[str, int, int, int, int]]:
    """What a dry-run says that the first job of each rule gets, in the form of SLURM."""
    found: dict[str, tuple[str, int, int, int, int]] = {}
    for block in re.split(r"\n(?=(?:local)?rule )", text)[1:]:
        rule = re.match(r"(?:local)?rule (\w+)", block)
        resources = re.search(r"resources: (.*)", block)
        threads = re.search(r"threads: (\d+)", block)
        if not rule or not resources or rule[1] in found:
            continue
        given = dict(part.split("=", 1) for part in resources[1].split(", ") if "=" in part)
        if "slurm_partition" in given and "mem_mb" in given:
            numbers = (int(given.get("gpu", 0)), int(threads[1]) if threads else 1, int(given["mem_mb"]))
            found[rule[1]] = (given["slurm_partition"], *numbers, int(given["runtime"]))
    return found


def test_each_rule_gets_what_the_table_says_on_a_cluster(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config["curate"] = {"fit_model": f"local-dir:{tmp_path}"}
    benchmark = tmp_path / "my photos" / "set's"  # a path that a shell would take apart
    config["evaluate"] = {"benchmarks": {"mine": {"path": str(benchmark)}}}
    (benchmark / "test").mkdir(parents=True)
    (benchmark / "test" / "nshards.txt").write_text("1")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    # A dry-run would cut all threads to the cores of this machine.
    text = dry_run("--configfile", str(tmp_path / "config.yaml"), "--profile", "slurm", "--cores", "64", "-p")
    found = jobs(text)
    found.pop("all", None)
    assert found == SLURM
    assert found.keys() == rule_names() - OF_THE_MIRROR
    assert f"--benchmark {shlex.quote(str(benchmark))} " in text


def test_a_harvest_of_10000_shards_is_few_jobs(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config" / "domains" / "birds.yaml").read_text())
    config["project"] = "test-shards"
    batches = sum(lane["batches"] for lane in config["download"]["lanes"].values())
    config["download"]["shards_per_batch"] = -(-10_000 // batches)
    path = tmp_path / "shards.yaml"
    path.write_text(yaml.safe_dump(config))
    started, computed = time.monotonic(), of_children()
    text = dry_run("--configfile", str(path), "--profile", "slurm", "--quiet", "rules")
    # What it computes: beside other work the clock would say more of that than of the graph.
    assert of_children() - computed < SECONDS
    assert time.monotonic() - started < 4 * SECONDS
    total = re.search(r"^total +(\d+)", text, re.MULTILINE)
    assert total and 2 * batches < int(total[1]) < JOBS


def test_the_table_of_partitions_in_the_docs_sends_the_rules_where_it_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    (table,) = re.findall(r"^```yaml\n(partitions:.*?)^```$", text, re.MULTILINE | re.DOTALL)
    path = tmp_path / "partitions.yaml"
    path.write_text(table)
    partitions = read_partition_file(path)
    chosen = {}
    for rule, (_, gpus, threads, memory, minutes) in SLURM.items():
        resources = {"mem_mb": memory, "runtime": minutes, "gpu": gpus, **({"cpus_per_gpu": threads} if gpus else {})}
        job = SimpleNamespace(name=rule, threads=threads, resources=resources)
        chosen[rule] = get_best_partition(partitions, job, logging.getLogger("test"))
    assert {chosen.pop(rule) for rule, (_, gpus, *_) in SLURM.items() if gpus} == {"gpu"}
    assert {rule for rule, partition in chosen.items() if partition == "long"} == {
        "search_images",
        "fetch_batch",
        "fetch_leftovers",
    }
    assert set(chosen.values()) == {"long", "short"}


@pytest.mark.parametrize("profile", ["local", "slurm", "slurm-ci"])
def test_each_value_of_a_profile_stands_below_its_reason(profile: str) -> None:
    lines = (ROOT / "profiles" / profile / "config.yaml").read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"[a-z-]+:", line)]
    bare = [lines[number] for number in keys if not any("#" in line for line in lines[max(0, number - 1) : number + 1])]
    assert bare == []
