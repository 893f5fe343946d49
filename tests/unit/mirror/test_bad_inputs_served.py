"""Each thing of ../shared/bad-inputs.md that a server or a picture can do has a stable URL in docs/mirror.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BAD_INPUTS = ROOT.parent / "shared" / "bad-inputs.md"

# What the list says, and the words of docs/mirror.md under which it is served.
SERVERS = {
    "Spaces, non-ASCII path, IDN host, `%2520`, fragment, comma, `;`, 4,000-character URL, `data:`, `file:///etc/hostname`, `http://169.254.169.254/`": [
        "| spaces, non-ASCII, %2520, comma, ;, fragment |",
        "| IDN host |",
        "| 4,000-character URL |",
        "| data: |",
        "`file:///etc/hostname`",
        "`http://169.254.169.254/",
    ],
    "HTML with status 200 and image/jpeg type; 0 bytes; gzip body; wrong Content-Length; chunked body cut": [
        "| HTML with status 200 and type image/jpeg |",
        "`http://faults.mirror.test/empty/",
        "| gzip body, said so |",
        "| gzip body, not said so",
        "| Content-Length too long |",
        "| Content-Length too short",
        "| chunked body cut |",
    ],
    "Endless stream, 1 byte per second, stalled TLS": [
        "| endless stream |",
        "| 1 byte per second |",
        "| stalled TLS |",
    ],
    "Redirect loop, 11 redirects, redirect to placeholder (`photo_unavailable.png`)": [
        "| redirect loop |",
        "| 11 redirects |",
        "| redirect to a placeholder",
    ],
    "Host that answers 429 after 20 requests, 403 for browser-like agents, 503 for an hour": [
        "| 429 after 20 requests |",
        "| 403 for browser-like agents",
        "| 503 for an hour |",
    ],
    "robots.txt disallow; X-Robots-Tag noai / noml": ["| robots.txt disallows |", "| X-Robots-Tag noai, noml"],
    "DNS failure of one host; all hosts down": ["| host that does not exist |", "| `down` |"],
}
PICTURES = {
    "Truncated JPEG at 30/60/90 %; garbage after the end marker; JPEG named .png": [
        *(f"| truncated JPEG, {percent} % |" for percent in (30, 60, 90)),
        "| garbage after the end marker |",
        "| JPEG named .png |",
    ],
    "Animated GIF/WebP, SVG, AVIF, HEIC, JPEG XL, multi-page TIFF, PDF": [
        "| animated GIF |",
        "| animated WebP |",
        "| SVG |",
        "| AVIF |",
        "| HEIC |",
        "| JPEG XL, bare |",
        "| multi-page TIFF |",
        "| PDF |",
    ],
    "1x1, 5000x3, 30000x30000 one-bit PNG (bomb), 40,000 px panoramas": [
        "| 1x1 |",
        "| 5000x3 |",
        "| 30000x30000 one-bit PNG (bomb) |",
        "| 40,000 px panorama |",
    ],
    "Plain white or black image (hash quality), 300 near-equal frames of one camera trap": [
        "| plain white |",
        "| plain black |",
        "| camera trap, 300 frames |",
    ],
}
GRAPHS = {
    "WDQS JSON cut after 40 % with Java trace and status 200": [
        "| JSON cut after 40 % with a Java trace and status 200"
    ],
    'QLever 429 "Operation timed out"': ['| 429 "Operation timed out"'],
    "HTTP 429 with Retry-After as seconds, as date, absent, and 86400; 403 HTML page; 502 with partial TSV": [
        "| 429 with Retry-After as seconds, as date, absent |",
        "| 429 with Retry-After 86400 |",
        "| 403 HTML page |",
        "| 502 with partial TSV |",
    ],
}
SERVED = {**SERVERS, **PICTURES, **GRAPHS}


@pytest.fixture(scope="module")
def listed() -> dict[str, list[str]]:
    """The list's lines, without bullets and what must happen, by section."""
    if not BAD_INPUTS.exists():
        pytest.skip("../shared/bad-inputs.md is not on this machine")
    sections: dict[str, list[str]] = {}
    for line in BAD_INPUTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("**"):
            lines = sections.setdefault(line.strip("*"), [])
        elif line.startswith("- "):
            lines.append(line.removeprefix("- ").split(" -> ")[0])
    return sections


def test_every_line_on_servers_and_pictures_is_known_here(listed: dict[str, list[str]]) -> None:
    lines = [*listed["URLs and servers"], *listed["Images"]]
    assert len(lines) == len(SERVERS) + len(PICTURES)
    for known in (*SERVERS, *PICTURES):
        assert any(line.startswith(known) for line in lines), known
    for known in GRAPHS:
        assert any(line.startswith(known) for line in listed["Names and graph"]), known


@pytest.mark.parametrize("line", SERVED)
def test_what_it_names_is_served_and_documented(line: str) -> None:
    page = (ROOT / "docs" / "mirror.md").read_text(encoding="utf-8")
    for words in SERVED[line]:
        rows = [row for row in page.splitlines() if words in row]
        assert rows, words
        assert any(re.search(r"`(https?|data|file):|\| `\w+` \|", row) for row in rows), f"{words}: no address"
