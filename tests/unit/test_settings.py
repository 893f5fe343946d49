"""The config: defaults, mistakes in one sentence, and what a change re-runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kg2clip import settings
from kg2clip.errors import UserError

LEAST = {"project": "bees", "knowledge": {"roots": ["Apidae"]}}


def test_defaults_reach_into_every_section() -> None:
    config = settings.complete(LEAST, "test")
    assert config["knowledge"]["ranks"] == ["species"]
    assert config["search"]["sources"]["commons"]["per_query"] == 200
    assert config["download"]["lanes"]["web"]["connections"] == 2
    assert LEAST == {"project": "bees", "knowledge": {"roots": ["Apidae"]}}, "the input is left alone"
    assert settings.complete(config, "test") == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"knowlege": {}}, "knowlege is no key of the config; did you mean knowledge?"),
        ({"curate": {"min_sid": 3}}, "curate.min_sid is no key of the config; did you mean min_side?"),
        ({"download": {"lanes": {"web": {"conections": 1}}}}, "download.lanes.web.conections is no key"),
        ({"dataset": {"licenses": "free"}}, "dataset.licenses is 'free'; choose one of: open, noncommercial, any"),
        ({"knowledge": {}}, "knowledge.roots is missing"),
        ({"project": "a/../b"}, "project: 'a/../b' does not match"),
        ({"project": 3}, "project: 3 is not of type 'string'"),
        ({"seed": -1}, "seed: -1 is less than the minimum of 0"),
        ({"download": {"lanes": {"a": {}}}}, "has no lane named web"),
        ({"download": {"lanes": {"web": {"batches": 99}, "a": {"batches": 2}}}}, "101 batches in all; at most 100"),
        ({"train": {"experiments": {"../x": {"recipe": "demo"}}}}, "'../x' does not match"),
    ],
)
def test_mistakes_are_named(change: dict, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        settings.complete({**LEAST, **change}, "config/config.yaml")
    assert str(error.value).startswith("config/config.yaml can't be used:")
    assert sentence in str(error.value)


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_a_config_that_is_no_mapping(content: object) -> None:
    with pytest.raises(UserError, match="can't be used"):
        settings.complete(content, "x.yaml")


def test_only_the_sources_that_are_named_are_asked_in_their_order() -> None:
    assert list(settings.complete(LEAST, "test")["search"]["sources"]) == ["wikidata", "commons"]
    named = {**LEAST, "search": {"sources": {"gbif": {}, "wikidata": {}}}}
    sources = settings.complete(named, "test")["search"]["sources"]
    assert list(sources) == ["gbif", "wikidata"] and sources["gbif"]["max_calls"] == 5000


def test_a_benchmark_may_lie_with_the_project() -> None:
    benchmarks = {"one": {"path": "results/{project}/x"}, "two": {"path": "/data/cub"}}
    config = settings.complete({**LEAST, "evaluate": {"benchmarks": benchmarks}}, "test")
    assert [benchmark["path"] for benchmark in config["evaluate"]["benchmarks"].values()] == [
        "results/bees/x",
        "/data/cub",
    ]


def test_files_that_are_missing_or_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(settings.ENVIRONMENT, raising=False)
    with pytest.raises(UserError, match="there is no config file"):
        settings.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,\nb: }")
    with pytest.raises(UserError, match=r"bad\.yaml is no valid YAML"):
        settings.load(tmp_path / "bad.yaml")


def test_the_workflow_hands_its_config_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.ENVIRONMENT, json.dumps({**LEAST, "seed": 7}))
    assert settings.load()["seed"] == 7


def test_addresses_contact_and_speed_are_not_tracked() -> None:
    one = settings.complete(LEAST, "test")
    other = settings.complete(
        {
            **LEAST,
            "contact": "me@example.org",
            "knowledge": {"roots": ["Apidae"], "endpoint": "http://other.test/", "page_size": 7},
            "search": {"sources": {"wikidata": {}, "commons": {"api": "http://x.test/", "requests_per_second": 1}}},
            "download": {"total_timeout": 3, "attempts": 1},
        },
        "test",
    )
    sections = ("contact", "knowledge", "search", "download")
    assert settings.tracked(one, *sections)["knowledge"] == settings.tracked(other, *sections)["knowledge"]
    assert settings.tracked(one, *sections)["search"] == settings.tracked(other, *sections)["search"]
    assert settings.tracked(one, *sections)["download"] == settings.tracked(other, *sections)["download"]
    assert settings.tracked(one, "dataset.licenses") == {"dataset.licenses": "noncommercial"}
    changed = settings.complete({**LEAST, "knowledge": {"roots": ["Apidae"], "min_sitelinks": 3}}, "test")
    assert settings.tracked(one, "knowledge") != settings.tracked(changed, "knowledge")


def test_every_key_is_described() -> None:
    def undescribed(schema: dict, place: str = "") -> list[str]:
        found = []
        for key, rule in schema.get("properties", {}).items():
            if "description" not in rule:
                found.append(f"{place}{key}")
            found += undescribed(rule, f"{place}{key}.")
        if isinstance(schema.get("additionalProperties"), dict):
            found += undescribed(schema["additionalProperties"], f"{place}*.")
        return found

    assert undescribed(settings.read_schema()) == []
