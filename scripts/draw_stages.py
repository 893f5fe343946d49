"""Draw docs/stages.svg, the picture of the stages, from the rules themselves.

    python scripts/draw_stages.py

In:  rules/*.smk. Out: docs/stages.svg: a row for each stage, a box for each rule with the file that it writes first, an
arrow where a rule reads what another writes. A test holds the picture against the rules. An arrow that only shortens a
way of others is left out (most rules read the entities), and so is the mirror, which belongs to the demo.
"""

from __future__ import annotations

import argparse
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kg2clip.errors import run_program
from kg2clip.files import write_text
from kg2clip.settings import ROOT

PICTURE = ROOT / "docs" / "stages.svg"
STAGES = ("knowledge", "queries", "search", "download", "curate", "dataset", "train", "evaluate", "report")
LEFT, WIDE, HIGH, GAP, ROW = 110, 315, 46, 40, 84  # pixels: labels, a box, between boxes, from row to row
STYLE = """text { font: 14px system-ui, sans-serif; fill: #1d2733 } .stage { font-weight: 600 }
.file { font-size: 11.5px; fill: #4a5868 } rect.box { fill: #ffffff; stroke: #2f6f4f; stroke-width: 1.5 }
rect.row { fill: #eef3ee }
path { fill: none; stroke: #2f6f4f; stroke-width: 1.5; marker-end: url(#tip) }"""


@dataclass(frozen=True)
class Rule:
    """A rule as its file writes it: paths below results/, wildcards in braces."""

    name: str
    stage: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def many(self) -> str:
        """The wildcards that it is run for, if there are any."""
        return ", ".join(dict.fromkeys(re.findall(r"{(\w+)}", self.writes[0])))


@dataclass(frozen=True)
class Place:
    """The upper left corner of a box."""

    x: int
    y: int


def main() -> None:
    """Write the picture."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_text(PICTURE, draw(read_rules()))


def read_rules(folder: Path = ROOT / "rules") -> list[Rule]:
    """All rules of the stages, in the order of the data."""
    return [rule for stage in STAGES for rule in _rules_of(stage, (folder / f"{stage}.smk").read_text())]


def _rules_of(stage: str, text: str) -> Iterator[Rule]:
    for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, re.MULTILINE):
        parts = dict(re.findall(r"^    (input|output):\n((?:        .*\n)+)", body, re.MULTILINE))
        paths = {part: tuple(re.findall(r'"<results>/([^"]+)"', lines)) for part, lines in parts.items()}
        yield Rule(name, stage, paths.get("input", ()), paths["output"])


def edges(rules: list[Rule]) -> list[tuple[str, str]]:
    """Who reads whom: pairs of writer and reader, without those that a longer way connects too."""
    writers = {path: rule.name for rule in rules for path in rule.writes}
    before = {rule.name: {writers[path] for path in rule.reads if path in writers} for rule in rules}

    def above(name: str) -> set[str]:
        return before[name].union(*map(above, before[name]))

    return [
        (one, name) for name in before for one in sorted(before[name]) if not any(one in above(b) for b in before[name])
    ]


def draw(rules: list[Rule]) -> str:
    """The picture as SVG."""
    places: dict[str, Place] = {}
    boxes = []
    for row, stage in enumerate(STAGES):
        y = 10 + row * ROW
        own = [rule for rule in rules if rule.stage == stage]
        boxes.append(f'<rect class="row" x="0" y="{y}" width="{_width(rules)}" height="{ROW - 14}" rx="6"/>')
        boxes.append(f'<text class="stage" x="12" y="{y + 40}">{stage}</text>')
        for column, rule in enumerate(own):
            places[rule.name] = Place(LEFT + column * (WIDE + GAP), y + 12)
            boxes += _box(rule, places[rule.name])
    arrows = [_arrow(places[one], places[other]) for one, other in edges(rules)]
    corner = f'x="{LEFT + WIDE + GAP}" y="{10 + ROW * len(STAGES) - 38}"'
    note = f'<text class="file" {corner}>Rules read earlier tables too; the report reads all.</text>'
    size = f'width="{_width(rules)}" height="{10 + ROW * len(STAGES)}"'
    box = f"0 0 {_width(rules)} {10 + ROW * len(STAGES)}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="{box}" role="img">'
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:#2f6f4f;stroke:none;marker-end:none"/></marker></defs>'
    )
    title = "<title>The rules of kg2clip by stage, and who reads what others write</title>"
    back = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, title, f"<style>{STYLE}</style>", tip, back, *boxes, *arrows, note, "</svg>", ""])


def _width(rules: list[Rule]) -> int:
    most = max(sum(rule.stage == stage for rule in rules) for stage in STAGES)
    return LEFT + most * (WIDE + GAP)


def _box(rule: Rule, place: Place) -> Iterator[str]:
    x, y = place.x, place.y
    if rule.many:
        yield f'<rect class="box" x="{x + 5}" y="{y - 5}" width="{WIDE}" height="{HIGH}" rx="5"/>'
    yield f'<rect class="box" x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="5"/>'
    each = f'<tspan class="file"> (each {html.escape(rule.many)})</tspan>' if rule.many else ""
    yield f'<text x="{x + 10}" y="{y + 19}">{html.escape(rule.name)}{each}</text>'
    yield f'<text class="file" x="{x + 10}" y="{y + 37}">{html.escape(rule.writes[0])}</text>'


def _arrow(one: Place, other: Place) -> str:
    """From box to box: sideways in a row, else down."""
    if one.y == other.y:
        return f'<path d="M{one.x + WIDE + 5} {one.y + HIGH // 2}H{other.x - 2}"/>'
    x0, y0, x1, y1 = one.x + WIDE // 2, one.y + HIGH, other.x + WIDE // 2, other.y - 7
    return f'<path d="M{x0} {y0}C{x0} {(y0 + y1) // 2} {x1} {(y0 + y1) // 2} {x1} {y1}"/>'


if __name__ == "__main__":
    run_program(main)
