"""The paper's question in small: is a mix of alt texts and names from the graph better than either alone?

The demo's dataset (drawings of the mirror, a quarter of the alt texts wrong or useless) trains the demo's small model
for six epochs with 0, 50 and 100 % alt texts, three seeds each, everything else equal. Measured on the mirror's
held-out pictures, with one prompt that was fixed beforehand: *names*, top-1 among the common names of all species;
*attributes*, top-1 among the main colours that the species of its group have ("a yellow bird"); *retrieval*, whether
one of the first five pictures that a species' description finds shows the species. Means over the seeds with Student's
95 % interval, and the difference to the mix with Welch's. What comes out says something about this mirror and this
small model, no more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from kg2clip import settings
from kg2clip.device import quiet
from kg2clip.files import read_json, write_json
from kg2clip.mirror import rendered
from kg2clip.report.ablation import Estimate, difference, estimate

import open_clip  # isort: skip  (kg2clip keeps it off the internet)

PACKAGES = ("open_clip_torch", "torch")
ROOT, RESULTS = settings.ROOT, settings.ROOT / "results" / "bench-ablation"  # kept: a run that was stopped goes on
DATASET, BENCHMARK = "results/demo/dataset/manifest.parquet", ROOT / "results" / "demo" / "mirror" / "benchmark"
SHARES, SEEDS, EPOCHS, MIX = (0.0, 0.5, 1.0), 3, 6, 0.5
PROMPT = "a photo of a {}"
NOUNS = {
    "bees": "bee", "butterflies": "butterfly", "birds": "bird", "mammals": "mammal", "flowers": "flower",
    "mushrooms": "mushroom", "fishes": "fish", "beetles": "beetle", "dragonflies": "dragonfly",
}  # fmt: skip
FIRST_PICTURES = 5

Vectors = NDArray[np.float32]


def run(scratch: Path) -> list[dict[str, Any]]:
    """Train, measure, compare; models that stand from an earlier run are taken."""
    make_dataset()
    measured = {share: [measure(train(share, number)) for number in range(1, SEEDS + 1)] for share in SHARES}
    return [
        {"alt texts": f"{share:.0%}", "seeds": SEEDS}
        | {
            column: text
            for measure_ in measured[MIX][0]
            for column, text in (
                (measure_, told(estimate([each[measure_] for each in measured[share]]))),
                (f"{measure_} against the mix", against_the_mix(measured, share, measure_)),
            )
        }
        for share in SHARES
    ]


def against_the_mix(measured: Mapping[float, Sequence[Mapping[str, float]]], share: float, name: str) -> str:
    """The difference of a share to the mix, with its interval; empty for the mix itself."""
    if share == MIX:
        return ""
    return told(difference([each[name] for each in measured[share]], [each[name] for each in measured[MIX]]), "+.3f")


def told(found: Estimate, form: str = ".3f") -> str:
    """A value with its interval."""
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"


def make_dataset() -> None:
    """Run the demo as far as its dataset."""
    wrapper = [sys.executable, "scripts/with_mirror.py", "--config", "config/demo.yaml", "--"]
    chain = [
        "snakemake",
        DATASET,
        "--configfile",
        "config/demo.yaml",
        "--replace-workflow-config",
        "--profile",
        "local",
    ]
    subprocess.run([*wrapper, *chain, "--nolock", "--quiet", "all"], check=True, cwd=ROOT)


def train(share: float, number: int) -> Path:
    """Train one experiment of one seed, unless that is done; gives its folder."""
    name = f"alt{share:.0%}".rstrip("%") + ("" if number == 1 else f"{settings.SEED}{number}")
    folder = RESULTS / "models" / name
    config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
    recipe = {"recipe": "demo", "epochs": EPOCHS, "alt_text_share": share, "seeds": SEEDS}
    config["train"] = {"experiments": {name.split(settings.SEED)[0]: recipe}}
    file = RESULTS / f"{name}.yaml"
    write_json(file, config)
    command = ["scripts/train_model.py", "--config", str(file), "--dataset", DATASET, "--experiment", name]
    places = ["--output", str(folder), "--provenance", str(RESULTS / f"{name}.provenance.json")]
    environment = {key: value for key, value in os.environ.items() if key != settings.ENVIRONMENT}
    subprocess.run([sys.executable, *command, *places], check=True, cwd=ROOT, env=environment)
    return folder


def measure(folder: Path) -> dict[str, float]:
    """Names, attributes and retrieval of one model on the test split."""
    with quiet():
        model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()

    def embed(texts: Sequence[str]) -> Vectors:
        with torch.inference_mode():
            vectors: Vectors = model.encode_text(tokenizer(list(texts)), normalize=True).numpy()
        return vectors

    pictures, labels = test_pictures(model, preprocess)
    by_name = {one.scientific_name: one for one in rendered.species()}
    classes = [by_name[row["scientificName"]] for row in read_json(BENCHMARK / "classes.json")]
    names = embed([PROMPT.format(one.vernacular_name) for one in classes])
    found = (pictures @ embed([one.description for one in classes]).T).T  # descriptions by pictures
    first = np.argsort(-found, axis=1)[:, :FIRST_PICTURES]
    return {
        "names": float(((pictures @ names.T).argmax(1) == labels).mean()),
        "attributes": attributes(pictures, [classes[label] for label in labels], embed),
        "retrieval": float((labels[first] == np.arange(len(classes))[:, None]).any(1).mean()),
    }


def attributes(pictures: Vectors, species: Sequence[rendered.Species], embed: Any) -> float:
    """Top-1 among the main colours of each picture's group; groups of one colour ask nothing."""
    right = []
    for group in sorted({one.group for one in species}):
        shown = [number for number, one in enumerate(species) if one.group == group]
        colours = sorted({species[number].colours[0] for number in shown})
        if len(colours) > 1:
            texts = embed([PROMPT.format(f"{colour} {NOUNS[group]}") for colour in colours])
            chosen = (pictures[shown] @ texts.T).argmax(1)
            right += [
                colours[choice] == species[number].colours[0] for choice, number in zip(chosen, shown, strict=True)
            ]
    return float(np.mean(right))


def test_pictures(model: Any, preprocess: Any) -> tuple[Vectors, NDArray[np.int64]]:
    """The embedded pictures of the test split and their labels."""
    vectors, labels = [], []
    with tarfile.open(BENCHMARK / "test" / "0.tar") as tar, torch.inference_mode():
        for member in tar:
            content = tar.extractfile(member)
            assert content
            if member.name.endswith(".cls"):
                labels.append(int(content.read()))
            elif member.name.endswith(".jpg"):
                vectors.append(
                    model.encode_image(preprocess(Image.open(content)).unsqueeze(0), normalize=True)[0].numpy()
                )
    return np.stack(vectors), np.array(labels)
