"""Evaluation sets as they are published, to benchmarks in CLIP_benchmark's WebDataset form."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg2clip.errors import UserError
from kg2clip.evaluate.benchmark import PICTURES, SPLITS
from kg2clip.evaluate.names import RANKS
from kg2clip.files import write_json, write_text
from kg2clip.identifiers import stable_hash

SHARD = 10_000  # pictures in a tar
DEV_PICTURES = 10  # of a class, from a training split: as the paper's dev set for iNaturalist 2021


@dataclass(frozen=True)
class Source:
    """A set as published: classes as rows of classes.json, and pictures by split with the label of each."""

    classes: list[dict[str, Any]]
    pictures: dict[str, list[tuple[Path, int]]]


def inaturalist(folder: Path) -> Source:
    """iNaturalist 2019 and 2021: val.json with its pictures is test; train_mini.json or train.json, if there, is dev.

    The JSON is COCO's: images (id, file_name), annotations (image_id, category_id), categories (id, name, common_name
    in 2021, kingdom to genus).
    """
    content = _json(folder / "val.json")
    categories = sorted(content["categories"], key=lambda each: int(each["id"]))
    labels = {each["id"]: label for label, each in enumerate(categories)}
    classes = [
        {"scientificName": each["name"], "vernacularName": each.get("common_name")}
        | {rank: each.get(rank) for rank in RANKS}
        for each in categories
    ]
    pictures = {"test": _coco(folder, content, labels)}
    training = next((path for name in ("train_mini", "train") if (path := folder / f"{name}.json").is_file()), None)
    if training:
        pictures["dev"] = _some_of_each(_coco(folder, _json(training), labels))
    return Source(classes, pictures)


def cub(folder: Path) -> Source:
    """CUB-200-2011: its test pictures, whole; dev from its training pictures. Names are those of the folders."""
    classes = [line.split(".", 1)[1].replace("_", " ") for line in _column(folder / "classes.txt")]
    training = _column(folder / "train_test_split.txt")
    labels = _column(folder / "image_class_labels.txt")
    pictures: dict[str, list[tuple[Path, int]]] = {"test": [], "dev": []}
    for name, is_training, label in zip(_column(folder / "images.txt"), training, labels, strict=True):
        pictures["dev" if is_training == "1" else "test"].append((folder / "images" / name, int(label) - 1))
    pictures["dev"] = _some_of_each(pictures["dev"])
    return Source([{"scientificName": None, "vernacularName": name} for name in classes], pictures)


def labelled(folder: Path) -> Source:
    """A folder of one's own: a folder of pictures for each class, bearing its scientific or common name.

    With folders dev/ and test/ above the classes the splits are those; else each third picture of a class, by a hash of
    its name, is for dev.
    """
    given = all((folder / split).is_dir() for split in SPLITS)
    found = {split: list(_named(folder / split)) for split in SPLITS} if given else {"": list(_named(folder))}
    names = sorted({name for each in found.values() for _, name in each})
    pictures: dict[str, list[tuple[Path, int]]] = {split: [] for split in SPLITS}
    for split, each in found.items():
        for path, name in each:
            drawn = "dev" if int(stable_hash(str(path.relative_to(folder))), 16) % 3 == 0 else "test"
            pictures[split or drawn].append((path, names.index(name)))
    return Source([{"scientificName": None, "vernacularName": name} for name in names], pictures)


PREPARERS: dict[str, Callable[[Path], Source]] = {"inaturalist": inaturalist, "cub": cub, "folder": labelled}


def write(source: Source, folder: Path) -> dict[str, int]:
    """Write the benchmark's folder, whole or not at all, and return the pictures of each split.

    Raises:
        UserError: the folder exists, a picture is missing, or there is no test picture.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or name another folder")
    if not source.pictures.get("test"):
        raise UserError("there is no picture for the test split")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    splits = {split: pictures for split, pictures in source.pictures.items() if pictures}
    for split, pictures in splits.items():
        _write_split(part / split, pictures)
    names = [" ".join((each["vernacularName"] or each["scientificName"]).split()) for each in source.classes]
    write_text(part / "classnames.txt", "".join(f"{name}\n" for name in names))
    write_json(part / "classes.json", source.classes)
    os.replace(part, folder)
    return {split: len(pictures) for split, pictures in splits.items()}


def _write_split(folder: Path, pictures: Sequence[tuple[Path, int]]) -> None:
    folder.mkdir(parents=True)
    starts = range(0, len(pictures), SHARD)
    for number, start in enumerate(starts):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for place, (path, label) in enumerate(pictures[start : start + SHARD], start):
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    raise UserError(
                        f"{path} is missing, though the set's lists name it; unpack the set whole"
                    ) from None
                for ending, each in ((path.suffix.lower(), content), (".cls", str(label).encode())):
                    member = tarfile.TarInfo(f"s{place:07d}{ending}")
                    member.size = len(each)
                    tar.addfile(member, io.BytesIO(each))
    write_text(folder / "nshards.txt", f"{len(starts)}\n")


def _coco(folder: Path, content: dict[str, Any], labels: dict[Any, int]) -> list[tuple[Path, int]]:
    files = {each["id"]: each["file_name"] for each in content["images"]}
    pairs = ((files[each["image_id"]], labels[each["category_id"]]) for each in content["annotations"])
    return [(folder / file, label) for file, label in pairs]


def _some_of_each(pictures: Sequence[tuple[Path, int]]) -> list[tuple[Path, int]]:
    """At most ten pictures of each class, drawn by a hash of their names."""
    by_class: dict[int, list[Path]] = defaultdict(list)
    for path, label in pictures:
        by_class[label].append(path)
    drawn = {
        label: sorted(paths, key=lambda path: stable_hash(path.name))[:DEV_PICTURES]
        for label, paths in by_class.items()
    }
    return [(path, label) for label in sorted(drawn) for path in drawn[label]]


def _named(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in PICTURES and path.is_file():
            yield path, path.parent.name.replace("_", " ")


def _column(path: Path) -> list[str]:
    """The second column of a list of numbered lines, which are in order."""
    try:
        return [line.split(maxsplit=1)[1].strip() for line in path.read_text(encoding="utf-8").splitlines() if line]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; name the folder into which the set was unpacked") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; name the folder into which the set was unpacked") from None
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({error}); fetch it again") from None
    return content
