"""Recipes: read, overridden, refused with a helpful sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.train.cases import make_config

from kg2clip import settings
from kg2clip.errors import UserError
from kg2clip.files import write_json
from kg2clip.train import recipe as recipes

LEAST = {"project": "test", "knowledge": {"roots": ["Apidae"]}}
PUBLIC = {
    "model_cfg": {"embed_dim": 8, "vision_cfg": {"image_size": 48, "width": 8, "layers": 1}, "text_cfg": {}},
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.1, 0.2, 0.3]},
}


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a public model that was fetched."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "models" / "bioclip" / recipes.CONFIG, PUBLIC)
    return Path("models/bioclip")


@pytest.mark.parametrize("name", sorted(path.stem for path in recipes.RECIPES.glob("*.yaml")))
def test_shipped_recipes_are_whole(name: str, public: Path) -> None:
    config = make_config()
    config["train"]["experiments"] = {"tiny": {"recipe": name}, "clipa": {"recipe": "clipa"}}
    recipe = recipes.load(config, "tiny")
    assert recipe.start(Path("models")) in (None, public, Path("models/clipa"))
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


def test_a_recipe_says_only_what_is_different_from_another() -> None:
    config = make_config()
    config["train"]["experiments"] = {name: {"recipe": name} for name in ("siglip", "entitynet-b32", "entitynet-b16")}
    siglip, first, larger = (recipes.load(config, name).said() for name in config["train"]["experiments"])
    assert {key for key in siglip if siglip[key] != first.get(key)} == {"loss", "betas"}
    assert {key for key in larger if larger[key] != first[key]} == {"model"}


def test_recipes_that_stand_on_each_other_are_told(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("recipe: two")
    (tmp_path / "two.yaml").write_text("recipe: one")
    config = make_config()
    config["train"]["experiments"]["tiny"] = {"recipe": "one"}
    with pytest.raises(UserError, match="the recipes one and two stand on each other"):
        recipes.load(config, "tiny", tmp_path)


def test_a_start_says_what_the_model_is(public: Path) -> None:
    config = make_config()
    config["train"]["experiments"] = {
        "first": {"recipe": "entitynet-b32", "pretrained": "local-dir:models/bioclip"},
        "second": {"recipe": "demo", "pretrained": "experiment:first", "context_length": 20},
    }
    first, second = (recipes.load(config, name) for name in ("first", "second"))
    assert first.model is None and second.model_cfg == first.model_cfg == PUBLIC["model_cfg"]
    assert (first.image_size, first.context_length, first.image_mean) == (48, 77, [0.5, 0.5, 0.5])
    assert (second.image_size, second.context_length, second.image_std) == (48, 20, [0.1, 0.2, 0.3])
    assert second.start(Path("results/x/models")) == Path("results/x/models/first")


def test_a_start_that_is_not_there_or_has_no_beginning_is_told() -> None:
    config = make_config(pretrained="local-dir:models/none")
    with pytest.raises(UserError, match=r"no model in models/none .* python scripts/fetch_model\.py hf-hub:"):
        recipes.load(config, "tiny")
    with pytest.raises(UserError, match="tiny starts from tiny, which has no beginning"):
        recipes.load(make_config(pretrained="experiment:tiny"), "tiny")


def test_a_model_that_is_not_there_stops_its_training_alone(public: Path) -> None:
    config = make_config(pretrained="local-dir:models/none")
    wanting = recipes.load_or_error(config, "tiny")
    with pytest.raises(
        recipes.NoStartError, match=r"no model in models/none .* python scripts/fetch_model\.py hf-hub:"
    ):
        recipes.start_files(wanting, Path("models"))
    with pytest.raises(UserError, match="wramup"):  # any other mistake is told at once
        recipes.load_or_error(make_config(pretrained="local-dir:models/none", wramup=1), "tiny")
    config["train"]["experiments"]["tiny"]["pretrained"] = f"local-dir:{public}"
    half = recipes.load_or_error(config, "tiny")
    with pytest.raises(recipes.NoStartError):  # its config, without weights
        recipes.start_files(half, Path("models"))
    (public / recipes.WEIGHTS).touch()
    assert recipes.start_files(half, Path("models")) == [public / recipes.WEIGHTS]
    config["train"]["experiments"]["second"] = {"recipe": "demo", "pretrained": "experiment:tiny"}
    second = recipes.load_or_error(config, "second")
    assert recipes.start_files(second, Path("made")) == [Path("made/tiny") / recipes.WEIGHTS]  # made by the workflow
    assert recipes.start_files(recipes.load_or_error(make_config(), "tiny"), Path("models")) == []


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"model_cfg": {"vision_cfg": 3, "text_cfg": {}}}', '{"model_cfg": null}']
)
def test_a_start_whose_config_is_none_is_told(content: str, public: Path) -> None:
    (public / recipes.CONFIG).write_text(content)
    with pytest.raises(UserError, match="is no open_clip config") as told:
        recipes.load(make_config(pretrained=f"local-dir:{public}"), "tiny")
    assert not isinstance(told.value, recipes.NoStartError)


def test_a_run_has_a_step_at_least() -> None:
    assert recipes.load(make_config(steps=None, epochs=0.01), "tiny").total_steps(10) == 1
    assert recipes.load(make_config(steps=0), "tiny").total_steps(10) == 0  # said so: a baseline of chance


def test_batches_shrink_to_the_dataset() -> None:
    recipe = recipes.load(make_config(batch_size=8192, least_batches=8), "tiny")
    assert [recipe.fitted(pictures).batch_size for pictures in (1 << 20, 65536, 65535, 5000, 7)] == [
        8192,
        8192,
        4096,
        512,
        1,
    ]
    own = recipes.load(make_config(batch_size=8192), "tiny")  # one's own number is kept as long as it can be
    assert [own.fitted(pictures).batch_size for pictures in (8192, 8191)] == [8192, 4096]


def test_the_last_epochs_are_averaged() -> None:
    assert recipes.load(make_config(steps=20), "tiny").averaged_steps(40) == {20}
    assert recipes.load(make_config(steps=20, average_last=3), "tiny").averaged_steps(40) == {10, 15, 20}
    assert recipes.load(make_config(steps=8, average_last=3), "tiny").averaged_steps(40) == {3, 8}


def test_how_a_run_is_computed_is_not_part_of_its_identity() -> None:
    configs = [
        make_config(),
        make_config(micro_batch=2, grad_checkpointing=True, compile=True),
        make_config(loss="siglip"),
    ]
    first, how, what = (recipes.load(config, "tiny").hash(config, "tiny") for config in configs)
    assert first == how != what


def test_an_experiment_is_repeated_with_further_seeds() -> None:
    config = settings.complete(
        {**LEAST, "train": {"recipe": "demo", "experiments": {"main": {"seeds": 3}, "other": {"lr": 0.1}}}}, "test"
    )
    experiments = config["train"]["experiments"]
    assert experiments == {
        **{name: {"recipe": "demo"} for name in ("main", "main-seed2", "main-seed3")},
        "other": {"recipe": "demo", "lr": 0.1},
    }
    assert settings.complete(config, "again")["train"]["experiments"] == experiments
    assert [settings.repeated(name, experiments) for name in experiments] == ["main", "main", "main", "other"]
    assert len({recipes.seed(config, name) for name in experiments}) == 4


def test_a_misspelt_key_is_told_with_the_closest() -> None:
    with pytest.raises(
        UserError, match=r"train\.experiments\.tiny: wramup_steps is no key .* did you mean warmup_steps"
    ):
        recipes.load(make_config(wramup_steps=3), "tiny")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", 0, "batch_size: 0 is less than the minimum"),
        ("precision", "fp16", "precision is 'fp16'; choose one of: fp32, bf16"),
        ("steps", -1, "steps: -1 is less than the minimum"),
        ("crop_scale", [0.9, 0.4], "the smaller value first"),
        ("lr", "5e-4", "lr is '5e-4'; it should be a number: write 0.0005, without quotes"),
        ("lr", float("nan"), "lr is NaN; it should be a number"),
        ("batch_size", 32.0, "batch_size is 32.0; it should be a whole number: write 32"),
        ("steps", "many", "steps is 'many'; it should be a whole number; null is allowed too"),
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
