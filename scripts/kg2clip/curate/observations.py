"""Pictures that belong together by what their sources say: the same picture at its source, photos of one observation,
frames of one burst.

Ids are compared between candidates and the test pictures of benchmarks that bear them: a benchmark's sample may have a
member `key.json` with `source` and `sourceID` (as in candidates: `inaturalist` and the photo's number), `accessURI` or
`url`, `originalURI`, `furtherInformationURL`, `observationID`, `occurrenceID`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

from kg2clip.curate import neighbours
from kg2clip.curate.copies import Fingerprints
from kg2clip.curate.neighbours import Indices
from kg2clip.identifiers import candidate_id

NONE = -1
PICTURE = {"source-id": ("candidateID",), "address": ("accessURI", "originalURI")}  # how they match: by which columns
# A page may show other pictures too. Of a test picture's page all go: better a few too many than one too few.
OBSERVATION = {"observation": ("observationID", "occurrenceID"), "page": ("furtherInformationURL",)}
IDS = tuple(column for columns in (*PICTURE.values(), *OBSERVATION.values()) for column in columns)


def read_ids(said: Mapping[str, Any]) -> dict[str, str | None]:
    """The IDS that a benchmark's `key.json` gives."""
    text = {name: str(value) for name, value in said.items() if isinstance(value, str | int) and str(value).strip()}
    if "source" in text and "sourceID" in text:
        text["candidateID"] = candidate_id(text["source"], text["sourceID"])
    text.setdefault("accessURI", text.get("url", ""))
    return {name: text.get(name) or None for name in IDS}


def same_id(pictures: pd.DataFrame, tests: pd.DataFrame, columns: tuple[str, ...]) -> Indices:
    """For each of n pictures the position of the first test picture with the same value in one of the columns.

    Args:
        pictures, tests: tables with the columns; addresses are compared without their scheme.
    """
    known: dict[str, int] = {}
    for column in columns:
        for position, value in enumerate(_plain(tests[column])):
            if value:
                known[value] = min(position, known.get(value, position))
    if not known:
        return np.full(len(pictures), NONE)
    found = [[known.get(value, len(tests)) for value in _plain(pictures[column])] for column in columns]
    nearest = np.min(np.array(found, np.int64), axis=0)
    return np.where(nearest < len(tests), nearest, NONE)


def find_observations(pictures: pd.DataFrame) -> Indices:
    """For each of n pictures the position of the first of its observation; NONE where the source names none."""
    rows, keys = [], []
    for column in OBSERVATION["observation"]:
        values = _plain(pictures[column]).to_numpy(object)
        named = np.flatnonzero(values != "")
        rows.append(named)
        keys.append(values[named])
    row = np.concatenate(rows)
    codes, known = pd.factorize(np.concatenate(keys))
    labels = _components(len(pictures) + len(known), row, len(pictures) + codes)[: len(pictures)]
    return np.where(np.isin(np.arange(len(pictures)), row), _firsts(labels), NONE)


def find_bursts(prints: Fingerprints, observation: Indices, distance: int) -> tuple[Indices, Indices]:
    """Frames of one burst: photos of one observation, nearly alike and yet not the same, also in a chain.

    The distance may be far larger than that of copies, since few pictures are compared: the hashes of unrelated ones
    differ in 128 bits with a deviation of 8. On 120 bursts drawn by the mirror, 98 of 100 frames lay within 90 bits of
    another one, and no two views of one individual (480 pairs) within 95.

    Args:
        prints: fingerprints of n pictures.
        observation: their observations, as `find_observations` gives them.
        distance: PDQ bits in which two frames that follow each other may differ.

    Returns:
        For each picture the position of the first frame of its burst, and the bits to the frame nearest to it; both
        NONE where it is of no burst.
    """
    rows = np.flatnonzero((observation != NONE) & prints.telling)
    rows = rows[np.argsort(observation[rows], kind="stable")]
    first, second, bits = [rows[:0]], [rows[:0]], [rows[:0]]
    for step in range(1, len(rows)):
        one, other = rows[:-step], rows[step:]
        same = observation[one] == observation[other]
        if not same.any():
            break
        one, other = one[same], other[same]
        apart = neighbours.distances(prints.pdq[one], prints.pdq[other])
        near = (apart <= distance) & (prints.pixels[one] != prints.pixels[other])
        first.append(one[near])
        second.append(other[near])
        bits.append(apart[near].astype(np.int64))
    one, other, apart = (np.concatenate(parts) for parts in (first, second, bits))
    nearest = np.full(len(prints), neighbours.BITS)
    for end in (one, other):
        np.minimum.at(nearest, end, apart)
    framed = nearest < neighbours.BITS
    leader = _firsts(_components(len(prints), one, other))
    return np.where(framed, leader, NONE), np.where(framed, nearest, NONE)


def together(*leaders: Indices) -> Indices:
    """For each of n pictures the first of those that belong together in any of several ways, also in a chain.

    Args:
        leaders: for each way n positions: pictures with the same one belong together; NONE belongs to nothing.
    """
    led = [np.flatnonzero(leader != NONE) for leader in leaders]
    ahead = [leader[rows] for leader, rows in zip(leaders, led, strict=True)]
    return _firsts(_components(len(leaders[0]), np.concatenate(led), np.concatenate(ahead)))


def _components(size: int, first: Indices, second: Indices) -> Indices:
    """Number the connected components of `size` nodes that are linked in pairs."""
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(size, size))
    labels: Indices = connected_components(links, directed=False)[1].astype(np.int64)
    return labels


def _firsts(labels: Indices) -> Indices:
    """For each of n pictures the first that bears the same label."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    return first[codes].astype(np.int64)


def _plain(values: pd.Series[Any]) -> pd.Series[Any]:
    """Values without the scheme of an address, which changes over the years; an empty text for null."""
    return values.fillna("").astype(str).str.replace(r"^https?://", "", regex=True)
