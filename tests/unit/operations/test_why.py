from __future__ import annotations

from pathlib import Path

import pytest

from kg2clip import codehash, provenance, removals, settings
from kg2clip.operations import why
from kg2clip.operations.why import Job

DRY_RUN = """\
Building DAG of jobs...
[Wed Nov 25 15:46:01 2026]
rule decide_pictures:
    input: a.parquet
    output: decisions.parquet
    jobid: 15
    reason: Params have changed since last execution
    resources: tmpdir=/tmp
[Wed Nov 25 15:46:01 2026]
rule train_model:
    input: manifest.parquet
    output: metrics.json
    jobid: 16
    reason: Input files updated by another job: manifest.parquet
    wildcards: experiment=main
    resources: tmpdir=/tmp
[Wed Nov 25 15:46:01 2026]
localrule all:
    input: x
    jobid: 0
    reason: Input files updated by another job: metrics.json
"""


def config(**changes: object) -> settings.Settings:
    return settings.complete({"project": "x", "knowledge": {"roots": ["Apidae"]}, **changes}, "test")


def test_jobs_are_read_from_a_dry_run() -> None:
    assert why.read_jobs(DRY_RUN) == [
        Job("decide_pictures", "", "Params have changed since last execution", 1),
        Job("train_model", "experiment=main", "Input files updated by another job: manifest.parquet", 1),
    ]
    assert why.read_jobs("Nothing to be done (all requested files are present and up to date).") == []
    assert Job("evaluate_model", "experiment=main, benchmark=cub", "").step == "evaluate_model.main.cub"


def test_a_changed_setting_is_named_with_both_values_and_the_rest_follows(tmp_path: Path) -> None:
    step = tmp_path / "decide_pictures.json"
    provenance.write(step, "decide_pictures", config(curate={"min_side": 64}), ("curate",), {})
    lines = list(why.explain(why.read_jobs(DRY_RUN), config(curate={"min_side": 128}), tmp_path))
    assert lines == [
        "decide_pictures: changed: curate.min_side (64 before, 128 now)",
        "and what follows from that: train_model",
    ]


def test_the_list_of_pictures_taken_down_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "removed.csv"
    now = config(curate={"min_side": 64}, dataset={"removed": str(listed)})
    facts = {"takenDown": removals.digest(listed)}
    provenance.write(tmp_path / "decide_pictures.json", "decide_pictures", now, ("curate",), {}, **facts)
    removals.add(listed, [{"candidateID": "a"}])
    lines = list(why.explain(why.read_jobs(DRY_RUN), now, tmp_path))
    assert lines[0] == f"decide_pictures: changed: the list of pictures that were taken down ({listed})"


def test_changed_code_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.write(tmp_path / "decide_pictures.json", "decide_pictures", config(), ("curate",), {})
    monkeypatch.setattr(codehash, "code_hash", lambda program: "another")
    assert why.reasons(why.read_jobs(DRY_RUN)[0], config(), tmp_path) == ["changed: the code of this step"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Missing output files: a.parquet, b.json", "not made yet"),
        ("Updated input files: results/x/a.parquet", "results/x/a.parquet is newer than what was made from it"),
        ("Set of input files has changed since last execution", "it has other inputs than last time"),
        ("Code has changed since last execution", "its rule was edited"),
        ("Forced execution", "it was stopped before it was done"),
        ("Incomplete output files: a.parquet", "it was stopped before it was done"),
        (
            "Software environment definition has changed since last execution",
            "its conda environment in envs/ was edited, or --sdm is not as last time",
        ),
        (
            "Updated input files: ; Input files updated by another job: a.parquet; Code has changed",
            "its rule was edited",
        ),
        (
            "Params have changed since last execution: Union of exclusive params before and now across all output: "
            "before: 'Incomplete output files; Code has changed' now: <nothing exclusive> ",
            "its settings or its code changed",
        ),
        ("Params have changed since last execution", "its settings or its code changed"),
    ],
)
def test_each_reason_has_its_words(tmp_path: Path, reason: str, words: str) -> None:
    assert why.reasons(Job("build_queries", "", reason), config(), tmp_path) == [words]


def test_a_deleted_file_is_not_a_file_never_made(tmp_path: Path) -> None:
    provenance.write(tmp_path / "build_queries.json", "build_queries", config(), ("queries",), {})
    job = Job("build_queries", "", "Missing output files: queries.parquet")
    assert why.reasons(job, config(), tmp_path) == ["queries.parquet is gone"]
    lost = Job("export_entities", "", "Missing output files: provenance/export_entities.json", outputs=2)
    assert why.reasons(lost, config(), tmp_path) == ["provenance/export_entities.json is gone"]


@pytest.mark.parametrize("content", [b"", b'{"settings": ', b"[]", b'{"settings": 3}', b"\xff"])
def test_a_broken_provenance_stops_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "decide_pictures.json").write_bytes(content)
    assert why.reasons(why.read_jobs(DRY_RUN)[0], config(), tmp_path) == ["its settings or its code changed"]


def test_a_changed_recipe_is_told_apart(tmp_path: Path) -> None:
    now = config()
    provenance.write(tmp_path / "train_model.main.json", "train_model", now, ("seed",), {}, recipeHash="x")
    job = Job("train_model", "experiment=main", "Params have changed since last execution")
    assert why.reasons(job, now, tmp_path) == ["changed: the recipe, a file of config/recipes/"]


def test_the_options_are_those_of_snakemake() -> None:
    options = {"targets": ["a.parquet"], "profile": "slurm", "config": ["seed=2"], "until": None, "replace_it": True}
    assert list(why.command_line(options)) == (
        ["--profile", "slurm", "--config", "seed=2", "--replace-it", "--", "a.parquet"]
    )
    assert list(why.command_line({"targets": []})) == []


def test_what_stops_snakemake_is_told_without_what_goes_before() -> None:
    said = "Using profile local\nHost: x\nBuilding DAG of jobs...\n"
    assert why.trouble(f"{said}error: there is no file.\nType it\n") == "there is no file.\nType it"
    assert why.trouble(f"{said}MissingRuleException:\nno x\n") == "snakemake can't tell:\nMissingRuleException:\nno x"
    assert why.trouble("no profile\n") == "snakemake can't tell:\nno profile"
    assert why.trouble("usage: x\nsnakemake: error: no such trigger\n") == "no such trigger"
    trace = "Traceback (most recent call last):\n  File x\nOSError: Read-only file system: '/x/.snakemake'\n"
    assert why.trouble(trace).startswith("snakemake can't tell:\nOSError: Read-only") and "a clone" in why.trouble(
        trace
    )


def test_differences_name_keys_that_came_and_went() -> None:
    assert list(why.differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": [3]}})) == [
        "a.c (2 before, unset now)",
        "a.d (unset before, [3] now)",
    ]
    assert list(why.differences({"a.*.b": {"x": 1}}, {"a.*.b": {"x": 2}})) == ["a.x.b (1 before, 2 now)"]
