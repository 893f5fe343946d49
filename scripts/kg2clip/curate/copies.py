"""Copies of one picture: linked by equal bytes, equal pixels or close looks in like colours (`colours`), and grouped
around a survivor.

Links are kept as a minimum spanning forest: never more than there are pictures, and the same in whatever order they
are found. Evidence has a rank, the surest first: 0 equal bytes, 1 equal pixels, then PDQ distance d: 2 + 2d, or of the
mirror image: 3 + 2d; last what agrees only where it overlaps (`overlaps`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import (  # type: ignore[import-untyped]
    breadth_first_order,
    connected_components,
    minimum_spanning_tree,
)

from kg2clip.curate import neighbours
from kg2clip.curate.colours import FLIPPED, PARTS, Colours, same_colours
from kg2clip.curate.neighbours import Hashes, Indices

SAME_BYTES, SAME_PIXELS, LOOKS, MIRRORED = 0, 1, 2, 3
OVERLAP = LOOKS + 2 * (neighbours.MAX_DISTANCE + 1)
NO_LINK = -1
BUFFERED = 1 << 20  # links gathered before the forest is thinned


def evidence(rank: int) -> tuple[str | None, int | None]:
    """A rank in words: how two pictures are copies, and the PDQ bits in which they differ."""
    if rank == NO_LINK:
        return None, None
    if rank < LOOKS:
        return ("sha256", "pixels")[rank], None
    if rank == OVERLAP:
        return "overlap", None
    return ("pdq", "pdq-mirrored")[rank % 2], (rank - LOOKS) // 2


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of n pictures.

    Attributes:
        sha256, pixels: n strings each.
        pdq, mirrored: n x 4 words each: PDQ hashes of the pictures and of their mirror images.
        telling: n booleans: the PDQ quality suffices to compare looks.
        colours: n x 16 parts x 3 channels: mean levels of the pictures' parts.
    """

    sha256: NDArray[Any]
    pixels: NDArray[Any]
    pdq: Hashes
    mirrored: Hashes
    telling: NDArray[np.bool_]
    colours: Colours

    @classmethod
    def of(cls, features: pd.DataFrame, min_quality: int) -> Fingerprints:
        """The fingerprints in rows of a features table; all rows must be decoded ones."""
        return cls(
            sha256=features["sha256"].to_numpy(object),
            pixels=features["pixelHash"].to_numpy(object),
            pdq=neighbours.pack(features["pdq"].tolist()),
            mirrored=neighbours.pack(features["pdqMirrored"].tolist()),
            telling=features["pdqQuality"].to_numpy(np.int64) >= min_quality,
            colours=np.frombuffer(b"".join(features["colours"]), np.uint8).reshape(-1, PARTS, 3),
        )

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.sha256)

    def take(self, rows: Indices) -> Fingerprints:
        """The fingerprints of some of the pictures."""
        return Fingerprints(
            self.sha256[rows],
            self.pixels[rows],
            self.pdq[rows],
            self.mirrored[rows],
            self.telling[rows],
            self.colours[rows],
        )

    def coloured_as(
        self, rows: Indices, others: Fingerprints, places: Indices, turned: bool = False
    ) -> NDArray[np.bool_]:
        """Whether pictures have the colours of some of `others`, of their mirror images if those were `turned`."""
        theirs = others.colours[places]
        return same_colours(self.colours[rows], theirs[:, FLIPPED] if turned else theirs)


class Links(NamedTuple):
    """Links between pictures: two positions and the rank of the evidence."""

    first: Indices
    second: Indices
    rank: Indices


@dataclass(frozen=True)
class Groups:
    """For each of n pictures the one that stands for its group, and the rank of the link that brought it in.

    Attributes:
        survivor: n positions; a survivor's own is its own.
        rank: n ranks; NO_LINK for survivors.
    """

    survivor: Indices
    rank: Indices


