"""Loss, schedule, groups of weights, costs."""

from __future__ import annotations

import math

import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch.nn import functional
from unit.train.cases import make_config

from kg2clip.errors import UserError
from kg2clip.train import model as models
from kg2clip.train import recipe as recipes
from kg2clip.train.loop import learning_rate
from kg2clip.train.loss import Features, contrastive_loss, repeated_share
from kg2clip.train.world import ALONE


def features(seed: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    one, other = (functional.normalize(torch.randn(count, 8, generator=random), dim=-1) for _ in range(2))
    return one, other


SCALE = torch.tensor(10.0)


def test_the_losses_are_open_clips_where_all_pairs_differ() -> None:
    images, texts = features(0)
    each = [torch.arange(6), torch.arange(6, 12)]
    for same in ([], each):
        softmax = contrastive_loss(Features(images, texts, SCALE), "softmax", same)
        assert torch.equal(softmax, ClipLoss()(images, texts, SCALE))
        siglip = contrastive_loss(Features(images, texts, SCALE, torch.tensor(-5.0)), "siglip", same)
        assert siglip.item() == pytest.approx(SigLipLoss()(images, texts, SCALE, torch.tensor(-5.0)).item(), rel=1e-6)


def test_pairs_of_equal_captions_or_entities_are_no_negatives() -> None:
    images, texts = features(1, 4)
    same = [torch.tensor([7, 8, 7, 9]), torch.tensor([1, 1, 2, 3])]  # 0 and 2 by caption, 0 and 1 by entity
    kept = [[0, 3], [1, 2, 3], [1, 2, 3], [0, 1, 2, 3]]
    logits = 10 * images @ texts.T
    softmax = -sum(
        (matrix[row, row] - torch.logsumexp(matrix[row, others], 0)).item() / 8
        for matrix in (logits, logits.T)
        for row, others in enumerate(kept)
    )
    assert contrastive_loss(Features(images, texts, SCALE), "softmax", same).item() == pytest.approx(softmax, rel=1e-5)
    signs = 2 * torch.eye(4) - 1
    siglip = -sum(
        functional.logsigmoid(signs[row, other] * (logits[row, other] - 5)).item() / 4
        for row, others in enumerate(kept)
        for other in others
    )
    found = contrastive_loss(Features(images, texts, SCALE, torch.tensor(-5.0)), "siglip", same)
    assert found.item() == pytest.approx(siglip, rel=1e-5)


def test_the_loss_of_a_batch_of_one_caption_is_zero_and_has_gradients() -> None:
    images, texts = features(2)
    images.requires_grad_()
    loss = contrastive_loss(Features(images, texts, SCALE), "softmax", [torch.zeros(6, dtype=torch.long)])
    loss.backward()
    assert loss.item() == 0 and images.grad is not None and torch.isfinite(images.grad).all()


def test_the_share_of_repeated_captions() -> None:
    assert repeated_share(torch.tensor([1, 2, 1, 3]), ALONE).item() == 0.5


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    rates = [learning_rate(step, 110, 10, 1.0) for step in range(110)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0 and rates[60] == pytest.approx(0.5)
    assert rates[109] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))
    assert learning_rate(0, 5, 9, 1.0) == pytest.approx(1 / 9)  # a warm-up longer than the run


def test_no_weight_decay_on_biases_norms_and_logit_scale() -> None:
    model = models.create(recipes.load(make_config(), "tiny"))
    decayed, spared = models.weight_groups(model, 0.2)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.2 and spared["weight_decay"] == 0
    spared_names = {names[id(parameter)] for parameter in spared["params"]}
    assert {"logit_scale", "ln_final.weight", "visual.ln_post.bias"} <= spared_names
    assert all(
        name.endswith((".weight", ".bias", "logit_scale", "class_embedding", "in_proj_bias")) for name in spared_names
    )
    assert "token_embedding.weight" in {names[id(parameter)] for parameter in decayed["params"]}
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_costs_agree_with_open_clips_table() -> None:
    config = make_config()
    config["train"]["experiments"]["tiny"] = {"recipe": "entitynet-b32", "context_length": 77}
    # open_clip's docs/model_profile.csv gives 14.78 GFLOPs for ViT-B-32: 8.82 of the image tower, 5.96 of the text tower
    assert models.flops_per_pair(recipes.load(config, "tiny")) / 3e9 == pytest.approx(14.78, abs=0.01)


def test_a_recipes_size_and_context_enter_the_model() -> None:
    config = models.model_config(recipes.load(make_config(), "tiny"))
    assert config["vision_cfg"]["image_size"] == 32 and config["text_cfg"]["context_length"] == 16
    assert open_clip.get_model_config("ViT-B-32")["text_cfg"]["context_length"] == 77  # open_clip's own is left alone


@pytest.mark.parametrize("model", ["RN50", "ViT-S-32-alt", "convnext_base", "ViT-B-32-quickgelu"])
def test_architectures_of_other_kinds_can_be_built(model: str) -> None:
    config = make_config()
    config["train"]["experiments"]["tiny"] = {"recipe": "entitynet-b32", "model": model}
    assert models.flops_per_pair(recipes.load(config, "tiny")) > 5e9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_cfg": {"embed_dim": 8, "vision_cfg": {"widht": 3}, "text_cfg": {}}}, "widht"),
        ({"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"hf_model_name": "x"}}}, "hf_model_name"),
        (
            {"model_cfg": {"embed_dim": 8, "vision_cfg": 3, "text_cfg": {}}},
            "vision_cfg is 3; it should be keys with values",
        ),
        ({"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"vocab_size": 9}}}, "reads 9 tokens; CLIP's"),
        ({"model_cfg": None, "model": "ViT-B-33"}, "knows no model ViT-B-33"),
    ],
)
def test_models_that_cannot_be_built_are_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config = make_config()
        own = config["train"]["experiments"]["tiny"] | change
        config["train"]["experiments"]["tiny"] = {key: value for key, value in own.items() if value is not None}
        models.create(recipes.load(config, "tiny"))
