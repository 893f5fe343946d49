"""A folder of pictures, each read, embedded and named."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from kg2clip.errors import UserError
from kg2clip.evaluate.contact import SHOWN, UNSURE, Answer
from kg2clip.evaluate.model import Model
from kg2clip.evaluate.taxa import Taxon, Tree, probabilities
from kg2clip.evaluate.zeroshot import Classifier

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
THUMBNAIL = 176  # pixels
THREADS = 8  # that decode
MANY_PIXELS, LARGE = 30_000_000, (1024, 1024)
MOST_PIXELS = 150_000_000  # half a gigabyte
SLIM = 8  # sides beyond this ratio are cut, around the middle that the model looks at


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder and below it, sorted.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))  # ._a.jpg of a Mac
    found = sorted(path for path in files if path.suffix.lower() in ENDINGS)
    if not found:
        raise UserError(f"{folder} holds no picture (files ending in {', '.join(ENDINGS)})")
    return found


class Judge:
    """A model with the taxa that it chooses among.

    Args:
        model: the model.
        classifier: embeddings of the taxa's names, in the order of the taxa, all of them.
        taxa: the taxa.
        scale: what cosines are multiplied by before the softmax.
        threshold: the probability that an answer must have, above 0.5.
    """

    def __init__(
        self, model: Model, classifier: Classifier, taxa: Sequence[Taxon], scale: float, threshold: float
    ) -> None:
        self._model, self._classifier, self._taxa, self._tree = model, classifier, taxa, Tree(taxa)
        self._scale, self._threshold = scale, threshold

    def answers(self, paths: Sequence[Path], folder: Path) -> Iterator[Answer]:
        """What the model says of some pictures; those that can't be read say why."""
        with ThreadPoolExecutor(min(THREADS, len(os.sched_getaffinity(0)))) as pool:
            opened = list(pool.map(partial(open_picture, preprocess=self._model.preprocess), paths))
        tensors = [picture.tensor for picture in opened if isinstance(picture, Opened)]
        cosines = np.empty((0, len(self._taxa)), np.float32)
        if tensors:
            cosines = self._classifier.cosines(self._model.embed(torch.stack(tensors)))
        chances = probabilities(cosines, self._scale)
        results = iter(zip(chances, self._tree.surest(chances, self._threshold), strict=True))
        for path, picture in zip(paths, opened, strict=True):
            file = os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")  # a name may be no text
            if isinstance(picture, str):
                yield Answer(file, remark=picture)
                continue
            row, surest = next(results)
            taxon, probability = surest or (None, None)
            best = [(self._taxa[place], float(row[place])) for place in (-row).argsort(kind="stable")[:SHOWN]]
            yield Answer(file, taxon, probability, best, "" if surest else UNSURE, picture.thumbnail)


@dataclass(frozen=True)
class Opened:
    """A picture as the model and as the sheet want it; never many of full size in memory."""

    tensor: torch.Tensor
    thumbnail: bytes  # JPEG


def open_picture(path: Path, preprocess: Callable[[Image.Image], torch.Tensor]) -> Opened | str:
    """A picture, upright and on white where it is transparent, or why it can't be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MANY_PIXELS:
                image.draft("RGB", LARGE)  # a JPEG can be decoded at an eighth of its size
            if image.width * image.height > MOST_PIXELS:
                return f"is too large: {image.width} x {image.height} pixels"
            picture = _middle(ImageOps.exif_transpose(image))
            if picture.mode.startswith("I;16"):  # Pillow would cut all above 255 off
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            picture = picture.convert("RGB")
    except UnidentifiedImageError:
        return "is no picture that can be read"
    except Exception as error:  # Pillow's decoders raise whatever a torn file makes them stumble over
        return f"can't be read: {' '.join(str(error).split()) or type(error).__name__}"
    tensor, buffer = preprocess(picture), io.BytesIO()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    picture.save(buffer, "JPEG", quality=80)
    return Opened(tensor, buffer.getvalue())


def _middle(picture: Image.Image) -> Image.Image:
    """The middle of a very slim picture: enlarged to the model's height all of it would not fit the memory."""
    width, height = picture.size
    most = SLIM * min(width, height)
    if max(width, height) <= most:
        return picture
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return picture.crop((left, top, left + min(width, most), top + min(height, most)))
