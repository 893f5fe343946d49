"""Recipes: what a training run is made of, from config/recipes/NAME.yaml and the experiment's own keys."""

from __future__ import annotations

import difflib
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from jsonschema import ValidationError

from kg2clip.errors import UserError
from kg2clip.files import read_json
from kg2clip.identifiers import stable_hash
from kg2clip.settings import ROOT, Settings, explain, mistakes, read_yaml

RECIPES = ROOT / "config" / "recipes"
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"  # of a model folder
# OpenAI's values, which open_clip takes where a model says none.
OPENAI_MEAN, OPENAI_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]

_COUNT = {"type": "integer", "minimum": 0}
_POSITIVE = {"type": "integer", "minimum": 1}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_RGB = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
_RANGE = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 2}
_BETA = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
_PART = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_BOOLEAN = {"type": "boolean"}


def _or_null(rule: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [rule, {"type": "null"}]}


KEYS: dict[str, dict[str, Any]] = {
    "pretrained": _or_null({"type": "string", "pattern": "^(local-dir|experiment):."}),
    "model": {"type": "string"},
    "model_cfg": {
        "type": "object",
        "required": ["embed_dim", "vision_cfg", "text_cfg"],
        "properties": {"embed_dim": _POSITIVE, "vision_cfg": {"type": "object"}, "text_cfg": {"type": "object"}},
    },
    "image_size": _POSITIVE,
    "image_mean": _RGB,
    "image_std": _RGB,
    "context_length": {"type": "integer", "minimum": 3},
    "crop_scale": {**_RANGE, "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}},
    "crop_ratio": _RANGE,
    "horizontal_flip": _SHARE,
    "batch_size": _POSITIVE,
    "least_batches": _POSITIVE,
    "micro_batch": _or_null(_POSITIVE),
    "epochs": {"type": "number", "exclusiveMinimum": 0},
    "steps": _or_null(_COUNT),
    "warmup_epochs": {"type": "number", "minimum": 0},
    "warmup_steps": _or_null(_COUNT),
    "lr": {"type": "number", "exclusiveMinimum": 0},
    "betas": {"type": "array", "items": _BETA, "minItems": 2, "maxItems": 2},
    "eps": {"type": "number", "exclusiveMinimum": 0},
    "weight_decay": {"type": "number", "minimum": 0},
    "grad_clip_norm": _or_null({"type": "number", "exclusiveMinimum": 0}),
    "grad_checkpointing": _BOOLEAN,
    "compile": _BOOLEAN,
    "precision": {"enum": ["fp32", "bf16"]},
    "loss": {"enum": ["softmax", "siglip"]},
    "caption_aware": _BOOLEAN,
    "entity_aware": _BOOLEAN,
    "average_last": _POSITIVE,
    "text_draw": {"enum": ["sample", "batch"]},
    "alt_text_share": _or_null(_SHARE),
    "picture_share": _PART,
    "query_share": _PART,
    "queries_per_entity": _or_null(_POSITIVE),
    "sources": _or_null({"type": "array", "items": {"type": "string"}, "minItems": 1}),
}
_ALTERNATIVES = {"model": "model_cfg", "model_cfg": "model"}
# A fixed number of steps wins over a number of epochs; an experiment that says one unsays the recipe's other. A batch
# of one's own is taken as it is, as long as the dataset holds so many pictures.
_UNSAID: dict[str, tuple[str, Any]] = {
    "epochs": ("steps", None),
    "warmup_epochs": ("warmup_steps", None),
    "batch_size": ("least_batches", 1),
}
# How a run is computed, not what: another value of these changes nothing but the last digits, and retrains nothing.
HOW = ("micro_batch", "grad_checkpointing", "compile")
# What a model that training starts from says of itself, where the recipe says nothing.
_INHERITED = ("image_size", "image_mean", "image_std", "context_length")
LOCAL, EXPERIMENT = "local-dir:", "experiment:"


class NoStartError(UserError):
    """The model that a recipe starts from is not on this machine: nothing but its training has to wait for that."""

    def __init__(self, folder: Path) -> None:
        """Say what to type to get a model into `folder`."""
        super().__init__(
            f"there is no model in {folder} ({CONFIG}, {WEIGHTS}), which a recipe starts from. Fetch one, for example "
            f"with: python scripts/fetch_model.py hf-hub:imageomics/bioclip {folder}"
        )


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
    # Keys with a default may be left out of a recipe; one that comes later leaves the identity of older runs alone.
    model: str | None = None
    model_cfg: dict[str, Any] | None = None
    pretrained: str | None = None
    least_batches: int = 1
    micro_batch: int | None = None
    compile: bool = False
    loss: str = "softmax"
    entity_aware: bool = False
    average_last: int = 1
    text_draw: str = "sample"
    alt_text_share: float | None = None
    picture_share: float = 1.0
    query_share: float = 1.0
    queries_per_entity: int | None = None
    sources: list[str] | None = None

    def fitted(self, pictures: int) -> Recipe:
        """The recipe for a dataset of so many pictures: batches are halved until an epoch has `least_batches` of them.

        A large batch of few pictures would make few steps, and a model that has learnt nothing.
        """
        size = self.batch_size
        while size > 1 and size * self.least_batches > pictures:
            size //= 2
        return replace(self, batch_size=size)

    def total_steps(self, pictures: int) -> int:
        """Optimiser steps of the run over a dataset of `pictures`; each sees `batch_size` of them."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * pictures / self.batch_size))

    def warmup(self, pictures: int) -> int:
        """Steps over which the learning rate rises."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return round(self.warmup_epochs * pictures / self.batch_size)

    def averaged_steps(self, pictures: int) -> set[int]:
        """The steps after which the weights enter the average: the last, and those an epoch apart before it."""
        steps = self.total_steps(pictures)
        places = {steps - round(number * pictures / self.batch_size) for number in range(self.average_last)}
        return {place for place in places if place > 0}

    def start(self, models: Path) -> Path | None:
        """The folder of the model that training starts from; None for fresh weights.

        Args:
            models: where the experiments' models lie.
        """
        if self.pretrained is None:
            return None
        if self.pretrained.startswith(EXPERIMENT):
            return models / self.pretrained.removeprefix(EXPERIMENT)
        return Path(self.pretrained.removeprefix(LOCAL))

    def said(self) -> dict[str, Any]:
        """The values that are no defaults, as they stand in a recipe's file."""
        defaults = {each.name: each.default for each in fields(self) if each.default is not MISSING}
        return {key: value for key, value in asdict(self).items() if key not in defaults or value != defaults[key]}

    def identity(self, settings: Settings, experiment: str) -> list[Any]:
        """What makes a run the one that it is, data apart: recipe, seed and the version of the trainer's code."""
        values = {key: value for key, value in self.said().items() if key not in HOW}
        return [values, seed(settings, experiment), settings["train"]["recipe_version"]]

    def hash(self, settings: Settings, experiment: str) -> str:
        """The hash of the identity."""
        return stable_hash(*self.identity(settings, experiment))


def seed(settings: Settings, experiment: str) -> int:
    """The seed of one experiment (63 bits), derived from the config's one seed and the experiment's name."""
    return int(stable_hash("train", settings["seed"], experiment, length=16), 16) >> 1


def load(settings: Settings, experiment: str, folder: Path = RECIPES) -> Recipe:
    """Read the recipe of an experiment and put the experiment's own keys in place of the recipe's.

    Raises:
        UserError: no such experiment or recipe, an unknown key, a value out of its limits.
        NoStartError: there is no such model to start from.
    """
    return _load(settings, experiment, folder, ())


def load_or_error(settings: Settings, experiment: str) -> Recipe | NoStartError:
    """The recipe of an experiment, or what to type where the model that it starts from is not there.

    Raises:
        UserError: as `load`, for any other mistake.
    """
    try:
        return load(settings, experiment)
    except NoStartError as error:
        return error


def start_files(recipe: Recipe | NoStartError, models: Path) -> list[Path]:
    """The weights that training starts from; none for fresh ones.

    Args:
        recipe: as `load_or_error` gives it.
        models: where the experiments' models lie.

    Raises:
        NoStartError: they are not there, and no experiment makes them.
    """
    if isinstance(recipe, NoStartError):
        raise recipe
    if (folder := recipe.start(models)) is None:
        return []
    if not str(recipe.pretrained).startswith(EXPERIMENT) and not (folder / WEIGHTS).is_file():
        raise NoStartError(folder)
    return [folder / WEIGHTS]


def _load(settings: Settings, experiment: str, folder: Path, behind: tuple[str, ...]) -> Recipe:
    experiments = settings["train"]["experiments"]
    if experiment not in experiments:
        raise UserError(f"train.experiments has no {experiment}; it has: {', '.join(experiments)}")
    if experiment in behind:
        raise UserError(f"train.experiments: {' starts from '.join([*behind, experiment])}, which has no beginning")
    own = {"recipe": settings["train"]["recipe"], **experiments[experiment]}
    values = _merged(own, f"train.experiments.{experiment}", folder)
    if start := values.get("pretrained"):
        values = _inherited(settings, str(start), folder, (*behind, experiment)) | values
    _check_values(
        values, f"the recipe of experiment {experiment} ({own['recipe']}.yaml and train.experiments.{experiment})"
    )
    return Recipe(**values)


def _merged(own: dict[str, Any], place: str, folder: Path, behind: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of `own`, and those of the recipe that it names where it says nothing."""
    own = dict(own)
    name = own.pop("recipe", None)
    _check_names(own, place)
    if name is None:
        return own
    if name in behind:
        raise UserError(f"the recipes {' and '.join(behind)} stand on each other")
    path = folder / f"{name}.yaml"
    values = _merged(_read(path), str(path), folder, (*behind, name))
    for key in own:
        if (other := _ALTERNATIVES.get(key)) and other not in own:
            values.pop(other, None)
        if key in _UNSAID and _UNSAID[key][0] not in own:
            values.update([_UNSAID[key]])
    if own.get("pretrained"):
        values = {key: value for key, value in values.items() if key not in (*_ALTERNATIVES, *_INHERITED)}
    return values | own


def _inherited(settings: Settings, start: str, folder: Path, behind: tuple[str, ...]) -> dict[str, Any]:
    """What the model that training starts from says of itself: its architecture, picture size and context length."""
    if start.startswith(EXPERIMENT):
        first = _load(settings, start.removeprefix(EXPERIMENT), folder, behind)
        values = {key: getattr(first, key) for key in ("model", "model_cfg", *_INHERITED)}
        return {key: value for key, value in values.items() if value is not None}
    path = Path(start.removeprefix(LOCAL)) / CONFIG
    try:
        content = read_json(path)
        model, preprocess = content["model_cfg"], content.get("preprocess_cfg") or {}
        size = model["vision_cfg"].get("image_size", 224)
        values = {"model_cfg": model, "image_size": size[0] if isinstance(size, list) else size}
        values["context_length"] = model["text_cfg"].get("context_length", 77)
    except OSError:
        raise NoStartError(path.parent) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path} is no open_clip config (model_cfg with vision_cfg and text_cfg), so a recipe can't start from it. "
            f"Fetch the model again into another folder: python scripts/fetch_model.py hf-hub:OWNER/NAME FOLDER"
        ) from None
    values["image_mean"] = preprocess.get("mean") or OPENAI_MEAN
    values["image_std"] = preprocess.get("std") or OPENAI_STD
    return values


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UserError(f"there is no recipe {path.stem} in {path.parent}; there are: {known or 'none'}")
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} is no recipe: it must hold keys and values")
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
    required = [each.name for each in fields(Recipe) if each.default is MISSING]
    schema = {"type": "object", "properties": KEYS, "required": required}
    if errors := mistakes(values, schema):
        raise UserError("\n".join([f"{place} can't be used:", *(f"  {_explain(error, schema)}" for error in errors)]))
    if values["crop_scale"][0] > values["crop_scale"][1] or values["crop_ratio"][0] > values["crop_ratio"][1]:
        raise UserError(f"{place}: crop_scale and crop_ratio are ranges, the smaller value first")


def _explain(error: ValidationError, schema: dict[str, Any]) -> str:
    if error.validator == "anyOf" and error.context:
        return f"{explain(error.context[0], schema).rstrip('.')}; null is allowed too"
    return explain(error, schema)
