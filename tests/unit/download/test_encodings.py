"""Bodies that are compressed against our wish: read where that is simple, told where it is not, never kept in memory."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hostile import picture

from kg2clip.download.encoding import Decoder, EncodingError

BODY = picture("compressed")
GZIPPED = gzip.compress(BODY, mtime=0)  # without the time, so that every worker of pytest collects the same
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW_DEFLATE = RAW.compress(BODY) + RAW.flush()


def decode(encodings: list[str], body: bytes, size: int = 64 << 10, most: int = 1 << 20) -> bytes:
    decoder, found = Decoder(encodings), b""
    for start in range(0, len(body), size):
        found += decoder.decode(body[start : start + size], most + 1 - len(found))
        if len(found) > most:
            return found
    decoder.check_end()
    return found


@pytest.mark.parametrize("size", [2, 1000, 64 << 10])
@pytest.mark.parametrize(
    ("encodings", "body"),
    [
        ([], BODY),
        (["identity"], BODY),
        (["", " Identity "], BODY),
        (["gzip"], GZIPPED),
        (["X-GZip"], GZIPPED),
        (["identity, gzip"], GZIPPED),
        (["deflate"], zlib.compress(BODY)),
        (["deflate"], RAW_DEFLATE),
    ],
)
def test_what_is_read(encodings: list[str], body: bytes, size: int) -> None:
    assert decode(encodings, body, size) == BODY


def test_what_is_announced_as_compressed_and_is_not() -> None:
    assert decode(["gzip"], BODY) == decode(["deflate"], BODY) == BODY


@pytest.mark.parametrize(
    ("encodings", "body"),
    [
        (["br"], BODY),
        (["zstd"], BODY),
        (["compress"], BODY),
        (["gzip", "gzip"], gzip.compress(GZIPPED, mtime=0)),
        (["gzip, br"], BODY),
        (["gzip"], b"neither a picture nor gzip"),
        (["gzip"], GZIPPED[:-20]),
        (["deflate"], zlib.compress(BODY)[:-20]),
        (["gzip"], GZIPPED[:50] + b"?" * 50),
    ],
)
def test_what_is_told(encodings: list[str], body: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(encodings, body)


def test_what_follows_the_end_is_not_gathered() -> None:
    decoder = Decoder(["gzip"])
    decoder.decode(GZIPPED, 1 << 20)
    with pytest.raises(EncodingError):
        decoder.decode(bytes(64 << 10), 1 << 20)


def test_no_more_is_unpacked_than_asked_for() -> None:
    assert len(decode(["gzip"], gzip.compress(bytes(100 << 20), 1), most=1000)) == 1001
