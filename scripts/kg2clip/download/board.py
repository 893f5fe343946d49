"""What the log and the terminal say of a batch while it is fetched, and after: its lane as a whole, and each host.

Of each: pictures done, pictures a second, bandwidth, errors by kind, time left. The lane's own line is the batch's: a
batch asks the hosts of its lane only, and the lane's batches run one after the other.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from kg2clip.download import reasons
from kg2clip.download.fetch import Fetcher, Host
from kg2clip.progress import Progress

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds between two looks at the hosts
SLOWEST = 3  # hosts in the progress line, those that need longest
SHOWN = 20  # hosts in the log at the end, those that were asked most


class Board:
    """The progress of all shards of a batch together."""

    def __init__(self, bar: Progress, fetcher: Fetcher, expected: Mapping[str, int]) -> None:
        """`expected` are the pictures to come, by the host of the first link that is asked."""
        self._bar = bar
        self._fetcher = fetcher
        self._expected = expected
        self._left = Counter(expected)
        self._kinds: Counter[str] = Counter()
        self._began = time.monotonic()
        self._shown = 0.0
        self._lock = threading.Lock()

    def skip(self, rows: int) -> None:
        """Count what nobody has to be asked for."""
        with self._lock:
            self._bar.update(rows)

    def count(self, host: str | None, reason: str | None) -> None:
        """Count a picture whose first link lies at `host`, and what became of it."""
        with self._lock:
            if host is not None:
                self._left[host] -= 1
            self._kinds[reason or reasons.SUCCESS] += 1
            if time.monotonic() - self._shown >= EVERY:
                self._shown = time.monotonic()
                self._bar.set_postfix_str(self._progress(), refresh=False)
            self._bar.update(1)

    def log(self) -> None:
        """Sum up: the lane, and the hosts that were asked most."""
        hosts = [host for host in self._fetcher.hosts() if host.counts]
        done, seconds = self._kinds.total(), max(time.monotonic() - self._began, 1e-3)
        bandwidth = f"{_megabits(hosts, seconds):.1f} Mbit/s"
        pace = f"{done / seconds:.1f} a second, {bandwidth}"
        log.info("%s: %s in %s: %s", self._bar.desc, _told(self._kinds), _clock(seconds), pace)
        self._bar.set_postfix_str(bandwidth, refresh=False)  # of the last line: no host has anything left
        for host in heapq.nlargest(SHOWN, hosts, key=lambda host: host.counts.total()):
            log.info("%s", self._describe(host))
        if len(hosts) > SHOWN:
            log.info("and %d more hosts", len(hosts) - SHOWN)

    def _progress(self) -> str:
        """The lane's bandwidth and errors, and the hosts that it will wait for longest."""
        hosts = self._fetcher.hosts()
        failed = self._kinds - Counter({reasons.SUCCESS: self._kinds[reasons.SUCCESS]})
        lane = [f"{_megabits(hosts, time.monotonic() - self._began):.1f} Mbit/s", *([_told(failed)] if failed else [])]
        slowest = heapq.nlargest(SLOWEST, hosts, key=self._seconds_left)
        return "; ".join([", ".join(lane), *(self._describe(host) for host in slowest if self._left_of(host))])

    def _describe(self, host: Host) -> str:
        """A host's line: what became of its pictures, its pace, its time left."""
        seconds = max((time.monotonic() if self._left_of(host) else host.last) - host.first, 1e-3)
        told = [_told(host.counts) or "nothing yet"]
        if host.counts:
            told += [f"{host.counts.total() / seconds:.1f} a second", f"{_megabits([host], seconds):.1f} Mbit/s"]
        if left := self._seconds_left(host):
            told.append(f"{_clock(left)} left")
        return f"{host.name}: {', '.join(told)}"

    def _seconds_left(self, host: Host) -> float:
        """Seconds until a host has served what is expected from it, at the pace that it had, else at the lane's."""
        done = max(self._expected.get(host.name, 0) - self._left[host.name], host.counts.total())
        pace = done / max(time.monotonic() - host.first, 1e-3) if done and host.first else host.lane.requests_per_second
        return self._left_of(host) / pace

    def _left_of(self, host: Host) -> int:
        """Pictures that a host has still to serve; of one that only redirects lead to, those that wait."""
        return max(self._left[host.name], len(host.queue))


def _told(kinds: Counter[str]) -> str:
    return ", ".join(f"{reason} {number:,}" for reason, number in kinds.most_common())


def _megabits(hosts: Iterable[Host], seconds: float) -> float:
    return sum(host.received for host in hosts) * 8e-6 / max(seconds, 1e-3)


def _clock(seconds: float) -> str:
    return str(Progress.format_interval(seconds))
