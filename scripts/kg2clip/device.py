"""Where tensors are computed, and with how many cores. Importing it first keeps open_clip off the internet."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import kg2clip.torch_environment  # noqa: F401  (first)

import torch  # isort: skip

from kg2clip.errors import UserError


def select(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`.

    Raises:
        UserError: cuda is asked for and there is no GPU that torch can use.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "train.device is cuda, but torch finds no GPU here; write device: auto, or start the job on a GPU node"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def use_threads(count: int | None) -> int:
    """Let torch compute with `count` cores, by default all that this process may use; returns their number."""
    count = count or len(os.sched_getaffinity(0))
    torch.set_num_threads(count)
    return count


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip's messages (it talks to the root logger, at each step of loading) out of the log."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)
