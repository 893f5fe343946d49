"""Kinds of answers and addresses beyond those of bad-inputs.md: each has its status and reason, in bounded time."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hostile import FAST, HostileWeb, picture
from servers import raw_server

from kg2clip import web
from kg2clip.download import fetch
from kg2clip.download.optout import LONGEST_DELAY, Robots
from kg2clip.files import sha256_bytes

BODY = picture("raw", 100)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
WHOLE = b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(BODY), BODY)
GZIPPED = gzip.compress(BODY, mtime=0)


def answer(status: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", b""])


def encoded(name: bytes, body: bytes) -> bytes:
    return OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (name, len(body), body)


ANSWERS: dict[str, tuple[bytes, str | None]] = {
    # frames
    "HTTP/1.0 without a length": (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, None),
    "no length, but the end": (OK + b"Connection: close\r\n\r\n" + BODY, None),
    "no word behind the status": (b"HTTP/1.1 200\r\n" + WHOLE, None),
    "chunked": (OK + CHUNKED + b"0\r\n\r\n", None),
    "chunked with a trailer": (OK + CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n", None),
    "garbage behind the last chunk": (OK + CHUNKED + b"0\r\n\r\n" + b"garbage" * 100, "protocol"),
    "chunked without an end": (OK + CHUNKED, "cut"),
    "a chunk of no size": (OK + CHUNKED + b"zz\r\n", "protocol"),
    "a length below 0": (OK + b"Content-Length: -5\r\n\r\n" + BODY, "protocol"),
    "a length that is no number": (OK + b"Content-Length: many\r\n\r\n" + BODY, "protocol"),
    "two lengths": (OK + b"Content-Length: 5\r\n" + WHOLE, "protocol"),
    "a length of 10^30": (OK + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n" + BODY, "protocol"),
    "cut in the headers": (OK, "connect"),
    "no answer": (b"", "connect"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
    "HTTP/0.9": (BODY, "protocol"),
    # status
    "101": (answer(b"101 Switching Protocols", b"Upgrade: h2c", b"Connection: Upgrade"), "http-101"),
    "100 and 103 first": (answer(b"100 Continue") + answer(b"103 Early Hints", b"Link: </x>") + OK + WHOLE, None),
    "204": (answer(b"204 No Content"), "http-204"),
    "206": (b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99/1000\r\n" + WHOLE, "http-206"),
    "300": (answer(b"300 Multiple Choices", b"Content-Length: 0"), "http-300"),
    "304": (answer(b"304 Not Modified"), "http-304"),
    "407": (answer(b"407 Proxy Authentication Required", b"Content-Length: 0"), "http-407"),
    "451": (answer(b"451 Unavailable For Legal Reasons", b"Content-Length: 0"), "http-451"),
    "999": (answer(b"999 Denied", b"Content-Length: 0"), "http-999"),
    # headers
    "100 cookies": (OK + b"Set-Cookie: a=b; Path=/\r\n" * 100 + WHOLE, None),
    "10,000 cookies": (OK + b"Set-Cookie: a=b; Path=/\r\n" * 10_000 + WHOLE, "protocol"),
    "a header of 100 kB": (OK + b"X-Long: " + b"x" * 100_000 + b"\r\n" + WHOLE, "protocol"),
    "a status of 100 kB": (b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n" + WHOLE, "protocol"),
    "a header that is no text": (OK + b"X-Bytes: \x80\xff\r\n" + WHOLE, None),
    "a senseless type": (b"HTTP/1.1 200 OK\r\nContent-Type: ;;=\r\n" + WHOLE, None),
    # encodings
    "gzip": (encoded(b"gzip", GZIPPED), None),
    "gzip that is none": (encoded(b"gzip", BODY), None),
    "gzip cut": (encoded(b"gzip", GZIPPED[:-9]), "encoding"),
    "brotli": (encoded(b"br", b"\x0b\x02\x80hello\x03"), "encoding"),
    "zstd": (encoded(b"zstd", b"\x28\xb5\x2f\xfd"), "encoding"),
    "an unknown encoding": (encoded(b"x-ours", BODY), "encoding"),
    # redirects
    "301 to nowhere": (answer(b"301 Moved Permanently", b"Content-Length: 0"), "http-301"),
    "302 to an empty place": (answer(b"302 Found", b"Location: ", b"Content-Length: 0"), "http-302"),
}
TARGETS: dict[bytes, str | None] = {
    "http://a.test/ok/bär".encode(): None,
    "http://a.test/ok/bär".encode("latin-1"): None,
    b"http://a.test/ok/a b": None,
    b"HTTP://A.TEST./ok/upper": None,
    b"//a.test/ok/same-scheme": None,
    "http://bücher.test/ok/idn".encode(): None,
    b"http://user:secret@a.test/": "bad-url",
    b"http://a.test:99999/": "bad-url",
    b"http://a.test/" + b"x" * 3000: "bad-url",
    b"http://[::1": "bad-url",
    b"http:///x": "redirect-loop",  # the same host
    b"ftp://a.test/x": "bad-url",
    b"javascript:alert(1)": "bad-url",
    b"data:image/png;base64,AAAA": "bad-url",
    b"http://2130706433/": "bad-url",
    b"http://0177.0.0.1/": "bad-url",
    b"http://0x7f000001/": "bad-url",
    b"http://127.0.0.1./": "private-address",
    "http://127。0。0。1/".encode(): "private-address",
    "http://①②⑦.⓪.⓪.①/".encode(): "private-address",
    b"http://0.0.0.0/": "private-address",
    b"http://[::]/": "private-address",
    b"http://[::ffff:127.0.0.1]/": "private-address",
    b"http://[::ffff:a9fe:a9fe]/latest": "private-address",
    b"http://[64:ff9b::7f00:1]/": "private-address",
    b"http://[64:ff9b:1::1]/": "private-address",
    b"http://[2002:7f00:1::]/": "private-address",
    b"http://[fe80::1%25eth0]/": "private-address",
    b"http://metadata.localhost/": "private-address",
    b"https://printer.test/": "dns",
}
REFUSED = ("bad-url", "private-address")
Talk = Callable[[socket.socket], Any]


@pytest.fixture
def raw(harvest: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`raw(talks, **config)`: harvest from servers whose answers are written by hand, and from `others`' URLs."""

    def run(
        talks: dict[str, Talk], pictures: int = 1, others: dict[str, str] | None = None, **options: Any
    ) -> dict[str, dict[str, Any]]:
        places = {host: f"{address}:{port}" for host, (address, port) in web.resolve_map().items()}
        names = {name: f"r{number}.test" for number, name in enumerate(talks)}
        with ExitStack() as stack:
            for name, talk in talks.items():
                places[names[name]] = f"127.0.0.1:{stack.enter_context(raw_server(talk))}"
            monkeypatch.setenv(web.RESOLVE, json.dumps(places))
            options = {"respect_opt_out": False, "attempts": 1, "total_timeout": 1.0, **options}
            urls = {name: f"http://{names[name]}/" for name in talks}
            more = {f"{name} {place}": f"{urls[name]}{place}" for name in talks for place in range(1, pictures)}
            rows = harvest({**urls, **more, **(others or {})}, **options)
        return {row["candidateID"]: row for row in rows.values()}

    return run


