"""A kill, a change or a fault on disk at any moment ends in the same result, and nothing whole is fetched twice."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hostile import FAST, HostileWeb, config, write_candidates

from kg2clip import tables, tars
from kg2clip.download import batch as batches
from kg2clip.download import engine, fetch, selection
from kg2clip.download.lanes import shard_of
from kg2clip.download.shards import Journal, Shard, read_record
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes
from kg2clip.identifiers import candidate_id


def content_of(rows: dict[Any, Any]) -> dict[Any, Any]:
    """Rows without what depends on the clock."""
    return {url: {**row, "retrieved": None} for url, row in rows.items()}


def tars_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def test_a_finished_batch_is_not_asked_for_again(hostile: HostileWeb, harvest: Any, folder: Path) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(10)] + ["http://a.test/status/404"]
    first, stored, asked = harvest(urls), tars_of(folder), len(hostile.asked)
    assert harvest(urls) == first
    assert tars_of(folder) == stored and len(hostile.asked) == asked


def test_tars_do_not_depend_on_the_order_of_arrival(hostile: HostileWeb, harvest: Any, folder: Path) -> None:
    naps = {f"k{n}": f"http://a.test/nap/{0.02 * (n % 3)}/{n}" for n in range(20)}
    harvest(naps)
    stored = tars_of(folder)
    for path in folder.iterdir():
        path.unlink()
    harvest(dict(reversed(naps.items())), lanes={"web": {**FAST, "connections": 1}})
    assert tars_of(folder) == stored and len(stored) == 2


@pytest.mark.parametrize("harm", ["tar gone", "tar cut", "bit flipped", "record gone", "record cut", "journal torn"])
def test_harm_on_disk_is_found_and_mended(hostile: HostileWeb, harvest: Any, folder: Path, harm: str) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(12)]
    first, stored = harvest(urls), tars_of(folder)
    tar, record = folder / "00000.tar", folder / "00000.rows.parquet"
    inside = len(tars.members(tar))
    hostile.asked.clear()
    if harm == "tar gone":
        tar.unlink()
    elif harm == "tar cut":
        os.truncate(tar, 5000)
    elif harm == "bit flipped":
        with open(tar, "r+b") as file:
            file.seek(tars.members(tar)[1].offset + 50)
            file.write(b"?")
    elif harm == "record gone":
        record.unlink()
    elif harm == "record cut":
        os.truncate(record, 100)
    else:
        (folder / "00000.journal").write_bytes(b'{"rules": 1}\n{"candidate')
    assert content_of(harvest(urls)) == content_of(first)
    assert tars_of(folder) == stored
    again = {"bit flipped": 1, "journal torn": 0}.get(harm, inside)
    assert len(hostile.paths()) == again
    assert not list(folder.glob("*.journal"))


def test_a_changed_input_fetches_only_what_changed(hostile: HostileWeb, harvest: Any, folder: Path) -> None:
    before = {f"k{n}": f"http://a.test/ok/{n}" for n in range(20)}
    harvest(before)
    after = {
        **{key: before[key] for key in list(before)[5:]},
        "k7": "http://a.test/ok/moved",
        "new": "http://a.test/ok/new",
    }
    hostile.asked.clear()
    harvest(after)
    assert sorted(hostile.paths()) == ["/ok/moved", "/ok/new"]
    changed = tars_of(folder)
    for path in folder.iterdir():
        path.unlink()
    harvest(after)
    assert tars_of(folder) == changed


def test_another_number_of_shards_moves_bytes_and_leaves_nothing_over(
    hostile: HostileWeb, harvest: Any, folder: Path
) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(20)]
    harvest(urls, shards_per_batch=6)
    hostile.asked.clear()
    harvest(urls, shards_per_batch=2)
    assert not hostile.asked
    assert sorted(tars_of(folder)) == ["00000.tar", "00001.tar"]
    assert sorted(path.name for path in folder.glob("*.parquet")) == ["00000.rows.parquet", "00001.rows.parquet"]


def test_changed_rules_are_applied_to_everything(hostile: HostileWeb, harvest: Any) -> None:
    urls = ["http://a.test/ok/1", "http://a.test/tag/noai"]
    assert {row["reason"] for row in harvest(urls, respect_opt_out=False).values()} == {None}
    assert {row["reason"] for row in harvest(urls).values()} == {None, "opt-out"}
    assert {row["reason"] for row in harvest(urls, max_bytes=100).values()} == {"too-large", "opt-out"}


def test_a_dropped_tar_is_not_missed_until_its_shard_changes(hostile: HostileWeb, harvest: Any, folder: Path) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(12)]
    rows = harvest(urls)
    inside = len(tars.members(folder / "00000.tar"))
    tars.drop(folder / "00000.tar")
    hostile.asked.clear()
    assert harvest(urls) == rows and not hostile.asked
    added = next(
        url for url in map("http://b.test/ok/{}".format, range(99)) if shard_of(candidate_id("t", url), 2) == 0
    )
    assert harvest([*urls, added])[added]["status"] == "success"
    assert len(hostile.paths()) == inside + 1
    assert not list(folder.glob("*.dropped")) and len(tars.members(folder / "00000.tar")) == inside + 1


def test_speed_settings_fetch_nothing_again(hostile: HostileWeb, harvest: Any) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(5)]
    harvest(urls)
    hostile.asked.clear()
    harvest(urls, total_timeout=9, attempts=7, lanes={"web": {**FAST, "connections": 1}})
    assert not hostile.asked


def test_shards_without_pictures_and_empty_batches_are_finished(
    hostile: HostileWeb, harvest: Any, folder: Path
) -> None:
    assert harvest([]) == {}
    urls = [f"http://a.test/status/404/{n}" for n in range(8)]
    assert {row["shard"] for row in harvest(urls).values()} == {None}
    assert not list(folder.glob("*.tar"))
    hostile.asked.clear()
    assert len(harvest(urls)) == 8 and not hostile.asked


def a_shard(folder: Path, count: int = 3) -> Shard:
    names = [f"k{n}" for n in range(count)]
    urls = [f"http://a.test/{name}" for name in names]
    chosen = tuple(selection.Candidate(key, (url,)) for key, url in zip(names, urls, strict=True))
    return Shard(folder, 0, chosen, "rules")


def test_a_journal_survives_being_cut_anywhere(tmp_path: Path) -> None:
    shard = a_shard(tmp_path)
    bodies = [b"first \n body", b"", b"third"]
    with Journal(shard) as journal:
        for candidate, body in zip(shard.candidates, bodies, strict=True):
            row: dict[str, Any] = {"candidateID": candidate.key, "accessURI": candidate.links[0], "tried": []}
            row |= {"status": "success", "reason": None} if body else {"status": "failed", "reason": "http-404"}
            row |= {"bytes": len(body) or None, "sha256": sha256_bytes(body) if body else None}
            journal.append(row, body or None)
    whole = shard.journal.read_bytes()
    known = []
    for end in range(len(whole) + 1):
        shard.journal.write_bytes(whole[:end])
        with Journal(shard) as journal:
            known.append(len(journal))
            found = [journal.entry(candidate.key)[1] for candidate in shard.candidates if candidate.key in journal]
            assert found == [body or None for body in bodies[: known[-1]]]
        with Journal(shard) as journal:
            journal.append({**row, "candidateID": "k0", "accessURI": "http://a.test/k0"}, bodies[2])
        with Journal(shard) as journal:
            assert journal.entry("k0")[1] == bodies[2]
            assert len(journal) == max(known[-1], 1)
    assert known == sorted(known) and set(known) == {0, 1, 2, 3}
    with Journal(Shard(tmp_path, 0, shard.candidates, "other rules")) as journal:
        assert not len(journal)


@pytest.mark.parametrize("step", ["tar", "record", "journal"])
def test_a_kill_between_the_steps_of_sealing_loses_nothing(
    hostile: HostileWeb, harvest: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(12)]
    harvest(urls[:6])
    hostile.asked.clear()

    def die(*_: Any) -> None:
        raise KeyboardInterrupt  # leaves the program as a kill would: no handler of ours mends anything

    place = {"tar": (tars, "writing"), "record": (tables, "write"), "journal": (Journal, "remove")}[step]
    with monkeypatch.context() as patch:
        patch.setattr(*place, die)
        with pytest.raises(KeyboardInterrupt):
            harvest(urls)
    harvest(urls)
    assert sorted(hostile.paths()) == sorted(f"/ok/{n}" for n in range(6, 12))


def test_a_full_disk_is_told_and_keeps_what_is_there(
    hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(20)]
    append, calls = Journal.append, Counter[str]()

    def fill(self: Journal, row: Any, body: Any) -> None:
        calls["append"] += 1
        if calls["append"] > 5:
            raise OSError(28, "No space left on device")
        append(self, row, body)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", fill)
        with pytest.raises(UserError, match=r"disk of .*web-000 is full"):
            harvest(urls)
    hostile.asked.clear()
    harvest(urls)
    assert len(hostile.paths()) == 15


def test_two_programs_do_not_write_one_batch(hostile: HostileWeb, harvest: Any) -> None:
    slow = threading.Thread(target=harvest, args=(["http://a.test/nap/1.0/x"],))
    slow.start()
    while not hostile.paths():
        time.sleep(0.01)
    with pytest.raises(UserError, match="is being written by process"):
        harvest(["http://a.test/nap/1.0/x"])
    slow.join()


def test_a_manifest_answers_to_its_record(hostile: HostileWeb, harvest: Any, folder: Path) -> None:
    rows = harvest(["http://a.test/ok/1"])
    records = [record for path in folder.glob("*.rows.parquet") if (record := read_record(path))]
    assert [row for record in records for row in record.rows.to_pylist()] == list(rows.values())


def test_the_seam_is_where_it_was() -> None:
    """If this fails, img2dataset was updated: read its downloader.py again before changing VERSION or PARAMETERS."""
    engine.check_seam()
    original = engine.seam.download_image_with_retry
    assert original.__module__ == "img2dataset.downloader"


def test_a_moved_seam_says_what_to_install(hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = engine.seam.download_image_with_retry
    with monkeypatch.context() as patch:
        patch.setattr(engine.seam, "download_image_with_retry", lambda row, timeout: None)
        with pytest.raises(UserError, match=r"pip install img2dataset==1\.47\.0"):
            harvest(["http://a.test/ok/1"])
        patch.delattr(engine.seam, "download_image_with_retry")
        with pytest.raises(UserError, match=r"pip install img2dataset==1\.47\.0"):
            harvest(["http://a.test/ok/1"])
    harvest(["http://a.test/ok/1"])
    assert engine.seam.download_image_with_retry is original


def test_a_seam_that_is_no_longer_called_is_told(
    hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a release kept the function and its parameters, and called another one."""
    monkeypatch.setattr(engine.seam, "kept", engine.seam.download_image_with_retry, raising=False)
    monkeypatch.setattr(engine, "FUNCTION", "kept")
    with pytest.raises(RuntimeError, match="the seam has moved"):
        harvest(["http://a.test/ok/1"])


