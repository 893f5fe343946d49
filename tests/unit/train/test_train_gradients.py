"""Gradients of a batch in parts and over processes are those of the whole batch in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from unit.train import gradients_of_a_step
from unit.train.gradients_of_a_step import gradients

from kg2clip.settings import ROOT

LOSSES = [
    {"loss": "softmax", "caption_aware": False},
    {"loss": "softmax", "caption_aware": True, "entity_aware": True},
    {"loss": "siglip", "caption_aware": False},
    {"loss": "siglip", "caption_aware": True},
]


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys() and {"loss", "repeated", "logit_scale"} < found.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-5, msg=name)
    assert found["loss"].item() == pytest.approx(expected["loss"].item(), abs=1e-5)


@pytest.mark.parametrize("changes", LOSSES, ids=str)
def test_a_batch_in_parts_has_the_gradients_of_the_whole(dataset: Path, changes: dict[str, object]) -> None:
    whole = gradients(dataset, **changes)
    assert_close(gradients(dataset, micro_batch=5, **changes), whole)  # 5, 5 and 2 pairs
    assert whole["visual.conv1.weight"].abs().max() > 1e-3  # the tolerance is far below what is compared


def test_dropout_is_the_same_in_both_passes_of_a_part(dataset: Path) -> None:
    model = {
        "embed_dim": 16,
        "vision_cfg": {"width": 32, "layers": 1, "head_width": 16, "patch_size": 8, "patch_dropout": 0.5},
        "text_cfg": {"width": 32, "layers": 1, "heads": 2, "vocab_size": 49408},
    }
    first, again = (gradients(dataset, micro_batch=4, model_cfg=model) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_two_processes_have_the_loss_and_the_gradients_of_one(dataset: Path, tmp_path: Path) -> None:
    changes = [*LOSSES, {"micro_batch": 2}, {"micro_batch": 4, "grad_checkpointing": True, "loss": "siglip"}]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    command = [*torchrun, gradients_of_a_step.__file__, str(dataset), str(tmp_path), json.dumps(changes)]
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("scripts", "tests"))
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        for found, each in zip(torch.load(tmp_path / f"{rank}.pt"), changes, strict=True):
            assert_close(
                found, gradients(dataset, **{key: value for key, value in each.items() if key != "micro_batch"})
            )
