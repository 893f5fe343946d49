"""A dataset of drawn pictures, small enough for a test and big enough for a few epochs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
import yaml

from kg2clip import settings, tables
from kg2clip.files import sha256_bytes
from kg2clip.train import model as models
from kg2clip.train import recipe as recipes

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 200)}
TINY = {
    "recipe": "demo",
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"width": 32, "layers": 1, "head_width": 16, "patch_size": 16},
        "text_cfg": {"width": 32, "layers": 1, "heads": 2, "vocab_size": 49408},
    },
    "image_size": 32,
    "context_length": 16,
    "batch_size": 8,
    "steps": 6,
    "warmup_steps": 2,
    "precision": "fp32",
}


def jpeg(number: int) -> bytes:
    """A picture of one colour with some noise, not square."""
    colour = list(COLOURS.values())[number % len(COLOURS)]
    noise = np.random.default_rng(number).integers(0, 40, size=(48, 40 + number % 20, 3))
    return bytes(simplejpeg.encode_jpeg(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8), quality=90))


def write_dataset(folder: Path, pictures: int = 30, shards: int = 3, found: int = 3) -> Path:
    """Write tars and their manifest as the stage `dataset` does, with `found` entities; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for shard in range(shards):
        name = f"train-{shard:05d}.tar"
        with tarfile.open(folder / name, "w") as tar:
            for number in range(shard, pictures, shards):
                key, content = f"picture{number:03d}", jpeg(number)
                for ending, member in (("jpg", content), ("json", b"{}")):
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(member)
                    if ending == "jpg":
                        offset = tar.offset + tarfile.BLOCKSIZE
                    tar.addfile(info, io.BytesIO(member))
                colour = list(COLOURS)[number % len(COLOURS)]
                texts = [
                    {"text": f"a {colour} square", "kind": "query", "weight": 0.7},
                    {"text": f"number {number}", "kind": "alt-text", "weight": 0.3},
                ]
                rows.append(
                    {"key": key, "split": "train", "shard": name, "offset": offset, "size": len(content)}
                    | {"sha256": sha256_bytes(content), "texts": texts, "license": "CC0-1.0"}
                    | {"entityIDs": [f"wd:Q{number % found}"], "queryIDs": [f"q{number % (2 * found)}"]}
                    | {"source": "commons" if number < pictures / 2 else "gbif"}
                )
    tables.write(sorted(rows, key=lambda row: row["key"]), tables.DATASET, folder / "manifest.parquet")
    return folder / "manifest.parquet"


def make_config(**experiment: Any) -> dict[str, Any]:
    """A config with one experiment, named tiny."""
    train = {"experiments": {"tiny": TINY | experiment}, "workers": 0, "device": "cpu", "tensorboard": False}
    content = {"project": "test", "knowledge": {"roots": ["Apidae"]}, "train": train}
    return settings.complete(content, "the test's config")


def write_config(path: Path, **experiment: Any) -> Path:
    """`make_config` as a file."""
    config = make_config(**experiment)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def export_model(folder: Path) -> Path:
    """An untrained model of the tiny experiment, the same at each call."""
    torch.manual_seed(3)
    recipe = recipes.load(make_config(), "tiny")
    models.export(models.create(recipe), recipe, folder)
    return folder
