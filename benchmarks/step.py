"""A training step on the processor, against open_clip's stock trainer: pairs a second.

The same model, batch and precision; batches lie in memory, so that no loader counts: the stock trainer's as normalised
floats, as its loader gives them, ours as bytes that the step normalises itself. Rounds in turns; the first of each
variant is not counted. Aim: not below the stock trainer. A GPU was not at hand.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch

from benchmarks import measure
from kg2clip import settings
from kg2clip.device import quiet
from kg2clip.train import loop
from kg2clip.train import recipe as recipes
from kg2clip.train.data import Batch
from kg2clip.train.model import create

from open_clip.loss import ClipLoss  # isort: skip  (kg2clip keeps it off the internet)
from open_clip_train.train import train_one_epoch  # type: ignore[import-untyped]  # isort: skip

PACKAGES = ("open_clip_torch", "torch")
ROUNDS = 5
# Recipe and its changes, pairs in a batch, steps in a round.
CASES = {
    "the demo's model, bf16": ({"recipe": "demo"}, 128, 4),
    "the demo's model, fp32": ({"recipe": "demo", "precision": "fp32"}, 128, 4),
    "ViT-B/32 at 224 px, 32 tokens, fp32": ({"recipe": "entitynet-b32", "precision": "fp32"}, 16, 1),
}


def run(scratch: Path) -> list[dict[str, Any]]:
    """Each case with both trainers."""
    rows = []
    for case, (changes, pairs, steps) in CASES.items():
        recipe = made({**changes, "batch_size": pairs, "caption_aware": False, "grad_checkpointing": False})
        batch = random_batch(recipe)
        variants = {"open_clip": stock(recipe, batch, steps), "kg2clip": ours(recipe, batch, steps)}
        for variant in variants.values():
            variant()
        rows += [
            {
                "model": f"{case}, {pairs} pairs",
                "trainer": row["variant"],
                "pairs/s": steps * pairs / row["seconds"],
                "least": steps * pairs / row["most"],
                "most": steps * pairs / row["least"],
                "times open_clip": 1 / row["times open_clip"],
            }
            for row in measure.compare(variants, ROUNDS)
        ]
    return rows


def made(changes: dict[str, Any]) -> recipes.Recipe:
    """A recipe with changes."""
    config = {"project": "bench", "knowledge": {"roots": ["Q1"]}, "train": {"experiments": {"main": changes}}}
    return recipes.load(settings.complete(config, "the benchmark"), "main")


def random_batch(recipe: recipes.Recipe) -> Batch:
    """Pairs of noise with texts of full length, all different."""
    random = torch.Generator().manual_seed(1)
    count, size = recipe.batch_size, recipe.image_size
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=random)
    tokens = torch.randint(1, 49000, (count, recipe.context_length), generator=random)
    tokens[:, -1] = 49407
    return Batch(images, tokens, torch.arange(count), torch.arange(count))


def ours(recipe: recipes.Recipe, batch: Batch, steps: int) -> Callable[[], None]:
    """Some steps of our loop."""
    machine = loop.Machine(torch.device("cpu"), 0, 1e9)
    trained = loop.Run(recipe, 1, 1 << 20, machine)
    trained.model.train()

    def stream() -> Generator[Batch, None, None]:
        while True:
            yield batch

    batches = stream()

    def work() -> None:
        for _ in range(steps):
            trained._advance(batches, [])

    return work


def stock(recipe: recipes.Recipe, batch: Batch, steps: int) -> Callable[[], None]:
    """Some steps of the stock trainer."""
    torch.manual_seed(1)
    model = create(recipe)
    model.output_dict = True
    named = list(model.named_parameters())
    groups = [
        {"params": [weights for _, weights in named if weights.ndim < 2], "weight_decay": 0.0},
        {"params": [weights for _, weights in named if weights.ndim >= 2], "weight_decay": recipe.weight_decay},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), eps=recipe.eps)
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (recipe.image_mean, recipe.image_std))
    pair = ((batch.images.permute(0, 3, 1, 2).contiguous().float() / 255 - mean) / deviation, batch.tokens)
    arguments = argparse.Namespace(
        device="cpu", precision="amp_bf16" if recipe.precision == "bf16" else "fp32", distill=False, accum_freq=1,
        skip_scheduler=True, horovod=False, grad_clip_norm=recipe.grad_clip_norm, rank=0, local_rank=0, world_size=1,
        log_every_n_steps=10, batch_size=recipe.batch_size, wandb=False, log_local=False,
    )  # fmt: skip
    data = {"train": _Data(_Loader([pair] * steps))}

    def work() -> None:
        with quiet():
            train_one_epoch(model, data, ClipLoss(), 0, optimizer, None, None, None, arguments)

    logging.getLogger().setLevel(logging.WARNING)
    return work


class _Loader(list[Any]):
    @property
    def num_batches(self) -> int:
        return len(self)

    @property
    def num_samples(self) -> int:
        return len(self) * len(self[0][0])


class _Data:
    def __init__(self, dataloader: _Loader) -> None:
        self.dataloader = dataloader

    def set_epoch(self, epoch: int) -> None:
        """Nothing is shuffled."""
