"""The page of config keys says what the schema says, of every key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import document_config
from kg2clip import settings

KEYWORDS = {
    "$schema", "title", "type", "description", "default", "properties", "additionalProperties", "propertyNames", "required", "items",
    "enum", "const", "anyOf", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "minLength", "minItems", "minProperties",
    "x-untracked",
}  # fmt: skip


def rules(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield place, schema
    for key, rule in schema.get("properties", {}).items():
        yield from rules(rule, f"{place}.{key}".lstrip("."))
    if isinstance(below := schema.get("additionalProperties"), dict) and below.get("type") == "object":
        yield from rules(below, f"{place}.NAME")


RULES = dict(rules(settings.read_schema()))


def test_the_page_is_drawn_from_the_schema() -> None:
    said = document_config.PAGE.read_text(encoding="utf-8")
    assert said == document_config.page(), "write it anew: python scripts/document_config.py"


def test_every_key_has_a_row_or_a_heading() -> None:
    page = document_config.page()
    for place, rule in RULES.items():
        if place and (rule.get("properties") or isinstance(rule.get("additionalProperties"), dict)):
            assert f"# {place}\n" in page or f"| `{place.split('.')[-1]}` |" in page, place
        elif place:
            assert f"| `{place.split('.')[-1]}` |" in page, place


def test_no_meaning_was_cut_by_a_sign_of_yaml() -> None:
    # An unquoted " #" ends a description, and a comma in braces makes another key of its rest.
    for place, rule in RULES.items():
        assert set(rule) <= KEYWORDS, f"{place}: {set(rule) - KEYWORDS}"
        if not place.endswith("NAME") and place:
            assert rule["description"].rstrip().endswith((".", ".zip", "/v1.")), f"{place}: {rule['description']}"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "whole number, 1 to 9"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number, more than 0, 1 at most"),
        ({"type": ["number", "null"], "minimum": 0.5, "maximum": 1}, "number or `null`, 0.5 to 1"),
        ({"enum": ["open", "any"]}, "`open` or `any`"),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1}, "list of `a`, `b`, one at least"),
        ({"anyOf": [{"const": "any"}, {"type": "array", "items": {"type": "string"}}]}, "`any`, or list (text)"),
    ],
)
def test_limits_are_said_in_words(rule: dict[str, Any], words: str) -> None:
    assert document_config.limits(rule) == words
