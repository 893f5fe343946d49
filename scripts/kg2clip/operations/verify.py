"""What a run's tables say, against what lies beside them: each check yields findings that name what is gone or changed.

Snakemake knows the declared files only: it makes them again when they are gone, but looks neither into them nor at the
tars, indices and weights that they describe. These checks do.
"""

from __future__ import annotations

import filecmp
import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kg2clip import tables, tars
from kg2clip.dataset import index
from kg2clip.dataset.papers import write_attribution
from kg2clip.errors import UserError
from kg2clip.evaluate.scores import gather
from kg2clip.files import read_json, sha256_bytes, sha256_file
from kg2clip.operations import declared
from kg2clip.operations.findings import Finding, error, ok, warning
from kg2clip.progress import Progress
from kg2clip.settings import Settings, own_sets
from kg2clip.train import recipe

Row = Mapping[str, Any]

TAR_SHA256 = b"kg2clip.tarSHA256"  # of a decoded tar, in the metadata of its shard's table (curate/batch.py)
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
RUN = "start snakemake again"
# What a file that is not what its name says may lead to. ArrowInvalid and UnicodeDecodeError are ValueErrors.
UNREADABLE = (UserError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
              pa.ArrowException, duckdb.Error)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run's folder and config; `quick`: look at presence and sizes only."""

    folder: Path
    config: Settings
    quick: bool = False

    def paths(self, pattern: str) -> list[Path]:
        """Files of a pattern, sorted."""
        return sorted(self.folder.glob(pattern))


def verify(run: Run) -> Iterator[Finding]:
    """All checks, in the order of the data.

    Raises:
        UserError: there is no such folder.
    """
    if not run.folder.is_dir():
        raise UserError(f"there is no folder {run.folder}. Make the results first with: snakemake --profile local")
    if not os.access(run.folder, os.R_OK | os.X_OK):
        raise UserError(f"{run.folder} may not be read. Type: chmod u+rx {run.folder}")
    checks = (check_presence, check_tables, check_jsons, check_downloads, check_features, check_counts, check_dataset,
              check_indices, check_papers, check_attribution, check_models, check_scores)  # fmt: skip
    for check in checks:
        yield from guarded(check.__name__.removeprefix("check_"), check(run))


