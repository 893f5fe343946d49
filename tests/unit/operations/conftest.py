"""A finished run in small: the report's synthetic one, with all that stands beside its tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from unit.report.conftest import Run, jpeg, make_run, noise_picture, write_tar

from kg2clip import tables
from kg2clip.dataset import papers
from kg2clip.evaluate.scores import scores_of
from kg2clip.files import sha256_bytes, sha256_file, write_json
from kg2clip.operations import declared
from kg2clip.train import recipe


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    """A run of which everything is as its tables say."""
    made = make_run(tmp_path)
    _fetch(made.folder)
    rows = tables.read(made.folder / "dataset" / "manifest.parquet").to_pylist()
    dataset = made.folder / "dataset"
    (dataset / "README.md").write_text("# bees\n")
    write_json(dataset / "sizes.json", {"train-00000.tar": len(rows)})
    papers.write_attribution(rows, dataset / "attribution.csv")
    papers.write_croissant(
        rows, made.settings, datetime(2026, 11, 1, tzinfo=UTC), dataset / "manifest.parquet", dataset / "croissant.json"
    )
    for experiment in ("main", "untrained"):
        _train(made, experiment)
    evaluate = made.settings["evaluate"]
    files = [made.folder / "evaluation" / name / "heldout.parquet" for name in ("main", "untrained")]
    scores, _ = scores_of(files, list(evaluate["prompts"]), evaluate["bootstrap"], made.settings["seed"])
    tables.write(scores, tables.SCORES, made.folder / "evaluation" / "scores.parquet")
    for step in declared.steps(made.settings):
        if any((made.folder / file).is_file() for file in step.files):
            write_json(made.folder / step.provenance, {"step": step.name, "date": "2026-11-20T10:00:00Z", "counts": {}})
    return made


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
