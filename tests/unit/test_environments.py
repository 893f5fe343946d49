"""The conda environments say what the pip lock says, and hold what their stages import."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from kg2clip import codehash

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "knowledge": ["export_entities", "build_queries"],
    "search": ["search_images", "merge_candidates"],
    "download": ["fetch_batch", "fetch_leftovers"],
    "curate": ["decode_batch", "decide_pictures", "pack_dataset"],
    "train": ["train_model", "evaluate_model", "gather_scores"],
    "report": ["make_report", "score_against_truth"],
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock() -> dict[str, str]:
    lines = (ROOT / "envs" / "pip-lock.txt").read_text().splitlines()
    pins = (line.split(";")[0].split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version.strip() for name, version in pins}


def environment(stage: str) -> dict[str, str]:
    content = yaml.safe_load((ROOT / "envs" / f"{stage}.yaml").read_text())
    pip = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    return {normal(name): version for name, version in (line.split("==") for line in pip)}


def needed(stage: str) -> set[str]:
    """Distributions that the stage's programs import, also inside functions."""
    owners = packages_distributions()
    found = set()
    for program in PROGRAMS[stage]:
        for path in codehash.code_files(program):
            if path.suffix != ".py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
                    names = [ast.literal_eval(node.args[0])]
                tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"kg2clip"}
                found.update(normal(owners[top][0]) for top in tops)
    return found


def test_every_rule_names_a_tested_environment() -> None:
    named = set(re.findall(r"envs/(\w+)\.yaml", "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))))
    assert named == set(PROGRAMS) == {path.stem for path in (ROOT / "envs").glob("*.yaml")}


@pytest.mark.parametrize("stage", PROGRAMS)
def test_an_environment_holds_what_its_stage_imports_at_the_locks_versions(stage: str) -> None:
    pins = environment(stage)
    assert pins == {name: lock()[name] for name in pins}
    assert set(pins) == needed(stage)