def guarded(about: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Findings, and one more where a file can't be read: check_tables says which, the others still have their say."""
    try:
        yield from findings
    except PermissionError as failure:
        yield error(str(failure.filename or about), "may not be read by you. Type: chmod u+r on it")
    except UNREADABLE as failure:
        yield error(about, f"could not be checked: {failure}")


def check_presence(run: Run) -> Iterator[Finding]:
    """Declared files that were made once and are gone, and those that are not made yet."""
    waiting = []
    steps = list(declared.steps(run.config))
    for step in steps:
        missing = [file for file in (*step.files, step.provenance) if not (run.folder / file).is_file()]
        if len(missing) > len(step.files):  # the provenance, which is written last, among them
            waiting.append(step.name)
            continue
        for file in missing:
            yield error(str(run.folder / file), f"is gone. To make it again {RUN}")
        for path in (run.folder / file for file in (*step.files, step.provenance) if file not in missing):
            if not path.stat().st_size:
                yield error(str(path), f"is empty. {_remake(path)}")
    if waiting:
        yield warning("steps", f"not done yet: {_some(waiting)}")
    else:
        yield ok("steps", f"{len(steps)} done")


def check_tables(run: Run) -> Iterator[Finding]:
    """Whether every declared table can be read to its end."""
    found, wrong = declared.tables(run.config, run.folder), 0
    for path in found:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                absent = sorted(declared.columns(path) - {*file.schema_arrow.names})
                for _ in () if run.quick else file.iter_batches():
                    pass
        except PermissionError:
            wrong += 1
            yield error(str(path), f"may not be read by you. Type: chmod u+r {path}")
        except (pa.ArrowException, OSError) as failure:
            wrong += 1
            yield error(str(path), f"is no whole table ({failure}). {_remake(path)}")
        else:
            if absent:
                wrong += 1
                yield error(str(path), f"is another table: it lacks {_some(absent)}. {_remake(path)}")
    if not wrong:
        yield ok("tables", f"{len(found)} can be read")


def check_jsons(run: Run) -> Iterator[Finding]:
    """Whether every declared JSON file, provenance included, is one."""
    files = [file for step in declared.steps(run.config) for file in (*step.files, step.provenance)]
    for path in (run.folder / file for file in files if file.endswith(".json")):
        try:
            whole = not path.is_file() or isinstance(read_json(path), dict)
        except (OSError, ValueError, RecursionError):
            whole = False
        if not whole:
            yield error(str(path), f"is no JSON as the workflow writes it. {_remake(path)}")


def check_downloads(run: Run) -> Iterator[Finding]:
    """Fetched pictures in the raw tars, by SHA-256."""
    for manifest in run.paths("download/*.manifest.parquet"):
        yield from guarded(str(manifest), _check_download(run, manifest))


def _check_download(run: Run, manifest: Path) -> Iterator[Finding]:
    batch = manifest.name.removesuffix(".manifest.parquet")
    folder = manifest.with_name(batch)
    rows = tables.read(manifest, ["candidateID", "shard", "status", "bytes", "sha256"]).to_pylist()
    stored = [row for row in rows if row["status"] == "success"]
    if stored and not any(folder.glob("*.tar")):
        if (run.folder / "curate" / f"{batch}.features.parquet").is_file():
            yield ok(f"download/{batch}", "no raw tars; the decoded ones are what shards are packed from")
        else:
            yield error(str(folder), f"the raw tars are gone. {_remake(manifest)}")
        return
    by_tar = _grouped(stored, "shard", folder)
    yield from _check_tars(run, f"download/{batch}", by_tar, _raw_differs, manifest)
    yield from _check_strays(folder, by_tar, manifest)


def _check_strays(folder: Path, known: Iterable[Path], table: Path) -> Iterator[Finding]:
    """Tars whose pictures a table lost: the stages leave none that it does not name."""
    for stray in sorted(set(folder.glob("*.tar")) - set(known)):
        yield error(str(stray), f"holds pictures that {table.name} does not name. {_remake(table)}")


def _raw_differs(run: Run, tar: Path, rows: list[Row]) -> Iterator[str]:
    members = {member.name.split(".")[0]: member for member in tars.members(tar)}
    for row in rows:
        member = members.get(row["candidateID"])
        if (
            member is None
            or member.size != row["bytes"]
            or (not run.quick and sha256_bytes(member.read()) != row["sha256"])
        ):
            yield row["candidateID"]


def check_features(run: Run) -> Iterator[Finding]:
    """Decoded pictures in their tars: each at its place, and every tar as it was written."""
    for table in run.paths("curate/*.features.parquet"):
        yield from guarded(str(table), _check_batch_of_features(run, table))


def _check_batch_of_features(run: Run, table: Path) -> Iterator[Finding]:
    batch = table.name.removesuffix(".features.parquet")
    rows = tables.read(table, ["candidateID", "tar", "offset", "size"]).to_pylist()
    by_tar = _grouped([row for row in rows if row["tar"]], "tar", table.parent)
    yield from _check_tars(run, f"curate/{batch}", by_tar, _decoded_differs, table)


def _decoded_differs(run: Run, tar: Path, rows: list[Row]) -> Iterator[str]:
    wrong = [row["candidateID"] for row in rows if not _is_jpeg(tar, row, run.quick)]
    yield from wrong
    if not run.quick and not wrong and _written_sha256(tar) not in (None, sha256_file(tar)):
        yield "a byte that no table places"


def _is_jpeg(tar: Path, row: Row, quick: bool) -> bool:
    if quick:
        return bool(tar.stat().st_size >= row["offset"] + row["size"])
    content = tars.read_at(tar, row["offset"], row["size"])
    return content.startswith(JPEG_START) and content.endswith(JPEG_END)


def _written_sha256(tar: Path) -> str | None:
    """The SHA-256 that was written down with a decoded tar; None where that is gone."""
    try:
        labels = pq.read_schema(tar.with_name(f"{tar.name}.features.parquet")).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return labels[TAR_SHA256].decode() if TAR_SHA256 in labels else None


def check_counts(run: Run) -> Iterator[Finding]:
    """Whether each row of a table is found again in the next: a table that can be read may still lack some."""
    wrong = 0
    for table, expected, source in _expected_rows(run):
        if (rows := tables.count(table)) != expected:
            wrong += 1
            yield error(str(table), f"has {rows:,} rows; {expected:,} are due, says {source.name}. {_remake(table)}")
    if not wrong:
        yield ok("counts", "every row is found again in the next table")


def _expected_rows(run: Run) -> Iterator[tuple[Path, int, Path]]:
    """Tables with the number of rows that they must have, and what says so."""
    for step in declared.steps(run.config):
        manifest, record = run.folder / step.files[0], run.folder / step.provenance
        if not step.name.startswith("fetch_") or not manifest.is_file():
            continue
        if record.is_file() and "candidates" in (counts := read_json(record)["counts"]):
            yield manifest, counts["candidates"], record
        features = run.folder / "curate" / manifest.name.replace(".manifest.", ".features.")
        if features.is_file():
            fetched = pc.sum(pc.equal(tables.read(manifest, ["status"])["status"], "success")).as_py() or 0
            yield features, fetched, manifest
    decisions, candidates = run.folder / "curate" / "decisions.parquet", run.folder / "search" / "candidates.parquet"
    if decisions.is_file() and candidates.is_file():
        yield decisions, tables.count(candidates), candidates


def check_dataset(run: Run) -> Iterator[Finding]:
    """Packed pictures in the shards, by SHA-256, and shards that no manifest knows."""
    manifest = run.folder / "dataset" / "manifest.parquet"
    if not manifest.is_file():
        return
    rows = tables.read(manifest, ["key", "shard", "offset", "size", "sha256"]).to_pylist()
    shards = _grouped(rows, "shard", manifest.parent)
    yield from _check_tars(run, "dataset", shards, _packed_differs, manifest, "key")
    if not rows:
        yield error(str(manifest), f"names no picture. {_remake(manifest)}")
        return
    known = {*shards, *map(index.path_of, shards)}
    for stray in sorted({*run.paths("dataset/*.tar"), *run.paths("dataset/*.index.parquet")} - known):
        yield error(str(stray), f"is in no manifest. Type: rm {stray}")


def _packed_differs(run: Run, tar: Path, rows: list[Row]) -> Iterator[str]:
    for row in rows:
        if run.quick:
            if tar.stat().st_size < row["offset"] + row["size"]:
                yield row["key"]
        elif sha256_bytes(tars.read_at(tar, row["offset"], row["size"])) != row["sha256"]:
            yield row["key"]


def check_indices(run: Run) -> Iterator[Finding]:
    """The index beside each shard: the manifest's rows of it, and the SHA-256 of the whole tar."""
    manifest = run.folder / "dataset" / "manifest.parquet"
    if not manifest.is_file():
        return
    shards, wrong = Counter(tables.read(manifest, ["shard"])["shard"].to_pylist()), 0
    for shard, rows in shards.items():
        tar = manifest.with_name(shard)
        if (says := _index_differs(run, manifest, tar, rows)) is not None:
            wrong += 1
            yield error(str(index.path_of(tar)), f"{says}. {_remake(manifest)}")
    if not wrong:
        yield ok("indices", f"{len(shards)} say what the manifest and the shards say")


def _index_differs(run: Run, manifest: Path, tar: Path, rows: int) -> str | None:
    path = index.path_of(tar)
    if not path.is_file():
        return "is gone"
    try:
        if run.quick:
            return None if tables.count(path) == rows else f"has not the {rows:,} rows of its shard"
        known, indexed = index.facts(tar), index.read(tar)
    except UNREADABLE:
        return "can't be read"
    if not indexed.equals(pq.read_table(manifest, filters=[("shard", "=", tar.name)]).replace_schema_metadata(None)):
        return f"does not say what {manifest.name} says"
    if known and tar.is_file() and known.sha256 != sha256_file(tar):
        return f"names another SHA-256 than {tar.name} has"
    return None


def check_attribution(run: Run) -> Iterator[Finding]:
    """The credit lines, made again from the manifest."""
    manifest = run.folder / "dataset" / "manifest.parquet"
    if not manifest.is_file():
        return
    path = manifest.with_name("attribution.csv")
    if not path.is_file():
        yield error(str(path), f"is gone. {_remake(manifest)}")
        return
    with tempfile.TemporaryDirectory(prefix="kg2clip-verify-") as scratch:
        write_attribution(manifest, Path(scratch) / path.name)
        if not filecmp.cmp(path, Path(scratch) / path.name, shallow=False):
            yield error(str(path), f"does not say what {manifest.name} says. {_remake(manifest)}")
        else:
            yield ok("attribution", f"is what {manifest.name} gives")


def check_papers(run: Run) -> Iterator[Finding]:
    """The dataset's sizes and Croissant description against its manifest and shards."""
    folder = run.folder / "dataset"
    manifest = folder / "manifest.parquet"
    if not manifest.is_file():
        return
    remake, wrong = _remake(manifest), 0
    if (says := _sizes_differ(folder / "sizes.json", manifest)) is not None:
        wrong += 1
        yield error(str(folder / "sizes.json"), f"{says}. {remake}")
    for path, says in _croissant(folder / "croissant.json", run.quick):
        wrong += 1
        yield error(str(path), f"{says}. {remake}")
    if not wrong:
        yield ok("dataset's papers", "agree with the manifest and the shards")


def _sizes_differ(path: Path, manifest: Path) -> str | None:
    try:
        found = read_json(path)
    except FileNotFoundError:
        return "is gone"
    except (ValueError, RecursionError):
        return "can't be read"
    expected = Counter(tables.read(manifest, ["shard"])["shard"].to_pylist())
    return None if found == expected else f"does not say what {manifest.name} says"


def _croissant(path: Path, quick: bool) -> Iterator[tuple[Path, str]]:
    try:
        files = [part for part in read_json(path)["distribution"] if part.get("sha256")]
    except FileNotFoundError:
        yield path, "is gone"
        return
    except (ValueError, KeyError, TypeError, AttributeError):
        yield path, "can't be read"
        return
    for part in files if quick else Progress(files, desc="checksums of croissant.json", unit="files"):
        file = path.with_name(Path(part["contentUrl"]).name)
        if not file.is_file():
            yield file, "is named in croissant.json and is gone"
        elif part.get("contentSize", f"{file.stat().st_size} B") != f"{file.stat().st_size} B" or (
            not quick and sha256_file(file) != part["sha256"]
        ):
            yield file, "is not what croissant.json describes"


def check_models(run: Run) -> Iterator[Finding]:
    """Weights that are whole and those that were trained, on the dataset and with the recipe of now."""
    for metrics in run.paths("models/*/metrics.json"):
        yield from guarded(str(metrics), _check_model(run, metrics))


def _check_model(run: Run, metrics: Path) -> Iterator[Finding]:
    weights, experiment, wrong = metrics.with_name("open_clip_model.safetensors"), metrics.parent.name, 0
    facts = read_json(metrics)
    if weights.is_file() and (says := _weights_differ(weights, facts.get("weightsSHA256"), run.quick)):
        wrong += 1
        yield error(str(weights), f"{says}. {_remake(weights)}")
    for says in _other_hashes(run, experiment, facts):
        wrong += 1
        yield error(str(metrics), f"{says}. {_remake(metrics)}")
    if not wrong:
        yield ok(f"models/{experiment}", "weights are whole; data and recipe are those of now")


def _weights_differ(path: Path, sha256: str | None, quick: bool) -> str | None:
    """What is wrong with a safetensors file: 8 bytes with the header's length, the header in JSON, then the tensors."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length) if length <= size else b"")
            ends = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "has no whole header"
    if 8 + length + max(ends, default=0) != size:
        return "does not end where its header says"
    if not quick and sha256 and sha256_file(path) != sha256:
        return "is not what was trained"
    return None


def _other_hashes(run: Run, experiment: str, facts: Row) -> Iterator[str]:
    manifest = run.folder / "dataset" / "manifest.parquet"
    if manifest.is_file() and facts.get("dataHash") != sha256_file(manifest)[:20]:
        yield f"was made from another {manifest}"
    if experiment not in run.config["train"]["experiments"]:
        return
    if facts.get("recipeHash") != recipe.load(run.config, experiment).hash(run.config, experiment):
        yield "was made with another recipe than the config's"


def check_scores(run: Run) -> Iterator[Finding]:
    """The table of scores, made again from the stored predictions."""
    path = run.folder / "evaluation" / "scores.parquet"
    if not path.is_file() or run.quick:
        return
    evaluate = run.config["evaluate"]
    files = [
        run.folder / "evaluation" / model / f"{benchmark}.parquet"
        for model in (*run.config["train"]["experiments"], *evaluate["baselines"])
        for benchmark in (*evaluate["benchmarks"], *own_sets(run.config))
    ]
    made = gather(files, run.config)
    for table, rows, schema in (
        (path, made.scores, tables.SCORES),
        (path.with_name("groups.parquet"), made.groups, tables.GROUP_SCORES),
        (path.with_name("comparisons.parquet"), made.comparisons, tables.COMPARISONS),
    ):
        if not tables.as_table(rows, schema).equals(tables.read(table).replace_schema_metadata(None)):
            yield error(str(table), f"does not follow from the stored predictions. {_remake(table)}")
            return
    yield ok("evaluation", f"{len(made.scores)} scores follow from the stored predictions")


def _grouped(rows: Iterable[Row], column: str, folder: Path) -> dict[Path, list[Row]]:
    grouped: dict[Path, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[folder / row[column]].append(row)
    return dict(sorted(grouped.items()))


def _check_tars(
    run: Run,
    about: str,
    by_tar: Mapping[Path, list[Row]],
    differing: Callable[[Run, Path, list[Row]], Iterator[str]],
    table: Path,
    key: str = "candidateID",
) -> Iterator[Finding]:
    """One finding for each tar that is not as `table` says, or one that all are."""
    wrong, total = 0, sum(map(len, by_tar.values()))
    with Progress(total=total, desc=about, unit="pictures", disable=run.quick or not total) as progress:
        for tar, rows in by_tar.items():
            if (says := _tar_differs(run, tar, rows, differing)) is not None:
                wrong += 1
                yield error(str(tar), f"{says}. {_remake(table)}")
            progress.update(len(rows))
    if not wrong:
        yield ok(about, f"{total:,} pictures in {len(by_tar)} tars are as {table.name} says")


def _tar_differs(
    run: Run, tar: Path, rows: list[Row], differing: Callable[[Run, Path, list[Row]], Iterator[str]]
) -> str | None:
    if not tar.is_file():
        return f"is gone, with {len(rows):,} pictures"
    try:
        names = list(differing(run, tar, rows))
    except UserError as failure:
        return str(failure).removeprefix(f"{tar} ")
    return f"{len(names):,} of {len(rows):,} pictures are gone or changed: {_some(names)}" if names else None


def _remake(path: Path) -> str:
    """What to type; what is whole is kept by the stages themselves."""
    return f"Type: rm {path} and {RUN}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
