"""imagededup's search over hashes: queries against all, run by an interpreter that has it (Apache-2.0, PyPI).

python benchmarks/_imagededup.py METHOD DISTANCE QUERIES < hashes, one hexadecimal a line

Its BK-tree takes hashes of any length, its compiled brute force 64 bits only.
"""

from __future__ import annotations

import json
import sys
import time

from imagededup.handlers.search.bktree import BKTree  # type: ignore[import-not-found]
from imagededup.handlers.search.brute_force_cython import BruteForceCython  # type: ignore[import-not-found]


def hamming(one: str, other: str) -> int:
    """As imagededup.methods.hashing has it, without the modules that it loads."""
    return bin(int(one, 16) ^ int(other, 16)).count("1")


def main() -> None:
    """Time the search alone: the tree is built before."""
    method, distance, queries = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hashes = {str(number): line.strip() for number, line in enumerate(sys.stdin)}
    began = time.process_time()
    search = {"bktree": BKTree, "brute_force_cython": BruteForceCython}[method](hashes, hamming)
    built = time.process_time()
    found = sum(len(search.search(query=hashes[str(number)], tol=distance)) for number in range(queries))
    print(json.dumps({"build": built - began, "search": time.process_time() - built, "found": found}))


if __name__ == "__main__":
    main()
