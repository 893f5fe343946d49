"""A benchmark made of a person's own photos is read by the evaluation and by the decontamination."""

from __future__ import annotations

from pathlib import Path

import pytest

import pack_benchmark
from kg2clip import tables
from kg2clip.curate import benchmarks
from kg2clip.errors import UserError
from kg2clip.evaluate import benchmark


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for place in ("test/Bombus terrestris/b.JPG", "test/Bombus terrestris/a.png", "test/Apis mellifera/c.jpg",
                  "dev/Bombus terrestris/d.jpg", "dev/Apis mellifera/e.jpg"):  # fmt: skip
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"bytes of {path.name}".encode())
    (folder / "test/Bombus terrestris/a.json").write_text('{"source": "inaturalist", "sourceID": "92152429"}')
    (folder / "test/Bombus terrestris/notes.txt").write_text("seen in May")
    (folder / "test/empty").mkdir()
    (folder / "test/Apis mellifera/._c.jpg").write_bytes(b"what a Mac writes beside a file")
    return folder


def entities(path: Path) -> Path:
    above = [("Apis", "genus"), ("Apini", "tribe"), ("Apidae", "family"), ("Metazoa", "kingdom")]
    ancestors = [{"scientificName": name, "taxonRank": rank} for name, rank in above]
    rows = [{"scientificName": "Apis mellifera", "vernacularName": "honey bee", "ancestors": ancestors}]
    tables.write(rows, tables.ENTITIES, path)
    return path


def test_the_evaluation_reads_it(photos: Path, tmp_path: Path) -> None:
    counts = pack_benchmark.pack(photos, tmp_path / "set", entities(tmp_path / "entities.parquet"))
    assert counts == {"dev": 2, "test": 3}
    made = benchmark.load(tmp_path / "set")
    assert made.splits == ("dev", "test")
    assert made.names == {
        "scientific": ["Apis mellifera", "Bombus terrestris"],
        "common": ["honey bee", None],
        "taxonomic": ["Metazoa Apidae Apis mellifera", None],
        "combined": ["Metazoa Apidae Apis mellifera with common name honey bee", None],
    }
    assert made.ranks == [{"kingdom": "Metazoa", "family": "Apidae", "genus": "Apis"}, {}]
    contents = {}
    for picture in made.pictures("test"):
        contents[picture.tar.read_bytes()[picture.offset : picture.offset + picture.size]] = picture.label
    assert contents == {b"bytes of c.jpg": 0, b"bytes of a.png": 1, b"bytes of b.JPG": 1}


def test_ids_beside_a_photo_reach_the_decontamination(photos: Path, tmp_path: Path) -> None:
    pack_benchmark.pack(photos, tmp_path / "set", None)
    sidecars = [one.sidecar.read() for one in benchmarks._pictures("set", tmp_path / "set") if one.sidecar]
    assert sidecars == [b'{"source": "inaturalist", "sourceID": "92152429"}']


def test_photos_in_another_format_are_counted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("dev/Apis mellifera/f.HEIC", "test/Apis mellifera/g.heic"):
        (photos / place).write_bytes(b"ftypheic")
    monkeypatch.setattr("sys.argv", ["pack_benchmark.py", str(photos), str(tmp_path / "set")])
    pack_benchmark.main()
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["dev: 2 pictures", "test: 3 pictures"]
    assert said[2].startswith("passed over, being no JPEG, PNG or WebP: 2 .heic, 1 .txt.")


def test_a_mistake_is_named(photos: Path, tmp_path: Path) -> None:
    (photos / "dev/Apis mellifera/e.jpg").unlink()
    with pytest.raises(UserError, match="dev has no picture of Apis mellifera"):
        pack_benchmark.pack(photos, tmp_path / "set", None)
    with pytest.raises(UserError, match="test holds no folder with a picture"):
        pack_benchmark.pack(photos / "test", tmp_path / "set", None)
    assert not (tmp_path / "set").exists()
