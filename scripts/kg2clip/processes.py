"""Helper processes that never outlive those who started them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Let this process of a pool die with the program that started the pool, however that dies.

    Else it would wait for work forever, or write beside its successor. The kernel's own signal does not serve here: the
    parent of a fork server's process is the server, which lives as long as its processes do.
    """
    if multiprocessing.parent_process():
        threading.Thread(target=_die_after_parent, daemon=True).start()


def be_killed_with_parent() -> None:
    """Let the kernel kill this process at once when its own parent dies; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_after_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
