"""The demo in full, as a newcomer types it (minutes; part of make test-all)."""

from __future__ import annotations

import re
import subprocess
import time

import pytest
from workflow.small import ROOT, surroundings

from kg2clip import tables
from kg2clip.mirror import tuxpaint

PHOTOS = pytest.mark.skipif(not tuxpaint.is_installed(), reason="tuxpaint-stamps-default is not installed")


def told(pattern: str, page: str) -> list[float]:
    """Figures in a page, all of them in the order in which they stand."""
    (found,) = re.findall(pattern, (ROOT / page).read_text(encoding="utf-8").replace("\n", " "))
    return [float(figure.replace(",", "")) for figure in ([found] if isinstance(found, str) else found)]


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
        if row["prompts"] == "linear probe":  # it learns, also from what an untrained model makes of a picture
            continue
        if row["experiment"] == "main":
            # Names with all groups above them are long for the demo's two-layer text tower.
            assert row["value"] >= (0.5 if row["nameForm"] in ("common", "scientific") else 0.4), row
        else:
            assert row["value"] <= 3 / row["classes"], "an untrained model guesses"


def test_the_pages_tell_the_demo_as_it_is() -> None:
    """Counts are those of every run; a trained model may differ a little between machines."""
    command = ["make", "demo"]
    done = subprocess.run(command, cwd=ROOT, env=surroundings(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    demo = ROOT / "results" / "demo"
    found = tables.count(demo / "search" / "candidates.parquet")
    kept = tables.count(demo / "dataset" / "manifest.parquet")
    species = tables.read(demo / "queries" / "queries.parquet", columns=["entityID"]).column("entityID").unique()
    counts = told(r"of ([\d,]+) pictures found for (\d+) species it keeps ([\d,]+),", "README.md")
    assert counts == [found, len(species), kept]
    assert told(r"\| the demo, [^|]+\| ([\d,]+) \|", "docs/index.md") == [found]
    jobs = len(list((demo / "benchmarks").glob("*.tsv"))) + 1  # and the one that asks for all
    assert told(r"(\d+) jobs to do \S+ \[1 of \d+\] export_entities …", "docs/tutorial.md") == [jobs]
    (share, chance) = told(r"names ([\d.]+) % of its test pictures right at once \(chance: ([\d.]+) %\)", "README.md")
    rows = tables.read(demo / "evaluation" / "scores.parquet").to_pylist()
    (row,) = [
        row
        for row in rows
        if (row["experiment"], row["benchmark"], row["nameForm"], row["metric"], row["split"], row["chosen"])
        == ("main", "heldout", "common", "top1", "test", True)
    ]
    assert share / 100 == pytest.approx(row["value"], abs=0.04)
    assert chance / 100 == pytest.approx(1 / row["classes"], abs=0.001)
