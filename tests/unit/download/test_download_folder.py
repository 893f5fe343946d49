"""Pictures of the user's own folder are read, not fetched, and pass through the same tars and manifest."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from hostile import config
from PIL import Image

from kg2clip import folder, tables
from kg2clip.download.batch import fetch_batch
from kg2clip.identifiers import candidate_id


def jpeg(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def candidates(root: Path, path: Path, names: list[str]) -> Path:
    rows = [
        {
            "candidateID": candidate_id("folder", name),
            "source": "folder",
            "accessURI": folder.address_of(root / name, root),
        }
        for name in names
    ]
    rows.append({"candidateID": "stranger", "source": "gbif", "accessURI": rows[0]["accessURI"]})
    tables.write(rows, tables.CANDIDATES, path)
    return path


def fetch(tmp_path: Path, root: Path, names: list[str], **options: Any) -> dict[str, dict[str, Any]]:
    settings = config(**options)
    settings["search"]["sources"]["folder"] = {"path": str(root)}
    table = candidates(root, tmp_path / "candidates.parquet", names)
    manifest = tmp_path / "download" / "web-000.manifest.parquet"
    fetch_batch(table, "web-000", manifest, settings)
    return {row["candidateID"]: row for row in tables.read(manifest).to_pylist()}


def bodies(tmp_path: Path) -> dict[str, bytes]:
    found = {}
    for path in (tmp_path / "download" / "web-000").glob("*.tar"):
        with tarfile.open(path) as tar:
            found.update({member.name.split(".")[0]: tar.extractfile(member).read() for member in tar})  # type: ignore[union-attr]
    return found


def test_files_of_the_folder_are_read_and_read_again_when_they_change(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    names = ["Apis/a.jpg", "Apis/b.jpg", "Apis/empty.jpg", "Apis/page.jpg", "Apis/big.jpg"]
    for name, content in zip(
        names, [jpeg("red"), jpeg("blue"), b"", b"<html></html>", jpeg("red") + b"0" * 9000], strict=True
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    keys = {name: candidate_id("folder", name) for name in names}
    rows = fetch(tmp_path, root, names, max_bytes=5000)
    told = {name: (rows[key]["status"], rows[key]["reason"]) for name, key in keys.items()}
    assert told == {
        "Apis/a.jpg": ("success", None),
        "Apis/b.jpg": ("success", None),
        "Apis/empty.jpg": ("failed", "empty"),
        "Apis/page.jpg": ("failed", "not-an-image"),
        "Apis/big.jpg": ("refused", "too-large"),
    }
    assert (rows["stranger"]["status"], rows["stranger"]["reason"]) == ("refused", "bad-url")
    assert bodies(tmp_path) == {keys["Apis/a.jpg"]: jpeg("red"), keys["Apis/b.jpg"]: jpeg("blue")}
    (root / "Apis/a.jpg").write_bytes(jpeg("green"))
    fetch(tmp_path, root, names, max_bytes=5000)
    assert bodies(tmp_path) == {keys["Apis/a.jpg"]: jpeg("green"), keys["Apis/b.jpg"]: jpeg("blue")}
