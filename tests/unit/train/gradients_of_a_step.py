"""The loss and gradients of one step for some recipes: by itself, or as one of torchrun's processes.

python gradients_of_a_step.py DATASET OUTPUT CHANGES, with CHANGES a list of experiments' own keys in JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from unit.train.cases import make_config

from kg2clip.train import loop
from kg2clip.train import recipe as recipes
from kg2clip.train.data import Pieces, Samples, batches
from kg2clip.train.world import ALONE, World, from_environment, joined


def gradients(dataset: Path, world: World = ALONE, **changes: Any) -> dict[str, torch.Tensor]:
    """The gradients of the second step's batch by name, the loss as `loss`, the share of equal captions as `repeated`."""
    recipe = recipes.load(make_config(batch_size=12, **changes), "tiny")
    samples = Samples(dataset, recipe)
    run = loop.Run(recipe, 1, len(samples), loop.Machine(torch.device("cpu"), 0, 1000), world)
    (batch,) = batches(Pieces(samples, recipe, 1), recipe.batch_size, 1, 2, 0, False, world)
    loss, repeated = run._gradients.add(batch, 1)
    found = {name: weights.grad for name, weights in run.model.named_parameters() if weights.grad is not None}
    return {"loss": loss, "repeated": repeated, **found}


def main() -> None:
    """All recipes in one go, since torch takes seconds to import."""
    dataset, output, changes = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    world = from_environment()
    torch.set_num_threads(1)
    with joined(world, torch.device("cpu")):
        found = [gradients(dataset, world, **each) for each in changes]
    torch.save(found, output / f"{world.rank}.pt")


if __name__ == "__main__":
    main()
