"""Fixtures of the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.train.cases import write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The manifest of 30 pictures in 3 shards."""
    return write_dataset(tmp_path / "dataset")
