"""docs/sources.md: the worked example runs as it stands, and every source of the config is described."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from servers import scripted_server

from kg2clip import settings, tables, web
from kg2clip.errors import UserError
from kg2clip.search.run import SOURCES, search_source
from kg2clip.search.source import Answers

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")


def query(name: str) -> dict[str, Any]:
    return {"queryID": name, "entityID": name, "kind": "noun", "name": name, "nameKind": "scientific"}


def test_the_example_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert example
    module: dict[str, Any] = {}
    exec(example[1], module)
    first = {
        "id": 7,
        "image": "http://museum.test/7.jpg",
        "url": "http://museum.test/7",
        "title": "<i>Apis</i> &amp; hive",
    }
    second = {**first, "id": 8, "rights": "CC BY 4.0", "photographer": "Jane Doe", "label": "a drone"}
    pages = {"1": {"items": [first], "next": 2}, "2": {"items": [second], "next": None}}

    def answer(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps(pages[parse_qs(urlsplit(path).query)["page"][0]]).encode()

    with scripted_server(answer) as (port, seen):
        monkeypatch.setenv(web.RESOLVE, json.dumps({"museum.test": f"127.0.0.1:{port}"}))
        source, answers = module["Museum"]({"api": "http://museum.test/search"}), Answers(tmp_path, "", 1000)
        rows = search_source(source, [query("Apis")], answers, 200, 200, {})
        assert [(row["sourceID"], row["title"], row["license"], row["caption"]) for row in rows] == [
            ("7", "Apis & hive", "unknown", None),
            ("8", "Apis & hive", "CC-BY-4.0", "a drone"),
        ]
        tables.as_table(rows, tables.HITS)
        assert search_source(source, [query("Apis")], answers, 200, 200, {}) == rows and len(seen) == 2
        with pytest.raises(UserError, match="500 calls"):
            search_source(source, [query(f"Apis {number}") for number in range(501)], answers, 200, 200, {})


def test_every_source_has_a_line_a_place_in_the_schema_and_its_own_name() -> None:
    schema = settings.read_schema()["properties"]["search"]["properties"]["sources"]["properties"]
    described = set(re.findall(r"^\| `([a-z]+)` \|", TEXT, re.MULTILINE)) - {"name"}
    assert set(SOURCES) == set(schema) <= described
    needed = {"path": "x", "folder": "x"}
    for name, make in SOURCES.items():
        content = {key: needed[key] for key in schema[name].get("required", [])}
        config = settings.complete(
            {"project": "t", "knowledge": {"roots": ["x"]}, "search": {"sources": {name: content}}}, "t"
        )
        assert make(config["search"]["sources"][name], []).name == name


def test_the_columns_of_a_table_are_those_of_the_program() -> None:
    from kg2clip.search.own import COLUMNS

    for column in COLUMNS:
        assert f"`{column}`" in TEXT, column
