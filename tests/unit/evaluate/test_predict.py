"""Naming the pictures of a folder: the lowest sure group, tables of taxa, pictures as people have them, the outputs."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from unit.train.cases import export_model

import predict
from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.evaluate.contact import Answer, write_sheet, write_table
from kg2clip.evaluate.names import name_forms
from kg2clip.evaluate.pictures import Opened, open_picture
from kg2clip.evaluate.taxa import Taxon, Tree, probabilities, read_taxa

ROBIN, GULL, FOX = "Erithacus rubecula", "Larus argentatus", "Vulpes vulpes"


def group(name: str, rank: str) -> Taxon:
    return Taxon(name, name, None, rank)


BIRDS, MAMMALS, ANIMALS = group("Aves", "class"), group("Mammalia", "class"), group("Metazoa", "kingdom")
LARUS = group("Larus", "genus")
TAXA = [
    Taxon("1", ROBIN, "robin", "species", (group("Erithacus", "genus"), BIRDS, ANIMALS)),
    Taxon("2", GULL, "herring gull", "species", (LARUS, BIRDS, ANIMALS)),
    Taxon("3", "Larus canus", "common gull", "species", (LARUS, BIRDS, ANIMALS)),
    Taxon("4", FOX, "fox", "species", (group("Vulpes", "genus"), MAMMALS, ANIMALS)),
]


@pytest.mark.parametrize(
    ("row", "name", "probability"),
    [
        ([0.7, 0.1, 0.1, 0.1], ROBIN, 0.7),  # not Erithacus, which holds the same taxa
        ([0.1, 0.5, 0.3, 0.1], "Larus", 0.8),
        ([0.4, 0.25, 0.25, 0.1], "Aves", 0.9),
        ([0.35, 0.3, 0.33, 0.02], "Larus", 0.63),  # though the robin is the best single one
        ([0.3, 0.1, 0.1, 0.5], None, None),  # Metazoa holds all taxa: it says nothing
    ],
)
def test_the_lowest_group_that_is_sure(row: list[float], name: str | None, probability: float | None) -> None:
    (answer,) = Tree(TAXA).surest(np.array([row], np.float32), 0.6)
    assert (answer and answer[0].name) == name
    assert answer is None or answer[1] == pytest.approx(probability)


def test_a_taxon_above_another_counts_for_both() -> None:
    tree = Tree([LARUS, TAXA[1], TAXA[0]])
    (answer,) = tree.surest(np.array([[0.4, 0.3, 0.3]], np.float32), 0.6)
    assert answer and answer[0] == LARUS and answer[1] == pytest.approx(0.7)


def test_probabilities_of_a_scale() -> None:
    cosines = np.array([[0.2, 0.1]], np.float32)
    assert probabilities(cosines, 10.0)[0] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])


def test_forms_of_names() -> None:
    forms = name_forms("Pica hudsonia", "black-billed magpie", ["Animalia", "Chordata", "Aves", "Pica"])
    assert forms["taxonomic"] == "Animalia Chordata Aves Pica hudsonia"  # the genus stands in the name
    assert forms["combined"] == "Animalia Chordata Aves Pica hudsonia with common name black-billed magpie"
    assert name_forms("Pica hudsonia", None, ["Aves"])["combined"] == "Aves Pica hudsonia"
    assert name_forms(None, "magpie", ["Aves"])["taxonomic"] is None
    assert name_forms("Pica hudsonia", "magpie", [])["combined"] is None


def test_taxa_of_a_darwin_core_table(tmp_path: Path) -> None:
    path = tmp_path / "taxa.csv"
    path.write_text(
        "\ufeffscientificName;vernacularName;class;genus\n"
        'Prunella modularis;"dunnock; hedge sparrow";Aves;Prunella\n\nPrunella vulgaris;;Magnoliopsida;Prunella\n'
    )
    bird, plant = read_taxa([str(path)])
    assert bird.vernacular_name == "dunnock; hedge sparrow" and plant.vernacular_name is None
    assert [each.name for each in bird.above] == ["Prunella", "Aves"]
    assert bird.above[0].identifier != plant.above[0].identifier  # two genera of one name
    assert bird.named("taxonomic") == "Aves Prunella modularis"
    assert plant.named("common") == "Prunella vulgaris"


def test_taxa_of_the_graph_names_and_lines(tmp_path: Path) -> None:
    ancestors = [("wd:1", "Larus", "genus"), ("wd:2", "Lari", None), ("wd:3", "Aves", "class")]
    row: dict[str, Any] = {"entityID": "wd:9", "scientificName": GULL, "vernacularName": "gull", "taxonRank": "species"}
    row["ancestors"] = [{"entityID": i, "scientificName": name, "taxonRank": rank} for i, name, rank in ancestors]
    tables.write([row], tables.ENTITIES, tmp_path / "entities.parquet")
    (tmp_path / "names.txt").write_text("# mine\nfox\n\nrobin\nfox\n")
    taxa = read_taxa([str(tmp_path / "entities.parquet"), str(tmp_path / "names.txt"), "owl", "robin"])
    assert [taxon.name for taxon in taxa] == [GULL, "fox", "robin", "owl"]
    assert [each.name for each in taxa[0].above] == ["Larus", "Aves"]  # the main ranks


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.txt", "\ufefffox\r\nrobin\r\n\r\n"),
        ("head.txt", "\ufeffscientificName\r\nfox\r\nrobin\r\n"),
        ("head.csv", "\ufeffid , scientificName \r\n1, fox\r\n\r\n2,robin,and more\r\n3\r\n"),
        ("line.csv", 'scientificName,note\nfox,"in two\nlines"\nrobin,'),
        ("old mac.tsv", "scientificName\trank\rfox\tspecies\rrobin\tspecies\r"),
    ],
)
def test_taxa_as_spreadsheets_save_them(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert [taxon.name for taxon in read_taxa([str(tmp_path / name)])] == ["fox", "robin"]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["fox"], "name two taxa at least"),
        (["gone.csv"], "there is no file gone.csv"),
        (["bad.csv"], "has no column scientificName"),
        (["latin.txt"], "is no UTF-8 text"),
        (["empty.csv"], "has no column scientificName"),
        (["endless.csv"], "is no table that can be read"),
    ],
)
def test_mistakes_in_taxa_are_told(
    sources: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("name,rank\nfox,species\n")
    Path("empty.csv").write_text("")
    Path("endless.csv").write_text('scientificName\n"' + "x" * 200_000)
    Path("latin.txt").write_bytes("Käfer\n".encode("latin-1"))
    with pytest.raises(UserError, match=message):
        read_taxa(sources)


def test_pictures_stand_upright_and_on_white(tmp_path: Path) -> None:
    turned = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    seen: list[Image.Image] = []

    def preprocess(image: Image.Image) -> torch.Tensor:
        seen.append(image.copy())
        return torch.zeros(1)

    assert all(isinstance(open_picture(tmp_path / name, preprocess), Opened) for name in ("turned.jpg", "clear.png"))
    assert seen[0].size == (20, 40)
    assert seen[1].getpixel((5, 5)) == (255, 255, 255)


def test_odd_pictures_are_read_or_say_why(tmp_path: Path) -> None:
    def preprocess(image: Image.Image) -> torch.Tensor:
        assert image.mode == "RGB"
        return torch.tensor([image.width, image.height, *image.getpixel((0, 0))])

    Image.new("L", (9000, 2), 7).save(tmp_path / "slim.png")
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    whole = Image.new("RGB", (64, 64), "red")
    whole.save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:300])
    (tmp_path / "none.jpg").write_bytes(b"")
    Image.new("L", (8000, 4000), 7).save(tmp_path / "panorama.jpg")
    slim, deep, panorama = (
        open_picture(tmp_path / name, preprocess) for name in ("slim.png", "deep.png", "panorama.jpg")
    )
    assert isinstance(panorama, Opened) and panorama.tensor[:2].tolist() == [4000, 2000]  # decoded at half its size
    assert isinstance(slim, Opened) and slim.tensor.tolist() == [16, 2, 7, 7, 7]  # the middle, not 4500 times as wide
    assert isinstance(deep, Opened) and deep.tensor.tolist() == [4, 4, 156, 156, 156]
    told = {name: open_picture(tmp_path / name, preprocess) for name in ("bomb.png", "cut.jpg", "none.jpg")}
    assert str(told["bomb.png"]).startswith(
        ("is too large: 20000 x 10000", "can't be read: Image size")
    )  # ours, Pillow's
    assert str(told["cut.jpg"]).startswith("can't be read")
    assert told["none.jpg"] == "is no picture that can be read"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = Taxon("x", '=HYPERLINK("http://evil")', "<script>alert(1)</script>", "species")
    answer = Answer("a<b>.jpg", evil, 0.9, [(evil, 0.9)])
    write_table([answer], tmp_path / "t.csv")
    write_sheet([answer], "<title>", "note", tmp_path / "s.html")
    (row,) = csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8"))
    assert row["scientificName"] == '\'=HYPERLINK("http://evil")' and row["probability"] == "0.9000"
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page and "a&lt;b&gt;.jpg" in page


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return export_model(tmp_path / "model")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["predict.py", *map(str, arguments), "--threads", "1"])
    predict.main()


def test_a_folder_of_pictures(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("b.jpg", "below/a.png")):
        noise = np.random.default_rng(number).integers(0, 255, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    (folder / "broken.JPG").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not one either")
    (folder / os.fsdecode(b"k\xe4fer.jpg")).write_bytes(b"no picture with no name in UTF-8")
    run(monkeypatch, model, folder, "--output", tmp_path / "out", "--taxa", "robin", "fox", "--temperature", "0.001")
    rows = {row["file"]: row for row in csv.DictReader((tmp_path / "out" / "predictions.csv").open(encoding="utf-8"))}
    assert set(rows) == {"b.jpg", "below/a.png", "broken.JPG", "k\N{REPLACEMENT CHARACTER}fer.jpg"}
    assert rows["broken.JPG"]["remark"] == "is no picture that can be read" and not rows["broken.JPG"]["taxon1"]
    for name in ("b.jpg", "below/a.png"):
        row = rows[name]
        assert row["scientificName"] == row["taxon1"] and {row["taxon1"], row["taxon2"]} == {"robin", "fox"}
        assert float(row["probability1"]) + float(row["probability2"]) == pytest.approx(1, abs=1e-3)
    page = (tmp_path / "out" / "contact-sheet.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 4 and page.count("data:image/jpeg") == 2 and "2 not readable" in page


def test_the_temperature_is_that_of_the_models_evaluation(tmp_path: Path) -> None:
    (tmp_path / "models" / "main").mkdir(parents=True)
    assert predict.fitted_temperature(tmp_path / "models" / "main", "common") is None
    for name, values in {"a": (2.0, 2.0, None), "b": (4.0, 6.0, 6.0)}.items():
        rows = [{"nameForm": "common", "temperature": value} for value in values]
        rows.append({"nameForm": "scientific", "temperature": 99.0})
        tables.write(rows, tables.PREDICTIONS, tmp_path / "evaluation" / "main" / f"{name}.parquet")
    evaluation = tmp_path / "evaluation" / "main"
    tables.write([], tables.RETRIEVALS, evaluation / "captions.parquet")
    tables.write([{"nameForm": "common", "temperature": 0.1}], tables.PREDICTIONS, evaluation / "own.parquet")
    assert predict.fitted_temperature(tmp_path / "models" / "main", "common") == 4.0
    for name in ("a", "b"):
        (evaluation / f"{name}.parquet").unlink()
    assert predict.fitted_temperature(tmp_path / "models" / "main", "common") == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "0"], "must be above 0"),
        (["--threshold", "0.4"], "must lie between 0.5 and 1"),
        (["--prompts", "a photo"], "has no {c}"),
        ([], "holds no picture"),
    ],
)
def test_mistakes_on_the_command_line_are_told(
    arguments: list[str], message: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        run(monkeypatch, model, tmp_path / "empty", "--taxa", "robin", "fox", *arguments)
