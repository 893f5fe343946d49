"""Train a CLIP model on a dataset.

In: dataset/manifest.parquet with its shards beside it, and an experiment of the config (its recipe and its own keys).
Out: models/{experiment}/ with open_clip_config.json and open_clip_model.safetensors (open_clip loads the folder as
`local-dir:`) and metrics.json. Undeclared beside them: checkpoints/, from which the same command goes on in mid-epoch,
and the running log training.jsonl with tensorboard/.

With --processes it starts itself that many times, one a GPU, as `torchrun --nproc-per-node N train_model.py ...` does.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch

from kg2clip import device, provenance, settings
from kg2clip.errors import UserError, run_program
from kg2clip.files import only_writer, sha256_file, write_json
from kg2clip.identifiers import stable_hash
from kg2clip.train import loop, model
from kg2clip.train import recipe as recipes
from kg2clip.train.checkpoints import Checkpoints
from kg2clip.train.data import Pieces, Samples
from kg2clip.train.metrics import metrics
from kg2clip.train.world import World, from_environment, joined

SECTIONS = ("seed", "train.experiments", "train.recipe_version")
PACKAGES = ("torch", "open_clip_torch", "simplejpeg", "opencv-python-headless", "numpy", "safetensors")

log = logging.getLogger(__name__)


def main() -> None:
    """Read the arguments, and train in this process or in several."""
    arguments = parse_arguments()
    world = from_environment()
    if arguments.processes > 1 and world.size == 1:
        from kg2clip.train.launch import launch  # half a second to import

        launch(arguments.processes, sys.argv, os.environ)
    if world.is_first:
        with only_writer(arguments.output):
            train(arguments, world)
        return
    logging.disable()  # the first speaks for all
    try:
        train(arguments, world)
    except UserError as error:
        sys.exit(error.exit_status)


def train(arguments: argparse.Namespace, world: World) -> None:
    """Train, and write the model folder."""
    config = settings.load(arguments.config)
    wanted = recipes.load(config, arguments.experiment)
    seed, recipe_hash = recipes.seed(config, arguments.experiment), wanted.hash(config, arguments.experiment)
    threads = device.use_threads(arguments.threads)
    machine = the_machine(config["train"], world)
    samples = Samples(arguments.dataset, wanted)
    recipe = fit(wanted, arguments.experiment, len(samples), world)
    start = recipe.start(arguments.output.parent)
    hashes = {"dataHash": sha256_file(arguments.dataset)[:20], "recipeHash": recipe_hash}
    if start:
        hashes["startHash"] = start_hash(start)
    with joined(world, machine.device):
        run = loop.Run(recipe, seed, len(samples), machine, world, start)
        log.info(
            "%s: %d steps of %d pairs over %d pictures, on %s with %d processes of %d threads",
            arguments.experiment,
            run.steps,
            recipe.batch_size,
            len(samples),
            machine.device,
            world.size,
            threads,
        )
        identity = stable_hash(recipe_hash, hashes["startHash"]) if start else recipe_hash
        checkpoints = Checkpoints(arguments.output / "checkpoints", hashes["dataHash"], identity)
        run.train(Pieces(samples, recipe, seed), checkpoints, arguments.output)
    if world.is_first:
        write_model(arguments, run, samples, hashes, config, threads)


def the_machine(train: dict[str, Any], world: World) -> loop.Machine:
    """What this process computes with.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    chosen = device.select(train["device"])
    if chosen.type == "cuda":
        if (found := torch.cuda.device_count()) <= world.local_rank:
            raise UserError(f"{world.local_rank + 1} GPUs are wanted here, and torch finds {found}")
        chosen = torch.device("cuda", world.local_rank)
    return loop.Machine(
        chosen,
        train["workers"],
        train["checkpoint_seconds"],
        train["tensorboard"],
        train["wandb"],
        loop.deadline(os.environ),
    )


def fit(recipe: recipes.Recipe, experiment: str, pictures: int, world: World) -> recipes.Recipe:
    """The recipe with a batch that the dataset is large enough for, and that the processes share evenly.

    Raises:
        UserError: they can't.
    """
    fitted = recipe.fitted(pictures)
    if fitted.batch_size < recipe.batch_size and recipe.steps != 0:
        log.warning(
            "NOTE: the recipe's batches of %d pairs are too large for %d pictures and become %d pairs. "
            "Fresh weights learn little from so few: start from a public model (recipe: finetune, docs/extending.md)",
            recipe.batch_size,
            pictures,
            fitted.batch_size,
        )
    if rest := fitted.batch_size % world.size:
        most = max(world.size, fitted.batch_size - rest)
        raise UserError(
            f"batches of {fitted.batch_size} pairs can't be shared evenly by {world.size} GPUs; put batch_size: {most} "
            f"under train.experiments.{experiment}, or give it fewer GPUs"
        )
    return fitted


def start_hash(folder: Path) -> str:
    """The hash of the weights that training starts from.

    Raises:
        NoStartError: there are none.
    """
    try:
        return sha256_file(folder / recipes.WEIGHTS)[:20]
    except FileNotFoundError:
        raise recipes.NoStartError(folder) from None


def write_model(
    arguments: argparse.Namespace,
    run: loop.Run,
    samples: Samples,
    hashes: dict[str, str],
    config: settings.Settings,
    threads: int,
) -> None:
    """Write the declared outputs of a finished run."""
    folder, experiment, where = arguments.output, arguments.experiment, run.machine.device
    model.export(run.model, run.recipe, folder)
    hashes = {**hashes, "weightsSHA256": sha256_file(folder / recipes.WEIGHTS)}
    write_json(folder / "metrics.json", metrics(experiment, run, samples, hashes, threads))
    seen = run.steps * run.recipe.batch_size
    counts = {"pictures": len(samples), "steps": run.steps, "samplesSeen": seen, "licenses": samples.licenses}
    provenance.write(
        arguments.provenance,
        "train_model",
        config,
        SECTIONS,
        counts,
        PACKAGES,
        experiment=experiment,
        threads=threads,
        processes=run.world.size,
        device=str(where),
        **hashes,
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE", help="dataset/manifest.parquet")
    parser.add_argument("--experiment", required=True, metavar="NAME", help="one of the config's train.experiments")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="models/NAME")
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance of this step (JSON)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores of each process (default: all)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="processes, one a GPU (default: 1)")
    settings.add_config_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
