"""Run benchmarks, all or those named, and draw docs/benchmarks.md from the results.

python benchmarks/run.py mirror_scale filters
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks import measure  # noqa: E402
from kg2clip.errors import UserError, run_program  # noqa: E402
from kg2clip.files import read_json, write_json, write_text  # noqa: E402

FOLDER = ROOT / "benchmarks"
RESULTS = FOLDER / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
OTHERS = {"run", "measure"}
HEAD = """# Benchmarks

What was measured, side by side, by `make bench`. This page is drawn from the results in `benchmarks/results/`; how to
add one stands in [benchmarks/README.md](../benchmarks/README.md). Times are medians, with the least and the most where
they stand beside them; memory is resident memory at its peak.
"""


def main() -> None:
    """Parse arguments, measure, draw."""
    known = names()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(known)}; all by default")
    parser.add_argument("--draw", action="store_true", help="measure nothing, only draw the page")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(known)):
        raise UserError(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(known)}")
    for name in () if arguments.draw else arguments.names or known:
        print(f"{name} ...", file=sys.stderr)
        write_json(RESULTS / f"{name}.json", measured(name))
        write_text(PAGE, drawn())
    write_text(PAGE, drawn())


def names() -> list[str]:
    """All benchmarks: the modules of this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in OTHERS and path.stem[0] != "_")


def measured(name: str) -> dict[str, Any]:
    """Run a benchmark; give its result, ready to be written."""
    module = importlib.import_module(f"benchmarks.{name}")
    load = os.getloadavg()[0]  # others' work, which a reader of the times has to know of
    scratch = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
    try:
        rows = module.run(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": measure.machine(),
        "load": round(load, 1),
        "versions": measure.versions(getattr(module, "PACKAGES", ())),
        "notes": module.notes() if hasattr(module, "notes") else [],
        "rows": rows,
    }


def drawn() -> str:
    """The page, from the results that stand."""
    results = [read_json(RESULTS / f"{name}.json") for name in names() if (RESULTS / f"{name}.json").exists()]
    return "\n".join([HEAD, *(_section(result) for result in results)])


def _section(result: Mapping[str, Any]) -> str:
    name, machine = result["benchmark"], result["machine"]
    told = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    tools = ", ".join(f"{package} {number}" for package, number in result["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memoryGB']} GB, {machine['system']}"
    if "load" in result:
        where += f", load {result['load']} before it began"
    lines = [f"## {name}", "", told, "", *_table(result["rows"]), ""]
    lines += [f"* {note}" for note in result["notes"]]
    return "\n".join([*lines, f"* {result['date']}; {where}; {tools}", ""])


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    return head + [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows]


def _cell(value: Any) -> str:
    """A value as a person reads it: three figures that count, and thousands apart."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).replace("|", "\\|")


if __name__ == "__main__":
    run_program(main)
