"""Which groups of pictures are held out of training: drawn by the seed, from every entity in proportion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)


def hold_out(strata: Iterable[Sequence[str]], shares: Mapping[str, float]) -> dict[str, str]:
    """Choose groups for the splits other than train.

    A group (all copies of a picture and all photos of its observation) goes whole into one split. An entity gives the
    first of its groups, as many as are its share; a share below one group adds up from entity to entity, so that one in
    many small entities gives one. An entity keeps at least half of its groups, so one with a single group gives none;
    what it can't give nobody gives in its place.

    Args:
        strata: for each entity its groups, entities and groups in an order drawn by lot. The same order of those that
            stay when groups are added leaves most of them where they are.
        shares: of the groups, for each split other than train.

    Returns:
        The held-out groups with their splits.
    """
    held: dict[str, str] = {}
    due = dict.fromkeys(shares, 0.5)  # so that shares are rounded, not cut
    for groups in strata:
        kept, free = len(groups) - len(groups) // 2, list(groups)
        for split, share in shares.items():
            due[split] += share * len(groups)
            wanted = int(due[split])
            due[split] -= wanted
            taken, free = free[: min(wanted, len(free) - kept)], free[min(wanted, len(free) - kept) :]
            held |= dict.fromkeys(taken, split)
    return held
