"""Stable identifiers: the same content has the same name in every run, on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def stable_hash(*parts: Any, length: int = 20) -> str:
    """Hash JSON-like parts to `length` hexadecimal digits (4 bits each; 20 digits: no clash expected below 10^12).

    The parts are encoded as one JSON list, so ("ab", "c") and ("a", "bc") differ.
    """
    encoded = json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()[:length]


def candidate_id(source: str, source_id: str) -> str:
    """The identity of a picture at its source: also its key in every tar (design 6.3; no dots)."""
    return stable_hash(source, source_id)


def bucket(identifier: str, count: int) -> int:
    """Spread identifiers evenly over `count` buckets, the same way in every run."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8], "big") % count
