"""The numbers of the report against what the synthetic run holds."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import pandas as pd
import pytest

from kg2clip import removals, tables
from kg2clip.files import read_json, write_json
from kg2clip.report import accuracy, charts, coverage, funnel, galleries, history, hosts, notices, sources, texts, tree
from kg2clip.report.pictures import Pictures, thumbnail
from kg2clip.report.results import REQUIRED, SCORES
from kg2clip.report.truth import measure as measure_truth


def test_funnel_adds_up(run: Any) -> None:
    counted = funnel.measure(run.open())
    assert counted.adds_up, counted.checks
    assert {(s.stage, loss.reason): loss.count for s in counted.steps for loss in s.losses} == run.losses
    assert counted.candidates == 70 == run.kept + sum(run.losses.values())
    assert counted.kept == run.kept == counted.steps[-1].left
    assert (counted.entities, counted.queries, counted.queries_with_hits) == (6, 6, 5)
    assert counted.equation.startswith(f"70 candidates = {run.kept} kept + ")


def test_steps_chain(run: Any) -> None:
    steps = funnel.measure(run.open()).steps
    assert [step.stage for step in steps] == ["licence", "download", "decode", "filter", "duplicate", "decontamination"]
    assert all(after.entered == before.left for before, after in itertools.pairwise(steps))


@pytest.mark.parametrize(
    ("table", "schema", "broken"),
    [
        ("curate/decisions.parquet", tables.DECISIONS, "Every candidate has exactly one decision"),
        ("dataset/manifest.parquet", tables.DATASET, "The dataset has a sample for each kept picture"),
        (
            "curate/commons-000.features.parquet",
            tables.FEATURES,
            "The picture tables hold what the decisions call decoded",
        ),
        (
            "download/commons-001.manifest.parquet",
            tables.DOWNLOADS,
            "The download manifests hold what the decisions call downloaded",
        ),
    ],
)
def test_a_lost_row_is_said_loudly(run: Any, table: str, schema: Any, broken: str) -> None:
    rows = tables.read(run.folder / table)
    status = rows.column("status").to_pylist() if "status" in rows.column_names else []
    lost = next((n for n, value in enumerate(status) if value in ("success", "decoded")), 0)
    kept = [row for number, row in enumerate(rows.to_pylist()) if number != lost]
    tables.write(kept, schema, run.folder / table)
    counted = funnel.measure(run.open())
    assert not counted.adds_up
    assert broken in {check.meaning for check in counted.checks if not check.holds}
    html = run.html()
    assert "DOES NOT ADD UP" in html
    assert "The counts do not add up" in html


def test_tries_and_retries_of_a_candidate_count_once(run: Any) -> None:
    path = run.folder / "download" / "commons-000.manifest.parquet"
    rows = tables.read(path).to_pylist()
    failed = [{**row, "status": "failed", "reason": "timeout"} for row in rows if row["status"] == "success"]
    tables.write(rows + failed, tables.DOWNLOADS, run.folder / "download" / "commons-000.retry.manifest.parquet")
    assert funnel.measure(run.open()).adds_up


def test_what_could_not_be_fetched_for_now_is_a_warning(run: Any) -> None:
    assert "Incomplete" not in run.html()
    path = run.folder / "curate" / "decisions.parquet"
    rows = tables.read(path).to_pylist()
    tables.write(
        [{**row, "reason": "host-down"} if row["stage"] == "download" else row for row in rows], tables.DECISIONS, path
    )
    lost = run.losses["download", "http-404"]
    assert f"Incomplete: {lost} of 70 candidates could not be fetched for now." in run.html()
    assert notices.may_pass("http-503") and not notices.may_pass("http-404") and not notices.may_pass("robots")


def test_coverage_counts_every_entity(run: Any) -> None:
    groups = coverage.measure(run.open())
    assert [group.name for group in groups] == ["Animalia › Aves", "Animalia › Insecta", "Plantae › Magnoliopsida"]
    taxa = {taxon.entity["scientificName"]: taxon for taxon in coverage.all_taxa(groups)}
    assert len(taxa) == 6
    assert sum(taxon.kept for taxon in taxa.values()) == run.kept
    assert sum(taxon.candidates for taxon in taxa.values()) == 70
    assert sum(taxon.downloaded for taxon in taxa.values()) == 70 - run.losses["download", "http-404"]
    assert (taxa["Prunella vulgaris"].candidates, taxa["Prunella vulgaris"].kept) == (0, 0)
    assert [group.empty for group in groups] == [0, 0, 1]


def test_a_picture_of_two_entities_counts_for_both(run: Any) -> None:
    path = run.folder / "dataset" / "manifest.parquet"
    rows = tables.read(path).to_pylist()
    rows[0]["entityIDs"] = ["wd:Q25334", "wd:Q1124183", "wd:Q25334"]
    tables.write(rows, tables.DATASET, path)
    groups = coverage.measure(run.open())
    assert sum(taxon.kept for taxon in coverage.all_taxa(groups)) == run.kept + 1


def test_a_cut_table_keeps_the_gaps(run: Any) -> None:
    shown = coverage.all_taxa(coverage.cut(coverage.measure(run.open()), limit=2))
    assert len(shown) == 2
    assert "Prunella vulgaris" in {taxon.entity["scientificName"] for taxon in shown}


def test_pictures_that_were_taken_down_are_a_step_of_the_funnel(run: Any) -> None:
    path = run.folder / "dataset" / "manifest.parquet"
    rows = tables.read(path).to_pylist()
    tables.write(rows[2:], tables.DATASET, path)
    listed = run.folder / "removed.csv"
    removals.add(listed, [{"candidateID": row["key"], "reason": "asked"} for row in rows[:2]])
    run.settings["dataset"]["removed"] = str(listed)
    counted = funnel.measure(run.open())
    assert counted.adds_up and counted.kept == len(rows) - 2
    assert (counted.steps[-1].stage, counted.steps[-1].lost) == ("takedown", 2)
    assert counted.equation.endswith("+ 2 takedown") and "removed on request" in run.html()


def test_draws_are_texts_of_their_pictures_and_splits_add_up(run: Any) -> None:
    path = run.folder / "dataset" / "manifest.parquet"
    rows = tables.read(path).to_pylist()
    for number, row in enumerate(rows):
        row |= {"split": "test" if number % 4 == 0 else "train", "groupID": f"g{number // 2}"}
    tables.write(rows, tables.DATASET, path)
    mix = texts.measure(run.open())
    said = {(row["title"] or row["key"], text["text"], text["kind"]) for row in rows for text in row["texts"]}
    assert mix.draws == texts.measure(run.open()).draws and len(mix.draws) == 20
    assert {(draw.title, draw.text, draw.kind) for draw in mix.draws} <= said
    assert {split.name: split.pictures for split in mix.splits} == Counter(row["split"] for row in rows)
    assert sum(share for _, share in mix.origins) == pytest.approx(1)
    assert "as a batch of training would see them" in run.html()


def test_text_mix_is_the_mean_of_the_weights(run: Any) -> None:
    mix = texts.measure(run.open())
    rows = tables.read(run.folder / "dataset" / "manifest.parquet").to_pylist()
    web = sum(text["weight"] for row in rows for text in row["texts"] if text["kind"] == "alt-text") / len(rows)
    assert mix.effective_web == pytest.approx(web)
    assert sum(share.effective for share in mix.shares) == pytest.approx(1)
    assert mix.without_web == sum(all(text["kind"] != "alt-text" for text in row["texts"]) for row in rows)
    declared = {share.kind: share.declared for share in mix.shares}
    assert declared["scientific"] == pytest.approx(0.5 * 0.2)
    assert declared["alt-text"] == 0.5
    assert sum(value or 0 for value in declared.values()) == pytest.approx(1)
    absent = next(share for share in mix.shares if share.kind == "synonym")
    assert (absent.effective, absent.texts) == (0.0, 0)


def test_headline_is_chosen_on_dev_and_reported_on_test(run: Any) -> None:
    measured = accuracy.measure(run.open())
    assert measured.headline is not None
    # On test, common names are better with either prompts, but dev knows nothing of that.
    assert (measured.headline.experiment, measured.headline.name_form, measured.headline.prompts) == (
        "main",
        "scientific",
        "bare",
    )
    assert measured.headline.top1 == 0.75
    assert measured.headline.chance == pytest.approx(1 / 6)
    assert len(measured.scores) == 4 and len(measured.grid) == 8
    assert [score.experiment for score in measured.scores] == [
        "untrained",
        "untrained",
        "main",
        "main",
    ]  # the config's order


def test_classes_and_confusions_come_from_the_predictions(run: Any) -> None:
    detail = accuracy.measure(run.open()).details[0]
    assert detail.mistakes == 6  # a quarter of 24
    assert sum(entry.right for entry in detail.classes) == 18
    assert sum(pair.count for pair in detail.confusions) == 6
    # Bombus terrestris called Bombus lucorum; Prunella, a bird, called Prunella, a plant, is no mistake within a genus.
    assert detail.within_genus == 1
    same = {pair.true: pair.same_genus for pair in detail.confusions}
    assert same["Prunella modularis"] is False and same["Bombus terrestris (buff-tailed bumblebee)"] is True
    assert detail.untrained == ("Prunella vulgaris (self-heal)",)
    training = {entry.scientific_name: entry.training for entry in detail.classes}
    assert training["Prunella vulgaris"] == 0
    assert sum(value or 0 for value in training.values()) == run.kept


def test_without_a_dev_split_nothing_is_chosen(run: Any) -> None:
    path = run.folder / "evaluation" / "scores.parquet"
    rows = [row for row in tables.read(path).to_pylist() if row["split"] == "test"]
    tables.write(rows, tables.SCORES, path)
    measured = accuracy.measure(run.open())
    assert measured.without_dev == ("heldout",)
    assert measured.headline is not None and measured.headline.experiment == "untrained"  # the first of the config
    assert "no dev split" in run.html()


def test_numbers_of_the_page(run: Any) -> None:
    html = run.html()
    text = re.sub(r"<[^>]+>", "", html)
    assert "75.0\N{NO-BREAK SPACE}%" in text
    assert "16.7\N{NO-BREAK SPACE}%" in text
    assert "65.0–85.0\N{NO-BREAK SPACE}%" in text
    assert f"{run.kept} pictures of 5 species remain" in text
    assert "Entities without a kept picture: 1 of 6 (Prunella vulgaris)" in text


def test_every_number_of_the_methods_is_that_of_its_table(run: Any) -> None:
    frames = {
        name: pd.concat(tables.read_frame(path) for path in sorted(run.folder.glob(pattern)))
        for name, (pattern, _) in {**REQUIRED, **SCORES}.items()
    }
    candidates, decisions, dataset = frames["candidates"], frames["decisions"], frames["dataset"]
    fetched = frames["downloads"]["status"].eq("success").sum()
    decoded = frames["features"]["status"].eq("decoded").sum()
    lost = decisions["stage"].value_counts()
    why = decisions.groupby("stage")["reason"].value_counts().sort_values(ascending=False)
    kept = decisions["kept"].sum()
    web = sum(text["weight"] for texts in dataset["texts"] for text in texts if text["kind"] == "alt-text")
    model = read_json(run.folder / "models" / "main" / "metrics.json")
    curate, share = run.settings["curate"], run.settings["dataset"]["alt_text_share"]
    numbers = [
        *(len(frames["entities"]), 25334, 20, 2026, len(frames["queries"]), len(candidates)),
        *(0, fetched, decoded, curate["short_side"], curate["jpeg_quality"]),
        *(curate["min_side"], curate["max_aspect"], 1, lost["filter"], *why["filter"]),
        *(curate["pdq_distance"], 256, lost["duplicate"], *why["duplicate"], lost["decontamination"]),
        *(kept, dataset["entityIDs"].explode().nunique(), share, f"{100 * web / len(dataset):.1f}"),
        *(model["history"][-1]["step"], model["batchSize"], model["pictures"]),
    ]
    scores = frames["scores"]
    chosen = scores[(scores["split"] == "test") & (scores["metric"] == "top1") & scores["chosen"]]
    chosen = chosen[chosen["experiment"] == "main"].sort_values("nameForm")
    classes, pictures = chosen[["classes", "pictures"]].iloc[0]
    numbers += [pictures, classes, f"{100 / classes:.1f}", 1]
    for score in chosen.itertuples():
        numbers += [f"{100 * score.value:.1f}", 95, f"{100 * score.low:.1f}", f"{100 * score.high:.1f}"]
    methods = run.html().split('<h2 id="methods">')[1].split("</section>")[0]
    told = re.findall(r"(?<![a-z])\d[\d,.]*\d|(?<![a-z])\d", re.sub(r"<[^>]+>|PDQ", "", methods))
    assert told == [*map(str, numbers), "2505.02746"]


def test_galleries_are_seeded_and_spread_over_entities(run: Any) -> None:
    results = run.open()
    first = galleries.kept(results, Pictures(results), limit=5)
    assert len({picture.sample["entityIDs"][0] for picture in first}) == 5
    assert all(picture.thumbnail for picture in first)
    assert [p.sample["key"] for p in first] == [
        p.sample["key"] for p in galleries.kept(results, Pictures(results), limit=5)
    ]
    results.settings["seed"] = 2
    assert [p.sample["key"] for p in first] != [
        p.sample["key"] for p in galleries.kept(results, Pictures(results), limit=5)
    ]


def test_dropped_pictures_stand_beside_what_they_repeat(run: Any) -> None:
    results = run.open()
    lots = {lot.reason: lot for lot in galleries.dropped(results, Pictures(results))}
    assert list(lots) == ["too-small", "burst", "duplicate", "benchmark"]
    assert lots["duplicate"].total == run.losses["duplicate", "duplicate"]
    assert all(picture.thumbnail for lot in lots.values() for picture in lot.pictures)
    assert all(picture.other for reason in ("duplicate", "benchmark") for picture in lots[reason].pictures)
    assert not any(picture.other for picture in lots["too-small"].pictures)


def test_copies_of_a_picture_that_was_taken_down_are_not_shown(run: Any) -> None:
    lots = {lot.reason: lot for lot in galleries.dropped(run.open(), Pictures(run.open()))}
    first = lots["duplicate"].pictures[0].row
    run.settings["dataset"]["removed"] = str(run.folder / "removed.csv")
    removals.add(run.folder / "removed.csv", [{"candidateID": first["survivorID"]}])
    shown = [p.row for lot in galleries.dropped(run.open(), Pictures(run.open())) for p in lot.pictures]
    assert shown and not any(first["survivorID"] in (row["candidateID"], row["survivorID"]) for row in shown)


def test_the_benchmark_picture_is_the_one_of_its_key(run: Any) -> None:
    results = run.open()
    pictures = Pictures(results)
    shown = pictures.benchmark("heldout", "test/s0000003")
    assert shown and shown == pictures.benchmark("benchmark", "test/s0000003")
    assert shown != pictures.benchmark("heldout", "dev/s0000003")
    assert pictures.benchmark("heldout", "test/s9999999") is None
    assert pictures.benchmark("heldout", "../../etc/passwd") is None


def test_what_was_removed_for_a_benchmark_is_counted_by_the_way_it_was_found(run: Any) -> None:
    found = {(row["benchmark"], row["match"]): (row["candidates"], row["tests"]) for row in galleries.leaks(run.open())}
    assert set(found) == {("heldout", "pixels"), ("heldout", "observation")}
    assert sum(candidates for candidates, _ in found.values()) == run.losses["decontamination", "benchmark"]
    assert {tests for _, tests in found.values()} == {1}


def test_truth_is_read(run: Any) -> None:
    results = run.open()
    truth = measure_truth(results, Pictures(results))
    assert truth is not None
    assert [(lot.outcome, lot.total) for lot in truth.lots] == [("false alarm", 1), ("missed", 2)]
    assert all(miss.thumbnail for lot in truth.lots for miss in lot.misses)


def test_a_broken_picture_gives_no_thumbnail() -> None:
    assert thumbnail(b"no picture") is None
    assert thumbnail(b"") is None


def test_steps_gather_batches_and_leave_the_reports_own_record_out(run: Any) -> None:
    for number in range(3):
        record = {
            "step": "decode_batch",
            "date": f"2026-11-20T10:00:0{number}Z",
            "seconds": 2.0,
            "settingsHash": "ab",
            "counts": {"n": number},
        }
        write_json(run.folder / "provenance" / f"decode_batch.commons-00{number}.json", record)
    write_json(
        run.folder / "provenance" / "make_report.json",
        {"step": "make_report", "date": "2030-01-01T00:00:00Z", "counts": {}},
    )
    line = next(step for step in history.steps(run.open().provenance()) if step.step == "decode_batch")
    assert (line.runs, line.seconds, line.settings_hashes) == (3, 6.0, ("ab",))
    assert (line.first, line.last) == ("2026-11-20T10:00:00Z", "2026-11-20T10:00:02Z")
    html = run.html()
    assert "decode_batch" in html and "2030-01-01" not in html


def test_charts_take_the_pages_colours_and_no_script(run: Any) -> None:
    results = run.open()
    runs = history.training(results)
    taxa = coverage.all_taxa(coverage.measure(results))
    drawn = [
        charts.loss_curve(runs),
        charts.learning_rate(runs),
        charts.coverage_histogram(taxa),
        charts.coverage_tree(tree.arcs(taxa)),
        charts.accuracy(accuracy.measure(results).scores),
        charts.classes(accuracy.measure(results).details[0].classes),
    ]
    for chart in drawn:
        assert chart is not None
        svg = chart.picture
        assert svg.startswith("<svg") and "currentColor" in svg
        assert "<script" not in svg and "style=" not in svg and "#fff" not in svg
    assert charts.coverage_histogram([]) is None and charts.accuracy([]) is None
    assert charts.loss_curve([one for one in runs if not one.history]) is None


def test_a_chart_takes_many_entities_and_a_long_history(run: Any) -> None:
    taxon = coverage.all_taxa(coverage.measure(run.open()))[0]
    assert charts.coverage_histogram([taxon] * 20_000) is not None
    lines = tuple({"step": step, "loss": 1.0, "lr": 0.1} for step in range(10_001))
    chart = charts.loss_curve([history.Training("main", "demo", lines, {}, ())])
    assert chart is not None and len(chart.picture) < 200_000


def test_sources_stand_side_by_side(run: Any) -> None:
    for search, source, calls in (
        ("wikidata", "wikidata", 1),
        ("commons", "commons", 30),
        ("commons-attributes", "commons", 42),
    ):
        record = {"step": f"search_images.{search}", "source": source, "counts": {"calls in all runs": calls}}
        write_json(run.folder / "provenance" / f"search_images.{search}.json", record)
    scores = run.folder / "mirror" / "scores.parquet"
    precise = {
        "detector": sources.PRECISION,
        "kind": "commons",
        "precision": 0.9,
        "precisionLow": 0.8,
        "precisionHigh": 0.95,
    }
    tables.write([*tables.read(scores).to_pylist(), precise], tables.read(scores).schema, scores)
    rows = {row["source"]: row for row in sources.measure(run.open())}
    assert list(rows) == ["wikidata", "commons"], "in the order of the config"
    assert (rows["commons"]["hits"], rows["commons"]["pictures"], rows["commons"]["alone"]) == (84, 70, 69)
    assert (rows["wikidata"]["hits"], rows["wikidata"]["pictures"], rows["wikidata"]["alone"]) == (1, 1, 0)
    assert rows["commons"]["kept"] == run.kept and rows["commons"]["unknown"] == 0
    assert (rows["wikidata"]["calls"], rows["commons"]["calls"]) == (1, 42), "both searches write to one ledger"
    assert rows["commons"]["precision"]["value"] == 0.9 and rows["wikidata"]["precision"] is None
    html = run.html()
    assert "Sources side by side" in html and sources.PRECISION not in html


def test_a_search_that_ended_early_is_said(run: Any) -> None:
    gap = "commons: 40 of 60 entities are not searched to their end"
    record = {"step": "search_images.commons", "source": "commons", "counts": {}, "missing": gap}
    write_json(run.folder / "provenance" / "search_images.commons.json", record)
    assert f"Incomplete search: {gap}." in run.html()
    assert "fewer than 300 pictures were found" in run.html()


def test_the_pace_of_hosts_and_lanes_leaves_out_when_a_run_stood_still(run: Any) -> None:
    path = run.folder / "download" / "commons-000.manifest.parquet"
    rows = tables.read(path).to_pylist()
    for number, row in enumerate(rows):
        row |= {"host": f"{'ab'[number % 2]}.test", "lane": "commons", "status": "success", "reason": None, "tried": []}
        row |= {"bytes": 250_000, "attempts": 1, "retrieved": f"2026-11-25T{number // 4:02d}:00:0{number % 4 * 2}Z"}
    rows[-1]["attempts"] = 0
    tables.write(rows, tables.DOWNLOADS, path)
    measured = hosts.measure(run.open())
    found = {row["host"]: (row["pace"], row["megabits"]) for row in measured.rows}
    assert found["a.test"] == found["b.test"] == (0.25, 0.5)
    commons = next(row for row in measured.lanes if row["lane"] == "commons")
    assert (commons["pace"], commons["megabits"]) == (0.5, 1.0) and commons["asked"] >= len(rows)
    assert "Lane commons" in run.html() and "0.5 a second, 1.0 Mbit/s" in run.html()


def test_hosts_are_told_with_what_they_cost(run: Any) -> None:
    folder = run.folder / "download"
    first, second = folder / "commons-000.manifest.parquet", folder / "commons-leftovers.manifest.parquet"
    rows = tables.read(first).to_pylist()
    for row in rows:
        row |= {"host": "a.test", "accessURI": "http://a.test/x", "bytes": 500_000 if row["reason"] is None else None}
    rows[0] |= {"status": "failed", "reason": "http-410", "bytes": None, "nextURI": "http://b.test/x"}
    rows[1] |= {"status": "failed", "reason": "timeout", "bytes": None}
    for row in rows[2:4]:
        row |= {"status": "failed", "reason": "http-404", "bytes": None}
    dead = [{"accessURI": "http://a.test/x", "reason": "http-410"}]
    saved = {**rows[0], "status": "success", "reason": None, "host": "b.test", "tried": dead, "bytes": 1}
    left = [{**row, "batch": "commons-leftovers"} for row in (saved, rows[1])]
    tables.write(rows, tables.DOWNLOADS, first)
    tables.write(left, tables.DOWNLOADS, second)
    tables.write([], tables.DOWNLOADS, folder / "commons-001.manifest.parquet")
    measured = hosts.measure(run.open())
    found = {row["host"]: row for row in measured.rows}
    assert measured.saved == 1 and measured.more == 0 and set(found) == {"a.test", "b.test"}
    assert (found["a.test"]["asked"], found["a.test"]["lost"]) == (len(rows) - 1, 3)
    assert found["a.test"]["reasons"] == [funnel.Loss("http-404", 2), funnel.Loss("timeout", 1)]
    assert found["a.test"]["saved"] == 1
    assert (found["b.test"]["fetched"], found["b.test"]["further"], found["b.test"]["bytes"]) == (1, 1, 1)
    html = run.html()
    assert "so came 1 picture." in html
    assert '>2</span> <bdi>http-404</bdi> <span class="quiet">no longer at its address</span>' in html
