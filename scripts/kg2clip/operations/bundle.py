"""A finished run as an archive that others can check: tables, papers, models' cards, report, locks, code version.

The payload is laid out as an RO-Crate 1.1 in a BagIt bag. It holds no pictures but the small ones of the report, no
weights and no secrets, unless the first two are asked for. Its bytes follow from the run, the code and the
installed packages alone.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from kg2clip import codehash, removals, tables
from kg2clip.errors import UserError
from kg2clip.files import read_json, write_json, write_text
from kg2clip.identifiers import stable_hash
from kg2clip.operations import bag, declared, verify
from kg2clip.operations.snapshots import Recorder
from kg2clip.report import page
from kg2clip.report.results import open_results
from kg2clip.settings import ROOT, Settings

log = logging.getLogger(__name__)

CONFIG, RESULTS, SHOWN, VERSION = "config.yaml", "results", "report-pictures.json", "code/version.json"
REMOVED, CITATION = "removed.csv", "CITATION.cff"
WEIGHTS = "open_clip_model.safetensors"
# Undeclared, or of an earlier config: the report shows what is there.
ALSO = ("dataset/sizes.json", "mirror/scores.parquet", "mirror/misses.parquet", "provenance/*.json")
CLASSES = ("classnames.txt", "classes.json", "dataset_type.txt")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD")
SHORTEST_SECRET = 8  # characters; shorter values stand in texts by chance
TEXTS = (".json", ".yaml", ".md", ".html", ".csv", ".txt", ".svg")
PLACE = re.compile(r"(local-dir:)?(?:/|~|[A-Za-z]:[\\/]).*[\\/]")  # the folders of an absolute path


@dataclass(frozen=True)
class Choice:
    """What goes into a bundle beside the tables."""

    pictures: bool = False
    models: bool = False


def bundle(results: Path, config: Settings, target: Path, choice: Choice) -> None:
    """Write the bundle as a folder.

    Raises:
        UserError: the run is not finished, its report is not what its tables give, a secret would get in, or `target`
            is something else than a bundle.
    """
    _check_finished(results, config)
    _check_removed(results, config)
    if choice.pictures:
        _check_pictures(verify.Run(results, config))
    if target.exists() and not (target / "bagit.txt").is_file():
        raise UserError(f"{target} is there already and is no bundle. Name another place with --output")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    data = part / bag.PAYLOAD
    try:
        date = _gather(results, config, data, choice)
        check_secrets(data)
        bag.write_tags(
            part,
            {
                "External-Description": f"{config['project']}: data, models and report of a run of kg2clip. "
                "Begin with data/README.md",
                "Bagging-Date": date[:10],
            },
        )
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _gather(results: Path, config: Settings, data: Path, choice: Choice) -> str:
    """Fill the payload; returns when the report was made."""
    for file in files_of(results, config, choice):
        _copy(results / file, data / RESULTS / file)
    for path in (data / RESULTS / "provenance").glob("*.json"):
        write_json(
            path, {key: portable(value) if key == "settings" else value for key, value in read_json(path).items()}
        )
    removals.add(data / REMOVED, [{"candidateID": key} for key in _removed(results, config)])
    for name, benchmark in config["evaluate"]["benchmarks"].items():
        for file in CLASSES:
            if (Path(benchmark["path"]) / file).is_file():
                _copy(Path(benchmark["path"]) / file, data / "benchmarks" / name / file)
    write_text(data / CONFIG, yaml.safe_dump(portable(config), sort_keys=False, allow_unicode=True))
    for path in sorted([*(ROOT / "envs").iterdir(), *(ROOT / "config" / "recipes").iterdir()]):
        _copy(path, data / "environment" / path.name if path.parent.name == "envs" else data / "recipes" / path.name)
    write_text(data / "environment" / "installed.txt", _installed())
    version = _code_version()
    write_json(data / VERSION, version)
    if version["changedSinceCommit"]:
        log.warning("the code was changed since its last commit, so others can't get it: commit it, and bundle again")
    _copy(ROOT / CITATION, data / "code" / CITATION)
    record = read_json(results / "provenance" / "make_report.json")
    date = str(record.get("made") or record["date"])
    _render(results, config, data, date)
    write_text(data / "README.md", _readme(config, data, choice, date))
    write_json(data / "ro-crate-metadata.json", _crate(config, data, date))
    return date


def files_of(results: Path, config: Settings, choice: Choice) -> Iterator[str]:
    """The files of a run that go into its bundle, by their names below its folder."""
    files = {file for step in declared.steps(config) for file in (*step.files, step.provenance)}
    patterns = (*ALSO, "dataset/*.tar", "dataset/*.index.parquet") if choice.pictures else ALSO
    files |= {path.relative_to(results).as_posix() for pattern in patterns for path in results.glob(pattern)}
    yield from sorted(file for file in files if choice.models or not file.endswith(WEIGHTS))


def portable(value: Any) -> Any:
    """A config or record in which no text says where on this machine something lies: of a path its name is left."""
    if isinstance(value, dict):
        return {key: portable(below) for key, below in value.items()}
    if isinstance(value, list):
        return [portable(below) for below in value]
    return PLACE.sub(r"\1", value, count=1) if isinstance(value, str) and PLACE.match(value) else value


def figures(html: str) -> list[str]:
    """The charts of a report, as SVG."""
    page, _, _ = html.partition("<script")  # Vega holds drawings of its own
    return re.findall(r"<svg\b.*?</svg>", page, re.DOTALL)


def check_secrets(data: Path) -> None:
    """Refuse texts that hold the value of an environment variable that looks like a secret.

    Raises:
        UserError: one does; with the variable's name and the file.
    """
    secrets = {
        name: value.encode()
        for name, value in os.environ.items()
        if SECRET.search(name) and len(value.strip()) >= SHORTEST_SECRET
    }
    for path in sorted(data.rglob("*")) if secrets else ():
        if path.suffix not in TEXTS:
            continue
        content = path.read_bytes()
        for name, value in secrets.items():
            if value.strip() in content:
                place = path.relative_to(data).as_posix()
                raise UserError(
                    f"{place} would hold the value of {name}, a secret. Take it out of the config or the run"
                )


def _check_finished(results: Path, config: Settings) -> None:
    run = verify.Run(results, config, quick=True)
    if not results.is_dir():
        raise UserError(f"there is no folder {results}. Make the results first with: snakemake --profile local")
    wrong = [found for found in verify.check_presence(run) if found.level != "ok"]
    if wrong:
        raise UserError(f"the run is not finished ({wrong[0].about}: {wrong[0].says}). Finish it with snakemake first")


def _removed(results: Path, config: Settings) -> list[str]:
    """The candidates of this run that somebody wants out; why, and those of other projects, is nobody's business."""
    wanted_out = set(removals.keys(config["dataset"]["removed"]))
    candidates = tables.read_rows(results / "search" / "candidates.parquet", ["candidateID"]) if wanted_out else ()
    return sorted(wanted_out.intersection(row["candidateID"] for row in candidates))


