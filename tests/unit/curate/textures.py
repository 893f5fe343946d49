"""Textured pictures with the spectrum of photographs, and the ways in which the web changes them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kg2clip import tars


def texture(seed: int, width: int = 450, height: int = 300) -> Image.Image:
    """A picture like no other, the same for a seed."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width)
    waves = np.exp(2j * np.pi * random.random((3, *frequency.shape))) / np.maximum(1, frequency) ** 1.3
    planes = np.fft.irfft2(waves, s=(height, width))
    planes = (planes / planes.std(axis=(1, 2), keepdims=True)) * 20 + planes[:1] / planes[:1].std() * 40 + 128
    return Image.fromarray(np.clip(planes, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def benchmark(folder: Path, pictures: dict[str, list[bytes]], said: dict[str, Any] | None = None) -> Path:
    """An evaluation set in CLIP_benchmark's form: pictures by split; `said` is what sidecars hold, by split/key."""
    for split, contents in pictures.items():
        with tars.writing(folder / split / "0.tar") as writer:
            for number, content in enumerate(contents):
                writer.add(f"s{number:07d}.jpg", content)
                writer.add(f"s{number:07d}.cls", b"0")
                if sidecar := (said or {}).get(f"{split}/s{number:07d}"):
                    writer.add(
                        f"s{number:07d}.json", sidecar if isinstance(sidecar, bytes) else json.dumps(sidecar).encode()
                    )
        (folder / split / "nshards.txt").write_text("1\n")
    return folder
