"""A model at work: pictures and texts to normalised embeddings."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from kg2clip import openclip
from kg2clip.device import quiet
from kg2clip.errors import UserError
from kg2clip.evaluate.benchmark import Picture
from kg2clip.evaluate.zeroshot import Classifier, Floats
from kg2clip.progress import Progress

MORE_MEMORY = "most likely for lack of memory or of /dev/shm; give the job more, or write a smaller train.workers"
BATCH = 64  # pictures, or texts, in one pass


class Model:
    """A model with open_clip's own evaluation preprocessing (Pillow, bicubic), so that numbers compare."""

    def __init__(self, name: str | Path, device: torch.device) -> None:
        """Load a model by its name (kg2clip.openclip).

        Raises:
            UserError: there is none of that name here, or its weights don't fit its config.
        """
        architecture, tag = openclip.resolve(str(name))
        try:
            with quiet():
                model, _, preprocess = open_clip.create_model_and_transforms(architecture, tag, device=device)
                self._tokenizer: Any = open_clip.get_tokenizer(architecture)
        except ImportError as error:  # some text towers are of Hugging Face's kind
            raise UserError(f"{name} needs a package that is not installed: pip install {error.name}") from None
        except Exception as error:  # of a dozen kinds, as many as a stranger's folder can have faults
            reason = " ".join(str(error).split())[:500] or type(error).__name__
            raise UserError(f"{name} is no model that open_clip can load: {reason}") from None
        self._model: Any = model.eval()
        self.preprocess, self._normalise = _split(preprocess)
        self.device = device

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines by before the softmax."""
        return float(self._model.logit_scale.detach().exp())

    @torch.inference_mode()
    def embed(self, batch: torch.Tensor) -> Floats:
        """Normalised embeddings, float32 [n, d], of pictures that `preprocess` made, uint8 [n, 3, side, side]."""
        pictures = self._normalise(batch.to(self.device).float() / 255)
        embedded: Floats = self._model.encode_image(pictures, normalize=True).float().cpu().numpy()
        return embedded

    def embed_pictures(self, pictures: Sequence[Picture], workers: int, name: str) -> Floats:
        """Normalised embeddings, float32 [n, d].

        Raises:
            UserError: a picture can't be decoded, or a worker was killed.
        """
        loader = DataLoader(_Decoded(pictures, self.preprocess), batch_size=None, num_workers=workers)
        embedded: list[Floats] = []
        try:
            with Progress(total=len(pictures), desc=name, unit="pictures") as bar:
                for batch in loader:
                    if isinstance(batch, str):
                        raise UserError(batch)
                    embedded.append(self.embed(batch))
                    bar.update(len(batch))
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(f"a process that decodes pictures of {name} was killed: {MORE_MEMORY}") from None
        return np.concatenate(embedded)

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """Normalised embeddings, float32 [n, d]."""
        embeddings: Floats = self._embed_tokens(self._tokenizer(list(texts))).cpu().numpy()
        return embeddings

    def classifier(self, names: Sequence[str | None], templates: Sequence[str]) -> Classifier:
        """Embed the classes: the normalised mean of the normalised embeddings of a class's templates.

        As in arXiv 2103.00020, 3.1.4. Classes whose texts are the same tokens share one embedding, so that their
        scores are exactly equal.
        """
        labels = [label for label, name in enumerate(names) if name]
        texts = [[template.replace("{c}", str(names[label])) for template in templates] for label in labels]
        tokens = torch.stack([self._tokenizer(each) for each in texts])
        unique, first, rows = np.unique(
            tokens.reshape(len(labels), -1).numpy(), axis=0, return_index=True, return_inverse=True
        )
        order = first.argsort()  # embeddings in the order of their first label
        rows = order.argsort()[rows.reshape(-1)]
        flat = torch.from_numpy(unique[order]).reshape(-1, tokens.shape[-1])
        means = self._embed_tokens(flat).reshape(len(unique), len(templates), -1).mean(dim=1)
        embeddings: Floats = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
        shared = np.bincount(rows)
        alike = [label for label, row in zip(labels, rows, strict=True) if shared[row] > 1]
        cut = [label for label, each in zip(labels, texts, strict=True) if self._is_cut(each)]
        return Classifier(np.array(labels, np.int32), embeddings, rows, alike, cut)

    @torch.inference_mode()
    def _embed_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        parts = torch.split(tokens, BATCH)
        return torch.cat([self._model.encode_text(part.to(self.device), normalize=True).float() for part in parts])

    def _is_cut(self, texts: list[str]) -> bool:
        limit = self._tokenizer.context_length - 2  # without the marks of begin and end
        # A baseline's tokenizer from the hub marks them itself.
        encode = getattr(self._tokenizer, "encode", None)
        return encode is not None and any(len(encode(text)) > limit for text in texts)


def _split(preprocess: Any) -> tuple[Callable[[Image.Image], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
    """open_clip's preprocessing in two: a picture to bytes, in the workers; bytes to numbers, a batch at a time.

    The numbers are the same. A picture travels in a quarter of the memory, and takes half of the time of a core.
    """
    steps = list(preprocess.transforms)
    at = next(place for place, step in enumerate(steps) if isinstance(step, transforms.ToTensor))
    return transforms.Compose([*steps[:at], transforms.PILToTensor()]), transforms.Compose(steps[at + 1 :])


class _Decoded(Dataset["torch.Tensor | str"]):
    """Batches of decoded pictures; a message in place of one that can't be decoded."""

    def __init__(self, pictures: Sequence[Picture], preprocess: Callable[[Image.Image], torch.Tensor]) -> None:
        self._batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> torch.Tensor | str:
        decoded = []
        for picture in self._batches[number]:
            try:
                with Image.open(io.BytesIO(_content(picture)), formats=("JPEG", "PNG", "WEBP")) as image:
                    decoded.append(self._preprocess(image))
            except FileNotFoundError:
                return f"{picture.tar} is gone; put it back, or make it again"
            except Exception as error:  # Pillow's decoders raise whatever a torn file makes them stumble over
                return f"{picture.tar}: picture {picture.key} can't be decoded ({error}); mend or remove it"
        return torch.stack(decoded)


def _content(picture: Picture) -> bytes:
    with picture.tar.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), picture.size, picture.offset)
