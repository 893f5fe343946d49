"""The frame in which every program runs: what it says, and when it says nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kg2clip.errors import UserError
from kg2clip.settings import ROOT

BEGIN = (
    f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\nfrom kg2clip.errors import UserError, run_program\n"
)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = f"{BEGIN}def main():\n    for _ in range(100_000): print('line')\nrun_program(main)"
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -c "$1" | head -1', sys.executable, program],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\n", "")


def test_a_broken_connection_keeps_its_traceback() -> None:
    program = f"{BEGIN}def main():\n    raise BrokenPipeError(32, 'Broken pipe')\nrun_program(main)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("said", "shown"), [("a\x1b[2Jb", "a\ufffd[2Jb"), ("ä\n\tb", "ä\n\tb"), ("\u202egnp", "\ufffdgnp")]
)
def test_a_message_does_nothing_to_a_terminal(said: str, shown: str) -> None:
    assert str(UserError(said)) == shown
