"""The Brave client: documented answers are read, names are not mended, and the key stays where it belongs."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from servers import Answer, scripted_server

from kg2clip import tables, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.search.brave import BraveImages, read_results, search_text
from kg2clip.search.source import Answers

SECRET = "BSA-secret/key+1"
WANTED = {"api": "http://brave.test/res/v1/images/search", "per_query": 200}
# In the documented form (../shared/samples/README.md); no real answer was at hand.
ANSWER: dict[str, Any] = {
    "type": "images",
    "query": {"original": "Turdus merula", "spellcheck_off": True},
    "results": [
        {
            "type": "image_result",
            "title": "Common blackbird &amp; <b>nest</b>",
            "url": "https://birds.example/blackbird",
            "source": "birds.example",
            "page_fetched": "2025-09-04T12:11:34Z",
            "thumbnail": {"src": "https://imgs.search.brave.com/1", "width": 200, "height": 150},
            "properties": {
                "url": "https://birds.example/1.jpg",
                "placeholder": "https://p.example",
                "width": 800,
                "height": 600,
            },
            "confidence": "high",
        },
        {"type": "image_result", "properties": {"url": "https://birds.example/2.jpg", "width": 10**12, "height": "7"}},
        {"type": "image_result", "title": "no picture", "url": "https://birds.example/3", "properties": {}},
        {"type": "image_result", "title": 7, "url": None, "thumbnail": None},
    ],
    "extra": {"might_be_offensive": False},
}


def query(text: str = "Turdus merula") -> dict[str, Any]:
    return {"queryID": "q", "entityID": "wd:Q1", "kind": "noun", "text": text, "name": text}


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("BRAVE_API_KEY", f" {SECRET}\n")
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def at(port: int) -> None:
        monkeypatch.setenv(web.RESOLVE, json.dumps({host: f"127.0.0.1:{port}" for host in ("brave.test", "evil.test")}))

    return at


def test_documented_answers_are_read() -> None:
    hits = read_results(ANSWER)
    tables.as_table([{"queryID": "q", "entityID": "e", "rank": 0, **hit} for hit in hits], tables.HITS)
    first, second = (
        {key: value for key, value in hit.items() if key not in ("candidateID", "retrieved")} for hit in hits
    )
    assert {name: value for name, value in first.items() if value is not None} == {
        "source": "brave", "sourceID": "https://birds.example/1.jpg", "accessURI": "https://birds.example/1.jpg",
        "originalURI": "https://birds.example/1.jpg", "furtherInformationURL": "https://birds.example/blackbird",
        "title": "Common blackbird & nest", "width": 800, "height": 600,
        "license": "unknown",
    }  # fmt: skip
    assert (second["title"], second["furtherInformationURL"], second["width"], second["height"]) == (
        None,
        None,
        None,
        7,
    )
    assert read_results({"type": "images", "results": []}) == read_results({}) == []


def test_a_query_is_asked_once_unmended_and_without_offset(tmp_path: Path, serve) -> None:
    with scripted_server(lambda path, _: (200, {}, json.dumps(ANSWER).encode())) as (port, seen):
        serve(port)
        (page,) = BraveImages(WANTED).pages(query(), Answers(tmp_path, "", 1000))
        assert len(page) == 2 and len(seen) == 1
        list(BraveImages(WANTED).pages(query(), Answers(tmp_path, "", 1000)))
    assert len(seen) == 1, "the kept answer serves again"
    asked = parse_qs(urlsplit(seen[0].split(" ")[0]).query)
    assert asked == {"q": ["Turdus merula"], "count": ["100"], "spellcheck": ["false"], "safesearch": ["strict"]}


def test_queries_are_cut_to_the_limits_between_words() -> None:
    assert search_text("Turdus  merula") == "Turdus merula"
    assert len(search_text("word " * 60).split()) == 50
    long = search_text("abcdefghi " * 49 + "xx")
    assert len(long) <= 400 and long.endswith("abcdefghi")
    assert len(search_text("x" * 900)) == 400
    assert search_text("dunnock", ["Prunella modularis"], ["drawing"]) == 'dunnock OR "Prunella modularis" -drawing'
    many = search_text("dunnock", ["a b c d e f"] * 9, ["drawing"] * 60)
    assert len(many.split()) <= 50 and len(many) <= 400


def echo(status: int, headers: dict[str, str] | None = None) -> Any:
    """A server that says back the key that it was told."""
    text = json.dumps({"error": {"code": "SUBSCRIPTION_TOKEN_INVALID", "detail": f"token {SECRET}"}, "title": SECRET})
    return lambda path, body: (status, headers or {}, text.encode())


def everything(folder: Path) -> str:
    texts = [file.name for file in folder.rglob("*")]
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            texts.append((gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8", "replace"))
    return " ".join(texts)


def test_the_key_is_sent_and_is_nowhere_else(tmp_path: Path, serve, monkeypatch, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[Any] = []
    original = web.session

    def session(contact: str) -> Any:
        made = original(contact)
        send = made.send
        made.send = lambda request, **options: (
            told.append(request.headers.get("X-Subscription-Token")),
            send(request, **options),
        )[1]
        return made

    monkeypatch.setattr(web, "session", session)
    leaky = {**ANSWER, "results": [{**ANSWER["results"][0], "title": f"your key is {SECRET}"}]}
    with scripted_server(lambda path, _: (200, {}, json.dumps(leaky).encode())) as (port, seen):
        serve(port)
        (page,) = BraveImages(WANTED).pages(query(), Answers(tmp_path, "", 1000))
    assert told == [SECRET] and page[0]["title"] == "your key is ***"
    monkeypatch.setenv("BRAVE_API_KEY", "another key")
    list(BraveImages(WANTED).pages(query(), Answers(tmp_path, "", 1000)))  # the key is no part of the answer's name
    messages = []
    for answer, error in (
        (echo(422), UserError), (echo(200), UserError), (echo(429), IncompleteError), (echo(500), IncompleteError),
        (echo(302, {"Location": "http://evil.test/"}), UserError),
    ):  # fmt: skip
        monkeypatch.setenv("BRAVE_API_KEY", SECRET)
        with scripted_server(answer) as (port, seen):
            serve(port)
            with pytest.raises(error) as caught:
                list(BraveImages(WANTED).pages(query("Parus major"), Answers(tmp_path, "", 1000)))
            assert all("/res/v1/images/search" in request for request in seen), "no redirect is followed with a key"
        messages.append(str(caught.value))
    assert "SUBSCRIPTION_TOKEN_INVALID" in messages[0] and "***" in messages[0]
    for place in (everything(tmp_path), caplog.text, *messages, *seen):
        assert SECRET not in place and "another key" not in place


def test_without_a_key_nothing_is_asked(tmp_path: Path, serve, monkeypatch) -> None:
    def answer(path: str, body: bytes) -> Answer:
        raise AssertionError("nothing may be asked")

    with scripted_server(answer) as (port, seen):
        serve(port)
        with pytest.raises(UserError, match="no https address"):
            unsafe = {**WANTED, "api": "http://elsewhere.test/search"}
            list(BraveImages(unsafe).pages(query(), Answers(tmp_path, "", 1000)))
        monkeypatch.delenv("BRAVE_API_KEY")
        with pytest.raises(UserError, match="set the environment variable BRAVE_API_KEY"):
            list(BraveImages(WANTED).pages(query(), Answers(tmp_path, "", 1000)))
    assert seen == [] and not list(tmp_path.iterdir())
