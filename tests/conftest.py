"""What all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A suite that a script started in the background inherits that Ctrl-C is ignored, and so would the programs under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"


@pytest.fixture
def samples() -> Path:
    """The recorded answers of the sources."""
    if not SAMPLES.is_dir():
        pytest.skip("the recorded answers (../shared/samples) are not on this machine")
    return SAMPLES
