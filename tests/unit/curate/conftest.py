"""Fixtures of the curate tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from harvests import Harvest


@pytest.fixture
def harvest(tmp_path: Path) -> Harvest:
    return Harvest(tmp_path)
