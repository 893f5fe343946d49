"""One undisturbed run of the small chain, which several tests look at."""

from __future__ import annotations

import pytest

from workflow.small import SmallRun


@pytest.fixture(scope="session")
def undisturbed() -> SmallRun:
    """A finished run of the small chain."""
    small = SmallRun("test-run")
    small.clear()
    done = small.run()
    assert done.returncode == 0, done.stdout[-6000:]
    return small
