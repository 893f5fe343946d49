"""Why a picture is not there: the words of the manifest's column `reason`, and which of them may pass.

Permanent: what the host answered or what we refuse. Transient: the network, an overloaded or broken host; these rows
are tried once more in the lane's second pass, which is incomplete while any are left.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from kg2clip.web import TRANSIENT_STATUS

SUCCESS, FAILED, REFUSED = "success", "failed", "refused"

# refused: we do not ask, or do not take what is offered
BAD_URL = "bad-url"
PRIVATE_ADDRESS = "private-address"
NO_CONTACT = "no-contact"  # a redirect to a public host while no contact is set; passes when one is
ROBOTS = "robots"
OPT_OUT = "opt-out"
TOO_LARGE = "too-large"
LICENCE = "licence"  # not among those that dataset.licenses lets in: never asked for
# failed for good
UNKNOWN_HOST = "dns"
CERTIFICATE = "certificate"
PROTOCOL = "protocol"  # no valid HTTP: the host speaks so to everybody, however often it is asked
ENCODING = "encoding"  # compressed against our wish, and not as we can read
NOT_AN_IMAGE = "not-an-image"
EMPTY = "empty"
UNREADABLE = "unreadable"  # a file of the user's own folder
REDIRECT_LOOP = "redirect-loop"
TOO_MANY_REDIRECTS = "too-many-redirects"
OTHER_LANE = "other-lane"  # a redirect leads to a host of another job; its second pass goes on there
# failed for now
TIMEOUT = "timeout"
CONNECT = "connect"
CUT = "cut"  # the body ended before its declared length
NO_DNS = "dns-unreachable"
ROBOTS_UNREACHABLE = "robots-unreachable"  # robots.txt answers 429 or 5xx: RFC 9309 says to stay away then
HOST_DOWN = "host-down"  # given up after many failures in a row, or because it asks to wait for very long
STOPPED = "stopped"
OUR_ERROR = "our-error"  # this program's own; the log tells

TRANSIENT = frozenset({NO_CONTACT, TIMEOUT, CONNECT, CUT, NO_DNS, ROBOTS_UNREACHABLE, HOST_DOWN, STOPPED, OUR_ERROR})
REFUSALS = frozenset({BAD_URL, PRIVATE_ADDRESS, NO_CONTACT, ROBOTS, OPT_OUT, TOO_LARGE, LICENCE})


def http(status: int) -> str:
    """The reason for an HTTP status: http-404."""
    return f"http-{status}"


def is_transient(reason: str | None) -> bool:
    """Whether the same request may succeed another time: never for 4xx but 408, 425 and 429, always for 5xx."""
    if reason is None:
        return False
    if match := re.fullmatch(r"http-(\d+)", reason):
        status = int(match[1])
        return status >= 500 or status in TRANSIENT_STATUS
    return reason in TRANSIENT


def transient_among(rows: pa.Table) -> pa.Array:
    """Which rows of a manifest say that the same request may succeed another time: a boolean for each."""
    words = pc.unique(rows.column("reason")).to_pylist()
    return pc.is_in(rows.column("reason"), value_set=pa.array(filter(is_transient, words), pa.string()))


def passes_on(reason: str | None) -> bool:
    """Whether a candidate's next link is tried after this: it failed for good, and nobody asked to leave it alone."""
    return reason not in (None, OPT_OUT, OTHER_LANE, LICENCE) and not is_transient(reason)


def status_of(reason: str | None) -> str:
    """The word for the column `status` that goes with a reason."""
    if reason is None:
        return SUCCESS
    return REFUSED if reason in REFUSALS else FAILED
