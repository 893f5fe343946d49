"""Bodies that a server compressed although it was asked for the bytes as they are stored (Accept-Encoding: identity).

aiohttp could decode them, but where it can't (brotli and zstd need packages of their own, what is announced as gzip may
be none) it calls the whole answer invalid HTTP, and it takes a gzip stream that was cut for a whole one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from kg2clip.download import media


class EncodingError(Exception):
    """A body that is compressed in a way that is not read here, or is damaged."""


class Decoder:
    """Takes one body's chunks and gives back what they hold, no more of it than is asked for."""

    def __init__(self, encodings: Sequence[str]) -> None:
        """`encodings` are the values of the header Content-Encoding.

        Raises:
            EncodingError: others than gzip and deflate, or several of them.
        """
        named = [name.strip().lower() for value in encodings for name in value.split(",")]
        wanted = [name for name in named if name not in ("", "identity")]
        if len(wanted) > 1 or not set(wanted) <= {"gzip", "x-gzip", "deflate"}:
            raise EncodingError(", ".join(wanted))
        self._announced = wanted[0] if wanted else None
        self._stream: zlib._Decompress | None = None

    def decode(self, chunk: bytes, most: int) -> bytes:
        """What the next chunk holds, up to `most` bytes; what is beyond them is lost.

        Raises:
            EncodingError: damaged, or something follows its end.
        """
        if self._announced:
            self._stream = _stream(self._announced, chunk)
            self._announced = None
        if self._stream is None:
            return chunk
        if self._stream.eof:
            raise EncodingError("more follows its end")
        try:
            return self._stream.decompress(chunk, most)
        except zlib.error as error:
            raise EncodingError(str(error)) from None

    def check_end(self) -> None:
        """Say that this was the last chunk.

        Raises:
            EncodingError: the compressed stream has no end.
        """
        if self._stream is not None and not self._stream.eof:
            raise EncodingError("the stream was cut")


def _stream(encoding: str, start: bytes) -> zlib._Decompress | None:
    """What decompresses a body that begins so; None if it is not compressed, whatever its server announced."""
    if media.sniff(start):
        return None
    if encoding != "deflate":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    has_header = start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0  # RFC 1950, 2.2
    return zlib.decompressobj(wbits=zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
