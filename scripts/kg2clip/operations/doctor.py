"""What is missing or wrong on this machine, before the first job is queued.

Each check yields findings: `ok`, `warning` (the run may go on) or `error` (it would fail), with what to do about it.
No check needs Snakemake, so that the doctor answers where Snakemake itself can't start.
"""

from __future__ import annotations

import difflib
import getpass
import logging
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from kg2clip import PYTHON, web
from kg2clip.errors import UserError
from kg2clip.operations.findings import Finding, error, ok, warning
from kg2clip.settings import ROOT, Settings, read_yaml
from kg2clip.train import recipe

FREE_GIGABYTES = 100  # below it a person should look at what scripts/plan.py says
FULL_GIGABYTES, FULL_INODES = 1, 1000  # below it not even a small run ends
FREE_INODES = 100_000
CONNECT_SECONDS = 10
ASK_SECONDS = 30  # a controller of Slurm that answers later is in trouble
# Environment variables that a source needs, by source.
KEYS = {"brave": ("BRAVE_API_KEY",), "gbifdownload": ("GBIF_USER", "GBIF_PASSWORD")}
# What the Slurm plugin looks at when it chooses a partition.
AMOUNTS = ("mem_mb", "runtime", "gpu", "cpus_per_gpu")
KINDS = ("gres", "gpu_model", "constraint")
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
        if not pin or not _is_of_this_machine(line):
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


def _is_of_this_machine(line: str) -> bool:
    """Whether a line of the lock counts here: some packages are for one kind of machine only."""
    condition = line.partition("#")[0].partition(";")[2].strip()
    if not condition:
        return True
    try:
        from packaging.markers import Marker
    except ImportError:  # it is in the lock itself, so its absence is told
        return False
    return bool(Marker(condition).evaluate())


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
    model = config["knowledge"].get("language_model")
    if model and not os.environ.get(model["key_variable"], "").strip():
        yield warning("language model", f"{model['key_variable']} is not set, which most servers but your own want")


def check_paths(config: Settings) -> Iterator[Finding]:
    """Files and folders of yours that the config names: some would be asked for days after the start."""
    knowledge, curate = config["knowledge"], config["curate"]
    named = {f"search.sources.{name}": source.get("path") for name, source in config["search"]["sources"].items()}
    named |= {"knowledge.attributes.file": knowledge["attributes"]["file"], "knowledge.wordnet": knowledge["wordnet"]}
    if curate["fit_model"].startswith(recipe.LOCAL):
        named["curate.fit_model"] = f"{curate['fit_model'].removeprefix(recipe.LOCAL)}/{recipe.CONFIG}"
    elif curate["fit_model"]:
        named["curate.fit_weights"] = curate["fit_weights"]
    for key, path in named.items():
        if path and not Path(path).exists():
            yield error(key, f"there is no {path}")


def check_recipes(config: Settings) -> Iterator[Finding]:
    """Every experiment's recipe can be read, and a model that it starts from is here."""
    for experiment in config["train"]["experiments"]:
        try:
            recipe.start_files(recipe.load(config, experiment), Path("results", config["project"], "models"))
        except UserError as failure:
            yield error(f"experiment {experiment}", str(failure))


def check_benchmarks(config: Settings) -> Iterator[Finding]:
    """The evaluation sets are where the config says; the mirror makes its own."""
    for name, benchmark in config["evaluate"]["benchmarks"].items():
        path = Path(benchmark["path"])
        if not (path / "test" / "nshards.txt").is_file() and "mirror" not in config:
            advice = "scripts/prepare_benchmark.py and pack_benchmark.py make one (docs/extending.md)"
            yield error(f"benchmark {name}", f"there is no {path / 'test' / 'nshards.txt'}; {advice}")


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


