"""The model: open_clip's classes, from a recipe; its groups of weights, its cost, and its export."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_checkpoint
from open_clip.model import CLIP, CustomTextCLIP
from safetensors import SafetensorError
from safetensors.torch import save
from torch.utils.flop_counter import FlopCounterMode

from kg2clip.device import quiet
from kg2clip.errors import UserError
from kg2clip.files import atomic_path, write_json
from kg2clip.train.loss import SIGMOID
from kg2clip.train.recipe import CONFIG, WEIGHTS, NoStartError, Recipe

SIGLIP_SCALE, SIGLIP_BIAS = math.log(10), -10.0  # the logit scale and bias that SigLIP begins with (arXiv 2303.15343)
FETCHED = (("vision_cfg", "timm_model_pretrained"), ("text_cfg", "hf_model_name"), ("text_cfg", "hf_tokenizer_name"))
TOKENS = 49408  # of open_clip's SimpleTokenizer, which is OpenAI's
TRAINING_COST = 3  # forward and backward pass together cost three forward passes


def model_config(recipe: Recipe) -> dict[str, Any]:
    """The open_clip model config of a recipe, with the recipe's picture size and context length in it.

    Raises:
        UserError: open_clip has no model of that name.
    """
    if recipe.model is None:
        config = copy.deepcopy(recipe.model_cfg or {})
    elif (known := open_clip.get_model_config(recipe.model)) is not None:
        config = known
    else:
        raise UserError(f"open_clip knows no model {recipe.model}; it knows: {', '.join(open_clip.list_models())}")
    config["vision_cfg"]["image_size"] = recipe.image_size
    config["text_cfg"]["context_length"] = recipe.context_length
    if recipe.loss == SIGMOID:
        config.setdefault("init_logit_bias", SIGLIP_BIAS)
        config.setdefault("init_logit_scale", SIGLIP_SCALE)
    else:
        config.pop("init_logit_bias", None)
    return config


def create(recipe: Recipe) -> CLIP | CustomTextCLIP:
    """A model with fresh weights, drawn from torch's random state.

    Raises:
        UserError: the model config is none that open_clip can build, or needs files from the internet.
    """
    config = model_config(recipe)
    for tower, key in FETCHED:
        if config[tower].get(key):
            raise UserError(f"the recipe's model asks for {key}, which is fetched from the internet; choose another")
    if "multimodal_cfg" in config:
        raise UserError("the recipe's model has a text decoder (CoCa), which this trainer does not train")
    if (words := config["text_cfg"].get("vocab_size", TOKENS)) < TOKENS:
        raise UserError(f"the recipe's model reads {words} tokens; CLIP's tokenizer writes {TOKENS} (vocab_size)")
    build = CustomTextCLIP if config.pop("custom_text", False) else CLIP
    try:
        return build(**config, output_dict=False)
    except (TypeError, ValueError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        raise UserError(f"open_clip can't build the recipe's model: {error}") from None


def load_start(model: torch.nn.Module, folder: Path) -> None:
    """Put the weights of another model in place of the fresh ones.

    Position embeddings are resized to the model's picture size and context length, as open_clip does it.

    Raises:
        NoStartError: there are no weights.
        UserError: they are another architecture's.
    """
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise NoStartError(folder)
    try:
        with quiet():
            missing, unknown = load_checkpoint(model, str(weights), strict=False)
    except AttributeError:  # open_clip looks for the bias of SigLIP's loss, which the model has not
        raise UserError(f"{weights} were trained with SigLIP's loss: write loss: siglip in the recipe") from None
    except (RuntimeError, AssertionError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{weights} can't be the start of this recipe's model: {reason}") from None
    if missing or set(unknown) - {"logit_bias"}:
        raise UserError(
            f"{weights} can't be the start of this recipe's model: weights of another architecture "
            f"({', '.join([*missing, *unknown][:3])} ...)"
        )


def weight_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for the optimiser: matrices with weight decay; biases, norms and the logit scale (all below two
    dimensions, the class token too, as in open_clip's trainer) without."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def flops_per_pair(recipe: Recipe) -> int:
    """Floating-point operations (two per multiply-add) of training on one pair: three forward passes of both towers.

    Counted by torch at the real picture size and context length; the loss's matrix (below 1 %) is left out.
    """
    with torch.device("meta"):  # shapes only: no memory, no computing
        model = create(recipe)
        with FlopCounterMode(display=False) as counter:
            model.encode_image(torch.empty(1, 3, recipe.image_size, recipe.image_size))
            model.encode_text(torch.ones(1, recipe.context_length, dtype=torch.long))
    return TRAINING_COST * int(counter.get_total_flops())


def export(model: torch.nn.Module, recipe: Recipe, folder: Path) -> None:
    """Write a folder that open_clip loads as `local-dir:FOLDER`, without a hub: its config and its weights."""
    preprocess: dict[str, Any] = {"mean": recipe.image_mean, "std": recipe.image_std}
    preprocess |= {"interpolation": "bicubic", "resize_mode": "shortest"}
    write_json(folder / CONFIG, {"model_cfg": model_config(recipe), "preprocess_cfg": preprocess})
    weights = dict(_sorted_weights(model))
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(weights))  # save_file would make it readable for its owner only


def _sorted_weights(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in sorted(model.state_dict().items()):
        yield name, tensor.detach().cpu().contiguous()
