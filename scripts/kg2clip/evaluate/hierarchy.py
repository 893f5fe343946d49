"""How far a label is from the right one in the tree of life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kg2clip.evaluate.names import RANKS

APART = len(RANKS) + 1  # not even one kingdom


class Ladder:
    """The main ranks as a ladder from a class (0) over genus (1), family (2) ... to kingdom (6); 7: nothing shared.

    The height of two classes is the lowest rung on which both stand in one group: the height of their lowest common
    ancestor as in Bertinetto et al., Making better mistakes (CVPR 2020), but on seven ranks instead of all nodes, since
    much-studied branches have more nodes and would weigh more.

    Args:
        ranks: for each class its groups by rank, those that are known.
    """

    def __init__(self, ranks: Sequence[Mapping[str, str]]) -> None:
        numbers: dict[tuple[str | None, ...], int] = {}
        self._groups = np.full((len(ranks), len(RANKS)), -1)  # genus first
        for row, groups in enumerate(ranks):
            # A group is its whole path: Prunella is a genus of birds and one of plants.
            path = tuple(groups.get(rank) for rank in RANKS)
            for depth, name in enumerate(path, 1):
                if name:
                    self._groups[row, -depth] = numbers.setdefault(path[:depth], len(numbers))

    @property
    def known(self) -> bool:
        """Whether each class has a group of some rank; else heights would mix unknown with far."""
        return bool(len(self._groups)) and bool((self._groups >= 0).any(axis=1).all())

    def heights(self, labels: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.int32]:
        """Heights of labels [n] and the labels given in their place [n, k]: [n, k]."""
        own, other = self._groups[labels][:, None], self._groups[others]
        shared = (own == other) & (own >= 0)
        heights = np.where(shared.any(axis=-1), shared.argmax(axis=-1) + 1, APART)
        return np.where(labels[:, None] == others, 0, heights).astype(np.int32)
