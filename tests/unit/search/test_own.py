"""One's own pictures: a table of addresses whose bad rows are reported, and a folder."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kg2clip import folder, tables
from kg2clip.errors import UserError
from kg2clip.identifiers import candidate_id
from kg2clip.search.own import OwnFolder, OwnTable
from kg2clip.search.run import search_source
from kg2clip.search.source import Answers


def query(name: str, **changes: Any) -> dict[str, Any]:
    return {"queryID": name, "entityID": "e", "kind": "noun", "name": name, "nameKind": "vernacular", **changes}


def run(source: Any, kept: Path, *names: str) -> list[dict[str, Any]]:
    rows = search_source(source, [query(name) for name in names], Answers(kept, "", 1), 1000, 1000, {})
    tables.as_table(rows, tables.HITS)
    return rows


TABLE = """\ufeffname,accessURI,altText,tags,license,creator,furtherInformationURL
Bombus terrestris,http://a.test/1.jpg,a bee &amp; clover,bee|clover,CC BY 4.0,Jane Doe,http://a.test/1
bombus_terrestris,http://a.test/2.jpg,007,,,,
"Salvia, red","http://a.test/3.jpg","a, b",,,,
,http://a.test/4.jpg,,,,,
Bombus terrestris,,,,,,
Bombus terrestris,file:///etc/hostname,,,,,
Bombus terrestris,http://169.254.169.254/latest,,,,,
Bombus terrestris,http://a.test/1.jpg,again,,,,

