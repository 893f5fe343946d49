"""Why jobs would run again, in plain words: Snakemake's reasons, and what differs from a step's provenance."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg2clip import codehash, removals
from kg2clip.files import read_json
from kg2clip.settings import Settings, tracked

# Snakemake writes both values of changed parameters out, whole configs among them.
PARAMS = re.compile(r"(Params have changed since last execution): .*?(?=; Software environment|$)", re.DOTALL)
# Rules whose jobs do not follow the code's hash: config train.recipe_version stands for it (design 6.11).
WITHOUT_CODE = frozenset({"train_model"})


@dataclass(frozen=True)
class Job:
    """A job that a dry-run names."""

    rule: str
    wildcards: str
    reason: str
    outputs: int = 0  # files that it makes

    @property
    def step(self) -> str:
        """The name of the job's provenance file: rule and wildcards, as rules/ build it."""
        values = [part.split("=", 1)[1] for part in self.wildcards.split(", ") if "=" in part]
        return ".".join([self.rule, *values])


def command_line(options: Mapping[str, str | bool | list[str] | None]) -> Iterator[str]:
    """Snakemake's options as it wants them typed, the targets last."""
    for name, value in options.items():
        if value and name != "targets":
            yield f"--{name.replace('_', '-')}"
            yield from [value] if isinstance(value, str) else value if isinstance(value, list) else ()
    if isinstance(targets := options.get("targets"), list) and targets:
        yield from ("--", *targets)


def trouble(said: str) -> str:
    """Why Snakemake could not even plan: our own sentence if there is one, else its words without what goes before."""
    told = re.split(r"\n(?:snakemake: )?error: ", f"\n{said}")
    if len(told) > 1:
        return told[-1].strip()
    if "Traceback (most recent call last)" in said:
        last = said.strip().splitlines()[-1]
        advice = "\nSnakemake writes into .snakemake even for a look: ask in a clone that you may write"
        return f"snakemake can't tell:\n{last}{advice if last.startswith(('OSError', 'PermissionError')) else ''}"
    return f"snakemake can't tell:\n{said.rpartition('Building DAG of jobs...')[2][-2000:].strip()}"


def read_jobs(said: str) -> list[Job]:
    """The jobs of a dry-run's text, the target rule aside."""
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", f"\n{said}")[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)
        reason = re.search(r"^    reason: (.*)$", block, re.MULTILINE)
        wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
        output = re.search(r"^    output: (.*)$", block, re.MULTILINE)
        if rule and rule[1] != "all":
            made = len(output[1].split(", ")) if output else 0
            jobs.append(Job(rule[1], wildcards[1] if wildcards else "", reason[1] if reason else "", made))
    return jobs


def explain(jobs: list[Job], config: Settings, provenance: Path) -> Iterator[str]:
    """One line for each rule whose jobs have a reason of their own, and one for those that only follow from it."""
    own: dict[tuple[str, str], int] = defaultdict(int)
    following: dict[str, int] = defaultdict(int)
    for job in jobs:
        words = reasons(job, config, provenance)
        if words:
            own[job.rule, "; ".join(words)] += 1
        else:
            following[job.rule] += 1
    for (rule, why), count in own.items():
        yield f"{_counted(rule, count)}: {why}"
    if following:
        yield f"and what follows from that: {', '.join(_counted(rule, count) for rule, count in following.items())}"


def reasons(job: Job, config: Settings, provenance: Path) -> list[str]:
    """A job's own reasons in plain words; none if it only follows from other jobs."""
    words = []
    reason = PARAMS.sub(r"\1", job.reason)
    if missing := _files(reason, "Missing output files"):
        made = (provenance / f"{job.step}.json").exists() or len(missing) < job.outputs
        words.append(f"{_some(missing)} {'is gone' if len(missing) == 1 else 'are gone'}" if made else "not made yet")
    if updated := _files(reason, "Updated input files"):
        words.append(f"{_some(updated)} {'is' if len(updated) == 1 else 'are'} newer than what was made from it")
    if "Incomplete output files" in reason or "Forced execution" in reason:
        # With rerun-incomplete, as the profiles have it, Snakemake forces such jobs; nobody else forces one here.
        words.append("it was stopped before it was done")
    if "Set of input files has changed" in reason:
        words.append("it has other inputs than last time")
    if "Params have changed" in reason:
        words.append(_changed(job, config, provenance))
    if "Code has changed" in reason:
        words.append("its rule was edited")
    if "Software environment definition has changed" in reason:
        words.append("its conda environment in envs/ was edited, or --sdm is not as last time")
    if not words and "updated by another job" not in reason:
        words.append(reason or "Snakemake gives no reason")
    return words


def _changed(job: Job, config: Settings, provenance: Path) -> str:
    """Which settings and whether the code differ from the last run, as its provenance tells."""
    try:
        facts = read_json(provenance / f"{job.step}.json")
        before = dict(facts["settings"])
    except (OSError, ValueError, TypeError, KeyError):
        return "its settings or its code changed"  # a file that is gone, broken or closed to us can't say which
    told = list(differences(before, tracked(config, *before)))
    code = facts.get("codeHash")
    if job.rule not in WITHOUT_CODE and code and code != codehash.code_hash(job.rule):
        told.append("the code of this step")
    if not told and "recipeHash" in facts:
        told.append("the recipe, a file of config/recipes/")
    listed = config["dataset"]["removed"]
    if facts.get("takenDown", removals.digest(listed)) != removals.digest(listed):
        told.append(f"the list of pictures that were taken down ({listed})")
    return f"changed: {'; '.join(told)}" if told else "its settings or its code changed"


def differences(before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Each key that differs, with both values: `curate.min_side (64 before, 128 now)`."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        name = place.replace("*", key, 1) if "*" in place else f"{place}.{key}".lstrip(".")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, name)
        elif old != new:
            yield f"{name} ({_value(old)} before, {_value(new)} now)"


def _value(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _files(reason: str, kind: str) -> list[str]:
    found = re.search(rf"{kind}: ([^;]*)", reason)
    return [file for file in found[1].strip().split(", ") if file] if found else []


def _some(files: list[str]) -> str:
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def _counted(rule: str, count: int) -> str:
    return rule if count == 1 else f"{rule} ({count} jobs)"
