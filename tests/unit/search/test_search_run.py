"""Entities are searched in the right order, until each has enough, and what comes out does not depend on the threads."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kg2clip import settings, tables
from kg2clip.errors import IncompleteError, UserError
from kg2clip.identifiers import candidate_id
from kg2clip.search.order import searches
from kg2clip.search.run import MAX_FAILURES, Found, Queries, Search, search_source
from kg2clip.search.source import Answers, Hit, Query, QueryRefusedError, Source


class Numbers(Source):
    """A source that has, for the text `a 7`, the seven pictures a/0 to a/6, three a page."""

    name = "numbers"

    def __init__(self, delay: float = 0.0, fail: str = "", error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._delay, self._fail, self._error = delay, fail, error
        self._threads: set[int] = set()
        self._lock = threading.Lock()

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        with self._lock:
            self.asked.append(query["text"])
        time.sleep(self._delay * random.random())
        if self._error and query["text"].startswith(self._fail):
            raise self._error
        word, count = query["text"].split()
        hits = [hit(f"{word}/{number}") for number in range(int(count))]
        for start in range(0, len(hits), 3):
            yield hits[start : start + 3]


def hit(picture: str) -> Hit:
    return {
        "candidateID": candidate_id("numbers", picture), "source": "numbers", "sourceID": picture,
        "accessURI": f"http://p.test/{picture}",
    }  # fmt: skip


def query(entity: str, text: str, kind: str = "noun", name: str = "scientific") -> dict[str, Any]:
    return {
        "queryID": f"{entity}:{text}",
        "entityID": entity,
        "kind": kind,
        "text": text,
        "name": text,
        "nameKind": name,
    }


def ask(
    source: Source, queries: list, folder: Path, found: dict | None = None, enough: int = 100, **more: Any
) -> Search:
    return Search(source, queries, Answers(folder, "", 1000), more.pop("per_query", 50), enough, found or {}, **more)


def test_synonyms_and_attributes_only_where_names_gave_too_little(tmp_path: Path) -> None:
    queries = [
        query("e", "attribute 9", "attribute-noun", "vernacular"), query("e", "synonym 9", name="synonym"),
        query("e", "common 4", name="vernacular"), query("e", "name 2"),
    ]  # fmt: skip
    for enough, asked in ((2, 1), (5, 2), (7, 3), (16, 4)):
        source = Numbers()
        list(ask(source, queries, tmp_path, enough=enough))
        assert source.asked == ["name 2", "common 4", "synonym 9", "attribute 9"][:asked]


def test_a_query_stops_paging_when_its_entity_has_enough(tmp_path: Path) -> None:
    (hits,) = ask(Numbers(), [query("e", "a 9")], tmp_path, enough=4)
    assert [row["sourceID"] for row in hits] == [f"a/{number}" for number in range(6)], "the page is taken whole"
    (hits,) = ask(Numbers(), [query("e", "a 9")], tmp_path, per_query=4)
    assert [row["rank"] for row in hits] == [0, 1, 2, 3]


def test_pictures_that_others_found_count_once_and_are_links_still(tmp_path: Path) -> None:
    source = Numbers()
    found = {"e": {"p.test/a/0", "p.test/a/1"}}
    (hits,) = ask(source, [query("e", "a 3"), query("e", "b 9")], tmp_path, found, enough=4)
    assert [row["sourceID"] for row in hits][:3] == ["a/0", "a/1", "a/2"] and source.asked == ["a 3", "b 9"]
    assert list(ask(Numbers(), [query("e", "a 3")], tmp_path, {"e": set("abcd")}, enough=4)) == [[]]


def test_rare_entities_come_first(tmp_path: Path) -> None:
    source = Numbers()
    queries = [query(entity, f"{entity} 1") for entity in ("rich", "unknown", "famous", "rare")]
    fame = {"famous": 90, "rare": 2, "rich": 1, "unknown": None}
    list(ask(source, queries, tmp_path, {"rich": {"x"}}, fame=fame))
    assert source.asked == ["unknown 1", "rare 1", "famous 1", "rich 1"]


def test_threads_change_neither_hits_nor_order(tmp_path: Path) -> None:
    draw = random.Random(7)
    queries = [query(f"e{number:03d}", f"w{draw.randint(0, 20)} {draw.randint(0, 9)}") for number in range(200)]
    one = search_source(Numbers(), queries, Answers(tmp_path, "", 1000), 50, 5, {})
    for _ in range(3):
        assert search_source(Numbers(0.003), queries, Answers(tmp_path, "", 1000), 50, 5, {}, connections=8) == one
    assert [row["entityID"] for row in one] == sorted(row["entityID"] for row in one)


def test_a_refused_query_does_not_stop_the_others(tmp_path: Path) -> None:
    queries = [query("a", "a 2"), query("b", "b 2"), query("c", "c 2")]
    search = ask(Numbers(fail="b", error=QueryRefusedError("status 400: odd")), queries, tmp_path)
    assert [len(hits) for hits in search] == [2, 0, 2]
    assert "1 of 3 entities" in (search.missing() or "") and "status 400: odd (1)" in (search.missing() or "")
    with pytest.raises(IncompleteError, match="1 of 3 entities"):
        search_source(
            Numbers(fail="b", error=IncompleteError("down")), queries, Answers(tmp_path, "", 1000), 50, 50, {}
        )


def test_after_many_failures_a_source_is_left_alone_and_kept_answers_serve_still(tmp_path: Path) -> None:
    queries = [query(f"e{number:03d}", f"b{number} 2") for number in range(100)]
    search = ask(Numbers(fail="b", error=IncompleteError("does not answer")), queries, tmp_path)
    closed = []
    for _ in search:
        closed.append(search._answers.closed is not None)
    assert closed.index(True) == MAX_FAILURES - 1 and len(closed) == 100
    assert search.failures.total() == 100


def test_a_mistake_stops_at_once(tmp_path: Path) -> None:
    source = Numbers(0.01, fail="e0", error=UserError("no key"))
    with pytest.raises(UserError, match="no key"):
        list(ask(source, [query(f"e{number}", f"e{number} 1") for number in range(300)], tmp_path, connections=2))
    assert len(source.asked) < 150


def test_queries_are_a_sequence_and_keep_their_order() -> None:
    queries = Queries.of([query("b", "x 1"), query("a", "y 1", "attribute"), query("a", "z 1", name="synonym")])
    assert len(queries) == 3 and [row["text"] for row in queries] == ["z 1", "y 1", "x 1"]
    assert queries[0]["text"] == "z 1" and queries[-1]["entityID"] == "b" and len(queries[1:]) == 2
    assert Queries.of(queries) is queries and len(Queries.of([])) == 0


def test_what_earlier_searches_found(tmp_path: Path) -> None:
    rows = [{"entityID": "e", "pictureKey": key} for key in ("a", "b", "a")]
    tables.write(rows, tables.HITS, tmp_path / "a.hits.parquet")
    tables.write([{"entityID": "f", "pictureKey": "c"}], tables.HITS, tmp_path / "b.hits.parquet")
    found = Found([tmp_path / "a.hits.parquet", tmp_path / "b.hits.parquet"])
    assert dict(found) == {"e": {"a", "b"}, "f": {"c"}} and found.get("g") is None
    assert len(Found([])) == 0


def test_attributes_are_tried_after_all_sources_were_asked_by_names() -> None:
    config = settings.complete(
        {
            "project": "x",
            "knowledge": {"roots": ["x"]},
            "search": {"sources": {"commons": {}, "gbif": {}, "brave": {}}},
        },
        "test",
    )
    assert searches(config) == ["commons", "gbif", "brave", "commons-attributes", "brave-attributes"]
    config["search"]["sources"]["commons"]["attributes"] = False
    assert searches(config) == ["commons", "gbif", "brave", "brave-attributes"]
    config["queries"]["kinds"] = ["noun"]
    assert searches(config) == ["commons", "gbif", "brave"]
