"""Texts from the web: made clean once, the useless ones told apart.

In: what a source says. Out: what a person would read, on one line. Rules with their reasons: docs/sources.md, "Texts".
"""

from __future__ import annotations

import html
import re
import unicodedata

import ftfy

MAX_CHARACTERS = 500  # a text encoder reads 32 to 77 tokens
MAX_RAW = 50_000  # characters of a page's source that are looked at: enough for any caption
ROUNDS = 3  # &amp;amp; and a file's name in a file's name are seen, deeper nesting is an attack or an accident

_NESTED = re.compile(r"&(?:amp;|#0*38;|#x0*26;)+", re.IGNORECASE)  # &amp;amp;amp; of any depth is one sign
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
# Commons hides what is meant for Wikidata: label QS:Len,"Night in Nice", artist QS:P170,Q41406.
_HIDDEN = re.compile(
    r"<(\w+)\b[^<>]*\bstyle\s*=\s*[\"'][^\"'<>]*\bdisplay\s*:\s*none\b[^<>]*>.*?(?:</\1\s*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|dl|dd|dt|tr|td|th|table|h[1-6]|hr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
# Each address is begun once, so that a long text without any takes no time.
_MAIL = re.compile(r"[\[(<]?\s?(?:mailto:)?(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+\s?[\])>]?")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # control, format (zero width, bidi), surrogate, private, none
_SPACES = frozenset("\t\n\r\v\f\x85\u2800\u115f\u1160\u3164\uffa0")  # the last ones are letters that nobody sees
# Zero-width joiners mean something between the signs of an emoji and in scripts from Arabic to Burmese, nowhere else.
_JOINERS = frozenset("\u200c\u200d")
_JOINED = "[\u0600-\u109f\u2190-\u2bff\ufe0f\U0001f000-\U0001fbff]"
_IDLE_JOINER = re.compile(rf"(?<!{_JOINED})[\u200c\u200d]+|[\u200c\u200d]+(?!{_JOINED})")
_SUSPICIOUS = re.compile("[<&@]")  # of what needs mending nothing else is printable ASCII
_PICTURE_FILE = re.compile(
    r"^(?:(?:file|image)\s*:\s*)?(?P<stem>.+?)\.(?:jpe?g|jpe|jfif|jp2|jxl|png|gif|webp|tiff?|bmp|avif|heic|heif|svg|psd"
    r"|nef|cr[23w]|arw|dng|raf|orf|rw2|pef|srw|mov|mp4|avi|3gp)(?:[?#]\S*)?$",
    re.IGNORECASE,
)
_FOLDER = re.compile(r"^(?:[a-zA-Z]:)?[\\/](?!/)|\\")  # /uploads/2019/robin, C:\Pictures\robin


def clean(text: object) -> str | None:
    """Make a text from the web readable; None where nothing is left, and for what is no text (null, a number).

    HTML entities are decoded, tags stripped, mojibake mended (ftfy), control, zero-width and direction characters and
    e-mail addresses removed, Unicode composed (NFC), white space collapsed; `File:Some_name.jpg` becomes `Some name`;
    the text is cut at 500 characters, between words where it can.
    """
    if not text or not isinstance(text, str):
        return None
    text = text[:MAX_RAW]
    if not (text.isascii() and text.isprintable()) or _SUSPICIOUS.search(text):  # most texts have nothing to mend
        text = _mend(text)
    text = " ".join(text.split())
    for _ in range(ROUNDS):
        if not (match := _PICTURE_FILE.match(text)):
            break
        text = _stem(match["stem"])
    return _cut(unicodedata.normalize("NFC", text)) or None


def _mend(text: str) -> str:
    for _ in range(ROUNDS):
        text, before = html.unescape(_NESTED.sub("&", text)), text
        if text == before:
            break
    text = _visible(text)  # before the tags, since a tag may be hidden by what nobody sees
    for _ in range(ROUNDS):  # a tag may stand within another one
        text, before = _HIDDEN.sub(" ", _UNSEEN.sub(" ", text)), text
        text = _TAG.sub("", _BREAK.sub(" ", text))  # a break parts words, <b> does not
        if text == before:
            break
    return _IDLE_JOINER.sub("", _MAIL.sub(" ", " ".join(text.split())))


def _visible(text: str) -> str:
    # Slides have vertical tabs between lines; ftfy takes them out and joins the words.
    mended = ftfy.fix_text(text.replace("\v", " "), unescape_html=False, normalization="NFC")
    shown = "".join(map(_shown, mended))
    if len(shown) < len(mended):  # what was hidden within mojibake kept it from being seen
        shown = ftfy.fix_text(shown, unescape_html=False, normalization="NFC")
    return _IDLE_JOINER.sub("", shown)


def _shown(sign: str) -> str:
    if sign in _SPACES:
        return " "
    hidden = (unicodedata.category(sign) in _INVISIBLE and sign not in _JOINERS) or sign == "\ufffd"
    return "" if hidden else sign


def _stem(name: str) -> str:
    if _FOLDER.search(name):
        name = re.split(r"[\\/]", name)[-1]
    return " ".join(name.replace("_", " ").split())


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    space = text.rfind(" ", MAX_CHARACTERS // 2, MAX_CHARACTERS + 1)  # some scripts have hardly any
    return text[: space if space > 0 else MAX_CHARACTERS]


_SEPARATOR = re.compile(r"\s+[-–—·»:]+\s+|\s*\|\s*")
_SHORTEST_SITE = 3  # letters


def without_site(title: str | None, host: str | None) -> str | None:
    """A page's title without the name of its site: `Erithacus rubecula - Wikipedia` on en.wikipedia.org.

    What stands behind the last separator is the site's name when the host holds all its words.
    """
    if not title or not host:
        return title
    rest, tail = max(((match.start(), match.end()) for match in _SEPARATOR.finditer(title)), default=(0, 0))
    words = re.findall(r"\w+", title[tail:].casefold())
    if len("".join(words)) < _SHORTEST_SITE or not all(word in host.replace(".", "") for word in words):
        return title
    return title[:rest] or None


_CAMERA = re.compile(
    r"^(dscn?f?|_?mg|img|imag|image|mvi|pict?|picture|p|photo|sam|sany|cimg|dji|gopr|gx|pxl|hpim|kif|wp|scan|screenshot|file)?"
    r"[\s_-]*\d[\d\s_.()-]*(edit(ed)?|copy|crop(ped)?|(?<=\d)[a-z]{1,3})?[\s_.()\d-]*$",
    re.IGNORECASE,
)
_CODE = re.compile(r"^(?=(?:\D*\d){4})[A-Za-z0-9_-]{6,}$")  # one token with at least four digits: 017A7339, P1010234
_ADDRESS = re.compile(
    r"(https?://|www\.)\S+|(?<![\w.-])[\w-]+(\.[\w-]+)*\.(com|org|net|edu|gov|info|de|uk|fr)(/\S*)?(?=\s|$)",
    re.IGNORECASE,
)
_LICENCE = re.compile(
    r"all rights reserved|licen[sc]ed under|creative commons|\bcc[ -](by|0|zero)\b|public domain|gnu free documentation"
    r"|^\s*(©|\(c\)|copyright\b)|\bown work\b",
    re.IGNORECASE,
)
LICENCE_LENGTH = 100  # a longer text that speaks of its licence says something else too
IDENTIFIER = re.compile(r"^(?:wd:)?Q\d+$", re.IGNORECASE)
_GENERIC = re.compile(
    r"(a|alt|an|and|at|available|banner|by|caption|click|default|description|download|enlarge|file|for|free|full|gallery"
    r"|here|icon|images?|img|in|jpe?g|large|logo|main|media|nan|no|none|null|of|on|original|photo(graph(s|y)?|s)?|pic"
    r"|pictures?|placeholder|png|preview|royalty|screenshot|size|stock|text|the|this|thumb(nail)?|title|to|undefined"
    r"|unknown|unnamed|untitled|view|with|zoom|am|pm|figure|screen|shot|whatsapp|read|more"
    r"|share|loading|not|found|page|slide|ads?|advertisement|banner|object"
    # What phones and programs put before and behind a number.
    r"|burst|cop(y|ia|ie)|crop(ped)?|e|edit(ed)?|fb|hdr|imag|img|kopie|von|mp|pano|px|pxl|received|vid|x"
    # The same in other languages.
    r"|bild(er)?|foto(s|grafie)?|fotograf[ií]as?|im[aá]gen(es)?|imagem|immagin[ei]|obraz|zdjęcie|afbeelding|kép|ohne|titel"
    r"|sin|t[ií]tulo|sem|sans|titre|senza|titolo|изображение|фото(графия)?|без|названия|图片|圖片|照片|图像|画像|写真|사진|이미지"
    # Agencies and sites that number their pictures.
    r"|adobestock|alamy|depositphotos|dreamstime|facebook|flickr|getty(images)?|instagram|istock(photo)?|pexels|pinterest"
    r"|pixabay|shutterstock|unsplash"
    # What cameras write into every picture: SONY DSC, OLYMPUS DIGITAL CAMERA, KODAK Digital Still Camera, Exif_JPEG
    r"|cameras?|canon|casio|dcim|digital|dsc|exif|kodak|konica|minolta|nikon|olympus|panasonic|ricoh|samsung|sony|still)"
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
