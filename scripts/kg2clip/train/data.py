"""The loader: each sample once per epoch, in an order that depends on the seed only, from any step on.

Samples form one endless stream: epoch 0 in its order, then epoch 1 in its own, and so on. Step s of a run takes the
places s * batch to (s + 1) * batch of the stream, so a batch may reach over the border of two epochs, no sample is
ever dropped, and a run resumes at a step without knowing anything but its number. The order of an epoch is a
permutation drawn from (seed, epoch); the text and the crop of a sample are drawn from (seed, epoch, key). Neither
knows which process does the work.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
from collections import Counter, OrderedDict
from collections.abc import Generator, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg
import torch
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer
from torch.utils.data import DataLoader, Dataset, Sampler

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes
from kg2clip.identifiers import stable_hash
from kg2clip.processes import be_killed_with_parent
from kg2clip.train.recipe import Recipe
from kg2clip.train.world import ALONE, World

# Samples that one process prepares at a time: 10 MB at 224 px, since /dev/shm is often small (64 MB in Docker).
PIECE = 64
TRAIN = "train"  # the split that is trained on; val and test are for judging
OPEN_SHARDS = 256  # file handles a process keeps; a common limit is 1024
REMEMBERED_TEXTS = 1 << 16  # captions of a graph repeat: tokens of so many are kept


WORKER_GONE = (
    "a process that decodes pictures was killed, most likely for lack of memory or of /dev/shm: give the job more, or "
    "write a smaller train.workers"
)


class Batch(NamedTuple):
    """Pairs as tensors: what a process prepares, and what a step gets."""

    images: torch.Tensor  # uint8 [n, size, size, 3], RGB
    tokens: torch.Tensor  # int64 [n, context]
    captions: torch.Tensor  # int64 [n]: equal for equal tokens
    entities: torch.Tensor  # int64 [n]: equal for pictures of the same entities


def generator(*parts: object) -> np.random.Generator:
    """Random numbers that depend on nothing but `parts`: a counter-based generator (Philox), keyed by their hash."""
    return np.random.Generator(np.random.Philox(key=int(stable_hash(*parts, length=32), 16)))


class Samples:
    """A dataset's samples by number: where each JPEG stands and which texts it has.

    Flat arrays, which all processes share.
    """

    def __init__(self, manifest: Path, recipe: Recipe | None = None) -> None:
        """Read a manifest (tables.DATASET), all of it or what a recipe trains on.

        Raises:
            UserError: it is missing or torn, holds nothing to train on, a sample without text, or names a missing or
                short shard.
        """
        columns = ["key", "split", "shard", "offset", "size", "sha256", "entityIDs", "queryIDs", "texts"]
        columns += ["license", "source"]
        table = tables.read(manifest, columns)
        table = table.filter(pc.equal(table["split"], TRAIN))
        if not table.num_rows:
            raise UserError(f"{manifest} holds no picture to train on; see the report for where they were dropped")
        if recipe:
            table = choose(table, recipe)
        self.folder = manifest.parent
        self.keys = _strings(table["key"])
        self.digests = _strings(table["sha256"])
        self.offsets = table["offset"].to_numpy()
        self.sizes = table["size"].to_numpy()
        self.licenses = _counts(table["license"])
        self.sources = _counts(table["source"])
        shards = table["shard"].combine_chunks().dictionary_encode()
        self.shards: list[str] = shards.dictionary.to_pylist()
        self.shard_numbers = shards.indices.to_numpy()
        self.entities = _entity_numbers(table["entityIDs"])
        self._read_texts(table["texts"], manifest)
        if recipe and recipe.alt_text_share is not None:
            self.weights = self._weights_with_share(recipe.alt_text_share)
        self._check_shards()

    def __len__(self) -> int:
        """Samples of the dataset."""
        return len(self.keys)

    def key(self, sample: int) -> str:
        """A sample's key."""
        return str(self.keys[sample].as_py())

    def text(self, sample: int, draw: float, kind: str | None = None) -> str:
        """One of a sample's texts, chosen by weight with `draw`, uniform in [0, 1); of `kind` where it has such."""
        first, last = self.text_borders[sample], self.text_borders[sample + 1]
        weights = self.weights[first:last]
        if kind is not None:
            of_kind = np.where(self.kinds[first:last] == self.kind_names.index(kind), weights, 0.0)
            weights = of_kind if of_kind.any() else weights
        sums = np.cumsum(weights)
        chosen = int(np.searchsorted(sums, draw * sums[-1], side="right"))
        return str(self.texts[int(first) + min(chosen, len(sums) - 1)].as_py())

    def kind(self, draw: float) -> str:
        """A kind of texts, chosen by its weight in the whole dataset with `draw`, uniform in [0, 1)."""
        sums = np.cumsum(np.bincount(self.kinds, self.weights, len(self.kind_names)))
        return str(self.kind_names[min(int(np.searchsorted(sums, draw * sums[-1], side="right")), len(sums) - 1)])

    def text_mix(self) -> dict[str, float]:
        """The share of each kind in the texts that training draws, the largest first."""
        sums = np.bincount(self.kinds, self.weights, len(self.kind_names)) / self.weights.sum()
        shares = {name: round(float(share), 4) for name, share in zip(self.kind_names, sums, strict=True)}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def _weights_with_share(self, share: float) -> NDArray[np.float64]:
        """Weights by which alt texts are drawn with probability `share` where a picture has texts of both sorts."""
        alt = np.isin(self.kinds, [number for number, name in enumerate(self.kind_names) if name == tables.WEB])
        owner = np.repeat(np.arange(len(self)), np.diff(self.text_borders))
        alt_sums, graph_sums = (np.bincount(owner, self.weights * chosen, len(self)) for chosen in (alt, ~alt))
        both = ((alt_sums > 0) & (graph_sums > 0))[owner]
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = self.weights * np.where(alt, share / alt_sums[owner], (1 - share) / graph_sums[owner])
        return np.where(both, scaled, self.weights)

    def _read_texts(self, column: pa.ChunkedArray, manifest: Path) -> None:
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        self.text_borders = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        flat = pc.list_flatten(column)
        self.texts = _strings(pc.struct_field(flat, "text"))
        kinds = pc.fill_null(pc.struct_field(flat, "kind"), "").combine_chunks().dictionary_encode()
        self.kinds, self.kind_names = kinds.indices.to_numpy(), kinds.dictionary.to_pylist()
        weights = pc.fill_null(pc.struct_field(flat, "weight"), 0.0)
        empty = pc.equal(pc.fill_null(pc.binary_length(pc.struct_field(flat, "text")), 0), 0)
        self.weights = pc.if_else(empty, 0.0, weights).to_numpy()  # no text is none to draw
        sums = np.add.reduceat(np.append(self.weights, 0.0), self.text_borders[:-1]) * (lengths > 0)
        if (bad := np.flatnonzero(sums <= 0)).size:
            sample = self.key(int(bad[0]))
            raise UserError(f"{manifest}: sample {sample} has no text with a weight above 0 ({bad.size} such samples)")

    def _check_shards(self) -> None:
        ends = np.zeros(len(self.shards), dtype=np.int64)
        np.maximum.at(ends, self.shard_numbers, self.offsets + self.sizes)
        for shard, end in zip(self.shards, ends, strict=True):
            path = self.folder / shard
            if not path.is_file():
                raise UserError(f"shard {path} is missing; {_rebuild(self.folder)}")
            if (size := path.stat().st_size) < end:
                raise UserError(f"shard {path} is torn: {size} bytes of at least {end}; {_rebuild(self.folder)}")


