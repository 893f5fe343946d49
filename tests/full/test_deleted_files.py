"""Each output of each rule of a finished small chain, taken away in turn: a dry-run wants its job and its dependants."""

from __future__ import annotations

import pytest
from workflow.declared_files import Listed, followers, gone, listed
from workflow.small import SmallRun


@pytest.fixture(scope="module")
def finished() -> SmallRun:
    """The chain that tests/workflow left behind, or a new one."""
    small = SmallRun("test-run")
    done = small.run()
    assert done.returncode == 0, done.stdout[-6000:]
    return small


def test_each_output_is_made_again_with_what_depends_on_it(finished: SmallRun) -> None:
    jobs = listed(finished, "--forceall")
    first: dict[str, Listed] = {}
    for job in jobs.values():
        first.setdefault(job.step.split(".")[0], job)
    del first["all"]
    assert len(first) > 12
    for job in first.values():
        for file in job.outputs:
            with gone(file):
                assert set(listed(finished)) == followers(jobs, [job.step]), file
    assert not listed(finished)
