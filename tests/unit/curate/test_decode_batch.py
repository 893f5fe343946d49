"""decode_batch.py: one row for each fetched picture, the same bytes whatever happens on the way."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from textures import encoded, texture

from kg2clip import tars
from kg2clip.curate.batch import Batch, decode_batch
from kg2clip.curate.decode import Rules
from kg2clip.curate.pictures import Examiners, Outcome, Work, examine
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes, sha256_file
from kg2clip.settings import ROOT

RULES = Rules(256, 90, "#ffffff", 50_000_000)


@pytest.fixture
def fetched(harvest: Any) -> Any:
    harvest.pictures = {f"{seed:020d}": encoded(texture(seed, 400, 300)) for seed in range(6)}
    harvest.pictures["b" * 20] = b"<!doctype html><html></html>"
    harvest.pictures["c" * 20] = encoded(texture(7))[:3000]
    harvest.failed = {"d" * 20: "http-404"}
    harvest.write()
    return harvest


def outputs(harvest: Any) -> dict[str, str]:
    folder = harvest.features.parent
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock" and path.is_file()
    }


def test_every_fetched_picture_has_a_row(fetched: Any) -> None:
    done = fetched.decode()
    assert done.returncode == 0, done.stderr
    rows = fetched.rows(fetched.features)
    assert set(rows) == set(fetched.pictures)
    assert {key[0]: row["reason"] for key, row in rows.items() if row["status"] == "refused"} == {
        "b": "html",
        "c": "truncated",
    }
    row = rows["0" * 20]
    assert (row["width"], row["height"], row["storedWidth"], row["storedHeight"]) == (400, 300, 341, 256)
    assert row["sha256"] == sha256_bytes(fetched.pictures["0" * 20]) and len(row["pdq"]) == 32
    jpeg = tars.read_at(fetched.features.parent / row["tar"], row["offset"], row["size"])
    with Image.open(io.BytesIO(jpeg)) as image:
        wanted = np.asarray(texture(0, 400, 300).resize((341, 256), Image.Resampling.LANCZOS)).astype(float)
        assert np.abs(np.asarray(image) - wanted).mean() < 6
    counts = json.loads(fetched.provenance("decode_batch").read_text())["counts"]
    assert counts["fetched"] == counts["decoded"] + sum(counts["refused"].values()) == 8


def test_result_does_not_depend_on_workers_or_on_earlier_runs(fetched: Any, tmp_path: Path) -> None:
    fetched.decode(workers=1)
    once = outputs(fetched)
    assert fetched.decode(workers=3).returncode == 0 and outputs(fetched) == once
    for path in fetched.features.parent.rglob("*.*"):
        path.unlink()
    fetched.decode(workers=3)
    assert outputs(fetched) == once


def batch_of(harvest: Any) -> Batch:
    return Batch(harvest.manifest, harvest.features)


def counting(calls: list[Work]) -> Any:
    class Counting(Examiners):
        def outcomes(self, works: Any) -> Any:
            calls.extend(works)
            return super().outcomes(works)

    return Counting(1)


def test_only_what_is_not_whole_is_decoded_again(fetched: Any) -> None:
    def decoded(rules: Rules = RULES) -> int:
        calls: list[Work] = []
        with counting(calls) as examiners:
            decode_batch(batch_of(fetched), rules, examiners)
        return len(calls)

    folder = fetched.features.parent / "web-000"
    assert decoded() == 8 and decoded() == 0
    (fetched.manifest.parent / "web-000" / "00001.tar").rename(fetched.folder / "elsewhere")  # raw tars may go
    assert decoded() == 0
    (fetched.folder / "elsewhere").rename(fetched.manifest.parent / "web-000" / "00001.tar")
    with open(folder / "00000.tar", "r+b") as tar:
        tar.seek(2000)
        tar.write(b"rot")
    assert decoded() == 4
    (folder / "00001.tar.features.parquet").write_bytes(b"PAR1 torn")
    assert decoded() == 4
    assert decoded(Rules(128, 90, "#ffffff", 50_000_000)) == 8
    fetched.pictures["0" * 20] = encoded(texture(55))
    fetched.write()
    assert decoded() == 8  # 4 for the rules of before, 4 for the new picture


def test_shards_that_are_no_longer_named_go(fetched: Any) -> None:
    fetched.decode()
    for raw in (fetched.manifest.parent / "web-000").iterdir():
        raw.unlink()
    fetched.write(shards=1)
    fetched.decode()
    names = {path.name for path in (fetched.features.parent / "web-000").iterdir()}
    assert names == {".lock", "00000.tar", "00000.tar.features.parquet"}


def test_missing_torn_and_foreign_raw_tars_are_named(fetched: Any) -> None:
    raw = fetched.manifest.parent / "web-000" / "00000.tar"
    whole = raw.read_bytes()
    for content, problem in ((None, "is missing"), (whole[:9000], "torn"), (whole[:300], "no whole tar")):
        raw.unlink()
        if content is not None:
            raw.write_bytes(content)
        else:
            raw.unlink(missing_ok=True)
        done = fetched.decode()
        assert (
            done.returncode == 1
            and str(raw) in done.stderr
            and problem in done.stderr
            and "Traceback" not in done.stderr
        )
        raw.write_bytes(whole)
    with tars.writing(raw) as writer:
        for member in ("0" * 20, "0" * 19 + "2", "0" * 19 + "4", "b" * 20):
            writer.add(f"{member}.jpg", b"other bytes")
    assert "holds other bytes for" in fetched.decode().stderr
    with tars.writing(raw) as writer:
        writer.add("x.jpg", b"")
    assert "lacks 4 pictures" in fetched.decode().stderr


def test_no_picture_at_all(harvest: Any) -> None:
    harvest.failed = {"d" * 20: "dns"}
    harvest.write(shards=1)
    done = harvest.decode()
    assert done.returncode == 0, done.stderr
    assert harvest.rows(harvest.features) == {}


def test_killed_at_any_moment_the_next_run_ends_the_same(fetched: Any) -> None:
    fetched.pictures |= {f"{seed:020d}": encoded(texture(seed)) for seed in range(10, 40)}
    fetched.write(shards=4)
    fetched.decode()
    wanted = outputs(fetched)
    for path in fetched.features.parent.rglob("*.*"):
        path.unlink()
    script = [sys.executable, str(ROOT / "scripts" / "decode_batch.py"), "--downloads", str(fetched.manifest)]
    script += ["--output", str(fetched.features), "--config", str(fetched.folder / "config.yaml"), "--workers", "1"]
    script += ["--provenance", str(fetched.folder / "p.json")]
    for state in ("00000.tar", "00001.tar.features.parquet"):
        process = subprocess.Popen(script, stderr=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and not (fetched.features.parent / "web-000" / state).exists():
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert fetched.decode().returncode == 0
    assert outputs(fetched) == wanted


def crash_on_white(work: Work) -> Outcome:
    if b"crash" in work.member.read():
        os._exit(3)
    return examine(work)


def test_a_picture_that_kills_its_process_is_refused(tmp_path: Path) -> None:
    with tars.writing(tmp_path / "raw.tar") as writer:
        for number in range(30):
            writer.add(f"{number}.jpg", encoded(texture(number, 64, 48)) + (b"crash" if number == 13 else b""))
    works = [Work(member, RULES) for member in tars.members(tmp_path / "raw.tar")]
    with Examiners(2, crash_on_white) as examiners:
        reasons = [outcome.reason for outcome in examiners.outcomes(works)]
    assert reasons == [None] * 13 + ["decoder-crash"] + [None] * 16


def test_a_torn_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"short")
    with pytest.raises(UserError, match="torn"):
        tars.read_at(tmp_path / "a.tar", 3, 10)


def test_raw_tars_go_after_decoding_where_the_config_says_so(fetched: Any) -> None:
    assert fetched.decode().returncode == 0
    kept = outputs(fetched)
    fetched.config = {"download": {"keep_raw": False}}
    fetched.write()
    raw = fetched.manifest.parent / "web-000"
    for again in range(2):
        assert fetched.decode().returncode == 0 and outputs(fetched) == kept, f"time {again}"
        assert sorted(path.name for path in raw.iterdir()) == ["00000.dropped", "00001.dropped"]
    fetched.features.with_name("web-000").joinpath("00000.tar").unlink()
    done = fetched.decode()
    assert done.returncode == 1 and f"rm -r {raw} {fetched.manifest}" in done.stderr
