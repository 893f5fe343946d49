"""The config: read, checked against config/schema.yaml, defaults filled in, mistakes told in one sentence each.

Inside the workflow the Snakefile has done this already and hands the result over in the environment variable
KG2CLIP_CONFIG, so that `--config` on Snakemake's command line holds for every program; by hand a program takes
`--config FILE`, by default config/config.yaml.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import json
import os
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from kg2clip.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "config" / "schema.yaml"
PUBLISHED = ROOT / "config" / "published.yaml"
TEXTS = ROOT / "config" / "texts"  # how often which kind of text is drawn, by name
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where PyYAML was built with libyaml
ENVIRONMENT = "KG2CLIP_CONFIG"
MAX_BATCHES = 100  # design 6.1: a small graph of jobs
SEED = "-seed"  # between an experiment's name and the number of its seed, from the second on

Settings = dict[str, Any]


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Give a program the option `--config`."""
    parser.add_argument("--config", metavar="FILE", help="config file (default: config/config.yaml)")


def load(path: Path | str | None = None) -> Settings:
    """Read the config of a program: the file if one is named, else what the workflow handed over, else the default.

    Raises:
        UserError: no such file, no YAML, or a mistake in a key or value.
    """
    handed_over = os.environ.get(ENVIRONMENT)
    if path is None and handed_over:
        return complete(json.loads(handed_over), "the workflow's config")
    path = Path(path or ROOT / "config" / "config.yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no config file {path}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    return complete(content or {}, str(path))


def complete(content: Any, source: str) -> Settings:
    """Check a config and fill in the defaults.

    Raises:
        UserError: all mistakes found, one line each, naming the key and what to do.
    """
    schema = read_schema()
    filled = copy.deepcopy(content)
    if isinstance(filled, dict):
        _fill(filled, schema)
        _fill_texts(filled.get("dataset"), source)
    errors = sorted(
        Draft202012Validator(schema).iter_errors(filled), key=lambda error: [str(part) for part in error.path]
    )
    messages = [_explain(error, schema) for error in errors] or _check_relations(filled)
    if messages:
        raise UserError("\n".join([f"{source} can't be used:", *(f"  {message}" for message in messages)]))
    for benchmark in filled["evaluate"]["benchmarks"].values():
        benchmark["path"] = benchmark["path"].replace("{project}", filled["project"])
    filled["train"]["experiments"] = _each_seed(filled["train"])
    return dict(filled)


def repeated(experiment: str, experiments: Container[str]) -> str:
    """The experiment of which another is a repetition with a further seed (main for main-seed2); else itself."""
    first, _, number = experiment.rpartition(SEED)
    return first if number.isdigit() and first in experiments else experiment


@cache
def read_schema() -> dict[str, Any]:
    """The JSON schema of the config; one for all, not to be changed."""
    schema: dict[str, Any] = yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=_LOADER)
    return schema


def tracked(settings: Settings, *sections: str) -> Settings:
    """The named sections (`download` or `evaluate.benchmarks`), without keys whose change must re-run nothing."""
    schema = read_schema()
    picked: Settings = {}
    for section in sections:
        value: Any = settings
        for part in section.split("."):
            value = value.get(part) if value is not None else None
        picked[section] = _without_untracked(value, _subschema(schema, section.split(".")))
    return picked


def _each_seed(train: Settings) -> dict[str, Settings]:
    """The experiments, each once for each of its seeds, with the recipe that it takes."""
    experiments = {}
    for name, wanted in train["experiments"].items():
        own = {"recipe": train["recipe"], **{key: value for key, value in wanted.items() if key != "seeds"}}
        for number in range(1, wanted.get("seeds", 1) + 1):
            experiments[name if number == 1 else f"{name}{SEED}{number}"] = own
    return experiments


def _fill(content: dict[str, Any], schema: dict[str, Any]) -> None:
    for key, rule in schema.get("properties", {}).items():
        if "default" in rule:
            content.setdefault(key, copy.deepcopy(rule["default"]))
    for key, value in content.items():
        rule = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
        if isinstance(value, dict) and isinstance(rule, dict):
            _fill(value, rule)


def _fill_texts(dataset: Any, source: str) -> None:
    """Fill in what the named mix of texts says and the config does not.

    Raises:
        UserError: there is no such mix.
    """
    if not isinstance(dataset, dict) or not isinstance(name := dataset.get("texts"), str):
        return  # the schema says what is wrong
    path = TEXTS / f"{name}.yaml"
    if path.parent != TEXTS or not path.is_file():
        known = ", ".join(sorted(file.stem for file in TEXTS.glob("*.yaml")))
        raise UserError(f"{source} can't be used:\n  dataset.texts is {name!r}; there are in {TEXTS}: {known}")
    for key, value in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        dataset.setdefault(key, value)


def _subschema(schema: dict[str, Any], path: list[Any]) -> dict[str, Any]:
    for part in path:
        if isinstance(part, int):
            schema = schema.get("items", {})
            continue
        found = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
        schema = found if isinstance(found, dict) else {}
    return schema


def _without_untracked(value: Any, schema: dict[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    rules = {key: _subschema(schema, [key]) for key in value}
    return {key: _without_untracked(value[key], rules[key]) for key in value if not rules[key].get("x-untracked")}


def _explain(error: Any, schema: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error.absolute_path)
    rule = _subschema(schema, list(error.absolute_path))
    if error.validator == "additionalProperties":
        known = rule.get("properties", {})
        unknown = [key for key in error.instance if key not in known]
        return "; ".join(_unknown_key(f"{place}.{key}".lstrip("."), key, list(known)) for key in unknown)
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        names = ", ".join(f"{place}.{key}".lstrip(".") for key in missing)
        return f"{names} is missing: {rule.get('properties', {}).get(missing[0], {}).get('description', 'add it')}"
    if error.validator == "enum":
        return f"{place} is {error.instance!r}; choose one of: {', '.join(map(str, error.validator_value))}"
    meaning = rule.get("description", "")
    return f"{place or 'the config'}: {error.message}. {meaning}".rstrip()


def _unknown_key(place: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(str(key), known, n=1)
    advice = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'none'}"
    return f"{place} is no key of the config; {advice}"


def _check_relations(settings: Settings) -> list[str]:
    lanes, knowledge = settings["download"]["lanes"], settings["knowledge"]
    messages = []
    if not knowledge["roots"] and not knowledge["classes"]:
        messages.append(
            "knowledge.roots is missing: name a branch of life there (Apidae), or things in knowledge.classes"
        )
    if "web" not in lanes:
        messages.append("download.lanes has no lane named web, which takes the hosts that no other lane names; add it")
    evaluate = settings["evaluate"]
    if both := sorted(set(settings["train"]["experiments"]) & set(evaluate["baselines"])):
        messages.append(
            f"evaluate.baselines: {', '.join(both)} is a training experiment too; name the baseline otherwise"
        )
    if unknown := sorted(set(evaluate["published"]) - set(evaluate["benchmarks"])):
        messages.append(f"evaluate.published: {', '.join(unknown)} is none of evaluate.benchmarks")
    if evaluate["published"]:
        known = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))["sets"]
        if unknown := sorted(set(evaluate["published"].values()) - set(known)):
            messages.append(
                f"evaluate.published: config/published.yaml has no set {', '.join(unknown)}; it has: {', '.join(known)}"
            )
    if (total := sum(lane["batches"] for lane in lanes.values())) > MAX_BATCHES:
        messages.append(
            f"download.lanes asks for {total} batches in all; at most {MAX_BATCHES} (raise shards_per_batch)"
        )
    return messages
