"""What hosts ask of programs like ours: robots.txt and the headers X-Robots-Tag and tdm-reservation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from kg2clip.web import AGENT

TOKEN = AGENT.split("/")[0]  # the name by which a host may address us
# `none` is short for noindex, nofollow in the vocabulary that search engines use.
OPT_OUT = frozenset({"noai", "noimageai", "noindex", "noimageindex", "noml", "none"})
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_NAMED = re.compile(r"([\w*.-]+)\s*:\s*(.*)", re.DOTALL)
LONGEST_DELAY = 120.0  # seconds of Crawl-delay; who asks for more does not want to be harvested
_RULES = frozenset({"allow", "disallow", "crawl-delay"})


def opts_out(headers: Iterable[str]) -> bool:
    """Whether values of X-Robots-Tag ask us to leave a picture alone.

    A value is a list of directives. A name before a colon addresses one program from there to the end of the value,
    unless it is a directive that has a value itself: `noindex, unavailable_after: 25 Jun 2030` addresses everybody.
    """
    return any(_asks_us(value) for value in headers)


def reserves_mining(headers: Iterable[str]) -> bool:
    """Whether values of tdm-reservation keep the right to text and data mining (W3C's TDM Reservation Protocol: 1)."""
    return any(value.strip() == "1" for value in headers)


def _asks_us(value: str) -> bool:
    addressee = "*"
    for part in value.lower().split(","):
        directive = part.strip()
        match = _NAMED.fullmatch(directive)
        if match and match[1] not in _VALUED:
            addressee, directive = match[1], match[2].strip()
        if addressee in ("*", TOKEN) and directive in OPT_OUT:
            return True
    return False


class Robots:
    """A robots.txt, read and judged as RFC 9309 says: all groups for us together, wildcards, the longest rule wins.

    The reader of the standard library raises at odd lines and knows neither wildcards nor the longest rule. This one
    takes any text, and no rule becomes a pattern: one with many wildcards must not take longer than its length.
    """

    def __init__(self, text: str) -> None:
        """Read the file's text."""
        lines = _lines_for_us(text)
        self.crawl_delay = max((_seconds(value) for key, value in lines if key == "crawl-delay"), default=0.0)
        rules = [(_Rule.of(value), key == "allow") for key, value in lines if key != "crawl-delay" and value]
        self._wild = [(rule, allowed) for rule, allowed in rules if not rule.is_plain()]
        self._plain: dict[str, bool] = {}  # looked up, since a file may hold 40,000 of them
        for rule, allowed in rules:
            if rule.is_plain():
                self._plain[rule.pieces[0]] = allowed or self._plain.get(rule.pieces[0], False)
        self._lengths = {len(start) for start in self._plain}

    def allows(self, url: str) -> bool:
        """Whether we may fetch a URL of this host."""
        if self.crawl_delay > LONGEST_DELAY:
            return False
        if not self._plain and not self._wild:
            return True
        parts = urlsplit(url)
        path = _canonical(f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/")
        starts = (path[:length] for length in self._lengths)
        matching = [(len(start), self._plain[start]) for start in starts if start in self._plain]
        matching += [(rule.length(), allowed) for rule, allowed in self._wild if rule.matches(path)]
        return max(matching, default=(0, True))[1]  # of two equally long rules the allowing one


class _Rule(NamedTuple):
    """A path with wildcards: what stands between its stars, and whether it holds to the end ($)."""

    pieces: tuple[str, ...]
    anchored: bool

    @classmethod
    def of(cls, value: str) -> _Rule:
        first, *others = value.removesuffix("$").split("*")
        return cls(tuple(map(_canonical, [first, *filter(None, others[:-1]), *others[-1:]])), value.endswith("$"))

    def is_plain(self) -> bool:
        return len(self.pieces) == 1 and not self.anchored

    def length(self) -> int:
        return sum(map(len, self.pieces)) + len(self.pieces) - 1 + self.anchored

    def matches(self, path: str) -> bool:
        first, *others = self.pieces
        if not path.startswith(first):
            return False
        if not others:
            return not self.anchored or path == first
        place = len(first)
        *middle, last = others
        for piece in middle:
            if (found := path.find(piece, place)) < 0:
                return False
            place = found + len(piece)
        return path.endswith(last, place) if self.anchored else path.find(last, place) >= 0


def _lines_for_us(text: str) -> list[tuple[str, str]]:
    """The rules and delays of the groups that name us, else of those for everybody, as (key, value)."""
    lines: dict[str, list[tuple[str, str]]] = {}
    named: set[str] = set()  # those of us and everybody that the present group names
    naming = False  # names in a row share a group; a blank line, or another kind of line, ends none
    for line in text.removeprefix("\ufeff").splitlines():
        key, _, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        key = key.lower()
        if key == "user-agent":
            named = named if naming else set()
            naming = True
            if (agent := value.split("/")[0].strip().lower()) in (TOKEN, "*"):
                named.add(agent)
                lines.setdefault(agent, [])
        elif key in _RULES:
            naming = False
            for agent in named:
                lines[agent].append((key, value))
    return lines.get(TOKEN, lines.get("*", []))


def _canonical(path: str) -> str:
    """A path in one spelling of its percent signs."""
    return quote(unquote_to_bytes(path))


def _seconds(value: str) -> float:
    return float(value) if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value) else 0.0
