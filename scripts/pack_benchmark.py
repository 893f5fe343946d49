"""Make a benchmark, a test set, of your own photos.

    python scripts/pack_benchmark.py my-photos resources/my-photos

In:  a folder with test/ and, better, dev/ (prompts are chosen on dev, figures come from test), and in each a folder for
each species that bears its scientific name: test/Bombus terrestris/a.jpg. A file a.json beside a.jpg may hold its ids
(docs/how-it-works.md). Out: a folder in CLIP_benchmark's WebDataset form, for evaluate.benchmarks in the config.
Common names and the groups above a species (its genus, family ...) come from the entities of a run; a species that is
none of them has its scientific name only.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kg2clip import tables, tars
from kg2clip.errors import UserError, run_program
from kg2clip.evaluate.names import RANKS
from kg2clip.files import write_json, write_text

SPLITS = ("dev", "test")
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


def main() -> None:
    """Parse arguments, pack, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="the folder with dev/ and test/")
    parser.add_argument("output", type=Path, help="the benchmark's folder")
    parser.add_argument(
        "--entities", type=Path, metavar="FILE", help="knowledge/entities.parquet, for common names and groups"
    )
    arguments = parser.parse_args()
    for split, count in pack(arguments.photos, arguments.output, arguments.entities).items():
        print(f"{split}: {count} pictures")
    if others := passed_over(arguments.photos):
        counts = ", ".join(f"{count} {ending}" for ending, count in others.most_common())
        print(f"passed over, being no JPEG, PNG or WebP: {counts}. Convert what are photos, and pack again")


def pack(photos: Path, output: Path, entities: Path | None) -> dict[str, int]:
    """Write the benchmark; return the number of pictures by split.

    Raises:
        UserError: there is no test split, or a species has no picture in a split that others have pictures in.
    """
    splits = {split: pictures(photos / split) for split in SPLITS if (photos / split).is_dir()}
    if not splits.get("test"):
        raise UserError(f"{photos / 'test'} holds no folder with a picture. Put photos into test/SCIENTIFIC NAME/")
    classes = sorted({name for found in splits.values() for name in found})
    for split, found in splits.items():
        if missing := [name for name in classes if name not in found]:
            raise UserError(f"{photos / split} has no picture of {', '.join(missing[:5])}: a split needs every species")
    known = read_entities(entities) if entities else {}
    rows = [{"scientificName": name, "vernacularName": None, **known.get(name, {})} for name in classes]
    for split, found in splits.items():
        with tars.writing(output / split / "0.tar") as tar:
            for label, name in enumerate(classes):
                for number, path in enumerate(found[name]):
                    add(tar, f"{label:05}-{number:05}", label, path)
        write_text(output / split / "nshards.txt", "1\n")
    write_json(output / "classes.json", rows)
    write_text(
        output / "classnames.txt", "".join(f"{row['vernacularName'] or row['scientificName']}\n" for row in rows)
    )
    return {split: sum(map(len, found.values())) for split, found in splits.items()}


def add(tar: tars.TarWriter, key: str, label: int, path: Path) -> None:
    """A picture, its label and its ids."""
    tar.add(f"{key}{path.suffix.lower()}", path.read_bytes())
    tar.add(f"{key}.cls", str(label).encode())
    if (ids := path.with_suffix(".json")).is_file():
        tar.add(f"{key}.json", ids.read_bytes())


def pictures(split: Path) -> dict[str, list[Path]]:
    """The pictures of a split by the name of their folder."""
    found: dict[str, list[Path]] = {}
    for path in files(split):
        if path.suffix.lower() in PICTURES:
            found.setdefault(path.parent.name, []).append(path)
    return found


def passed_over(photos: Path) -> Counter[str]:
    """How many files are no pictures that can be packed, by their ending."""
    endings = [path.suffix.lower() or "without ending" for split in SPLITS for path in files(photos / split)]
    return Counter(ending for ending in endings if ending not in PICTURES and ending != ".json")


def files(split: Path) -> Iterator[Path]:
    """The files in the folders of a split, sorted, but those that a Mac lays beside each one (._a.jpg)."""
    yield from (path for path in sorted(split.glob("*/*")) if path.is_file() and not path.name.startswith("."))


def read_entities(path: Path) -> dict[str, dict[str, Any]]:
    """By scientific name: the preferred common name, and the nearest ancestor of each main rank, kingdom first."""
    columns = ["scientificName", "vernacularName", "ancestors"]
    found = {}
    for row in tables.read_rows(path, columns):
        above = {one["taxonRank"]: one["scientificName"] for one in reversed(row["ancestors"] or ())}
        groups = {rank: above[rank] for rank in RANKS if above.get(rank)}
        found[row["scientificName"]] = {"vernacularName": row["vernacularName"], **groups}
    return found


if __name__ == "__main__":
    run_program(main)
