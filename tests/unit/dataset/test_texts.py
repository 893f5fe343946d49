"""Texts of the web: made clean, and the useless ones told apart."""

from __future__ import annotations

import pytest

from kg2clip.dataset.texts import MAX_LENGTH, clean, useless


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ""),
        ("  \n\t ", ""),
        ("Robin &amp;amp; nest", "Robin & nest"),
        ("the bird&#39;s nest", "the bird's nest"),
        ("&amp;lt;b&amp;gt;Robin&amp;lt;/b&amp;gt; here", "Robin here"),
        ("<b>Robin</b>s<br>in a <a href='x'>tree</a>", "Robins in a tree"),
        ("<p>one</p><p>two</p><script>alert(1)</script><!-- no -->", "one two"),
        ("wings < 3 mm and > 2 mm", "wings < 3 mm and > 2 mm"),
        ("cafÃ© au lait", "café au lait"),
        ("\ufeffRobin\x00 on\u200b a\u202e branch\ud800", "Robin on a branch"),
        ("cafe\u0301", "caf\u00e9"),
        ("a\u00a0b\u2003c\r\nd", "a b c d"),
        ("File:Bombus_terrestris_male.JPG", "Bombus terrestris male"),
        ("Rotkehlchen im Schnee.jpeg", "Rotkehlchen im Schnee"),
        ("\U0001f41d bee", "\U0001f41d bee"),
        ("طائر أبو الحناء", "طائر أبو الحناء"),
    ],
)
def test_clean(text: str | None, expected: str) -> None:
    assert clean(text) == expected
    assert clean(clean(text)) == expected


def test_long_texts_are_cut_between_words() -> None:
    cut = clean("word " * 2000)
    assert len(cut) <= MAX_LENGTH and cut.endswith("word")
    assert len(clean("x" * 10_000)) == MAX_LENGTH


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("DSC_0042.JPG", "file-name"),
        ("IMG 20190503", "file-name"),
        ("IMG_20190503_123456", "file-name"),
        ("017A7339.NEF", "file-name"),
        ("P1010234", "file-name"),
        ("DJI0001", "file-name"),
        ("Photo 3", "file-name"),
        ("20190503 (2)", "no-letters"),
        ("!!! ...", "no-letters"),
        ("https://example.org/a/b.html", "url"),
        ("www.example.org", "url"),
        ("Image", "generic"),
        ("stock photo", "generic"),
        ("Click to enlarge the image", "generic"),
        ("Untitled", "generic"),
        ("thumbnail", "generic"),
        ("© 2019 Jane Doe", "licence"),
        ("All rights reserved", "licence"),
        ("Licensed under CC BY-SA 4.0", "licence"),
        ("Own work", "licence"),
        ("Q25334", "identifier"),
        ("red fox", None),
        ("Bombus terrestris", None),
        ("Boeing 747", None),
        ("3 bees on a flower", None),
        ("A photo of a robin", None),
        ("Rotkehlchen", None),
        ("コマドリ", None),
        ("Great tit", None),
        (
            "A bee on clover, seen from above in a garden near the old mill in early summer; licensed under CC BY 4.0 by J. D.",
            None,
        ),
    ],
)
def test_useless(text: str, reason: str | None) -> None:
    assert useless(clean(text)) == reason
