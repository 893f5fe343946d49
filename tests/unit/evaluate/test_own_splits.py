"""The dataset's own held-out pictures: what they are asked, where they lie, and what counts as seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from unit.train.cases import export_model, write_dataset

import evaluate_own
from kg2clip import settings, tables
from kg2clip.errors import UserError
from kg2clip.evaluate import own
from kg2clip.evaluate.scores import gather
from kg2clip.evaluate.seen import seen_classes

SPECIES = ("Larus argentatus", "Erithacus rubecula", "Turdus migratorius")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a dataset of 30 pictures of three species, six of them held out, and its entities."""
    manifest = write_dataset(tmp_path / "dataset")
    rows = tables.read(manifest).to_pylist()
    for number, row in enumerate(rows[:6]):
        row["split"] = "val" if number % 2 else "test"
        row["texts"].append({"text": f"gull {number}", "kind": "alt-text", "weight": 0.1})
    tables.write(rows, tables.DATASET, manifest)
    entities = [
        {
            "entityID": f"wd:Q{number}",
            "scientificName": name,
            "ancestors": [
                {"entityID": f"wd:G{number}", "scientificName": name.split()[0], "taxonRank": "genus"},
                {"entityID": "wd:Aves", "scientificName": "Aves", "taxonRank": "class"},
            ],
        }
        for number, name in enumerate((*SPECIES, "Milvus milvus"))
    ]
    tables.write(entities, tables.ENTITIES, tmp_path / "entities.parquet")
    return tmp_path


def test_held_out_pictures_lie_in_the_datasets_shards(data: Path) -> None:
    held = own.load(data / "dataset" / "manifest.parquet", data / "entities.parquet")
    assert held.benchmark.names["scientific"] == list(SPECIES)  # all that the dataset shows, held out or not
    assert held.benchmark.names["taxonomic"][0] == "Aves Larus argentatus"
    assert {split: [picture.key for picture in pictures] for split, pictures in held.pictures.items()} == {
        "dev": ["picture001", "picture003", "picture005"],
        "test": ["picture000", "picture002", "picture004"],
    }
    first = held.pictures["test"][0]
    assert first.label == 0 and first.captions == ("number 0", "gull 0")
    with first.tar.open("rb") as file:
        file.seek(first.offset)
        assert file.read(2) == b"\xff\xd8"


def test_the_lowest_entity_is_a_pictures_label() -> None:
    above = {"species": {"genus", "family"}, "genus": {"family"}, "other": {"family"}}
    assert own.lowest(["family", "species", "genus"], above) == "species"
    assert own.lowest(["species", "other"], above) is None  # two at once: neither is wrong
    assert own.lowest([], above) is None
    assert own.lowest(["wn:bird"], above) == "wn:bird"


def test_captions_belong_to_one_picture() -> None:
    def text(said: str | None, kind: str = "alt-text", weight: float = 0.5) -> dict[str, Any]:
        return {"text": said, "kind": kind, "weight": weight}

    texts = [
        [text("a robin"), text("my  robin\nin May", weight=0.9), text("Erithacus rubecula", "scientific")],
        [text("a robin"), text(" "), text(None)],
        [text(f"view {number}") for number in range(9)],
    ]
    assert own.own_captions(texts) == [("my robin in May",), (), tuple(f"view {number}" for number in range(5))]


def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, dict[str, Any]]:
    content = {"project": "test", "knowledge": {"roots": ["Apidae"]}, "train": {"workers": 0, "device": "cpu"}}
    content["evaluate"] = {"prompts": {"bare": ["{c}"], "photo": ["a photo of {c}"]}}  # type: ignore[dict-item]
    (data / "config.yaml").write_text(yaml.safe_dump(settings.complete(content, "the test's config")))
    files = {"dataset": "dataset/manifest.parquet", "entities": "entities.parquet", "names": "main/own.parquet"}
    files |= {"texts": "main/own-texts.parquet", "provenance": "p.json", "config": "config.yaml", "model": "model"}
    arguments = [part for name, file in files.items() for part in (f"--{name}", str(data / file))]
    monkeypatch.setattr("sys.argv", ["evaluate_own.py", "--threads", "1", *arguments])
    evaluate_own.main()
    counts: dict[str, Any] = json.loads((data / "p.json").read_text())["counts"]
    return tables.read_frame(data / "main/own.parquet"), tables.read_frame(data / "main/own-texts.parquet"), counts


