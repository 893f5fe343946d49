"""Errors that a biologist can act on, and the frame in which every program of scripts/ runs."""

from __future__ import annotations

import errno
import logging
import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Something that the user can mend. The message says what is wrong, where, and what to type."""

    exit_status = 1

    def __str__(self) -> str:
        """The message, in which what it quotes of others' words can't command a terminal."""
        return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in super().__str__())


class IncompleteError(UserError):
    """Work that could not be finished now. What was reached is kept and the next run goes on (design 6.2)."""

    exit_status = 3


# What the user can mend about the place where files lie.
PLACES = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your quota is used up. Free some space",
    errno.EROFS: "the disk can't be written. Clone kg2clip where it can",
    errno.EACCES: "you may not open it. Change its rights, or ask for them",
}


def start_logging() -> None:
    """What programs and their helper processes say goes to the standard error, with the time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)


def _nobody_reads() -> bool:
    """Whether the reader of what we print has seen enough (`| head`); nothing is printed from then on."""
    output = sys.stdout.fileno()
    ends = select.poll()
    ends.register(output, 0)  # asks for nothing, and so tells only that the other end is closed
    if closed := bool(ends.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return closed


def run_program(main: Callable[[], None]) -> NoReturn:
    """Run a program's `main` and exit: 0 when done, 1 for a user's mistake, 3 for work left incomplete.

    Only the message of a `UserError` is shown, and what is wrong with a disk; any other exception is a defect of ours
    and keeps its traceback.
    """
    start_logging()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(0)
        if error.errno not in PLACES:
            raise
        place = error.filename2 or error.filename or "a file could not be written"
        print(f"error: {place}: {PLACES[error.errno]} and run the same command again; nothing is lost", file=sys.stderr)
        sys.exit(UserError.exit_status)
    except KeyboardInterrupt:
        print("stopped by the user; the next run goes on from here", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
