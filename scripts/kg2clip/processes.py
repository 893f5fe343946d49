"""Helper processes that never outlive those who started them."""

from __future__ import annotations

import multiprocessing
import os
import threading


def die_with_parent() -> None:
    """Let this process of a pool die with the program that started the pool, however that dies.

    Else it would wait for work forever, or write beside its successor. The kernel's own signal does not serve here: the
    parent of a fork server's process is the server, which lives as long as its processes do.
    """
    if multiprocessing.parent_process():
        threading.Thread(target=_die_after_parent, daemon=True).start()


def _die_after_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
