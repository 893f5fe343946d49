"""The plan's arithmetic, what it reads, and what it says to a person whose run would be refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import oxigraph

import plan
from kg2clip import provenance, settings, tables
from kg2clip.planning import estimate
from kg2clip.planning.estimate import Demand
from kg2clip.search.run import SOURCES
from kg2clip.search.store import open_store

ROOT = Path(__file__).resolve().parents[3]
DEMAND = Demand(
    "test", 100, {("noun", "scientific"): 100, ("noun", "vernacular"): 80, ("noun", "synonym"): 20, ("attribute-noun", ""): 300}, 120
)  # fmt: skip


def config(**changes: Any) -> settings.Settings:
    return settings.complete({"project": "planned", "knowledge": {"roots": ["Bombus"]}, **changes}, "test")


def source(name: str, **changes: Any) -> settings.Settings:
    return config(search={"sources": {name: changes}})["search"]["sources"][name]


@pytest.mark.parametrize(
    ("name", "changes", "least", "most"),
    [
        ("wikidata", {}, 3, 3),  # 120 files, 50 a call
        ("commons", {"per_query": 120}, 100, 500 * 3),
        ("commons", {"per_query": 50, "attributes": False}, 100, 200),
        ("inaturalist", {"per_query": 200}, 200, 120 * 2),  # a look-up each; knows scientific names and synonyms
        ("gbif", {"per_query": 301}, 200, 120 * 3),
        ("brave", {}, 100, 500),
        ("gbifdownload", {}, 100, 120),
        ("darwincore", {"path": "x.zip"}, 0, 0),
    ],
)
def test_calls(name: str, changes: dict, least: int, most: int) -> None:
    plan = estimate.plan_source(name, source(name, **changes), DEMAND)
    assert (plan.least, plan.most) == (least, most)


def test_days_and_money() -> None:
    paid = estimate.plan_source("brave", source("brave", usd_per_1000_calls=5, requests_per_second=1), DEMAND, made=50)
    assert paid.usd == (0.25, 2.25) and paid.days == (50 / 86400, 450 / 86400)
    limited = estimate.plan_source("commons", source("commons", calls_per_day=10, per_query=50), DEMAND)
    assert limited.days == pytest.approx((9, 49), abs=0.01), "the next ten on the next day"
    within = estimate.plan_source("brave", source("brave", calls_per_day=500, requests_per_second=1), DEMAND)
    assert within.days == (100 / 86400, 500 / 86400), "a budget that is not used up makes nobody wait"
    assert estimate.plan_source("brave", source("brave"), DEMAND, made=50, finished=True).usd == (0, 0)


def test_every_source_that_makes_calls_has_a_habit() -> None:
    """A new source without one would be planned as free."""
    sources = settings.read_schema()["properties"]["search"]["properties"]["sources"]["properties"]
    calling = {name for name, rule in sources.items() if "connections" in rule["properties"]}
    assert calling <= {name for name, habit in estimate.HABITS.items() if habit.page or habit.lookups}
    assert set(estimate.HABITS) <= set(SOURCES)


def test_computing_agrees_with_the_known_models() -> None:
    """open_clip's profile table: ViT-B-32 at 77 tokens 8.82 + 5.96 GFLOPs forward, ViT-B-16 35.13 + 5.96."""
    for name, pictures in (("ViT-B-32", 8.82), ("ViT-B-16", 35.13)):
        model = estimate.known_model(name)
        assert model is not None
        assert estimate.gigaflops(model, 224, 77) == pytest.approx(3 * (pictures + 5.96), rel=0.04)
    assert estimate.known_model("RN50") is None and estimate.known_model("no such model") is None
    assert estimate.gpu_hours(180_000_000, 33.8) == pytest.approx(5.7, abs=0.1)


def test_downloads_wait_for_the_slowest_lane() -> None:
    lanes = {
        "fast": {"hosts": ["a"], "requests_per_second": 100, "megabits_per_second": 1000},
        "slow": {
            "hosts": ["b"],
            "requests_per_second": 100,
            "megabits_per_second": 12,
        },  # ten pictures of 150 kB a second
        "web": {"hosts": [], "requests_per_second": 1, "megabits_per_second": 1},
    }
    assert estimate.download_days(864_000, lanes) == pytest.approx(1)


def run_plan(
    folder: Path, content: dict, *options: str, environment: dict | None = None
) -> subprocess.CompletedProcess[str]:
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, str(ROOT / "scripts" / "plan.py"), "--config", "config.yaml", *options]
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith(("KG2CLIP", "BRAVE", "GBIF"))}
    return subprocess.run(
        command, cwd=folder, env={**surroundings, **(environment or {})}, capture_output=True, text=True
    )


BASE = {"project": "planned", "contact": "someone@example.org", "knowledge": {"roots": ["Bombus"]}}


def test_what_stands_already_is_counted(tmp_path: Path) -> None:
    names = [{"text": "Bombus terrestris", "language": "", "kind": "scientific"}]
    entity = {
        "entityID": "wd:Q1", "scientificName": "Bombus terrestris", "names": names, "ancestors": [], "attributes": [],
        "images": ["A.jpg", "B.jpg"],
    }  # fmt: skip
    results = tmp_path / "results" / "planned"
    tables.write([entity], tables.ENTITIES, results / "knowledge" / "entities.parquet")
    tables.write(
        [{"candidateID": str(number)} for number in range(37)], tables.CANDIDATES, results / "search/candidates.parquet"
    )
    store = open_store(results / "search" / "commons")
    for _ in range(3):
        store.end_call(store.begin_call("commons.wikimedia.org"), 200)
    del store
    content = {
        **BASE,
        "search": {"sources": {"wikidata": {}, "commons": {}}},
        "train": {"experiments": {"main": {"recipe": "demo"}}},
    }
    done = run_plan(tmp_path, content)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert lines["Entities"][1] == "1" and lines["Queries"][1] == "1" and lines["Pictures"][1:3] == ["37", "found"]
    assert lines["wikidata"][1] == "1" and lines["commons"][1:5] == ["1", "to", "4", "3"]


