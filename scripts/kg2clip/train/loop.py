"""The training loop: steps, logging, checkpoints by time and on a signal, resumption in mid-epoch."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from kg2clip.errors import IncompleteError, UserError
from kg2clip.files import write_text
from kg2clip.progress import Progress
from kg2clip.train import model as models
from kg2clip.train.checkpoints import Checkpoints
from kg2clip.train.data import Batch, Pieces, batches
from kg2clip.train.loss import CaptionAwareClipLoss
from kg2clip.train.recipe import Recipe

log = logging.getLogger(__name__)

LOG_EVERY_STEPS = 10  # reading a loss makes a GPU wait, so it is not done at each step
MAX_LOGIT_SCALE = math.log(100)  # as in CLIP: larger scales make training unstable (arXiv 2103.00020, 2.5)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # Slurm sends them before the time is up


@dataclass(frozen=True)
class Machine:
    """What the run is computed with; nothing of it changes which samples a step sees."""

    device: torch.device
    workers: int
    checkpoint_seconds: float


@dataclass
class Pending:
    """Figures of the steps since the last line of the log."""

    losses: list[float] = field(default_factory=list)
    repeated: list[float] = field(
        default_factory=list
    )  # share of pairs whose caption stands in the batch twice or more
    seconds: float = 0.0
    waited: float = 0.0  # of these, for data


class Run:
    """One training run, from its first step or from its last checkpoint."""

    def __init__(self, recipe: Recipe, seed: int, pictures: int, machine: Machine) -> None:
        """Make the model and its optimiser; equal seeds give equal weights."""
        self.recipe, self._machine = recipe, machine
        self.steps, self._warmup = recipe.total_steps(pictures), recipe.warmup(pictures)
        self._pictures = pictures
        torch.manual_seed(seed)
        self.model = models.create(recipe).to(machine.device)
        self.model.set_grad_checkpointing(recipe.grad_checkpointing)
        groups, (beta1, beta2) = models.weight_groups(self.model, recipe.weight_decay), recipe.betas
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(beta1, beta2), eps=recipe.eps, fused=True)
        self._loss = CaptionAwareClipLoss()
        self._mean = _pixel_values(recipe.image_mean, machine.device)
        self._deviation = _pixel_values(recipe.image_std, machine.device)
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self._pending = Pending()
        self._recent: list[torch.Tensor] = []

    def train(self, pieces: Pieces, checkpoints: Checkpoints, log_file: Path) -> None:
        """Train to the last step, going on from the newest checkpoint; save by time, on a signal and at the end.

        Raises:
            UserError: a shard is torn, or the loss is no number any more.
            IncompleteError: a signal stopped the run; what it has reached is kept.
        """
        if state := checkpoints.load(self._machine.device):
            self._restore(state)
        write_text(log_file, "".join(_line(entry) for entry in self.history))
        if self.step == self.steps:
            return
        machine = self._machine
        pin = machine.device.type == "cuda"
        stream = batches(pieces, self.recipe.batch_size, self.step, self.steps, machine.workers, pin)
        self.model.train()
        saved = time.monotonic()
        bar = Progress(total=self.steps, initial=self.step, desc="training", unit="steps")
        with _stop_signals() as received, closing(stream), bar, log_file.open("a", encoding="utf-8") as lines:
            while self.step < self.steps:
                self._advance(stream, checkpoints)
                bar.update()
                if self.step % LOG_EVERY_STEPS == 0 or self.step == self.steps:
                    self._log(lines, bar, checkpoints)
                due = time.monotonic() - saved >= machine.checkpoint_seconds
                if due or received or self.step == self.steps:
                    self._read_losses(checkpoints)
                    path = checkpoints.save(self.step, self._state())
                    saved = time.monotonic()
                    if received and self.step < self.steps:
                        where = f"after step {self.step} of {self.steps}"
                        raise IncompleteError(
                            f"training was stopped by {received[0]} {where}; the same command goes on from {path}"
                        )

    def _advance(self, stream: Generator[Batch, None, None], checkpoints: Checkpoints) -> None:
        started = time.monotonic()
        batch = next(stream)
        waited = time.monotonic() - started
        self._set_learning_rate()
        self._recent.append(self._step(batch))
        self.step += 1
        if self._machine.device.type == "cpu":  # no wait is spared by looking later
            self._read_losses(checkpoints)
        spent = time.monotonic() - started
        self.seconds += spent
        self._pending.seconds += spent
        self._pending.waited += waited
        self._pending.repeated.append(_repeated(batch.captions))

    def _step(self, batch: Batch) -> torch.Tensor:
        device = self._machine.device
        images, tokens, captions = (tensor.to(device, non_blocking=True) for tensor in batch)
        if not self.recipe.caption_aware:
            captions = torch.arange(len(captions), device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            pixels = (images.float() - self._mean) / self._deviation
            image_features = self.model.encode_image(pixels, normalize=True)
            text_features = self.model.encode_text(tokens, normalize=True)
        scale = self.model.logit_scale.exp()
        loss: torch.Tensor = self._loss(image_features.float(), text_features.float(), scale, captions)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.grad_clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.grad_clip_norm)
        self._optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        return loss.detach()

    def _set_learning_rate(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, self._warmup, self.recipe.lr)

    def _read_losses(self, checkpoints: Checkpoints) -> None:
        losses = [loss.item() for loss in self._recent]
        for number, loss in enumerate(losses, start=self.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise UserError(
                    f"the loss of step {number} is {loss}; the last good checkpoint: {checkpoints.last()}. "
                    "Lower lr, or lengthen the warm-up"
                )
        self._pending.losses += losses
        self._recent = []

    def _log(self, lines: Any, bar: Any, checkpoints: Checkpoints) -> None:
        self._read_losses(checkpoints)
        pending, self._pending = self._pending, Pending()
        steps = len(pending.losses)
        entry = {
            "step": self.step,
            "epoch": round(self.step * self.recipe.batch_size / self._pictures, 4),
            "loss": sum(pending.losses) / steps,
            "lr": float(self._optimizer.param_groups[0]["lr"]),
            "logitScale": self.model.logit_scale.exp().item(),
            "repeatedCaptions": sum(pending.repeated) / steps,
            "imagesPerSecond": round(steps * self.recipe.batch_size / pending.seconds, 1),
            "dataWaitShare": round(pending.waited / pending.seconds, 4),
        }
        self.history.append(entry)
        lines.write(_line(entry))
        lines.flush()
        bar.set_postfix_str(f"loss {entry['loss']:.3f}", refresh=False)

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "randomCuda": torch.cuda.get_rng_state_all() if self._machine.device.type == "cuda" else [],
            "seconds": self.seconds,
            "history": self.history,
            "pending": vars(self._pending),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        if state["randomCuda"]:
            torch.cuda.set_rng_state_all([each.cpu() for each in state["randomCuda"]])
        self._pending = Pending(**state["pending"])


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """The learning rate of a step (from 0): linear rise over `warmup` steps, then half a cosine down to 0.

    As in open_clip's cosine schedule: the first step already learns (peak / warmup).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


@contextmanager
def _stop_signals() -> Iterator[list[str]]:
    """Collect the names of stop signals instead of dying in mid-step."""
    received: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number).name)

    previous = {each: signal.signal(each, note) for each in STOP_SIGNALS}
    try:
        yield received
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _pixel_values(shares: list[float], device: torch.device) -> torch.Tensor:
    return 255 * torch.tensor(shares, device=device).view(1, 3, 1, 1)


def _repeated(captions: torch.Tensor) -> float:
    _, counts = torch.unique(captions, return_counts=True)
    return int(counts[counts > 1].sum()) / len(captions)


def _line(entry: dict[str, float]) -> str:
    return json.dumps(entry) + "\n"