def choose(table: pa.Table, recipe: Recipe) -> pa.Table:
    """The rows of a dataset that a recipe trains on.

    Shares are drawn by the hash of what they are shares of, so a smaller one is part of a larger one and the seed of a
    run changes nothing.

    Args:
        table: columns key, source, entityIDs, queryIDs of tables.DATASET, and more.
        recipe: its picture_share, query_share, queries_per_entity, sources.

    Raises:
        UserError: nothing is left.
    """
    keep = np.ones(table.num_rows, dtype=bool)
    if recipe.sources is not None:
        keep &= np.array(pc.is_in(table["source"], value_set=pa.array(recipe.sources)))
    if recipe.picture_share < 1:
        keep &= np.array([_place_of("picture", key.as_py()) < recipe.picture_share for key in table["key"]])
    if recipe.query_share < 1 or recipe.queries_per_entity is not None:
        columns = table.select(["entityIDs", "queryIDs"]).to_pydict()
        found = [[str(query) for query in queries or ()] for queries in columns["queryIDs"]]
        chosen = {query for queries in found for query in queries if _place_of("query", query) < recipe.query_share}
        if recipe.queries_per_entity is not None:
            chosen &= _first_queries(columns["entityIDs"], found, recipe.queries_per_entity)
        keep &= np.array([not chosen.isdisjoint(queries) for queries in found])
    if not keep.any():
        raise UserError(
            "no picture of the dataset is left for this experiment; look at its picture_share, query_share, "
            "queries_per_entity and sources"
        )
    return table.filter(pa.array(keep))


