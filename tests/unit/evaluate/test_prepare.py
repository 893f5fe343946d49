"""Published sets in small, to benchmarks that the evaluation reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kg2clip.errors import UserError
from kg2clip.evaluate import benchmark as benchmarks
from kg2clip.evaluate import prepare


def put(path: Path, content: str = "picture") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def contents(folder: Path, split: str) -> dict[str, int]:
    found = {}
    for picture in benchmarks.load(folder).pictures(split):
        found[picture.tar.read_bytes()[picture.offset : picture.offset + picture.size].decode()] = picture.label
    return found


def coco(folder: Path, split: str, pictures: list[tuple[str, int]], classes: list[dict[str, object]]) -> None:
    images = [{"id": 10 * number, "file_name": f"{split}/{name}"} for number, (name, _) in enumerate(pictures)]
    annotations = [{"image_id": 10 * n, "category_id": category} for n, (_, category) in enumerate(pictures)]
    put(folder / f"{split}.json", json.dumps({"images": images, "annotations": annotations, "categories": classes}))
    for name, _ in pictures:
        put(folder / split / name, name)


def test_inaturalist(tmp_path: Path) -> None:
    classes: list[dict[str, object]] = [
        {"id": 7, "name": "Larus canus", "common_name": "Common Gull", "class": "Aves", "genus": "Larus"},
        {"id": 3, "name": "Abies alba", "common_name": "Silver Fir", "class": "Pinopsida", "genus": "Abies"},
    ]
    coco(tmp_path / "inat", "val", [("a.jpg", 7), ("b.jpg", 3)], classes)
    coco(tmp_path / "inat", "train", [(f"t{number}.jpg", 7) for number in range(15)] + [("u.jpg", 3)], classes)
    counts = prepare.write(prepare.inaturalist(tmp_path / "inat"), tmp_path / "out")
    assert counts == {"test": 2, "dev": 11}  # ten at most of each class
    assert contents(tmp_path / "out", "test") == {"a.jpg": 1, "b.jpg": 0}  # in the order of the categories' numbers
    benchmark = benchmarks.load(tmp_path / "out")
    assert benchmark.names["common"] == ["Silver Fir", "Common Gull"]
    assert benchmark.names["taxonomic"] == ["Pinopsida Abies alba", "Aves Larus canus"]


def test_cub(tmp_path: Path) -> None:
    folder = tmp_path / "CUB_200_2011"
    put(folder / "classes.txt", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n")
    put(folder / "images.txt", "1 001.Black/a.jpg\n2 002.Laysan/b.jpg\n3 002.Laysan/c.jpg\n")
    put(folder / "image_class_labels.txt", "1 1\n2 2\n3 2\n")
    put(folder / "train_test_split.txt", "1 0\n2 1\n3 0\n")
    for name in ("001.Black/a.jpg", "002.Laysan/b.jpg", "002.Laysan/c.jpg"):
        put(folder / "images" / name, name)
    prepare.write(prepare.cub(folder), tmp_path / "out")
    assert contents(tmp_path / "out", "test") == {"001.Black/a.jpg": 0, "002.Laysan/c.jpg": 1}
    assert contents(tmp_path / "out", "dev") == {"002.Laysan/b.jpg": 1}
    assert benchmarks.load(tmp_path / "out").names == {"common": ["Black footed Albatross", "Laysan Albatross"]}


def test_a_folder_of_ones_own_with_and_without_splits(tmp_path: Path) -> None:
    for number in range(12):
        put(tmp_path / "mine" / ("fox" if number % 2 else "Apis_mellifera") / f"{number}.jpg", str(number))
    counts = prepare.write(prepare.labelled(tmp_path / "mine"), tmp_path / "out")
    assert sum(counts.values()) == 12 and set(counts) == {"dev", "test"}
    assert (
        contents(tmp_path / "out", "test").items()
        >= {name: int(name) % 2 for name in contents(tmp_path / "out", "test")}.items()
    )
    put(tmp_path / "split" / "dev" / "fox" / "a.jpg", "a")
    put(tmp_path / "split" / "test" / "owl" / "b.jpg", "b")
    prepare.write(prepare.labelled(tmp_path / "split"), tmp_path / "second")
    assert contents(tmp_path / "second", "dev") == {"a": 0} and contents(tmp_path / "second", "test") == {"b": 1}


def test_mistakes_are_told_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val\.json is missing"):
        prepare.inaturalist(tmp_path)
    with pytest.raises(UserError, match="no picture for the test split"):
        prepare.write(prepare.labelled(tmp_path), tmp_path / "out")
    coco(tmp_path / "inat", "val", [("a.jpg", 1)], [{"id": 1, "name": "Larus canus"}])
    (tmp_path / "inat" / "val" / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"a\.jpg is missing"):
        prepare.write(prepare.inaturalist(tmp_path / "inat"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        prepare.write(prepare.inaturalist(tmp_path / "inat"), tmp_path / "out")
