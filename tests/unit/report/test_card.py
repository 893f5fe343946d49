"""The model card: what stands in a run's files, on one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import write_card
from kg2clip import tables
from kg2clip.files import write_json
from kg2clip.report.card import model_card

FACTS: dict[str, Any] = {
    "experiment": "main", "startedFrom": None, "steps": 10, "batchSize": 8, "samplesSeen": 80, "epochs": 2,
    "parameters": 1234, "flops": 5e9, "seconds": 12.3, "processor": "cpu", "processes": 1, "threads": 2,
    "machine": "x86_64", "gpuHours": None, "kilowattHours": 0.5, "textMix": {"query": 0.75, "alt-text": 0.25},
    "dataHash": "d" * 20, "recipeHash": "e" * 20, "recipe": {"lr": 0.1}, "pictures": 40,
    "licenses": {"CC0-1.0": 30, "CC-BY | <b>": 10}, "sources": {"commons": 40},
}  # fmt: skip
GRAPH = {"endpoint": "https://graph.test/sparql", "date": "2026-11-20T10:00:00Z"}


def score(benchmark: str, metric: str, value: float, **others: Any) -> dict[str, Any]:
    row = {"experiment": "main", "benchmark": benchmark, "split": "test", "nameForm": "common", "prompts": "bare"}
    return {**row, "chosen": True, "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1, **others}


SCORES = [
    score("heldout", "top1", 0.5),
    score("heldout", "top5", 0.9),
    score("heldout", "top1", 0.77, chosen=False, prompts="photo"),
    score("heldout", "top1", 0.66, split="dev"),
    score("own-texts", "r1", 0.25, nameForm="captions", prompts="picture to text"),
]


def test_the_card_tells_data_graph_recipe_cost_licences_and_scores() -> None:
    card = model_card(FACTS, GRAPH, SCORES)
    for said in (
        "| graph | https://graph.test/sparql, read on 2026-11-20 |",
        "| texts drawn | query 75%, alt-text 25% |",
        "| energy of the GPUs | 0.5 kWh |",
        "| GPU hours | not measured |",
        f"| data hash | {'d' * 20} |",
        "lr: 0.1",
        "| CC0-1.0 | 30 |",
        "| CC-BY \\| &lt;b> | 10 |",
        "| heldout | common | bare | 50.0 % (40.0 % to 60.0 %) |",
        "| own-texts | captions | picture to text | 25.0",
        "optimistic",
        "must not be used",
    ):
        assert said in card, said
    assert "77.0" not in card and "66.0" not in card  # neither what was not chosen nor dev


def test_a_model_of_an_earlier_version_or_without_evaluation_has_a_card_too() -> None:
    facts = {key: value for key, value in FACTS.items() if key not in ("recipe", "licenses", "threads", "machine")}
    card = model_card(facts, {}, [])
    assert "Not evaluated" in card and "unknown, read on an unknown day" in card and "optimistic" not in card


def test_the_program_takes_the_scores_of_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "metrics.json", FACTS)
    write_json(tmp_path / "graph.json", GRAPH)
    write_json(tmp_path / "config.yaml", {"project": "test", "knowledge": {"roots": ["Apidae"]}})
    other = score("heldout", "top1", 0.31, experiment="other")
    tables.write([*SCORES, other], tables.SCORES, tmp_path / "scores.parquet")
    files = {"metrics": "metrics.json", "graph": "graph.json", "scores": "scores.parquet", "output": "README.md"}
    files |= {"provenance": "p.json", "config": "config.yaml"}
    arguments = [part for name, file in files.items() for part in (f"--{name}", str(tmp_path / file))]
    monkeypatch.setattr("sys.argv", ["write_card.py", *arguments])
    write_card.main()
    assert "31.0" not in (tmp_path / "README.md").read_text() and "50.0" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "p.json").read_text())["counts"] == {"scores": len(SCORES)}
