"""Checkpoints: a state file, then a manifest that vouches for it. What no manifest vouches for does not exist."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from kg2clip import provenance
from kg2clip.errors import IncompleteError
from kg2clip.files import atomic_path, read_json, sha256_file, write_json

log = logging.getLogger(__name__)

KEPT = 2  # the last, and one more for the case that its bytes rot


class Checkpoints:
    """The checkpoints of one run (one dataset, one recipe) in a folder that other runs may have used before."""

    def __init__(self, folder: Path, data_hash: str, recipe_hash: str) -> None:
        """Look for the run's checkpoints in `folder`, which is made when the first is saved."""
        self._folder = folder
        self._run = {"dataHash": data_hash, "recipeHash": recipe_hash}
        self._prefix = f"{data_hash[:6]}-{recipe_hash[:6]}"

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` steps; older checkpoints beyond the last two go, those of other runs first.

        Raises:
            IncompleteError: the disk is full, or can't be written.
        """
        path = self.path(step)
        try:
            with atomic_path(path) as temporary:
                torch.save(state, temporary)
            facts = {"step": step, **self._run, "sha256": sha256_file(path), "written": provenance.now()}
            write_json(path.with_suffix(".json"), facts)
        except (OSError, RuntimeError) as error:  # torch's own writer tells a full disk as a RuntimeError
            reason = " ".join(str(error).split())[:200]
            raise IncompleteError(
                f"the checkpoint of step {step} can't be written to {path} ({reason}). Free some space; the same "
                f"command then goes on from the last good checkpoint: {self.last()}"
            ) from None
        self._prune(path)
        return path

    def path(self, step: int) -> Path:
        """Where the state after `step` steps is kept."""
        return self._folder / f"{self._prefix}-{step:08d}.pt"

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The state of the run's newest checkpoint whose bytes are as they were written, or None."""
        for path in self._newest_first():
            facts = self._facts(path)
            if facts is None or any(facts.get(key) != value for key, value in self._run.items()):
                continue
            if sha256_file(path) != facts["sha256"]:
                log.warning("checkpoint %s is damaged and is passed over", path)
                continue
            log.info("going on from step %d (%s)", facts["step"], path)
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            return state
        return None

    def last(self) -> str:
        """The newest checkpoint's path for a message, or that there is none."""
        return str(next((path for path in self._newest_first() if self._facts(path)), "none was written yet"))

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._prefix}-*.pt"), reverse=True)

    def _facts(self, path: Path) -> dict[str, Any] | None:
        try:
            facts: dict[str, Any] = read_json(path.with_suffix(".json"))
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) and {"step", "sha256"} <= facts.keys() else None

    def _prune(self, newest: Path) -> None:
        own = [path for path in self._newest_first() if self._facts(path)]  # without a manifest it is half a save
        # A checkpoint beyond the newest is of a stretch that is being run again, after damage to its bytes.
        kept = {newest, *[path for path in own if path < newest][: KEPT - 1]}
        for path in self._folder.glob("*.pt"):
            if path not in kept:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink()
        for path in self._folder.glob(".*.part"):  # half a checkpoint of a killed run
            path.unlink()