def group(prints: Fingerprints, order: Indices, distance: int) -> Groups:
    """Group copies around survivors.

    Chains of near-duplicates link pictures that have little in common: members that differ from their survivor in more
    than twice the distance, or in their colours, are split off and grouped anew.

    Args:
        prints: fingerprints of n pictures.
        order: n ranks; of a group the picture of the lowest one survives.
        distance: PDQ bits in which two copies may differ.
    """
    groups = Groups(np.arange(len(prints)), np.full(len(prints), NO_LINK))
    rows = np.arange(len(prints))
    while len(rows):
        part = prints.take(rows)
        links = forest(part, distance)
        survivor = _survivors(links, order[rows])
        near = np.zeros(len(rows), bool)
        for hashes, turned in ((part.pdq, False), (part.mirrored, True)):
            places = np.flatnonzero(neighbours.distances(hashes[survivor], part.pdq) <= 2 * distance)
            near[places] |= part.coloured_as(places, part, survivor[places], turned)
        groups.survivor[rows] = rows[survivor]
        groups.rank[rows] = _brought_in_by(links, survivor)
        rows = rows[~near]
    return groups


def merge(
    groups: Groups, heads: Indices, pairs: Indices, order: Indices, alike: Callable[[Indices], NDArray[np.bool_]]
) -> Groups:
    """Merge groups whose survivors were found to be copies of each other.

    Here too chains are cut: each must be a copy of the one that survives, or is grouped anew.

    Args:
        groups: groups of n pictures.
        heads: some of their survivors.
        pairs: k x 2 positions in `heads`, the first before the second.
        order: n ranks; of a group the picture of the lowest one survives.
        alike: tells of k x 2 positions in `heads` whether they are copies.
    """
    leader, rows = np.arange(len(heads)), np.unique(pairs)
    while len(rows):
        inside = np.isin(pairs, rows).all(axis=1)
        first, second = np.searchsorted(rows, pairs[inside]).T
        survivor = rows[_survivors(Links(first, second, np.full(len(first), OVERLAP)), order[heads[rows]])]
        wanted = np.sort(np.stack([rows, survivor], axis=1), axis=1)
        near = (rows == survivor) | np.isin(wanted @ (len(heads), 1), pairs @ (len(heads), 1))
        near[~near] = alike(wanted[~near])
        leader[rows] = np.where(near, survivor, rows)
        rows = rows[~near]
    survivor, rank = groups.survivor.copy(), groups.rank.copy()
    rank[heads[leader != np.arange(len(heads))]] = OVERLAP
    survivor[heads] = heads[leader]
    return Groups(survivor[groups.survivor], rank)


def forest(prints: Fingerprints, distance: int) -> Links:
    """The closest links that hold all copies together: a minimum spanning forest of all links among n pictures."""
    size = len(prints)
    kept = [Links(*(np.empty(0, np.int64),) * 3)]
    for found in _links(prints, distance):
        kept.append(found)
        if sum(len(links.first) for links in kept) > BUFFERED + size:
            kept = [_thinned(kept, size)]
    return _thinned(kept, size)


