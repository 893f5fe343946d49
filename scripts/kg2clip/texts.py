"""Texts from the web, made clean once: what a person would read, on one line, and nothing else."""

from __future__ import annotations

import html
import re
import unicodedata

import ftfy

MAX_CHARACTERS = 500
_UNESCAPES = 3  # &amp;amp; is seen, deeper nesting is an attack or an accident
_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|dl|dd|dt|tr|td|th|table|h[1-6]|hr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<(?:!--.*?--|/?[a-zA-Z][^<>]*)>", re.DOTALL)
_DROPPED_CATEGORIES = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Cn"}
)  # control, format (zero width, bidi), surrogates, private
_KEPT_SIGNS = frozenset({"\u200d"})  # joins emoji; removed below where it joins nothing


def clean(text: str | None) -> str | None:
    """Decode entities, strip tags, repair mojibake, drop invisible signs, normalise (NFC) and cut at 500 characters.

    None if nothing is left.
    """
    if not text:
        return None
    for _ in range(_UNESCAPES):
        text, before = html.unescape(text), text
        if text == before:
            break
    text = _TAG.sub("", _BREAK.sub(" ", text))  # a break parts words, <b> does not
    text = ftfy.fix_text(text.encode("utf-8", "replace").decode("utf-8"), normalization="NFC", unescape_html=False)
    text = "".join(_keep(sign) for sign in text)
    text = re.sub(r"\u200d(?![^\w\s])|(?<![^\w\s])\u200d", "", text)
    return " ".join(text.split())[:MAX_CHARACTERS].strip() or None


def _keep(sign: str) -> str:
    if sign in _KEPT_SIGNS:
        return sign
    if unicodedata.category(sign) in _DROPPED_CATEGORIES:
        return " " if sign in "\t\n\r\v\f" else ""
    return sign
