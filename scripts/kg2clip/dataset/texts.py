"""Texts from the web made clean, and the useless ones among them found."""

from __future__ import annotations

import html
import re
import unicodedata

import ftfy

MAX_LENGTH = 500  # characters; a text encoder reads 32 to 77 tokens
ENTITY_ROUNDS = 3  # &amp;amp;lt; happens; more rounds would read what an author wrote about entities

_UNSEEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"</?(br|p|div|li|ul|ol|td|tr|th|table|h[1-6]|hr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_PICTURE_FILE = re.compile(
    r"^\s*(?:(?:file|image)\s*:\s*)?(?P<stem>.+?)\.(?:jpe?g|png|gif|webp|tiff?|bmp|avif|heic|svg|nef|cr2|arw|dng|raf)\s*$",
    re.IGNORECASE,
)


def clean(text: str | None) -> str:
    """Make a text from the web readable; empty where nothing is left.

    HTML entities are decoded (three times at most), tags stripped, mojibake mended, control, zero-width and direction
    characters removed, Unicode composed (NFC), white space collapsed; `File:Some_name.jpg` becomes `Some name`; the
    text is cut at 500 characters, between words where it can.
    """
    if not text:
        return ""
    for _ in range(ENTITY_ROUNDS):
        decoded = html.unescape(text)
        if decoded == text:
            break
        text = decoded
    text = _UNSEEN.sub(" ", text)
    text = _TAG.sub("", _BREAK.sub(" ", text))
    text = ftfy.fix_text(text, unescape_html=False, normalization="NFC")
    text = " ".join(_without_invisible(text).split())
    if match := _PICTURE_FILE.match(text):
        text = " ".join(match["stem"].replace("_", " ").split())
    return _cut(unicodedata.normalize("NFC", text))


def _without_invisible(text: str) -> str:
    """Drop control, format, surrogate and unassigned characters; line breaks and tabs become spaces."""
    return "".join(
        " " if letter in "\n\r\t\v\f\x85" else letter for letter in text if letter in "\n\r\t\v\f\x85" or _seen(letter)
    )


def _seen(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Cn", "Co") and letter != "\ufffd"


def _cut(text: str) -> str:
    if len(text) <= MAX_LENGTH:
        return text
    head, space, _ = text[: MAX_LENGTH + 1].rpartition(" ")
    return head if space else text[:MAX_LENGTH]


_CAMERA = re.compile(
    r"^(dscn?f?|_?mg|img|imag|image|mvi|pict?|picture|p|photo|sam|sany|cimg|dji|gopr|gx|pxl|hpim|kif|wp|scan|screenshot|file)?"
    r"[\s_-]*\d[\d\s_.()-]*(edit(ed)?|copy|crop(ped)?|(?<=\d)[a-z]{1,3})?[\s_.()\d-]*$",
    re.IGNORECASE,
)
_CODE = re.compile(r"^(?=(?:\D*\d){4})[A-Za-z0-9_-]{6,}$")  # one token with at least four digits: 017A7339, P1010234
_ADDRESS = re.compile(
    r"(https?://|www\.)\S+|\b[\w-]+(\.[\w-]+)*\.(com|org|net|edu|gov|info|de|uk|fr)(/\S*)?(?=\s|$)", re.IGNORECASE
)
_LICENCE = re.compile(
    r"all rights reserved|licen[sc]ed under|creative commons|\bcc[ -](by|0|zero)\b|public domain|gnu free documentation"
    r"|^\s*(©|\(c\)|copyright\b)|\bown work\b",
    re.IGNORECASE,
)
LICENCE_LENGTH = 100  # a longer text that speaks of its licence says something else too
IDENTIFIER = re.compile(r"^Q\d+$")
_GENERIC = re.compile(
    r"(a|alt|an|and|at|available|banner|by|caption|click|default|description|download|enlarge|file|for|free|full|gallery"
    r"|here|icon|images?|img|in|jpe?g|large|logo|main|media|nan|no|none|null|of|on|original|photo(graph(s|y)?|s)?|pic"
    r"|pictures?|placeholder|png|preview|royalty|screenshot|size|stock|text|the|this|thumb(nail)?|title|to|undefined"
    r"|unknown|unnamed|untitled|view|with|zoom)"
)


def useless(text: str) -> str | None:
    """Why a cleaned text says nothing about its picture, or None where it may.

    Returns:
        empty, identifier, no-letters, file-name, url, generic or licence.
    """
    if not text:
        return "empty"
    if IDENTIFIER.match(text):
        return "identifier"
    if _CAMERA.match(text) or _CODE.match(text):
        return "file-name" if any(map(str.isalpha, text)) else "no-letters"
    if not any(map(str.isalpha, text)):
        return "no-letters"
    if not any(map(str.isalpha, _ADDRESS.sub("", text))):
        return "url"
    if all(_GENERIC.fullmatch(word) for word in re.findall(r"[^\W\d_]+", text.casefold())):
        return "generic"
    if len(text) <= LICENCE_LENGTH and _LICENCE.search(text):
        return "licence"
    return None
