"""A candidate's next link is tried where one fails for good; what lies at another job's host is its second pass's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hostile import FAST, HostileWeb, config, picture, write_candidates

from kg2clip import tables
from kg2clip.download import batch as batches
from kg2clip.download.selection import select_leftovers
from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import sha256_bytes

LANES = {"own": {**FAST, "hosts": ["own.test", "cdn.test"]}, "web": FAST}


def outcome(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["reason"], row["accessURI"], [(tried["accessURI"], tried["reason"]) for tried in row["tried"]]


def test_the_next_link_serves_where_one_fails_for_good(hostile: HostileWeb, harvest: Any) -> None:
    rows = harvest(
        {
            "served": ["http://a.test/ok/first", "http://a.test/ok/never"],
            "third": ["http://a.test/status/404/x", "nonsense", "http://b.test/html/x", "http://c.test/ok/third"],
            "none": ["http://a.test/status/410/x", "http://a.test/status/404/y"],
            "unusable": ["http://a.test/status/404/z", "file:///etc/hostname"],
            "asked not to": ["http://a.test/tag/noai", "http://a.test/ok/copy"],
        }
    )
    found = {row["candidateID"]: row for row in rows.values()}
    assert outcome(found["served"]) == (None, "http://a.test/ok/first", [])
    assert outcome(found["third"]) == (
        None,
        "http://c.test/ok/third",
        [("http://a.test/status/404/x", "http-404"), ("nonsense", "bad-url"), ("http://b.test/html/x", "not-an-image")],
    )
    assert found["third"]["sha256"] == sha256_bytes(picture("/ok/third"))
    assert (found["third"]["host"], found["third"]["attempts"]) == ("c.test", 3)
    assert outcome(found["none"]) == (
        "http-404",
        "http://a.test/status/404/y",
        [("http://a.test/status/410/x", "http-410")],
    )
    assert outcome(found["unusable"]) == (
        "bad-url",
        "file:///etc/hostname",
        [("http://a.test/status/404/z", "http-404")],
    )
    assert outcome(found["asked not to"])[0] == "opt-out", "who opts out means the picture, wherever it lies"
    assert not {"/ok/never", "/ok/copy"} & set(hostile.paths())
    counts = batches.count([tables.as_table(list(rows.values()), tables.DOWNLOADS)])
    assert (counts["success"], counts["served by a further link"], counts["left over"]) == (2, 1, 0)


def test_each_link_has_all_its_tries(hostile: HostileWeb, harvest: Any) -> None:
    rows = harvest({"k": ["http://a.test/status/404/x", "http://b.test/flaky/503/-/x"]}, attempts=2)
    assert [(row["reason"], row["attempts"]) for row in rows.values()] == [(None, 3)]


def test_what_lies_at_another_lanes_host_is_its_second_pass(hostile: HostileWeb, harvest_twice: Any) -> None:
    links = {
        "link": ["http://a.test/status/404/x", "http://own.test/ok/link"],
        "back": ["http://own.test/status/404/x", "http://b.test/ok/back"],
        "redirect": ["http://a.test/to/http://cdn.test/ok/redirect"],
        "then its link": ["http://a.test/to/http://cdn.test/status/404/r", "http://own.test/ok/then"],
        "twice": ["http://a.test/to/http://cdn.test/to/http://b.test/ok/twice"],
        "three lanes": ["http://a.test/status/404/t", "http://own.test/status/404/t", "http://a.test/ok/t"],
        "loopback": ["http://own.test/to/http://127.0.0.1:9/"],
        "late": ["http://a.test/flaky/503/-/late", "http://own.test/ok/not-needed"],
    }
    rows = harvest_twice(links, lanes=LANES, attempts=1)
    assert {key: (row["reason"], row["lane"], row["accessURI"]) for key, row in rows.items()} == {
        "link": (None, "own", "http://own.test/ok/link"),
        "back": (None, "web", "http://b.test/ok/back"),
        "redirect": (None, "own", links["redirect"][0]),
        "then its link": (None, "own", "http://own.test/ok/then"),
        "twice": ("other-lane", "own", links["twice"][0]),
        "three lanes": ("http-404", "own", "http://own.test/status/404/t"),
        "loopback": ("private-address", "web", links["loopback"][0]),
        "late": (None, "web", "http://a.test/flaky/503/-/late"),
    }
    assert rows["redirect"]["finalURI"] == "http://cdn.test/ok/redirect"
    assert outcome(rows["then its link"])[2] == [(links["then its link"][0], "http-404")]
    assert (rows["three lanes"]["nextURI"], rows["twice"]["nextURI"]) == (
        "http://a.test/ok/t",
        "http://b.test/ok/twice",
    )
    asked = Counter((asked.host, asked.path) for asked in hostile.asked if asked.path != "/robots.txt")
    assert not {("own.test", "/ok/not-needed"), ("a.test", "/ok/t")} & set(asked), "no third pass"
    assert {visit for visit, times in asked.items() if times > 1} == {("a.test", "/flaky/503/-/late")}
    hostile.asked.clear()
    again = harvest_twice(links, lanes=LANES, attempts=1)
    assert hostile.paths() == ["/flaky/503/-/late"], "only what failed for now is asked again"
    del again["late"], rows["late"]
    assert again == rows


def test_two_batches_of_the_web_do_not_ask_one_host(hostile: HostileWeb, harvest_twice: Any) -> None:
    lanes = {"web": {**FAST, "batches": 8}}
    links = {f"k{n}": [f"http://a.test/to/http://b.test/ok/{n}"] for n in range(6)}
    rows = harvest_twice(links, lanes=lanes)
    assert {(row["batch"], row["reason"]) for row in rows.values()} == {("web-leftovers", None)}
    assert len(hostile.paths("b.test")) == 6


def test_what_still_fails_for_now_is_incomplete_and_goes_on(
    hostile: HostileWeb, harvest_twice: Any, tmp_path: Path
) -> None:
    hostile.broken.add("b.test")
    links = {"1": ["http://a.test/ok/1"], "2": ["http://b.test/ok/2"], "3": ["http://a.test/cut/always"]}
    manifest = tmp_path / "download" / "web-leftovers.manifest.parquet"
    with pytest.raises(IncompleteError, match=r"2 of 2 .*http-503 1.*b\.test 1.*accept_partial: true") as told:
        harvest_twice(links)
    assert told.value.exit_status == 3 and not manifest.exists()
    rows = harvest_twice(links, accept_partial=True)
    assert {key: row["reason"] for key, row in rows.items()} == {"1": None, "2": "http-503", "3": "cut"}
    assert tables.count(manifest) == 2
    hostile.broken.clear()
    with pytest.raises(IncompleteError, match=r"1 of 1 .*cut 1.*a\.test 1"):
        harvest_twice(links)
    assert hostile.paths().count("/ok/1") == 1


def test_new_links_are_tried_and_known_ones_are_not(hostile: HostileWeb, harvest: Any) -> None:
    dead, alive = "http://a.test/status/404/x", "http://a.test/ok/alive"
    harvest({"gone": [dead], "there": [alive]})
    hostile.asked.clear()
    rows = harvest({"gone": [dead, "http://b.test/ok/found"], "there": [alive, "http://b.test/ok/unused"]})
    assert {row["candidateID"]: row["reason"] for row in rows.values()} == {"gone": None, "there": None}
    assert sorted(hostile.paths()) == ["/ok/found", "/status/404/x"], "all links of a candidate are one question"


def test_no_second_pass_of_an_unknown_lane(tmp_path: Path) -> None:
    candidates = write_candidates(tmp_path / "candidates.parquet", [])
    with pytest.raises(UserError, match=r"no batch 'webb-leftovers'.*try web-leftovers"):
        select_leftovers(candidates, [], "webb-leftovers", config())


def test_what_the_licence_keeps_out_is_never_asked_for(hostile: HostileWeb, harvest: Any, tmp_path: Path) -> None:
    path = tmp_path / "licensed.parquet"
    licences = {"free": "CC0-1.0", "nc": "CC-BY-NC-4.0", "none": None}
    rows = [
        {"candidateID": key, "accessURI": f"http://a.test/ok/{key}", "license": licence}
        for key, licence in licences.items()
    ]
    tables.write(rows, tables.CANDIDATES, path)
    output, settings = tmp_path / "download" / "web-000.manifest.parquet", config()
    for choice, kept in (("noncommercial", {"free", "nc"}), ("open", {"free"}), ("any", {"free", "nc", "none"})):
        settings["dataset"]["licenses"] = choice
        batches.fetch_batch(path, "web-000", output, settings)
        found = {row["candidateID"]: row for row in tables.read(output).to_pylist()}
        assert {key for key, row in found.items() if row["status"] == "success"} == kept
        assert {(row["status"], row["reason"]) for key, row in found.items() if key not in kept} <= {
            ("refused", "licence")
        }
    assert sorted(hostile.paths()) == ["/ok/free", "/ok/nc", "/ok/nc", "/ok/none"], "what a choice left out is let go"
