"""Kill a run at a chosen moment (tests only; Python loads this file where its folder is on PYTHONPATH).

KG2CLIP_DRILL names the moment: `program:event:number`. Events: `torn` (in mid-write: half of the temporary file is on
disk), `written` (before the rename), `renamed` (after it), counted over a program's atomic writes; `seconds` after
the program's start. The whole process group goes, which is Snakemake with all its jobs; with KG2CLIP_DRILL_WRAPPER=1
the wrapper goes first.
"""

import os
import signal
import sys
import threading


def kill_run() -> None:
    """Kill everything at once, as a power cut would."""
    if os.environ.get("KG2CLIP_DRILL_WRAPPER"):
        os.kill(int(_parent(os.getpgid(0))), signal.SIGKILL)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _parent(process: int) -> str:
    with open(f"/proc/{process}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[1]


def arm(event: str, number: float) -> None:
    """Wait for the moment."""
    if event == "seconds":
        timer = threading.Timer(number, kill_run)
        timer.daemon = True
        timer.start()
        return
    replace = os.replace
    calls = 0

    def counted(source, target, **options):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == number and event == "torn":
            os.truncate(source, os.path.getsize(source) // 2)
            kill_run()
        if calls == number and event == "written":
            kill_run()
        replace(source, target, **options)
        if calls == number and event == "renamed":
            kill_run()

    os.replace = counted


if moment := os.environ.get("KG2CLIP_DRILL"):
    program, event, number = moment.split(":")
    arguments = getattr(sys, "orig_argv", [])
    if any(os.path.basename(argument) == f"{program}.py" for argument in arguments[:3]):
        arm(event, float(number))
