"""Benchmarks: folders in CLIP_benchmark's WebDataset form, with our sidecar of names (reference/training.md 4.4)."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kg2clip.errors import UserError
from kg2clip.evaluate.names import FORMS, RANKS, name_forms
from kg2clip.files import read_json

SPLITS = ("dev", "test")  # prompts are chosen on the first and reported on the second
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
MOST_TOLD = 1 << 20  # bytes of a label or of captions that are read
CLASS_KEYS = ("entityID", "scientificName", "vernacularName", *RANKS)  # of classes.json; Darwin Core's terms


@dataclass(frozen=True)
class Picture:
    """One picture of a benchmark, by its place in a tar."""

    key: str
    label: int  # -1: a picture with captions
    tar: Path
    offset: int
    size: int
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """An evaluation set: names of its classes in label order, by form, and where its pictures stand.

    A set for retrieval has captions instead of classes.
    """

    folder: Path
    classes: int
    names: dict[str, list[str | None]]  # by form; None: the class has no name in that form
    splits: tuple[str, ...]
    ranks: list[dict[str, str]]  # of each class: its groups of the main ranks, those that are known
    entities: list[str | None]  # of each class, where the sidecar names it
    retrieval: bool = False

    def pictures(self, split: str) -> list[Picture]:
        """The pictures of a split, in the order of its tars.

        Raises:
            UserError: a tar is missing or torn, a picture has no label or caption, or a label that names no class.
        """
        folder = self.folder / split
        pictures = [picture for tar in _tars(folder) for picture in _index(tar, "txt" if self.retrieval else "cls")]
        if not pictures:
            raise UserError(f"{folder} holds no picture")
        wrong = next((picture for picture in pictures if not 0 <= picture.label < self.classes), None)
        if wrong and not self.retrieval:
            names = f"classnames.txt has {self.classes} lines"
            raise UserError(f"{wrong.tar}: {wrong.key} has label {wrong.label}, but {names}")
        if len({picture.key for picture in pictures}) < len(pictures):
            raise UserError(f"{folder} holds two pictures of the same key; keys must be unique in a split")
        return pictures


def load(folder: Path) -> Benchmark:
    """Read a benchmark's names and find its splits.

    Raises:
        UserError: a file is missing or contradicts another.
    """
    splits = tuple(split for split in SPLITS if (folder / split / "nshards.txt").is_file())
    if is_retrieval(folder):
        return Benchmark(folder, 0, {}, _with_test(folder, splits), [], [], retrieval=True)
    try:
        listed = _lines((folder / "classnames.txt").read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{folder} is no benchmark: it has no classnames.txt") from None
    except UnicodeDecodeError:
        raise UserError(f"{folder / 'classnames.txt'} is no text in UTF-8; save it anew in UTF-8") from None
    if not any(listed):
        raise UserError(f"{folder / 'classnames.txt'} names no class; it holds one name a line, in the order of labels")
    told = _described(folder, listed)
    return Benchmark(folder, len(listed), told.names, _with_test(folder, splits), told.ranks, told.entities)


def is_retrieval(folder: Path) -> bool:
    """Whether a benchmark's pictures have captions instead of classes.

    Raises:
        UserError: it is of a type that is not evaluated here.
    """
    path = folder / "dataset_type.txt"
    kind = path.read_text(encoding="utf-8").strip().lower() if path.is_file() else "classification"
    if kind not in ("classification", "retrieval"):
        raise UserError(f"{path} says {kind[:40]!r}; kg2clip evaluates benchmarks of classification and of retrieval")
    return kind == "retrieval"


def _with_test(folder: Path, splits: tuple[str, ...]) -> tuple[str, ...]:
    if "test" not in splits:
        raise UserError(f"{folder} has no test split: {folder / 'test' / 'nshards.txt'} is missing")
    return splits


@dataclass(frozen=True)
class Described:
    """What rows of classes.json say of the classes, in label order: the fields of a Benchmark of these names."""

    names: dict[str, list[str | None]]
    ranks: list[dict[str, str]]
    entities: list[str | None]


def describe(rows: Sequence[Mapping[str, str | None]]) -> Described:
    """Names by form, groups of the main ranks, and entities of classes.

    Args:
        rows: CLASS_KEYS of each class, those that are known.
    """
    classes = [{key: (row.get(key) or "").strip() for key in CLASS_KEYS} for row in rows]
    ranks = [{rank: each[rank] for rank in RANKS if each[rank]} for each in classes]
    forms = [
        name_forms(each["scientificName"] or None, each["vernacularName"] or None, list(groups.values()))
        for each, groups in zip(classes, ranks, strict=True)
    ]
    names = {form: [each[form] for each in forms] for form in FORMS}
    if not any(names["common"]):
        del names["combined"]  # it would be the taxonomic form again
    named = {form: values for form, values in names.items() if any(values)}
    return Described(named, ranks, [each["entityID"] or None for each in classes])


def _described(folder: Path, listed: list[str]) -> Described:
    sidecar = folder / "classes.json"
    if not sidecar.is_file():
        return Described({"common": [name or None for name in listed]}, [{} for _ in listed], [None for _ in listed])
    try:
        classes = read_json(sidecar)
        described = describe(classes)
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{sidecar} is no list of classes with scientificName and vernacularName ({error})") from None
    if len(classes) != len(listed):
        raise UserError(f"{sidecar} has {len(classes)} classes, but classnames.txt has {len(listed)} lines")
    return described


def _lines(text: str) -> list[str]:
    # Not splitlines: it would also cut at rare separators inside a name and shift every label after it.
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _tars(folder: Path) -> list[Path]:
    text = (folder / "nshards.txt").read_text(encoding="ascii", errors="replace").strip()
    if not text.isdecimal():
        raise UserError(f"{folder / 'nshards.txt'} must hold one whole number, not {text[:20]!r}")
    tars = [folder / f"{number}.tar" for number in range(int(text))]
    if missing := next((tar for tar in tars if not tar.is_file()), None):
        raise UserError(f"{missing} is missing; nshards.txt announces {len(tars)} tars")
    return tars


def _index(tar: Path, told: str) -> Iterator[Picture]:
    """The pictures of a tar, with what their members of the ending `told` say: cls a label, txt a caption a line."""
    says: dict[str, str] = {}
    places: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(tar, "r:") as members:  # a compressed one has no places to read at
            for member in members:
                stem, _, ending = member.name.rpartition(".")
                if ending == told and (content := members.extractfile(member)):
                    says[stem] = content.read(MOST_TOLD).decode("utf-8", "replace")
                elif f".{ending.lower()}" in PICTURES:
                    places[stem] = member.offset_data, member.size
    except tarfile.TarError as error:
        raise UserError(f"{tar} is no whole tar ({error})") from None
    if not _has_end(tar):
        raise UserError(f"{tar} is no whole tar: its end is cut off")
    for stem, (offset, length) in places.items():
        if stem not in says:
            raise UserError(f"{tar}: {stem} has no {'label' if told == 'cls' else 'caption'} (.{told})")
        yield _picture(tar, stem, offset, length, says[stem], told)


def _picture(tar: Path, stem: str, offset: int, length: int, said: str, told: str) -> Picture:
    key = Path(stem).name
    if told == "txt":
        captions = tuple(line for line in said.splitlines() if line.strip())
        if not captions:
            raise UserError(f"{tar}: the caption of {stem} is empty")
        return Picture(key, -1, tar, offset, length, captions)
    try:
        return Picture(key, int(said), tar, offset, length)
    except ValueError:
        raise UserError(f"{tar}: {stem}.cls holds no whole number") from None


def _has_end(tar: Path) -> bool:
    # Two empty blocks. Python's reader does not miss them: a tar cut between two members would be a smaller test set.
    with tar.open("rb") as file:
        file.seek(-2 * tarfile.BLOCKSIZE, os.SEEK_END)
        return not any(file.read())
