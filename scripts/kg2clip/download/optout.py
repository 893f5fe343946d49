"""What hosts ask of programs like ours: robots.txt and the header X-Robots-Tag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.robotparser import RobotFileParser

from kg2clip.web import AGENT

TOKEN = AGENT.split("/")[0]  # the name by which a host may address us
# `none` is short for noindex, nofollow in the vocabulary that search engines use.
OPT_OUT = frozenset({"noai", "noimageai", "noindex", "noimageindex", "noml", "none"})
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_NAMED = re.compile(r"([\w*.-]+)\s*:\s*(.*)", re.DOTALL)
_PERCENT = quote("*"), quote("$")


def opts_out(headers: Iterable[str]) -> bool:
    """Whether values of X-Robots-Tag ask us to leave a picture alone.

    A value is a list of directives. A name before a colon addresses one program from there to the end of the value,
    unless it is a directive that has a value itself: `noindex, unavailable_after: 25 Jun 2030` addresses everybody.
    """
    return any(_asks_us(value) for value in headers)


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
    """A robots.txt, judged as RFC 9309 says: all groups for us together, wildcards, the longest rule wins.

    The standard library reads the file; its own judgement knows neither wildcards nor the longest rule.
    """

    def __init__(self, text: str) -> None:
        """Read the file's text."""
        parser = RobotFileParser()
        # A blank line ends no group (RFC 9309), but it does for the parser of the standard library.
        parser.parse([line for line in text.removeprefix("\ufeff").splitlines() if line.strip()])
        entries: list[Any] = getattr(parser, "entries")  # noqa: B009  (not in the type stubs)
        everybody: Any = getattr(parser, "default_entry")  # noqa: B009
        groups = [entry for entry in entries if any(name.lower() == TOKEN for name in entry.useragents)]
        groups = groups or ([everybody] if everybody else [])
        self._rules = [(rule.path, rule.allowance) for group in groups for rule in group.rulelines if rule.path]
        delays = [float(group.delay) for group in groups if group.delay is not None]
        self.crawl_delay = max(delays, default=0.0)  # seconds between two requests

    def allows(self, url: str) -> bool:
        """Whether we may fetch a URL of this host."""
        if not self._rules:
            return True
        parts = urlsplit(url)
        path = quote(unquote(parts.path or "/")) + (quote(f"?{unquote(parts.query)}") if parts.query else "")
        matching = [(len(rule), allowed) for rule, allowed in self._rules if _matches(rule, path)]
        return max(matching, default=(0, True))[1]  # of two equally long rules the allowing one


def _matches(rule: str, path: str) -> bool:
    star, dollar = _PERCENT
    pattern = re.escape(rule.removesuffix(dollar)).replace(re.escape(star), ".*")
    return re.match(pattern + (r"\Z" if rule.endswith(dollar) else ""), path) is not None
