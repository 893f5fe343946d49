"""The demo in full, as a newcomer types it (minutes; part of make test-all)."""

from __future__ import annotations

import subprocess
import time

import pytest
from workflow.small import ROOT, surroundings

from kg2clip import tables
from kg2clip.mirror import tuxpaint

PHOTOS = pytest.mark.skipif(not tuxpaint.is_installed(), reason="tuxpaint-stamps-default is not installed")


@pytest.mark.parametrize(
    ("collection", "project", "benchmark"),
    [("rendered", "demo", "heldout"), pytest.param("tuxpaint", "demo-tuxpaint", "scenes", marks=PHOTOS)],
)
def test_the_demo_makes_a_model_that_knows_its_species(collection: str, project: str, benchmark: str) -> None:
    started = time.monotonic()
    command = ["make", "demo", f"COLLECTION={collection}"]
    done = subprocess.run(command, cwd=ROOT, env=surroundings(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == f"The report: {ROOT}/results/{project}/report/index.html"
    assert time.monotonic() - started < 20 * 60
    for row in tables.read(ROOT / "results" / project / "evaluation" / "scores.parquet").to_pylist():
        if (row["benchmark"], row["split"], row["metric"], row["chosen"]) != (benchmark, "test", "top1", True):
            continue
        if row["experiment"] == "main":
            assert row["value"] >= 0.5
        else:
            assert row["value"] <= 3 / row["classes"], "an untrained model guesses"
