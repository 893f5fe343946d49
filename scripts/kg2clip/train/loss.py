"""The contrastive loss, with or without regard to equal captions."""

from __future__ import annotations

import torch
from open_clip.loss import ClipLoss
from torch.nn import functional


class CaptionAwareClipLoss(ClipLoss):  # type: ignore[misc]  # open_clip is untyped
    """CLIP's symmetric softmax loss in which pairs with equal captions are no negatives of each other.

    Texts from a graph repeat: in a batch of species many pictures carry the very same name, and the plain loss pushes
    each of them away from the name that it bears. Here such a pair's logit leaves the softmax, in both directions;
    where all captions differ the value is the plain loss's.
    """

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        captions: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of a batch.

        Args:
            image_features: float [n, d], normalised.
            text_features: float [n, d], normalised.
            logit_scale: scalar that multiplies the cosines.
            captions: int [n], equal where the texts are equal.
        """
        per_image, per_text = self.get_logits(image_features, text_features, logit_scale)
        equal = captions[:, None] == captions[None, :]
        equal.fill_diagonal_(False)
        labels = self.get_ground_truth(per_image.device, per_image.shape[0])
        per_image, per_text = per_image.masked_fill(equal, -torch.inf), per_text.masked_fill(equal, -torch.inf)
        return (functional.cross_entropy(per_image, labels) + functional.cross_entropy(per_text, labels)) / 2
