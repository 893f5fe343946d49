"""What every request shares: who we are, where a name leads, which addresses are allowed.

Three doors, one rule for all: `session()` gives requests for API answers, `Resolver` gives aiohttp for pictures,
`check_url` refuses what no door may open. Names are resolved once, the addresses found are checked, and exactly these
are connected to, so that a name can't change its address between check and connection.

The resolve map (environment variable KG2CLIP_RESOLVE, JSON: {"host": "address:port"}) leads the names of the embedded
mirror to its ports. It exists here only: files, hashes and logs know names.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import re
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

import requests
from aiohttp.abc import AbstractResolver, ResolveResult
from tenacity import (
    RetryCallState,
    Retrying,
    nap,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from kg2clip.errors import IncompleteError, UserError

log = logging.getLogger(__name__)

AGENT = "kg2clip/0.1"
RESOLVE = "KG2CLIP_RESOLVE"
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 120.0  # seconds; a graph may think for a minute before its first byte
MAX_URL = 2000  # characters; servers and caches refuse longer ones
MAX_QUERY = 7000  # characters of a question to an API; 8 KB is the default limit of nginx and Apache
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class RefusedError(UserError):
    """An address that must not be asked. `reason` is a word for tables: bad-url, private-address, no-contact."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the word and the sentence."""
        super().__init__(message)
        self.reason = reason


