"""Write docs/config.md, the page of every config key, from config/schema.yaml.

    python scripts/document_config.py

In:  config/schema.yaml. Out: docs/config.md. A test holds the page against the schema.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from kg2clip import settings
from kg2clip.errors import run_program
from kg2clip.files import write_text

PAGE = settings.ROOT / "docs" / "config.md"
INTRODUCTION = """# Every config key

<!-- Written by scripts/document_config.py from config/schema.yaml. Change that file, not this page. -->

Write only the keys that you want to change into `config/config.yaml`; every other key has its default. `a.b` is the key
`b` below the key `a`. A misspelt key, or a value out of its limits, stops the run at once and says what to type.

A change of a key re-runs the steps that depend on it. Keys marked *re-runs nothing* (addresses, contact, speed) only
count from the next request on. The keys of training recipes are explained in
[`config/recipes/demo.yaml`](../config/recipes/demo.yaml).
"""
KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "keys and values",
    "null": "`null`",
}

Schema = Mapping[str, Any]


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_text(PAGE, page())


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([INTRODUCTION, *section("", settings.read_schema())]).rstrip() + "\n"


def section(place: str, schema: Schema) -> Iterator[str]:
    """The keys of one object as a table, then the objects below it."""
    keys = properties(schema)
    needed = schema.get("required", ())
    rows = [row(key, rule, key in needed) for key, rule in keys.items() if not properties(rule)]
    if rows:
        yield from ("| key | meaning | default | may be |", "| --- | --- | --- | --- |", *rows, "")
    for key, rule in keys.items():
        if not properties(rule):
            continue
        name = f"{place}.{key}".lstrip(".")
        yield f"{'#' * min(2 + name.count('.'), 4)} {name}\n"
        if "description" in rule:
            yield f"{rule['description']}{' Needed.' if key in needed else ''}\n"
        if rule.get("default"):
            yield f"Default: {code(rule['default'])}\n"
        yield from section(name, rule)


def properties(schema: Schema) -> Schema:
    """The keys of an object; NAME stands for those that the user names. Empty for anything else."""
    if "properties" in schema:
        return dict(schema["properties"])
    below = schema.get("additionalProperties")
    return {"NAME": below} if isinstance(below, dict) and below.get("type") == "object" else {}


def row(key: str, rule: Schema, needed: bool) -> str:
    """A key as a line of the table."""
    meaning = rule.get("description", "") + (" *Re-runs nothing.*" if rule.get("x-untracked") else "")
    default = "needed" if needed else code(rule["default"]) if "default" in rule else "none"
    return f"| `{key}` | {cell(meaning)} | {cell(default)} | {cell(limits(rule))} |"


def limits(rule: Schema) -> str:
    """What a value may be, in words."""
    if "const" in rule:
        return code(rule["const"])
    if "enum" in rule:
        return " or ".join(map(code, rule["enum"]))
    if "anyOf" in rule:
        return ", or ".join(map(limits, rule["anyOf"]))
    types = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
    words = " or ".join(KINDS[kind] for kind in types)
    if "array" in types:
        return of(words, rule["items"]) + (", one at least" if rule.get("minItems") else "")
    if isinstance(rule.get("additionalProperties"), dict):
        return of(words, rule["additionalProperties"])
    return f"{words}{bounds(rule)}"


def of(words: str, below: Schema) -> str:
    """A list or mapping with what it holds."""
    return f"{words} of {', '.join(map(code, below['enum']))}" if "enum" in below else f"{words} ({limits(below)})"


def bounds(rule: Schema) -> str:
    """The limits of a number."""
    least, above, most = (rule.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    if least is not None and most is not None:
        return f", {least} to {most}"
    parts = [f"{least} or more"] if least is not None else [f"more than {above}"] if above is not None else []
    return "".join(f", {part}" for part in [*parts, *([f"{most} at most"] if most is not None else [])])


def code(value: Any) -> str:
    """A value as it is written in YAML."""
    if value == "":
        return "empty"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    run_program(main)
