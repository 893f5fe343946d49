"""A bundle's dataset made again from the addresses in it: what is still there, as it was, packed as it was decided.

Only the pictures that were kept are fetched. A picture whose bytes are others than those that were looked at is left
out: the decision was about another one. Nothing of the bundle's config that reaches into this machine is followed: no
folder of pictures, no private hosts; and its contact is that of other people. Nor may it make this machine impolite or
run out of memory: lanes are not faster than by default, and CEILINGS hold.
"""

from __future__ import annotations

import copy
import multiprocessing
import signal
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from kg2clip import removals, settings, tables, web
from kg2clip.curate.batch import Batch, decode_batch
from kg2clip.curate.decode import Rules
from kg2clip.curate.pictures import Examiners
from kg2clip.download import reasons
from kg2clip.download.batch import fetch_batch, fetch_leftovers
from kg2clip.download.lanes import batch_names, leftover_names
from kg2clip.errors import UserError, start_logging
from kg2clip.files import only_writer, sha256_file, write_text
from kg2clip.folder import SOURCE as FOLDER
from kg2clip.operations import bag, bundle, verify
from kg2clip.operations.findings import shown
from kg2clip.processes import be_killed_with_parent, die_with_parent
from kg2clip.settings import ROOT, Settings

SAME, CHANGED, GONE, SILENT = "same", "changed", "gone", "no answer now"
KEPT = Path("search", "kept.parquet")  # the candidates to fetch
MOST_LANES = 8  # that are fetched side by side, whatever a bundle's config wants
NAMES_TRIED = 20  # hosts looked up before all of them are believed to be out of reach
WORKERS = 2  # processes that decode, for each lane
OUTCOMES = (SAME, CHANGED, GONE, SILENT)
CEILINGS = {
    "download": {"max_bytes": 300_000_000, "total_timeout": 600, "attempts": 5},
    "curate": {"max_pixels": 500_000_000},
}
LANE_LIMITS = ("connections", "requests_per_second", "megabits_per_second")


@dataclass(frozen=True)
class Place:
    """Where a bundle's tables lie and where its dataset is made again."""

    bundle: Path  # results/ in the bundle
    folder: Path  # results/{project}-rebuilt

    @property
    def config(self) -> Path:
        """The config of the rebuilding."""
        return self.folder / "config.yaml"

    @property
    def removed(self) -> Path:
        """Pictures that were taken down before the bundle was made."""
        return self.folder / "removed.csv"

    def manifest(self, batch: str) -> Path:
        """What became of a batch's downloads."""
        return self.folder / "download" / f"{batch}.manifest.parquet"

    def features(self, batch: str) -> Path:
        """A batch's decoded pictures."""
        return self.folder / "curate" / f"{batch}.features.parquet"


def prepare(bag_folder: Path, folder: Path, contact: str) -> tuple[Place, Settings]:
    """Write the config and the table of the pictures to fetch.

    Raises:
        UserError: the bundle is not whole, not as a bundle is, or keeps no picture; `folder` holds something else.
    """
    if wrong := [finding for finding in bag.check(bag_folder) if finding.level == "error"]:
        raise UserError(f"the bundle is not whole: {wrong[0].about} {wrong[0].says}. See scripts/verify_bundle.py")
    try:
        return _prepare(bag_folder / bag.PAYLOAD, folder, contact)
    except UserError:
        raise
    except verify.UNREADABLE as failure:
        raise UserError(
            f"a table of the bundle is not as a bundle's ({failure}). See scripts/verify_bundle.py"
        ) from None


def check_target(folder: Path) -> None:
    """Refuse a folder that holds something else than an earlier rebuilding: its pictures would be written over.

    Raises:
        UserError: it does.
    """
    if folder.exists() and not (folder / KEPT).is_file() and any(folder.glob("[!.]*")):
        raise UserError(f"{folder} holds something else than a dataset made again. Name another folder with --output")