def _first_queries(entities: list[list[str] | None], found: list[list[str]], most: int) -> set[str]:
    """The queries that found most pictures of each entity, at most `most` for each."""
    counts: dict[str, Counter[str]] = {}
    for names, queries in zip(entities, found, strict=True):
        for name in names or ():
            counts.setdefault(name, Counter()).update(queries)
    return {
        query
        for counted in counts.values()
        for query, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]
    }


def _place_of(*what: str) -> float:
    """A number in [0, 1) that depends on nothing but `what`."""
    return int(stable_hash(*what, length=13), 16) / 16**13


class Shards:
    """JPEGs by positioned reads from the tars, with the handles of the most recent shards kept open."""

    def __init__(self, samples: Samples) -> None:
        """Open nothing yet: each process opens its own handles."""
        self._samples = samples
        self._handles: OrderedDict[int, int] = OrderedDict()

    def read(self, sample: int) -> bytes:
        """A sample's JPEG, compared with its SHA-256.

        Raises:
            UserError: the shard has gone, or holds other bytes than the manifest says.
        """
        samples = self._samples
        number = int(samples.shard_numbers[sample])
        try:
            content = os.pread(self._handle(number), int(samples.sizes[sample]), int(samples.offsets[sample]))
        except OSError as error:
            path = samples.folder / samples.shards[number]
            raise UserError(f"shard {path} can't be read: {error.strerror}; {_rebuild(samples.folder)}") from None
        if sha256_bytes(content) != samples.digests[sample].as_py():
            path = samples.folder / samples.shards[number]
            raise UserError(
                f"shard {path} is torn: picture {samples.key(sample)} is not the one of the manifest; "
                + _rebuild(samples.folder)
            )
        return content

    def _handle(self, number: int) -> int:
        if number in self._handles:
            self._handles.move_to_end(number)
            return self._handles[number]
        path = self._samples.folder / self._samples.shards[number]
        handle = os.open(path, os.O_RDONLY)
        self._handles[number] = handle
        if len(self._handles) > OPEN_SHARDS:
            os.close(self._handles.popitem(last=False)[1])
        return handle


