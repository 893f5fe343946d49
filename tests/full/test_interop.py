"""The shards, unchanged, in other people's tools: open_clip's loader and trainer, Hugging Face datasets, mlcroissant.

Part of `make test-all`. What is not in the lock comes into a virtual environment of its own, which borrows the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import pytest
from etils import epath
from unit.dataset.test_pack_dataset import packed, write
from workflow.small import surroundings

from kg2clip import tables

PICTURES = 64
HUGGING_FACE = ("datasets==5.2.0", "dill==0.4.1", "multiprocess==0.70.19")
MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "width": 32, "layers": 1, "head_width": 16, "patch_size": 16},
    "text_cfg": {"width": 32, "layers": 1, "heads": 2, "vocab_size": 49408, "context_length": 77},
}
# What a person types who has open_clip and our shards and nothing else of kg2clip.
TRAINER = """
import sys, open_clip
open_clip.add_model_config(sys.argv[1])
from open_clip_train.main import main
sys.exit(main(sys.argv[2:]) or 0)
"""
LOADER = """
import json, sys, datasets
shards = json.loads(sys.argv[1])
found = datasets.load_dataset("webdataset", data_files=shards, cache_dir=sys.argv[2])
rows = [{"split": split, "key": row["__key__"], "size": row["jpg"].size, "text": row["txt"],
         "texts": [text["text"] for text in row["json"]["texts"]], "license": row["json"]["license"]}
        for split in found for row in found[split]]
streamed = datasets.load_dataset("webdataset", data_files=shards, streaming=True)
rows.append(sorted(row["__key__"] for split in streamed for row in streamed[split]))
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interop")
    write(folder, kept=PICTURES, test_share=0.1, val_share=0.1)
    assert {row["split"] for row in packed(folder)} == {"train", "val", "test"}
    return folder / "dataset"


def rows_of(dataset: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in tables.read(dataset / "manifest.parquet").to_pylist()}


def shards(dataset: Path, split: str) -> list[str]:
    return sorted(str(path) for path in dataset.glob(f"{split}-*.tar"))


def test_open_clips_own_trainer_trains_on_them(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.json").write_text(json.dumps(MODEL))
    train = shards(dataset, "train")
    options = {
        "train-data": f"{dataset}/train-{{00000..{len(train) - 1:05d}}}.tar",
        "val-data": f"{dataset}/val-00000.tar",
        "val-num-samples": sum(row["split"] == "val" for row in rows_of(dataset).values()),
        "dataset-type": "webdataset", "model": "tiny", "batch-size": 8, "workers": 1, "epochs": 2, "warmup": 1,
        "precision": "fp32", "device": "cpu", "logs": tmp_path / "logs", "name": "run", "log-every-n-steps": 1,
    }  # fmt: skip
    words = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-c", TRAINER, str(tmp_path / "models"), *words],
        env=surroundings(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    # Without --train-num-samples it takes their number from sizes.json.
    pictures = sum(row["split"] == "train" for row in rows_of(dataset).values())
    assert f"/{-(-pictures // 8) * 8} (" in said, said[-4000:]
    assert "Handling webdataset error" not in said, said[-4000:]
    assert (tmp_path / "logs" / "run" / "checkpoints" / "epoch_2.pt").is_file()
    (results,) = list((tmp_path / "logs" / "run" / "checkpoints").glob("results.jsonl"))
    assert json.loads(results.read_text().splitlines()[-1])["num_samples"] == options["val-num-samples"]


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has Hugging Face's `datasets` beside all that ours has."""
    folder = tmp_path_factory.mktemp("hugging-face") / "venv"
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = folder / "lib" / version / "site-packages" / "borrowed.pth"
    borrowed.write_text(sysconfig.get_paths()["purelib"] + "\n")
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", *HUGGING_FACE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{', '.join(HUGGING_FACE)} can't be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


def test_hugging_face_datasets_loads_them(dataset: Path, hugging_face: Path, tmp_path: Path) -> None:
    files = {split: shards(dataset, split) for split in ("train", "val", "test")}
    done = subprocess.run(
        [str(hugging_face), "-c", LOADER, json.dumps(files), str(tmp_path)],
        env=surroundings({"HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    *found, streamed = json.loads(done.stdout.splitlines()[-1])
    rows = rows_of(dataset)
    assert streamed == sorted(rows) and {row["key"] for row in found} == set(rows)
    for row in found:
        ours = rows[row["key"]]
        assert (row["split"], row["license"], row["size"]) == (ours["split"], ours["license"], [40, 30])
        assert row["texts"] == [text["text"] for text in ours["texts"]] and row["text"] == row["texts"][0]


def test_mlcroissant_loads_ten_records(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The library keeps extracted tars by their relative name only; another data set's must not be taken for ours.
    from mlcroissant._src.operation_graph.operations import extract

    monkeypatch.setattr(extract, "EXTRACT_PATH", epath.Path(tmp_path / "extracted"))
    described = mlc.Dataset(jsonld=str(dataset / "croissant.json"))
    rows = rows_of(dataset)
    for record_set in ("samples", "images"):
        records = [record for record, _ in zip(described.records(record_set), range(10), strict=False)]
        assert len(records) == 10 and {record[f"{record_set}/key"].decode() for record in records} <= set(rows)
