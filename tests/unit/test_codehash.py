"""What re-runs a stage and what does not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kg2clip import codehash

PROGRAM = '"""Help."""\nfrom kg2clip import tables\nfrom kg2clip.stage import work\n\nSECTIONS = ("stage", "a.b")\n'
PROGRAM += 'parser.add_argument("--x", help="an option", default=1)\n'
WORK = '"""Docs."""\n\nimport json\nimport os\n\ndef double(x: int) -> int:\n    """Docs."""\n    y: int = 2 * x\n    return y  # a comment\n'


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path = tmp_path / "kg2clip" / "scripts"  # a clone is called kg2clip as well
    files = {
        "program.py": PROGRAM,
        "kg2clip/tables.py": "A = 1\n",
        "kg2clip/progress.py": "A = 1\n",
        "kg2clip/stage/__init__.py": "",
        "kg2clip/stage/work.py": WORK + "from kg2clip import progress\n",
        "kg2clip/stage/page.html": "<p>",
        "kg2clip/stage/unused.py": "A = 1\n",
        "kg2clip/other/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(codehash, "SCRIPTS", tmp_path)
    return tmp_path


def hash_now() -> str:
    forget()
    return codehash.code_hash("program")


def forget() -> None:
    for known in (codehash._tree, codehash._hash, codehash._imports):
        known.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("kg2clip/stage/work.py", "2 * x", "3 * x", True),
        ("kg2clip/stage/work.py", "# a comment", "# another", False),
        ("kg2clip/stage/work.py", "Docs.", "Better docs.", False),
        ("kg2clip/stage/page.html", "<p>", "<b>", True),
        ("kg2clip/tables.py", "A = 1", "A = 2", True),
        ("kg2clip/progress.py", "A = 1", "A = 2", False),
        ("kg2clip/stage/unused.py", "A = 1", "A = 2", False),
        ("program.py", "Help.", "More help.", False),
        ("program.py", "an option", "another option", False),
        ("program.py", "default=1", "default=2", True),
        ("kg2clip/stage/work.py", "x: int) -> int", "x: float) -> float", False),
        ("kg2clip/stage/work.py", "y: int", "y: float", False),
        ("kg2clip/stage/work.py", "import json\nimport os", "import os\n\nimport json", False),
        ("kg2clip/stage/work.py", "import json", "import math as json", True),
    ],
)
def test_code_counts_comments_do_not(scripts: Path, file: str, old: str, new: str, changes: bool) -> None:
    before = hash_now()
    text = (scripts / file).read_text()
    assert old in text
    (scripts / file).write_text(text.replace(old, new))
    assert (hash_now() != before) == changes


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("kg2clip/stage/new.html", True),
        ("kg2clip/other/page.html", False),
        ("kg2clip/stage/page.html~", False),
        ("kg2clip/stage/#page.html#", False),
        ("kg2clip/stage/.cache/page.html", False),
        ("kg2clip/stage/work.py.orig", False),
        ("notes.txt", False),
    ],
)
def test_data_of_the_stages_own_package_counts_leftovers_of_editors_do_not(
    scripts: Path, file: str, changes: bool
) -> None:
    before = hash_now()
    (scripts / file).parent.mkdir(exist_ok=True)
    (scripts / file).write_text("new")
    assert (hash_now() != before) == changes


def by_content(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A cache that a changed file does not fool: to parse the tree anew for every change would take a minute."""
    known: dict[tuple[Path, bytes], Any] = {}

    def cached(path: Path) -> Any:
        key = path, path.read_bytes()
        if key not in known:
            known[key] = function(path)
        return known[key]

    return cached


def test_a_function_of_a_stage_re_runs_the_rules_of_that_stage_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the real tree: a line is added to a module of each stage's package; in one stage a comment too."""
    root = codehash.SCRIPTS
    stages = {
        path.stem: set(re.findall(r"^rule (\w+):", path.read_text(), re.MULTILINE))
        for path in (root.parent / "rules").glob("*.smk")
    }
    rules = {rule for own in stages.values() for rule in own}
    shutil.copytree(root, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(codehash, "SCRIPTS", tmp_path / "scripts")
    for name in ("_tree", "_hash", "_imports"):
        monkeypatch.setattr(codehash, name, by_content(getattr(codehash, name).__wrapped__))

    def hashes() -> dict[str, str]:
        return {rule: codehash.code_hash(rule) for rule in rules}

    before = hashes()
    for stage, own in stages.items():
        if not own:
            continue
        module = min(
            file for rule in own for file in codehash.code_files(rule) if file.parent.name == stage and file.suffix == ".py"
            and file.name != "__init__.py"
        )  # fmt: skip
        text = module.read_text()
        for addition, counts in (("\n# a comment\n", False), ("\nANOTHER = 1\n", True))[stage != "curate" :]:
            module.write_text(text + addition)
            changed = {rule for rule, value in hashes().items() if value != before[rule]}
            assert changed <= own and bool(changed) == counts, (stage, module.name, changed)
        module.write_text(text)
    assert hashes() == before


def test_sections_are_read_without_importing(scripts: Path) -> None:
    codehash._tree.cache_clear()
    assert codehash.sections("program") == ("stage", "a.b")
    with pytest.raises(LookupError):
        codehash.sections("kg2clip/tables")


def test_every_program_of_a_rule_names_its_sections() -> None:
    codehash._tree.cache_clear()
    root = Path(__file__).resolve().parents[2]
    programs = [
        line.split()[1].rstrip(":")
        for path in (root / "rules").glob("*.smk")
        for line in path.read_text().splitlines()
        if line.startswith("rule ")
    ]
    assert len(programs) > 10
    for program in programs:
        assert isinstance(codehash.sections(program), tuple)
