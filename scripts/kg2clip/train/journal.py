"""The running log of training: lines of JSON, TensorBoard's files, and Weights & Biases where it is wanted."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kg2clip.errors import UserError
from kg2clip.files import write_text

Entry = dict[str, float | None]


class Journal:
    """Takes the figures of some steps at a time; a resumed run's journal goes on where its checkpoint stands."""

    def __init__(self, folder: Path, history: Sequence[Entry], tensorboard: bool = False, wandb: str = "") -> None:
        """Write the lines so far anew, since a killed run may have written some beyond its checkpoint.

        Args:
            folder: the model's folder, which gets training.jsonl and tensorboard/.
            history: the lines so far.
            tensorboard: whether to write TensorBoard's files.
            wandb: a project of Weights & Biases, which is on the internet; none if empty.

        Raises:
            UserError: wandb is wanted and not installed.
        """
        path = folder / "training.jsonl"
        write_text(path, "".join(_line(entry) for entry in history))
        self._lines = path.open("a", encoding="utf-8")
        self._board = _tensorboard(folder / "tensorboard") if tensorboard else None
        self._wandb = _wandb(wandb, folder) if wandb else None

    def write(self, entry: Entry) -> None:
        """Add a line."""
        self._lines.write(_line(entry))
        self._lines.flush()
        values = {key: value for key, value in entry.items() if key != "step" and value is not None}
        step = int(entry["step"] or 0)
        if self._board:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)
        if self._wandb:
            self._wandb.log(values, step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        if self._board:
            self._board.close()
        if self._wandb:
            self._wandb.finish()


def _line(entry: Mapping[str, float | None]) -> str:
    return json.dumps(entry) + "\n"


def _tensorboard(folder: Path) -> Any:
    from tensorboard.summary import Writer  # type: ignore[import-untyped]  # a second to import

    return Writer(str(folder))


def _wandb(project: str, folder: Path) -> Any:
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        raise UserError(f"train.wandb is {project}, but wandb is not installed here: pip install wandb") from None
    name = f"{folder.resolve().parent.parent.name}-{folder.name}"  # results/{project}/models/{experiment}
    # The same id in a resumed run goes on with its curves.
    return wandb.init(project=project, name=name, id=name, resume="allow", dir=str(folder))
