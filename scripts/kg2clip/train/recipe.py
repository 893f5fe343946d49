"""Recipes: what a training run is made of, from config/recipes/NAME.yaml and the experiment's own keys."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from kg2clip.errors import UserError
from kg2clip.identifiers import stable_hash
from kg2clip.settings import ROOT, Settings

RECIPES = ROOT / "config" / "recipes"

_COUNT = {"type": "integer", "minimum": 0}
_POSITIVE = {"type": "integer", "minimum": 1}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_RGB = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
_RANGE = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 2}
_BETA = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}


def _or_null(rule: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [rule, {"type": "null"}]}


KEYS: dict[str, dict[str, Any]] = {
    "model": {"type": "string"},
    "model_cfg": {"type": "object", "required": ["embed_dim", "vision_cfg", "text_cfg"]},
    "image_size": _POSITIVE,
    "image_mean": _RGB,
    "image_std": _RGB,
    "context_length": {"type": "integer", "minimum": 3},
    "crop_scale": {**_RANGE, "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}},
    "crop_ratio": _RANGE,
    "horizontal_flip": _SHARE,
    "batch_size": _POSITIVE,
    "epochs": {"type": "number", "exclusiveMinimum": 0},
    "steps": _or_null(_COUNT),
    "warmup_epochs": {"type": "number", "minimum": 0},
    "warmup_steps": _or_null(_COUNT),
    "lr": {"type": "number", "exclusiveMinimum": 0},
    "betas": {"type": "array", "items": _BETA, "minItems": 2, "maxItems": 2},
    "eps": {"type": "number", "exclusiveMinimum": 0},
    "weight_decay": {"type": "number", "minimum": 0},
    "grad_clip_norm": _or_null({"type": "number", "exclusiveMinimum": 0}),
    "grad_checkpointing": {"type": "boolean"},
    "precision": {"enum": ["fp32", "bf16"]},
    "caption_aware": {"type": "boolean"},
}
_ALTERNATIVES = {"model": "model_cfg", "model_cfg": "model"}
# A fixed number of steps wins over a number of epochs; an experiment that says one unsays the recipe's other.
_UNSAID = {"epochs": "steps", "warmup_epochs": "warmup_steps"}


@dataclass(frozen=True)
class Recipe:
    """A training run's values; config/recipes/demo.yaml explains each of them."""

    image_size: int
    image_mean: list[float]
    image_std: list[float]
    context_length: int
    crop_scale: list[float]
    crop_ratio: list[float]
    horizontal_flip: float
    batch_size: int
    epochs: float
    steps: int | None
    warmup_epochs: float
    warmup_steps: int | None
    lr: float
    betas: list[float]
    eps: float
    weight_decay: float
    grad_clip_norm: float | None
    grad_checkpointing: bool
    precision: str
    caption_aware: bool
    model: str | None = None
    model_cfg: dict[str, Any] | None = None

    def total_steps(self, pictures: int) -> int:
        """Optimiser steps of the run over a dataset of `pictures`; each sees `batch_size` of them."""
        return self.steps if self.steps is not None else round(self.epochs * pictures / self.batch_size)

    def warmup(self, pictures: int) -> int:
        """Steps over which the learning rate rises."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return round(self.warmup_epochs * pictures / self.batch_size)

    def hash(self, settings: Settings, experiment: str) -> str:
        """The identity of a run, data apart: recipe, seed and the version of the trainer's code."""
        return stable_hash(asdict(self), seed(settings, experiment), settings["train"]["recipe_version"])


def seed(settings: Settings, experiment: str) -> int:
    """The seed of one experiment (63 bits), derived from the config's one seed and the experiment's name."""
    return int(stable_hash("train", settings["seed"], experiment, length=16), 16) >> 1


def load(settings: Settings, experiment: str, folder: Path = RECIPES) -> Recipe:
    """Read the recipe of an experiment and put the experiment's own keys in place of the recipe's.

    Raises:
        UserError: no such experiment or recipe, an unknown key, a value out of its limits.
    """
    experiments = settings["train"]["experiments"]
    if experiment not in experiments:
        raise UserError(f"train.experiments has no {experiment}; it has: {', '.join(experiments)}")
    own = dict(experiments[experiment])
    path = folder / f"{own.pop('recipe')}.yaml"
    values = _read(path)
    _check_names(own, f"train.experiments.{experiment}")
    for key in own:
        for other in (_ALTERNATIVES.get(key), _UNSAID.get(key)):
            if other and other not in own:
                values.pop(other, None) if other in _ALTERNATIVES else values.update({other: None})
    values |= own
    _check_values(values, f"the recipe of experiment {experiment} ({path.name} and train.experiments.{experiment})")
    return Recipe(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UserError(f"there is no recipe {path.stem} in {path.parent}; there are: {known or 'none'}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is no recipe: it must hold keys and values")
    _check_names(values, str(path))
    return values


def _check_names(values: dict[str, Any], place: str) -> None:
    for key in values:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            raise UserError(
                f"{place}: {key} is no key of a recipe; did you mean {close[0]}?"
                if close
                else f"{place}: {key} is no key of a recipe; known are: {', '.join(KEYS)}"
            )


def _check_values(values: dict[str, Any], place: str) -> None:
    if ("model" in values) == ("model_cfg" in values):
        raise UserError(f"{place}: give either model (a name known to open_clip) or model_cfg, not both")
    required = [key for key in KEYS if key not in _ALTERNATIVES]
    schema = {"type": "object", "properties": KEYS, "required": required}
    if errors := sorted(Draft202012Validator(schema).iter_errors(values), key=lambda error: list(map(str, error.path))):
        raise UserError("\n".join([f"{place} can't be used:", *(f"  {_explain(error)}" for error in errors)]))
    if values["crop_scale"][0] > values["crop_scale"][1] or values["crop_ratio"][0] > values["crop_ratio"][1]:
        raise UserError(f"{place}: crop_scale and crop_ratio are ranges, the smaller value first")


def _explain(error: ValidationError) -> str:
    key = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "anyOf":
        return f"{key}: {error.context[0].message}, and it is not null either" if error.context else error.message
    return f"{key}: {error.message}".removeprefix(": ")
