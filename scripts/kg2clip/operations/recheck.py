"""A bundle checked: its files against their checksums, its scores and its report made again from its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kg2clip import codehash, settings
from kg2clip.errors import UserError
from kg2clip.files import read_json
from kg2clip.operations import bag, bundle, verify
from kg2clip.operations.findings import Finding, error, ok, warning
from kg2clip.operations.snapshots import Snapshots
from kg2clip.report import page
from kg2clip.report.results import open_results

# What verify.py advises about a run; a bundle is never to be changed.
ADVICE = re.compile(r"\. (Type: (rm|chmod)|To make it again) .*", re.DOTALL)


def recheck(folder: Path) -> Iterator[Finding]:
    """All checks of a bundle that lies in a folder; nothing is made again from files that are not what was bundled.

    Raises:
        UserError: the folder is no bundle.
    """
    wrong = False
    for finding in bag.check(folder):
        wrong |= finding.level == "error"
        yield finding
    if wrong:
        yield warning("report", "not made again, since files differ")
        return
    for finding in verify.guarded("bundle", _remake(folder / bag.PAYLOAD)):
        yield replace(finding, says=ADVICE.sub("", finding.says))


def _remake(data: Path) -> Iterator[Finding]:
    config = load_config(data)
    run = verify.Run(data / bundle.RESULTS, config)
    yield from check_code(data)
    yield from verify.check_tables(run)
    yield from verify.guarded("counts", verify.check_counts(run))
    yield from verify.guarded("attribution", verify.check_attribution(run))
    yield from verify.guarded("evaluation", verify.check_scores(run))
    yield from verify.guarded("report", check_report(data, config))
    if any(run.paths("dataset/*.tar")):
        yield from verify.guarded("dataset", verify.check_dataset(run))
        yield from verify.guarded("papers", verify.check_papers(run))
    if any(run.paths("dataset/*.index.parquet")):
        yield from verify.guarded("indices", verify.check_indices(run))


def load_config(data: Path) -> settings.Settings:
    """The bundled config, its benchmarks and the list of removed pictures led to what is bundled with it."""
    config = settings.load(data / bundle.CONFIG)
    config["dataset"]["removed"] = str(data / bundle.REMOVED)
    for name, benchmark in config["evaluate"]["benchmarks"].items():
        benchmark["path"] = str(data / "benchmarks" / name)
    return config


def check_code(data: Path) -> Iterator[Finding]:
    """Whether this clone's code is that of the bundle, where it makes scores and report."""
    version = read_json(data / bundle.VERSION)
    other = [
        name for name in ("gather_scores", "make_report") if version["codeHashes"].get(name) != codehash.code_hash(name)
    ]
    if other:
        known = re.fullmatch("[0-9a-f]{40}", version["commit"] or "")
        advice = f"git checkout {known[0]}" if known else "take the code of that run"
        yield warning("code", f"{', '.join(other)} differ from the bundle's. To compare like with like: {advice}")
    else:
        yield ok("code", "what makes scores and report is as it was")


def check_report(data: Path, config: settings.Settings) -> Iterator[Finding]:
    """The report and its figures, made again from the tables."""
    results = data / bundle.RESULTS
    record = read_json(results / "provenance" / "make_report.json")
    try:
        opened = open_results(results, config)
        shown = Snapshots(opened, shown=read_json(data / bundle.SHOWN))
        made, _ = page.render(opened, str(record.get("made") or record["date"]), shown)
    except UserError as failure:
        yield error("report", str(failure))
        return
    stored = (results / "report" / "index.html").read_text(encoding="utf-8")
    if made != stored:
        yield error("report", f"made again from the tables it is another: {first_difference(stored, made)}")
    else:
        yield ok("report", "made again from the tables it is the same, byte for byte")
    drawn = bundle.figures(made)
    files = sorted((data / "figures").glob("figure-*.svg"), key=lambda path: int(path.stem.split("-")[1]))
    if [path.read_text(encoding="utf-8") for path in files] == drawn:
        yield ok("figures", f"{len(drawn)} drawn again are the same")
    else:
        yield error("figures", "drawn again they are others")


def first_difference(stored: str, made: str) -> str:
    """The first line that differs, shortened around the place."""
    for number, (old, new) in enumerate(zip(stored.split("\n"), made.split("\n"), strict=False), start=1):
        if old != new:
            place = next(
                (at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
            )
            start = max(0, place - 30)
            return f"line {number}: {old[start : place + 40]!r} is now {new[start : place + 40]!r}"
    return "one is longer"
