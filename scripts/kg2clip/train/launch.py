"""Several processes, one a GPU, on one machine or on all that Slurm gave: torchrun, with our exit statuses."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from kg2clip.errors import IncompleteError

SAVING_SECONDS = 600  # how long the processes may take to save after a signal


def launch(processes: int, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Run a Python program in several processes and exit as they did.

    Under `srun` on several nodes each node's launcher finds the others by the variables of Slurm.

    Args:
        processes: on this machine.
        command: the program and its arguments.
        environment: of this process.
    """
    nodes = int(environment.get("SLURM_STEP_NUM_NODES", 1))
    host, job = environment.get("SLURM_LAUNCH_NODE_IPADDR", "localhost"), int(environment.get("SLURM_JOB_ID", 0))
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=f"kg2clip-{job}",
        rdzv_backend="c10d",
        rdzv_endpoint=f"{host}:{20000 + job % 20000}" if nodes > 1 else "localhost:0",
        max_restarts=0,
        shutdown_timeout=SAVING_SECONDS,
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGUSR1",
    )
    logging.disable()  # what went wrong is said by the processes themselves
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        statuses = [failure.exitcode for failure in error.failures.values()]
        sys.exit(max(1, *statuses))  # below 0: killed by a signal
    except SignalException:
        sys.exit(IncompleteError.exit_status)
    sys.exit(0)
