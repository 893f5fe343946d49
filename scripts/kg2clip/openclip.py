"""Models by name: a folder, a repository of Hugging Face's hub, or one of open_clip's own tags.

Nothing is downloaded unless the user says HF_HUB_OFFLINE=0.
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath

import open_clip
from huggingface_hub import constants, try_to_load_from_cache

import kg2clip.device  # noqa: F401  (keeps open_clip offline: must be read before it)
from kg2clip.errors import UserError

HUB, FOLDER = "hf-hub:", "local-dir:"
CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt")  # weights in Python's pickle, which may run a stranger's code


def resolve(name: str) -> tuple[str, str | None]:
    """What open_clip's factory wants to be told: a model's name, and the tag of its weights where it has one.

    Args:
        name: a folder (models/main), `hf-hub:imageomics/bioclip`, or an architecture with a tag (`ViT-B-32/openai`).

    Raises:
        UserError: there is no such model, or it is not on this machine and nothing may be fetched.
    """
    path = Path(name.removeprefix(FOLDER))
    if path.is_dir():
        if not (path / WEIGHTS).is_file():  # open_clip would go on with random weights, or unpickle what is there
            raise UserError(f"{path} holds no weights ({WEIGHTS}){_pickled(path)}")
        return f"{FOLDER}{path}", None
    if name.startswith(HUB):
        repository = name.removeprefix(HUB)
        _require(name, repository, [CONFIG])
        _require(name, repository, [WEIGHTS])
        return name, None
    architecture, slash, tag = name.rpartition("/")
    if not slash or architecture not in open_clip.list_models():
        raise UserError(f"{name} is no model: it is neither a folder nor hf-hub:OWNER/NAME nor, as {_advice(name)}")
    config = open_clip.get_pretrained_cfg(architecture, tag)
    if not config:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise UserError(f"{name} is no model: open_clip has no weights {tag} of {architecture}; it has: {known}")
    # OWNER/NAME/ or OWNER/NAME/file, of which open_clip takes a safetensors of the same or the usual name first.
    # Without one it would fetch a pickle from an address, which HF_HUB_OFFLINE does not forbid.
    repository, _, file = str(config.get("hf_hub") or "").rpartition("/")
    _require(name, repository, [WEIGHTS, str(PurePosixPath(file or WEIGHTS).with_suffix(".safetensors"))])
    return architecture, tag


def _pickled(folder: Path) -> str:
    """What to do with a folder without safe weights."""
    if found := next((file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLED), None):
        return (
            f", only a pickle ({found}), which could run code of whoever made it and is not read. Ask for safetensors, "
            "or fetch the model with scripts/fetch_model.py, which reads nothing but numbers and writes safetensors"
        )
    return "; train the model again, or name another folder"


def _require(name: str, repository: str, files: list[str]) -> None:
    if not constants.HF_HUB_OFFLINE:
        return
    if not repository or not any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        folder = "models/" + (repository.rpartition("/")[2] if name.startswith(HUB) else name.replace("/", "-"))
        raise UserError(
            f"{name} is not on this machine as safetensors, and a run fetches no model by itself. Where there is "
            f"internet, type: python scripts/fetch_model.py {name} {folder}; then write {folder} in place of {name}"
        )


def _advice(name: str) -> str:
    known = [f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"{(close or ['ViT-B-32/openai'])[0]}, one of open_clip's"
