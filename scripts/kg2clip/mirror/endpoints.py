"""A SPARQL endpoint on a bad day: what public ones answer in place of rows, one address for each.

/TROUBLE/TIMES/query on `sparql.mirror.test` gives the trouble at the first TIMES attempts, then three rows, whatever
the query; /TROUBLE/ever/query never gives them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

HOST = "sparql.mirror.test"
ROWS = [{"item": {"type": "uri", "value": f"http://www.wikidata.org/entity/Q{number}"}} for number in (25334, 5113, 2)]
WHOLE = json.dumps({"head": {"vars": ["item"]}, "results": {"bindings": ROWS}}, indent=1).encode()
TRACE = b"""
SPARQL-QUERY: queryStr=SELECT ?item WHERE { ?item wdt:P31 wd:Q16521 }
java.util.concurrent.TimeoutException
\tat java.base/java.util.concurrent.FutureTask.get(FutureTask.java:204)
\tat com.bigdata.rdf.sail.webapp.BigdataServlet.submitApiTask(BigdataServlet.java:292)
"""
JSON, HTML, TSV = "application/sparql-results+json", "text/html", "text/tab-separated-values"
OPERATION_TIMED_OUT = b'{"exception": "Operation timed out.", "status": "ERROR", "resultsize": 0}'


@dataclass(frozen=True)
class Trouble:
    """What an endpoint does, where, and what must become of a query there."""

    name: str
    path: str
    fate: str

    @property
    def url(self) -> str:
        """The endpoint's address."""
        return f"http://{HOST}{self.path}"


AGAIN, LESS, WAITED = "rows, asked again", "rows, asked for less or again, without a wait", "rows, after the wait"
STOPPED, REFUSED = "stopped: asks to wait 86400 seconds", "refused: shuts us out"
TROUBLES = [
    Trouble("nothing: an ordinary endpoint", "/whole/0/query", "rows"),
    Trouble("JSON cut after 40 % with a Java trace and status 200 (WDQS)", "/java-trace/1/query", LESS),
    Trouble('429 "Operation timed out" (QLever)', "/timed-out/1/query", LESS),
    Trouble("502 with partial TSV", "/half-tsv/1/query", AGAIN),
    *(
        Trouble("429 with Retry-After as seconds, as date, absent", f"/429-{wait}/1/query", WAITED)
        for wait in ("seconds", "date", "absent")
    ),
    Trouble("429 with Retry-After 86400", "/429-day/ever/query", STOPPED),
    Trouble("403 HTML page", "/shut/ever/query", REFUSED),
]
ANSWERS = {  # status, media type, body
    "java-trace": (200, JSON, WHOLE[: len(WHOLE) * 40 // 100] + TRACE),
    "timed-out": (429, "application/json", OPERATION_TIMED_OUT),
    "half-tsv": (502, TSV, b"?item\n<http://www.wikidata.org/entity/Q25334>\n<http://www.wikid"),
    "shut": (403, HTML, b"<html><head><title>403</title></head><body>Too many requests from here.</body></html>"),
}


def answer(path: str, attempt: int, retry_after: Mapping[str, Callable[[], str | None]]) -> web.Response:
    """The answer to the nth attempt at a path; `retry_after` makes the header's values by their names in paths."""
    trouble, times, _ = path.strip("/").split("/")
    if times != "ever" and attempt > int(times):
        return web.Response(body=WHOLE, content_type=JSON)
    if trouble.startswith("429-"):
        wait = retry_after[trouble.removeprefix("429-")]()
        return web.Response(status=429, text="Too many requests", headers={"Retry-After": wait} if wait else {})
    status, media_type, body = ANSWERS[trouble]
    return web.Response(status=status, body=body, content_type=media_type)
