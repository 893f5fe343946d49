"""No helper process outlives the program that started it, however that ended."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
POOLS = {
    "mirror": "from kg2clip.mirror import build; pool = build._painters()",
    "rebuild": "from kg2clip.operations import rebuild; pool = rebuild._lane_workers(2)",
}
HOLD = (
    "; import time; pool.submit(time.sleep, 0).result(); jobs = [pool.submit(time.sleep, 600) for _ in range(2)]"
    "; print('up', flush=True); time.sleep(600)"
)


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_dies_with_its_program(pool: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", POOLS[pool] + HOLD],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout and program.stdout.readline() == "up\n"
    helpers = psutil.Process(program.pid).children(recursive=True)
    program.kill()
    program.wait()
    assert len(helpers) >= 2
    assert not psutil.wait_procs(helpers, timeout=60)[1]


def test_every_pool_of_processes_is_started_so_that_it_may_die() -> None:
    pools = [
        (path.relative_to(SCRIPTS), node)
        for path in SCRIPTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ProcessPoolExecutor")
    ]
    assert len(pools) > 4
    assert [path for path, node in pools if "initializer" not in {word.arg for word in node.keywords}] == []
