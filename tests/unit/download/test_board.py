"""The log and the terminal tell of the lane and of its hosts what is done, at which pace, what failed, what is left."""

from __future__ import annotations

import logging
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hostile import FAST, HostileWeb

from kg2clip import progress
from kg2clip.download import board
from kg2clip.download.fetch import Host
from kg2clip.download.lanes import Lane

NOW = 1000.0  # where the clock stands


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "time", SimpleNamespace(monotonic=lambda: NOW))


class Hosts:
    """A fetcher that knows some hosts."""

    def __init__(self, *hosts: Host) -> None:
        self._hosts = list(hosts)

    def hosts(self) -> list[Host]:
        return self._hosts


def host(name: str, rate: float, **kinds: int) -> Host:
    """A host that has been asked for ten seconds, and that has sent a megabyte."""
    made = Host(name, Lane("web", (), 1, connections=2, requests_per_second=rate, megabits_per_second=8), None)
    made.counts = Counter({kind.replace("_", "-"): number for kind, number in kinds.items()})
    made.first, made.last, made.received = NOW - 10, NOW, 1_000_000 if kinds else 0
    return made


@pytest.mark.usefixtures("clock")
def test_time_left_is_each_hosts_own() -> None:
    quick, slow, new = host("quick.org", 4, success=35, http_404=5), host("slow.org", 4, success=2), host("new.org", 4)
    bar = progress.Progress(total=252, desc="web-000", unit="pictures")
    told = board.Board(bar, Hosts(quick, slow, new), {"quick.org": 60, "slow.org": 92, "new.org": 100})  # type: ignore[arg-type]
    for name, reason, times in (("quick.org", None, 35), ("quick.org", "http-404", 5), ("slow.org", None, 2)):
        for _ in range(times):
            told.count(name, reason)
    lane, *hosts = told._progress().split("; ")
    assert re.fullmatch(r"[\d.]+ Mbit/s, http-404 5", lane)
    assert hosts == [
        "slow.org: success 2, 0.2 a second, 0.8 Mbit/s, 07:30 left",
        "new.org: nothing yet, 00:25 left",
        "quick.org: success 35, http-404 5, 4.0 a second, 0.8 Mbit/s, 00:05 left",
    ]
    bar.close()


@pytest.mark.usefixtures("clock")
def test_a_host_that_only_redirects_lead_to_is_waited_for() -> None:
    far = host("far.org", 4, success=10)
    far.queue.extend([None] * 20)  # type: ignore[list-item]
    bar = progress.Progress(total=30, desc="web-000", unit="pictures")
    told = board.Board(bar, Hosts(far), {"near.org": 30})  # type: ignore[arg-type]
    assert told._progress().endswith("far.org: success 10, 1.0 a second, 0.8 Mbit/s, 00:20 left")
    bar.close()


def test_the_log_of_a_batch(
    hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(board, "EVERY", 0.0)
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", 0.3)
    urls = [f"http://a.test/nap/0.25/{number}" for number in range(12)]
    harvest(
        [*urls, "http://a.test/status/404", "http://b.test/ok/1", "file:///x"],
        lanes={"web": {**FAST, "connections": 2}},
    )
    progressed = [line for line in caplog.messages if re.match(r"web-000: \d+ of 15 pictures, .* gone, ", line)]
    assert len(progressed) >= 2 and progressed[-1].startswith("web-000: 15 of 15")
    host_left = r"; a\.test: success \d+(, http-404 1)?, [\d.]+ a second, [\d.]+ Mbit/s, 00:0\d left"
    assert re.search(r"left , [\d.]+ Mbit/s(, http-404 1)?" + host_left, progressed[0])
    summary = r"web-000: success 13, http-404 1 in 00:0\d: [\d.]+ a second, [\d.]+ Mbit/s"
    hosts = r"a\.test: success 12, http-404 1, [\d.]+ a second, [\d.]+ Mbit/s", r"b\.test: success 1, .*"
    for line in (summary, *hosts, r"web-000: 13 of 15 pictures, .*http-404 1.*"):
        assert [told for told in caplog.messages if re.fullmatch(line, told)], line
