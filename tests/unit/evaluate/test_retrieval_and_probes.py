"""Benchmarks of captions, few-shot probes, and which taxa the dataset shows."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.evaluate import benchmark as benchmarks
from kg2clip.evaluate.benchmark import Picture
from kg2clip.evaluate.hierarchy import Ladder
from kg2clip.evaluate.predictions import Classes, Split, few_shot
from kg2clip.evaluate.probe import Probe, draw
from kg2clip.evaluate.retrieval import first_right, retrieve
from kg2clip.evaluate.seen import met_pictures, seen_classes
from kg2clip.evaluate.zeroshot import Classifier, best_labels

CPU = torch.device("cpu")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write(folder: Path, members: dict[str, bytes]) -> None:
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text("1")
    with tarfile.open(folder / "test" / "0.tar", "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_a_benchmark_of_captions(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": b"x", "a.txt": "a fox\n\nein Füchslein\n".encode(), "b.jpg": b"y", "b.txt": b"an owl"})
    (tmp_path / "dataset_type.txt").write_text("Retrieval\n")
    benchmark = benchmarks.load(tmp_path)
    assert benchmark.retrieval and benchmark.splits == ("test",)
    assert [(p.key, p.captions) for p in benchmark.pictures("test")] == [
        ("a", ("a fox", "ein Füchslein")),
        ("b", ("an owl",)),
    ]
    (tmp_path / "dataset_type.txt").write_text("multilabel")
    with pytest.raises(UserError, match="says 'multilabel'"):
        benchmarks.load(tmp_path)


@pytest.mark.parametrize(
    ("member", "message"), [({}, r"a has no caption \(\.txt\)"), ({"a.txt": b" \n"}, "caption of a is empty")]
)
def test_pictures_without_a_caption_are_told(member: dict[str, bytes], message: str, tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": b"x", **member})
    (tmp_path / "dataset_type.txt").write_text("retrieval")
    with pytest.raises(UserError, match=message):
        benchmarks.load(tmp_path).pictures("test")


def test_ranks_by_hand_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = np.eye(4, dtype=np.float32)
    queries = np.array([[4, 3, 2, 1], [1, 2, 3, 4], [1, 1, 1, 1]], np.float32)
    starts, ends = np.array([2, 0, 1]), np.array([4, 2, 2])
    whole = first_right(queries, candidates, starts, ends)
    assert whole[0].tolist() == [3, 3, 2]  # of equal ones the earlier comes first
    assert whole[1].tolist() == [2, 2, 1]
    monkeypatch.setattr("kg2clip.evaluate.retrieval.CELLS", 4)
    assert all(
        np.array_equal(one, other)
        for one, other in zip(whole, first_right(queries, candidates, starts, ends), strict=True)
    )


def test_each_picture_and_each_caption_is_a_query() -> None:
    pictures = [Picture("a", -1, Path(), 0, 0, ("1 0", "0 1")), Picture("b", -1, Path(), 0, 0, ("0 2",))]
    model = SimpleNamespace(embed_texts=lambda texts: unit(np.array([text.split() for text in texts], float)))
    table = retrieve(model, "test", pictures, unit(np.array([[1, 0.1], [0.1, 1]])))  # type: ignore[arg-type]
    rows = [(row["key"], row["query"], row["rank"]) for row in table.to_pylist()]
    assert rows == [
        ("a", "picture", 1),
        ("b", "picture", 2),
        ("a/0", "text", 1),
        ("a/1", "text", 2),
        ("b/0", "text", 1),
    ]


def test_best_labels_are_those_of_a_stable_sort_also_where_cosines_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(0)
    texts = random.randint(-1, 2, (40, 3)).astype(np.float32)  # many equal cosines
    rows = np.concatenate([np.arange(40), random.randint(0, 40, 20)])
    labels = np.arange(0, 120, 2, dtype=np.int32)
    pictures = random.randint(-1, 2, (200, 3)).astype(np.float32)
    classifier = Classifier(labels, texts, rows, [], [])
    cosines = classifier.cosines(pictures)
    order = (-cosines).argsort(axis=1, kind="stable")[:, :5]
    monkeypatch.setattr("kg2clip.evaluate.zeroshot.CELLS", 1000)
    best, scores, sure = best_labels(pictures, classifier, scales=(2.0,))
    assert np.array_equal(best, labels[order])
    assert np.array_equal(scores, np.take_along_axis(cosines, order, axis=1))
    exact = np.exp(2 * (cosines - cosines.max(axis=1, keepdims=True))).sum(axis=1)
    assert sure[:, 0] == pytest.approx(1 / exact, rel=1e-5)


def made(classes: int, each: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    centres = np.random.RandomState(0).randn(classes, 16)
    labels = np.repeat(np.arange(classes), each).astype(np.int32)
    return unit(centres[labels] + noise * np.random.RandomState(seed).randn(len(labels), 16)), labels


@pytest.mark.parametrize("cells", [15, 4_000_000])
def test_a_probe_finds_the_optimum_of_its_regression(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kg2clip.evaluate.probe.CELLS", cells)
    embedded, labels = made(3, 8, seed=1, noise=0.8)
    probe = Probe(embedded, labels, 3, None, CPU)
    inputs, weights = np.c_[embedded * 10.0, np.ones(len(labels))], probe._weights.double().numpy()
    logits = inputs @ weights
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    gradient = inputs.T @ (shares - np.eye(3)[labels])
    gradient[:-1] += weights[:-1] / probe.strength  # that of the sum of losses with scikit-learn's penalty
    assert np.abs(gradient).max() < 0.01 * len(labels)


def test_more_pictures_make_better_probes_and_the_draw_is_fixed() -> None:
    dev, test = (
        Split(name, [f"{name}{n}" for n in range(600)], *made(20, 30, seed, 1.2)[::-1], np.array([None] * 600))
        for name, seed in (("dev", 1), ("test", 2))
    )
    classes = Classes(Ladder([{}] * 20), [None] * 20, [None] * 20)
    found = [list(few_shot([dev, test], [10, 1, 31], classes, 3, CPU)) for _ in range(2)]
    assert [table.to_pylist() for table in found[0]] == [table.to_pylist() for table in found[1]]
    one, ten = found[0]  # 31 pictures of a class dev has not
    assert set(ten["nameForm"].to_pylist()) == {"10-shot"} and set(ten["split"].to_pylist()) == {"test"}
    rates = [np.mean([row["top"][0] == row["label"] for row in table.to_pylist()]) for table in (one, ten)]
    assert 1 / 20 < rates[0] < rates[1]
    assert not list(few_shot([test], [1], classes, 3, CPU))  # without a dev split nothing may be learnt


def test_the_draw_takes_so_many_of_each_class() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0])
    keys = list("abcdef")
    drawn = draw(keys, labels, 2, 2, seed=1)
    assert drawn is not None and labels[drawn].tolist() == [0, 0, 1, 1] and len(set(drawn.tolist())) == 4
    assert draw(keys, labels, 3, 1, seed=1) is None
    others = {tuple(draw(keys, labels, 2, 2, seed=seed).tolist()) for seed in range(20)}  # type: ignore[union-attr]
    assert len(others) > 1


def test_seen_classes(tmp_path: Path) -> None:
    names: list[str | None] = ["Apis mellifera", "Bombus lucorum", "Prunella", "Larus canus", None]
    benchmark = benchmarks.Benchmark(tmp_path, 5, {"scientific": names}, ("test",), [{}] * 5, ["wd:1", *[None] * 4])
    entities = [("wd:1", "Apis"), ("wd:2", "Bombus lucorum"), ("wd:3", "Prunella"), ("wd:4", "Prunella")]
    rows = [{"entityID": identifier, "scientificName": name} for identifier, name in entities]
    tables.write(rows, tables.ENTITIES, tmp_path / "entities.parquet")
    shown = [{"key": "a", "split": "train", "entityIDs": ["wd:1", "wd:3"]}, {"split": "test", "entityIDs": ["wd:2"]}]
    tables.write(shown, tables.DATASET, tmp_path / "manifest.parquet")
    # By its id; by its name, held out; two genera of the name; not in the graph; nameless.
    expected = [True, False, None, None, None]
    assert seen_classes(benchmark, tmp_path / "manifest.parquet", tmp_path / "entities.parquet") == expected


def test_pictures_that_the_harvest_met(tmp_path: Path) -> None:
    found = [("birds", "test/a"), ("birds", "test/a"), ("birds", "dev/b"), ("others", "test/c"), (None, None)]
    rows = [{"candidateID": str(n), "benchmark": name, "benchmarkKey": key} for n, (name, key) in enumerate(found)]
    tables.write(rows, tables.DECISIONS, tmp_path / "decisions.parquet")
    met = met_pictures(tmp_path / "decisions.parquet", "birds")
    assert met == {"test/a", "dev/b"}
    pictures = [Picture(key, 0, Path(), 0, 0) for key in ("a", "b")]
    assert Split.of("test", pictures, np.eye(2, dtype=np.float32), met).met.tolist() == [True, False]
    split = Split.of("test", pictures, np.eye(2, dtype=np.float32), None)
    assert split.only(np.array([False, True])).met.tolist() == [None]
