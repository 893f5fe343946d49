"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers (make test) a module stays whole, and so do the real runs, which share a finished one."""
    for item in items:
        group = str(item.path) if "unit" in item.path.parts else item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def samples() -> Path:
    """The recorded answers of the sources."""
    if not SAMPLES.is_dir():
        pytest.skip("the recorded answers (../shared/samples) are not on this machine")
    return SAMPLES