def test_the_graph_is_asked_for_counts(tmp_path: Path) -> None:
    triples = """
        @prefix wd: <http://www.wikidata.org/entity/> . @prefix wdt: <http://www.wikidata.org/prop/direct/> .
        @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
        wd:Q1 wdt:P225 "Bombus" . wd:Q7432 rdfs:label "species"@en .
        wd:Q2 wdt:P225 "Bombus terrestris" ; wdt:P171 wd:Q1 ; wdt:P105 wd:Q7432 ; wdt:P18 <http://p.test/A.jpg> .
        wd:Q3 wdt:P225 "Bombus lapidarius" ; wdt:P171 wd:Q1 ; wdt:P105 wd:Q7432 ; wdt:P18 <http://p.test/B.jpg> .
        wd:Q4 wdt:P225 "Bombus pascuorum" ; wdt:P171 wd:Q1 ; wdt:P105 wd:Q7432 .
    """
    content = {**BASE, "knowledge": {"roots": ["Bombus"], "endpoint": "http://graph.test/query"}}
    with oxigraph(tmp_path, triples) as port:
        done = run_plan(
            tmp_path, content, environment={"KG2CLIP_RESOLVE": json.dumps({"graph.test": f"127.0.0.1:{port}"})}
        )
    assert done.returncode == 0, done.stderr
    assert "Entities              2   at most, counted by graph.test" in done.stdout
    assert "Pictures            600   at most" in done.stdout


@pytest.mark.parametrize(
    ("changes", "options", "status", "words"),
    [
        ({"contact": ""}, (), 1, ["Set contact:", "--entities 300"]),
        ({"contact": ""}, ("--entities", "10"), 2, ["warning: no contact is set"]),
        ({"search": {"sources": {"brave": {}}}}, ("--entities", "10"), 2, ["BRAVE_API_KEY", "0.05 to 0.35"]),
        (
            {"search": {"sources": {"gbif": {}}}},
            ("--entities", "90000"),
            2,
            ["gbif will refuse", "180,000 calls", "bulk"],
        ),
        ({"search": {"sources": {"gbiff": {}}}}, (), 1, ["did you mean gbif?"]),
        (
            {"knowledge": {"roots": ["x"], "endpoint": "http://graph.invalid/q"}},
            (),
            1,
            ["does not answer", "--entities"],
        ),
    ],
)
def test_what_would_be_refused_is_said(
    tmp_path: Path, changes: dict, options: tuple, status: int, words: list[str]
) -> None:
    done = run_plan(tmp_path, {**BASE, **changes}, *options)
    assert done.returncode == status and "Traceback" not in done.stderr, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout + done.stderr


def test_a_number_that_one_names_is_planned_as_if_nothing_stood_there(tmp_path: Path) -> None:
    store = open_store(tmp_path / "results" / "planned" / "search" / "commons")
    store.end_call(store.begin_call("commons.wikimedia.org"), 200)
    del store
    (tmp_path / "results/planned/search/commons.hits.parquet").write_bytes(b"")
    done = run_plan(tmp_path, {**BASE, "search": {"sources": {"commons": {}}}}, "--entities", "100")
    line = next(line for line in done.stdout.splitlines() if line.startswith("commons"))
    assert line.split()[4] == "0" and not line.endswith(" 0 min"), "no calls made, and time for the rest"


def test_a_search_counts_as_done_only_as_the_config_asks_now(tmp_path: Path) -> None:
    wanted = {"project": "p", "knowledge": {"roots": ["a"]}}
    before = settings.complete({**wanted, "search": {"sources": {"commons": {}}}}, "test")
    now = settings.complete({**wanted, "search": {"sources": {"commons": {"per_query": 999}}}}, "test")
    provenance.write(
        tmp_path / "provenance/search_images.commons.json", "search_images", before, ("search.sources.commons",), {}
    )
    assert not plan.is_done("commons", tmp_path, before), "no hits"
    tables.write([], tables.HITS, tmp_path / "search/commons.hits.parquet")
    assert plan.is_done("commons", tmp_path, before) and not plan.is_done("commons", tmp_path, now)


def test_little_is_not_nothing_and_sums_are_right(tmp_path: Path) -> None:
    done = run_plan(tmp_path, {**BASE, "search": {"sources": {"commons": {}}}}, "--entities", "1")
    assert "Disk       at most 0.3 GB: raw pictures 0.1, decoded pictures 0.1, shards 0.1" in done.stdout
    assert "0 min" not in done.stdout


def test_the_caps_of_calls_are_told(tmp_path: Path) -> None:
    model = {"base_url": "http://localhost:1/v1", "model": "small", "max_calls": 5}
    content = {
        **BASE,
        "knowledge": {"roots": ["a"], "language_model": model},
        "search": {"sources": {"commons": {"calls_total": 3}}},
    }
    done = run_plan(tmp_path, content, "--entities", "10")
    assert done.returncode == 2
    assert "commons will stop: it needs 10 calls at least" in done.stdout
    assert "small may stop: it is asked about up to 10 entities" in done.stdout
    assert "Language   small is asked once about each entity" in done.stdout


def test_the_page_fits_a_terminal(tmp_path: Path) -> None:
    done = run_plan(tmp_path, BASE, "--entities", "200000")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "11.1 hours to 13.0 days" in done.stdout and "H100 hours" in done.stdout
