"""What a rule's code means, as a hash: a changed function re-runs its stage, a changed comment nothing (design
6.11).

The hash covers the syntax trees, without docstrings and comments, of a program, its stage's package and every module
of the library that these import, and the bytes of other files in the stage's package (templates, tables).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from kg2clip.identifiers import stable_hash

SCRIPTS = Path(__file__).resolve().parents[1]
LIBRARY = "kg2clip"
# How a program speaks, not what it makes.
IGNORED = frozenset(
    {"kg2clip.errors", "kg2clip.progress", "kg2clip.provenance", "kg2clip.codehash", "kg2clip.settings"}
)


def code_hash(program: str, *stages: str) -> str:
    """Hash the code of scripts/{program}.py and of the packages kg2clip.{stage} that it stands on."""
    files = code_files(program, *stages)
    return stable_hash(*[(str(path.relative_to(SCRIPTS)), _hash(path)) for path in sorted(files)])


def code_files(program: str, *stages: str, everything: bool = False) -> set[Path]:
    """The files of a program, its stages' packages, and the modules of the library that they import.

    `everything` also counts the modules that change how a program speaks, not what it makes.
    """
    files = {SCRIPTS / f"{program}.py"}
    for stage in stages:
        files.update(path for path in (SCRIPTS / LIBRARY / stage).rglob("*") if _counts(path))
    waiting = [path for path in files if path.suffix == ".py"]
    while waiting:
        found = {path for name, path in _imports(waiting.pop()) if everything or name not in IGNORED} - files
        files.update(found)
        waiting.extend(found)
    return files


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _hash(path: Path) -> str:
    if path.suffix != ".py":
        return stable_hash(path.read_bytes().hex())
    tree = _tree(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _documented(node):
            node.body = node.body[1:]
    return stable_hash(ast.dump(tree))


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _imports(path: Path) -> Iterator[tuple[str, Path]]:
    """Modules of the library that a file imports."""
    for node in ast.walk(_tree(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = SCRIPTS / Path(*name.split(".")).with_suffix(".py")
            if name.startswith(f"{LIBRARY}.") and module.is_file():
                yield name, module
