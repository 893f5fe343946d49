"""The shared web layer: which addresses may be asked, under which name, and how often."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from kg2clip import web
from kg2clip.errors import IncompleteError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.headers["Host"], self.path, self.headers["User-Agent"]))  # type: ignore[attr-defined]
        status = 302 if self.path.startswith("/to/") else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.path.removeprefix("/to/"))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
        yield served
        served.shutdown()


@pytest.fixture
def mapped(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(web.RESOLVE, json.dumps({"far.test": f"127.0.0.1:{server.server_port}"}))
    return server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """DNS, as a table."""
    known: dict[str, list[str]] = {}

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(web.socket, "getaddrinfo", look_up)
    return known


@pytest.mark.parametrize(
    ("url", "wire"),
    [
        ("http://a.org", "http://a.org/"),
        (" HTTPS://A.Org./x ", "https://a.org/x"),
        ("http://a.org/a b", "http://a.org/a%20b"),
        ("http://a.org/a%20b%2Fc", "http://a.org/a%20b%2Fc"),
        ("http://a.org/%2520", "http://a.org/%2520"),
        ("http://a.org/100%", "http://a.org/100%25"),
        ("http://a.org/Bär,(1);'x'?q=ü&r=a+b#frag", "http://a.org/B%C3%A4r,(1);'x'?q=%C3%BC&r=a+b"),
        ("http://bücher.de:8080/", "http://xn--bcher-kva.de:8080/"),
        ("http://a_b.org/", "http://a_b.org/"),
        ("http://[2001:DB8::1]:81/x", "http://[2001:db8::1]:81/x"),
        ("http://1.2.3.4/x", "http://1.2.3.4/x"),
        ("http://a.org/new\nline", "http://a.org/newline"),
    ],
)
def test_urls_as_they_go_over_the_wire(url: str, wire: str) -> None:
    assert web.check_url(url) == wire
    assert web.check_url(wire) == wire
    assert f"//{web.host_of(url)}".strip("/") in wire.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.jpg",
        "//a.org/x",
        "ftp://a.org/x",
        "file:///etc/hostname",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://",
        "http://user@a.org/",
        "http://user:secret@a.org/",
        "http://a.org:99999/",
        "http://a.org:x/",
        "http://[::1/",
        "http://exa mple.org/",
        "http://a..org/",
        "http://a.org%00.b.org/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://a.org/\udc80",
        "http://" + "a" * 64 + ".org/",
        "http://a.org/" + "x" * 2000,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(web.RefusedError) as refused:
        web.check_url(url)
    assert refused.value.reason == "bad-url"


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
]
PRIVATE += ["255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
PRIVATE += ["::7f00:1", "2002:7f00:1::", "fec0::1", "64:ff9b:1::1", "2001:db8::1", "fe80::1%eth0"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str, names: dict[str, list[str]]) -> None:
    names["trap.org"] = ["93.184.215.14", address]  # one bad address among good ones is enough
    with pytest.raises(web.RefusedError) as refused:
        web.addresses("trap.org", 80)
    assert refused.value.reason == "private-address"
    assert len(web.addresses("trap.org", 80, ["trap.org"])) == 2
    assert web.is_private_literal(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str, names: dict[str, list[str]]) -> None:
    names["good.org"] = [address, address]
    assert web.addresses("good.org", 443) == [(address, 443)]
    assert not web.is_private_literal(address) and not web.is_private_literal("good.org")


@pytest.mark.parametrize("host", ["dead-1.mirror.test", "x.invalid", "www.example"])
def test_reserved_names_are_unknown_for_good(host: str, mapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "no network")

    monkeypatch.setattr(web.socket, "getaddrinfo", no_network)
    with pytest.raises(socket.gaierror) as unknown:
        web.addresses(host, 80)
    assert unknown.value.errno == socket.EAI_NONAME
    with pytest.raises(socket.gaierror) as unreachable:
        web.addresses("www.example.org", 80)
    assert unreachable.value.errno == socket.EAI_AGAIN
    web.check_contact(host, "")  # nobody is there to be asked
    assert web.addresses("far.test", 80) == [("127.0.0.1", mapped.server_port)]


def test_a_name_is_unknown_only_where_the_internet_is_known(names: dict[str, list[str]]) -> None:
    """Name servers inside a cluster call all names outside unknown."""
    with pytest.raises(socket.gaierror) as unreachable:
        web.addresses("www.museum.org", 443)
    assert unreachable.value.errno == socket.EAI_AGAIN
    names[web.WITNESS] = ["198.41.0.4"]
    with pytest.raises(socket.gaierror) as unknown:
        web.addresses("www.museum.org", 443)
    assert unknown.value.errno == socket.EAI_NONAME


def test_localhost_is_private_and_not_unknown() -> None:
    with pytest.raises(web.RefusedError, match="no public address"):
        web.addresses("localhost", 80)


def test_a_public_host_asks_for_a_contact(mapped: Any) -> None:
    with pytest.raises(web.RefusedError, match="contact") as refused:
        web.check_contact("www.example.org", "")
    assert refused.value.reason == "no-contact"
    web.check_contact("www.example.org", "me@example.org")
    web.check_contact("far.test", "")


def test_the_agent_is_honest() -> None:
    assert web.agent("me@example.org") == f"{web.AGENT} (me@example.org)"
    assert "Mozilla" not in web.agent("")


def test_a_session_goes_where_the_map_says(mapped: Any) -> None:
    with web.session("me@example.org") as session:
        assert session.get("http://far.test/x y").text == "ok"
    assert mapped.asked == [("far.test", "/x%20y", "kg2clip/0.1 (me@example.org)")]


def test_a_session_sends_the_body_without_waiting_for_a_receipt_of_the_head(
    mapped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, connect = [], socket.create_connection
    monkeypatch.setattr(
        "socket.create_connection", lambda *place, **how: made.append(connect(*place, **how)) or made[0]
    )
    with web.session("me@example.org").get("http://far.test/", stream=True):
        assert made[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/", "http://localhost/", "http://169.254.169.254/"])
def test_a_session_follows_no_redirect_to_a_private_address(mapped: Any, target: str) -> None:
    with web.session("me@example.org") as session, pytest.raises(web.RefusedError) as refused:
        session.get(f"http://far.test/to/{target}", timeout=5)
    assert refused.value.reason == "private-address"
    assert len(mapped.asked) == 1


def test_a_session_opens_no_files_and_no_proxy(mapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with web.session("") as session:
        assert session.get("http://far.test/").ok
        with pytest.raises((web.RefusedError, requests.exceptions.InvalidSchema)):
            session.get("file:///etc/hostname")
        with pytest.raises(requests.exceptions.ConnectionError):
            session.get("http://dead.test/")


def test_the_resolver_checks_what_it_finds(mapped: Any, names: dict[str, list[str]]) -> None:
    names["trap.org"] = ["10.0.0.1"]

    async def resolve(host: str) -> Any:
        return await web.Resolver().resolve(host, 80)

    found = asyncio.run(resolve("far.test"))
    assert [(place["host"], place["port"]) for place in found] == [("127.0.0.1", mapped.server_port)]
    with pytest.raises(web.RefusedError):
        asyncio.run(resolve("trap.org"))
    with pytest.raises(socket.gaierror):
        asyncio.run(resolve("unknown.org"))


def in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("0", 0, 0),
        (" 120 ", 120, 120),
        ("86400", 86400, 86400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
    ],
)
def test_retry_after(value: str, low: float, high: float) -> None:
    wait = web.retry_after(value)
    assert wait is not None and low <= wait <= high


def test_retry_after_a_date_to_come() -> None:
    wait = web.retry_after(in_an_hour())
    assert wait is not None and 3500 <= wait <= 3600


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "²", "2015-10-21"])
def test_senseless_retry_after(value: str | None) -> None:
    assert web.retry_after(value) is None


def test_retries_only_what_may_pass() -> None:
    calls = []

    def call() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise web.TransientError("busy", wait=0.01)
        return "done"

    assert web.with_retries(call, "the graph") == "done"
    assert len(calls) == 3

    def broken() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        web.with_retries(broken, "the graph")
    assert len(calls) == 4


def test_retries_end() -> None:
    def busy(wait: float) -> None:
        raise web.TransientError("503", wait)

    with pytest.raises(IncompleteError, match="the graph does not answer: 503"):
        web.with_retries(lambda: busy(0.01), "the graph", attempts=2)
    with pytest.raises(IncompleteError, match="asks to wait 86400 seconds"):
        web.with_retries(lambda: busy(86400), "the graph")
