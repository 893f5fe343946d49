"""Training in several processes: stopped, gone on with, told of a torn shard once. And compiled."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from unit.train.cases import write_config, write_dataset
from unit.train.gradients_of_a_step import gradients

from kg2clip.settings import ROOT

WEIGHTS = "open_clip_model.safetensors"


def command(dataset: Path, output: Path, config: Path, processes: int) -> list[str]:
    files = {"dataset": dataset, "output": output, "provenance": output / "provenance.json", "config": config}
    return [
        *(sys.executable, str(ROOT / "scripts" / "train_model.py"), "--threads", "1", "--processes", str(processes)),
        *("--experiment", "tiny", *(part for key, path in files.items() for part in (f"--{key}", str(path)))),
    ]


def finish(*arguments: object) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = write_config(tmp_path / "config.yaml", steps=300, micro_batch=2, average_last=3)
    path.write_text(path.read_text().replace("workers: 0", "workers: 1"))
    return path


def test_two_processes_that_were_stopped_end_with_the_same_bytes(dataset: Path, config: Path, tmp_path: Path) -> None:
    stopped, undisturbed, alone = (tmp_path / name for name in ("stopped", "undisturbed", "alone"))
    process = subprocess.Popen(command(dataset, stopped, config, 2), stderr=subprocess.PIPE, text=True)
    while not (stopped / "training.jsonl").exists() or not (stopped / "training.jsonl").stat().st_size:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "error: training was stopped by SIGUSR1 after step" in errors and "Traceback" not in errors
    assert len(list((stopped / "checkpoints").glob("*.pt"))) == 1
    assert "going on from step" in finish(dataset, stopped, config, 2)
    finish(dataset, undisturbed, config, 2)
    assert (stopped / WEIGHTS).read_bytes() == (undisturbed / WEIGHTS).read_bytes()
    finish(dataset, alone, config, 1)
    weights, others = load_file(undisturbed / WEIGHTS), load_file(alone / WEIGHTS)
    for name, values in weights.items():  # rounding grows over 300 steps
        torch.testing.assert_close(values, others[name], rtol=0.05, atol=0.02, msg=name)


def test_a_mistake_that_one_process_meets_is_told_once(dataset: Path, config: Path, tmp_path: Path) -> None:
    shard = dataset.parent / "train-00001.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    arguments = command(dataset, tmp_path / "model", config, 2)
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count("train-00001.tar is torn") == 1 and "Traceback" not in ended.stderr


def test_a_batch_that_the_processes_cannot_share_is_told(dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml", batch_size=7)
    arguments = command(dataset, tmp_path / "model", config, 2)
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "put batch_size: 6 under train.experiments.tiny" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for the processor with g++")
def test_a_compiled_model_has_the_same_gradients(dataset: Path) -> None:
    plain, compiled = gradients(dataset), gradients(dataset, compile=True)
    assert plain.keys() == compiled.keys()  # compiled in place: the weights keep their names
    for name, values in plain.items():
        torch.testing.assert_close(compiled[name], values, rtol=1e-4, atol=1e-4, msg=name)
