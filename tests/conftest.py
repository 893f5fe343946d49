"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"


@pytest.fixture
def samples() -> Path:
    """The recorded answers of the sources."""
    if not SAMPLES.is_dir():
        pytest.skip("the recorded answers (../shared/samples) are not on this machine")
    return SAMPLES
