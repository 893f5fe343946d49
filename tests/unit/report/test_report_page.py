"""The page as a file: escaping, policy, links, nothing loaded from outside, and the program around it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kg2clip import settings, tables
from kg2clip.errors import UserError
from kg2clip.report import filters, page
from kg2clip.report.results import open_results

PROGRAM = Path(__file__).resolve().parents[3] / "scripts" / "make_report.py"
VOID = {"meta", "link", "img", "input", "br"}


class Elements(HTMLParser):
    """All elements with their attributes, the text of scripts and styles, and tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.bodies: dict[str, list[str]] = {"script": [], "style": []}
        self.text: list[str] = []
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.bodies:
            self.bodies[self._open[-1]].append(data)
        else:
            self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def html(run: Any) -> str:
    return str(run.html())


def test_hostile_texts_stay_text(run: Any, html: str) -> None:
    elements = Elements(html)
    text = "".join(elements.text)
    assert '<script>alert("title")</script>' in text
    assert "\"><img src=x onerror='alert(1)'>" in text
    assert "</style><style>*{display:none}</style> {{ 7 * 7 }}" in text
    assert [script.get("type") for script in elements.named("script")] == ["application/json", None, None]
    assert len(elements.named("style")) == 1
    assert not any(name.startswith("on") for _, attributes in elements.elements for name in attributes)
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in elements.named("img"))
    assert not elements.unbalanced


def test_no_control_or_direction_characters_reach_the_page(html: str) -> None:
    assert "elgae" in html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


def test_policy_lets_only_our_own_style_and_script_run(html: str) -> None:
    elements = Elements(html)
    policy = next(
        meta["content"] for meta in elements.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    data, *scripts = elements.bodies["script"]
    assert json.loads(data)  # a block of data does not run
    for kind, bodies in (("script", scripts), ("style", elements.bodies["style"])):
        hashes = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
        assert f"{kind}-src " + " ".join(f"'sha256-{one}'" for one in hashes) + ";" in policy
    assert not any("style" in attributes for _, attributes in elements.elements)  # the policy would drop them


def test_nothing_is_loaded_from_outside(html: str) -> None:
    elements = Elements(html)
    for tag, attributes in elements.elements:
        if tag == "a":
            continue
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert not attributes.get(name) or (attributes[name] or "").startswith("data:"), (tag, attributes)
    style = "".join(elements.bodies["style"])
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"url\((?!#)", html.split("</style>")[1].split("<script")[0])


def test_links_are_http_and_give_nothing_away(html: str) -> None:
    links = Elements(html).named("a")
    outside = [link for link in links if not (link["href"] or "").startswith("#")]
    assert outside
    for link in outside:
        assert re.match(r"https?://[a-z]", link["href"] or "")
        assert link["rel"] == "noopener noreferrer nofollow"


