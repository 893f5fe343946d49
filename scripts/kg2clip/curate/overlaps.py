"""The second search for copies: pictures that agree in what they share, as crops do and copies with a watermark.

Candidates are pairs in which the whole of one picture, or its mirror image, looks like a window of the other
(`windows`); each is then laid over the other and compared (`alignment`). The first is wide on purpose, the second
decides.

Costs, for n pictures: 200 bytes of memory each for the index, whose queries are streamed from the features tables;
16 x 36 x 2n / 65,536 comparisons for each picture, four times those of the first search (20 minutes of one core at a
million pictures, and with its square from there); 15 ms for each candidate pair, of which a picture has NEAREST at
most.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kg2clip.curate import alignment, neighbours
from kg2clip.curate.decode import Rules, decode
from kg2clip.curate.neighbours import Hashes, Indices
from kg2clip.curate.windows import MIRRORING, WINDOWS
from kg2clip.processes import die_with_parent
from kg2clip.progress import Progress
from kg2clip.tars import Member

DISTANCE = 60  # bits between one picture and a window of the other; see the figures in `windows`
NEAREST = 16  # candidates looked at for each picture: bounds the work where thousands are of one layout
ROWS = 1 << 15  # of a features table, read at once: 40 MB of hashes
BUFFERED = 1 << 20  # pairs gathered before they are thinned
CACHED = 256  # decoded pictures kept by each process: 35 MB

Pairs = NDArray[np.int64]  # k x 2 positions


@dataclass(frozen=True)
class Pictures:
    """Pictures to be compared by what they share.

    Attributes:
        count: n.
        member: says where the picture at a position lies.
        blocks: gives positions and the hashes of their windows (b, and b x 36 x 4), of all n in the end, in any order.
    """

    count: int
    member: Callable[[int], Member]
    blocks: Callable[[], Iterator[tuple[Indices, Hashes]]]

    @classmethod
    def of_features(cls, features: pd.DataFrame, tables: Sequence[Path]) -> Pictures:
        """Decoded pictures: `features` has tar, offset and size by candidateID; `tables` are read for the windows."""
        keys, tars = features.index, features["tar"].array
        offsets, sizes = features["offset"].to_numpy(np.int64), features["size"].to_numpy(np.int64)

        def member(place: int) -> Member:
            return Member(tables[0].parent / tars[place], keys[place], int(offsets[place]), int(sizes[place]))

        return cls(len(keys), member, lambda: _streamed(keys, tables))

    @classmethod
    def of_benchmarks(cls, benchmarks: pd.DataFrame) -> Pictures:
        """Pictures of benchmarks, as `benchmarks.fingerprints` gives them; all must be decoded ones."""
        hashes = _hashes(benchmarks["windows"].tolist())
        members = benchmarks["member"].tolist()
        return cls(len(members), members.__getitem__, lambda: iter([(np.arange(len(hashes)), hashes)]))


@dataclass(frozen=True)
class Comparison:
    """How pictures are compared.

    Attributes:
        tables: the features tables, beside which the decoded tars lie.
        rules: how pictures of benchmarks are decoded.
        share: of the textured area in which two pictures must agree.
        workers: processes.
    """

    tables: Sequence[Path]
    rules: Rules
    share: float
    workers: int = 1

    def copies(self, pictures: Pictures) -> Pairs:
        """Pairs of pictures that agree, the first before the second."""
        pairs = np.sort(_nearest(pictures, pictures)[:, :2], axis=1)
        return self._agreeing(pictures, pictures, np.unique(pairs, axis=0))

    def matches(self, pictures: Pictures, others: Pictures) -> Pairs:
        """For each picture that agrees with one of others: its position, and that of the closest."""
        if not (pictures.count and others.count):
            return np.empty((0, 2), np.int64)
        found = np.concatenate([_nearest(pictures, others), _nearest(others, pictures)[:, [1, 0, 2]]])
        found = found[np.lexsort((found[:, 1], found[:, 2], found[:, 0]))]
        agreeing = self._agreeing(pictures, others, found[:, :2])
        _, first = np.unique(agreeing[:, 0], return_index=True)
        return agreeing[first]

    def alike(self, pictures: Pictures, pairs: Pairs) -> NDArray[np.bool_]:
        """Which of some pairs agree."""
        return self._agree(pictures, pictures, pairs)

    def _agreeing(self, ones: Pictures, others: Pictures, pairs: Pairs) -> Pairs:
        return pairs[self._agree(ones, others, pairs)]

    def _agree(self, ones: Pictures, others: Pictures, pairs: Pairs) -> NDArray[np.bool_]:
        works = [(ones.member(one), others.member(other), self.rules) for one, other in pairs.tolist()]
        with Progress(total=len(works), desc="comparing look-alikes", unit="pairs") as progress:
            shares = [share for share in _agreements(works, self.workers) if progress.update() or True]
        return np.array(shares, float) >= self.share


def _nearest(pictures: Pictures, others: Pictures) -> NDArray[np.int64]:
    """Of each picture those others of which a window looks like its whole, at most NEAREST.

    Returns:
        Rows of position, position in `others`, and distance in bits.
    """
    wholes = _wholes(pictures)
    index = neighbours.Index(np.concatenate([wholes, wholes ^ MIRRORING]))
    kept = [np.empty((0, 3), np.int64)]
    for rows, hashes in others.blocks():
        for found in index.sharing(hashes.reshape(-1, 4), DISTANCE):
            pairs = np.stack([found.second % pictures.count, rows[found.first // len(WINDOWS)], found.distance], axis=1)
            kept.append(pairs[pairs[:, 0] != pairs[:, 1]] if others is pictures else pairs)
            if sum(map(len, kept[1:])) > BUFFERED:
                kept = [_thinned(np.concatenate(kept))]
    return _thinned(np.concatenate(kept))


def _thinned(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each pair once, at its smallest distance, and the NEAREST closest of each picture."""
    one, other, distance = pairs.T
    pairs = pairs[np.lexsort((distance, other, one))]
    pairs = pairs[_changes(pairs[:, :2])]
    one, other, distance = pairs.T
    pairs = pairs[np.lexsort((other, distance, one))]
    starts = np.flatnonzero(_changes(pairs[:, :1]))
    place = np.arange(len(pairs)) - np.repeat(starts, np.diff(starts, append=len(pairs)))
    return pairs[place < NEAREST]