Bombus terrestris,data:image/png;base64;AAAA,,,,,
"""


def test_a_table_gives_its_rows_and_lists_the_bad_ones(tmp_path: Path) -> None:
    path, kept = tmp_path / "mine.csv", tmp_path / "kept"
    path.write_text(TABLE, encoding="utf-8")
    source = OwnTable({"path": str(path)})
    rows = run(source, kept, "Bombus terrestris", "Salvia, red", "Apis")
    found = {row["accessURI"]: row for row in rows}
    assert set(found) == {"http://a.test/1.jpg", "http://a.test/2.jpg", "http://a.test/3.jpg"}
    first = found["http://a.test/1.jpg"]
    assert (first["altText"], first["tags"], first["license"]) == ("a bee & clover", ["bee", "clover"], "CC-BY-4.0")
    assert (first["licenseOriginal"], first["creator"]) == ("CC BY 4.0", "Jane Doe")
    assert first["furtherInformationURL"] == "http://a.test/1" and first["source"] == "table"
    assert found["http://a.test/2.jpg"]["altText"] == "007", "texts stay texts"
    assert found["http://a.test/2.jpg"]["license"] == "unknown"
    with open(kept / "rejected.csv", encoding="utf-8", newline="") as file:
        rejected = [(row["line"], row["reason"]) for row in csv.DictReader(file)]
    assert rejected == [
        ("5", "no-name"), ("6", "no-address"), ("7", "bad-url"), ("8", "private-address"), ("9", "twice"),
        ("11", "bad-url"),
    ]  # fmt: skip
    reasons = {"bad-url": 2, "no-address": 1, "no-name": 1, "private-address": 1, "twice": 1}
    assert source.facts() == {"table": {"used": 3, "rejected": 6, "reasons": reasons}}
    again = OwnTable({"path": str(path)})
    assert len(run(again, kept, "Bombus terrestris")) == 2 and again.facts() == source.facts()


def test_other_separators_and_parquet_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "semicolon.csv").write_text("name;accessURI;tags\nApis;http://a.test/1.jpg;a|b\n", encoding="utf-8")
    (tmp_path / "tab.tsv").write_text("accessURI\tname\ttags\nhttp://a.test/1.jpg\tApis\ta|b\n", encoding="utf-8")
    columns = {"name": ["Apis"], "accessURI": ["http://a.test/1.jpg"], "tags": [["a", "b"]], "own": [1]}
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    for name in ("semicolon.csv", "tab.tsv", "mine.parquet"):
        (row,) = run(OwnTable({"path": str(tmp_path / name)}), tmp_path / f"kept-{name}", "apis")
        assert (row["accessURI"], row["tags"]) == ("http://a.test/1.jpg", ["a", "b"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("name,url\nApis,http://a.test/1.jpg\n", "has no column accessURI .*Needed are name and accessURI"),
        ("names,accessURI\n", r"has no column name \(rename names\)"),
        ("", "has no column name"),
        ('name,accessURI,title\nApis,http://a.test/1.jpg,"no end\nBombus,http://a.test/2.jpg,x\n', "can't be read"),
        ("name,accessURI\nAp\udcffis,http://a.test/1.jpg\n", "can't be read as a table in UTF-8"),
    ],
)
def test_a_table_that_makes_no_sense_is_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "mine.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=told):
        run(OwnTable({"path": str(tmp_path / "mine.csv")}), tmp_path / "kept", "Apis")
    with pytest.raises(UserError, match="is not there"):
        run(OwnTable({"path": str(tmp_path / "other.csv")}), tmp_path / "kept", "Apis")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for name in (
        "Bombus terrestris/on clover.jpg",
        "Bombus_terrestris/b.PNG",
        "Apis mellifera/deep/er/a.jpg",
        "loose.jpg",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8\xff")
    (root / "Bombus terrestris" / "on clover.txt").write_text("a bee on <b>clover</b>")
    (root / "Bombus terrestris" / "notes.doc").write_bytes(b"x")
    (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "Bombus terrestris" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    return root


def test_a_folder_gives_its_pictures_with_their_texts(pictures: Path, tmp_path: Path) -> None:
    source = OwnFolder({"path": str(pictures), "license": "CC-BY-4.0", "creator": "Jane Doe"})
    rows = run(source, tmp_path / "kept", "bombus terrestris", "Apis mellifera", "loose")
    assert {row["sourceID"]: row["caption"] for row in rows} == {
        "Bombus terrestris/on clover.jpg": "a bee on clover",
        "Bombus_terrestris/b.PNG": None,
        "Apis mellifera/deep/er/a.jpg": None,
    }
    assert {(row["license"], row["creator"]) for row in rows} == {("CC-BY-4.0", "Jane Doe")}
    assert {row["title"] for row in rows} == {None}, "a file's name is no text"
    assert all(row["accessURI"].startswith("folder:") for row in rows)
    assert source.facts() == {"pictures": 3, "subfolders": 2}
    config = {"search": {"sources": {"folder": {"path": str(pictures)}}}}
    for row in rows:
        assert folder.find(row["accessURI"], row["candidateID"], config) == pictures / row["sourceID"]
    for path in (tmp_path / "empty", tmp_path / "not there"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="no folder|no pictures in subfolders"):
            run(OwnFolder({"path": str(path), "license": "", "creator": ""}), tmp_path / "kept", "Apis")


@pytest.mark.parametrize(
    "relative",
    ["../secret.jpg", "Bombus terrestris/../../secret.jpg", "Bombus terrestris/link.jpg", "/etc/hostname", "a\0b", ""],
)
def test_no_path_leads_out_of_the_folder(pictures: Path, relative: str) -> None:
    config = {"search": {"sources": {"folder": {"path": str(pictures)}}}}
    assert folder.find(f"folder:{relative}", candidate_id("folder", relative), config) is None


def test_only_candidates_of_the_source_folder_are_read(pictures: Path) -> None:
    config = {"search": {"sources": {"folder": {"path": str(pictures)}}}}
    address = "folder:Bombus%20terrestris/on%20clover.jpg#3-1"
    assert folder.find(address, candidate_id("folder", "Bombus terrestris/on clover.jpg"), config) is not None
    assert folder.find(address, candidate_id("gbif", address), config) is None
    assert folder.find("file:///etc/hostname", candidate_id("folder", "/etc/hostname"), config) is None
    assert (
        folder.find(address, candidate_id("folder", "Bombus terrestris/on clover.jpg"), {"search": {"sources": {}}})
        is None
    )


def test_the_digest_of_a_folder_tells_every_change(tmp_path: Path) -> None:
    told = {folder.digest(tmp_path / "none")}
    picture = tmp_path / "own" / "Bombus" / "a.jpg"
    picture.parent.mkdir(parents=True)
    for change in (b"a", b"ab"):
        picture.write_bytes(change)
        told.add(folder.digest(tmp_path / "own"))
    picture.rename(picture.with_name("b.jpg"))
    told.add(folder.digest(tmp_path / "own"))
    (picture.parent / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    told.add(folder.digest(tmp_path / "own"))
    assert len(told) == 5 and folder.digest(tmp_path / "own") in told
