"""A real Slurm on this machine for the tests: one node that claims 8 CPUs, partitions `cpu` and `gpu`, two fake GPUs.

A second node without GPUs stands beside it in the partition `pair`, for training on several nodes.

Needs root and Debian's slurm-wlm and munge (make test-slurm installs them). No systemd, no accounting, no cgroups.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ETC = Path("/etc/slurm")  # the plugin's job step forgets SLURM_CONF, so the config must lie here
MARK = "# written by the tests of kg2clip\n"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
MEMORY = 128_000  # MB that the node claims: enough for profiles/slurm

CONFIG = """
ClusterName=kg2clip
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
TaskProlog={folder}/record.sh
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Memory is looked at each second; a job that takes more than it asked for is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=UsePss,OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
GresTypes=gpu
ReturnToService=2
MinJobAge=7200
KillWait=30
SchedulerParameters=bf_interval=2,sched_interval=2
SlurmdParameters=config_overrides
NodeName={host} CPUs=8 RealMemory={memory} Gres=gpu:fake:2 State=UNKNOWN
NodeName={second} NodeHostname={host} NodeAddr=127.0.0.1 Port=6828 CPUs=8 RealMemory={memory} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=1440 State=UP
PartitionName=gpu Nodes={host} MaxTime=1440 State=UP
PartitionName=pair Nodes={host},{second} MaxTime=1440 State=UP
"""
RECORD = """#!/bin/sh
echo "$SLURM_JOB_ID $SLURM_JOB_PARTITION ${{CUDA_VISIBLE_DEVICES:-none}} $(nproc)" >> {folder}/jobs.txt
"""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    absent = [program for program in PROGRAMS if not shutil.which(program, path=path)]
    if os.geteuid() or absent:
        return f"needs root and slurm-wlm, munge (missing: {', '.join(absent) or 'root'}); make test-slurm"
    config = ETC / "slurm.conf"
    if config.exists() and not config.read_text().startswith(MARK):
        return f"{config} belongs to a cluster of this machine, which the tests leave alone"
    return None


class Cluster:
    """Starts on entry, ends with all its jobs on exit."""

    def __init__(self) -> None:
        host = socket.gethostname().split(".")[0]
        self.nodes = (host, f"{host}-second")

    def __enter__(self) -> Cluster:
        self.folder = Path(tempfile.mkdtemp(prefix="kg2clip-slurm-"))
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        self._write_config()
        self._processes = [
            self._start("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
                        f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid",
                        f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed"),
        ]  # fmt: skip
        self._wait_for(lambda: (self.folder / "munge.socket").exists(), "munged")
        self._processes.append(self._start("slurmctld", "-D", "-c"))
        for node in self.nodes:
            self._processes.append(self._start("slurmd", "-D", "-N", node))
        self._wait_for(
            lambda: self.ask("sinfo", "-h", "-N", "-p", "pair", "-o", "%T").split() == ["idle"] * 2, "the nodes"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("scancel", "--full", "--user=root")
        time.sleep(2)
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *command: str) -> str:
        """What a Slurm program says; a deadlocked controller ignores SIGTERM, hence `timeout -k`."""
        done = subprocess.run(["timeout", "-k", "2", "20", *command], capture_output=True, text=True)
        return done.stdout

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs so far, with rule, wildcards, partition, CPUs, memory in MB, GPUs, state, restarts, in order of submission."""
        found = []
        for line in self.ask("scontrol", "show", "job", "--oneliner", "--details").splitlines():
            fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
            if "JobId" not in fields:
                continue
            tres = dict(part.split("=") for part in fields.get("TRES", "").split(",") if "=" in part)
            comment = re.search(r"Comment=(\S+)", line)
            found.append(
                {
                    "id": int(fields["JobId"]),
                    **_job(comment.group(1) if comment else ""),
                    "partition": fields["Partition"],
                    "state": fields["JobState"],
                    "cpus": int(tres["cpu"]),
                    "memory": _megabytes(tres["mem"]),
                    "gpus": int(fields.get("TresPerJob", ":0").rsplit(":", 1)[1]),
                    "minutes": _minutes(fields["TimeLimit"]),
                }
            )
        return sorted(found, key=lambda job: int(job["id"]))

    def recorded(self) -> dict[int, tuple[str, str]]:
        """By job: the partition and the visible GPUs that its step saw in its environment."""
        lines = (self.folder / "jobs.txt").read_text().splitlines()
        return {int(line.split()[0]): (line.split()[1], line.split()[2]) for line in lines}

    def wait_for_running(self, name: str, snakemake: subprocess.Popen[str], seconds: float = 600) -> int:
        """The id of the first job that runs of a rule, or of `rule wildcards`; an error if Snakemake ends before."""
        found: list[int] = []

        def running() -> bool:
            assert snakemake.poll() is None, "snakemake ended; see the log beside its config in results/"
            found.extend(
                job["id"]
                for job in self.jobs()
                if name in (job["rule"], f"{job['rule']} {job['wildcards']}") and job["state"] == "RUNNING"
            )
            return bool(found)

        self._wait_for(running, f"a running job of {name}", seconds)
        return found[0]

    def _write_config(self) -> None:
        host, second = self.nodes
        facts = {"folder": self.folder, "host": host, "second": second, "memory": MEMORY}
        ETC.mkdir(exist_ok=True)
        (ETC / "slurm.conf").write_text(MARK + CONFIG.format(**facts))
        lines = []
        for number in range(2):  # character devices, so that Slurm sets CUDA_VISIBLE_DEVICES
            device = self.folder / f"nvidia{number}"
            os.mknod(device, 0o600 | 0o020000, os.makedev(195, number))
            lines.append(f"NodeName={host} Name=gpu Type=fake File={device}\n")
        (ETC / "gres.conf").write_text(MARK + "".join(lines))
        record = self.folder / "record.sh"
        record.write_text(RECORD.format(**facts))
        record.chmod(0o755)
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        log = open(self.folder / f"{program}.out", "ab")  # noqa: SIM115 - as long as the program runs
        return subprocess.Popen([str(path), *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _wait_for(self, ready: Any, what: str, seconds: float = 60) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            with suppress(OSError):
                if ready():
                    return
            time.sleep(0.5)
        logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.log"))
        raise AssertionError(f"{what} did not come within {seconds} s\n{logs}")


def _job(comment: str) -> dict[str, str]:
    """The rule and its wildcards in a job's comment, as the plugin writes it: rule_train_model_wildcards_main."""
    rule, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
    return {"rule": rule, "wildcards": wildcards}


def _megabytes(text: str) -> int:
    number, unit = float(text[:-1]), text[-1]
    return round(number * {"K": 1 / 1024, "M": 1, "G": 1024}[unit])


def _minutes(text: str) -> int:
    hours, minutes, _ = (int(part) for part in text.split("-")[-1].split(":"))
    days = int(text.split("-")[0]) if "-" in text else 0
    return (days * 24 + hours) * 60 + minutes
