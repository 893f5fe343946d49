"""The graph client believes only whole answers, waits when asked, and asks nothing twice."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from servers import Answer, oxigraph, raw_server, scripted_server

from kg2clip import web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.knowledge import sparql
from kg2clip.knowledge.sparql import Endpoint, Term, iri, literal

TWO = {
    "head": {"vars": ["item"]},
    "results": {"bindings": [{"item": {"type": "uri", "value": f"x:{n}"}} for n in (1, 2)]},
}
JSON = {"Content-Type": "application/sparql-results+json"}


def whole() -> Answer:
    return 200, JSON, json.dumps(TWO).encode()


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that the client waited, which pass at once."""
    return []


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]):
    """Make an endpoint that answers a list of scripted answers in turn, the last one for ever."""
    servers = []

    def make(*answers: Answer) -> tuple[Endpoint, list[str]]:
        waiting = list(answers)
        server = scripted_server(lambda path, body: waiting.pop(0) if len(waiting) > 1 else waiting[0])
        port, seen = server.__enter__()
        servers.append(server)
        monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
        return Endpoint("http://graph.test/query", "", tmp_path), seen

    monkeypatch.setattr("time.sleep", pauses.append)
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
        (502, {"Content-Type": "text/tab-separated-values"}, b"?item\n<x:1>\n<x:2"),
        (429, {"Retry-After": "1"}, b"Too many requests"),
        (200, {"Content-Type": "text/html"}, b"<html>Busy</html>"),
        (200, {**JSON, "Content-Length": "100000", "Connection": "close"}, json.dumps(TWO).encode()),
        (200, JSON, b'{"status": "ERROR", "exception": "out of memory", "resultsize": 0}'),
        (200, JSON, b""),
        (200, JSON, b"[]"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_broken_answer_is_asked_again(endpoint, broken: Answer, streamed: bool) -> None:
    graph, seen = endpoint(broken, whole())
    rows = list(graph.stream("SELECT 1", expected=2)) if streamed else graph.select("SELECT 1")
    assert len(rows) == 2
    assert len(seen) == 2


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        "x",
        {"item": None},
        {"item": {"value": "x:1"}},
        {"item": {"type": "uri"}},
        {"item": {"type": "uri", "value": 5}},
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_rows_of_another_form_are_told(endpoint, row: object, streamed: bool) -> None:
    graph, _ = endpoint((200, JSON, json.dumps({"head": {}, "results": {"bindings": [row]}}).encode()))
    with pytest.raises(IncompleteError, match="has the form of SPARQL JSON, but not its rows"):
        list(graph.stream("SELECT 1", expected=1)) if streamed else graph.select("SELECT 1")


@pytest.mark.parametrize("body", [b"[" * 200_000, b"<head" * 200_000, b"a" * 900_000])
@pytest.mark.parametrize("status", [200, 500, 400])
def test_an_answer_that_is_built_to_take_time_takes_none(endpoint, body: bytes, status: int) -> None:
    graph, _ = endpoint((status, {}, body))
    started = time.monotonic()
    with pytest.raises(UserError):
        graph.select("SELECT 1")
    assert time.monotonic() - started < 5


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


@pytest.mark.parametrize(
    "header, waits",
    [
        ("7", 7),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True), 30),
        (lambda: format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True), 0),
        (None, sparql.PAUSE),
        ("soon", sparql.PAUSE),
    ],
)
def test_it_waits_as_long_as_the_server_asks(endpoint, pauses: list[float], header, waits: float) -> None:
    value = header() if callable(header) else header
    graph, _ = endpoint((429, {"Retry-After": value} if value else {}, b"Too many requests"), whole())
    graph.select("SELECT 1")
    assert pauses == [pytest.approx(waits, abs=2)]


BLAZEGRAPH = (
    b"SPARQL-QUERY: queryStr=SELECT 1\njava.util.concurrent.TimeoutException\n\tat java.base/java.util.concurrent"
)


@pytest.mark.parametrize(
    "heavy",
    [
        (429, {}, b'{"exception": "Operation timed out."}'),
        (500, {}, BLAZEGRAPH),
        (504, {}, b"<html><h1>504 Gateway Time-out</h1></html>"),
        (413, {}, b""),
        (200, JSON, json.dumps(TWO).encode()[:60] + BLAZEGRAPH),
    ],
)
def test_what_ran_out_of_time_is_halved_and_not_waited_for(endpoint, pauses: list[float], heavy: Answer) -> None:
    graph, seen = endpoint(heavy, whole())
    assert len(list(graph.pages([f"http://x/{n}" for n in range(4)], 4, lambda values: f"SELECT {values}"))) == 4
    assert (len(seen), pauses) == (3, [])


