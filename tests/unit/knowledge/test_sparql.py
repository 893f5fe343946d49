"""The graph client believes only whole answers, waits when asked, and asks nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from servers import Answer, scripted_server

from kg2clip import web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.knowledge.sparql import Endpoint, iri, literal

TWO = {
    "head": {"vars": ["item"]},
    "results": {"bindings": [{"item": {"type": "uri", "value": f"x:{n}"}} for n in (1, 2)]},
}
JSON = {"Content-Type": "application/sparql-results+json"}


def whole() -> Answer:
    return 200, JSON, json.dumps(TWO).encode()


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make an endpoint that answers a list of scripted answers in turn, the last one for ever."""
    servers = []

    def make(*answers: Answer) -> tuple[Endpoint, list[str]]:
        waiting = list(answers)
        server = scripted_server(lambda path, body: waiting.pop(0) if len(waiting) > 1 else waiting[0])
        port, seen = server.__enter__()
        servers.append(server)
        monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
        return Endpoint("http://graph.test/query", "", tmp_path), seen

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    yield make
    for server in servers:
        server.__exit__(None, None, None)


def test_an_answer_is_kept_and_not_asked_again(endpoint, tmp_path: Path) -> None:
    graph, seen = endpoint(whole())
    assert [row["item"].value for row in graph.select("SELECT 1")] == ["x:1", "x:2"]
    assert graph.select("SELECT 1") == graph.select("SELECT 1")
    assert len(seen) == 1
    other = Endpoint(graph.url, "", tmp_path, snapshot="2026-11")
    other.select("SELECT 1")
    assert len(seen) == 2, "another snapshot asks anew"


@pytest.mark.parametrize(
    "broken",
    [
        (200, JSON, json.dumps(TWO).encode()[:60] + b"java.util.concurrent.TimeoutException\n\tat java.base"),
        (200, JSON, json.dumps(TWO).encode() + b"\n!!!!>># An error has occurred"),
        (502, {}, b'{"head": {'),
        (429, {"Retry-After": "1"}, b"Too many requests"),
        (200, {"Content-Type": "text/html"}, b"<html>Busy</html>"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_broken_answer_is_asked_again(endpoint, broken: Answer, streamed: bool) -> None:
    graph, seen = endpoint(broken, whole())
    rows = graph.stream("SELECT 1", expected=2) if streamed else graph.select("SELECT 1")
    assert len(rows) == 2
    assert len(seen) == 2


def test_for_ever_broken_is_incomplete_and_names_the_address(endpoint) -> None:
    graph, _ = endpoint((503, {}, b""))
    with pytest.raises(IncompleteError, match=r"http://graph\.test/query does not answer: status 503"):
        graph.select("SELECT 1")


def test_a_long_wait_is_left_to_the_user(endpoint) -> None:
    graph, _ = endpoint((429, {"Retry-After": "86400"}, b""))
    with pytest.raises(IncompleteError, match="asks to wait 86400 seconds"):
        graph.select("SELECT 1")


def test_fewer_rows_than_counted_are_refused(endpoint, tmp_path: Path) -> None:
    graph, _ = endpoint(whole())
    with pytest.raises(IncompleteError, match="gave 2 rows where its own count says 3"):
        graph.stream("SELECT 1", expected=3)
    assert not list(tmp_path.glob("*.json.gz")), "a refused answer is not kept"


def test_a_query_that_times_out_is_halved(endpoint) -> None:
    """QLever says a time-out with status 429 (QLever issue 2002): waiting would not help."""
    heavy = (429, {}, b"Operation timed out.")
    graph, seen = endpoint(heavy, whole())
    rows = list(graph.pages([f"http://x/{n}" for n in range(4)], 4, lambda values: f"SELECT {values}"))
    assert len(seen) == 3
    assert len(rows) == 4


def test_a_refused_query_is_an_error_with_the_servers_words(endpoint) -> None:
    graph, _ = endpoint((400, {}, b"Invalid SPARQL query: Token 'SELEC'"))
    with pytest.raises(UserError, match="status 400: Invalid SPARQL query"):
        graph.select("SELEC")


def test_an_endpoint_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": "127.0.0.1:9"}))
    with pytest.raises(IncompleteError, match=r"http://graph\.test/query does not answer: connection refused"):
        Endpoint("http://graph.test/query", "", tmp_path).select("SELECT 1")


def test_a_public_endpoint_needs_a_contact(tmp_path: Path) -> None:
    with pytest.raises(web.RefusedError, match="Set contact:"):
        Endpoint("https://qlever.dev/api/wikidata", "", tmp_path).select("SELECT 1")


@pytest.mark.parametrize(
    "text", ["O'Brien's", 'say "x"', "back\\slash", "two\nlines", "a}b", "\u202eabc", 'x" . ?s ?p ?o']
)
def test_literals_keep_what_they_hold(text: str) -> None:
    quoted = literal(text)
    assert json.loads(quoted.replace("\\'", "'")) == text, "SPARQL's escapes are those of JSON here"
    assert "\n" not in quoted


def test_no_injection_through_an_iri() -> None:
    with pytest.raises(UserError):
        iri("http://x/> . ?s ?p ?o")


def test_recorded_answers_of_qlever_and_wdqs_parse(samples: Path, endpoint) -> None:
    recorded = (samples / "qlever" / "select_unbound.sparql-results.json").read_bytes()
    graph, _ = endpoint((200, JSON, recorded))
    assert graph.select("SELECT 1") == [{}], "one row, nothing bound"
    recorded = (samples / "qlever" / "select_integers.sparql-results.json").read_bytes()
    graph, _ = endpoint((200, JSON, recorded))
    assert len(graph.stream("SELECT 2", expected=3)) == 3
    recorded = (samples / "wikidata" / "sparql_rank_labels.json").read_bytes()
    graph, _ = endpoint((200, JSON, recorded))
    rows = graph.select("SELECT 3")
    assert {row["l"].language for row in rows} >= {"en"}
