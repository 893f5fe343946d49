"""How well pictures fit the names of what they were found for, by a CLIP model of the user's.

The fit is the largest cosine of a picture with "a photo of NAME.", over the scientific and common names of its
entities. Models know few rare species, so that no fixed limit is fair: of each entity the worst share is dropped.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from kg2clip.device import quiet
from kg2clip.errors import UserError
from kg2clip.progress import Progress
from kg2clip.tars import Member

BATCH = 64  # pictures, or texts, in one pass
PROMPT = "a photo of {}."

Floats = NDArray[np.float32]


class Judge:
    """A model of open_clip's, with its own preprocessing."""

    def __init__(self, model: str, weights: str, device: torch.device) -> None:
        """Load a model; nothing is downloaded.

        Args:
            model: local-dir:FOLDER, or the name of an architecture.
            weights: of an architecture: their file.
            device: where it computes.

        Raises:
            UserError: open_clip can't load it.
        """
        try:
            with quiet():
                loaded, preprocess = open_clip.create_model_from_pretrained(model, weights or None, device=device)
                self._tokenizer: Any = open_clip.get_tokenizer(model)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(
                f"curate.fit_model {model!r} can't be loaded: {error}. Write local-dir:FOLDER for a folder that holds "
                "open_clip_config.json and weights, or an architecture of open_clip with the file curate.fit_weights"
            ) from None
        self._model: Any = loaded.eval()
        self._preprocess = preprocess
        self._device = device

    def fits(self, pictures: Sequence[Member], names: Sequence[Sequence[str]], workers: int) -> Floats:
        """The fit of each of n pictures with its names; NaN where it has none."""
        places = {name: place for place, name in enumerate(sorted({name for own in names for name in own}))}
        if not places:
            return np.full(len(pictures), np.nan, np.float32)
        texts = self._embed_texts([PROMPT.format(name) for name in places])
        loader = DataLoader(_Decoded(pictures, self._preprocess), batch_size=BATCH, num_workers=workers)
        found: list[float] = []
        with Progress(total=len(pictures), desc="fitting pictures", unit="pictures") as progress:
            for batch in loader:
                cosines = self._embed_pictures(batch) @ texts.T
                for row in cosines:
                    own = [places[name] for name in names[len(found)]]
                    found.append(float(row[own].max()) if own else float("nan"))
                progress.update(len(batch))
        return np.array(found, np.float32)

    @torch.inference_mode()
    def _embed_pictures(self, batch: torch.Tensor) -> Floats:
        embedded: Floats = self._model.encode_image(batch.to(self._device), normalize=True).float().cpu().numpy()
        return embedded

    @torch.inference_mode()
    def _embed_texts(self, texts: Sequence[str]) -> Floats:
        parts = [self._tokenizer(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        embedded = [self._model.encode_text(part.to(self._device), normalize=True).float().cpu() for part in parts]
        joined: Floats = torch.cat(embedded).numpy()
        return joined


def names_of(entities: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The scientific and common name of each entity, by entityID."""
    columns = entities[["entityID", "scientificName", "vernacularName"]].itertuples(index=False)
    return {entity: tuple(dict.fromkeys(name for name in names if name)) for entity, *names in columns}


class _Decoded(Dataset["torch.Tensor"]):
    def __init__(self, pictures: Sequence[Member], preprocess: Any) -> None:
        self._pictures = pictures
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> torch.Tensor:
        with Image.open(io.BytesIO(self._pictures[number].read())) as image:
            prepared: torch.Tensor = self._preprocess(image)
        return prepared