def test_what_cannot_be_halved_is_asked_twice_and_then_left_to_the_user(endpoint) -> None:
    graph, seen = endpoint((429, {}, b"Operation timed out."))
    for ask in (graph.select, lambda query: graph.stream(query, expected=2), graph.count):
        seen.clear()
        with pytest.raises(
            IncompleteError, match=r"gives up on a query: .*timed out\. Run the same command later, name"
        ):
            ask("SELECT 1")
        assert len(seen) == 2
    with pytest.raises(IncompleteError, match="gives up on a query"):
        list(graph.pages(["http://x/1", "http://x/2"], 2, lambda values: f"SELECT {values}"))


def test_too_large_an_answer_is_halved(endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparql, "MAX_PAGE", 1000)
    graph, seen = endpoint((200, JSON, b" " * 1001), whole())
    assert len(list(graph.pages(["http://x/1", "http://x/2"], 2, lambda values: f"SELECT {values}"))) == 4
    assert len(seen) == 3


def test_an_engine_that_cuts_answers_at_a_round_number_is_found_out(tmp_path: Path, monkeypatch) -> None:
    """As Virtuoso does at 10,000 rows: valid JSON, status 200, and no word about it."""

    def answer(path: str, body: bytes) -> Answer:
        query = parse_qs(body.decode())["query"][0]
        rows = 8000 * query.count("<http://x/")
        if "COUNT" in query:
            return 200, JSON, json.dumps(table([{"count": {"type": "literal", "value": str(rows)}}])).encode()
        return 200, JSON, json.dumps(table([{"item": {"type": "uri", "value": "x:1"}}] * min(rows, 10000))).encode()

    with scripted_server(answer) as (port, _):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
        graph = Endpoint("http://graph.test/query", "", tmp_path)
        items = [f"http://x/{n}" for n in range(4)]
        assert (
            len(list(graph.pages(items, 4, lambda values: f"SELECT ?item {{ VALUES ?item {{ {values} }} }}"))) == 32000
        )


def table(bindings: list) -> dict:
    return {"head": {"vars": ["item"]}, "results": {"bindings": bindings}}


def test_a_page_of_html_is_told_in_words(endpoint) -> None:
    page = b"<html><head><title>x</title><style>p {}</style></head><body><h1>Forbidden</h1><p>Your agent is blocked</p></body></html>"
    graph, seen = endpoint((403, {"Content-Type": "text/html"}, page))
    with pytest.raises(UserError) as error:
        graph.select("SELECT 1")
    assert "status 403: Forbidden Your agent is blocked. Check contact:" in str(error.value)
    assert len(seen) == 1, "a refusal is not asked again"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_address_that_moved_is_named(endpoint, status: int) -> None:
    """Followed blindly, a POST becomes a GET without a query."""
    graph, _ = endpoint((status, {"Location": "https://qlever.dev/api/wikidata"}, b""))
    with pytest.raises(UserError, match=r"has moved\. Set knowledge\.endpoint: https://qlever\.dev/api/wikidata"):
        graph.select("SELECT 1")


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"", lambda content: b"{" + content])
def test_a_damaged_kept_answer_is_asked_anew(endpoint, tmp_path: Path, damage) -> None:
    graph, seen = endpoint(whole())
    graph.select("SELECT 1")
    list(graph.stream("SELECT 2", expected=2))
    for path in tmp_path.glob("*.json.gz"):
        path.write_bytes(damage(path.read_bytes()))
    assert len(graph.select("SELECT 1")) == len(list(graph.stream("SELECT 2", expected=2))) == 2
    assert len(seen) == 4


def test_a_contradicted_count_is_asked_anew_with_its_rows(endpoint) -> None:
    """The graph has changed between the two: a kept count would contradict every later answer."""
    three = json.dumps(table([{"count": {"type": "literal", "value": "3"}}])).encode()
    two = three.replace(b'"3"', b'"2"')
    graph, _ = endpoint((200, JSON, three), whole(), (200, JSON, two), whole())
    with pytest.raises(IncompleteError, match="both are asked anew"):
        graph.stream("SELECT 1", expected=graph.count("x"))
    assert len(list(graph.stream("SELECT 1", expected=graph.count("x")))) == 2


def test_the_record_tells_queries_rows_and_dates(endpoint) -> None:
    graph, _ = endpoint(whole())
    list(graph.pages([f"http://x/{n}" for n in range(2)], 1, lambda values: f"SELECT {values}"))
    list(graph.stream("SELECT 2", expected=2))
    pages, stream = graph.record()
    assert (pages["query"], pages["answers"], pages["rows"]) == ("SELECT ...", 2, 4)
    assert (stream["query"], stream["answers"], stream["rows"]) == ("SELECT 2", 1, 2)
    assert pages["first"] <= pages["last"] <= stream["last"]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_drips_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1\r\n \r\n")
            time.sleep(0.02)

    monkeypatch.setattr(sparql, "DEADLINE", 0.2)
    patient = web.with_retries
    monkeypatch.setattr(web, "with_retries", lambda call, what, **_: patient(call, what, attempts=1))
    with raw_server(drip) as port:
        graph = Endpoint(f"http://127.0.0.1:{port}/query", "", tmp_path)
        with pytest.raises(IncompleteError, match="its answer takes longer than"):
            graph.stream("SELECT 1", expected=1) if streamed else graph.select("SELECT 1")
    assert not list(tmp_path.iterdir()), "nothing of it is kept"


