"""The repository's own rules: format, types, lint, and a dry-run of every config that is shipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from workflow.small import ROOT, SmallRun, surroundings

GPU_RULES = {"train_model", "evaluate_model", "evaluate_own", "fit_pictures"}
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in [*(ROOT / "config").glob("*.yaml"), *(ROOT / "config" / "domains").glob("*.yaml")]
    if path.name not in ("schema.yaml", "published.yaml")  # no configs of runs
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "scripts"],
        ["snakefmt", "--check", "Snakefile", "rules"],
        ["snakemake", "--lint"],
    ],
    ids=" ".join,
)
def test_clean(command: list[str]) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_every_shipped_config_and_profile_dry_runs(undisturbed: SmallRun, config: Path, profile: str) -> None:
    # The demo's benchmark is made by its mirror: the one that stands already serves as well.
    if config.name == "demo-tuxpaint.yaml" and not (ROOT / "results/test-tuxpaint/mirror/benchmark").is_dir():
        pytest.skip("the photographs are not installed (make stamps)")
    standing = {"demo.yaml": undisturbed.project, "demo-tuxpaint.yaml": "test-tuxpaint"}
    project = [f"--config=project={standing[config.name]}"] if config.name in standing else []
    options = ["--replace-workflow-config", "--profile", profile, "-n", "--nolock", *project]
    done = run("snakemake", "--configfile", str(config), *options)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("profile", ["local", "slurm", "slurm-ci"])
def test_a_profile_names_only_rules_that_exist_and_limits_every_default_lane(profile: str) -> None:
    content = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())
    rules = {
        line.split()[1].rstrip(":")
        for path in (ROOT / "rules").glob("*.smk")
        for line in path.read_text().splitlines()
        if line.startswith("rule ")
    }
    given = content.get("set-resources", {})
    assert set(given) <= rules
    on_gpus = {rule for rule, resources in given.items() if "gpu" in resources}
    assert on_gpus == (set() if profile == "local" else GPU_RULES)
    for rule in on_gpus:
        assert {"slurm_partition", "cpus_per_gpu", "mem_mb", "runtime"} <= set(given[rule])
    lanes = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())["properties"]["download"]["properties"][
        "lanes"
    ]["default"]
    assert {f"lane_{lane}" for lane in lanes} <= {limit.split("=")[0] for limit in content["resources"]}


def test_no_stage_knows_the_mirror() -> None:
    """Design 5: no stage imports mirror code, reads the truth, or looks at the mirror's names."""
    for stage in ("knowledge", "queries", "search", "download", "curate", "dataset", "train", "evaluate"):
        for path in (ROOT / "scripts" / "kg2clip" / stage).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for word in ("mirror.test", "kg2clip.mirror", "truth.parquet"):
                assert word not in text, path
