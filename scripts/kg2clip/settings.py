"""The config: read, checked against config/schema.yaml, defaults filled in, mistakes told in one sentence each.

Inside the workflow the Snakefile has done this already and hands the result over in the environment variable
KG2CLIP_CONFIG, so that `--config` on Snakemake's command line holds for every program; by hand a program takes
`--config FILE`, by default config/config.yaml.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import difflib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

from kg2clip.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "config" / "schema.yaml"
PUBLISHED = ROOT / "config" / "published.yaml"
TEXTS = ROOT / "config" / "texts"  # how often which kind of text is drawn, by name
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where PyYAML was built with libyaml
ENVIRONMENT = "KG2CLIP_CONFIG"
TOLD = "KG2CLIP_TOLD"  # names the file in which scripts/why.py wants the config
MAX_BATCHES = 100  # design 6.1: a small graph of jobs
MAX_VALUES, MAX_DEPTH = 100_000, 50  # a few lines of YAML with anchors can stand for billions of values
LARGEST = 2**53  # whole numbers beyond it are none in JSON, Parquet and DuckDB
OWN_TEXTS = "own-texts"
OWN = ("own", OWN_TEXTS)  # evaluation sets: held-out pictures of the dataset by the names, and by the texts
SEED = "-seed"  # between an experiment's name and the number of its seed, from the second on
KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "keys with values",
    "null": "null",
}

Settings = dict[str, Any]


def _is_number(checker: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


FORMATS = FormatChecker(formats=())


@FORMATS.checks("uri")
def _is_web_address(value: Any) -> bool:
    try:
        if not isinstance(value, str):
            return True  # the type says what is wrong
        parts = urlsplit(value)
        return bool(
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", value)
        )
    except ValueError:  # a port beyond 65535, half a bracket
        return False


def _matches(validator: Any, pattern: str, value: Any, rule: Any) -> Iterator[ValidationError]:
    # The $ of a pattern stands before a last \n too.
    if isinstance(value, str) and (value.endswith("\n") or not re.search(pattern, value)):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


# JSON Schema takes 3.0 for a whole number, which range() does not, and nan is neither too small nor too large.
Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"pattern": _matches},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer}),
)


class _OneOfEach(_LOADER):  # type: ignore[misc, valid-type]
    """YAML in which a key that stands twice is a mistake: the first of the two would be lost without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"the key {key.value} stands twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> Any:
        """A whole number; 0123 is 83 and 12:30 is 750 in YAML, which nobody means."""
        if re.match(r"[-+]?0[0-9_]|.*:", node.value):
            raise yaml.MarkedYAMLError(
                problem=f"{node.value} is read as another number; put it in quotes, or leave out zeros in front",
                problem_mark=node.start_mark,
            )
        return super().construct_yaml_int(node)


_OneOfEach.add_constructor("tag:yaml.org,2002:int", _OneOfEach.construct_yaml_int)


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
        try:
            content = json.loads(handed_over)
        except ValueError:
            raise UserError(
                f"the environment variable {ENVIRONMENT} holds no config. Type: unset {ENVIRONMENT}"
            ) from None
        return complete(content, "the workflow's config")
    path = Path(path or ROOT / "config" / "config.yaml")
    content = read_yaml(path)
    return complete({} if content is None else content, str(path))


def read_yaml(path: Path) -> Any:
    """What a YAML file of a user's holds.

    Raises:
        UserError: no such file, one that may not be read, no text, no YAML, a key that stands twice; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=_OneOfEach)
    except FileNotFoundError:
        raise UserError(f"there is no config file {path}") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8. Save it as UTF-8 in your editor") from None
    except RecursionError:
        raise UserError(f"{path} is no valid YAML: its values are nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{path} is no valid YAML: {_told(error, text)}") from None
    except (yaml.YAMLError, ValueError) as error:  # a date with a month 13 is a ValueError
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None


def _told(error: yaml.MarkedYAMLError, text: str) -> str:
    """Where and what, in one line; a parser sees the mistake late, so the line before counts too."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or ""
    if mark is None:
        return problem
    lines = text.splitlines()
    here = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in here[: mark.column + 1]:
        problem = "a tab; indent with spaces"
    elif problem.startswith("mapping values are not allowed"):
        problem = "a colon where none may stand; put texts with a colon in quotes, and look at the indentation"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def complete(content: Any, source: str) -> Settings:
    """Check a config and fill in the defaults.

    Raises:
        UserError: all mistakes found, one line each, naming the key and what to do.
    """
    schema = read_schema()
    filled = _plain(content, source)
    if isinstance(filled, dict):
        _fill(filled, schema)
        _fill_texts(filled.get("dataset"), source)
    messages = [explain(error, schema) for error in mistakes(filled, schema)] or _check_relations(filled)
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


