"""What a program that looks things over says: one line a finding, and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}
COLOURS = {"ok": "32", "warning": "33", "error": "31"}


@dataclass(frozen=True)
class Finding:
    """One line of an answer."""

    level: Literal["ok", "warning", "error"]
    about: str
    says: str


def ok(about: str, says: str) -> Finding:
    """All is well."""
    return Finding("ok", about, says)


def warning(about: str, says: str) -> Finding:
    """The run may go on, but a person should know."""
    return Finding("warning", about, says)


def error(about: str, says: str) -> Finding:
    """The run would fail."""
    return Finding("error", about, says)


def line(finding: Finding) -> str:
    """A finding as a line, coloured on a terminal."""
    mark = MARKS[finding.level]
    if sys.stdout.isatty():
        mark = f"\033[{COLOURS[finding.level]}m{mark}\033[0m"
    says = "\n         ".join(map(shown, finding.says.split("\n")))
    return f"{mark}  {shown(finding.about)}: {says}"


def shown(text: str) -> str:
    """A text out of a file for a terminal: nothing in it may move the cursor or colour the line."""
    return text if text.isprintable() else repr(text)


def tell(findings: Iterable[Finding]) -> tuple[int, int]:
    """Print findings as they come; return the number of errors and of all."""
    errors = total = 0
    for finding in findings:
        print(line(finding), flush=True)
        errors += finding.level == "error"
        total += 1
    return errors, total
