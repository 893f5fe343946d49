"""The contrastive losses: CLIP's softmax and SigLIP's sigmoid, over the pairs of all processes, with or without regard
to equal captions and entities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from kg2clip.train.world import ALONE, World

SOFTMAX, SIGMOID = "softmax", "siglip"


class Features(NamedTuple):
    """What open_clip's models give for pairs: float [n, d] each, normalised, and two learnt scalars."""

    images: torch.Tensor
    texts: torch.Tensor
    scale: torch.Tensor  # multiplies the cosines
    bias: torch.Tensor | None = None  # is added to them: SigLIP only


def contrastive_loss(
    features: Features, kind: str, same: Sequence[torch.Tensor] = (), world: World = ALONE
) -> torch.Tensor:
    """The mean loss of this process's pairs, held against the pairs of all processes.

    The mean over the processes is the loss of the whole batch, and the mean of their gradients its gradient: each holds
    n rows of the matrix of logits instead of all (open_clip's `local_loss` with `gather_with_grad`).

    Texts from a graph repeat: in a batch of species many pictures carry the very same name, and the plain loss pushes
    each of them away from the name that it bears. Pairs that `same` calls equal are no negatives of each other: their
    logits leave the loss in both directions. Where none are equal the value is the plain loss's.

    Args:
        features: of this process's n pairs.
        kind: `softmax` (arXiv 2103.00020) or `siglip` (arXiv 2303.15343, its equation 1).
        same: int [n] each, equal for pairs that are no negatives: numbers of captions, of entities.
        world: the processes; alone by default.
    """
    count, device = len(features.images), features.images.device
    own = world.rank * count + torch.arange(count, device=device)  # the columns of the pairs themselves
    images, texts = world.gather(features.images), world.gather(features.texts)
    per_image = features.scale * features.images @ texts.T
    spared = _spared(same, own, world)
    if kind == SIGMOID:
        assert features.bias is not None, "the model has no bias, which SigLIP's loss needs"
        signs = functional.one_hot(own, len(texts)) * 2 - 1
        losses = -functional.logsigmoid(signs * (per_image + features.bias))
        return (losses if spared is None else losses.masked_fill(spared, 0)).sum() / count
    per_text = features.scale * features.texts @ images.T
    if spared is not None:
        per_image, per_text = per_image.masked_fill(spared, -torch.inf), per_text.masked_fill(spared, -torch.inf)
    return (functional.cross_entropy(per_image, own) + functional.cross_entropy(per_text, own)) / 2


def _spared(same: Sequence[torch.Tensor], own: torch.Tensor, world: World) -> torch.Tensor | None:
    """Which pairs [n, all] are no negatives, the pairs themselves aside; None where nobody asks."""
    if not same:
        return None
    spared = torch.stack([labels[:, None] == world.gather(labels)[None, :] for labels in same]).any(dim=0)
    return spared.scatter_(1, own[:, None], False)


def repeated_share(captions: torch.Tensor, world: World) -> torch.Tensor:
    """The share of this process's pairs whose caption stands in the whole batch twice or more.

    Args:
        captions: int [n], equal for equal captions.
        world: the processes.
    """
    equal = captions[:, None] == world.gather(captions)[None, :]
    return (equal.sum(dim=1) > 1).float().mean()