def own_sets(settings: Settings) -> tuple[str, ...]:
    """The evaluation sets that a dataset gives by itself; none where it holds no picture out for test."""
    return OWN if settings["evaluate"]["own"] and settings["dataset"]["test_share"] > 0 else ()


@cache
def read_schema() -> dict[str, Any]:
    """The JSON schema of the config; one for all, not to be changed."""
    schema: dict[str, Any] = yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=_LOADER)
    return schema


def default(key: str) -> Any:
    """The default of a key, such as `download.lanes`."""
    return copy.deepcopy(_subschema(read_schema(), key.split("."))["default"])


def tracked(settings: Settings, *sections: str) -> Settings:
    """The named sections (`download`, `evaluate.benchmarks.*.path`), without keys whose change must re-run nothing."""
    schema = read_schema()
    paths = {section: section.split(".") for section in sections}
    return {
        section: _without_untracked(_part(settings, path), _subschema(schema, list(path)))
        for section, path in paths.items()
    }


def _part(value: Any, path: list[str]) -> Any:
    """What stands at a place of the config, None if nothing does; * means each key there."""
    if not path or not isinstance(value, dict):
        return None if path else value
    if path[0] == "*":
        return {key: _part(below, path[1:]) for key, below in value.items()}
    return _part(value.get(path[0]), path[1:])


def _each_seed(train: Settings) -> dict[str, Settings]:
    """The experiments, each once for each of its seeds, with the recipe that it takes."""
    experiments = {}
    for name, wanted in train["experiments"].items():
        own = {"recipe": train["recipe"], **{key: value for key, value in wanted.items() if key != "seeds"}}
        for number in range(1, wanted.get("seeds", 1) + 1):
            experiments[name if number == 1 else f"{name}{SEED}{number}"] = own
    return experiments


def _plain(content: Any, source: str) -> Any:
    """A copy in which nothing is shared, every key is text, and a date is the text that stood there.

    Raises:
        UserError: more values than a config can have.
    """
    left = iter(range(MAX_VALUES))

    def copied(value: Any, depth: int) -> Any:
        if next(left, None) is None or depth > MAX_DEPTH:
            raise UserError(f"{source} can't be used:\n  it holds more values than a config can have")
        if isinstance(value, dict):
            return {str(copied(key, depth)): copied(below, depth + 1) for key, below in value.items()}
        if isinstance(value, list | tuple):
            return [copied(below, depth + 1) for below in value]
        return value.isoformat() if isinstance(value, datetime.date) else value

    return copied(content, 0)


def _fill(content: dict[str, Any], schema: dict[str, Any]) -> None:
    for key in [key for key, value in content.items() if value is None]:
        own = _subschema(schema, [key])
        if "default" in own and not _allows(own, "null"):
            del content[key]  # a key without a value is one that was left out
        elif own.get("type") == "object":
            content[key] = {}
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


def mistakes(content: Any, schema: dict[str, Any]) -> list[ValidationError]:
    """What a schema says against some content, in the order of its keys."""
    found = Validator(schema, format_checker=FORMATS).iter_errors(content)
    return sorted(found, key=lambda error: [str(part) for part in error.path])


