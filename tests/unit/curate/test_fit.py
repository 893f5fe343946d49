"""The fit of pictures to their names: the cosine that the user's model gives, and the worst of each entity dropped."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import open_clip
import pandas as pd
import pytest
import torch
from harvests import Harvest
from PIL import Image
from textures import encoded, texture
from unit.train.cases import export_model

from kg2clip import tables, tars
from kg2clip.curate.decisions import _drop_misfits
from kg2clip.device import quiet

NAMES = {"wd:Q1": ("Apis mellifera", "honey bee"), "wd:Q2": ("Bombus terrestris", None)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return export_model(tmp_path / "model")


@pytest.fixture
def decoded(harvest: Harvest, model: Path) -> Harvest:
    harvest.pictures = {f"p{number}": encoded(texture(number, 90, 60)) for number in range(4)}
    harvest.said = {"p0": {"entityIDs": ["wd:Q1"]}, "p1": {"entityIDs": ["wd:Q2"]}, "p2": {"entityIDs": [*NAMES]}}
    harvest.config = {"curate": {"fit_model": f"local-dir:{model}", "min_side": 32, "fit_worst": 0.5}}
    harvest.write()
    rows = [{"entityID": key, "scientificName": one, "vernacularName": other} for key, (one, other) in NAMES.items()]
    tables.write(rows, tables.ENTITIES, harvest.entities)
    assert harvest.decode().returncode == 0
    return harvest


def fitted(harvest: Harvest) -> Any:
    return harvest.run(
        "fit_pictures", "--features", harvest.features, "--candidates", harvest.folder / "search" / "candidates.parquet",
        "--entities", harvest.entities, "--output", harvest.folder / "curate" / "web-000.fit.parquet", "--threads", 1,
    )  # fmt: skip


def test_the_fit_is_the_best_cosine_with_a_name(decoded: Harvest, model: Path) -> None:
    done = fitted(decoded)
    assert done.returncode == 0, done.stderr
    table = decoded.folder / "curate" / "web-000.fit.parquet"
    found = {key: row["fit"] for key, row in decoded.rows(table).items()}
    assert found.keys() == decoded.pictures.keys() and found["p3"] is None
    with quiet():
        loaded, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{model}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{model}")
    row = decoded.rows(decoded.features)["p2"]
    jpeg = tars.read_at(decoded.features.parent / row["tar"], row["offset"], row["size"])
    with torch.inference_mode(), Image.open(io.BytesIO(jpeg)) as image:
        seen = loaded.eval().encode_image(preprocess(image)[None], normalize=True)
        prompts = [f"a photo of {name}." for names in NAMES.values() for name in names if name]
        cosines = seen @ loaded.encode_text(tokenizer(prompts), normalize=True).T
    assert found["p2"] == pytest.approx(float(cosines.max()), abs=1e-5)

    assert decoded.decide("--fits", table).returncode == 0
    rows = decoded.rows(decoded.decisions)
    assert {key: row["fit"] for key, row in rows.items() if key != "p3"} == {
        key: pytest.approx(fit) for key, fit in found.items() if key != "p3"
    }
    assert sum(row["reason"] == "misfit" for row in rows.values()) <= 2 and rows["p3"]["kept"]


def test_no_model_and_a_wrong_one_are_told(decoded: Harvest) -> None:
    for name, message in (("", "names no model"), ("local-dir:/nowhere", "can't be loaded")):
        decoded.config = {"curate": {"fit_model": name}}
        decoded.write()
        done = fitted(decoded)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def dropped(fits: dict[str, tuple[float, list[str] | None]], worst: float) -> set[str]:
    rows = pd.DataFrame.from_dict(fits, orient="index", columns=["fit", "entityIDs"]).assign(stage=None, reason=None)
    _drop_misfits(rows, worst)
    return set(rows.index[rows["reason"] == "misfit"])


def test_the_worst_of_each_entity_are_dropped() -> None:
    fits: dict[str, Any] = {f"a{place}": (place / 10, ["wd:Q1"]) for place in range(10)}
    fits |= {f"b{place}": (place, ["wd:Q2"]) for place in range(3)}
    fits |= {"none": (float("nan"), ["wd:Q1"]), "nameless": (0.0, None)}
    assert dropped(fits, 0.2) == {"a0", "a1"}  # of three pictures a fifth is none
    assert dropped(fits, 0.0) == set()
    fits["a0"] = (0.0, ["wd:Q1", "wd:Q2"])
    fits["b9"] = (-1.0, ["wd:Q2"])
    assert dropped(fits, 0.3) == {"a1", "a2", "b9"}, "what fits one of its entities stays"