class TransientError(Exception):
    """A failure that may pass: the network, or a status of TRANSIENT_STATUS."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        """`wait` is what Retry-After asks, in seconds."""
        super().__init__(message)
        self.wait = wait


@cache
def _parse_map(text: str) -> Mapping[str, tuple[str, int]]:
    places = {host: place.rsplit(":", 1) for host, place in json.loads(text).items()}
    return {host: (address, int(port)) for host, (address, port) in places.items()}


def resolve_map() -> Mapping[str, tuple[str, int]]:
    """Names that lead elsewhere than DNS says: {host: (address, port)}."""
    return _parse_map(os.environ.get(RESOLVE) or "{}")


def agent(contact: str) -> str:
    """The agent string: tool, version and how to reach its user, as Wikimedia and GBIF ask."""
    return f"{AGENT} ({contact or 'no contact given'})"


def check_url(url: str, longest: int = MAX_URL) -> str:
    """Bring a URL into the form that goes over the wire: punycode host, path and query percent-encoded, no fragment.

    What is encoded already stays (%20 does not become %2520); a percent sign that encodes nothing becomes %25.

    Raises:
        RefusedError: not http(s), no host, with a password, unparsable or too long.
    """
    try:
        parts, host = _split(url)
        port = f":{parts.port}" if parts.port else ""
        path, query = _encode(parts.path or "/"), _encode(parts.query)
    except ValueError as error:  # UnicodeError is one of them
        raise RefusedError("bad-url", f"{url[:200]!r} is no web address ({error})") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise RefusedError("bad-url", f"{url[:200]!r} is no plain http or https address")
    encoded = urlunsplit((parts.scheme, host + port, path, query, ""))
    if len(encoded) > longest:
        raise RefusedError("bad-url", f"{url[:80]!r}... has {len(encoded)} characters; {longest} are allowed")
    return encoded


def host_of(url: str) -> str | None:
    """The host of a URL as `check_url` writes it (an IPv6 address without its brackets); None if there is none."""
    try:
        return _split(url)[1].strip("[]") or None
    except ValueError:
        return None


SAFE = "%/:?#[]@!$&'()*+,;=-._~"
STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _split(url: str) -> tuple[SplitResult, str]:
    parts = urlsplit(url.strip())
    return parts, _ascii_host(parts.hostname or "")


def _encode(part: str) -> str:
    return quote(STRAY_PERCENT.sub("%25", part), safe=SAFE)


@lru_cache(maxsize=4096)
def _ascii_host(host: str) -> str:
    if not host:
        return ""
    if ":" in host:
        return f"[{ipaddress.IPv6Address(host)}]"  # a zone (%eth0) stays and is refused as not public
    # A dot at the end means the same host; it must not lead around lanes and the resolve map.
    name = host.encode("idna").decode("ascii").lower().rstrip(".")
    if not HOST_NAME.fullmatch(name):
        raise ValueError(f"{host!r} is no host name")
    # 127.1, 2130706433 and 0x7f.1 are addresses to the system's calls: only the plain form may pass.
    return str(ipaddress.IPv4Address(name)) if NUMBER_LABEL.fullmatch(name.rsplit(".", 1)[-1]) else name


def check_contact(host: str, contact: str) -> None:
    """Refuse to ask a public host anonymously (design 6.12).

    Raises:
        RefusedError: there is no contact, and the host is neither in the resolve map nor a private address nor a name
            that never exists.
    """
    if contact or host in resolve_map() or is_reserved(host) or is_private_literal(host):
        return
    raise RefusedError(
        "no-contact",
        f"{host} is a public host and asks to know who calls. "
        "Set contact: (your e-mail or web page) in config/config.yaml",
    )


# Errors of a lookup that say that there is no such name, or none with an address.
UNKNOWN_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))  # not every system has both
WITNESS = "a.root-servers.net"  # a name that every name server of the internet knows
# Top-level domains that exist in no DNS (RFC 6761, RFC 2606).
RESERVED = frozenset({"test", "invalid", "example", "localhost"})


def is_reserved(host: str) -> bool:
    """Whether a name lies under a reserved top-level domain: nobody can be asked there."""
    return host.removesuffix(".").rsplit(".", 1)[-1] in RESERVED


def addresses(host: str, port: int, private_hosts: Collection[str] = ()) -> list[tuple[str, int]]:
    """Where a host name leads: a list of (address, port), all allowed.

    Raises:
        socket.gaierror: the name is unknown (EAI_NONAME), or no name server that knows the internet's names is at hand.
        RefusedError: one of its addresses is not public and the config does not list the host.
    """
    if place := resolve_map().get(host):
        return [place]
    if is_reserved(host) and host not in private_hosts:
        if host.endswith("localhost"):
            check_address(host, "127.0.0.1")
        # Unknown for good, whether or not a DNS server can be reached to say so: its silence would look transient.
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is a reserved name that leads nowhere")
    found = _look_up(host, port)
    for address in found:
        check_address(host, address, private_hosts)
    return [(address, port) for address in dict.fromkeys(found)]


def _look_up(host: str, port: int) -> list[str]:
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except socket.gaierror as error:
        if error.errno in UNKNOWN_NAME and not _knows_the_internet():
            raise socket.gaierror(socket.EAI_AGAIN, "this machine's name servers don't know the internet") from error
        raise


def _knows_the_internet() -> bool:
    """Name servers inside a cluster call every name outside unknown: that says nothing about the name."""
    with suppress(socket.gaierror):
        return bool(socket.getaddrinfo(WITNESS, 53))
    return False


def check_address(host: str, address: str, private_hosts: Collection[str] = ()) -> None:
    """Refuse loopback, link-local, private and other addresses that are not public.

    Raises:
        RefusedError: the address is not public and `private_hosts` does not list the host.
    """
    if host in private_hosts or host in resolve_map():
        return
    if not _is_public(ipaddress.ip_address(address.split("%")[0])):
        raise RefusedError(
            "private-address",
            f"{host} leads to {address}, which is no public address. If it is yours, list it in download.private_hosts",
        )


def is_private_literal(host: str) -> bool:
    """Whether a host is itself an address, not a name, and not a public one."""
    try:
        return not _is_public(ipaddress.ip_address(host.split("%")[0]))
    except ValueError:
        return False


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # An IPv6 address may carry an IPv4 one inside (::ffff:127.0.0.1, 64:ff9b::7f00:1): judge what it carries.
    # Reserved ones (::127.0.0.1, 64:ff9b:1::/48) and the old site-local fec0::/10 count as global to ipaddress.
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if carried is None and address in ipaddress.ip_network("64:ff9b::/96"):
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return _is_public(carried)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


class Resolver(AbstractResolver):
    """aiohttp's door: `aiohttp.TCPConnector(resolver=Resolver(private_hosts))`.

    aiohttp does not call a resolver for hosts that are addresses; check those with `check_address` before the request.
    """

    def __init__(self, private_hosts: Collection[str] = ()) -> None:
        """`private_hosts` are the names that may lead to addresses that are not public."""
        self._private_hosts = frozenset(private_hosts)

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        """Resolve a name off the event loop and check what it leads to."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, addresses, host, port, self._private_hosts)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=there,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, there in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


