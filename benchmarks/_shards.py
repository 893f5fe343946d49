"""A dataset for benchmarks of training: pictures with the spectrum of photographs, in shards that both loaders read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from kg2clip import tables
from kg2clip.files import sha256_bytes

SHORT_SIDE, QUALITY, EXPONENT = 256, 90, 1.5  # size and quality as the stage `curate` stores pictures
NAMES = ("Bombus terrestris", "Bombus lapidarius", "Bombus pascuorum", "Apis mellifera", "Osmia bicornis")


def write_dataset(folder: Path, pictures: int, shards: int = 4, different: int = 64) -> Path:
    """Write train-NNNNN.tar and their manifest, as the stage `dataset` does; returns the manifest.

    Args:
        folder: gets the files.
        pictures: in all.
        shards: over which they are spread evenly.
        different: pictures that are drawn; the others have the same bytes under another key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    drawn = [
        simplejpeg.encode_jpeg(picture(random), quality=QUALITY, colorsubsampling="420")
        for _ in range(min(different, pictures))
    ]
    rows: list[dict[str, Any]] = []
    for shard in range(shards):
        name = f"train-{shard:05d}.tar"
        with tarfile.open(folder / name, "w") as tar:
            for number in range(shard, pictures, shards):
                key, jpeg, species = f"picture{number:06d}", drawn[number % len(drawn)], NAMES[number % len(NAMES)]
                members = {"jpg": jpeg, "json": json.dumps({"key": key}).encode(), "txt": species.encode()}
                for ending, content in members.items():
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(content)
                    if ending == "jpg":
                        offset = tar.offset + tarfile.BLOCKSIZE
                    tar.addfile(info, io.BytesIO(content))
                texts = [{"text": species, "kind": "scientific", "weight": 1.0}]
                rows.append(
                    {"key": key, "split": "train", "shard": name, "offset": offset, "size": len(jpeg)}
                    | {"sha256": sha256_bytes(jpeg), "texts": texts, "source": "made", "license": "CC0-1.0"}
                )
    tables.write(sorted(rows, key=lambda row: row["key"]), tables.DATASET, folder / "manifest.parquet")
    return folder / "manifest.parquet"


def picture(random: np.random.Generator) -> NDArray[np.uint8]:
    """Noise whose amplitude falls with frequency as in photographs, with an aspect of 1 to 1.5.

    At quality 90 it takes some 25 kB, as photographs of this size do (24 kB on average of 22: reference/training.md
    3.1); that is what the exponent is chosen for.
    """
    height, width = SHORT_SIDE, int(SHORT_SIDE * random.uniform(1, 1.5))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1
    light, *colours = (
        np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) / frequency**EXPONENT, s=(height, width))
        for _ in range(4)
    )
    channels = [light / light.std() + 0.3 * colour / colour.std() for colour in colours]
    pixels: NDArray[np.uint8] = np.clip(128 + 45 * np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    return pixels
