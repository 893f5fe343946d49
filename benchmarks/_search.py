"""The search for copies among made hashes, as a process of its own so that its time and memory can be measured.

python benchmarks/_search.py group 1000000
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from kg2clip.curate import neighbours
from kg2clip.curate.copies import Fingerprints, group

DISTANCE = 31


def made(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hashes with clusters as a harvest has them, in random order.

    A seventh are copies of others, at 0 to 31 bits each as likely; 1 % are one placeholder, 300 are frames of one
    camera that differ in 12 bits from a first one. The rest differ from all others at random.

    Returns:
        n x 4 words, and for each the position of its original (its own for originals).
    """
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2**64, (count, 4), dtype=np.uint64)
    original = np.arange(count)
    copies = np.arange(0, count, 7)
    original[copies] = random.permutation(np.delete(original, copies))[: len(copies)]
    flips = random.integers(0, DISTANCE + 1, count)
    crowd = np.setdiff1d(np.arange(count), np.union1d(copies, original[copies]))
    placeholder, frames = crowd[: count // 100], crowd[count // 100 : count // 100 + 300]
    original[placeholder], flips[placeholder] = placeholder[0], 0
    original[frames], flips[frames] = frames[0], 12
    changed = np.flatnonzero(original != np.arange(count))
    bits[changed] = bits[original[changed]] ^ masks(flips[changed], random)
    place = random.permutation(count)
    order = np.argsort(place)
    return bits[order], place[original[order]]


def masks(counts: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Words with so many bits set, at random places."""
    out = np.empty((len(counts), 4), np.uint64)
    for start in range(0, len(counts), 1 << 14):
        some = counts[start : start + (1 << 14)]
        rank = random.random((len(some), neighbours.BITS), dtype=np.float32).argsort(axis=1).argsort(axis=1)
        out[start : start + len(some)] = np.packbits(rank < some[:, None], axis=1).view(np.uint64)
    return out


def grouped(count: int) -> dict[str, float]:
    """Group copies; give the share of planted ones found with their original, and how many groups are mixed."""
    hashes, original = made(count)
    names = np.array([f"{number:064x}" for number in range(count)], object)
    prints = Fingerprints(names, names, hashes, ~hashes, np.ones(count, bool), np.zeros((count, 16, 3), np.uint8))
    survivor = group(prints, np.arange(count), DISTANCE).survivor
    copies = original != np.arange(count)
    together = survivor == survivor[original]
    roots = original[original]
    return {
        "recall": float(together[copies].mean()),
        "groups": int((survivor == np.arange(count)).sum()),
        "planted groups": len(np.unique(roots)),
    }


if __name__ == "__main__":
    print(json.dumps(grouped(int(sys.argv[2]))))
