"""A package that is not installed is told in a sentence, before any program of kg2clip runs."""

from __future__ import annotations

import subprocess
import sys

from kg2clip.settings import ROOT


def test_a_missing_package_is_told_without_a_traceback() -> None:
    hidden = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); sys.modules['torch'] = None; import predict"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "no package torch" in done.stderr and "envs/train.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_mistakes_keep_their_traceback() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import kg2clip; import kg2clip.no_such_module"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr
