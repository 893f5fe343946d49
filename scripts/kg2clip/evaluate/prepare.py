"""Evaluation sets as they are published, to benchmarks in CLIP_benchmark's WebDataset form."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kg2clip.errors import UserError
from kg2clip.evaluate.benchmark import PICTURES, SPLITS
from kg2clip.evaluate.names import RANKS
from kg2clip.files import write_json, write_text
from kg2clip.identifiers import stable_hash

SHARD = 10_000  # pictures in a tar
DEV_PICTURES = 10  # of a class, from a training split: as the paper's dev set for iNaturalist 2021


# ImageNet's classes of living things, by their numbers: those below organism (00004475-n) in WordNet 3.0, but not below
# person (00007846-n; ballplayer, groom and scuba diver). So 398 animals, two flowers and seven fungi; fruits, such as
# acorn and hip, are parts of plants to WordNet and stand with the other things. A test derives the list from WordNet.
LIVING = frozenset([*range(398), 985, 986, *range(991, 998)])

Told = int | list[str]  # a label, or captions


@dataclass(frozen=True)
class Source:
    """A set as published: classes as rows of classes.json, and pictures by split with the label of each.

    A set for retrieval has no classes, and captions in place of labels.
    """

    classes: list[dict[str, Any]] | None
    pictures: dict[str, list[tuple[Path, Told]]]


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
    pictures: dict[str, list[tuple[Path, Told]]] = {"test": [], "dev": []}
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
    pictures: dict[str, list[tuple[Path, Told]]] = {split: [] for split in SPLITS}
    for split, each in found.items():
        for path, name in each:
            pictures[split or _drawn(str(path.relative_to(folder)))].append((path, names.index(name)))
    return Source([{"scientificName": None, "vernacularName": name} for name in names], pictures)


def rare_species(folder: Path) -> Source:
    """Rare Species (imageomics/rare-species of Hugging Face's hub, cloned): its pictures and its catalogue, a CSV file.

    The catalogue names a picture by file_name, or by eol_content_id and eol_page_id, with which its file name begins.
    It has no splits: each third picture of a class, by a hash of its name, is for dev.
    """
    catalogue, rows = _catalogue(folder)
    files = {path.name: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES}
    by_id = {tuple(name.split("_")[:2]): path for name, path in files.items()}
    classes: dict[str, dict[str, Any]] = {}
    pictures: list[tuple[Path, str]] = []
    for row in rows:
        name = row.get("sciName") or f"{row['genus']} {row['species']}"
        ranks = {rank: row.get(rank) or None for rank in RANKS}
        classes.setdefault(name, {"scientificName": name, "vernacularName": row.get("common") or None, **ranks})
        wanted = Path(row.get("file_name") or f"{row.get('eol_content_id')}_{row.get('eol_page_id')}_")
        path = files.get(wanted.name) or by_id.get(tuple(wanted.name.split("_")[:2]))
        pictures.append((path or catalogue.parent / wanted, name))
    labels = {name: label for label, name in enumerate(sorted(classes))}
    splits: dict[str, list[tuple[Path, Told]]] = {split: [] for split in SPLITS}
    for path, name in pictures:
        splits[_drawn(path.name)].append((path, labels[name]))
    return Source([classes[name] for name in labels], splits)


def imagenet(folder: Path, living: bool | None = None) -> Source:
    """ImageNet and sets of its classes: A, R, V2, Sketch. Folders bear WordNet ids (n01440764), or numbers 0 to 999.

    Where there is a val/ it is test, and train/ beside it gives dev; else the folder itself is test. Labels count the
    classes that are there in ImageNet's order: all of it keeps its numbers, A and R have their 200.

    Args:
        folder: as unpacked, each class in a folder of its own.
        living: only classes of living things (LIVING), or only the others.
    """
    from open_clip import IMAGENET_CLASSNAMES  # here: neither is wanted by the other sets
    from timm.data import ImageNetInfo

    synsets = ImageNetInfo("imagenet-1k").label_names()
    numbers = {name: number for number, synset in enumerate(synsets) for name in (synset, str(number))}
    test = folder / "val" if (folder / "val").is_dir() else folder
    found = {numbers[path.name] for path in test.iterdir() if path.is_dir() and path.name in numbers}
    if living is not None:
        found = {number for number in found if (number in LIVING) == living}
    if not found:
        raise UserError(
            f"{test} has no folder for each class, such as n01440764 or 0; sort the pictures first, those of "
            "ImageNet's validation with its valprep.sh"
        )
    labels = {number: label for label, number in enumerate(sorted(found))}
    pictures = {"test": _of_folders(test, numbers, labels)}
    if test != folder and (folder / "train").is_dir():
        pictures["dev"] = _some_of_each(_of_folders(folder / "train", numbers, labels))
    classes = [
        {
            "entityID": f"wn:{synsets[number][1:]}-n",
            "scientificName": None,
            "vernacularName": IMAGENET_CLASSNAMES[number],
        }
        for number in labels
    ]
    return Source(classes, pictures)


def captions(folder: Path) -> Source:
    """COCO and Flickr30k with Karpathy's splits: dataset_coco.json or dataset_flickr30k.json and the pictures' folders.

    His test is test, his val is dev.
    """
    found = sorted(folder.rglob("dataset_*.json"))
    if not found:
        raise UserError(
            f"{folder} has no dataset_coco.json or dataset_flickr30k.json; put Karpathy's file of splits there"
        )
    pictures: dict[str, list[tuple[Path, Told]]] = {"test": [], "dev": []}
    for image in _json(found[0])["images"]:
        if split := {"test": "test", "val": "dev"}.get(image["split"]):
            told = [" ".join(sentence["raw"].split()) for sentence in image["sentences"]]
            pictures[split].append((_image_file(folder, image), told))
    return Source(None, pictures)


PREPARERS: dict[str, Callable[[Path], Source]] = {
    "inaturalist": inaturalist,
    "cub": cub,
    "rare-species": rare_species,
    "imagenet": imagenet,
    "imagenet-living": partial(imagenet, living=True),
    "imagenet-other": partial(imagenet, living=False),
    "coco": captions,
    "flickr30k": captions,
    "folder": labelled,
}


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
    if source.classes is None:
        write_text(part / "dataset_type.txt", "retrieval\n")
    else:
        names = [" ".join((each["vernacularName"] or each["scientificName"]).split()) for each in source.classes]
        write_text(part / "classnames.txt", "".join(f"{name}\n" for name in names))
        write_text(part / "zeroshot_classification_templates.txt", "{c}\n")  # for CLIP_benchmark; ours are the config's
        write_json(part / "classes.json", source.classes)
    os.replace(part, folder)
    return {split: len(pictures) for split, pictures in splits.items()}


def _write_split(folder: Path, pictures: Sequence[tuple[Path, Told]]) -> None:
    folder.mkdir(parents=True)
    starts = range(0, len(pictures), SHARD)
    for number, start in enumerate(starts):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for place, (path, told) in enumerate(pictures[start : start + SHARD], start):
                try:
                    content = path.read_bytes()
                except OSError:
                    raise UserError(
                        f"{path} is missing, though the set's lists name it; unpack the set whole"
                    ) from None
                beside = (".cls", str(told)) if isinstance(told, int) else (".txt", "\n".join(told))
                for ending, each in ((path.suffix.lower(), content), (beside[0], beside[1].encode())):
                    member = tarfile.TarInfo(f"s{place:07d}{ending}")
                    member.size = len(each)
                    tar.addfile(member, io.BytesIO(each))
    write_text(folder / "nshards.txt", f"{len(starts)}\n")


def _catalogue(folder: Path) -> tuple[Path, list[dict[str, str]]]:
    """The CSV file that names the pictures of Rare Species, and its rows."""
    for path in sorted(folder.rglob("*.csv")):
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            if {"genus", "species"} <= columns and columns & {"file_name", "eol_content_id"}:
                return path, list(reader)
    raise UserError(
        f"{folder} has no catalogue: a CSV file with the columns genus, species, and file_name or eol_content_id"
    )


def _of_folders(folder: Path, numbers: dict[str, int], labels: dict[int, int]) -> list[tuple[Path, Told]]:
    """The pictures of ImageNet's class folders, in the order of the labels."""
    places = {numbers[path.name]: path for path in folder.iterdir() if path.is_dir() and path.name in numbers}
    return [
        (path, label)
        for number, label in labels.items()
        if number in places
        for path in sorted(places[number].iterdir())
        if path.suffix.lower() in PICTURES
    ]


def _image_file(folder: Path, image: dict[str, Any]) -> Path:
    """Where a picture of Karpathy's lists stands: beside them, in the folder that they name, or in Flickr30k's own."""
    own: str = image.get("filepath", "")
    names = [own, f"images/{own}", "flickr30k-images", "flickr30k_images", "images", ""]
    places = [folder / name / str(image["filename"]) for name in names]
    return next((place for place in places if place.is_file()), places[0])


def _drawn(name: str) -> str:
    """The split of a picture of a set without splits: a third is for dev, by a hash of the name."""
    return "dev" if int(stable_hash(name), 16) % 3 == 0 else "test"


def _coco(folder: Path, content: dict[str, Any], labels: dict[Any, int]) -> list[tuple[Path, Told]]:
    files = {each["id"]: each["file_name"] for each in content["images"]}
    pairs = ((files[each["image_id"]], labels[each["category_id"]]) for each in content["annotations"])
    return [(folder / file, label) for file, label in pairs]


def _some_of_each(pictures: Sequence[tuple[Path, Told]]) -> list[tuple[Path, Told]]:
    """At most ten pictures of each class, drawn by a hash of their names."""
    by_class: dict[Any, list[Path]] = defaultdict(list)
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