def test_anchors_lead_somewhere_and_headings_are_in_order(html: str) -> None:
    elements = Elements(html)
    identifiers = [attributes["id"] for _, attributes in elements.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    anchors = {(link["href"] or "")[1:] for link in elements.named("a") if (link["href"] or "").startswith("#")}
    assert anchors <= set(identifiers)
    levels = [int(tag[1]) for tag, _ in elements.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_pictures_have_alternative_texts_and_tables_have_headers(html: str) -> None:
    elements = Elements(html)
    assert all(image.get("alt") for image in elements.named("img"))
    assert all(header.get("scope") for header in elements.named("th"))
    assert all(region.get("aria-label") for region in elements.named("div") if region.get("role") in ("region", "img"))


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        ("https://commons.wikimedia.org/wiki/File:A_(b).jpg?x=1&y=2", True),
        ("http://a.test", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        (" javascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("data:text/html,x", False),
        ("file:///etc/hostname", False),
        ("//evil.test/x", False),
        ("https:///nohost", False),
        ("https://[broken", False),
        ("http:\\\\evil.test", False),
        ("https://a.test/\x00", False),
        ("", False),
        (None, False),
    ],
)
def test_safe_url(address: str | None, usable: bool) -> None:
    assert filters.safe_url(address) == (address if usable else None)


def test_numbers() -> None:
    assert filters.number(1234567) == "1,234,567"
    assert filters.number(None) == "–"
    assert filters.percent(0.12345) == "12.3\N{NO-BREAK SPACE}%"
    assert filters.percent(float("nan")) == "–"
    assert filters.width(1, 10_000) == "w1"  # a single picture among many is still seen
    assert filters.width(0, 0) == "w0"


def test_deterministic_apart_from_the_date(run: Any) -> None:
    assert run.html() == run.html()


def test_without_the_mirrors_truth(run: Any) -> None:
    assert "Against the truth" in run.html()
    shutil.rmtree(run.folder / "mirror")
    html = run.html()
    assert "Against the truth" not in html
    assert "embedded mirror" not in html


def test_removed_test_pictures_stand_in_a_table_and_bursts_beside_the_kept_photo(html: str) -> None:
    dropped = html.split('<h2 id="dropped">')[1].split("<h2")[0]
    assert "another photo of the observation that a test picture shows" in dropped
    assert "kept photo" in dropped and "burst</bdi> <span" in dropped and "by burst" not in dropped


def test_truth_says_where_nothing_was_planted_and_shows_pairs(html: str) -> None:
    truth = html.split('<h2 id="truth">')[1].split("<h2")[0]
    assert "none planted" in truth
    assert truth.count("<img") == 5  # a pair of candidates, a candidate beside a benchmark picture, a lone false alarm


def test_distance_and_certainty_stand_in_a_table_with_gaps_where_not_measured(html: str) -> None:
    table = html.split("Distance and certainty on the test split")[1].split("</table>")[0]
    row = table.split("<tbody>")[1].split("</tr>")[0]
    cells = re.findall(r'<td class="num">([^<]*)</td>', row)
    assert [bool(cell.strip()) and cell.strip()[0].isdigit() for cell in cells[1:]] == [
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    assert cells[1].startswith("97.3") and cells[4] == "3.4" and cells[5].startswith("12.3")


def test_the_doi_of_a_download_is_cited(run: Any) -> None:
    facts = {"step": "search_images.gbifdownload", "source": "gbifdownload", "doi": "10.15468/dl.np3k7j"}
    (run.folder / "provenance" / "search_images.gbifdownload.json").write_text(json.dumps(facts))
    assert "gbifdownload: <bdi>doi:10.15468/dl.np3k7j</bdi>" in run.html()


def test_a_page_that_is_too_large_shows_fewer_pictures(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results = run.open()
    whole, counts = page.render(results, "2026-11-25T00:00:00Z")
    monkeypatch.setattr(page, "MAX_BYTES", 1)
    smaller, fewer = page.render(results, "2026-11-25T00:00:00Z")
    assert len(smaller) < len(whole) and "Adds up." in smaller
    assert (counts["keptShown"], fewer["keptShown"]) == (run.kept, 20)
    assert 0 < fewer["droppedShown"] < counts["droppedShown"]


def test_without_a_benchmark(run: Any) -> None:
    shutil.rmtree(run.folder / "evaluation")
    run.settings["evaluate"]["benchmarks"] = {}
    html = run.html()
    assert "No benchmark is configured" in html


def test_an_empty_dataset_is_said_and_does_not_fail(run: Any) -> None:
    decisions = tables.read_frame(run.folder / "curate" / "decisions.parquet")
    decisions.loc[decisions["kept"], "stage"] = "filter"
    decisions.loc[decisions["kept"], "reason"] = "licence"
    decisions["kept"] = False
    tables.write(decisions, tables.DECISIONS, run.folder / "curate" / "decisions.parquet")
    tables.write([], tables.DATASET, run.folder / "dataset" / "manifest.parquet")
    html = run.html()
    assert "Adds up." in html
    assert "Entities without a kept picture: 6 of 6" in html
    assert (
        "Emptied after the download, mostly by licence (the licence is not among those asked for): 5 entities" in html
    )


def program(run: Any, *extra: str) -> subprocess.CompletedProcess[str]:
    output, facts = run.folder / "report" / "index.html", run.folder / "provenance" / "make_report.json"
    command = [
        sys.executable,
        str(PROGRAM),
        "--results",
        str(run.folder),
        "--output",
        str(output),
        "--provenance",
        str(facts),
    ]
    return subprocess.run([*command, "--config", str(run.config), *extra], capture_output=True, text=True, check=False)


def test_program_writes_page_and_provenance(run: Any) -> None:
    assert program(run).returncode == 0
    facts = json.loads((run.folder / "provenance" / "make_report.json").read_text())
    assert facts["counts"]["kept"] == run.kept
    assert facts["counts"]["addsUp"] is True
    assert (run.folder / "report" / "index.html").stat().st_size < 15_000_000
    assert sorted(path.name for path in (run.folder / "report").iterdir()) == ["index.html"]


@pytest.mark.parametrize(
    "missing",
    [
        "knowledge/entities.parquet",
        "search/candidates.parquet",
        "curate/decisions.parquet",
        "dataset/manifest.parquet",
        "models/main/metrics.json",
        "evaluation/scores.parquet",
        "evaluation/main/heldout.parquet",
    ],
)
def test_a_missing_file_is_named_with_what_to_type(run: Any, missing: str) -> None:
    (run.folder / missing).unlink()
    with pytest.raises(UserError, match=re.escape(missing) + ".* snakemake") as raised:
        run.open()
    assert "\n" not in str(raised.value)


def test_missing_batches_are_named(run: Any) -> None:
    for path in (run.folder / "download").glob("*.parquet"):
        path.unlink()
    with pytest.raises(UserError, match=r"download.* is missing.*snakemake"):
        run.open()


def test_the_program_shows_no_traceback_for_a_missing_table(run: Any) -> None:
    (run.folder / "curate" / "decisions.parquet").unlink()
    done = program(run)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert not (run.folder / "report" / "index.html").exists()


def test_a_torn_table_and_one_of_another_version_are_named(run: Any) -> None:
    path = run.folder / "queries" / "queries.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"queries\.parquet is no whole table"):
        run.open()
    tables.write([], tables.HITS, path)
    with pytest.raises(UserError, match=r"queries\.parquet lacks the columns kind"):
        run.open()


def test_a_shard_that_is_not_the_manifests_is_an_error(run: Any) -> None:
    shard = run.folder / "dataset" / "train-00000.tar"
    content = bytearray(shard.read_bytes())
    content[600:900] = bytes(300)
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"train-00000\.tar does not hold the picture .* snakemake"):
        run.html()


def test_decoded_tars_may_be_gone(run: Any) -> None:
    for path in (run.folder / "curate").rglob("*.tar"):
        path.unlink()
    assert "no picture stored" in run.html()


def test_an_absent_folder_is_named(run: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        open_results(tmp_path / "absent", settings.load(run.config))


def test_queries_and_attributes_are_counted_by_kind_and_source(run: Any) -> None:
    results = run.open()
    queries, attributes = page._queries(results), page._attributes(results)
    assert sum(row["n"] for row in queries) == results.number("SELECT count(*) FROM queries") == 6
    assert sum(row["hit"] for row in queries) == 5
    assert sum(row["n"] for row in attributes) == results.number("SELECT sum(len(attributes)) FROM entities")
    assert "Queries by kind" in page.render(results)[0]


def test_a_tower_of_marks_is_cut_and_a_letter_with_few_is_left() -> None:
    assert filters.clean("Z" + "\u0300" * 40 + "algo") == "Z" + "\u0300" * 4 + "algo"
    assert filters.clean("Ngọc ị́") == "Ngọc ị́"


def test_counts_agree_with_their_nouns(run: Any) -> None:
    assert [filters.counted(number, "query", "queries") for number in (0, 1, 1234)] == [
        "0 queries",
        "1 query",
        "1,234 queries",
    ]
    text = methods(only_first(run))
    for part in (
        "We exported 1 species below Apidae and Bombus terrestris (Q25334) from",
        "and made 1 query of its names and attributes (noun, attribute-noun), with which we found 1 candidate picture",
        " at wikidata and commons. 0 were left out before any request, for their licences were not public domain",
        "0 more were removed because the picture, a copy of it",
        "1 picture of 1 species remains.",
        "by declared weights. Experiment untrained had no step of training: it shows what fresh weights can do.",
        "was trained from fresh weights by the recipe demo, 120 steps of 128 pairs, on 29 pictures.",
        "On heldout (24 test pictures of 6 classes; chance",
    ):
        assert part in text, part
    html = run.html()
    assert not re.search(r"(?<![\d,.])1 (entities|queries|candidates|pictures|classes)\b", html.split("<script")[0])


def test_methods_of_a_run_without_models_tell_of_none(run: Any) -> None:
    for name in ("models", "evaluation"):
        shutil.rmtree(run.folder / name)
    run.settings["train"]["experiments"], run.settings["evaluate"]["benchmarks"] = {}, {}
    run.settings["dataset"]["licenses"] = "any"
    text = methods(run)
    assert "No model was trained. The method is that of EntityNet" in text
    assert "evaluation set" not in text and "before any request" not in text and "Training draws" not in text
    html = run.html()
    assert "A picture dataset of <bdi>Apidae</bdi> and <bdi>Bombus terrestris (Q25334)</bdi>, made" in html


def test_a_credit_line_links_the_licence_and_a_table_the_commonest_address(run: Any) -> None:
    path = run.folder / "dataset" / "manifest.parquet"
    rows = tables.read(path).to_pylist()
    for number, row in enumerate(rows):
        row["license"] = "CC-BY-4.0"
        row["licenseURL"] = ["http://a.test/", "https://creativecommons.org/licenses/by/4.0/", "", None][number % 4]
        if number % 8 > 3:
            row["licenseURL"] = "https://creativecommons.org/licenses/by/4.0/"
    rows[0]["licenseURL"] = "javascript:alert(1)"
    tables.write(rows, tables.DATASET, path)
    (licence,) = page._licences(run.open())
    assert licence["url"] == "https://creativecommons.org/licenses/by/4.0/"
    kept = run.html().split('<h2 id="kept">')[1].split("<h2")[0]
    linked = sum(str(row["licenseURL"]).startswith("http") for row in rows)
    assert kept.count('nofollow">CC-BY-4.0</a>') == linked and kept.count("<bdi>CC-BY-4.0</bdi>") == len(rows) - linked


def methods(run: Any) -> str:
    """The text for a paper, without its tags."""
    section = run.html().split('<h2 id="methods">')[1].split("</section>")[0]
    return " ".join(re.sub(r"<[^>]+>", "", section).split())


def only_first(run: Any) -> Any:
    """The run with one entity, one query, one candidate."""
    key = tables.read(run.folder / "search" / "candidates.parquet").to_pylist()[0]["candidateID"]
    for name, schema in (
        *(("search/candidates", tables.CANDIDATES), ("curate/decisions", tables.DECISIONS)),
        *(("knowledge/entities", tables.ENTITIES), ("queries/queries", tables.QUERIES)),
        *(("dataset/manifest", tables.DATASET), ("search/commons.hits", tables.HITS)),
        *((f"download/commons-00{n}.manifest", tables.DOWNLOADS) for n in (0, 1)),
        *((f"curate/commons-00{n}.features", tables.FEATURES) for n in (0, 1)),
    ):
        path = run.folder / f"{name}.parquet"
        rows = tables.read(path).to_pylist()
        pictures = "candidateID" in schema.names or "key" in schema.names
        one = [row for row in rows if key in (row.get("candidateID"), row.get("key"))] if pictures else rows[:1]
        tables.write(one[:1], schema, path)
    return run
