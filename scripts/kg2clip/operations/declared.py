"""The files that the workflow declares for a config: what the rules in rules/ promise (a test holds them equal)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kg2clip import tables as schemas
from kg2clip.download.lanes import batch_names, leftover_names, leftovers_name
from kg2clip.search.order import searches
from kg2clip.settings import Settings, own_sets

DATASET = ("manifest.parquet", "croissant.json", "README.md", "attribution.csv")
SCORES = ("scores", "groups", "comparisons")
COLUMNS = {  # of declared tables, by the ends of their paths; the first that fits
    "knowledge/entities.parquet": {*schemas.ENTITIES.names},
    "queries/queries.parquet": {*schemas.QUERIES.names},
    "search/candidates.parquet": {*schemas.CANDIDATES.names},
    "search/*.hits.parquet": {*schemas.HITS.names},
    "download/*.manifest.parquet": {*schemas.DOWNLOADS.names},
    "curate/*.features.parquet": {*schemas.FEATURES.names},
    "curate/*.fit.parquet": {*schemas.FITS.names},
    "curate/decisions.parquet": {*schemas.DECISIONS.names},
    "dataset/manifest.parquet": {*schemas.DATASET.names},
    "evaluation/scores.parquet": {*schemas.SCORES.names},
    "evaluation/groups.parquet": {*schemas.GROUP_SCORES.names},
    "evaluation/comparisons.parquet": {*schemas.COMPARISONS.names},
    "evaluation/*/*.parquet": {*schemas.PREDICTIONS.names} & {*schemas.RETRIEVALS.names},  # one or the other
}
MODEL = ("open_clip_config.json", "open_clip_model.safetensors", "metrics.json")


@dataclass(frozen=True)
class Step:
    """One job: its name, as in provenance/, and its files below results/{project}/, the provenance file aside."""

    name: str
    files: tuple[str, ...]

    @property
    def provenance(self) -> str:
        """What the job wrote down about itself; there once it was done."""
        return f"provenance/{self.name}.json"


def steps(config: Settings) -> Iterator[Step]:
    """All jobs of a config, in the order of the data."""
    yield Step("export_entities", ("knowledge/entities.parquet",))
    yield Step("build_queries", ("queries/queries.parquet",))
    for search in searches(config):
        yield Step(f"search_images.{search}", (f"search/{search}.hits.parquet",))
    yield Step("merge_candidates", ("search/candidates.parquet",))
    batches = batch_names(config)
    fetched = batches + leftover_names(config)
    for batch in batches:
        yield Step(f"fetch_batch.{batch}", (f"download/{batch}.manifest.parquet",))
    for lane in config["download"]["lanes"]:
        yield Step(f"fetch_leftovers.{lane}", (f"download/{leftovers_name(lane)}.manifest.parquet",))
    for batch in fetched:
        yield Step(f"decode_batch.{batch}", (f"curate/{batch}.features.parquet",))
    for batch in fetched if config["curate"]["fit_model"] else ():
        yield Step(f"fit_pictures.{batch}", (f"curate/{batch}.fit.parquet",))
    yield Step("decide_pictures", ("curate/decisions.parquet",))
    yield Step("pack_dataset", tuple(f"dataset/{name}" for name in DATASET))
    experiments, benchmarks = config["train"]["experiments"], config["evaluate"]["benchmarks"]
    for experiment in experiments:
        yield Step(f"train_model.{experiment}", tuple(f"models/{experiment}/{name}" for name in MODEL))
    own = own_sets(config)
    for model in (*experiments, *config["evaluate"]["baselines"]):
        for benchmark in benchmarks:
            yield Step(f"evaluate_model.{model}.{benchmark}", (f"evaluation/{model}/{benchmark}.parquet",))
        if own:
            yield Step(f"evaluate_own.{model}", tuple(f"evaluation/{model}/{name}.parquet" for name in own))
    if benchmarks or own:
        yield Step("gather_scores", tuple(f"evaluation/{name}.parquet" for name in SCORES))
    if "mirror" in config:
        yield Step("score_against_truth", ("mirror/scores.parquet", "mirror/misses.parquet"))
    yield Step("make_report", ("report/index.html",))
    for experiment in experiments:
        yield Step(f"write_card.{experiment}", (f"models/{experiment}/README.md",))


def columns(table: Path) -> set[str]:
    """The columns that a declared table has at least."""
    return next((names for pattern, names in COLUMNS.items() if table.match(pattern)), set())


def tables(config: Settings, folder: Path) -> list[Path]:
    """All declared Parquet tables that are there."""
    paths = [folder / file for step in steps(config) for file in step.files if file.endswith(".parquet")]
    return [path for path in paths if path.is_file()]