def check_place(config: Settings, root: Path = Path(), clone: Path = ROOT) -> Iterator[Finding]:
    """The folder that a run is started from, and whether its results can be written."""
    here = root.resolve()
    if here != clone:
        yield error("folder", f"this is {here}. A run starts in the clone; type: cd {clone}")
        return
    results = root / "results" / config["project"]
    place = next(folder for folder in (results, *results.parents) if folder.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        yield ok("folder", f"{results} can be written")
    else:
        yield error("folder", f"{place} can't be written. Clone kg2clip where you may write, or ask for the right")


def check_home(clone: Path = ROOT) -> Iterator[Finding]:
    """Home folders of clusters are small, and slow where many nodes write."""
    with suppress(RuntimeError):  # nobody's home is known
        if clone.is_relative_to(Path.home().resolve()):
            yield warning("folder", f"{clone} lies in your home, which clusters keep small. Better clone to scratch")


def check_disk(config: Settings, root: Path = Path()) -> Iterator[Finding]:
    """Space and inodes where results go, and a temporary folder that can be written."""
    folder = root / "results"
    place = folder if folder.exists() else root
    free = shutil.disk_usage(place).free / 1e9
    says = f"{free:,.1f} GB free" if free < 10 else f"{free:,.0f} GB free"
    if free < FULL_GIGABYTES:
        yield error("disk", f"{says}: it is full. Free some space, or clone kg2clip where there is more")
    elif free < FREE_GIGABYTES and "mirror" not in config:
        yield warning("disk", f"{says}; scripts/plan.py says how much this run wants")
    else:
        yield ok("disk", says)
    facts = os.statvfs(place)
    if facts.f_files and facts.f_favail < FULL_INODES:
        yield error("inodes", f"{facts.f_favail:,} left: no more files can be made. Remove some, or use another disk")
    elif facts.f_files and facts.f_favail < FREE_INODES:
        yield warning("inodes", f"{facts.f_favail:,} left; a run makes some thousands, conda environments 100,000")
    yield from _check_temporary()


def _check_temporary() -> Iterator[Finding]:
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # it tried TMPDIR, /tmp, /var/tmp and the folder of now
        yield error("temporary folder", "none can be written. Set TMPDIR to a folder that can")
        return
    wanted = os.environ.get("TMPDIR")
    if not os.access(temporary, os.W_OK):
        yield error("temporary folder", f"{temporary} can't be written. Set TMPDIR to a folder that can")
    elif wanted and Path(wanted).resolve() != Path(temporary).resolve():
        yield warning("temporary folder", f"TMPDIR is {wanted}, which can't be written; {temporary} is taken instead")
    else:
        yield ok("temporary folder", f"{temporary}, {shutil.disk_usage(temporary).free / 1e9:,.0f} GB free")


def check_reach(config: Settings) -> Iterator[Finding]:
    """Whether the graph and the sources can be connected to from here; no query is asked."""
    for about, url in addresses(config).items():
        host = web.host_of(url)
        if not host:
            yield error(about, f"{url} is no web address; one begins with https:// or http://")
            continue
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
    said = _ask("nvidia-smi", "-L") if program else None
    if said:
        yield ok("GPU", said.splitlines()[0].split(" (UUID")[0])
    elif config["train"]["device"] == "cuda":
        yield error("GPU", "train.device is cuda, and nvidia-smi finds none. Write device: auto, or use a cluster")
    elif "mirror" not in config:
        yield warning("GPU", "none here: a real model would train for months. Use snakemake --profile slurm")


def check_profile(name: str, config: Settings, root: Path = ROOT) -> Iterator[Finding]:
    """A profile's rules, lanes and, for Slurm, its partitions against what the cluster has."""
    about = f"profile {name}"
    path = next((each for each in (root / "profiles" / name, Path(name)) if (each / "config.yaml").is_file()), None)
    if path is None:
        known = ", ".join(sorted(found.name for found in (root / "profiles").iterdir() if found.is_dir()))
        yield error(about, f"there is no profiles/{name}/config.yaml; known: {known}")
        return
    try:
        profile = read_yaml(path / "config.yaml")
    except UserError as failure:
        yield error(about, str(failure))
        return
    if not isinstance(profile, dict):
        yield error(about, "holds no keys with values, such as cores: all")
        return
    wrong = [error(about, says) for says in _profile_mistakes(profile, config, root)]
    yield from wrong or [ok(about, "its keys and rules exist, its lanes have limits")]
    if profile.get("executor") == "slurm":
        yield from check_slurm(name, profile)


def _profile_mistakes(profile: Mapping[Any, Any], config: Settings, root: Path) -> Iterator[str]:
    options = _options()
    for key in profile if options else ():
        if str(key).replace("_", "-") not in options:
            close = difflib.get_close_matches(str(key), options, n=1)
            yield f"{key} is no option of snakemake{f'; did you mean {close[0]}?' if close else ''}"
    if wrong := sorted(set(_by_rule(profile.get("set-resources"))) - rule_names(root)):
        yield f"set-resources names rules that do not exist: {', '.join(wrong)}"
    limits = _pairs(profile.get("resources"))
    lanes = config["download"]["lanes"]
    if open_lanes := [lane for lane in lanes if f"lane_{lane}" not in limits]:
        advice = ", ".join(f"lane_{lane}=1" for lane in open_lanes)
        yield f"download lanes without a limit. Add under resources: {advice}"
    if shut := [lane for lane in lanes if _first_number(limits.get(f"lane_{lane}", 1)) < 1]:
        yield f"resources lets no job of a lane run: {', '.join(f'lane_{lane}' for lane in shut)} must be 1 or more"


@cache
def _options() -> frozenset[str]:
    """The long options of snakemake, those of its plugins included; none where it can't start."""
    try:
        from snakemake.cli import get_argument_parser

        parser = get_argument_parser()
    except Exception:  # whatever is wrong with it, the other checks have their say
        return frozenset()
    options = [option for action in parser._actions for option in action.option_strings]
    return frozenset(option[2:] for option in options if option.startswith("--"))


def check_slurm(name: str, profile: Mapping[str, Any]) -> Iterator[Finding]:
    """The executor plugin, the account, the records, and each partition and its limits that the profile asks for."""
    try:
        yield ok("Slurm plugin", version("snakemake-executor-plugin-slurm"))
    except PackageNotFoundError:
        yield error("Slurm plugin", "not installed. Type: pip install snakemake-executor-plugin-slurm")
    if not shutil.which("sinfo"):
        yield error("Slurm", "there is no sinfo here. Start from a login node of the cluster")
        return
    said = _ask("sinfo", "--noheader", "--format=%R|%a|%c|%m|%G|%l")
    partitions = read_partitions(said or "")
    if not partitions:
        silent = f"sinfo gives no answer within {ASK_SECONDS} seconds" if said is None else "sinfo names no partition"
        yield error("Slurm", f"{silent}: is its controller up?")
        return
    common = _pairs(profile.get("default-resources"))
    yield from _check_account(name, common)
    yield from _check_status(name, profile)
    own = _by_rule(profile.get("set-resources"))
    asked = {rule: {**common, **needs, **own.get(rule, {})} for rule, needs in rule_needs().items()}
    table = profile.get("slurm-partition-config") or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS")
    wrong = list(_choose_partitions(name, str(table), asked)) if table else []
    for rule, wanted in asked.items():
        wrong += _check_rule(name, rule, wanted, partitions)
    yield from wrong or [ok("partitions", f"have what the {len(asked)} rules ask for")]


def _choose_partitions(profile: str, table: str, asked: Mapping[str, dict[str, Any]]) -> Iterator[Finding]:
    """Write into each rule's wishes the partition that the plugin would choose for it from a table of their limits."""
    try:
        from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file
    except ImportError:  # told as a missing plugin
        return
    try:
        limits = read_partition_file(Path(table))
    except Exception as failure:  # a WorkflowError, or what a table of another form raises
        yield error("partitions", f"{table} can't be read: {failure}")
        return
    silent = logging.Logger("partitions", logging.CRITICAL)
    for rule, wanted in asked.items():
        if wanted.get("slurm_partition"):
            continue
        needs: dict[str, Any] = {key: _first_number(wanted[key]) for key in AMOUNTS if key in wanted}
        needs |= {key: str(wanted[key]) for key in KINDS if key in wanted}
        threads = _first_number(wanted.get("cpus_per_task", 1))
        chosen = get_best_partition(limits, SimpleNamespace(name=rule, threads=threads, resources=needs), silent)
        if chosen:
            wanted["slurm_partition"] = chosen
            continue
        says = ", ".join(f"{key}={value}" for key, value in {"threads": threads, **needs}.items())
        hint = ". A partition without max_gpu counts as one without GPUs" if needs.get("gpu") else ""
        about = f"{profile}, {rule}"
        yield error(about, f"no partition in {table} takes {says}: its jobs would go to the default one{hint}")


def _check_account(profile: str, common: Mapping[str, Any]) -> Iterator[Finding]:
    """The account that jobs are charged to, against those that you may use; nothing where Slurm keeps no accounts."""
    said = _ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={_user()}", "format=account")
    known = sorted({line.strip() for line in (said or "").splitlines() if line.strip()})
    account, place = common.get("slurm_account"), f"default-resources in profiles/{profile}/config.yaml"
    if account and known and str(account).lower() not in map(str.lower, known):
        yield error("Slurm account", f"you may not use {account}, but: {', '.join(known)}. Change {place}")
    elif account and not known:
        yield warning("Slurm account", f"Slurm names no accounts of yours. If jobs are refused, take it out of {place}")
    elif account:
        yield ok("Slurm account", str(account))
    elif len(known) > 1:
        yield warning("Slurm account", f"yours are {', '.join(known)}. Set slurm_account to one of them under {place}")
    elif known:
        yield ok("Slurm account", f"{known[0]}, your only one")


def _check_status(name: str, profile: Mapping[str, Any]) -> Iterator[Finding]:
    """The program by which the plugin learns that a job has ended: it takes sacct where that is installed."""
    if profile.get("slurm-status-command") == "squeue" or not shutil.which("sacct"):
        return
    if not _ask("sacct", "--starttime", "now"):  # it prints a header at least
        says = "sacct does not answer, so no job would ever be seen to end; many clusters keep no records. Add"
        yield error("Slurm accounting", f"{says} slurm-status-command: squeue to profiles/{name}/config.yaml")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a table of users
        return str(os.getuid())


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
    wanted_gpus = _first_number(asked.get("gpu", 0))
    wanted_cpus = _first_number(asked.get("cpus_per_gpu", 0)) * wanted_gpus or _first_number(
        asked.get("cpus_per_task", 1)
    )
    needs = [
        ("GPUs", wanted_gpus, partition.gpus),
        ("CPUs", wanted_cpus, partition.cpus),
        ("MB of memory", _first_number(asked.get("mem_mb", 0)), partition.megabytes),
        ("minutes", _first_number(asked.get("runtime", 0)), partition.minutes),
    ]
    short = [f"{wanted} {what} (it has {has:,.0f})" for what, wanted, has in needs if wanted > has]
    if short:
        yield error(about, f"partition {name} can't give {', '.join(short)}. Change profiles/{profile}/config.yaml")


def rule_names(root: Path = ROOT) -> set[str]:
    """The names of the workflow's rules, read from rules/."""
    return set(rule_needs(root))


def rule_needs(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """What each rule asks for in its first attempt where a profile says nothing: mem_mb, runtime, cpus_per_task."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "rules").glob("*.smk")))
    needs: dict[str, dict[str, Any]] = {}
    for name, body in re.findall(r"^rule (\w+):\n((?:(?: .*)?\n)+)", f"{text}\n", re.MULTILINE):
        amounts = dict(re.findall(r"^        (mem_mb|runtime)=(?:grows\()?(\d+)", body, re.MULTILINE))
        threads = re.search(r"^    threads: (\d+)", body, re.MULTILINE)
        needs[name] = {**amounts, "cpus_per_task": threads[1] if threads else 1}
    return needs


def addresses(config: Settings) -> dict[str, str]:
    """The web addresses that a run asks before it downloads pictures: the graph's and the sources'."""
    found = {"knowledge.endpoint": config["knowledge"]["endpoint"]}
    for name, source in config["search"]["sources"].items():
        if isinstance(source, dict) and source.get("api"):
            found[f"search.sources.{name}"] = source["api"]
    return found


def _ask(*command: str) -> str | None:
    """What a program says; nothing where it fails or is absent, None where it does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _pairs(value: Any) -> dict[str, Any]:
    """Resources of a profile, which may be written as keys and values, or as a list of NAME=VALUE."""
    if isinstance(value, dict):
        return {str(key): each for key, each in value.items()}
    return dict(
        str(each).partition("=")[::2] for each in (value if isinstance(value, list) else [value] if value else [])
    )


def _by_rule(value: Any) -> dict[str, dict[str, Any]]:
    """The same by rule: `RULE: {NAME: VALUE}`, or a list of RULE:NAME=VALUE."""
    if isinstance(value, dict):
        return {str(rule): _pairs(own) for rule, own in value.items()}
    found: dict[str, dict[str, Any]] = {}
    for each, amount in _pairs(value).items():
        rule, _, name = each.partition(":")
        found.setdefault(rule, {})[name] = amount
    return found


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
