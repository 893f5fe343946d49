"""What becomes of each kind of answer, and that hosts are treated as agreed."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from typing import Any

import pytest
from hostile import FAST, HostileWeb, picture

from kg2clip import tars
from kg2clip.download import fetch
from kg2clip.download.lanes import Lane
from kg2clip.download.optout import Robots, opts_out
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes


def test_bytes_are_kept_exactly_and_sorted_by_key(hostile: HostileWeb, harvest: Any, folder: Any) -> None:
    urls = [f"http://a.test/ok/{number}" for number in range(30)]
    rows = harvest(urls)
    found = {}
    for tar in sorted(folder.glob("*.tar")):
        members = tars.members(tar)
        assert [member.name for member in members] == sorted(member.name for member in members)
        found.update({member.name: (member.read(), tar.name) for member in members})
    for url, row in rows.items():
        body, tar_name = found.pop(f"{row['candidateID']}.jpg")
        assert body == picture(url.removeprefix("http://a.test"))
        assert (row["status"], row["reason"], row["shard"], row["httpStatus"]) == ("success", None, tar_name, 200)
        assert (row["sha256"], row["bytes"], row["attempts"]) == (sha256_bytes(body), len(body), 1)
        assert (row["mediaType"], row["finalURI"], row["host"]) == ("image/jpeg", url, "a.test")
    assert not found
    assert not list(folder.glob("*.journal")) and not (folder / ".engine").exists()


PERMANENT = {
    "http://a.test/status/404": ("failed", "http-404", 404),
    "http://a.test/status/403": ("failed", "http-403", 403),
    "http://a.test/status/410": ("failed", "http-410", 410),
    "http://a.test/html": ("failed", "not-an-image", 200),
    "http://a.test/empty": ("failed", "empty", 200),
    "http://a.test/endless": ("refused", "too-large", 200),
    "http://a.test/declared": ("refused", "too-large", 200),
    "http://a.test/loop/a": ("failed", "redirect-loop", 301),
    "http://a.test/stairs/0": ("failed", "too-many-redirects", 307),
    "http://a.test/to/http://169.254.169.254/latest": ("refused", "private-address", None),
    "http://a.test/to/http://127.0.0.1:9/": ("refused", "private-address", None),
    "http://a.test/to/http://[::1]/": ("refused", "private-address", None),
    "http://a.test/to/file:///etc/hostname": ("refused", "bad-url", 302),
    "http://a.test/to/http://public.invalid./x": ("failed", "dns", None),
    "http://a.test/tag/noai": ("refused", "opt-out", 200),
    "http://a.test/tag/date": ("refused", "opt-out", 200),
    "http://dead-1.mirror.test/x.jpg": ("failed", "dns", None),
    "http://169.254.169.254/latest/meta-data": ("refused", "private-address", None),
    "http://localhost/x": ("refused", "private-address", None),
    "http://127.1/x": ("refused", "bad-url", None),
    "http://0x7f.1/x": ("refused", "bad-url", None),
    "file:///etc/hostname": ("refused", "bad-url", None),
    "data:image/png;base64,AAAA": ("refused", "bad-url", None),
    "http://a.test/" + "x" * 4000: ("refused", "bad-url", None),
    "http://[broken/": ("refused", "bad-url", None),
    None: ("refused", "bad-url", None),
}


def test_what_fails_for_good_is_told_and_asked_once(hostile: HostileWeb, harvest: Any) -> None:
    rows = harvest(list(PERMANENT))
    assert {url: (row["status"], row["reason"], row["httpStatus"]) for url, row in rows.items()} == PERMANENT
    asked = hostile.paths()
    assert len(asked) == len(set(asked))
    assert harvest(list(PERMANENT)).keys() == rows.keys()
    assert hostile.paths() == asked  # final answers are not asked for again


def test_paths_go_over_the_wire_encoded_once(hostile: HostileWeb, harvest: Any) -> None:
    wire = {
        "http://a.test/ok/a b.jpg": "/ok/a%20b.jpg",
        "http://a.test/ok/Bär,(1);'x'.jpg": "/ok/B%C3%A4r,(1);'x'.jpg",
        "http://a.test/ok/a%2520b.jpg": "/ok/a%2520b.jpg",
        "http://a.test/ok/a%2Fb.jpg": "/ok/a%2Fb.jpg",
        "http://a.test/ok/100%.jpg": "/ok/100%25.jpg",
        "http://a.test/ok/q?x=a b&y=%26#part": "/ok/q?x=a%20b&y=%26",
        "HTTP://A.TEST./ok/upper": "/ok/upper",
        "http://Bücher.test/ok/idn": "/ok/idn",
    }
    rows = harvest(list(wire))
    assert {row["status"] for row in rows.values()} == {"success"}
    assert sorted(hostile.paths()) == sorted(wire.values())


def test_passing_failures_are_tried_again(hostile: HostileWeb, harvest: Any) -> None:
    urls = [
        "http://a.test/flaky/429/1/x",
        "http://b.test/flaky/503/-/x",
        "http://c.test/cut/once",
        "http://own.test/to/http://cdn.test/flaky/500/-/x",
    ]
    rows = harvest(urls)
    assert [(rows[url]["status"], rows[url]["attempts"]) for url in urls] == [("success", 2)] * 4
    assert rows[urls[3]]["finalURI"] == "http://cdn.test/flaky/500/-/x"
    first, second = (asked.began for asked in hostile.asked if asked.path.startswith("/flaky/429"))
    assert second - first >= 1.0  # Retry-After


def test_a_body_encoded_against_our_wish_is_decoded(hostile: HostileWeb, harvest: Any, folder: Any) -> None:
    row = harvest(["http://a.test/gzip/1"])["http://a.test/gzip/1"]
    assert (row["status"], row["sha256"]) == ("success", sha256_bytes(picture("/gzip/1")))


def test_a_cut_chunked_body_is_not_taken(hostile: HostileWeb, harvest: Any, folder: Any) -> None:
    rows = harvest(["http://a.test/chunks/1"])
    assert [row["reason"] for row in rows.values()] == ["cut"]
    assert not list(folder.glob("*.tar"))


def test_redirects_go_on_under_the_other_hosts_rules(hostile: HostileWeb, harvest: Any) -> None:
    hostile.robots["cdn.test"] = (200, "User-agent: *\nDisallow: /ok/closed")
    urls = ["http://a.test/to/http://cdn.test/ok/open", "http://a.test/to/http://cdn.test/ok/closed"]
    rows = harvest(urls)
    assert [rows[url]["reason"] for url in urls] == [None, "robots"]
    assert hostile.paths("cdn.test") == ["/ok/open"]


def test_what_may_pass_is_left_to_the_second_pass(hostile: HostileWeb, harvest: Any) -> None:
    urls = ["http://a.test/ok/1", "http://a.test/ok/2", "http://b.test/ok/3", "http://a.test/cut/always"]
    hostile.broken.add("b.test")
    rows = harvest(urls)
    assert {row["reason"] for row in rows.values()} == {None, "http-503", "cut"}
    assert rows["http://b.test/ok/3"]["attempts"] == 3
    hostile.broken.clear()
    assert {url: row["reason"] for url, row in harvest(urls).items() if row["reason"]} == {urls[3]: "cut"}
    assert Counter(hostile.paths())["/ok/1"] == Counter(hostile.paths())["/ok/2"] == 1


def test_deadline_and_refused_connection(hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        monkeypatch.setenv("KG2CLIP_RESOLVE", f'{{"a.test": "127.0.0.1:{hostile.port}", "b.test": "127.0.0.1:{port}"}}')
        began = time.monotonic()
        urls = ["http://a.test/dribble", "http://b.test/x"]
        rows = harvest(urls, total_timeout=0.5, attempts=2)
    assert [rows[url]["reason"] for url in urls] == ["timeout", "connect"]
    assert time.monotonic() - began < 10  # the dribble lasts 30


def test_a_dead_host_is_given_up(hostile: HostileWeb, harvest: Any) -> None:
    hostile.broken.add("b.test")
    lanes = {"web": {**FAST, "connections": 1}}
    urls = [f"http://b.test/{n}" for n in range(60)] + ["http://a.test/ok/1"]
    rows = harvest(urls, attempts=1, lanes=lanes)
    reasons = Counter(row["reason"] for row in rows.values())
    assert reasons == {"http-503": fetch.BREAKER, "host-down": 60 - fetch.BREAKER, None: 1}
    assert len(hostile.paths("b.test")) == fetch.BREAKER
    assert {row["attempts"] for row in rows.values() if row["reason"] == "host-down"} == {0}


def test_a_host_that_asks_for_hours_is_left_alone(hostile: HostileWeb, harvest: Any) -> None:
    urls = [f"http://a.test/flaky/429/86400/{number}" for number in range(5)]
    rows = harvest(urls, lanes={"web": {**FAST, "connections": 1}})
    assert Counter(row["reason"] for row in rows.values()) == {"http-429": 1, "host-down": 4}
    assert len(hostile.paths()) == 1


def test_limits_hold_at_the_server(hostile: HostileWeb, harvest: Any) -> None:
    lanes = {"web": {**FAST, "connections": 2, "requests_per_second": 20}}
    harvest([f"http://a.test/nap/0.2/{number}" for number in range(12)], lanes=lanes)
    assert hostile.most["a.test"] == 2
    hostile.asked.clear()
    harvest([f"http://c.test/ok/{number}" for number in range(12)], lanes=lanes)
    times = [asked.began for asked in hostile.asked]  # robots.txt counts too
    assert times[-1] - times[0] >= 12 * 0.05 * 0.8
    assert min(later - earlier for earlier, later in zip(times, times[4:], strict=False)) > 4 * 0.05 * 0.5


def test_turns_lie_on_a_grid_and_an_idle_host_earns_no_credit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    clock = type("Loop", (), {"time": lambda self: now})()
    monkeypatch.setattr(fetch.asyncio, "get_running_loop", lambda: clock)
    host = fetch.Host("a.test", Lane("web", (), 1, connections=2, requests_per_second=10, megabits_per_second=8), None)
    due = []
    for late in (0.0, 0.015, 0.0, 5.0, 0.0):
        now = max(now, now + host.due()) + late
        host.take_turn()
        due.append(now + host.due())
    assert due == pytest.approx([100.1, 100.2, 100.3, 105.4, 105.5])
    host.pause(3)
    assert host.due() == pytest.approx(3)


@pytest.mark.parametrize("rate", [0.5, 3, 50, 500])
def test_no_second_holds_more_turns_than_allowed(monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    now, chance = 100.0, random.Random(1)
    clock = type("Loop", (), {"time": lambda self: now})()
    monkeypatch.setattr(fetch.asyncio, "get_running_loop", lambda: clock)
    host = fetch.Host(
        "a.test", Lane("web", (), 1, connections=2, requests_per_second=rate, megabits_per_second=8), None
    )
    turns = []
    for _ in range(3000):
        now += max(0.0, host.due()) + chance.expovariate(1000)  # a thousandth of a second late, now and then ten
        host.take_turn()
        turns.append(now)
    assert (len(turns) - 1) / (turns[-1] - turns[0]) > 0.95 * rate
    for first, beyond in zip(turns, turns[max(1, int(rate)) :], strict=False):
        assert beyond - first > 0.999 * max(1, int(rate)) / rate


def test_bandwidth_holds(hostile: HostileWeb, harvest: Any) -> None:
    began = time.monotonic()
    rows = harvest([f"http://a.test/ok/{n}" for n in range(20)], lanes={"web": {**FAST, "megabits_per_second": 0.4}})
    took = time.monotonic() - began
    sent = sum(row["bytes"] for row in rows.values()) * 8e-6 / 0.4
    assert sent > 1 and took >= sent * 0.9


def test_bandwidth_holds_inside_a_picture_and_is_no_fault_of_the_host(hostile: HostileWeb, harvest: Any) -> None:
    began = time.monotonic()
    lanes = {"web": {**FAST, "megabits_per_second": 8}}
    rows = harvest(["http://a.test/big/1"], lanes=lanes, max_bytes=2_000_000, total_timeout=0.6)
    assert [row["reason"] for row in rows.values()] == [None]
    assert time.monotonic() - began > 0.8


def test_redirected_robots_respect_the_other_hosts_connections(hostile: HostileWeb, harvest: Any) -> None:
    hosts = ("a.test", "b.test", "c.test", "fast.test")
    hostile.robots = {host: (302, f"http://cdn.test/nap/0.1/{host}") for host in hosts}
    hostile.robots["own.test"] = (302, "http://dead.test/robots.txt")
    urls = [f"http://{host}/ok/1" for host in (*hosts, "own.test")]
    rows = harvest(urls, lanes={"web": {**FAST, "connections": 1}})
    assert {row["status"] for row in rows.values()} == {"success"}
    assert hostile.most["cdn.test"] == 1


def test_a_slow_host_holds_up_no_other(hostile: HostileWeb, harvest: Any) -> None:
    slow = [f"http://slow.test/nap/0.25/{number}" for number in range(8)]
    fast = [f"http://fast.test/ok/{number}" for number in range(60)]
    harvest(slow + fast, lanes={"web": {**FAST, "connections": 1}})
    ended = {host: max(a.began for a in hostile.asked if a.host == host) for host in ("slow.test", "fast.test")}
    assert ended["fast.test"] < ended["slow.test"] - 0.5


def test_opt_outs_are_obeyed_unless_the_config_says_no(hostile: HostileWeb, harvest: Any) -> None:
    hostile.robots["a.test"] = (200, "User-agent: *\nDisallow: /ok/")
    hostile.robots["b.test"] = (503, "")
    urls = ["http://a.test/ok/1", "http://a.test/tag/noai", "http://a.test/tag/other", "http://b.test/ok/2"]
    rows = harvest(urls)
    assert [rows[url]["reason"] for url in urls] == ["robots", "opt-out", None, "robots-unreachable"]
    assert len([asked for asked in hostile.asked if (asked.host, asked.path) == ("a.test", "/robots.txt")]) == 1
    rows = harvest(urls, respect_opt_out=False)
    assert {row["reason"] for row in rows.values()} == {None}


def test_who_asks_is_told_honestly(hostile: HostileWeb, harvest: Any) -> None:
    harvest(["http://a.test/ok/1"])
    for asked in hostile.asked:
        assert asked.headers["User-Agent"].startswith("kg2clip/")
        assert asked.headers["Accept-Encoding"] == "identity"


def test_public_hosts_are_not_asked_anonymously(hostile: HostileWeb, harvest: Any) -> None:
    with pytest.raises(UserError, match=r"www\.example\.org.*contact"):
        harvest(["http://a.test/ok/1", "http://www.example.org/x.jpg"])
    assert not hostile.asked


def test_private_hosts_need_the_config(hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{hostile.port}/ok/1"
    assert harvest([url])[url]["reason"] == "private-address"
    assert harvest([url], private_hosts=["127.0.0.1"])[url]["status"] == "success"


@pytest.mark.parametrize(
    ("value", "asks"),
    [
        ("noindex, unavailable_after: 25 Jun 2030 15:00:00 PST", True),
        ("unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai", True),
        ("max-snippet: 10, NoML", True),
        ("none", True),
        ("kg2clip: noindex", True),
        ("otherbot: noindex, noai", False),
        ("otherbot: nofollow, kg2clip: noimageai", True),
        ("*: noimageindex", True),
        ("all, nofollow", False),
        ("", False),
    ],
)
def test_opt_out_headers(value: str, asks: bool) -> None:
    assert opts_out([value]) is asks
    assert opts_out(["all", value]) is asks


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a.jpg", True),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("User-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow: /\nAllow: /img/", "/img/a.jpg", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/img/a.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/img/a.jpg.html", True),
        ("User-agent: *\nDisallow: /*?size=", "/a.jpg?size=1", False),
        ("User-agent: kg2clip\nDisallow: /\n\nUser-agent: *\nDisallow:", "/a.jpg", False),
        ("User-agent: clip\nDisallow: /", "/a.jpg", True),
        ("User-agent: kg2clip\n\nDisallow: /b\nUser-agent: KG2CLIP\nDisallow: /c", "/c", False),
        ("User-agent: *\nDisallow: /%7Ejoe/", "/~joe/a.jpg", False),
        ("<html>no robots here</html>", "/a.jpg", True),
    ],
)
def test_robots_rules(text: str, path: str, allowed: bool) -> None:
    assert Robots(text).allows(f"http://a.test{path}") is allowed