def test_memory_is_bounded_by_bytes(hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "HELD_BYTES", 1)  # every body fills it
    rows = harvest([f"http://a.test/ok/{n}" for n in range(20)])
    assert {row["status"] for row in rows.values()} == {"success"}


def test_an_error_of_our_own_does_not_hang(hostile: HostileWeb, harvest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fetch.media, "media_type", fail)
    assert [row["reason"] for row in harvest(["http://a.test/ok/1"], attempts=1).values()] == ["our-error"]


def test_an_unknown_batch_is_told(tmp_path: Path) -> None:
    candidates = write_candidates(tmp_path / "candidates.parquet", [])
    with pytest.raises(UserError, match=r"no batch 'web-001'.*web-000"):
        selection.select(candidates, "web-001", config())


def test_a_candidate_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "candidates.parquet"
    tables.write([{"candidateID": "k", "accessURI": "http://a.test/"}] * 2, tables.CANDIDATES, path)
    with pytest.raises(UserError, match="candidate k twice"):
        selection.select(path, "web-000", config())


def test_every_row_is_in_the_funnel(hostile: HostileWeb, harvest: Any) -> None:
    rows = harvest(["http://a.test/ok/1", "http://a.test/status/404", "file:///x", None]).values()
    counts = batches.count([tables.as_table(list(rows), tables.DOWNLOADS)])
    assert counts["candidates"] == counts["success"] + counts["failed"] + counts["refused"] == 4
    assert sum(counts["reasons"].values()) == counts["failed"] + counts["refused"]


def test_ctrl_c_ends_soon_and_keeps_what_is_there(
    hostile: HostileWeb, harvest: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"http://a.test/ok/{n}" for n in range(10)] + [f"http://b.test/nap/30/{n}" for n in range(10)]

    def interrupted(_: Any) -> None:
        while len(hostile.paths("a.test")) < 10 or not hostile.paths("b.test"):
            time.sleep(0.01)
        time.sleep(0.2)
        raise KeyboardInterrupt

    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(batches, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            harvest(urls)
    assert time.monotonic() - began < 10
    assert not folder.with_suffix(".manifest.parquet").exists()
    assert not list(folder.glob("*.tar"))
    harvest(urls[:10])
    assert len(hostile.paths("a.test")) == 10
