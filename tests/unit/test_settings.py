"""The config: defaults, mistakes in one sentence, and what a change re-runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kg2clip import codehash, settings
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
        ({"project": "a/../b"}, "project: 'a/../b' can't be taken. Name of the run"),
        ({"project": 3}, 'project is 3; it should be text: put it in quotes, "3"'),
        ({"project": "my bees"}, "such as my_bees"),
        ({"project": "bees\n"}, "project: 'bees\\n' can't be taken"),
        ({"project": "x" * 101}, "xxx... can't be taken. Name of the run, of at most 100"),
        ({"contact": "Łukasz"}, "letters without accents"),
        ({"seed": 10**30}, "it should be a whole number, 9,007,199,254,740,992 at most"),
        ({"knowledge": {"roots": ["28641"]}}, "ncbi:28641 is a taxon of NCBI"),
        ({"knowledge": {"roots": ["x"], "endpoint": "qlever.dev"}}, "'qlever.dev' is no web address"),
        ({"knowledge": {"roots": ["x"], "endpoint": "http://x:99999/"}}, "is no web address"),
        ({"download": {"lanes": {"web": {"hosts": ["https://a.org/"]}}}}, "without https:// and without a path"),
        (
            {"download": {"lanes": {"web": {"hosts": ["a.org"]}, "b": {"hosts": ["A.org"]}}}},
            "a.org stands in several lanes",
        ),
        ({"dataset": {"text_weights": {"name": 0}}}, "dataset.text_weights: every weight is 0"),
        ({"evaluate": {"prompts": {"mine": 3}}}, "evaluate.prompts.mine: 3 can't be taken. Template sets"),
        ({"seed": -1}, "seed: -1 is less than the minimum of 0"),
        ({"download": {"lanes": {"a": {}}}}, "has no lane named web"),
        ({"download": {"lanes": {"web": {"batches": 99}, "a": {"batches": 2}}}}, "101 batches in all; at most 100"),
        ({"train": {"experiments": {"../x": {"recipe": "demo"}}}}, "'../x' can't be taken"),
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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("knowledge:\n\troots: [x]\n", "line 3, column 1: a tab; indent with spaces"),
        ("seed: 1\nseed: 2\n", "line 3, column 1: the key seed stands twice"),
        ("curate:\n  min_side: 1\n  min_side: 2\n", "line 4, column 3: the key min_side stands twice"),
        ("contact: me: you\n", "line 2, column 12: a colon where none may stand"),
        ("seed: 2026-13-45\n", "is no valid YAML"),
        ("knowledge: " + "[" * 3000, "nest"),
        ("knowledge: {roots: &a [*a]}\n", "more values than a config can have"),
        ("knowledge: {languages: [no]}\n", "YAML reads yes, no, on and off as true and false"),
        ("knowledge: {roots: Apidae}\n", "it should be a list: write it in brackets, [Apidae]"),
        ("knowledge: {roots: [28641]}\n", "knowledge.roots.0 is 28641; write ncbi:28641 for a taxon of NCBI"),
        ("knowledge: [Apidae]\n", "it should be keys with values, such as endpoint, roots"),
        ("seed: '3'\n", "seed is '3'; it should be a whole number: write 3, without quotes"),
        ("seed: three\n", "seed is 'three'; it should be a whole number."),
        ("search: {per_entity: 1e3}\n", "write 1000, without quotes"),
        ("search: {per_entity: 300.0}\n", "write 300"),
        ("search: {per_entity: '2.5'}\n", "it should be a whole number."),
        ("queries: {fraction: '0,5'}\n", "write 0.5, without quotes"),
        ("queries: {fraction: .nan}\n", "queries.fraction is NaN; it should be a number"),
        ("download: {lanes: {web: {requests_per_second: .inf}}}\n", "it should be a number"),
        ("accept_partial: sure\n", "it should be true or false"),
        ("seed: 010\n", "line 2, column 7: 010 is read as another number"),
        ("knowledge: {roots: [12:30]}\n", "12:30 is read as another number; put it in quotes"),
        ('"\\e[2J": 1\n', "\ufffd[2J is no key of the config"),
    ],
)
def test_mistakes_of_yaml_are_named_with_the_line_or_what_to_write(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"project: bees\n{text}" + ("" if "knowledge" in text else "knowledge: {roots: [Apidae]}\n"))
    with pytest.raises(UserError) as error:
        settings.load(path)
    assert sentence in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "project is missing: .*\n  knowledge is missing: "),
        (b"project:bees\n", "a space must follow each colon"),
        (b"- project: bees\n", "the config is "),
        ("project: bees # Bienen, schön\n".encode("latin-1"), "is no text in UTF-8"),
        (b"project: \x00\n", "is no valid YAML"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        settings.load(tmp_path / "config.yaml")
    with pytest.raises(UserError, match="can't be read: Is a directory"):
        settings.load(tmp_path)


def test_a_few_lines_that_stand_for_billions_of_values_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match="more values than a config can have"):
        settings.load(tmp_path / "config.yaml")


def test_what_is_meant_is_taken(tmp_path: Path) -> None:
    """A key without a value is left out; dates and numbers as names are texts; what two keys share is not mixed up."""
    (tmp_path / "config.yaml").write_text(
        "project: bees\nknowledge: {roots: [Apidae], snapshot: 2026-11-01}\ncontact:\ncurate:\n"
        "search: {sources: {commons: , wikidata: &one {per_query: 5}, gbif: *one}}\n"
        "train: {experiments: {2024: {recipe: demo}}}\n"
    )
    config = settings.load(tmp_path / "config.yaml")
    assert config["knowledge"]["snapshot"] == "2026-11-01" and config["contact"] == ""
    assert config["curate"]["min_side"] == 200 and list(config["train"]["experiments"]) == ["2024"]
    sources = config["search"]["sources"]
    assert [sources[name]["per_query"] for name in ("commons", "wikidata", "gbif")] == [200, 5, 5]


def test_the_workflow_hands_its_config_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.ENVIRONMENT, json.dumps({**LEAST, "seed": 7}))
    assert settings.load()["seed"] == 7


def test_a_variable_of_the_environment_that_holds_no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.ENVIRONMENT, "{project")
    with pytest.raises(UserError, match=f"unset {settings.ENVIRONMENT}"):
        settings.load()


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
    assert settings.tracked(one, "search.sources.nobody") == {"search.sources.nobody": None}
    changed = settings.complete({**LEAST, "knowledge": {"roots": ["Apidae"], "min_sitelinks": 3}}, "test")
    assert settings.tracked(one, "knowledge") != settings.tracked(changed, "knowledge")


def rules_that(change: dict, *, of: dict, source: str = "commons") -> set[str]:
    """The rules whose settings differ after a change of the config."""
    before, after = settings.complete({**LEAST, **of}, "test"), settings.complete({**LEAST, **of, **change}, "test")
    rules = {
        rule
        for path in (settings.ROOT / "rules").glob("*.smk")
        for rule in re.findall(r"^rule (\w+):", path.read_text(), re.M)
    }
    sections = {rule: [name.format(source=source) for name in codehash.sections(rule)] for rule in rules - {"all"}}
    return {
        rule for rule, names in sections.items() if settings.tracked(before, *names) != settings.tracked(after, *names)
    }


def test_a_key_touches_the_steps_that_read_it_and_no_others() -> None:
    sources = {"search": {"sources": {"commons": {}, "gbif": {}}}}
    change = {"search": {"sources": {"commons": {}, "gbif": {"per_query": 7}}}}
    assert rules_that(change, of=sources) == {"make_report"}
    assert rules_that(change, of=sources, source="gbif") == {"make_report", "search_images"}
    more = {"search": {"sources": {"commons": {}, "gbif": {}, "brave": {}}}}
    assert rules_that(more, of=sources) == {"make_report"}, "a new source is asked; the others are not asked again"
    tests = {"evaluate": {"benchmarks": {"birds": {"path": "birds"}}}}
    assert rules_that({"evaluate": {"benchmarks": {"birds": {"path": "birds", "note": "hard"}}}}, of=tests) == {
        "make_report"
    }
    moved = {"evaluate": {"benchmarks": {"birds": {"path": "other"}}}}
    assert rules_that(moved, of=tests) == {"decide_pictures", "make_report"}
    assert rules_that({"accept_partial": True}, of={}) == {
        "export_entities",
        "search_images",
        "fetch_leftovers",
        "make_report",
    }
    assert rules_that({"contact": "me@example.org"}, of={}) == set()


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