def best_matches(prints: Fingerprints, others: Fingerprints, distance: int) -> tuple[Indices, Indices]:
    """For each of n pictures the surest match among others (of equal ones the first).

    Returns:
        n positions in `others` and n ranks; both NO_LINK where nothing matches.
    """
    none = np.iinfo(np.int64).max
    best = np.full(len(prints), none)
    for rank, mine, theirs in ((SAME_BYTES, prints.sha256, others.sha256), (SAME_PIXELS, prints.pixels, others.pixels)):
        first = {value: position for position, value in reversed(list(enumerate(theirs))) if value is not None}
        keys = [rank * len(others) + first[value] if value in first else none for value in mine]
        best = np.minimum(best, np.array(keys, np.int64))
    rows, columns = np.flatnonzero(prints.telling), np.flatnonzero(others.telling)
    for kind, hashes in ((LOOKS, others.pdq), (MIRRORED, others.mirrored)):
        for found in neighbours.within(prints.pdq[rows], hashes[columns], distance):
            mine, theirs = rows[found.first], columns[found.second]
            same = prints.coloured_as(mine, others, theirs, turned=kind == MIRRORED)
            surest = (kind + 2 * found.distance) * len(others) + theirs
            np.minimum.at(best, mine[same], surest[same])
    matched = best != none
    count = max(1, len(others))
    return np.where(matched, best % count, NO_LINK), np.where(matched, best // count, NO_LINK)


def _links(prints: Fingerprints, distance: int) -> Iterator[Links]:
    yield _stars(prints.sha256, SAME_BYTES)
    yield _stars(prints.pixels, SAME_PIXELS)
    # Placeholders come in thousands of equal hashes: one of each, and of each colour, is compared, the others hang on
    # it.
    rows, firsts = np.flatnonzero(prints.telling), []
    while len(rows):
        both = np.ascontiguousarray(np.hstack([prints.pdq[rows], prints.mirrored[rows]])).view("V64").ravel()
        equal = _stars(both, LOOKS)
        first, second = rows[equal.first], rows[equal.second]
        same = prints.coloured_as(first, prints, second)
        yield Links(first[same], second[same], equal.rank[same])
        firsts.append(np.delete(rows, equal.second))
        rows = second[~same]
    unique = np.sort(np.concatenate([rows, *firsts]))
    index = neighbours.Index(prints.pdq[unique])
    for kind, pairs in (
        (LOOKS, index.pairs(distance)),
        (MIRRORED, index.within(prints.mirrored[unique], distance)),
    ):
        for found in pairs:
            ends = np.sort(unique[np.stack([found.first, found.second])], axis=0)
            same = prints.coloured_as(ends[0], prints, ends[1], turned=kind == MIRRORED) & (ends[0] != ends[1])
            yield Links(ends[0][same], ends[1][same], kind + 2 * found.distance[same])


def _stars(values: NDArray[Any], rank: int) -> Links:
    """Link equal values to the first of them."""
    _, first, codes = np.unique(values.astype("U64") if values.dtype == object else values, True, True)
    earliest = first[codes]
    copies = np.flatnonzero(earliest != np.arange(len(values)))
    return Links(earliest[copies], copies, np.full(len(copies), rank))


def _thinned(found: list[Links], size: int) -> Links:
    """The minimum spanning forest. Weights are made unique by the pair, so that no tie is left to chance."""
    first, second, rank = (np.concatenate(column) for column in zip(*found, strict=True))
    closest = np.lexsort((rank, second, first))
    first, second, rank = first[closest], second[closest], rank[closest]
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    first, second, rank = first[new], second[new], rank[new]
    place = np.lexsort((second, first, rank))
    weight = np.empty(len(place))
    weight[place] = np.arange(1, len(place) + 1)
    tree = minimum_spanning_tree(coo_array((weight, (first, second)), shape=(size, size)).tocsr())
    chosen = np.sort(place[tree.data.astype(np.int64) - 1])
    return Links(first[chosen], second[chosen], rank[chosen])


def _survivors(links: Links, order: Indices) -> Indices:
    """For each picture the one of the lowest order in its component."""
    size = len(order)
    _, label = connected_components(
        coo_array((np.ones(len(links.first)), links[:2]), shape=(size, size)), directed=False
    )
    sequence = np.lexsort((order, label))
    starts = np.flatnonzero(np.diff(label[sequence], prepend=-1))
    best: Indices = sequence[starts][label]
    return best


def _brought_in_by(links: Links, survivor: Indices) -> Indices:
    """For each picture the rank of its link towards the survivor; NO_LINK for survivors."""
    size = len(survivor)
    roots = np.flatnonzero(survivor == np.arange(size))
    # One search for all groups: a root above all survivors.
    first = np.concatenate([links.first, np.full(len(roots), size)])
    second = np.concatenate([links.second, roots])
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(size + 1, size + 1)).tocsr()
    _, predecessors = breadth_first_order(graph, size, directed=False)
    rank = np.full(size, NO_LINK)
    for near, far in ((links.first, links.second), (links.second, links.first)):
        leads = predecessors[far] == near
        rank[far[leads]] = links.rank[leads]
    return rank
