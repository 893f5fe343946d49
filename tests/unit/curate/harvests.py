"""A small harvest: raw tars, manifests and candidates, run through the programs as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kg2clip import tables, tars
from kg2clip.files import sha256_bytes
from kg2clip.settings import ROOT


@dataclass
class Harvest:
    """Candidates, fetched or not, in a results folder.

    Attributes:
        pictures: bytes of the fetched ones by candidateID.
        failed: reason of the others.
        said: columns of candidates that differ from the usual.
        ancestors: of entities, by entityID.
    """

    folder: Path
    pictures: dict[str, bytes] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    ancestors: dict[str, list[str]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> Path:
        return self.folder / "download" / "web-000.manifest.parquet"

    @property
    def features(self) -> Path:
        return self.folder / "curate" / "web-000.features.parquet"

    @property
    def entities(self) -> Path:
        return self.folder / "knowledge" / "entities.parquet"

    @property
    def decisions(self) -> Path:
        return self.folder / "curate" / "decisions.parquet"

    def write(self, shards: int = 2) -> None:
        """Write candidates, manifest and raw tars."""
        downloads = []
        members: dict[str, dict[str, bytes]] = {f"{number:05d}.tar": {} for number in range(shards)}
        for number, key in enumerate(sorted(self.pictures)):
            shard = f"{number % shards:05d}.tar"
            members[shard][key] = self.pictures[key]
            row = {
                "candidateID": key,
                "batch": "web-000",
                "shard": shard,
                "status": "success",
                "accessURI": f"http://{key}",
            }
            downloads.append(row | {"sha256": sha256_bytes(self.pictures[key])})
        for key, reason in self.failed.items():
            downloads.append({"candidateID": key, "batch": "web-000", "status": "failed", "reason": reason})
        for shard, contents in members.items():
            with tars.writing(self.folder / "download" / "web-000" / shard) as writer:
                for key, content in contents.items():
                    writer.add(f"{key}.bin", content)
                    writer.add(f"{key}.json", json.dumps({"key": key}).encode())
        candidates = [
            {"candidateID": key, "license": "CC-BY-4.0", "source": "commons", **self.said.get(key, {})}
            for key in (*self.pictures, *self.failed)
        ]
        tables.write(downloads, tables.DOWNLOADS, self.manifest)
        tables.write(candidates, tables.CANDIDATES, self.folder / "search" / "candidates.parquet")
        entities = [
            {"entityID": key, "ancestors": [{"entityID": one} for one in above]}
            for key, above in self.ancestors.items()
        ]
        tables.write(entities, tables.ENTITIES, self.entities)
        config = {"project": "test", "knowledge": {"roots": ["Apidae"]}, **self.config}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def decode(self, workers: int = 2) -> subprocess.CompletedProcess[str]:
        """Run decode_batch.py."""
        return self.run("decode_batch", "--downloads", self.manifest, "--output", self.features, "--workers", workers)

    def decide(self, *options: object) -> subprocess.CompletedProcess[str]:
        """Run decide_pictures.py."""
        return self.run(
            "decide_pictures", "--candidates", self.folder / "search" / "candidates.parquet", "--entities", self.entities,
            "--downloads", self.manifest, "--features", self.features, "--output", self.decisions, "--workers", 1, *options,
        )  # fmt: skip

    def run(self, script: str, *options: object) -> subprocess.CompletedProcess[str]:
        """Run a program of scripts/."""
        command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *map(str, options)]
        command += ["--config", str(self.folder / "config.yaml"), "--provenance", str(self.provenance(script))]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def provenance(self, script: str) -> Path:
        return self.folder / "provenance" / f"{script}.json"

    def rows(self, path: Path) -> dict[str, dict[str, Any]]:
        """A table's rows by candidateID."""
        return {row["candidateID"]: row for row in tables.read(path).to_pylist()}
