"""Every declared file is among the targets; one that is gone is made again, with what depends on it and nothing else."""

from __future__ import annotations

import pytest

from kg2clip import settings
from kg2clip.operations import declared
from workflow.declared_files import Listed, followers, gone, listed
from workflow.small import SmallRun


@pytest.fixture(scope="module")
def jobs(undisturbed: SmallRun) -> dict[str, Listed]:
    """All jobs of the chain."""
    return listed(undisturbed, "--forceall")


def test_every_output_of_every_rule_is_a_target_and_stands_in_the_list_of_declared_files(
    undisturbed: SmallRun, jobs: dict[str, Listed]
) -> None:
    made = {file for job in jobs.values() for file in job.outputs}
    assert made == jobs["all"].inputs
    steps = list(declared.steps(settings.load(undisturbed.config)))
    folder = f"results/{undisturbed.project}"
    assert made == {f"{folder}/{file}" for step in steps for file in (*step.files, step.provenance)}
    assert jobs.keys() - {"all"} == {step.name for step in steps}


def test_files_that_are_gone_are_made_again_with_what_follows(undisturbed: SmallRun, jobs: dict[str, Listed]) -> None:
    """One of each kind at once; tests/full takes each output of each rule away in turn."""
    folder = f"results/{undisturbed.project}"
    with gone(f"{folder}/provenance/train_model.untrained.json", f"{folder}/mirror/misses.parquet"):
        wanted = set(listed(undisturbed))
    assert wanted == followers(jobs, ["train_model.untrained", "score_against_truth"])
    assert "evaluate_model.untrained.heldout" in wanted and "train_model.main" not in wanted
