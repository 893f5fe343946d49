"""The processes of a run: one alone, or those that torchrun started, one a GPU, which share every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from kg2clip.errors import UserError
from kg2clip.processes import be_killed_with_parent

FINE, STOP, FAILED = range(3)


@dataclass(frozen=True)
class World:
    """Where this process stands among those that train together.

    Attributes:
        rank: its number, from 0, over all machines.
        size: how many there are.
        local_rank: its number on its own machine: the GPU that it takes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def gather(self, own: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, this one's among them; gradients flow back to the process whose rows they are.

        Args:
            own: [n, ...], equally many rows in each process.

        Returns:
            [size * n, ...], in the order of ranks.
        """
        return own if self.size == 1 else _Gather.apply(own, self)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over the processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values

    def total(self, value: float) -> float:
        """The sum of a number over the processes."""
        if self.size == 1:
            return value
        numbers = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(numbers)
        return numbers.item()

    def agree(self, stop: str | None, failure: str | None) -> str | None:
        """Let all processes know of one's signal or mistake, so that none waits for another that has gone.

        Args:
            stop: the name of a signal that came.
            failure: a user's mistake that this process met (a torn shard).

        Returns:
            The name of a signal that came to any of the processes.

        Raises:
            UserError: one of them met a mistake; the same message in all.
        """
        if self.size > 1:
            state = torch.tensor(FAILED if failure else STOP if stop else FINE)
            distributed.all_reduce(state, distributed.ReduceOp.MAX)
            if state.item() == FINE:
                return None
            said: list[Any] = [None] * self.size
            distributed.all_gather_object(said, (stop, failure))
            stop, failure = (next((each[part] for each in said if each[part]), None) for part in (0, 1))
        if failure:
            raise UserError(failure)
        return stop

    def check_equal(self, value: int, what: str) -> None:
        """Make sure that all processes begin alike.

        Raises:
            UserError: they have different values.
        """
        if self.size > 1:
            values: list[Any] = [None] * self.size
            distributed.all_gather_object(values, value)
            if len(set(values)) > 1:
                raise UserError(f"the processes of this training see different {what}: {values}. Run it again")


ALONE = World()


class _Gather(torch.autograd.Function):
    """All rows forwards; backwards the sum of what each process's loss says of this process's rows."""

    @staticmethod
    def forward(context: Any, own: torch.Tensor, world: World) -> torch.Tensor:  # type: ignore[override]
        context.rows = slice(world.rank * len(own), (world.rank + 1) * len(own))
        everything = own.new_empty(world.size * len(own), *own.shape[1:])
        distributed.all_gather_single(everything, own.contiguous())
        return everything

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient[context.rows], None


def from_environment() -> World:
    """This process's place as torchrun wrote it into the environment; alone where it did not."""
    return World(*(int(os.environ.get(name, default)) for name, default in _VARIABLES))


_VARIABLES = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[None]:
    """Connect the processes: NCCL between GPUs, gloo for what is on the CPU."""
    if world.size == 1:
        yield
        return
    be_killed_with_parent()  # it may hold the folder's lock
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
