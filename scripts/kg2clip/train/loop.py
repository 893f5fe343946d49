"""The training loop: steps, logging, checkpoints by time and on a signal, resumption in mid-epoch."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from kg2clip.errors import IncompleteError, UserError
from kg2clip.progress import Progress
from kg2clip.train import hardware
from kg2clip.train import model as models
from kg2clip.train.checkpoints import Checkpoints
from kg2clip.train.data import Batch, Pieces, batches
from kg2clip.train.gradients import Gradients
from kg2clip.train.journal import Entry, Journal
from kg2clip.train.recipe import Recipe
from kg2clip.train.world import ALONE, World

log = logging.getLogger(__name__)

LOG_EVERY_STEPS = 10  # reading a loss makes a GPU wait, so it is not done at each step
MAX_LOGIT_SCALE = math.log(100)  # as in CLIP: larger scales make training unstable (arXiv 2103.00020, 2.5)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # Slurm sends them before the time is up
# Slurm kills 30 seconds after its signal. A large checkpoint may take longer: training ends before by itself.
SPARE_SECONDS, SPARE_SHARE = 120.0, 0.1


@dataclass(frozen=True)
class Machine:
    """What the run is computed with; nothing of it changes which samples a step sees."""

    device: torch.device
    workers: int
    checkpoint_seconds: float
    tensorboard: bool = False
    wandb: str = ""
    deadline: float | None = None  # seconds since 1970


@dataclass
class Pending:
    """Figures of the steps since the last line of the log."""

    losses: list[float] = field(default_factory=list)
    repeated: list[float] = field(default_factory=list)  # share of pairs whose caption stands in the batch again
    seconds: float = 0.0
    waited: float = 0.0  # of these, for data


class Run:
    """One training run, from its first step or from its last checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        pictures: int,
        machine: Machine,
        world: World = ALONE,
        start: Path | None = None,
    ) -> None:
        """Make the model and its optimiser; equal seeds give equal weights.

        Args:
            recipe: its values, fitted to the dataset.
            seed: of the weights, the order and all that is drawn.
            pictures: of the dataset.
            machine: what it is computed with.
            world: the processes that train together; alone by default.
            start: the folder of the model to start from, instead of fresh weights.

        Raises:
            UserError: the model can't be built, or `start` holds another one.
        """
        self.recipe, self.machine, self.world = recipe, machine, world
        self.steps, self._warmup = recipe.total_steps(pictures), recipe.warmup(pictures)
        self._pictures = pictures
        torch.manual_seed(seed)
        self.model = models.create(recipe)
        if start:
            models.load_start(self.model, start)
        self.model.to(machine.device)
        self.model.set_grad_checkpointing(recipe.grad_checkpointing)
        groups, (beta1, beta2) = models.weight_groups(self.model, recipe.weight_decay), recipe.betas
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(beta1, beta2), eps=recipe.eps, fused=True)
        self._gradients = Gradients(self.model, recipe, seed, machine.device, self.world)
        self.flops_per_pair = models.flops_per_pair(recipe)
        self._sum = {name: torch.zeros_like(value) for name, value in self._averaged()}
        self._summed_at = recipe.averaged_steps(pictures)
        self.step = 0
        self.seconds = 0.0
        self.joules: float | None = None
        self.history: list[Entry] = []
        self._pending = Pending()
        self._recent: list[torch.Tensor] = []

    def train(self, pieces: Pieces, checkpoints: Checkpoints, folder: Path) -> None:
        """Train to the last step, going on from the newest checkpoint; save by time, on a signal and at the end.

        Raises:
            UserError: a shard is torn, or the loss is no number any more.
            IncompleteError: a signal or the end of the job's time stopped the run; what it has reached is kept.
        """
        if state := checkpoints.load(self.machine.device):
            self._restore(state)
        self.world.check_equal(self.step, "checkpoints")
        with ExitStack() as stack:
            machine, journal, bar = self.machine, None, None
            if self.world.is_first:
                journal = stack.enter_context(Journal(folder, self.history, machine.tensorboard, machine.wandb))
            if self.step < self.steps:
                if self.world.is_first:
                    bar = stack.enter_context(
                        Progress(total=self.steps, initial=self.step, desc="training", unit="steps")
                    )
                self._train(pieces, checkpoints, journal, bar)
        self._take_average()

    def _train(self, pieces: Pieces, checkpoints: Checkpoints, journal: Journal | None, bar: Progress | None) -> None:
        machine, batch = self.machine, self.recipe.batch_size
        pin = machine.device.type == "cuda"
        stream = batches(pieces, batch, self.step, self.steps, machine.workers, pin, self.world)
        self.model.train()
        saved = time.monotonic()
        with _stop_signals() as received, closing(stream):
            while self.step < self.steps:
                if stop := self._advance(stream, received):
                    path = self._save(checkpoints)
                    self.world.agree(None, None)  # the others wait: torchrun ends all when one has gone
                    where = f"after step {self.step} of {self.steps}"
                    raise IncompleteError(
                        f"training was stopped by {stop} {where}; the same command goes on from {path}"
                    )
                if bar is not None:
                    bar.update()
                if self.step % LOG_EVERY_STEPS == 0 or self.step == self.steps:
                    entry = self._entry(checkpoints)
                    if journal:
                        journal.write(entry)
                    if bar is not None:
                        bar.set_postfix_str(f"loss {entry['loss']:.3f}", refresh=False)
                if time.monotonic() - saved >= machine.checkpoint_seconds or self.step == self.steps:
                    self._save(checkpoints)
                    saved = time.monotonic()

    def _advance(self, stream: Generator[Batch, None, None], received: list[str]) -> str | None:
        """One step, or what stops the run before it."""
        started = time.monotonic()
        failure = None
        try:
            batch = next(stream)
        except UserError as error:
            failure = str(error)
        waited = time.monotonic() - started
        late = self.machine.deadline is not None and time.time() >= self.machine.deadline
        if stop := self.world.agree(received[0] if received else "the end of its time" if late else None, failure):
            return stop
        self._set_learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        try:
            self._recent.append(self._gradients.add(batch, self.step))
        except torch.OutOfMemoryError:
            raise UserError(
                f"the GPU's memory is too small for {len(batch.images)} pairs at a time. Write micro_batch: "
                f"{max(1, (self.recipe.micro_batch or len(batch.images)) // 2)} and grad_checkpointing: true under "
                "train.experiments for this experiment; the result stays the same, and so does what was reached"
            ) from None
        if self.recipe.grad_clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.grad_clip_norm)
        self._optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        self.step += 1
        if self.step in self._summed_at:
            for name, value in self._averaged():
                self._sum[name] += value
        spent = time.monotonic() - started
        self.seconds += spent
        self._pending.seconds += spent
        self._pending.waited += waited
        return None

    def _set_learning_rate(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, self._warmup, self.recipe.lr)

    def _averaged(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights of which the last ones are averaged, if the recipe wants that."""
        if self.recipe.average_last > 1:
            yield from ((name, value.detach()) for name, value in self.model.named_parameters())

    def _take_average(self) -> None:
        """Put the mean of the last weights in place of the last ones."""
        for name, value in self._averaged():
            if self._summed_at:
                value.copy_(self._sum[name] / len(self._summed_at))

    def _read_losses(self, checkpoints: Checkpoints) -> None:
        if not self._recent:
            return
        losses, repeated = torch.stack(self._recent).T.tolist()
        for number, loss in enumerate(losses, start=self.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise UserError(
                    f"the loss of step {number} is {loss}; the last good checkpoint: {checkpoints.last()}. "
                    "Lower lr, or lengthen the warm-up"
                )
        self._pending.losses += losses
        self._pending.repeated += repeated
        self._recent = []

    def _entry(self, checkpoints: Checkpoints) -> Entry:
        """A line of the log, of the steps since the last one."""
        self._read_losses(checkpoints)
        pending, self._pending = self._pending, Pending()
        steps, size, device = len(pending.losses), self.world.size, self.machine.device
        pace = steps * self.recipe.batch_size / pending.seconds
        peak, watts = hardware.peak_flops(device), hardware.power(device)
        if watts is not None:
            self.joules = (self.joules or 0) + self.world.total(watts) * pending.seconds
        entry: Entry = {
            "step": self.step,
            "epoch": round(self.step * self.recipe.batch_size / self._pictures, 4),
            "loss": sum(pending.losses) / steps,
            "lr": float(self._optimizer.param_groups[0]["lr"]),
            "logitScale": self.model.logit_scale.exp().item(),
            "repeatedCaptions": sum(pending.repeated) / steps,
            "imagesPerSecond": round(pace, 1),
            "dataWaitShare": round(pending.waited / pending.seconds, 4),
            "mfu": round(self.flops_per_pair * pace / peak / size, 4) if peak else None,
            "memoryGB": round(hardware.peak_memory(device) / 1e9, 2),
        }
        self.history.append(entry)
        return entry

    def _save(self, checkpoints: Checkpoints) -> Path:
        self._read_losses(checkpoints)
        return checkpoints.save(self.step, self._state()) if self.world.is_first else checkpoints.path(self.step)

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "sum": self._sum,
            "seconds": self.seconds,
            "joules": self.joules,
            "history": self.history,
            "pending": vars(self._pending),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.step, self.seconds, self.joules = state["step"], state["seconds"], state["joules"]
        self.history, self._sum = state["history"], state["sum"]
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._pending = Pending(**state["pending"])


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """The learning rate of a step (from 0): linear rise over `warmup` steps, then half a cosine down to 0.

    As in open_clip's cosine schedule: the first step already learns (peak / warmup).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def deadline(environment: Mapping[str, str] = os.environ) -> float | None:
    """When training has to end by itself, in seconds since 1970: before Slurm ends the job. None: no time is set."""
    try:
        end = float(environment["SLURM_JOB_END_TIME"])
    except (KeyError, ValueError):
        return None
    return end - min(SPARE_SECONDS, SPARE_SHARE * max(0.0, end - time.time()))


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
