"""The benchmarks' own tools measure what they say, and the page shows the results that are committed."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import filters, measure, run
from kg2clip import tables
from kg2clip.files import read_json
from kg2clip.mirror.score import SCORES

RESULTS = [read_json(path) for path in sorted(run.RESULTS.glob("*.json"))]


def test_the_page_shows_the_results() -> None:
    assert run.PAGE.read_text(encoding="utf-8") == run.drawn(), "draw it anew: python benchmarks/run.py --draw"


def test_every_benchmark_says_what_it_compares_and_can_be_run() -> None:
    for name in run.names():
        module = ast.parse((run.FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        assert len(ast.get_docstring(module) or "") > 80, f"{name}: say what is compared, with which competitor"
        functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
        assert [argument.arg for argument in functions["run"].args.args] == ["scratch"]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result["benchmark"])
def test_a_result_names_its_machine_by_its_parts_only(result: dict) -> None:
    assert result["benchmark"] in run.names(), "its module is gone"
    assert set(result["machine"]) == set(measure.machine()) and result["rows"]
    text = str(result)
    assert socket.gethostname() not in text and str(run.ROOT) not in text and "/tmp" not in text


def test_scores_of_filters_become_rows_with_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score = dict.fromkeys(SCORES.names) | {"detector": "duplicates", "planted": 4, "found": 3}
    shares = {"recall": 0.75, "recallLow": 0.3, "recallHigh": 0.954}
    scores = [{**score, "kind": "exact", **shares}, {**score, "kind": "cropped", "planted": 0, "found": 0}]
    tables.write(scores, SCORES, tmp_path / "scores.parquet")
    monkeypatch.setattr(filters, "scores_of", lambda project: tmp_path / "scores.parquet")
    rows = [row for row in filters.run(tmp_path) if row["collection"] == "rendered"]
    assert [(row["kind"], row["recall"], row["precision"]) for row in rows] == [("exact", "0.75 (0.30 to 0.95)", None)]


def test_the_memory_of_a_child_is_its_own() -> None:
    held = bytearray(300 << 20)  # ours, which Linux would count as the child's if it were started from here
    small = measure.child([sys.executable, "-c", "print('done')"])
    assert small.output == "done\n" and small.peak_bytes < 60 << 20
    large = measure.child([sys.executable, "-c", "a = bytearray(100 << 20); a[::4096] = b'1' * len(a[::4096])"])
    assert 100 << 20 < large.peak_bytes < 160 << 20
    del held


def test_the_time_of_a_child_and_its_failure() -> None:
    busy = measure.child([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(0.3)"])
    assert busy.seconds > 0.6 and 0.3 <= busy.processor_seconds < busy.seconds
    with pytest.raises(subprocess.CalledProcessError):
        measure.child([sys.executable, "-c", "raise SystemExit(3)"])


def test_variants_take_turns_and_are_compared_with_the_first() -> None:
    turns: list[str] = []
    rows = measure.compare({"ours": lambda: turns.append("a"), "theirs": lambda: turns.append("b")}, repeats=3)
    assert "".join(turns) == "abbaab"
    assert [row["variant"] for row in rows] == ["ours", "theirs"] and rows[0]["times ours"] == 1
    assert all(row["least"] <= row["seconds"] <= row["most"] for row in rows)


def test_cells_are_written_for_people() -> None:
    assert [run._cell(value) for value in (None, 1234567, 0.123456, 12345.6, True, "a|b")] == [
        "", "1,234,567", "0.123", "12,346", "True", "a\\|b",
    ]  # fmt: skip
