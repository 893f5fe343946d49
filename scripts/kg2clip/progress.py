"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import io
import logging
import sys
import time
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 10.0


class Progress(tqdm):  # type: ignore[misc,type-arg]
    """tqdm that writes whole lines where there is no terminal, at most one in ten seconds and one at the end.

    Use it as tqdm: `for row in Progress(rows, desc="decoding", unit="pictures")`, or `with Progress(total=n) as p:
    p.update()`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._terminal = sys.stderr.isatty()
        self._logged = time.monotonic()
        kwargs.setdefault("mininterval", 0.2 if self._terminal else 1.0)
        kwargs.setdefault("dynamic_ncols", True)
        if not self._terminal:
            kwargs["file"] = io.StringIO()  # lines go through logging; tqdm's own carriage returns go nowhere
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the bar, or log it as a line."""
        if self._terminal:
            return bool(super().display(msg, pos))
        if time.monotonic() - self._logged >= LOG_EVERY_SECONDS:
            self._log_line()
        return True

    def close(self) -> None:
        """End the bar with a last line."""
        if not self.disable and not self._terminal:
            self._log_line()
        super().close()

    def _log_line(self) -> None:
        self._logged = time.monotonic()
        log.info("%s", self.format_meter(**{**self.format_dict, "ncols": None, "bar_format": LINE}).strip())


LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {rate_fmt}, {elapsed} gone, {remaining} left {postfix}"
