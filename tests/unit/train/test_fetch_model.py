"""A public model as a folder that training starts from: here one that lies on the disk, and names that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from unit.train.cases import make_config

import fetch_model
from kg2clip.device import quiet
from kg2clip.errors import UserError
from kg2clip.train import model
from kg2clip.train import recipe as recipes


def test_a_fetched_model_is_the_model(tmp_path: Path) -> None:
    recipe = recipes.load(make_config(), "tiny")
    made = model.create(recipe)
    model.export(made, recipe, tmp_path / "public")
    with quiet():
        fetch_model.fetch(f"local-dir:{tmp_path / 'public'}", tmp_path / "fetched")
    config = json.loads((tmp_path / "fetched" / recipes.CONFIG).read_text())
    assert config["model_cfg"] == model.model_config(recipe)
    assert config["preprocess_cfg"]["mean"] == recipe.image_mean
    again = model.create(recipe)
    model.load_start(again, tmp_path / "fetched")
    assert all(torch.equal(again.state_dict()[name], values) for name, values in made.state_dict().items())
    with quiet():
        open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'fetched'}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-32/nobody", "open_clip has no weights ViT-B-32/nobody; it knows: .*openai"),
        ("ViT-B-33", "open_clip has no weights ViT-B-33; it knows: .*ViT-B-32"),
        ("local-dir:/nowhere", "local-dir:/nowhere can't be fetched: "),
    ],
)
def test_models_that_are_not_there_are_told(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        fetch_model.fetch(name, tmp_path / "model")
    assert not (tmp_path / "model").exists()
