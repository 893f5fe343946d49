"""Make a benchmark of an evaluation set that you have: nothing is downloaded.

    python scripts/prepare_benchmark.py inaturalist inat2021 benchmarks/inat2021

inaturalist: the folder with val.json and val/ (2019 or 2021; train_mini.json or train.json beside it gives dev).
cub: CUB_200_2011.
rare-species: the clone of imageomics/rare-species.
imagenet: the folder with val/ (and train/, which gives dev), or ImageNet-A, -R, -V2 or -Sketch as unpacked; each class
    in a folder of its own. imagenet-living: only its 407 animals, flowers and fungi (persons are none of them, nor are
    fruits). imagenet-other: only the other classes.
coco, flickr30k: the folder with Karpathy's dataset_coco.json or dataset_flickr30k.json and the pictures' folders.
folder: pictures of your own, a folder for each class, bearing its name.

Then name the new folder in the config under evaluate.benchmarks. Without a dev split the first set of prompts is
reported.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kg2clip.errors import run_program
from kg2clip.evaluate.prepare import PREPARERS, write


def main() -> None:
    """Read the arguments, write the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=PREPARERS, help="how the set is laid out")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the folder into which it was unpacked")
    parser.add_argument("output", type=Path, metavar="FOLDER", help="the new benchmark")
    arguments = parser.parse_args()
    counts = write(PREPARERS[arguments.set](arguments.source), arguments.output)
    print(f"{arguments.output}: {', '.join(f'{count:,} pictures for {split}' for split, count in counts.items())}")


if __name__ == "__main__":
    run_program(main)