def send(content: bytes) -> Talk:
    return lambda connection: connection.sendall(content)


def test_what_becomes_of_each_answer(raw: Any) -> None:
    began = time.monotonic()
    rows = raw({name: send(content) for name, (content, _) in ANSWERS.items()})
    assert time.monotonic() - began < 10
    assert {name: row["reason"] for name, row in rows.items()} == {
        name: reason for name, (_, reason) in ANSWERS.items()
    }
    assert {row["sha256"] for row in rows.values() if row["reason"] is None} == {sha256_bytes(BODY)}


def test_what_becomes_of_each_place_a_redirect_names(raw: Any, hostile: HostileWeb) -> None:
    found = {str(number): answer(b"302 Found", b"Location: " + target) for number, target in enumerate(TARGETS)}
    rows = raw({name: send(content) for name, content in found.items()})
    assert dict(zip(TARGETS, (rows[name]["reason"] for name in found), strict=True)) == TARGETS
    assert {row["reason"] for row in rows.values() if row["status"] == "refused"} == set(REFUSED)
    assert sorted(hostile.paths()) == [
        "/ok/a%20b",
        "/ok/b%C3%A4r",
        "/ok/b%E4r",
        "/ok/idn",
        "/ok/same-scheme",
        "/ok/upper",
    ]


def test_what_comes_byte_by_byte_or_without_end_is_left_at_the_deadline(raw: Any) -> None:
    ended = threading.Event()

    def slowly(content: bytes) -> Talk:
        def talk(connection: socket.socket) -> None:
            for byte in content:
                connection.sendall(bytes([byte]))
                if ended.wait(0.05):
                    return

        return talk

    def for_ever(content: bytes) -> Talk:
        def talk(connection: socket.socket) -> None:
            while not ended.wait(0.001):
                connection.sendall(content)

        return talk

    began = time.monotonic()
    rows = raw(
        {
            "status byte by byte": slowly(answer(b"200 " + b"x" * 1000)),
            "headers byte by byte": slowly(OK + b"X-More: yes\r\n" * 100),
            "chunk by chunk": slowly(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000),
            "go on, go on": for_ever(answer(b"100 Continue")),
            "gzip that unpacks to nothing": for_ever_after(
                OK + b"Content-Encoding: deflate\r\n\r\n\x78\x9c", b"\x00\x00\x00\xff\xff", ended
            ),
        },
        total_timeout=0.5,
    )
    ended.set()
    assert {name: row["reason"] for name, row in rows.items()} == dict.fromkeys(rows, "timeout")
    assert time.monotonic() - began < 5


