"""Errors that a biologist can act on, and the frame in which every program of scripts/ runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Something that the user can mend. The message says what is wrong, where, and what to type."""

    exit_status = 1


class IncompleteError(UserError):
    """Work that could not be finished now. What was reached is kept and the next run goes on (design 6.2)."""

    exit_status = 3


def start_logging() -> None:
    """What programs and their helper processes say goes to the standard error, with the time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)


def run_program(main: Callable[[], None]) -> NoReturn:
    """Run a program's `main` and exit: 0 when done, 1 for a user's mistake, 3 for work left incomplete.

    Only the message of a `UserError` is shown; any other exception is a defect of ours and keeps its traceback.
    """
    start_logging()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("stopped by the user; the next run goes on from here", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
