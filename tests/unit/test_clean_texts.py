"""Texts from the web, cleaned once."""

import pytest

from kg2clip.texts import clean


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("Robin &amp;amp; nest", "Robin & nest"),
        ("&#39;dunnock&#39;", "'dunnock'"),
        ('<a href="x" class="extiw">Bombus</a> <b>terrestris</b><br/>', "Bombus terrestris"),
        ("<b>dunnock</b>, <i>Prunella</i>", "dunnock, Prunella"),
        ("one<br/>two<p>three</p>", "one two three"),
        ("cafÃ©", "café"),
        ("\ufeffred\u200b kite\u202e", "red kite"),
        ("a\x00b", "ab"),
        ("e\u0301", "é"),
        ("two\n lines\t", "two lines"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("Prunus × domestica", "Prunus × domestica"),
        ("שלום", "שלום"),
        ("x" * 10_000, "x" * 500),
        ("<!-- nothing --> \u00a0 ", None),
        ("", None),
        (None, None),
    ],
)
def test_clean(raw: str | None, read: str | None) -> None:
    assert clean(raw) == read


def test_lone_surrogates_do_not_break() -> None:
    assert clean("a\ud800b") == "a?b"


def test_cleaning_twice_changes_nothing() -> None:
    once = clean("&lt;i&gt;Apis&lt;/i&gt; cafÃ© \u200bx")
    assert once == clean(once) == "Apis café x"