def for_ever_after(start: bytes, content: bytes, ended: threading.Event) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.sendall(start)
        while not ended.wait(0.001):
            connection.sendall(content)

    return talk


ROBOTS = {
    "10 MB": (200, "User-agent: *\nDisallow: /closed\n" + "# and so on\n" * 900_000, None),
    "to itself": (302, "/robots.txt", None),
    "to a private address": (302, "http://169.254.169.254/robots.txt", None),
    "to a file": (302, "file:///etc/passwd", None),
    "to nowhere": (302, "", None),
    "a page": (200, "<!DOCTYPE html><html>Disallow: /</html>", None),
    "forbidden": (403, "", None),
    "broken": (500, "", "robots-unreachable"),
    "too many": (429, "", "robots-unreachable"),
    "odd lines": (200, "Disallow: /\nUser-agent\n:\nUser-agent: *\nDisallow: //[x\nCrawl-delay: ²\nDisallow", None),
    "one a day": (200, "User-agent: *\nCrawl-delay: 86400", "robots"),
    "closed": (200, "User-agent: *\nDisallow: /", "robots"),
}


def test_what_becomes_of_each_robots_txt(harvest: Any, hostile: HostileWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = {name: f"h{number}.test" for number, name in enumerate(ROBOTS)}
    monkeypatch.setenv(web.RESOLVE, json.dumps(dict.fromkeys(hosts.values(), f"127.0.0.1:{hostile.port}")))
    hostile.robots = {hosts[name]: (status, text) for name, (status, text, _) in ROBOTS.items()}
    rows = harvest({name: f"http://{host}/ok/1" for name, host in hosts.items()}, attempts=1)
    found = {row["candidateID"]: row["reason"] for row in rows.values()}
    assert found == {name: reason for name, (_, _, reason) in ROBOTS.items()}
    served = [asked.host for asked in hostile.asked if asked.path == "/ok/1"]
    assert sorted(served) == sorted(host for name, host in hosts.items() if found[name] is None)


def test_a_robots_txt_that_is_compressed_as_nobody_asked(raw: Any) -> None:
    rows = raw({"brotli": send(encoded(b"br", b"?"))}, respect_opt_out=True)
    assert rows["brotli"]["reason"] == "encoding", "what can't be read forbids nothing; the picture is such a one too"


EVERYBODY = "User-agent: *\n"
RULES = {
    "many stars": (EVERYBODY + "Disallow: /" + "*a" * 200 + "$", "/" + "a" * 1900 + "b", True),
    "nothing but stars": (EVERYBODY + "Disallow: /" + "*" * 100_000 + "b", "/" + "a" * 1900 + "b", False),
    "40,000 paths": (EVERYBODY + "".join(f"Disallow: /{n}/\n" for n in range(40_000)), "/39999/a.jpg", False),
    "40,000 patterns": (EVERYBODY + "".join(f"Disallow: /*{n}$\n" for n in range(40_000)), "/a.jpg", True),
    "30,000 names": ("User-agent: a\n" * 30_000 + EVERYBODY + "Disallow: /", "/a.jpg", False),
    "a delay for ever": (EVERYBODY + "Crawl-delay: " + "9" * 5000, "/a.jpg", False),
    "a star that is none": (EVERYBODY + "Disallow: /%2A", "/*", False),
    "a star that is none, another path": (EVERYBODY + "Disallow: /%2A", "/a", True),
    "a dollar inside": (EVERYBODY + "Disallow: /a$b", "/a$b/c", False),
    "stars in order": (EVERYBODY + "Disallow: /*/x*y", "/1/x/2/y/3", False),
    "no character for two": (EVERYBODY + "Disallow: /x*x$", "/x", True),
    "our name with a version": ("User-agent: kg2clip/0.1 # us\nDisallow: /", "/a.jpg", False),
}


@pytest.mark.parametrize("name", RULES)
def test_a_hostile_robots_txt_costs_no_time(name: str) -> None:
    text, path, allowed = RULES[name]
    began = time.process_time()
    assert Robots(text).allows(f"http://a.test{path}") is allowed
    assert time.process_time() - began < 5


def test_delays_of_robots_txt() -> None:
    for text, delay in {"1.5": 1.5, "10": 10, "-1": 0, "nan": 0, "²": 0, "soon": 0, "": 0}.items():
        assert Robots(f"User-agent: *\nCrawl-delay: {text}").crawl_delay == delay
    assert Robots(f"User-agent: *\nCrawl-delay: {LONGEST_DELAY}").allows("http://a.test/")


def test_an_address_in_brackets_is_asked(harvest: Any) -> None:
    url = "http://[::1]:9/x"
    assert harvest([url])[url]["reason"] == "private-address"
    assert harvest([url], private_hosts=["::1"], attempts=1)[url]["reason"] == "connect", "nobody listens there"


def test_what_was_checked_is_connected_to(harvest: Any, hostile: HostileWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere at each look (DNS rebinding) is looked up once for a connection."""
    looks: list[str] = []
    ask = socket.getaddrinfo

    def flip(host: str, port: int, *rest: Any, **options: Any) -> Any:
        if host != "flip.example.org":
            return ask(host, port, *rest, **options)
        looks.append("127.0.0.1" if not looks else "127.0.0.2")  # a public one first, as it were
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (looks[-1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", flip)
    monkeypatch.setattr(web, "_is_public", lambda address: str(address) != "127.0.0.2")
    monkeypatch.setattr(web, "check_contact", lambda *_: None)
    first, second = (f"http://flip.example.org:{hostile.port}/ok/{number}" for number in range(2))
    assert harvest([first])[first]["reason"] is None and looks == ["127.0.0.1"]
    assert harvest([second])[second]["reason"] == "private-address" and len(looks) == 2
    assert hostile.paths() == ["/ok/0"]


def test_silent_name_servers_hold_up_no_other_host(
    harvest: Any, hostile: HostileWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, waits = threading.Event(), []

    def mute(host: str, *_: Any, **__: Any) -> Any:
        waits.append(served.wait(10))
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", mute)
    hostile.moments[1] = served.set
    mutes = [f"m{number}.example.org" for number in range(fetch.TRANSFERS - 1)]
    links = {f"k{host}": f"http://{host}/x" for host in mutes} | {"last": "http://a.test/ok/1"}
    rows = harvest(links, private_hosts=mutes, shards_per_batch=1, attempts=1, total_timeout=20)
    assert all(waits) and rows["http://a.test/ok/1"]["status"] == "success"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and certificate of tls.test, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    path = tmp_path / "tls.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tls.test"
    options = ["-addext", "subjectAltName=DNS:tls.test", "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_certificates_and_a_redirect_from_https_to_http(
    harvest: Any, hostile: HostileWeb, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as safe:
                    safe.recv(1 << 16)
                    safe.sendall(answer(b"302 Found", b"Location: http://a.test/ok/1", b"Content-Length: 0"))
            except ssl.SSLError:
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=talk, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        places = {
            "a.test": f"127.0.0.1:{hostile.port}",
            "tls.test": f"127.0.0.1:{port}",
            "other.test": f"127.0.0.1:{port}",
        }
        monkeypatch.setenv(web.RESOLVE, json.dumps(places))
        url, other = "https://tls.test/x", "https://other.test/x"
        options: dict[str, Any] = {
            "respect_opt_out": False,
            "attempts": 1,
            "lanes": {"web": {**FAST, "connections": 1}},
        }
        assert harvest([url], **options)[url]["reason"] == "certificate"
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
        rows = harvest([url + "?2", other], **options)
    assert rows[other]["reason"] == "certificate", "it is another host's"
    assert (rows[url + "?2"]["reason"], rows[url + "?2"]["finalURI"]) == (None, "http://a.test/ok/1")


def test_a_host_is_asked_over_one_connection_as_long_as_it_stays(raw: Any) -> None:
    """And over a new one, without a failure, when the host has closed it in between."""
    connections: list[int] = []

    def talk(connection: socket.socket) -> None:
        connections.append(0)
        while True:
            connection.sendall(OK + WHOLE)
            connections[-1] += 1
            if connections[-1] == 3 or not connection.recv(1 << 16):
                return

    rows = raw({"keep": talk}, pictures=5, lanes={"web": {**FAST, "connections": 1}}, attempts=2)
    assert {row["reason"] for row in rows.values()} == {None}
    assert connections == [3, 2]


def test_deadlines_of_connecting_and_reading(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "READ_TIMEOUT", 0.3)
    monkeypatch.setattr(fetch, "CONNECT_TIMEOUT", 0.3)
    ended = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: 5000\r\n\r\n" + BODY)
        ended.wait(20)

    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(3):  # more than the kernel lets wait: the next connection gets no answer
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        monkeypatch.setenv(web.RESOLVE, json.dumps({"full.test": f"127.0.0.1:{full.getsockname()[1]}"}))
        rows = raw({"stall": stall}, others={"full": "http://full.test/x"}, total_timeout=20)
    ended.set()
    assert {name: row["reason"] for name, row in rows.items()} == {"stall": "timeout", "full": "timeout"}
    assert time.monotonic() - began < 5
