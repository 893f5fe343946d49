"""Train a CLIP model on a dataset.

In: dataset/manifest.parquet with its shards beside it, and an experiment of the config (its recipe and its own keys).
Out: models/{experiment}/ with open_clip_config.json and open_clip_model.safetensors (open_clip loads the folder as
`local-dir:`), README.md (the model card) and metrics.json. Undeclared beside them: checkpoints/, from which the same
command goes on in mid-epoch, and the running log training.jsonl.
"""

from __future__ import annotations

import argparse
import logging
import platform
from pathlib import Path

from kg2clip import device, provenance, settings
from kg2clip.errors import UserError, run_program
from kg2clip.files import only_writer, sha256_file, write_json, write_text
from kg2clip.train import card, loop, model
from kg2clip.train import recipe as recipes
from kg2clip.train.checkpoints import Checkpoints
from kg2clip.train.data import Pieces, Samples

SECTIONS = ("seed", "train.experiments", "train.recipe_version")
PACKAGES = ("torch", "open_clip_torch", "simplejpeg", "opencv-python-headless", "numpy", "safetensors")

log = logging.getLogger(__name__)


def main() -> None:
    """Read the arguments, train, and write the model folder."""
    arguments = parse_arguments()
    config = settings.load(arguments.config)
    recipe = recipes.load(config, arguments.experiment)
    threads = device.use_threads(arguments.threads)
    train = config["train"]
    machine = loop.Machine(device.select(train["device"]), train["workers"], train["checkpoint_seconds"])
    with only_writer(arguments.output):
        samples = Samples(arguments.dataset)
        if recipe.batch_size > len(samples) and recipe.steps != 0:
            raise UserError(
                f"batch_size is {recipe.batch_size}, but the dataset holds {len(samples)} pictures; "
                f"put batch_size: {len(samples)} (or less) under train.experiments.{arguments.experiment}"
            )
        data_hash = sha256_file(arguments.dataset)[:20]
        hashes = {"dataHash": data_hash, "recipeHash": recipe.hash(config, arguments.experiment)}
        seed = recipes.seed(config, arguments.experiment)
        run = loop.Run(recipe, seed, len(samples), machine)
        log.info(
            "%s: %d steps of %d pairs over %d pictures, on %s with %d threads",
            arguments.experiment,
            run.steps,
            recipe.batch_size,
            len(samples),
            machine.device,
            threads,
        )
        checkpoints = Checkpoints(arguments.output / "checkpoints", hashes["dataHash"], hashes["recipeHash"])
        run.train(Pieces(samples, recipe, seed), checkpoints, arguments.output / "training.jsonl")
        write_model(arguments.output, arguments.experiment, run, samples, hashes, machine, threads)
    seen = run.steps * recipe.batch_size
    counts = {"pictures": len(samples), "steps": run.steps, "samplesSeen": seen, "licenses": samples.licenses}
    provenance.write(
        arguments.provenance,
        "train_model",
        config,
        SECTIONS,
        counts,
        PACKAGES,
        experiment=arguments.experiment,
        threads=threads,
        device=str(machine.device),
        **hashes,
    )


def write_model(
    folder: Path,
    experiment: str,
    run: loop.Run,
    samples: Samples,
    hashes: dict[str, str],
    machine: loop.Machine,
    threads: int,
) -> None:
    """Write the declared outputs of a finished run."""
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    model.export(run.model, run.recipe, folder)
    hashes = {**hashes, "weightsSHA256": sha256_file(folder / model.WEIGHTS)}
    facts = card.metrics(
        experiment,
        run.recipe,
        run.steps,
        len(samples),
        parameters,
        model.flops_per_pair(run.recipe),
        run.seconds,
        run.history,
        hashes,
    )
    where = f"{machine.device} ({platform.machine()}, {threads} threads)"
    write_text(folder / "README.md", card.model_card(facts, run.recipe, where, samples.licenses, samples.sources))
    write_json(folder / "metrics.json", facts)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE", help="dataset/manifest.parquet")
    parser.add_argument("--experiment", required=True, metavar="NAME", help="one of the config's train.experiments")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="models/NAME")
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance of this step (JSON)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to compute with (default: all)")
    settings.add_config_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