def _prepare(data: Path, folder: Path, contact: str) -> tuple[Place, Settings]:
    place = Place(data / bundle.RESULTS, folder)
    config = own_config(settings.load(data / bundle.CONFIG), folder.name, contact)
    config["dataset"]["removed"] = str(place.removed)
    write_text(place.config, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    fetched = pa.array(sorted(_kept(place)), pa.string())
    candidates = tables.read(place.bundle / "search" / "candidates.parquet")
    wanted = candidates.filter(pc.is_in(candidates["candidateID"], value_set=fetched))
    if not len(wanted):
        raise UserError("the bundle keeps no picture, so there is nothing to make again")
    tables.write(wanted, tables.CANDIDATES, folder / KEPT)
    return place, settings.load(place.config)


def _kept(place: Place) -> set[str]:
    """The pictures of the bundle's dataset but those that this clone's own list takes out.

    These, and those that the bundle took down, stand on a list that packing reads.
    """
    rows = tables.read_rows(place.bundle / "curate" / "decisions.parquet", ["candidateID", "kept"])
    kept = {row["candidateID"] for row in rows if row["kept"]}
    packed = {row["key"] for row in tables.read_rows(place.bundle / "dataset" / "manifest.parquet", ["key"])}
    gone = [{"candidateID": key, "reason": "taken down in the bundle"} for key in sorted(kept - packed)]
    ours = bundle.packed_of(place.bundle, removals.keys(settings.default("dataset.removed")))
    removals.add(place.removed, gone + [{"candidateID": key, "reason": "on this clone's list"} for key in ours])
    return (kept & packed).difference(ours)


def own_config(config: Settings, project: str, contact: str) -> Settings:
    """The bundle's config as it may be followed here."""
    own = copy.deepcopy(config)
    own |= {"project": project, "contact": contact, "accept_partial": True}
    sources = {name: source for name, source in config["search"]["sources"].items() if name != FOLDER}
    own["search"]["sources"] = sources or {"wikidata": {}}  # none is asked, but the config must name one
    own["download"] |= {"private_hosts": [], "respect_opt_out": True}
    for section, ceilings in CEILINGS.items():
        own[section] |= {key: min(own[section][key], most) for key, most in ceilings.items()}
    usual = settings.default("download.lanes").values()
    fastest = {key: max(lane[key] for lane in usual if key in lane) for key in LANE_LIMITS}
    for lane in own["download"]["lanes"].values():
        if not (lane["hosts"] and all(map(web.is_reserved, lane["hosts"]))):  # the mirror's names lead to this machine
            lane |= {key: min(lane[key], most) for key, most in fastest.items()}
    return own


def fetch(place: Place, config: Settings) -> None:
    """Fetch and decode all batches, then all leftovers: lanes side by side, the batches of one lane one after the
    other, as is polite.

    Raises:
        UserError: no contact, no internet, the disk full, a batch of an earlier version.
    """
    if not all(place.manifest(name).is_file() for name in batch_names(config)):
        _check_internet(place)
    lanes = [list(names) for _, names in groupby(batch_names(config), key=lambda name: name.rpartition("-")[0])]
    with _lane_workers(len(lanes)) as pool:
        try:
            for names in (lanes, [[name] for name in leftover_names(config)]):
                with _deaf_to_ctrl_c():
                    begun = [pool.submit(_fetch_lane, place, config, batches) for batches in names]
                for lane in begun:
                    lane.result()
        except BaseException:  # the pool would wait for the lanes' ends
            for worker in multiprocessing.active_children():
                worker.kill()
            raise


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started meanwhile leave Ctrl-C to this one, which ends them: else each shows a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_internet(place: Place) -> None:
    """Without internet nothing would come; names that exist in no DNS, the mirror's, would be told to be gone for good.

    Raises:
        UserError: not one of the largest hosts has an address.
    """
    rows = tables.read_rows(place.folder / KEPT, ["accessURI"])
    hosts = Counter(host for row in rows if (host := web.host_of(row["accessURI"] or "")))
    tried = [host for host, _ in hosts.most_common(NAMES_TRIED)]
    if tried and not any(map(_has_address, tried)):
        advice = "Does this machine have internet? See: python scripts/doctor.py"
        if all(map(web.is_reserved, tried)):
            advice = "They are the mirror's: begin the command with python scripts/with_mirror.py --config CONFIG --"
        raise UserError(f"none of the bundle's hosts has an address ({', '.join(tried[:3])}). {advice}")


def _has_address(host: str) -> bool:
    try:
        return bool(web.addresses(host, 443))
    except socket.gaierror:
        return False
    except (web.RefusedError, UnicodeError):  # an address that may not be asked; a name that is none
        return True


def _lane_workers(lanes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(lanes, MOST_LANES), multiprocessing.get_context("spawn"), initializer=_start)


def _start() -> None:
    die_with_parent()
    start_logging()


def _fetch_lane(place: Place, config: Settings, batches: Sequence[str]) -> None:
    candidates = place.folder / KEPT
    first_pass = [place.manifest(name) for name in batch_names(config)]
    with Examiners(WORKERS) as examiners:
        for name in batches:
            batch = Batch(place.manifest(name), place.features(name))
            if name in leftover_names(config):
                fetch_leftovers(candidates, first_pass, name, batch.manifest, config)
            else:
                fetch_batch(candidates, name, batch.manifest, config)
            with only_writer(batch.decoded):
                tables.write(decode_batch(batch, Rules.of(config), examiners), tables.FEATURES, batch.features)


def outcomes(place: Place, config: Settings) -> Iterator[dict[str, Any]]:
    """What became of each picture: candidateID, host, outcome, reason, address. A second pass's word is the last."""
    before = {
        row["candidateID"]: row["sha256"]
        for path in sorted((place.bundle / "download").glob("*.manifest.parquet"))
        for row in tables.read_rows(path, ["candidateID", "sha256"])
        if row["sha256"]
    }
    columns = ["candidateID", "host", "accessURI", "status", "reason", "sha256"]
    manifests = [place.manifest(batch) for batch in batch_names(config) + leftover_names(config)]
    last = {row["candidateID"]: row for manifest in manifests for row in tables.read_rows(manifest, columns)}
    for key, row in last.items():
        yield {
            "candidateID": key,
            "host": row["host"] or "?",
            "outcome": _outcome(row, before.get(key)),
            "reason": row["reason"],
            "accessURI": row["accessURI"],
        }


def _outcome(row: Mapping[str, Any], sha256: str | None) -> str:
    if row["status"] == reasons.SUCCESS:
        return SAME if row["sha256"] == sha256 else CHANGED
    return SILENT if reasons.is_transient(row["reason"]) else GONE


def by_host(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each host, the largest first: how many pictures came the same, changed, are gone, and why."""
    hosts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in found:
        hosts[row["host"]].append(row)
    for host, rows in sorted(hosts.items(), key=lambda item: (-len(item[1]), item[0])):
        counts = Counter(row["outcome"] for row in rows)
        why = Counter(row["reason"] for row in rows if row["reason"])
        told = ", ".join(f"{counts[name]:,} {name}" for name in OUTCOMES if counts[name])
        reasons_told = f" ({', '.join(f'{word} {number:,}' for word, number in why.most_common(5))})" if why else ""
        yield shown(f"{host}: {len(rows):,} pictures, {told}{reasons_told}")


def pack(place: Place, config: Settings, found: Sequence[Mapping[str, Any]]) -> None:
    """Pack what came the same, by the bundle's decisions.

    Raises:
        UserError: nothing came the same.
    """
    lost = {row["candidateID"]: row for row in found if row["outcome"] != SAME}
    decisions = tables.read(place.bundle / "curate" / "decisions.parquet").to_pylist()
    for row in decisions:
        if row["candidateID"] in lost:
            row |= {"kept": False, "stage": "download", "reason": lost[row["candidateID"]]["reason"] or CHANGED}
    path = place.folder / "curate" / "decisions.parquet"
    tables.write(decisions, tables.DECISIONS, path)
    command = [sys.executable, str(ROOT / "scripts" / "pack_dataset.py"), "--config", str(place.config),
               "--entities", str(place.bundle / "knowledge" / "entities.parquet"),
               "--queries", str(place.bundle / "queries" / "queries.parquet"),
               "--candidates", str(place.bundle / "search" / "candidates.parquet"),
               "--features", *[str(place.features(batch)) for batch in batch_names(config) + leftover_names(config)],
               "--decisions", str(path), "--output-dir", str(place.folder / "dataset"),
               "--provenance", str(place.folder / "provenance" / "pack_dataset.json")]  # fmt: skip
    if subprocess.run(command, preexec_fn=be_killed_with_parent).returncode:
        raise UserError("packing ended with an error, which stands above. The same command goes on from there")


def compare(place: Place) -> str:
    """The new dataset against the bundle's, in a sentence."""
    old, new = (folder / "dataset" / "manifest.parquet" for folder in (place.bundle, place.folder))
    if sha256_file(old) == sha256_file(new):
        return f"{tables.count(new):,} pictures: the dataset is that of the bundle, byte for byte"
    before = {row["key"]: row["sha256"] for row in tables.read_rows(old, ["key", "sha256"])}
    rows = list(tables.read_rows(new, ["key", "sha256"]))
    equal = sum(before.get(row["key"]) == row["sha256"] for row in rows)
    return f"{len(rows):,} of the bundle's {len(before):,} pictures are packed, {equal:,} with the same bytes"
