"""The gradients of one batch: in one go or in parts that fit the memory, alone or together with other processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.parallel import DistributedDataParallel

from kg2clip.identifiers import stable_hash
from kg2clip.train.data import Batch
from kg2clip.train.loss import Features, contrastive_loss, repeated_share
from kg2clip.train.recipe import Recipe
from kg2clip.train.world import World

Part = tuple[torch.Tensor, torch.Tensor]  # images and tokens


class Gradients:
    """Computes the gradients of a model for batches of a recipe."""

    def __init__(self, model: torch.nn.Module, recipe: Recipe, seed: int, device: torch.device, world: World) -> None:
        """Get ready; with several processes the model's gradients become the mean over them."""
        self._model, self._recipe, self._seed, self._device, self._world = model, recipe, seed, device, world
        if recipe.compile:
            model.compile()
        self._parallel: torch.nn.Module = model
        if world.size > 1:
            own = [device.index] if device.type == "cuda" else None
            self._parallel = DistributedDataParallel(model, device_ids=own, gradient_as_bucket_view=True)
        self._mean = _pixel_values(recipe.image_mean, device)
        self._deviation = _pixel_values(recipe.image_std, device)

    def add(self, batch: Batch, step: int) -> torch.Tensor:
        """Add the gradients of a step's batch, of which this process has its part, to those of the model.

        Returns:
            [2], on the device: the loss, and the share of pairs whose caption stands in the batch twice or more.
        """
        images, tokens, captions, entities = (tensor.to(self._device, non_blocking=True) for tensor in batch)
        wanted = ((captions, self._recipe.caption_aware), (entities, self._recipe.entity_aware))
        same = [labels for labels, aware in wanted if aware]
        size = self._recipe.micro_batch or len(images)
        parts = list(zip(torch.split(images, size), torch.split(tokens, size), strict=True))
        loss = self._at_once(parts[0], same, step) if len(parts) == 1 else self._in_parts(parts, same, step)
        return self._world.mean(torch.stack([loss.detach(), repeated_share(captions, self._world)]))

    def _at_once(self, part: Part, same: Sequence[torch.Tensor], step: int) -> torch.Tensor:
        features = self._features(self._parallel, part, step, 0)
        loss = contrastive_loss(features, self._recipe.loss, same, self._world)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def _in_parts(self, parts: Sequence[Part], same: Sequence[torch.Tensor], step: int) -> torch.Tensor:
        """The same gradients for the memory of one part and a second forward pass (GradCache, arXiv 2101.06983).

        First the features of all parts without gradients; then the loss of the whole batch and its gradients by the
        features; then part by part the gradients by the weights.
        """
        with torch.no_grad():
            found = [self._features(self._model, part, step, number) for number, part in enumerate(parts)]
        images, texts = torch.cat([each.images for each in found]), torch.cat([each.texts for each in found])
        bias = found[0].bias
        # Detached: the bias is the very weight of the model, whose gradient the last part brings.
        whole = Features(images, texts, found[0].scale, None if bias is None else bias.detach())
        leaves = [leaf.requires_grad_() for leaf in whole if leaf is not None]
        loss = contrastive_loss(whole, self._recipe.loss, same, self._world)
        loss.backward()  # type: ignore[no-untyped-call]
        by_images, by_texts, *scalars = (_gradient(leaf) for leaf in leaves)
        counts = [len(each.images) for each in found]
        rows = list(zip(torch.split(by_images, counts), torch.split(by_texts, counts), strict=True))
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self._alone():
                features = self._features(self._parallel, part, step, number)
                given = [*rows[number], *(scalar if last else scalar * 0 for scalar in scalars)]
                torch.autograd.backward([leaf for leaf in features if leaf is not None], given)
        return loss

    def _alone(self) -> AbstractContextManager[None]:
        """A context in which this process keeps its gradients to itself."""
        return self._parallel.no_sync() if isinstance(self._parallel, DistributedDataParallel) else nullcontext()

    def _features(self, model: torch.nn.Module, part: Part, step: int, number: int) -> Features:
        # Dropout depends on the step only: a resumed run draws the same, and so does the second pass of a part.
        torch.manual_seed(int(stable_hash("step", self._seed, step, self._world.rank, number, length=15), 16))
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._recipe.precision == "bf16"):
            pixels = (part[0].permute(0, 3, 1, 2).float() - self._mean) / self._deviation
            images, texts, scale, *bias = model(pixels, part[1])
        return Features(images.float(), texts.float(), scale, bias[0] if bias else None)


def _gradient(leaf: torch.Tensor) -> torch.Tensor:
    assert leaf.grad is not None
    return leaf.grad


def _pixel_values(shares: list[float], device: torch.device) -> torch.Tensor:
    return 255 * torch.tensor(shares, device=device).view(1, 3, 1, 1)
