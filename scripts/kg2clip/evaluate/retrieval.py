"""Retrieval: the captions of a picture among all captions, and the picture of a caption among all pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from kg2clip import tables
from kg2clip.evaluate.benchmark import Picture
from kg2clip.evaluate.model import Model
from kg2clip.evaluate.zeroshot import CELLS, Floats

Places = NDArray[np.int64]


def retrieve(model: Model, split: str, pictures: Sequence[Picture], embedded: Floats) -> pa.Table:
    """Rows of tables.RETRIEVALS: each picture and each caption of a split as a query.

    Args:
        model: for the captions.
        split: for the rows.
        pictures: with their captions.
        embedded: their normalised embeddings [n, d].
    """
    counts = np.array([len(picture.captions) for picture in pictures])
    texts = model.embed_texts([caption for picture in pictures for caption in picture.captions])
    ends = counts.cumsum()
    owners = np.repeat(np.arange(len(pictures)), counts)
    keys = [picture.key for picture in pictures]
    captions = [f"{picture.key}/{number}" for picture in pictures for number in range(len(picture.captions))]
    parts = []
    for query, names, (ranks, scores) in (
        ("picture", keys, first_right(embedded, texts, ends - counts, ends)),
        ("text", captions, first_right(texts, embedded, owners, owners + 1)),
    ):
        columns = {"key": names, "split": [split] * len(names), "query": [query] * len(names)}
        parts.append(pa.table({**columns, "rank": ranks, "score": scores}, schema=tables.RETRIEVALS))
    return pa.concat_tables(parts)


def first_right(queries: Floats, candidates: Floats, starts: Places, ends: Places) -> tuple[NDArray[np.int32], Floats]:
    """The rank of the best right candidate of each query, from 1, and its cosine.

    Of equal cosines the earlier candidate comes first. Cosines are made block by block.

    Args:
        queries: normalised embeddings [n, d].
        candidates: normalised embeddings [m, d].
        starts: [n] the first right candidate of each query; the right ones follow each other.
        ends: [n] the one after the last.
    """
    ranks, scores = np.empty(len(queries), np.int32), np.empty(len(queries), np.float32)
    against = torch.from_numpy(candidates).T.contiguous()
    places = torch.arange(len(candidates))
    rows = max(1, CELLS // max(1, len(candidates)))
    for start in range(0, len(queries), rows):
        block = slice(start, start + rows)
        similar = torch.from_numpy(queries[block]) @ against
        first, last = torch.from_numpy(starts[block])[:, None], torch.from_numpy(ends[block])[:, None]
        right = (places >= first) & (places < last)
        best, at = similar.masked_fill(~right, -torch.inf).max(dim=1, keepdim=True)
        before = (similar > best) | ((similar == best) & (places < at))
        ranks[block], scores[block] = (before.sum(dim=1) + 1).numpy(), best[:, 0].numpy()
    return ranks, scores
