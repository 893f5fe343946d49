"""Progress in a log file: whole lines, and one at the end."""

import logging

import pytest

from kg2clip.progress import Progress


def test_the_last_line_tells_all(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.INFO)
    assert list(Progress(range(3), desc="decoding", unit="pictures")) == [0, 1, 2]
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith("decoding: 3 of 3 pictures, ")
    assert capsys.readouterr().err == "", "no carriage returns in a log"
