"""Write envs/*.yaml: for each stage the packages that its programs import, and all that these need.

    python scripts/write_environments.py

In:  rules/ (which program runs in which environment), the programs' imports, envs/pip-lock.txt with the packages of it
installed. Out: envs/*.yaml. A test holds them against the lock.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

from kg2clip import codehash, settings
from kg2clip.errors import UserError, run_program
from kg2clip.files import write_text

FOLDER = settings.ROOT / "envs"
LOCK = FOLDER / "pip-lock.txt"
PYTHON = "3.11"
# What a requirement may depend on: the environments are for this machine, whatever runs this program.
MACHINE = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "implementation_name": "cpython"}
MACHINE |= {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
OF_CONDA = {"setuptools"}  # comes with its Python
TITLES = {
    "knowledge": "Stages knowledge and queries",
    "search": "Stage search",
    "download": "Stage download: img2dataset alone, since its pins fight with others",
    "curate": "Stages curate and dataset",
    "train": "Stages train and evaluate",
    "report": "Stage report",
}
# Packages of bioconda. Where they are absent (pip has neither) taxopy does the same.
BIOCONDA = {"knowledge": ("pytaxonkit=0.10.1", "taxonkit=0.21.0")}
TEXT = """# {title}. Used with --sdm conda.
# Written by scripts/write_environments.py. The packages come through pip, all of them at the versions of pip-lock.txt,
# since only these were tested together.
channels:
{channels}
dependencies:
  - python={python}
  - pip
{bioconda}  - pip:
{packages}
"""


def main() -> None:
    """Write the files."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for stage, rules in programs().items():
        write_text(FOLDER / f"{stage}.yaml", environment(stage, rules))


def programs() -> dict[str, list[str]]:
    """The programs of all rules, by the environment that the rule names."""
    found: dict[str, list[str]] = {}
    conda = re.compile(r"^rule (\w+):\n(?:(?: .*)?\n)*?    conda:\n +\"../envs/(\w+)\.yaml\"", re.MULTILINE)
    for path in sorted((settings.ROOT / "rules").glob("*.smk")):
        for rule, stage in conda.findall(path.read_text(encoding="utf-8")):
            found.setdefault(stage, []).append(rule)
    return found


def environment(stage: str, rules: Iterable[str]) -> str:
    """The text of a stage's file."""
    lines, bioconda = lock(), BIOCONDA.get(stage, ())
    channels = ["conda-forge", *(["bioconda"] if bioconda else []), "nodefaults"]
    packages = sorted(with_what_they_need(set().union(*map(imported, rules))))
    return TEXT.format(
        title=TITLES[stage],
        python=PYTHON,
        channels="\n".join(f"  - {name}" for name in channels),
        bioconda="".join(f"  - {pin}\n" for pin in bioconda),
        packages="\n".join(f"      - {lines[name]}" for name in packages),
    )


def lock() -> dict[str, str]:
    """The lock's lines, by the package's name."""
    lines = [line.strip() for line in LOCK.read_text(encoding="utf-8").splitlines()]
    return {normal(line.partition("==")[0]): line for line in lines if line and not line.startswith("#")}


def normal(name: str) -> str:
    """A package's name in the spelling of the index (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(program: str) -> set[str]:
    """Packages that a program and its modules import, also inside functions."""
    owners = _owners()
    found: set[str] = set()
    for path in codehash.code_files(program):
        tops = {name.partition(".")[0] for name in _modules(path)} - sys.stdlib_module_names - {codehash.LIBRARY}
        found.update(normal(owners[top][0]) for top in tops)
    return found


@cache
def _owners() -> Mapping[str, list[str]]:
    """The installed packages by the modules that they hold; it takes half a second."""
    return packages_distributions()


@cache
def _modules(path: Path) -> tuple[str, ...]:
    return tuple(_imports(ast.parse(path.read_text(encoding="utf-8")))) if path.suffix == ".py" else ()


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
            yield ast.literal_eval(node.args[0])


def with_what_they_need(packages: Iterable[str]) -> set[str]:
    """Packages and all that these require, at whatever depth.

    Raises:
        UserError: one is not in the lock, or in a version that another does not take.
    """
    lines = lock()
    waiting, seen = [(name, frozenset[str]()) for name in packages], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        if name not in lines:
            raise UserError(f"{name} is needed and not in {LOCK.name}. Add its line")
        seen.add((name, extras))
        for wanted in map(Requirement, requires(name) or ()):
            needed = normal(wanted.name)
            marker = wanted.marker
            if needed in OF_CONDA or (
                marker and not any(marker.evaluate({**MACHINE, "extra": extra}) for extra in extras or {""})
            ):
                continue
            version = Requirement(lines[needed]).specifier if needed in lines else ()
            if not all(wanted.specifier.contains(pin.version, prereleases=True) for pin in version):
                raise UserError(f"{name} asks for {wanted}, and {LOCK.name} has {lines[needed]}")
            waiting.append((needed, frozenset(wanted.extras)))
    return {name for name, _ in seen}


if __name__ == "__main__":
    run_program(main)
