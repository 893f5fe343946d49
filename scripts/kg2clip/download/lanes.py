"""Which lane, batch and shard a candidate belongs to.

A lane is a group of hosts with one politeness rule; the workflow runs its batches one after the other. Only the lane
`web` runs several side by side, so there a host must be in one batch only. All of it follows from the config and from
hashes, so the graph of jobs is known before the first candidate (design 6.1).

After all batches each lane has one more, its leftovers (`web-leftovers`): what failed for now, and what the batches
found to lie at a host that is not theirs, be it a candidate's next link or where a redirect leads.

The Snakefile imports this module: nothing slow is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kg2clip.errors import UserError
from kg2clip.identifiers import bucket

WEB = "web"  # takes the hosts that no lane names


@dataclass(frozen=True, slots=True)
class Lane:
    """A group of hosts. Its limits hold for each of its hosts."""

    name: str
    hosts: tuple[str, ...]
    batches: int
    connections: int
    requests_per_second: float
    megabits_per_second: float

    def covers(self, host: str) -> bool:
        """Whether one of the lane's hosts is this host, or a parent domain of it."""
        return any(host == own or host.endswith(f".{own}") for own in self.hosts)


def lanes(settings: Mapping[str, Any]) -> list[Lane]:
    """The lanes in the order of the config."""
    return [
        Lane(
            name,
            tuple(host.lower().rstrip(".") for host in rule["hosts"]),
            rule["batches"],
            rule["connections"],
            rule["requests_per_second"],
            rule["megabits_per_second"],
        )
        for name, rule in settings["download"]["lanes"].items()
    ]


def batch_names(settings: Mapping[str, Any]) -> list[str]:
    """The names of all batches, lane by lane: commons-000, commons-001, web-000 ..."""
    return [batch_name(lane, number) for lane in lanes(settings) for number in range(lane.batches)]


def batch_name(lane: Lane, number: int) -> str:
    """The name of a lane's batch."""
    return f"{lane.name}-{number:03d}"


def leftover_names(settings: Mapping[str, Any]) -> list[str]:
    """The names of the second passes, one a lane: commons-leftovers, web-leftovers."""
    return [leftovers_name(lane.name) for lane in lanes(settings)]


def leftovers_name(lane: str) -> str:
    """The name of a lane's second pass."""
    return f"{lane}-leftovers"


def lane_of(host: str | None, all_lanes: Iterable[Lane]) -> Lane:
    """The first lane that covers a host, else the lane `web`.

    Raises:
        UserError: no lane covers the host and none is named web.
    """
    web: Lane | None = None
    for lane in all_lanes:
        if host and lane.covers(host):
            return lane
        if lane.name == WEB:
            web = lane
    if web is None:
        raise UserError("download.lanes has no lane named web, which takes the hosts that no other lane names; add it")
    return web


def batch_of(candidate_id: str, host: str | None, lane: Lane) -> int:
    """The number of a candidate's batch in its lane."""
    if lane.name == WEB and host:
        return bucket(registered_domain(host), lane.batches)
    return bucket(f"batch/{candidate_id}", lane.batches)


def shard_of(candidate_id: str, shards: int) -> int:
    """The number of a candidate's shard in its batch; independent of the batch."""
    return bucket(f"shard/{candidate_id}", shards)


def registered_domain(host: str) -> str:
    """The part of a host name that somebody registered, roughly: a.b.example.org and b.example.org belong together.

    Two labels, or three below a short second level such as co.uk or com.br. No list of public suffixes is needed: a
    wrong guess only puts more, or fewer, hosts into one batch; a host always stays in one.
    """
    labels = host.split(".")
    if ":" in host or labels[-1].isdigit():
        return host  # an address
    short = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if short else -2 :])
