"""Search results with the texts of the web at their worst, in the shape of Commons' answers.

Any search finds the same file pages, so that queries of several taxa find the same pictures. Two phrases are special:
a search for `nothing` finds nothing, and one for `stock` finds 5,000 pages that all say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_LIMIT = 50
STOCK = 5000
LICENCES = "http://creativecommons.org/licenses"


@dataclass(frozen=True)
class Wording:
    """One file page.

    Attributes:
        name: what is wrong.
        description: HTML, as the page says it.
        clean: what must be made of it; None for nothing.
        license: short name and URL, as the page says them.
        spdx: what must be made of these.
    """

    name: str
    description: str
    clean: str | None
    license: tuple[str, str] = ("CC BY-SA 4.0", f"{LICENCES}/by-sa/4.0/")
    spdx: str = "CC-BY-SA-4.0"


def _licensed(name: str, short: str, link: str, spdx: str) -> Wording:
    return Wording(f"licence: {name}", f"A picture under {name}", f"A picture under {name}", (short, link), spdx)


WORDINGS: list[Wording] = [
    Wording("only a file name", "DSC_0042.JPG", "DSC 0042"),  # useless as a caption: the dataset stage's matter
    Wording("only a raw file's name", "017A7339.NEF", "017A7339"),
    Wording("twice escaped", "Robin &amp;amp; nest", "Robin & nest"),
    Wording("numeric entity", "Robin&#39;s nest", "Robin's nest"),
    Wording("tags", "<b>Robin</b> on a <a href='//x.test/'>fence</a>", "Robin on a fence"),
    Wording("script", "Robin <script>alert(1)</script>", "Robin"),
    Wording("mojibake", "Robin at a cafÃ©", "Robin at a café"),
    Wording("lone surrogate", "Robin \ud83d here", "Robin ? here"),
    Wording("byte order mark", "\ufeffRobin", "Robin"),
    Wording("NUL", "Ro\x00bin", "Robin"),
    Wording("zero-width joiner", "Ro\u200dbin", "Robin"),  # it stays where it joins emoji
    Wording("zero-width space", "Ro\u200bbin", "Robin"),
    Wording("emoji", "Robin 🐦 in 🏳️‍🌈 light", "Robin 🐦 in 🏳️‍🌈 light"),
    Wording("right-to-left override", "Robin \u202egpj.nibor", "Robin gpj.nibor"),
    Wording("decomposed letters", "Cafe\u0301 robin", "Café robin"),
    Wording("composed letters", "Café robin", "Café robin"),
    Wording("10,000 characters", "robin " * 1667, ("robin " * 83).strip()),
    Wording("only white space", " \t\n\u00a0 ", None),
    Wording("empty", "", None),
    _licensed("a short name with hyphens", "CC-BY-NC 4.0", "", "CC-BY-NC-4.0"),
    _licensed("a link to the legal code", "", f"{LICENCES}/by-nc/4.0/legalcode", "CC-BY-NC-4.0"),
    _licensed("all rights reserved", "© all rights reserved", "", "all-rights-reserved"),
    _licensed("nothing at all", "", "", "unknown"),
    _licensed("the word unspecified", "unspecified", "", "unknown"),
    _licensed("free text in Spanish", "Se permite el uso con fines educativos, citando al autor", "", "unknown"),
]


def answer(parameters: Mapping[str, str], pictures: str) -> dict[str, Any]:
    """The answer to an API request; `pictures` is where the pictures' addresses begin."""
    text = parameters.get("gsrsearch", "")
    if "nothing" in text:
        return {"batchcomplete": ""}
    stock = "stock" in text
    total = STOCK if stock else len(WORDINGS)
    offset = int(parameters.get("gsroffset", "0"))
    end = min(total, offset + min(MAX_LIMIT, int(parameters.get("gsrlimit", "10"))))
    numbers = range(offset, end)
    pages = {str(number + 1): _stock(number, pictures) if stock else _worded(number, pictures) for number in numbers}
    found: dict[str, Any] = {"batchcomplete": "", "query": {"pages": pages}}
    if end < total:
        found["continue"] = {"gsroffset": end, "continue": "gsroffset||"}
    return found


def _worded(number: int, pictures: str) -> dict[str, Any]:
    return _page(number, f"Wording {number:02d}.jpg", WORDINGS[number], f"{pictures}/wording-{number:02d}.jpg")


def _stock(number: int, pictures: str) -> dict[str, Any]:
    return _page(number, f"Stock {number:04d}.jpg", Wording("stock", "Image", "Image"), f"{pictures}/{number:04d}.jpg")


def _page(number: int, title: str, wording: Wording, url: str) -> dict[str, Any]:
    short, link = wording.license
    said = {"ImageDescription": wording.description, "LicenseShortName": short, "LicenseUrl": link}
    metadata = {key: {"value": value} for key, value in said.items()}
    info = {"url": url, "thumburl": url, "mime": "image/jpeg", "extmetadata": metadata}
    return {"pageid": number + 1, "ns": 6, "title": f"File:{title}", "index": number + 1, "imageinfo": [info]}
