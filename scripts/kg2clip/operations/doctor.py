"""What is missing or wrong on this machine, before the first job is queued.

Each check yields findings: `ok`, `warning` (the run may go on) or `error` (it would fail), with what to do about it.
No check needs Snakemake, so that the doctor answers where Snakemake itself can't start.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from kg2clip import web
from kg2clip.errors import UserError
from kg2clip.operations.findings import Finding, error, ok, warning
from kg2clip.settings import ROOT, Settings

PYTHON = ((3, 11), (3, 13))  # from, up to; img2dataset imports a module that 3.13 dropped
FREE_GIGABYTES = 100  # below it a person should look at what scripts/plan.py says
FREE_INODES = 100_000
CONNECT_SECONDS = 10
# Environment variables that a source needs, by source.
KEYS = {"brave": ("BRAVE_API_KEY",), "gbifdownload": ("GBIF_USER", "GBIF_PASSWORD")}
UNITS = {"": 1, "m": 1, "M": 1, "G": 1000, "T": 1000_000}


def check_python() -> Iterator[Finding]:
    """The interpreter's version."""
    first, beyond = PYTHON
    running = ".".join(map(str, sys.version_info[:3]))
    if first <= sys.version_info[:2] < beyond:
        yield ok("Python", running)
        return
    yield error("Python", f"{running}; kg2clip needs 3.11 or 3.12. Type: make clean && make PYTHON=python3.11 demo")