def _check_removed(results: Path, config: Settings) -> None:
    """No picture is published that its author wants out.

    Raises:
        UserError: the dataset holds one still.
    """
    if found := packed_of(results, removals.keys(config["dataset"]["removed"])):
        raise UserError(
            f"{results / 'dataset'} still holds {len(found):,} pictures of {config['dataset']['removed']}, {found[0]} "
            "among them. Start snakemake, which takes them out, and bundle then"
        )


def packed_of(results: Path, wanted_out: Iterable[str]) -> list[str]:
    """The keys of packed pictures of which a copy is among these candidates."""
    unwanted = set(wanted_out)
    rows = tables.read_rows(results / "dataset" / "manifest.parquet", ["key", "candidateIDs"])
    return [row["key"] for row in rows if not unwanted.isdisjoint([row["key"], *(row["candidateIDs"] or ())])]


def _check_pictures(run: verify.Run) -> None:
    """The shards that go in are those of the manifest."""
    for finding in (*verify.check_dataset(run), *verify.check_indices(run)):
        if finding.level == "error":
            raise UserError(f"{finding.about} {finding.says}, and bundle then")


def _render(results: Path, config: Settings, data: Path, date: str) -> None:
    """Make the report once more, keep its pictures and figures, and see that it is the stored one."""
    opened = open_results(results, config)
    pictures = Recorder(opened)
    html, _ = page.render(opened, date, pictures)
    stored = results / "report" / "index.html"
    if html != stored.read_text(encoding="utf-8"):
        raise UserError(
            f"{stored} is not what the tables give with this code. Make it again: rm {stored} and start snakemake again"
        )
    write_json(data / SHOWN, pictures.shown)
    for number, figure in enumerate(figures(html), start=1):
        write_text(data / "figures" / f"figure-{number}.svg", figure)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _installed() -> str:
    """Installed packages as in a requirements file."""
    found = {str(each.metadata["Name"]).lower(): each.version for each in distributions() if each.metadata["Name"]}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


def _code_version() -> dict[str, Any]:
    programs = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "repository": _repository(),
        "commit": (_git("rev-parse", "HEAD") or "").strip() or None,
        "changedSinceCommit": None if status is None else bool(status.strip()),
        "codeHashes": {program: codehash.code_hash(program) for program in programs},
    }


def _repository() -> str | None:
    """Where the code was cloned from, if that is an address for all: no folder, no user, no key."""
    address = (_git("remote", "get-url", "origin") or "").strip()
    return address if re.fullmatch(r"https://[\w.-]+/[\w./-]+", address) else None


