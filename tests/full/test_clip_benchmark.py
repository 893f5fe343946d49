"""Our evaluation against CLIP_benchmark's, live: on made embeddings, and from end to end on a model and benchmarks.

It wants numpy below 2.4, so it lives in an environment of its own, which may borrow the rest:

    python -m venv clip && echo "$PWD"/.venv/lib/python3.11/site-packages > clip/lib/python3.11/site-packages/main.pth
    clip/bin/pip install --no-deps clip-benchmark==1.6.2 "numpy<2.4" "scikit-learn<2" joblib threadpoolctl \
        cloudpickle loky pycocoevalcap pycocotools
    CLIP_BENCHMARK_PYTHON=clip/bin/python make test-all
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from unit.evaluate import known
from unit.train.cases import make_config

from kg2clip import settings, tables
from kg2clip.train import model as models
from kg2clip.train import recipe as recipes

PYTHON = os.environ.get("CLIP_BENCHMARK_PYTHON")
pytestmark = pytest.mark.skipif(not PYTHON, reason="CLIP_BENCHMARK_PYTHON names no interpreter with CLIP_benchmark")
ROOT = Path(__file__).resolve().parents[2]
NAMES = ["robin", "gull", "fox", "owl", "hare", "toad", "moth", "fern", "moss", "rose", "lynx", "crow"]
TOLERANCE = 1e-4


def test_recorded_figures_are_its_own(tmp_path: Path) -> None:
    made = known.make()
    owners = np.repeat(np.arange(len(made.captions)), [len(each) for each in made.captions])
    arrays = {"pictures": made.pictures, "labels": made.labels, "names": made.names, "owners": owners}
    np.savez(tmp_path / "made.npz", **arrays, captions=np.concatenate(made.captions))
    script = Path(__file__).with_name("_clip_benchmark.py")
    command = [str(PYTHON), str(script), str(tmp_path / "made.npz")]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert said == pytest.approx(known.CLASSIFICATION | known.RETRIEVAL, abs=1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    recipe, folder = recipes.load(make_config(), "tiny"), tmp_path_factory.mktemp("model") / "tiny"
    models.export(models.create(recipe), recipe, folder)
    return folder


def write(folder: Path, members: list[dict[str, bytes]], tars: int = 2) -> None:
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text(str(tars))
    for number in range(tars):
        with tarfile.open(folder / "test" / f"{number}.tar", "w") as tar:
            for place, sample in list(enumerate(members))[number::tars]:
                for ending, content in sample.items():
                    member = tarfile.TarInfo(f"s{place:07d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def picture(number: int) -> bytes:
    noise = np.random.RandomState(number).randint(0, 255, (6, 8, 3)).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).resize((60, 45), Image.Resampling.BICUBIC).save(content, "PNG")
    return content.getvalue()


def ours(model: Path, benchmark: Path, folder: Path) -> dict[str, float]:
    """Scores of the programs that the workflow runs."""
    config: dict[str, Any] = {"project": "test", "knowledge": {"roots": ["Apidae"]}, "train": {"workers": 0}}
    config["evaluate"] = {"prompts": {"two": ["{c}", "a photo of {c}"]}, "benchmarks": {"set": {"path": "x"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings.complete(config, "the test's config")))
    predictions, common = folder / "main" / "set.parquet", ["--provenance", "p.json", "--config", "config.yaml"]
    evaluate = ["evaluate_model.py", "--model", model, "--benchmark-name", "set", "--benchmark", benchmark]
    gather = ["gather_scores.py", "--predictions", predictions, "--output", "s.parquet", "--groups", "g.parquet"]
    for command in ([*evaluate, "--output", predictions], [*gather, "--comparisons", "c.parquet"]):
        program, *arguments = map(str, [*command, *common])
        subprocess.run([sys.executable, ROOT / "scripts" / program, *arguments], check=True, cwd=folder)
    rows = tables.read(folder / "s.parquet").to_pylist()
    return {" ".join((row["metric"], row["prompts"])): row["value"] for row in rows}


def theirs(model: Path, benchmark: Path, folder: Path, task: str) -> dict[str, float]:
    """Metrics of CLIP_benchmark's command line."""
    options = ["--dataset", "wds/set", "--dataset_root", str(benchmark), "--model", f"local-dir:{model}"]
    options += ["--pretrained", "", "--task", task, "--no_amp", "--num_workers", "0", "--recall_k", "1", "5", "10"]
    command = [str(PYTHON), "-m", "clip_benchmark.cli", "eval", *options, "--output", str(folder / "theirs.json")]
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    metrics: dict[str, float] = json.loads((folder / "theirs.json").read_text())["metrics"]
    return metrics


def test_classification_from_end_to_end(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    write(folder, [{"png": picture(n), "cls": str((n * n + n // 7) % len(NAMES)).encode()} for n in range(150)])
    (folder / "classnames.txt").write_text("\n".join(NAMES))
    (folder / "zeroshot_classification_templates.txt").write_text("{c}\na photo of {c}")
    mine, other = ours(model, folder, tmp_path), theirs(model, folder, tmp_path, "zeroshot_classification")
    assert 0 < other["acc1"] < 1
    assert mine["top1 two"] == pytest.approx(other["acc1"], abs=TOLERANCE)
    assert mine["top5 two"] == pytest.approx(other["acc5"], abs=TOLERANCE)
    assert mine["macro two"] == pytest.approx(other["mean_per_class_recall"], abs=TOLERANCE)


def test_retrieval_from_end_to_end(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "captions"
    texts = [[f"a {NAMES[(n + k) % 12]} and {n * (k + 1)} leaves" for k in range(1 + n % 5)] for n in range(120)]
    write(folder, [{"png": picture(n), "txt": "\n".join(each).encode()} for n, each in enumerate(texts)])
    (folder / "dataset_type.txt").write_text("retrieval")
    mine, other = ours(model, folder, tmp_path), theirs(model, folder, tmp_path, "zeroshot_retrieval")
    assert 0 < other["image_retrieval_recall@10"] < 1
    for k in (1, 5, 10):
        assert mine[f"r{k} text to picture"] == pytest.approx(other[f"image_retrieval_recall@{k}"], abs=TOLERANCE)
        assert mine[f"r{k} picture to text"] == pytest.approx(other[f"text_retrieval_recall@{k}"], abs=TOLERANCE)
