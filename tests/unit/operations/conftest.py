"""A finished run in small: the report's synthetic one, with all that stands beside its tables."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from unit.report.conftest import Run, jpeg, make_run, noise_picture, write_tar

from kg2clip import settings, tables
from kg2clip.dataset import index, papers
from kg2clip.download.lanes import leftover_names
from kg2clip.evaluate.scores import gather
from kg2clip.files import sha256_bytes, sha256_file, write_json, write_text
from kg2clip.operations import declared
from kg2clip.report import page
from kg2clip.search.order import searches
from kg2clip.train import recipe

DATE = "2026-11-20T10:00:00Z"


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Made once, copied for each test."""
    return finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def finished(finished_once: Run, tmp_path: Path) -> Run:
    """A run of which everything is as its tables say."""
    folder = shutil.copytree(finished_once.folder, tmp_path / "results" / "bees")
    return dataclasses.replace(finished_once, folder=folder, settings=copy.deepcopy(finished_once.settings))


def finish(root: Path) -> Run:
    """Complete the report's synthetic run under `root`."""
    made = make_run(root)
    lanes = {"commons": {"hosts": ["upload.test"], "batches": 2}, "web": {"hosts": [], "batches": 1}}
    write_json(made.config, {**json.loads(made.config.read_text()), "download": {"lanes": lanes}})
    made.settings = settings.load(made.config)
    for search in searches(made.settings):
        tables.write([], tables.HITS, made.folder / "search" / f"{search}.hits.parquet")
    for batch in ("web-000", *leftover_names(made.settings)):
        tables.write([], tables.DOWNLOADS, made.folder / "download" / f"{batch}.manifest.parquet")
        tables.write([], tables.FEATURES, made.folder / "curate" / f"{batch}.features.parquet")
    _fetch(made.folder)
    rows = tables.read(made.folder / "dataset" / "manifest.parquet").to_pylist()
    dataset = made.folder / "dataset"
    (dataset / "README.md").write_text("# bees\n")
    write_json(dataset / "sizes.json", {"train-00000.tar": len(rows)})
    manifest, date = dataset / "manifest.parquet", datetime(2026, 11, 1, tzinfo=UTC)
    tar = dataset / "train-00000.tar"
    index.write(tar, tables.read(manifest), index.Facts("recipe", "keys", sha256_file(tar)))
    papers.write_attribution(manifest, dataset / "attribution.csv")
    papers.write_croissant(manifest, {}, made.settings, date, dataset / "croissant.json")
    for experiment in ("main", "untrained"):
        _train(made, experiment)
    files = [made.folder / "evaluation" / name / "heldout.parquet" for name in ("main", "untrained")]
    found, evaluation = gather(files, made.settings), made.folder / "evaluation"
    tables.write(found.scores, tables.SCORES, evaluation / "scores.parquet")
    tables.write(found.groups, tables.GROUP_SCORES, evaluation / "groups.parquet")
    tables.write(found.comparisons, tables.COMPARISONS, evaluation / "comparisons.parquet")
    for step in declared.steps(made.settings):
        if any((made.folder / file).is_file() for file in step.files):
            write_json(made.folder / step.provenance, {"step": step.name, "date": DATE, "counts": {}})
    report(made)
    return made


def report(made: Run) -> None:
    """Make the run's report, as scripts/make_report.py does."""
    html, _ = page.render(made.open(), DATE)
    write_text(made.folder / "report" / "index.html", html)
    write_json(made.folder / "provenance" / "make_report.json", {"step": "make_report", "date": DATE, "made": DATE})


def _fetch(folder: Path) -> None:
    """Raw tars of one batch; those of the other are gone altogether, as a person may remove them after decoding."""
    manifest = folder / "download" / "commons-000.manifest.parquet"
    rows = tables.read(manifest).to_pylist()
    bodies = {row["candidateID"]: jpeg(noise_picture(n, None)) for n, row in enumerate(rows)}
    for row in rows:
        if row["status"] == "success":
            row |= {"bytes": len(bodies[row["candidateID"]]), "sha256": sha256_bytes(bodies[row["candidateID"]])}
    members = {f"{row['candidateID']}.jpg": bodies[row["candidateID"]] for row in rows if row["status"] == "success"}
    write_tar(folder / "download" / "commons-000" / "00000.tar", members)
    tables.write(rows, tables.DOWNLOADS, manifest)


def _train(made: Run, experiment: str) -> None:
    folder = made.folder / "models" / experiment
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(len(header).to_bytes(8, "little") + header + bytes(range(8)))
    (folder / "open_clip_config.json").write_text("{}")
    (folder / "README.md").write_text(f"# {experiment}\n")
    metrics = folder / "metrics.json"
    facts = json.loads(metrics.read_text())
    facts |= {
        "dataHash": sha256_file(made.folder / "dataset" / "manifest.parquet")[:20],
        "recipeHash": recipe.load(made.settings, experiment).hash(made.settings, experiment),
        "weightsSHA256": sha256_file(weights),
    }
    write_json(metrics, facts)
