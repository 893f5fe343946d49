"""Our figures against those that CLIP_benchmark computed from the same embeddings (tests/full asks it live)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from unit.evaluate import known

from kg2clip import tables
from kg2clip.evaluate.hierarchy import Ladder
from kg2clip.evaluate.predictions import Classes, Split, zero_shot
from kg2clip.evaluate.retrieval import first_right
from kg2clip.evaluate.scores import read_answers, retrieval_scores, scores
from kg2clip.evaluate.zeroshot import Classifier

ABOUT = {"experiment": "made", "benchmark": "made"}


def test_zero_shot_classification() -> None:
    made = known.make()
    names = known.normalised(known.normalised(made.names).mean(axis=1))
    labels = np.arange(known.CLASSES, dtype=np.int32)
    keys = [str(number) for number in range(len(made.labels))]
    split = Split("test", keys, made.labels.astype(np.int32), known.normalised(made.pictures), np.full(len(keys), None))
    classes = Classes(Ladder([{} for _ in labels]), [None for _ in labels], [None for _ in labels])
    classifier = Classifier(labels, names, np.arange(known.CLASSES), [], [])
    table = pa.concat_tables(zero_shot([split], "common", "bare", classifier, classes, 100.0))
    rows = scores(read_answers(table), ABOUT, ["bare"], 100, seed=1)
    found = {row["metric"]: row["value"] for row in rows}
    assert found["top1"] == pytest.approx(known.CLASSIFICATION["acc1"], abs=1e-4)
    assert found["top5"] == pytest.approx(known.CLASSIFICATION["acc5"], abs=1e-4)
    assert found["macro"] == pytest.approx(known.CLASSIFICATION["mean_per_class_recall"], abs=1e-4)


def test_retrieval() -> None:
    made = known.make()
    pictures, texts = known.normalised(made.pictures), known.normalised(np.concatenate(made.captions))
    counts = np.array([len(each) for each in made.captions])
    owners, ends = np.repeat(np.arange(len(counts)), counts), counts.cumsum()
    rows = [
        {"key": f"{owner}/{place}" if query == "text" else str(place), "split": "test", "query": query, "rank": rank}
        for query, (ranks, _) in (
            ("picture", first_right(pictures, texts, ends - counts, ends)),
            ("text", first_right(texts, pictures, owners, owners + 1)),
        )
        for place, (owner, rank) in enumerate(zip(owners if query == "text" else counts, ranks.tolist(), strict=True))
    ]
    frame = tables.as_table(rows, tables.RETRIEVALS).to_pandas()
    found = {(row["prompts"], row["metric"]): row["value"] for row in retrieval_scores(frame, ABOUT, 100, seed=1)}
    for k in (1, 5, 10):
        image, text = (known.RETRIEVAL[f"{query}_retrieval_recall@{k}"] for query in ("image", "text"))
        assert found["text to picture", f"r{k}"] == pytest.approx(image, abs=1e-4)
        assert found["picture to text", f"r{k}"] == pytest.approx(text, abs=1e-4)