def _git(*command: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


CONTENTS = (
    ("config.yaml", "the whole config, defaults filled in"),
    ("results/knowledge, queries, search", "entities, queries, and every candidate with address, licence, creator"),
    ("results/download, curate", "what became of each candidate: SHA-256 of the bytes, hashes, decision, reason"),
    ("results/dataset", "manifest (texts, licences, SHA-256), Croissant description, data card, attribution"),
    ("results/models", "open_clip config, model card, final metrics"),
    ("results/evaluation", "stored predictions, and the scores made from them"),
    ("results/report/index.html", "the report: open it in a browser"),
    ("results/provenance", "date, versions, settings, code hash and counts of each step"),
    ("figures", "the report's charts"),
    ("report-pictures.json", "the small pictures that the report shows"),
    (REMOVED, "pictures that were left out because somebody asked for it"),
    ("benchmarks", "the names of the test sets' classes; no pictures"),
    ("environment, recipes", "package locks, what was installed, training recipes"),
    ("code", "git commit, code hashes, how to cite the program"),
)


def _readme(config: Settings, data: Path, choice: Choice, date: str) -> str:
    table = "\n".join(f"| `{name}` | {what} |" for name, what in CONTENTS)
    pictures = "The shards with the pictures are in `results/dataset`." if choice.pictures else (
        "The pictures themselves are not in here, since their licences are those of their authors; their addresses and "
        "checksums are, and `python scripts/rebuild.py BUNDLE --contact YOUR-ADDRESS` fetches what is still there."
    )  # fmt: skip
    version = read_json(data / VERSION)
    commit = f"at commit {version['commit']}" if version["commit"] else "see code/version.json"
    changes = ", with changes that no commit holds" if version["changedSinceCommit"] else ""
    code = f"{version['repository'] or ''} {commit}{changes}".strip()
    weights = "The weights are in `results/models`." if choice.models else "The models' weights are not in here."
    return f"""# {config["project"]}

Data, models and report of a run of kg2clip, as of {date}. The folder is a BagIt bag (RFC 8493), its payload an
RO-Crate.

| what | holds |
| --- | --- |
{table}

{pictures} {weights}

## Checking it

In a clone of kg2clip ({code}) with its packages installed:

    python scripts/verify_bundle.py PATH/TO/THIS/BUNDLE

compares every file with its checksum, makes the scores from the predictions and the report from the tables again, and
says whether they are equal. `sha256sum -c manifest-sha256.txt`, in the folder above this one, does the first of these.

Tables are Parquet (pandas, R's arrow and DuckDB read it); their columns are explained in kg2clip's `docs/files.md` and
`scripts/kg2clip/tables.py`.

## Licences and citing

Each picture, with the texts that came with it, has the licence of its author: `results/dataset/attribution.csv` says
which, and whom to credit. kg2clip and its recipes are under Apache-2.0. For the tables, the report and the models the
licence holds that is named where this archive was published.

Cite this archive by its DOI, kg2clip by `code/{CITATION}`, and the sources as the report says under "What to cite".
"""


def _crate(config: Settings, data: Path, date: str) -> dict[str, Any]:
    """RO-Crate 1.1 metadata (https://w3id.org/ro/crate/1.1), with the terms of schema.org."""
    files = sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())
    kinds = {".parquet": "application/vnd.apache.parquet", ".json": "application/json", ".html": "text/html",
             ".csv": "text/csv", ".md": "text/markdown", ".svg": "image/svg+xml", ".txt": "text/plain",
             ".yaml": "application/yaml", ".tar": "application/x-tar"}  # fmt: skip
    parts = [
        {
            "@id": name,
            "@type": "File",
            "contentSize": str((data / name).stat().st_size),
            "encodingFormat": kinds.get(Path(name).suffix, "application/octet-stream"),
        }
        for name in files
    ]
    version = read_json(data / VERSION)
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": "ro-crate-metadata.json",
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": config["project"],
                "description": "Image-text pairs harvested by queries made from a knowledge graph, models trained on "
                "them, their evaluation, and the provenance of all.",
                "datePublished": date,
                "license": {"@id": "#licences"},
                "hasPart": [{"@id": name} for name in files],
                "mentions": {"@id": "#run"},
            },
            {
                "@id": "#licences",
                "@type": "CreativeWork",
                "name": "each picture's own licence",
                "description": "results/dataset/attribution.csv names the licence of each picture and whom to credit.",
            },
            {
                "@id": "#run",
                "@type": "CreateAction",
                "name": "the run that made it",
                "instrument": {"@id": "#kg2clip"},
                "object": {"@id": CONFIG},
                "result": {"@id": "./"},
                "endTime": date,
            },
            {
                "@id": "#kg2clip",
                "@type": "SoftwareApplication",
                "name": "kg2clip",
                "version": version["commit"] or stable_hash(version["codeHashes"]),
                "license": "https://www.apache.org/licenses/LICENSE-2.0",
                "citation": "https://arxiv.org/abs/2505.02746",
            },
            *parts,
        ],
    }