def check_packages(lock: Path = ROOT / "envs" / "pip-lock.txt") -> Iterator[Finding]:
    """Installed packages against the lock; other versions may work, but nobody has tried them."""
    missing, other = [], []
    for line in lock.read_text(encoding="utf-8").splitlines():
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([^;#\s]+).*", line)
        if not pin:
            continue
        try:
            installed = version(pin[1])
        except PackageNotFoundError:
            missing.append(pin[1])
            continue
        if installed.split("+")[0] != pin[2].split("+")[0]:
            other.append(f"{pin[1]} {installed} (lock: {pin[2]})")
    if missing:
        yield error("packages", f"{_some(missing)} not installed. Type: pip install --no-deps -r envs/pip-lock.txt")
    if other:
        yield warning("packages", f"other versions than in envs/pip-lock.txt: {_some(other)}")
    if not missing and not other:
        yield ok("packages", "as in envs/pip-lock.txt")


def check_contact(config: Settings) -> Iterator[Finding]:
    """Public hosts are told who asks."""
    if config["contact"]:
        yield ok("contact", config["contact"])
        return
    public = [url for url in addresses(config).values() if not web.is_reserved(web.host_of(url) or "")]
    if public:
        yield error("contact", "is empty, and public hosts are not asked anonymously. Set contact: in the config")


def check_keys(config: Settings) -> Iterator[Finding]:
    """Sources with a key have it in the environment."""
    for source in config["search"]["sources"]:
        for variable in KEYS.get(source, ()):
            if os.environ.get(variable, "").strip():
                yield ok(f"key of {source}", f"{variable} is set")
            else:
                yield error(f"key of {source}", f"set the environment variable {variable}, or take {source} out")


def check_baselines(config: Settings) -> Iterator[Finding]:
    """Models that are compared with ours are on this machine: the chain fetches none."""
    baselines = config["evaluate"]["baselines"]
    if not baselines:
        return
    try:
        from kg2clip import openclip  # seconds to import, and absent where conda brings the stages' packages
    except ImportError:
        yield warning("baselines", "open_clip is not installed here, so they can't be looked for")
        return
    for name, model in baselines.items():
        try:
            openclip.resolve(model)
        except UserError as failure:
            yield error(f"baseline {name}", str(failure))
        else:
            yield ok(f"baseline {name}", f"{model} is here")


def check_disk(config: Settings, root: Path = Path()) -> Iterator[Finding]:
    """Space and inodes where results go, and a temporary folder that can be written."""
    folder = root / "results"
    place = folder if folder.exists() else root
    free = shutil.disk_usage(place).free / 1e9
    says = f"{free:,.0f} GB free"
    if free < FREE_GIGABYTES and "mirror" not in config:
        yield warning("disk", f"{says}; scripts/plan.py says how much this run wants")
    else:
        yield ok("disk", says)
    facts = os.statvfs(place)
    if facts.f_files and facts.f_favail < FREE_INODES:
        yield warning("inodes", f"{facts.f_favail:,} left; a run makes some thousands, conda environments 100,000")
    temporary = tempfile.gettempdir()
    if os.access(temporary, os.W_OK):
        yield ok("temporary folder", f"{temporary}, {shutil.disk_usage(temporary).free / 1e9:,.0f} GB free")
    else:
        yield error("temporary folder", f"{temporary} can't be written. Set TMPDIR to a folder that can")


def check_reach(config: Settings) -> Iterator[Finding]:
    """Whether the graph and the sources can be connected to from here; no query is asked."""
    for about, url in addresses(config).items():
        host = web.host_of(url) or ""
        port = urlsplit(url).port or (443 if url.startswith("https") else 80)
        try:
            places = web.addresses(host, port, config["download"].get("private_hosts", ()))
            socket.create_connection(places[0], timeout=CONNECT_SECONDS).close()
        except (OSError, UserError) as failure:
            advice = "the mirror answers only beside scripts/with_mirror.py" if web.is_reserved(host) else _PROXY
            yield error(about, f"{host} can't be reached from here ({failure}): {advice}")
        else:
            yield ok(about, f"{host} answers")


_PROXY = "compute nodes often have no internet; run the search and the download where there is some"


def check_gpu(config: Settings) -> Iterator[Finding]:
    """A GPU for training on this machine, where it trains here."""
    program = shutil.which("nvidia-smi")
    said = _ask("nvidia-smi", "-L") if program else ""
    if said:
        yield ok("GPU", said.splitlines()[0].split(" (UUID")[0])
    elif config["train"]["device"] == "cuda":
        yield error("GPU", "train.device is cuda, and nvidia-smi finds none. Write device: auto, or use a cluster")
    elif "mirror" not in config:
        yield warning("GPU", "none here: a real model would train for months. Use snakemake --profile slurm")


def check_profile(name: str, config: Settings, root: Path = ROOT) -> Iterator[Finding]:
    """A profile's rules, lanes and, for Slurm, its partitions against what the cluster has."""
    path = root / "profiles" / name / "config.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.name for found in (root / "profiles").iterdir() if found.is_dir()))
        yield error(f"profile {name}", f"there is no {path.relative_to(root)}; known: {known}")
        return
    try:
        profile = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as failure:
        yield error(f"profile {name}", f"no valid YAML: {' '.join(str(failure).split())}")
        return
    wrong = sorted(set(profile.get("set-resources") or {}) - rule_names(root))
    if wrong:
        yield error(f"profile {name}", f"set-resources names rules that do not exist: {', '.join(wrong)}")
    limits = {str(limit).split("=")[0] for limit in _as_list(profile.get("resources"))}
    open_lanes = [lane for lane in config["download"]["lanes"] if f"lane_{lane}" not in limits]
    if open_lanes:
        advice = ", ".join(f"lane_{lane}=1" for lane in open_lanes)
        yield error(f"profile {name}", f"download lanes without a limit. Add under resources: {advice}")
    if not wrong and not open_lanes:
        yield ok(f"profile {name}", "its rules exist, its lanes have limits")
    if profile.get("executor") == "slurm":
        yield from check_slurm(name, profile)


def check_slurm(name: str, profile: Mapping[str, Any]) -> Iterator[Finding]:
    """The executor plugin, and each partition, GPU, CPU and time limit that the profile asks for."""
    try:
        yield ok("Slurm plugin", version("snakemake-executor-plugin-slurm"))
    except PackageNotFoundError:
        yield error("Slurm plugin", "not installed. Type: pip install snakemake-executor-plugin-slurm")
    if not shutil.which("sinfo"):
        yield error("Slurm", "there is no sinfo here. Start from a login node of the cluster")
        return
    partitions = read_partitions(_ask("sinfo", "--noheader", "--format=%R|%a|%c|%m|%G|%l"))
    if not partitions:
        yield error("Slurm", "sinfo names no partition: is its controller up?")
        return
    asked: dict[str, dict[str, Any]] = {"other rules": {}, **(profile.get("set-resources") or {})}
    common = profile.get("default-resources") or {}
    for rule, own in asked.items():
        yield from _check_rule(name, rule, {**common, **own}, partitions)


@dataclass(frozen=True)
class Partition:
    """What the largest node of a partition has."""

    cpus: int
    megabytes: int
    gpus: int
    minutes: float


def read_partitions(said: str) -> dict[str, Partition]:
    """The partitions that are up, of `sinfo --format=%R|%a|%c|%m|%G|%l` (name, state, CPUs, MB, GRES, time limit)."""
    found: dict[str, Partition] = {}
    for line in said.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6 or fields[1] != "up":
            continue
        name, _, cpus, megabytes, gres, limit = fields
        gpus = sum(int(number) for number in re.findall(r"gpu(?::[^:,(]+)?:(\d+)", gres))
        here = Partition(_number(cpus), _number(megabytes), gpus, _minutes(limit))
        before = found.get(name, here)
        found[name] = Partition(*(max(getattr(before, key), getattr(here, key)) for key in vars(here)))
    return found


def _check_rule(
    profile: str, rule: str, asked: Mapping[str, Any], partitions: Mapping[str, Partition]
) -> Iterator[Finding]:
    about, name = f"{profile}, {rule}", asked.get("slurm_partition")
    if not name:
        return
    partition = partitions.get(str(name))
    if partition is None:
        yield error(about, f"the cluster has no partition {name} that is up; it has: {', '.join(sorted(partitions))}")
        return
    wanted_gpus = int(asked.get("gpu", 0))
    wanted_cpus = int(asked.get("cpus_per_gpu", 0)) * wanted_gpus or int(asked.get("cpus_per_task", 1))
    needs = [
        ("GPUs", wanted_gpus, partition.gpus),
        ("CPUs", wanted_cpus, partition.cpus),
        ("MB of memory", _first_number(asked.get("mem_mb", 0)), partition.megabytes),
        ("minutes", _first_number(asked.get("runtime", 0)), partition.minutes),
    ]
    short = [f"{wanted} {what} (it has {has:,.0f})" for what, wanted, has in needs if wanted > has]
    if short:
        yield error(about, f"partition {name} can't give {', '.join(short)}. Change profiles/{profile}/config.yaml")
    else:
        yield ok(about, f"partition {name} has what it asks for")


def rule_names(root: Path = ROOT) -> set[str]:
    """The names of the workflow's rules, read from rules/."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "rules").glob("*.smk")))
    return set(re.findall(r"^rule (\w+):", text, re.MULTILINE))


def addresses(config: Settings) -> dict[str, str]:
    """The web addresses that a run asks before it downloads pictures: the graph's and the sources'."""
    found = {"knowledge.endpoint": config["knowledge"]["endpoint"]}
    for name, source in config["search"]["sources"].items():
        if isinstance(source, dict) and source.get("api"):
            found[f"search.sources.{name}"] = source["api"]
    return found


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [f"{key}={limit}" for key, limit in value.items()]
    return list(value or [])


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text) or 0)  # sinfo writes 64+ where nodes differ


def _first_number(value: Any) -> int:
    """What the first attempt asks for: 64000 of `64000 * attempt`, 2000 of `2GB`."""
    found = re.match(r"\s*(\d+)\s*([mMGT]?)", str(value))
    return int(found[1]) * UNITS[found[2]] if found else 0


def _minutes(limit: str) -> float:
    """Minutes of Slurm's [days-]hours:minutes:seconds; `infinite` is no limit."""
    if not re.search(r"\d", limit):
        return math.inf
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, _ = [0] * (3 - len(parts)) + parts
    return (int(days or 0) * 24 + hours) * 60 + minutes


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