def test_an_endpoint_on_this_machine_needs_neither_contact_nor_permission(tmp_path: Path) -> None:
    with scripted_server(lambda path, body: whole()) as (port, _):
        assert len(Endpoint(f"http://127.0.0.1:{port}/query", "", tmp_path).select("SELECT 1")) == 2
        assert len(Endpoint(f"http://localhost:{port}/query", "", tmp_path).select("SELECT 1")) == 2


TEXTS = [
    "O'Brien's",
    "Rosa 'Peace'",
    'say "x"',
    "back\\slash",
    "\\u0022 . ?s ?p ?o #",
    "\\",
    "two\nlines\r\tand a tab",
    "a}b{c",
    'x" } # ?s',
    "\u05d7\u05ea\u05d5\u05dc \u202eabc",
    "知更鸟",
    "\U0001f426",
    "<b>&amp;</b>",
]


def test_texts_come_back_from_the_engine_as_they_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a real engine: nothing that a text holds ends its literal, and nothing is lost in the answer."""
    names = " ".join(
        f"<http://x/{number}> <http://x/name> {literal(text, 'en')} ." for number, text in enumerate(TEXTS)
    )
    with oxigraph(tmp_path, f"{names} <http://x/odd> <http://x/name> [] .") as port:
        monkeypatch.setenv(web.RESOLVE, json.dumps({"graph.test": f"127.0.0.1:{port}"}))
        graph = Endpoint("http://graph.test/query", "", tmp_path / "answers")
        for number, text in enumerate(TEXTS):
            assert graph.select(f"SELECT ?s {{ ?s <http://x/name> {literal(text, 'en')} }}") == [
                {"s": Term(f"http://x/{number}")}
            ]
            assert graph.select(f"SELECT ?t {{ <http://x/{number}> <http://x/name> ?t }}") == [{"t": Term(text, "en")}]
        assert graph.select("SELECT ?t { <http://x/odd> <http://x/name> ?t }") == [{}], "a blank node has no name"


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_signs_that_no_query_may_hold_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="holds a sign that no text has"):
        literal(text)


QLEVER = {
    "select_iri": [{"o": Term("http://qlever.com/o")}],
    "select_plain_literal": [{"o": Term("something")}],
    "select_integers": [{"o": Term(number)} for number in ("-42019234865781", "42", "4012934858173560")],
    "select_two_variables": [{"p": Term("p"), "o": Term("o")}],
    "select_unbound": [{}],  # one row, nothing bound
}


@pytest.mark.parametrize("name, rows", QLEVER.items())
@pytest.mark.parametrize("streamed", [False, True])
def test_recorded_answers_of_qlever_parse(samples: Path, endpoint, name: str, rows: list, streamed: bool) -> None:
    recorded = (samples / "qlever" / f"{name}.sparql-results.json").read_bytes()
    graph, _ = endpoint((200, JSON, recorded))
    assert (list(graph.stream("SELECT", len(rows))) if streamed else graph.select("SELECT")) == rows


@pytest.mark.parametrize("status, error", [(200, IncompleteError), (400, UserError)])
def test_a_recorded_error_of_qlever_is_no_answer(samples: Path, endpoint, status: int, error: type) -> None:
    graph, _ = endpoint((status, JSON, (samples / "qlever" / "error.json").read_bytes()))
    with pytest.raises(error, match="error message" if status == 400 else "no whole SPARQL JSON"):
        graph.select("SELECT")


def test_recorded_answers_of_wikidata_parse(samples: Path, endpoint) -> None:
    recorded = (samples / "wikidata" / "sparql_rank_labels.json").read_bytes()
    graph, _ = endpoint((200, JSON, recorded))
    rows = graph.select("SELECT")
    assert len(rows) == 70
    species = {row["l"].language: row["l"].value for row in rows if row["i"].value.endswith("/Q7432")}
    assert (species["en"], species["pt"]) == ("species", "espécie")
    graph, _ = endpoint((200, JSON, (samples / "wikidata" / "sparql_optional_variables.json").read_bytes()))
    (row,) = graph.select("SELECT OPTIONAL")
    assert len(row) == 12, "of 15 variables 3 are unbound"
    assert row["label"] == Term("Tarzan", "fr") and row["duration"] == Term("94")
