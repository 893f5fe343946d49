"""The stored results of a run: every table a DuckDB view, so that large ones are never whole in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import read_json
from kg2clip.settings import Settings, own_sets

MANIFEST = "dataset/manifest.parquet"
OWN_NOTES = (
    "Own test: pictures of the dataset that training did not see, among the names of all its entities. They are of the "
    "same sources and queries as the training data, wrong labels included: optimistic, no measure of other pictures.",
    "Own test: the same pictures and the texts that came with them, where a text belongs to one of them. Optimistic.",
)
REQUIRED = {
    "entities": ("knowledge/entities.parquet", tables.ENTITIES),
    "queries": ("queries/queries.parquet", tables.QUERIES),
    "candidates": ("search/candidates.parquet", tables.CANDIDATES),
    "downloads": ("download/*.manifest.parquet", tables.DOWNLOADS),
    "features": ("curate/*.features.parquet", tables.FEATURES),
    "decisions": ("curate/decisions.parquet", tables.DECISIONS),
    "dataset": (MANIFEST, tables.DATASET),
}
SCORES = {
    "scores": ("evaluation/scores.parquet", tables.SCORES),
    "groups": ("evaluation/groups.parquet", tables.GROUP_SCORES),
    "comparisons": ("evaluation/comparisons.parquet", tables.COMPARISONS),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """A run's folder, its config and a database whose views are the stages' tables, by their names in `REQUIRED`."""

    folder: Path
    settings: Settings
    database: duckdb.DuckDBPyConnection

    @property
    def experiments(self) -> list[str]:
        """The training runs of the config, in its order."""
        return list(self.settings["train"]["experiments"])

    @property
    def models(self) -> list[str]:
        """All models that are evaluated: the experiments, then the baselines of the config."""
        return [*self.experiments, *self.settings["evaluate"]["baselines"]]

    @property
    def benchmarks(self) -> dict[str, Path]:
        """The evaluation sets: name to folder. Last the dataset's own, whose place is the manifest."""
        named = {name: Path(entry["path"]) for name, entry in self.settings["evaluate"]["benchmarks"].items()}
        return named | dict.fromkeys(own_sets(self.settings), self.folder / MANIFEST)

    @property
    def notes_on_benchmarks(self) -> dict[str, str]:
        """What the config says of an evaluation set, where it says something, and what is to be said of our own."""
        noted = {name: entry.get("note", "") for name, entry in self.settings["evaluate"]["benchmarks"].items()}
        return {name: note for name, note in noted.items() if note} | dict(
            zip(own_sets(self.settings), OWN_NOTES, strict=False)
        )

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The answer to an SQL query, one dict a row."""
        cursor = self.database.execute(query, list(parameters))
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def number(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """The one value that an SQL query gives."""
        row = self.database.execute(query, list(parameters)).fetchone()
        return row[0] if row else None

    def metrics(self, experiment: str) -> Row:
        """The final metrics of a training run, its history among them."""
        content: Row = read_json(self.folder / "models" / experiment / "metrics.json")
        return content

    def predictions(self, experiment: str, benchmark: str) -> Path:
        """Where the stored predictions of a model on a benchmark are."""
        return self.folder / "evaluation" / experiment / f"{benchmark}.parquet"

    def provenance(self) -> list[Row]:
        """What every step wrote down about itself, oldest first."""
        records = [read_json(path) for path in sorted((self.folder / "provenance").rglob("*.json"))]
        return sorted(records, key=lambda record: (record.get("date", ""), record.get("step", "")))


def open_results(folder: Path, settings: Settings) -> Results:
    """Open the stored tables of a run.

    Raises:
        UserError: a table, model or prediction that the report needs is absent, or has other columns than this version.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}. Make the results first with: snakemake")
    # The spill folder belongs to the run: the default would be the current folder.
    database = duckdb.connect(config={"temp_directory": str(folder / "report" / ".spill")})
    results = Results(folder, settings, database)
    views = dict(REQUIRED)
    if results.benchmarks and results.experiments:
        views |= SCORES
    for name, (pattern, schema) in views.items():
        _add_view(results, name, pattern, schema)
    _require_models(results)
    return results


def _add_view(results: Results, name: str, pattern: str, schema: pa.Schema) -> None:
    paths = sorted(results.folder.glob(pattern))
    if not paths:
        wanted = results.folder / pattern
        target = "" if "*" in pattern else f" {wanted}"
        raise UserError(f"{wanted} is missing, which the report needs. Make it with: snakemake{target}")
    for path in paths:
        check_columns(path, schema)
    # Batches may be empty, and readers widen types by the first file, so columns are matched by name.
    results.database.read_parquet([str(path) for path in paths], union_by_name=True).create_view(name)


def check_columns(path: Path, schema: pa.Schema) -> None:
    """Make sure that a Parquet file has the columns of its schema.

    Raises:
        UserError: it is torn, or another version wrote it.
    """
    try:
        found = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is no whole table ({error}). Remove it and run: snakemake {path}") from None
    if absent := [name for name in schema.names if name not in found.names]:
        raise UserError(f"{path} lacks the columns {', '.join(absent)}. Remove it and run: snakemake {path}")


def _require_models(results: Results) -> None:
    needed = [results.folder / "models" / name / "metrics.json" for name in results.experiments]
    needed += [results.predictions(name, benchmark) for name in results.models for benchmark in results.benchmarks]
    for path in needed:
        if not path.is_file():
            raise UserError(f"{path} is missing, which the report needs. Make it with: snakemake {path}")