def explain(error: Any, schema: dict[str, Any]) -> str:
    """A mistake (a ValidationError) in a sentence: which key, what is wrong, what to write."""
    path = list(error.absolute_path)
    place, value = ".".join(map(str, path)), error.instance
    rule = _subschema(schema, path)
    if error.validator == "additionalProperties":
        known = rule.get("properties", {})
        unknown = [key for key in value if key not in known]
        return "; ".join(_unknown_key(f"{place}.{key}".lstrip("."), key, list(known)) for key in unknown)
    if error.validator == "required":
        key = error.message.split("'")[1]  # the validator names each in an error of its own
        description = rule.get("properties", {}).get(key, {}).get("description", "add it")
        return f"{f'{place}.{key}'.lstrip('.')} is missing: {description}"
    if error.validator == "enum":
        return f"{place} is {shown(value)}; choose one of: {', '.join(map(str, error.validator_value))}"
    meaning = rule.get("description") or _subschema(schema, path[:-1]).get("description", "")
    if error.validator == "type":
        wanted = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        is_taxon = place.startswith("knowledge.roots.") and isinstance(value, int)
        says = f"write ncbi:{value} for a taxon of NCBI" if is_taxon else _other_kind(value, wanted, rule)
        return f"{place or 'the config'} is {shown(value)}; {says}. {meaning}".rstrip()
    if error.validator == "format":
        says = f"{shown(value)} is no web address; one begins with https:// or http://"
    elif error.validator in ("anyOf", "pattern"):
        says = f"{shown(value)} can't be taken"
    else:
        says = error.message
    return f"{place or 'the config'}: {says}. {meaning}".rstrip()


def shown(value: Any) -> str:
    """A value for a sentence, as it is written in YAML, shortened."""
    if value is None:
        return "empty"
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _other_kind(value: Any, wanted: Iterable[str], rule: dict[str, Any]) -> str:
    """What to write where a value is of another kind than is wanted."""
    kinds = " or ".join(KINDS[kind] for kind in wanted)
    advice = ""
    if "string" in wanted and isinstance(value, bool):
        advice = ": YAML reads yes, no, on and off as true and false, so put such words in quotes"
    elif "string" in wanted and isinstance(value, int | float):
        advice = f': put it in quotes, "{value}"'
    elif "array" in wanted and isinstance(value, str | int | float):
        advice = f": write it in brackets, [{value}]"
    elif "object" in wanted and isinstance(value, str) and ":" in value:
        advice = ": a space must follow each colon"
    elif "object" in wanted:
        known = ", ".join(rule.get("properties", {}))
        advice = f", such as {known}, below it and further to the right" if known else ""
    elif isinstance(value, str) and (number := _as_number(value, "number" in wanted)) is not None:
        advice = f": write {number}, without quotes"
    elif isinstance(value, float) and value.is_integer():
        advice = f": write {int(value)}" if abs(value) <= LARGEST else f", {LARGEST:,} at most"
    elif isinstance(value, int) and not isinstance(value, bool):
        advice = f", {LARGEST:,} at most"
    return f"it should be {kinds}{advice}"


def _as_number(text: str, fractions: bool) -> int | float | None:
    """The number that somebody meant: YAML takes 1e-4, 0,5 and what stands in quotes for texts."""
    try:
        number = float(text.replace(",", ".") if text.count(",") == 1 else text)
    except ValueError:
        return None
    if number.is_integer() and abs(number) <= LARGEST:
        return int(number)
    return number if fractions and math.isfinite(number) else None


def _allows(rule: dict[str, Any], kind: str) -> bool:
    types = rule.get("type", ())
    return kind in ([types] if isinstance(types, str) else types)


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
    hosts = Counter(host.lower() for lane in lanes.values() for host in {*lane["hosts"]})
    if twice := [host for host, lanes_of_it in hosts.items() if lanes_of_it > 1]:
        messages.append(f"download.lanes: {', '.join(twice)} stands in several lanes; leave it in one")
    if numbers := [root for root in knowledge["roots"] if root.strip().isdigit()]:
        messages.append(
            f"knowledge.roots: {numbers[0]} says not whose number it is; ncbi:{numbers[0]} is a taxon of NCBI"
        )
    if "web" not in lanes:
        messages.append("download.lanes has no lane named web, which takes the hosts that no other lane names; add it")
    if not any(settings["dataset"]["text_weights"].values()):
        messages.append(
            "dataset.text_weights: every weight is 0, so a picture without a text of its own would have none; raise one"
        )
    evaluate = settings["evaluate"]
    if both := sorted(set(settings["train"]["experiments"]) & set(evaluate["baselines"])):
        messages.append(
            f"evaluate.baselines: {', '.join(both)} is a training experiment too; name the baseline otherwise"
        )
    if taken := sorted(set(OWN) & set(evaluate["benchmarks"])):
        messages.append(f"evaluate.benchmarks: {', '.join(taken)} is the name of the dataset's own test (evaluate.own)")
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
