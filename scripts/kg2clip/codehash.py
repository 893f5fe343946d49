"""What a program's code means and which settings it reads, for the workflow's rerun triggers (design 6.11).

A changed function re-runs the programs that stand on it; a changed comment, docstring, type hint (but for a
class's fields), order of imports or help of an option re-runs nothing. The hash covers the syntax trees of the program
and of every module of the library that it imports, at whatever depth, and the bytes of the other files in those
modules' packages (templates, tables).
"""

from __future__ import annotations

import ast
from functools import cache
from itertools import groupby
from pathlib import Path

from kg2clip.identifiers import stable_hash

SCRIPTS = Path(__file__).resolve().parents[1]
LIBRARY = "kg2clip"
# How a program speaks, not what it makes.
IGNORED = frozenset({"errors.py", "progress.py", "provenance.py", "codehash.py", "settings.py"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_hash(program: str) -> str:
    """The hash of the code of scripts/{program}.py and of all that it stands on."""
    files = [path for path in code_files(program) if path.parent.name != LIBRARY or path.name not in IGNORED]
    return stable_hash(*[(str(path.relative_to(SCRIPTS)), _hash(path)) for path in sorted(files)])


def sections(program: str) -> tuple[str, ...]:
    """The config sections that scripts/{program}.py says it depends on, in its constant SECTIONS."""
    for node in _tree(SCRIPTS / f"{program}.py").body:
        if isinstance(node, ast.Assign) and any(
            isinstance(name, ast.Name) and name.id == "SECTIONS" for name in node.targets
        ):
            return tuple(ast.literal_eval(node.value))
    raise LookupError(f"scripts/{program}.py has no constant SECTIONS")


def code_files(program: str) -> set[Path]:
    """The program, the modules of the library that it imports, and the other files in their packages."""
    files = {SCRIPTS / f"{program}.py"}
    waiting = list(files)
    while waiting:
        found = _imports(waiting.pop()) - files
        files.update(found)
        waiting.extend(found)
    packages = {path.parent for path in files} - {SCRIPTS, SCRIPTS / LIBRARY}
    others = {path for package in packages for path in package.rglob("*") if _is_data(path)}
    return files | others


def _is_data(path: Path) -> bool:
    """Templates and tables, not code, nor what editors leave behind."""
    if path.suffix in (".py", ".pyc", ".orig", ".rej") or path.name.endswith("~"):
        return False
    return path.is_file() and not any(part.startswith((".", "#")) for part in path.relative_to(SCRIPTS).parts)


@cache
def _tree(path: Path) -> ast.Module:
    """The syntax tree without what only readers want."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and _documented(node):
            node.body = node.body[1:]
        _forget_types(node)
    tree.body = _with_sorted_imports(tree.body)
    if path.parent == SCRIPTS:
        _forget_help(tree)
    return tree


def _forget_types(node: ast.AST) -> None:
    """Those of functions and variables; those of a class's fields stay, since dataclasses read them."""
    if not isinstance(node, ast.ClassDef):
        for below in ast.iter_child_nodes(node):
            if isinstance(below, ast.AnnAssign):
                below.annotation = ast.Constant(None)
    if not isinstance(node, Function):
        return
    node.returns = None
    taken = node.args
    for argument in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg):
        if argument:
            argument.annotation = None


def _with_sorted_imports(body: list[ast.stmt]) -> list[ast.stmt]:
    """Imports that stand beside each other say the same in any order."""
    sorted_body: list[ast.stmt] = []
    for imports, group in groupby(body, lambda node: isinstance(node, ast.Import | ast.ImportFrom)):
        nodes = list(group)
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                node.names.sort(key=lambda alias: alias.name)
        sorted_body.extend(sorted(nodes, key=ast.dump) if imports else nodes)
    return sorted_body


def _forget_help(program: ast.Module) -> None:
    for node in ast.walk(program):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("help", "metavar")]


@cache
def _hash(path: Path) -> str:
    return stable_hash(ast.dump(_tree(path)) if path.suffix == ".py" else path.read_bytes().hex())


def _statements(tree: ast.Module) -> list[ast.AST]:
    """The module and the statements in it, at whatever depth, without their expressions, which are most of a tree.

    Imports and docstrings stand nowhere else, and every dry-run and job reads the whole library.
    """
    found: list[ast.AST] = [tree]
    for node in found:
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            below = getattr(node, block, None)
            found.extend(below if isinstance(below, list) else ())  # the body of a lambda or condition is no list
    return found


def _documented(node: ast.Module | ast.ClassDef | Function) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Files of the library that a file imports, wherever in it."""
    names: set[str] = set()
    for node in _statements(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    places = [SCRIPTS.joinpath(*name.split(".")) for name in names if name.startswith(f"{LIBRARY}.")]
    return frozenset(
        file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()
    )
