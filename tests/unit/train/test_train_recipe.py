"""Recipes: read, overridden, refused with a helpful sentence."""

from __future__ import annotations

import pytest
from unit.train.cases import make_config

from kg2clip.errors import UserError
from kg2clip.train import recipe as recipes


@pytest.mark.parametrize("name", sorted(path.stem for path in recipes.RECIPES.glob("*.yaml")))
def test_shipped_recipes_are_whole(name: str) -> None:
    config = make_config()
    config["train"]["experiments"]["tiny"] = {"recipe": name}
    recipe = recipes.load(config, "tiny")
    assert (recipe.model is None) != (recipe.model_cfg is None)


def test_paper_values_of_the_b32_recipe() -> None:
    config = make_config()
    config["train"]["experiments"]["tiny"] = {"recipe": "entitynet-b32"}
    recipe = recipes.load(config, "tiny")
    assert recipe.total_steps(32_700_000) == 71_851  # entitynet.md 9.1: about 71,900
    assert recipe.warmup(32_700_000) == 7_983  # and about 7,980


def test_an_experiment_replaces_the_recipes_values() -> None:
    assert recipes.load(make_config(lr=0.5, steps=3), "tiny").lr == 0.5
    assert recipes.load(make_config(steps=3, epochs=2), "tiny").total_steps(100) == 3


def test_a_model_name_replaces_a_written_out_model_and_epochs_replace_steps() -> None:
    config = make_config()
    config["train"]["experiments"]["tiny"] = {"recipe": "demo", "model": "ViT-B-32", "epochs": 2}
    recipe = recipes.load(config, "tiny")
    assert recipe.model == "ViT-B-32" and recipe.model_cfg is None
    assert recipe.total_steps(640) == 10


def test_a_misspelt_key_is_told_with_the_closest() -> None:
    with pytest.raises(
        UserError, match=r"train\.experiments\.tiny: wramup_steps is no key .* did you mean warmup_steps"
    ):
        recipes.load(make_config(wramup_steps=3), "tiny")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", 0, "batch_size: 0 is less than the minimum"),
        ("precision", "fp16", "precision: 'fp16' is not one of"),
        ("steps", -1, "steps: -1 is less than the minimum"),
        ("crop_scale", [0.9, 0.4], "the smaller value first"),
        ("lr", "5e-4", "lr: '5e-4' is not of type 'number'"),
    ],
)
def test_values_out_of_their_limits_are_told(key: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipes.load(make_config(**{key: value}), "tiny")


def test_unknown_recipe_and_experiment_are_told() -> None:
    with pytest.raises(UserError, match="there is no recipe demp in .*demo"):
        recipes.load(make_config(recipe="demp"), "tiny")
    with pytest.raises(UserError, match="has no other; it has: tiny"):
        recipes.load(make_config(), "other")


def test_identity_follows_what_changes_the_result() -> None:
    base = make_config()
    first = recipes.load(base, "tiny").hash(base, "tiny")
    quicker = make_config()
    quicker["train"] |= {"workers": 4, "device": "auto"}
    assert recipes.load(quicker, "tiny").hash(quicker, "tiny") == first
    for change in ({"seed": 2}, {"train": base["train"] | {"recipe_version": 2}}):
        other = base | change
        assert recipes.load(other, "tiny").hash(other, "tiny") != first
    lower = make_config(lr=1e-4)
    assert recipes.load(lower, "tiny").hash(lower, "tiny") != first
