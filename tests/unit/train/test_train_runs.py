"""The program: whole runs of a tiny model, killed, stopped, resumed, exported and loaded again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from unit.train.cases import TINY, make_config, write_config, write_dataset

import train_model
from kg2clip.device import quiet
from kg2clip.errors import IncompleteError, UserError
from kg2clip.settings import ROOT
from kg2clip.train import loop, model
from kg2clip.train import recipe as recipes
from kg2clip.train.checkpoints import Checkpoints
from kg2clip.train.data import Pieces, Samples
from kg2clip.train.gradients import Gradients
from kg2clip.train.journal import Journal

WEIGHTS = "open_clip_model.safetensors"


def command(dataset: Path, output: Path, config: Path) -> list[str]:
    program = [sys.executable, str(ROOT / "scripts" / "train_model.py"), "--threads", "1"]
    files = {"dataset": dataset, "output": output, "provenance": output / "provenance.json", "config": config}
    return [
        *program,
        "--experiment",
        "tiny",
        *(part for key, path in files.items() for part in (f"--{key}", str(path))),
    ]


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: Path) -> None:
    """The program inside this process: importing torch anew takes seconds."""
    monkeypatch.setattr(sys, "argv", command(*arguments)[1:])
    train_model.main()


def train(
    dataset: Path,
    folder: Path,
    seconds: float = 1000,
    start: Path | None = None,
    tensorboard: bool = False,
    **experiment: object,
) -> loop.Run:
    """A run in this process, without the program around it."""
    torch.set_num_threads(1)
    config = make_config(**experiment)
    recipe, seed = recipes.load(config, "tiny"), recipes.seed(config, "tiny")
    samples = Samples(dataset)
    folder.mkdir(exist_ok=True)
    machine = loop.Machine(torch.device("cpu"), 0, seconds, tensorboard)
    run = loop.Run(recipe, seed, len(samples), machine, start=start)
    checkpoints = Checkpoints(folder / "checkpoints", "d" * 20, recipe.hash(config, "tiny"))
    run.train(Pieces(samples, recipe, seed), checkpoints, folder)
    model.export(run.model, recipe, folder)
    return run


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(dataset: Path, tmp_path: Path) -> None:
    for name, change in (("one", {}), ("two", {}), ("other", {"lr": 2e-3})):
        train(dataset, tmp_path / name, **change)
    assert weights(tmp_path / "one") == weights(tmp_path / "two") != weights(tmp_path / "other")


def test_a_killed_run_ends_with_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    changes = {"steps": 120, "micro_batch": 4, "average_last": 30, "entity_aware": True, "loss": "siglip"}
    config = write_config(tmp_path / "config.yaml", **changes)
    usual = config.read_text()
    config.write_text(
        usual.replace("checkpoint_seconds: 300", "checkpoint_seconds: 0.05").replace("workers: 0", "workers: 1")
    )
    process = subprocess.Popen(command(dataset, killed, config), stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(killed.glob("checkpoints/*.json"))) == 2, process)
    time.sleep(0.02 * (os.getpid() % 7))  # at a moment that differs from run to run, in mid-save too
    process.kill()
    process.wait()
    assert not (killed / WEIGHTS).exists()
    config.write_text(usual)
    resumed = subprocess.run(command(dataset, killed, config), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from step" in resumed.stderr
    run = train(dataset, undisturbed, **changes)
    assert weights(killed) == weights(undisturbed)
    history = json.loads((killed / "metrics.json").read_text())["history"]
    assert untimed(history) == untimed(run.history) and len(history) == 12
    assert (killed / "training.jsonl").read_text().count("\n") == 12
    assert len(list((killed / "checkpoints").iterdir())) == 4  # two, and their manifests; no left-overs


def untimed(history: list[dict[str, float]]) -> list[dict[str, float]]:
    timed = {"imagesPerSecond", "dataWaitShare", "memoryGB"}
    return [{key: value for key, value in entry.items() if key not in timed} for entry in history]


def test_sigterm_to_the_whole_group_saves_and_says_incomplete(dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml", steps=100000)
    config.write_text(config.read_text().replace("workers: 0", "workers: 2"))
    output = tmp_path / "model"
    process = subprocess.Popen(
        command(dataset, output, config), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: (output / "training.jsonl").exists() and (output / "training.jsonl").stat().st_size > 0, process)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3, errors
    assert "error: training was stopped by SIGTERM after step" in errors and "Traceback" not in errors
    assert len(list((output / "checkpoints").glob("*.pt"))) == 1


def test_a_run_ends_before_its_job_does(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    assert loop.deadline({"SLURM_JOB_END_TIME": str(now + 3600)}) == now + 3480
    assert loop.deadline({"SLURM_JOB_END_TIME": str(now + 100)}) == pytest.approx(now + 90, abs=1)
    assert loop.deadline({}) is None
    monkeypatch.setattr(loop, "deadline", lambda environment: now - 1)
    config = write_config(tmp_path / "config.yaml", steps=100000)
    with pytest.raises(
        IncompleteError, match="stopped by the end of its time after step 0 of 100000; the same command"
    ):
        run_main(monkeypatch, dataset, tmp_path / "model", config)
    assert len(list((tmp_path / "model" / "checkpoints").glob("*.pt"))) == 1


def test_a_torn_shard_ends_the_program_at_once(dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml", steps=100000)
    config.write_text(config.read_text().replace("workers: 0", "workers: 2"))
    shard = dataset.parent / "train-00001.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    # The workers ignore SIGTERM, which is all that Python sends them at its exit: once it waited for them forever.
    ended = subprocess.run(command(dataset, tmp_path / "model", config), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "error: shard" in ended.stderr and "train-00001.tar is torn" in ended.stderr
    assert "Traceback" not in ended.stderr


def wait_for(condition: object, process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert process.poll() is None and time.monotonic() < deadline, "the program ended too early, or did nothing"
        time.sleep(0.005)


def test_a_damaged_checkpoint_is_passed_over(dataset: Path, tmp_path: Path) -> None:
    train(dataset, tmp_path, seconds=0)
    expected = weights(tmp_path)
    newest = sorted((tmp_path / "checkpoints").glob("*.pt"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert train(dataset, tmp_path).step == 6
    assert weights(tmp_path) == expected


def test_checkpoints_of_other_data_or_recipes_are_not_used(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "data1", "recipe1").save(3, {"step": 3})
    assert Checkpoints(tmp_path, "data2", "recipe1").load(torch.device("cpu")) is None
    assert Checkpoints(tmp_path, "data1", "recipe2").load(torch.device("cpu")) is None
    assert Checkpoints(tmp_path, "data1", "recipe1").load(torch.device("cpu")) == {"step": 3}


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    (tmp_path / ".old.pt.part").write_bytes(b"half")
    checkpoints = Checkpoints(tmp_path, "data", "recipe")
    for step in (1, 2, 3):
        checkpoints.save(step, {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"data-recipe-{step:08d}.{ending}" for step in (2, 3) for ending in ("json", "pt")
    ]


def test_a_finished_run_ends_at_once(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(dataset, tmp_path)
    expected = weights(tmp_path)
    monkeypatch.setattr(Gradients, "add", None)
    train(dataset, tmp_path)
    assert weights(tmp_path) == expected


def test_manifests_that_say_nothing_are_no_checkpoints(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "data", "recipe")
    checkpoints.save(3, {"step": 3})
    for step, content in enumerate(("[]", "{", '{"dataHash": "data", "recipeHash": "recipe"}', ""), start=4):
        checkpoints.path(step).write_bytes(b"torn")
        checkpoints.path(step).with_suffix(".json").write_text(content)
    assert checkpoints.load(torch.device("cpu")) == {"step": 3}
    assert checkpoints.last().endswith("-00000003.pt")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_a_full_disk_leaves_the_last_good_checkpoint(
    error: Exception, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, save = [], torch.save

    def full(state: Any, path: Path) -> None:
        if saved:
            Path(path).write_bytes(b"half")
            raise error
        saved.append(save(state, path))

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(IncompleteError, match=r"step 2 can't be written .* Free some space; .*-00000001\.pt"):
            train(dataset, tmp_path / "full", seconds=0)
    assert not list((tmp_path / "full" / "checkpoints").glob(".*.part"))
    train(dataset, tmp_path / "full")
    train(dataset, tmp_path / "undisturbed")
    assert weights(tmp_path / "full") == weights(tmp_path / "undisturbed")


def test_a_loss_that_is_no_number_from_the_first_step_on(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss of step 2 is nan; the last good checkpoint: none was written yet"):
        train(dataset, tmp_path, lr=1e30, grad_clip_norm=None, warmup_steps=0)
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_a_gpu_that_is_too_small_says_what_to_write(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Gradients, "add", add)
    with pytest.raises(UserError, match="too small for 8 pairs at a time. Write micro_batch: 4 "):
        train(dataset, tmp_path)


def test_a_loss_that_is_no_number_stops_the_run(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss of step \d+ is nan; the last good checkpoint: .*-00000001\.pt"):
        train(dataset, tmp_path, seconds=0, lr=1e30, grad_clip_norm=None, warmup_steps=0)


def test_an_untrained_model_is_exported_for_steps_0(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path / "config.yaml", steps=0)
    output = tmp_path / "model"
    run_main(monkeypatch, dataset, output, config)
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["steps"] == 0 and metrics["history"] == [] and metrics["samplesSeen"] == 0
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{output}")
    assert sum(parameter.numel() for parameter in loaded.parameters()) == metrics["parameters"]


def test_the_export_is_the_trained_model(dataset: Path, tmp_path: Path) -> None:
    run = train(dataset, tmp_path)
    with quiet():
        loaded, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    tokens = tokenizer(["a red square"])
    assert tokens.shape == (1, 16)
    picture = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(run.model.eval().encode_image(picture), loaded.eval().encode_image(picture))
        assert torch.equal(run.model.encode_text(tokens), loaded.encode_text(tokens))
    normalise = preprocess.transforms[-1]
    assert list(normalise.mean) == run.recipe.image_mean and list(normalise.std) == run.recipe.image_std


def test_the_export_is_the_mean_of_the_last_epochs(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, advance = [], loop.Run._advance

    def note(run: loop.Run, *arguments: Any) -> str | None:
        stop = advance(run, *arguments)
        seen.append(run.model.visual.proj.detach().clone())
        return stop

    monkeypatch.setattr(loop.Run, "_advance", note)
    run = train(dataset, tmp_path, steps=8, average_last=2)  # an epoch of 30 pictures is 4 batches of 8
    torch.testing.assert_close(run.model.visual.proj.detach(), (seen[3] + seen[7]) / 2)
    expected = weights(tmp_path)
    train(dataset, tmp_path, steps=8, average_last=2)  # finished: only exported again
    assert weights(tmp_path) == expected


def test_training_starts_from_a_model(dataset: Path, tmp_path: Path) -> None:
    first = train(dataset, tmp_path / "first")
    run = train(dataset, tmp_path / "second", start=tmp_path / "first", steps=0)
    assert weights(tmp_path / "first") == weights(tmp_path / "second")
    longer = train(dataset, tmp_path / "third", start=tmp_path / "first", image_size=48, context_length=20, steps=2)
    assert longer.model.positional_embedding.shape == (20, 32) and longer.history[0]["loss"] < first.history[0]["loss"]
    assert longer.model.visual.positional_embedding.shape == (10, 32) and run.steps == 0
    with pytest.raises(UserError, match="there is no model in .*none .*, which a recipe starts from"):
        train(dataset, tmp_path / "fourth", start=tmp_path / "none")
    other = {**TINY["model_cfg"], "embed_dim": 24}
    with pytest.raises(UserError, match="can't be the start of this recipe's model"):
        train(dataset, tmp_path / "fifth", start=tmp_path / "first", model_cfg=other)


def test_the_curves_stand_in_tensorboards_files_too(dataset: Path, tmp_path: Path) -> None:
    run = train(dataset, tmp_path, steps=20, tensorboard=True)
    files = EventAccumulator(str(tmp_path / "tensorboard"))
    files.Reload()
    assert {"loss", "lr", "logitScale", "imagesPerSecond", "dataWaitShare"} <= set(files.Tags()["tensors"])
    events = files.Tensors("loss")
    assert [event.step for event in events] == [entry["step"] for entry in run.history] == [10, 20]


def test_figures_of_a_gpu_follow_from_its_peak_and_its_power(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.hardware, "peak_flops", lambda device: 1e9)
    monkeypatch.setattr(loop.hardware, "power", lambda device: 250.0)
    run = train(dataset, tmp_path, steps=20)
    assert run.joules == pytest.approx(250 * run.seconds)
    for entry in run.history:
        assert entry["mfu"] == pytest.approx(run.flops_per_pair * entry["imagesPerSecond"] / 1e9, rel=0.01)  # type: ignore[operator]


def test_the_curves_go_to_weights_and_biases_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    told = SimpleNamespace(log=lambda values, step: said.append((values, step)), finish=lambda: said.append("finished"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **about: said.append(about) or told))
    with Journal(tmp_path / "birds" / "models" / "main", [], wandb="mine") as journal:
        journal.write({"step": 10, "loss": 1.5, "mfu": None})
    about, (values, step), finished = said
    assert (about["project"], about["id"], about["resume"]) == ("mine", "birds-main", "allow")
    assert values == {"loss": 1.5} and step == 10 and finished == "finished"
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="wandb is not installed here: pip install wandb"):
        Journal(tmp_path / "birds" / "models" / "main", [], wandb="mine")


def test_training_learns(dataset: Path, tmp_path: Path) -> None:
    run = train(dataset, tmp_path, steps=40)
    assert run.history[-1]["loss"] < 0.8 * run.history[0]["loss"]


def test_bf16_and_gradient_checkpointing_run(dataset: Path, tmp_path: Path) -> None:
    assert train(dataset, tmp_path, precision="bf16", grad_checkpointing=True).step == 6


def test_the_metrics_tell_licences_recipe_and_cost(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path / "config.yaml")
    output = tmp_path / "model"
    run_main(monkeypatch, dataset, output, config)
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["licenses"] == {"CC0-1.0": 30} and metrics["sources"] == {"commons": 15, "gbif": 15}
    assert metrics["recipe"]["steps"] == 6 and metrics["flops"] == 48 * metrics["flopsPerPair"]
    provenance = json.loads((output / "provenance.json").read_text())
    assert provenance["counts"]["samplesSeen"] == 48 and provenance["dataHash"] == metrics["dataHash"]


def test_a_recipe_for_millions_trains_on_few_pictures_and_says_so(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_config(tmp_path / "config.yaml", batch_size=8192, least_batches=8)
    run_main(monkeypatch, dataset, tmp_path / "model", config)
    assert "NOTE: the recipe's batches of 8192 pairs are too large for 30 pictures and become 2 pairs" in caplog.text
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["batchSize"] == 2 and metrics["samplesSeen"] == 12


@pytest.mark.parametrize("changes", [{}, {"caption_aware": True, "entity_aware": True, "micro_batch": 64}])
def test_one_picture_of_one_class_trains_to_the_end(
    changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_dataset(tmp_path / "dataset", pictures=1, shards=1)
    config = write_config(tmp_path / "config.yaml", epochs=3, steps=None, warmup_epochs=0.1, **changes)
    run_main(monkeypatch, dataset, tmp_path / "model", config)
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert (metrics["batchSize"], metrics["steps"], metrics["finalLoss"]) == (1, 3, 0)


def test_tiny_is_a_demo_recipe() -> None:
    assert TINY["recipe"] == "demo"  # so that the demo's keys are the ones tested here