class _GuardedConnection(HTTPConnection):
    private_hosts: frozenset[str] = frozenset()

    def _new_conn(self) -> socket.socket:
        return _connect(self, self.private_hosts)


class _GuardedSecureConnection(HTTPSConnection):
    private_hosts: frozenset[str] = frozenset()

    def _new_conn(self) -> socket.socket:
        return _connect(self, self.private_hosts)


def _connect(connection: HTTPConnection, private_hosts: Collection[str]) -> socket.socket:
    try:
        places = addresses(connection.host, connection.port or connection.default_port, private_hosts)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    failure: OSError | None = None
    for place in places:
        try:
            found = socket.create_connection(place, timeout=CONNECT_TIMEOUT)
        except OSError as error:
            failure = error
            continue
        # A request goes out in two writes, head and body; without this the second waits 40 ms for the first's receipt.
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    raise NewConnectionError(connection, f"no connection to {connection.host}: {failure}")


class _GuardedAdapter(requests.adapters.HTTPAdapter):
    def __init__(self, private_hosts: Collection[str]) -> None:
        self._private_hosts = frozenset(private_hosts)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        manager = PoolManager(num_pools=args[0], maxsize=args[1], block=kwargs.get("block", False))
        plain = type("Plain", (_GuardedConnection,), {"private_hosts": self._private_hosts})
        secure = type("Secure", (_GuardedSecureConnection,), {"private_hosts": self._private_hosts})
        manager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        self.poolmanager = manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        check_url(request.url or "", MAX_QUERY)
        return super().send(request, *args, **kwargs)


def session(contact: str, private_hosts: Collection[str] = ()) -> requests.Session:
    """requests' door: a session with our agent string that connects to allowed addresses only, redirects included.

    Proxies and .netrc of the environment are not used: they would open a second door.
    """
    made = requests.Session()
    made.trust_env = False
    made.headers["User-Agent"] = agent(contact)
    for scheme in ("http://", "https://"):
        made.mount(scheme, _GuardedAdapter(private_hosts))
    return made


def with_retries(
    call: Callable[[], Any],
    what: str,
    attempts: int = 5,
    longest_wait: float = 60.0,
    sleep: Callable[[float], Any] = nap.sleep,
) -> Any:
    """Call until it succeeds: only `TransientError` is tried again, after what Retry-After asks or with jitter.

    Args:
        sleep: how to wait, for those who want to be woken: the `wait` of a `threading.Event`.

    Raises:
        IncompleteError: still failing after `attempts` tries, or the server asks to wait longer than `longest_wait`
            seconds.
    """
    backoff = wait_exponential_jitter(multiplier=0.5, max=longest_wait)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, TransientError) else None
        if asked is not None and asked > longest_wait:
            raise IncompleteError(f"{what} asks to wait {asked:.0f} seconds. Run the same command again after that")
        return asked if asked is not None else backoff(state)

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        log.info("%s: %s; try %d of %d in %.0f s", what, error, state.attempt_number + 1, attempts, pause)

    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(attempts),
            wait=wait,
            sleep=sleep,
            before_sleep=tell,
            reraise=True,
        ):
            with attempt:
                return call()
    except TransientError as error:
        raise IncompleteError(
            f"{what} does not answer: {error}. Check the address, or run the same command later"
        ) from None
    raise AssertionError("unreachable")


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as an HTTP date (RFC 9110, 10.2.3).

    None if it is absent or senseless.
    """
    if not value:
        return None
    if re.fullmatch(r"\s*[0-9]+\s*", value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError, LookupError, OverflowError):  # whatever a server may write there
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
