"""What bytes are, by their first bytes: servers name types wrongly."""

from __future__ import annotations

import re

# (offset, bytes, media type); longer evidence first.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00", "image/tiff"),
    (0, b"MM\x00+", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftyphei", "image/heic"),
    (4, b"ftyphev", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (4, b"ftypmsf1", "image/heic"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"BM", "image/bmp"),
)
_TEXT_START = b"\xef\xbb\xbf \t\r\n"
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body|script|title|meta|div|p|h1)\b", re.IGNORECASE)
_SVG = re.compile(rb"<svg\b", re.IGNORECASE)

_EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/tiff": "tif",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/jxl": "jxl",
    "image/jp2": "jp2",
    "image/bmp": "bmp",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
}


def sniff(body: bytes) -> str | None:
    """The media type that the bytes show, or None if they show nothing known."""
    for offset, magic, media_type in _MAGIC:
        if body.startswith(magic, offset):
            return media_type
    start = body[:1024].lstrip(_TEXT_START)
    if _HTML.match(start):
        return "text/html"
    if start.startswith((b"<?xml", b"<!--", b"<!DOCTYPE", b"<svg")):
        return "image/svg+xml" if _SVG.search(start) else "text/xml"
    return None


def media_type(body: bytes, declared: str) -> str:
    """The media type of a body: what its bytes show, else what the server declared, without parameters."""
    return sniff(body) or declared.split(";")[0].strip().lower() or "application/octet-stream"


def may_be_image(kind: str) -> bool:
    """Whether a media type may hold a picture; only the decoder knows for sure."""
    return not (kind.startswith(("text/", "audio/", "video/")) or kind in ("application/json", "application/xhtml+xml"))


def extension(kind: str | None) -> str:
    """The extension of a tar member: jpg, png ..., bin for what is not known."""
    return _EXTENSIONS.get(kind or "", "bin")
