"""What is gone or changed is named, with the file and what to type; what is whole is left in peace."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from unit.report.conftest import Run as Made

import verify as program
from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import write_json
from kg2clip.operations import declared, verify
from kg2clip.operations.findings import Finding
from kg2clip.operations.verify import Run
from kg2clip.settings import ROOT


def wrong(made: Made, quick: bool = False) -> list[Finding]:
    return [found for found in verify.verify(Run(made.folder, made.settings, quick)) if found.level == "error"]


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def middle_of_a_picture(made: Made, table: str, tar_column: str) -> int:
    row = next(row for row in tables.read(made.folder / table).to_pylist() if row[tar_column])
    return row["offset"] + row["size"] // 2


def test_a_finished_run_is_as_its_tables_say(finished: Made) -> None:
    assert wrong(finished) == wrong(finished, quick=True) == []


def set_metric(made: Made, key: str) -> None:
    path = made.folder / "models" / "main" / "metrics.json"
    write_json(path, {**json.loads(path.read_text()), key: "0" * 20})


def drop_attribution(made: Made) -> None:
    path = made.folder / "dataset" / "attribution.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def relicense(made: Made) -> None:
    path = made.folder / "dataset" / "attribution.csv"
    path.write_text(path.read_text().replace("CC-BY-", "CC0-", 1))


def flip_a_cell(made: Made) -> None:
    path = made.folder / "search" / "candidates.parquet"
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(0).column(0)
    flip(path, column.data_page_offset + column.total_compressed_size // 2)


def improve_a_score(made: Made) -> None:
    path = made.folder / "evaluation" / "scores.parquet"
    rows = tables.read(path).to_pylist()
    rows[0]["value"] += 0.01
    tables.write(rows, tables.SCORES, path)


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def shorten(path: Path) -> None:
    table = tables.read(path)
    pq.write_table(table.slice(1), path)


def empty(path: Path) -> None:
    pq.write_table(tables.read(path).slice(0, 0), path)


DAMAGES: dict[str, tuple[Callable[[Made], object], str, bool]] = {  # what is done; the file named; seen by --quick too
    "a raw byte": (lambda made: flip(made.folder / "download/commons-000/00000.tar", 700), "00000.tar", False),
    "a raw tar": (lambda made: (made.folder / "download/commons-000/00000.tar").write_bytes(b""), "00000.tar", True),
    "a decoded tar": (lambda made: (made.folder / "curate/commons-001/00000.tar").unlink(), "00000.tar", True),
    "a torn decoded tar": (lambda made: (made.folder / "curate/commons-001/00000.tar").write_bytes(b"x"), "00000.tar", True),
    "a packed byte": (
        lambda made: flip(
            made.folder / "dataset/train-00000.tar", middle_of_a_picture(made, "dataset/manifest.parquet", "shard")
        ),
        "train-00000.tar",
        False,
    ),
    "a byte of a shard's header": (lambda made: flip(made.folder / "dataset/train-00000.tar", 10), "train-00000.tar", False),
    "a shard": (lambda made: (made.folder / "dataset/train-00000.tar").unlink(), "train-00000.tar", True),
    "a stray shard": (lambda made: (made.folder / "dataset/train-00009.tar").touch(), "train-00009.tar", True),
    "sizes": (lambda made: write_json(made.folder / "dataset/sizes.json", {"train-00000.tar": 1}), "sizes.json", True),
    "no sizes": (lambda made: (made.folder / "dataset/sizes.json").unlink(), "sizes.json", True),
    "a credit line": (drop_attribution, "attribution.csv", True),
    "a licence": (relicense, "attribution.csv", True),
    "a byte of a table": (flip_a_cell, "candidates.parquet", False),
    "another table": (lambda made: shutil.copy(made.folder / "search/candidates.parquet", made.folder / "queries/queries.parquet"), "queries.parquet", True),
    "sizes of another kind": (lambda made: (made.folder / "dataset/sizes.json").write_text("[1]"), "sizes.json", True),
    "torn croissant": (lambda made: tear(made.folder / "dataset/croissant.json"), "croissant.json", True),
    "torn weights": (lambda made: tear(made.folder / "models/main/open_clip_model.safetensors"), "safetensors", True),
    "a weight": (lambda made: flip(made.folder / "models/main/open_clip_model.safetensors", -1), "safetensors", False),
    "other data": (lambda made: set_metric(made, "dataHash"), "metrics.json", True),
    "another recipe": (lambda made: set_metric(made, "recipeHash"), "metrics.json", True),
    "a better score": (improve_a_score, "scores.parquet", False),
    "an index": (lambda made: (made.folder / "dataset/train-00000.index.parquet").unlink(), "train-00000.index.parquet", True),
    "a row of an index": (lambda made: shorten(made.folder / "dataset/train-00000.index.parquet"), "train-00000.index.parquet", True),
    "all rows of a batch": (lambda made: empty(made.folder / "download/commons-000.manifest.parquet"), "00000.tar", True),
    "features of a picture": (lambda made: shorten(made.folder / "curate/commons-000.features.parquet"), "commons-000.features.parquet", True),
    "a decision": (lambda made: shorten(made.folder / "curate/decisions.parquet"), "decisions.parquet", True),
    "all samples": (lambda made: empty(made.folder / "dataset/manifest.parquet"), "manifest.parquet", True),
    "a file's content": (lambda made: (made.folder / "search/candidates.parquet").write_bytes(b""), "candidates.parquet", True),
    "no JSON": (lambda made: (made.folder / "provenance/build_queries.json").write_text("{"), "build_queries.json", True),
    "JSON of another kind": (lambda made: (made.folder / "models/main/metrics.json").write_text("[1]"), "metrics.json", True),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_gone_or_changed_is_named_with_what_to_type(finished: Made, damage: str) -> None:
    hurt, file, seen_by_quick = DAMAGES[damage]
    hurt(finished)
    found = wrong(finished)
    assert any(finding.about.endswith(file) and "rm " in finding.says for finding in found), found
    assert all("rm " in finding.says or "could not be checked" in finding.says for finding in found)
    assert bool(wrong(finished, quick=True)) == seen_by_quick


def test_an_unreadable_table_is_named_and_the_rest_still_checked(finished: Made) -> None:
    tear(finished.folder / "curate" / "decisions.parquet")
    tear(finished.folder / "dataset" / "manifest.parquet")
    flip(finished.folder / "download" / "commons-000" / "00000.tar", 700)
    named = {Path(finding.about).name for finding in wrong(finished)}
    assert {"decisions.parquet", "manifest.parquet", "00000.tar"} <= named


def test_a_bad_table_does_not_hide_what_is_wrong_with_the_next(finished: Made) -> None:
    for batch in ("commons-000", "commons-001"):
        (finished.folder / "download" / f"{batch}.manifest.parquet").write_bytes(b"")
    (finished.folder / "curate" / "commons-001" / "00000.tar").unlink()
    named = {Path(finding.about).name for finding in wrong(finished)}
    assert {"commons-000.manifest.parquet", "commons-001.manifest.parquet", "00000.tar"} <= named


def test_a_batch_that_lost_rows_is_named_by_its_provenance(finished: Made) -> None:
    manifest = finished.folder / "download" / "commons-000.manifest.parquet"
    rows = tables.count(manifest)
    write_json(finished.folder / "provenance" / "fetch_batch.commons-000.json", {"counts": {"candidates": rows + 1}})
    (found,) = wrong(finished)
    assert found.about == str(manifest) and f"has {rows} rows; {rows + 1} are due" in found.says


def test_a_link_that_leads_nowhere_is_gone_and_a_folder_that_may_not_be_read_is_told(
    finished: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = finished.folder / "search" / "candidates.parquet"
    path.unlink()
    path.symlink_to("nowhere")
    assert (str(path), "is gone. To make it again start snakemake again") in [
        (f.about, f.says) for f in wrong(finished)
    ]

    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pq, "ParquetFile", refuse)  # root may read everything, so no file's rights would do
    assert any("may not be read by you. Type: chmod u+r" in finding.says for finding in wrong(finished))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UserError, match=r"may not be read. Type: chmod u\+rx"):
        wrong(finished)


def test_a_declared_file_that_is_gone_is_told_from_one_that_is_not_made_yet(finished: Made) -> None:
    (finished.folder / "knowledge" / "entities.parquet").unlink()  # its provenance stands
    (finished.folder / "report" / "index.html").unlink()
    (finished.folder / "provenance" / "make_report.json").unlink()
    found = list(verify.check_presence(Run(finished.folder, finished.settings)))
    gone = [finding.about for finding in found if finding.level == "error"]
    assert gone == [str(finished.folder / "knowledge" / "entities.parquet")]
    assert [finding.says for finding in found if finding.level == "warning"] == ["not done yet: make_report"]


def test_the_program_says_it_with_its_exit_status(
    finished: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(finished.folder / "download" / "commons-000" / "00000.tar", 700)
    options = ["--results", str(finished.folder), "--config", str(finished.config)]
    monkeypatch.setattr(sys, "argv", ["verify.py", *options])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 1
    assert "download/commons-000/00000.tar" in capsys.readouterr().out


def rule_blocks() -> dict[str, str]:
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    return {name: block for name, block in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)}


def test_every_declared_file_is_among_the_targets() -> None:
    """So that one that is deleted is made again, provenance included: whole outputs of rules, all of their wildcards."""
    common = (ROOT / "rules" / "common.smk").read_text()
    targets = common[common.index("def targets():") :]
    blocks = rule_blocks()
    assert len(blocks) > 10
    for name in blocks:
        assert f"rules.{name}.output" in targets, name
        assert not re.search(rf"rules\.{name}\.output\.\w", targets), name


def test_the_list_of_declared_files_is_that_of_the_rules(finished: Made) -> None:
    settings = {**finished.settings, "mirror": {}}
    settings["curate"] = {**settings["curate"], "fit_model": "local-dir:mine"}
    settings["evaluate"] = {**settings["evaluate"], "own": True}
    ours: dict[str, set[str]] = {}
    for step in declared.steps(settings):
        rule, _, values = step.name.partition(".")
        wildcards = {"search_images": ["search"], "fetch_batch": ["batch"], "fetch_leftovers": ["lane"],
                     "decode_batch": ["batch"], "fit_pictures": ["batch"],
                     "train_model": ["experiment"], "evaluate_own": ["experiment"],
                     "evaluate_model": ["experiment", "benchmark"], "write_card": ["experiment"]}.get(rule, [])  # fmt: skip
        filled = dict(zip(wildcards, values.split("."), strict=True)) if wildcards else {}
        block = rule_blocks()[rule]
        output = block[block.index("    output:") : block.index("    log:")]
        promised = {path.format(**filled) for path in re.findall(r'"<results>/([^"]+)"', output)}
        assert promised == {*step.files, step.provenance}
        ours.setdefault(rule, set()).update(promised)
    assert set(ours) == set(rule_blocks())