def _changes(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a row differs from the one before."""
    return np.concatenate([np.ones(min(1, len(rows)), bool), (rows[1:] != rows[:-1]).any(axis=1)])


def _wholes(pictures: Pictures) -> Hashes:
    wholes = np.zeros((pictures.count, 4), np.uint64)
    for rows, hashes in pictures.blocks():
        wholes[rows] = hashes[:, 0]
    return wholes


def _streamed(keys: pd.Index, tables: Sequence[Path]) -> Iterator[tuple[Indices, Hashes]]:
    for table in tables:
        with pq.ParquetFile(table) as file:
            for batch in file.iter_batches(ROWS, columns=["candidateID", "windows"]):
                rows = keys.get_indexer(batch["candidateID"].to_pandas())
                wanted = (rows >= 0) & batch["windows"].is_valid().to_numpy(zero_copy_only=False)
                yield rows[wanted].astype(np.int64), _hashes(batch["windows"].filter(pa.array(wanted)).to_pylist())


def _hashes(windows: list[bytes]) -> Hashes:
    return neighbours.pack(windows).reshape(len(windows), len(WINDOWS), 4)


Work = tuple[Member, Member, Rules]


def _agreements(works: Sequence[Work], workers: int) -> Iterator[float]:
    """How far each pair agrees, in the order given."""
    if len(works) < 4 * workers:
        yield from map(_agreement, works)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver"), initializer=die_with_parent) as pool:
        yield from pool.map(_agreement, works, chunksize=16)


def _agreement(work: Work) -> float:
    one, other, rules = work
    return alignment.agreement(_view(one, rules), _view(other, rules))


@lru_cache(maxsize=CACHED)
def _view(member: Member, rules: Rules) -> alignment.View:
    return alignment.view(decode(member.read(), rules).image)
