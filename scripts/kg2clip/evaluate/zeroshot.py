"""Zero-shot classification: pictures and class names to embeddings, embeddings to the five best labels."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from kg2clip.device import quiet
from kg2clip.errors import UserError
from kg2clip.evaluate.benchmark import Picture
from kg2clip.progress import Progress

BATCH = 64  # pictures, or texts, in one pass
ROWS = 1024  # pictures compared with all classes at a time: 40 MB for 10,000 classes
BEST = 5

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """Embeddings of the classes that have a name, and what the names were like."""

    labels: NDArray[np.int32]  # [m], ascending: classes with a name
    embeddings: Floats  # [texts, d], normalised: one row for each different text
    rows: NDArray[np.int64]  # [m]: the row of each class; classes with equal texts share one
    shared: list[int]  # labels of classes whose name is also another's, as the model sees it
    cut: list[int]  # labels of classes with a text longer than the context

    def cosines(self, pictures: Floats) -> Floats:
        """Cosine of each picture [n, d] with each class that has a name: [n, m], in the order of `labels`."""
        similar: Floats = (pictures @ self.embeddings.T)[:, self.rows]
        return similar


class Model:
    """An exported model, with open_clip's own evaluation preprocessing (Pillow, bicubic), so that numbers compare."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load a folder of open_clip_config.json and weights.

        Raises:
            UserError: it is none, or its weights don't fit its config.
        """
        name = f"local-dir:{folder}"
        try:
            with quiet():
                model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
                self._tokenizer: Any = open_clip.get_tokenizer(name)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"{folder} is no model that open_clip can load: {error}") from None
        if not (folder / "open_clip_model.safetensors").is_file():  # open_clip would go on with random weights
            raise UserError(f"{folder} holds no weights (open_clip_model.safetensors); train the model again")
        self._model: Any = model.eval()
        self.preprocess: Callable[[Image.Image], torch.Tensor] = preprocess
        self._device = device

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines by before the softmax."""
        return float(self._model.logit_scale.detach().exp())

    @torch.inference_mode()
    def embed(self, batch: torch.Tensor) -> Floats:
        """Normalised embeddings, float32 [n, d], of pictures that `preprocess` made [n, 3, side, side]."""
        embedded: Floats = self._model.encode_image(batch.to(self._device), normalize=True).float().cpu().numpy()
        return embedded

    def embed_pictures(self, pictures: Sequence[Picture], workers: int, name: str) -> Floats:
        """Normalised embeddings, float32 [n, d].

        Raises:
            UserError: a picture can't be decoded.
        """
        loader = DataLoader(_Decoded(pictures, self.preprocess), batch_size=None, num_workers=workers)
        embedded: list[Floats] = []
        with Progress(total=len(pictures), desc=name, unit="pictures") as bar:
            for batch in loader:
                if isinstance(batch, str):
                    raise UserError(batch)
                embedded.append(self.embed(batch))
                bar.update(len(batch))
        return np.concatenate(embedded)

    @torch.inference_mode()
    def classifier(self, names: Sequence[str | None], templates: Sequence[str]) -> Classifier:
        """Embed the classes: the normalised mean of the normalised embeddings of a class's templates.

        As in arXiv 2103.00020, 3.1.4. Classes whose texts are the same tokens share one embedding, so that their
        scores are exactly equal.
        """
        labels = [label for label, name in enumerate(names) if name]
        texts = [[template.replace("{c}", str(names[label])) for template in templates] for label in labels]
        tokens = torch.stack([self._tokenizer(each) for each in texts])
        unique, rows = np.unique(tokens.reshape(len(labels), -1).numpy(), axis=0, return_inverse=True)
        rows = rows.reshape(-1)
        shared = np.bincount(rows)
        flat = torch.from_numpy(unique).reshape(-1, tokens.shape[-1])
        parts = [
            self._model.encode_text(part.to(self._device), normalize=True).float() for part in torch.split(flat, BATCH)
        ]
        means = torch.cat(parts).reshape(len(unique), len(templates), -1).mean(dim=1)
        embeddings: Floats = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
        alike = [label for label, row in zip(labels, rows, strict=True) if shared[row] > 1]
        cut = [label for label, each in zip(labels, texts, strict=True) if self._is_cut(each)]
        return Classifier(np.array(labels, np.int32), embeddings, rows, alike, cut)

    def _is_cut(self, texts: list[str]) -> bool:
        limit = self._tokenizer.context_length - 2  # without the marks of begin and end
        return any(len(self._tokenizer.encode(text)) > limit for text in texts)


def best_labels(
    pictures: Floats, classifier: Classifier, count: int = BEST, scales: Sequence[float] = ()
) -> tuple[NDArray[np.int32], Floats, Floats]:
    """The best labels of each picture, best first, with their cosines, and how probable the best one is.

    Classes of exactly equal score stand in label order. A picture of the later of two classes that share a name
    therefore counts as wrong at rank one: a collision costs accuracy instead of being counted as a hit for both.

    Args:
        pictures: normalised embeddings [n, d].
        classifier: the classes.
        count: how many labels; fewer where there are fewer classes.
        scales: what cosines are multiplied by before a softmax over the classes.

    Returns:
        labels [n, k], cosines [n, k], and the best label's probability at each scale [n, scales].
    """
    count = min(count, len(classifier.labels))
    labels, scores = [], []
    confidences = np.empty((len(pictures), len(scales)), np.float32)
    for start in range(0, len(pictures), ROWS):
        cosines = classifier.cosines(pictures[start : start + ROWS])
        lines = np.arange(len(cosines))
        below = cosines - cosines.max(axis=1, keepdims=True)
        for column, scale in enumerate(scales):
            confidences[start : start + ROWS, column] = 1 / np.exp(np.float32(scale) * below).sum(axis=1)
        for _ in range(count):
            best = cosines.argmax(axis=1)  # of equal ones the first, which no sorting function for top k promises
            labels.append(classifier.labels[best])
            scores.append(cosines[lines, best])
            cosines[lines, best] = -np.inf
    return _by_picture(labels, len(pictures), count), _by_picture(scores, len(pictures), count), confidences


def _by_picture(columns: list[NDArray[Any]], pictures: int, count: int) -> NDArray[Any]:
    if not pictures:
        return np.empty((0, count))
    blocks = [np.stack(columns[start : start + count], axis=1) for start in range(0, len(columns), count)]
    return np.concatenate(blocks)


class _Decoded(Dataset["torch.Tensor | str"]):
    """Batches of decoded pictures; a message in place of one that can't be decoded."""

    def __init__(self, pictures: Sequence[Picture], preprocess: Callable[[Image.Image], torch.Tensor]) -> None:
        self._batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> torch.Tensor | str:
        decoded = []
        for picture, content in zip(self._batches[number], _contents(self._batches[number]), strict=True):
            try:
                with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
                    decoded.append(self._preprocess(image))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                return f"{picture.tar}: picture {picture.key} can't be decoded ({error}); mend or remove it"
        return torch.stack(decoded)


def _contents(pictures: Sequence[Picture]) -> Iterator[bytes]:
    for picture in pictures:
        with picture.tar.open("rb", buffering=0) as file:
            yield os.pread(file.fileno(), picture.size, picture.offset)