def test_the_program_asks_for_names_and_texts(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_model(data / "model")
    names, texts, counts = run(data, monkeypatch)
    assert counts["pictures"] == {"dev": 3, "test": 3} and counts["classes"] == 3 and counts["captions"] == 12
    sizes = names.groupby(["split", "nameForm", "prompts"]).size()
    assert set(sizes) == {3} and len(sizes) == 2 * 2 * 2  # splits, scientific and taxonomic, prompts
    assert names["met"].isna().all() and set(names["seen"]) == {True}
    assert all(sorted(top) == [0, 1, 2] for top in names["top"])
    assert texts.groupby(["split", "query"]).size().to_dict() == {
        ("dev", "picture"): 3, ("dev", "text"): 6, ("test", "picture"): 3, ("test", "text"): 6,
    }  # fmt: skip
    config = settings.load(data / "config.yaml")
    found = gather([data / "main/own.parquet", data / "main/own-texts.parquet"], config)
    assert {row["benchmark"] for row in found.scores} == {"own", "own-texts"} and found.without_dev == []
    assert any(row["metric"] == "macro" and row["split"] == "test" for row in found.scores)


def test_a_dataset_that_holds_nothing_out_gives_empty_tables_and_no_scores(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = tables.read(data / "dataset" / "manifest.parquet").to_pylist()
    tables.write([row | {"split": "train"} for row in rows], tables.DATASET, data / "dataset" / "manifest.parquet")
    names, texts, counts = run(data, monkeypatch)  # no model is asked for: there is none
    assert names.empty and texts.empty and counts["pictures"] == {}
    assert "holds no picture out for test" in caplog.text
    files = [data / "main/own.parquet", data / "main/own-texts.parquet"]
    assert gather(files, settings.load(data / "config.yaml")).scores == []
    with pytest.raises(UserError, match=r"heldout\.parquet holds no prediction"):
        gather([files[0].rename(data / "main/heldout.parquet")], settings.load(data / "config.yaml"))


def test_held_out_pictures_are_not_seen(data: Path) -> None:
    manifest = data / "dataset" / "manifest.parquet"
    held = own.load(manifest, data / "entities.parquet")
    assert seen_classes(held.benchmark, manifest, data / "entities.parquet") == [True, True, True]
    rows = tables.read(manifest).to_pylist()
    rows = [row for row in rows if row["split"] != "train" or row["entityIDs"] != ["wd:Q1"]]
    tables.write(rows, tables.DATASET, manifest)
    assert seen_classes(held.benchmark, manifest, data / "entities.parquet") == [True, False, True]


def test_pictures_keep_their_embeddings(data: Path) -> None:
    held = own.load(data / "dataset" / "manifest.parquet", data / "entities.parquet")
    held.pictures["test"][1] = held.pictures["test"][1].__class__("x", -1, Path("t"), 0, 1)
    vectors = np.arange(3, dtype=np.float32)[:, None]
    pictures, kept = held.labelled("test", vectors)
    assert [picture.key for picture in pictures] == ["picture000", "picture004"] and kept[:, 0].tolist() == [0, 2]
    assert len(held.captioned("test", vectors)[0]) == 2


def test_the_names_of_the_own_sets_are_taken() -> None:
    least = {"project": "test", "knowledge": {"roots": ["Apidae"]}}
    with pytest.raises(UserError, match="own is the name of the dataset's own test"):
        settings.complete({**least, "evaluate": {"benchmarks": {"own": {"path": "x"}}}}, "test")
    assert settings.own_sets(settings.complete(least, "test")) == ("own", "own-texts")
    for change in ({"evaluate": {"own": False}}, {"dataset": {"test_share": 0}}):
        assert settings.own_sets(settings.complete({**least, **change}, "test")) == ()