class Pieces(Dataset[Batch | str]):
    """Pieces of the stream, prepared: decoded, cropped and tokenised. An error comes back as its message."""

    def __init__(self, samples: Samples, recipe: Recipe, seed: int) -> None:
        """Prepare `samples` as `recipe` says, with every choice drawn from `seed`."""
        self._samples = samples
        self._shards = Shards(samples)
        self._recipe = recipe
        self._seed = seed
        self._order = lru_cache(maxsize=2)(self._permutation)  # two: a piece may reach over the border of epochs
        self._tokenizer = SimpleTokenizer(context_length=recipe.context_length)
        self._tokens = lru_cache(maxsize=REMEMBERED_TEXTS)(self._tokenise)
        self._kind = lru_cache(maxsize=2)(self._kind_of_step)

    def __getitem__(self, places: range) -> Batch | str:
        """The samples at `places` of the stream.

        A message instead of an exception, because torch would wrap that in the worker's traceback.
        """
        try:
            images, tokens, captions, entities = zip(*(self._prepare(place) for place in places), strict=True)
        except UserError as error:
            return str(error)
        arrays = torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(tokens))
        return Batch(*arrays, torch.tensor(captions), torch.tensor(entities))

    def sample_at(self, place: int) -> tuple[int, int]:
        """The epoch and the number of the sample at a place of the stream."""
        epoch, position = divmod(place, len(self._samples))
        return epoch, int(self._order(epoch)[position])

    def _permutation(self, epoch: int) -> NDArray[np.uint32]:
        order = np.arange(len(self._samples), dtype=np.uint32)
        generator("order", self._seed, epoch).shuffle(order)
        return order

    def _prepare(self, place: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, int]:
        epoch, sample = self.sample_at(place)
        content = self._shards.read(sample)
        random = generator("sample", self._seed, epoch, self._samples.key(sample))
        kind = self._kind(place // self._recipe.batch_size)
        tokens, caption = self._tokens(self._samples.text(sample, random.random(), kind))
        try:
            picture = simplejpeg.decode_jpeg(content, colorspace="RGB")
        except ValueError as error:
            key, rebuild = self._samples.key(sample), _rebuild(self._samples.folder)
            raise UserError(f"picture {key} can't be decoded ({error}); {rebuild}") from None
        return augment(picture, self._recipe, random), tokens, caption, int(self._samples.entities[sample])

    def _kind_of_step(self, step: int) -> str | None:
        """The one kind of texts in a batch, as BioCLIP draws them (arXiv 2311.18803); None: each pair its own."""
        if self._recipe.text_draw == "sample":
            return None
        return self._samples.kind(generator("kind", self._seed, step).random())

    def _tokenise(self, text: str) -> tuple[NDArray[np.int64], int]:
        tokens: NDArray[np.int64] = self._tokenizer(text)[0].numpy()
        caption = int.from_bytes(bytes.fromhex(sha256_bytes(tokens.tobytes())[:16]), "big", signed=True)
        return tokens, caption


def augment(picture: NDArray[np.uint8], recipe: Recipe, random: np.random.Generator) -> NDArray[np.uint8]:
    """A random part of a picture, resized to the recipe's square, perhaps mirrored.

    The part is drawn as torchvision's RandomResizedCrop draws it: area uniform, aspect log-uniform, ten tries, then the
    middle. Shrinking averages over pixels' areas, since OpenCV's cubic filter has no antialiasing.

    Args:
        picture: uint8 [height, width, 3].
        recipe: its crop_scale, crop_ratio, image_size, horizontal_flip.
        random: where the choices come from.

    Returns:
        uint8 [size, size, 3].
    """
    top, left, height, width = _crop(picture.shape[0], picture.shape[1], recipe, random)
    part = picture[top : top + height, left : left + width]
    size = recipe.image_size
    filter_ = cv2.INTER_AREA if min(height, width) > size else cv2.INTER_CUBIC
    resized = cv2.resize(part, (size, size), interpolation=filter_)
    return np.asarray(resized[:, ::-1] if random.random() < recipe.horizontal_flip else resized)


def _crop(height: int, width: int, recipe: Recipe, random: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = height * width * random.uniform(recipe.crop_scale[0], recipe.crop_scale[1])
        ratio = math.exp(random.uniform(math.log(recipe.crop_ratio[0]), math.log(recipe.crop_ratio[1])))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(random.integers(height - crop_height, endpoint=True))
            return top, int(random.integers(width - crop_width, endpoint=True)), crop_height, crop_width
    crop_width = min(width, round(height * recipe.crop_ratio[1]))
    crop_height = min(height, round(crop_width / recipe.crop_ratio[0]))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


class Places(Sampler[range]):
    """One process's pieces of the steps `first` to `last - 1`; none reaches over the border of two steps."""

    def __init__(self, batch: int, first: int, last: int, world: World = ALONE) -> None:
        """Cut this process's share of each step's `batch` places into pieces."""
        self._batch, self._first, self._last = batch, first, last
        self._share, self._start = batch // world.size, world.rank * (batch // world.size)

    def __len__(self) -> int:
        """Pieces in all."""
        return pieces_of(self._share) * (self._last - self._first)

    def __iter__(self) -> Iterator[range]:
        """One range of the stream's places after another."""
        for step in range(self._first, self._last):
            begin = step * self._batch + self._start
            end = begin + self._share
            for start in range(begin, end, PIECE):
                yield range(start, min(start + PIECE, end))


def pieces_of(count: int) -> int:
    """Pieces of so many samples."""
    return -(-count // PIECE)


def batches(
    pieces: Pieces, batch: int, first: int, last: int, workers: int, pin: bool, world: World = ALONE
) -> Generator[Batch, None, None]:
    """This process's part of the batches of the steps `first` to `last - 1`.

    Args:
        pieces: the samples, prepared.
        batch: pairs in a step, of all processes together.
        first: the step to begin with.
        last: the step to end before.
        workers: processes that prepare pieces; 0: this one.
        pin: give page-locked memory, from which a GPU copies without waiting.
        world: the processes that share each batch evenly; alone by default.

    Raises:
        UserError: a shard is missing or torn, or a worker was killed.
    """
    number = pieces_of(batch // world.size)
    loader = DataLoader(
        pieces,
        batch_size=None,
        sampler=Places(batch, first, last, world),
        num_workers=workers,
        prefetch_factor=max(2, -(-2 * number // workers)) if workers else None,  # two steps ahead
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if workers else None,  # the samples' arrays are shared, not copied
        pin_memory=pin,
        persistent_workers=False,
    )
    stream = iter(loader)
    try:
        for _ in range(first, last):
            try:
                parts = list(itertools.islice(stream, number))
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise UserError(WORKER_GONE) from None
            if failed := [part for part in parts if isinstance(part, str)]:
                raise UserError(failed[0])
            yield Batch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True))) if len(parts) > 1 else parts[0]
    finally:
        # The last reference: the workers end now. A traceback that kept it would keep them until Python's exit, which
        # waits for them forever, since they ignore its SIGTERM.
        del stream


def _start_worker(number: int) -> None:
    """Let a worker die with its parent, and leave signals to it."""
    be_killed_with_parent()
    for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    cv2.setNumThreads(0)


def _strings(column: pa.ChunkedArray) -> pa.LargeStringArray:
    """A column in one piece; 64-bit offsets, since the texts of ten million samples pass 2 GB."""
    return pa.chunked_array(column.cast(pa.large_string())).combine_chunks()


def _entity_numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Equal numbers for pictures of the same entities; one of its own for each picture of none."""
    names = pc.fill_null(pc.binary_join(column, " "), "").combine_chunks().dictionary_encode()
    numbers = names.indices.to_numpy().astype(np.int64)
    nameless = np.isin(numbers, [place for place, name in enumerate(names.dictionary.to_pylist()) if not name])
    return np.where(nameless, -1 - np.arange(len(numbers)), numbers)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = {row["values"] or "unknown": row["counts"] for row in pc.value_counts(column.combine_chunks()).to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _rebuild(folder: Path) -> str:
    return f"build the dataset again with: snakemake --forcerun pack_dataset {folder / 'manifest.parquet'}"
