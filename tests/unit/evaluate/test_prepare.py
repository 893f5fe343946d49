"""Published sets in small, to benchmarks that the evaluation reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kg2clip.errors import UserError
from kg2clip.evaluate import benchmark as benchmarks
from kg2clip.evaluate import prepare
from kg2clip.wordnet import read_wordnet

WORDNET = Path("/usr/share/wordnet")


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


def test_rare_species(tmp_path: Path) -> None:
    folder = tmp_path / "rare-species"
    ranks = "kingdom,phylum,class,order,family,genus,species,sciName,common"
    rows = [f"rarespecies_id,eol_content_id,eol_page_id,{ranks}"]
    for number in range(24):
        name = ("Bison bonasus", "European bison") if number % 2 else ("Ara ambiguus", '"Macaw, great green"')
        genus, species = name[0].split()
        above = "Animalia,Chordata,X,Y,Z"
        rows.append(f"r{number},{100 + number},7,{above},{genus},{species},{name[0]},{name[1]}")
        put(
            folder / "dataset" / f"animalia-{genus}" / f"{100 + number}_7_eol-full-size-copy.jpg", f"{name[0]} {number}"
        )
    put(folder / "metadata" / "licenses.csv", "source,license\na,b\n")
    put(folder / "metadata" / "rarespecies-catalog.csv", "\n".join(rows))
    counts = prepare.write(prepare.rare_species(folder), tmp_path / "out")
    assert sum(counts.values()) == 24 and 4 <= counts["dev"] <= 12
    benchmark = benchmarks.load(tmp_path / "out")
    assert benchmark.names["common"] == ["Macaw, great green", "European bison"]
    assert benchmark.names["taxonomic"] == [
        "Animalia Chordata X Y Z " + name for name in ("Ara ambiguus", "Bison bonasus")
    ]
    for split in counts:
        assert all(
            content.startswith(("Ara", "Bison")[label]) for content, label in contents(tmp_path / "out", split).items()
        )
    (folder / "dataset" / "animalia-Ara" / "100_7_eol-full-size-copy.jpg").unlink()
    with pytest.raises(UserError, match="100_7_ is missing"):
        prepare.write(prepare.rare_species(folder), tmp_path / "again")
    (folder / "metadata" / "rarespecies-catalog.csv").unlink()
    with pytest.raises(UserError, match="has no catalogue"):
        prepare.rare_species(folder)


# By their numbers in ImageNet.
SYNSETS = {0: "n01440764", 7: "n01514668", 983: "n10565667", 985: "n11939491", 988: "n12267677", 847: "n04389033"}
COMMON = {0: "tench", 7: "rooster", 983: "scuba diver", 985: "daisy", 988: "acorn", 847: "tank"}


def test_imagenet_with_living_and_other_classes_apart(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet"
    for number, synset in SYNSETS.items():
        put(folder / "val" / synset / "ILSVRC2012_val_00000001.JPEG", f"val {number}")
        for picture in range(12):
            put(folder / "train" / synset / f"{synset}_{picture}.JPEG", f"train {number} {picture}")
    put(folder / "val" / "notes" / "a.jpg", "no class")
    for name, wanted in (("all", None), ("living", True), ("other", False)):
        counts = prepare.write(prepare.imagenet(folder, wanted), tmp_path / name)
        benchmark = benchmarks.load(tmp_path / name)
        numbers = [n for n in sorted(SYNSETS) if wanted is None or (n in (0, 7, 985)) == wanted]
        assert benchmark.names == {"common": [COMMON[number] for number in numbers]}
        assert benchmark.entities == [f"wn:{SYNSETS[number][1:]}-n" for number in numbers]
        assert contents(tmp_path / name, "test") == {f"val {number}": label for label, number in enumerate(numbers)}
        assert counts["dev"] == 10 * len(numbers)


@pytest.mark.parametrize("named", [lambda number: SYNSETS[number], str])
def test_shifts_of_imagenet_have_the_classes_that_are_there(named: object, tmp_path: Path) -> None:
    for number in (988, 7, 0):
        put(tmp_path / "shift" / named(number) / "a.jpeg", str(number))  # type: ignore[operator]
    assert prepare.write(prepare.imagenet(tmp_path / "shift"), tmp_path / "out") == {"test": 3}
    assert contents(tmp_path / "out", "test") == {"0": 0, "7": 1, "988": 2}
    put(tmp_path / "flat" / "ILSVRC2012_val_00000001.JPEG", "a")
    with pytest.raises(UserError, match=r"valprep\.sh"):
        prepare.imagenet(tmp_path / "flat")


def test_the_list_of_living_things_has_its_known_ends() -> None:
    assert len(prepare.LIVING) == 407 and {0, 397, 985, 997} <= prepare.LIVING
    assert not {398, 981, 982, 983, 984, 987, 988, 989, 990, 998} & prepare.LIVING


@pytest.mark.skipif(not WORDNET.is_dir(), reason="Debian's wordnet-base is not installed")
def test_the_list_of_living_things_follows_from_wordnet() -> None:
    from timm.data import ImageNetInfo

    nouns = read_wordnet(WORDNET)
    organisms, persons = nouns.below(["00004475-n"]), nouns.below(["00007846-n"])
    assert nouns.synsets["00004475-n"].words[0] == "organism" and nouns.synsets["00007846-n"].words[0] == "person"
    synsets = [f"{name[1:]}-n" for name in ImageNetInfo("imagenet-1k").label_names()]
    assert {n for n, synset in enumerate(synsets) if synset in organisms - persons} == prepare.LIVING


@pytest.mark.parametrize(
    ("lists", "place", "named"),
    [
        ("karpathy/dataset_coco.json", "val2014", {"filepath": "val2014"}),
        ("dataset_flickr30k.json", "flickr30k-images", {}),
        ("dataset_flickr30k.json", "images", {}),
    ],
)
def test_coco_and_flickr30k(lists: str, place: str, named: dict[str, str], tmp_path: Path) -> None:
    folder, images = tmp_path / "set", []
    for number, split in enumerate(("test", "train", "val", "restval", "test")):
        told = [{"raw": f"caption {number}\n.", "tokens": []}, {"raw": " another "}]
        images.append({"filename": f"{number}.jpg", "split": split, "sentences": told, **named})
        put(folder / place / f"{number}.jpg", str(number))
    put(folder / lists, json.dumps({"images": images, "dataset": "set"}))
    assert prepare.write(prepare.captions(folder), tmp_path / "out") == {"test": 2, "dev": 1}
    benchmark = benchmarks.load(tmp_path / "out")
    assert benchmark.retrieval
    assert [picture.captions for picture in benchmark.pictures("test")] == [
        ("caption 0 .", "another"),
        ("caption 4 .", "another"),
    ]
    with pytest.raises(UserError, match="put Karpathy's file"):
        prepare.captions(tmp_path / "out")


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
