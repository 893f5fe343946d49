"""Fetch a public CLIP model once, as a folder that training can start from and that open_clip loads without internet.

In: a name that open_clip knows: hf-hub:ORGANISATION/MODEL of the Hugging Face Hub, ARCHITECTURE/TAG of open_clip's own
list (ViT-B-16/laion2b_s34b_b88k), or local-dir:FOLDER.
Out: FOLDER with open_clip_config.json and open_clip_model.safetensors. Then write in the config, for example:
train: {experiments: {main: {recipe: finetune, pretrained: "local-dir:models/bioclip"}}}

python scripts/fetch_model.py hf-hub:imageomics/bioclip models/bioclip

Run it where there is internet (on a cluster, the login node); training itself asks nobody. Mind the model's licence.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "0"  # read when open_clip is imported: here the internet is wanted

import open_clip
from safetensors.torch import save_model

from kg2clip.errors import UserError, run_program
from kg2clip.files import atomic_path, write_json
from kg2clip.train.recipe import CONFIG, WEIGHTS

log = logging.getLogger(__name__)


def main() -> None:
    """Read the arguments, fetch, write the folder."""
    arguments = parse_arguments()
    fetch(arguments.name, arguments.folder)
    log.info("wrote %s; to start from it: pretrained: local-dir:%s", arguments.folder, arguments.folder)


def fetch(name: str, folder: Path) -> None:
    """Write the model that open_clip loads for `name` as a folder.

    Raises:
        UserError: there is no such model, or it can't be fetched.
    """
    architecture, _, tag = (name, "", None) if ":" in name else name.partition("/")
    if tag is not None and tag not in open_clip.list_pretrained_tags_by_model(architecture):
        known = open_clip.list_pretrained_tags_by_model(architecture) or open_clip.list_models()
        raise UserError(f"open_clip has no weights {name}; it knows: {', '.join(known)}")
    try:
        model, _, _ = open_clip.create_model_and_transforms(architecture, pretrained=tag, weights_only=True)
        config = open_clip.get_model_config(architecture)
    except Exception as error:  # of a dozen kinds: the hub's, requests', open_clip's own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{name} can't be fetched: {reason}") from None
    preprocess: dict[str, Any] = dict(model.visual.preprocess_cfg)
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": preprocess})
    with atomic_path(folder / WEIGHTS) as temporary:
        save_model(model, str(temporary))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="hf-hub:ORGANISATION/MODEL, ARCHITECTURE/TAG or local-dir:FOLDER")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to keep it, as in models/bioclip")
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
