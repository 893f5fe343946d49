# What all stages share: the checked config, paths, the names of batches, experiments and benchmarks, and what makes a job run again.

import json
import os
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger

from kg2clip import codehash, console, folder, removals
from kg2clip import settings as checked
from kg2clip.download.lanes import batch_names, leftover_names
from kg2clip.errors import UserError
from kg2clip.search.order import searches
from kg2clip.train import recipe as recipes

if workflow.is_main_process:
    console.attach(logger, workflow.output_settings)

try:
    named = (
        workflow.config_settings.configfiles
        if workflow.config_settings.replace_workflow_config
        else workflow.configfiles
    )
    source = ", ".join(map(str, named)) or "the config"
    config.update(checked.complete(dict(config), source))
    # Read at once: a mistake in a recipe is told now, not after the harvest.
    RECIPES = {
        name: recipes.load_or_error(config, name)
        for name in config["train"]["experiments"]
    }
except UserError as error:
    sys.exit(
        f"error: {error}"
    )  # not a WorkflowError: a biologist has no use for the place in our code

# Programs read the config from here, so that --config on the command line holds for them too. What a job depends on stands in its
# params, which Snakemake compares with those of the last run.
os.environ[checked.ENVIRONMENT] = json.dumps(config)
if told := os.environ.pop(checked.TOLD, None):
    Path(told).write_text(os.environ[checked.ENVIRONMENT])


pathvars:
    results=f"results/{config['project']}",
    logs=f"results/{config['project']}/logs",
    benchmarks=f"results/{config['project']}/benchmarks",


LANES = list(config["download"]["lanes"])
BATCHES = batch_names(config)
# A lane's leftovers are one more batch to decode.
FETCHED = BATCHES + leftover_names(config)
FITTED = FETCHED if config["curate"]["fit_model"] else []
SEARCHES = searches(config)
EXPERIMENTS = list(RECIPES)
BASELINES = config["evaluate"]["baselines"]
MODELS = [*EXPERIMENTS, *BASELINES]  # all that is evaluated
BENCHMARKS = config["evaluate"]["benchmarks"]
OWN = checked.own_sets(config)
EVALUATED = [*BENCHMARKS, *OWN]


wildcard_constraints:
    lane=r"[a-z][a-z0-9]*",
    batch=r"[a-z][a-z0-9]*-(\d{3}|leftovers)",
    search=r"[a-z0-9]+(-attributes)?",
    experiment=r"[a-z0-9][a-z0-9_-]*",
    benchmark=r"(?!own(?:-texts)?\.)[a-z0-9][a-z0-9_-]*",


def settings(program):
    """The config sections that a program says it depends on, as text; its job runs again when they change.

    {source} in a section's name is the source that a search asks.
    """
    sections = codehash.sections(program)

    @cache
    def text(source):
        named = [section.format(source=source) for section in sections]
        return json.dumps(checked.tracked(config, *named), sort_keys=True)

    # a function, since Snakemake would take the braces of a plain text for wildcards
    return lambda wildcards: text(source_of(wildcards))


def source_of(wildcards):
    """The source that a search asks; empty for other jobs."""
    return wildcards.get("search", "").partition("-")[0]


def code(program):
    """The hash of a program's code; its job runs again when that changes, not for a comment."""
    return codehash.code_hash(program)


def taken_down():
    """A hash of the list of pictures that somebody wants out (scripts/remove.py); packing runs again when it changes."""
    try:
        return removals.digest(config["dataset"]["removed"])
    except UserError as error:
        sys.exit(f"error: {error}")


def recipe_of(experiment):
    """All that makes a training run the one that it is, as text; the version in it stands for the trainer's code."""
    return json.dumps(RECIPES[experiment].identity(config, experiment), sort_keys=True)


def model_name(wildcards):
    """The model to evaluate: an experiment's folder, or the name of a baseline as the config gives it."""
    folder = f"results/{config['project']}/models/{wildcards.experiment}"
    return BASELINES.get(wildcards.experiment, folder)


def model_files(wildcards):
    """What an experiment's model consists of; nothing for a baseline, which is not of this workflow."""
    if wildcards.experiment in BASELINES:
        return []
    files = ["open_clip_model.safetensors", "open_clip_config.json"]
    return [f"{model_name(wildcards)}/{file}" for file in files]


def test_set(wildcards):
    """The file that says how many shards a test set has."""
    name = wildcards.benchmark
    path = Path(BENCHMARKS[name]["path"], "test", "nshards.txt")
    if not path.is_file():
        sys.exit(
            f"error: evaluate.benchmarks.{name}: there is no {path}. Name a test set's folder there; "
            "scripts/pack_benchmark.py and scripts/prepare_benchmark.py make one"
        )
    return path


def start_of(experiment):
    """The weights that an experiment starts from: another experiment's, a model folder's, or none.

    A model that is not there stops runs that shall train; one that only harvests goes on without it.
    """
    try:
        return recipes.start_files(
            RECIPES[experiment], Path(f"results/{config['project']}/models")
        )
    except UserError as error:
        sys.exit(f"error: {error}")


def grows(amount):
    """Megabytes or minutes that grow with each attempt: a job that was killed for them asks for more.

    Searches, downloads and training go on from what they have: their minutes need not grow, and would soon pass a partition's limit.
    """
    return lambda wildcards, attempt: amount * attempt


def own_files(wildcards):
    """What lies on this machine and a search reads: your table, your archive. Without it the search says what is missing."""
    path = Path(
        config["search"]["sources"].get(source_of(wildcards), {}).get("path", "")
    )
    return [path] if path.is_file() else []


def own_pictures(wildcards):
    """A hash of the names, sizes and times of your pictures (search.sources.folder); its search runs again when that changes."""
    if source_of(wildcards) != folder.SOURCE:
        return ""
    return folder.digest(Path(config["search"]["sources"][folder.SOURCE]["path"]))


def benchmark_files(name):
    """The tars of a benchmark: other pictures there are other duplicates to remove, and other figures."""
    return sorted(Path(BENCHMARKS[name]["path"]).glob("*/*.tar"))


def earlier_hits(search):
    """Hits of the searches before this one: each sees what the earlier found."""
    return expand(
        "<results>/search/{search}.hits.parquet",
        search=SEARCHES[: SEARCHES.index(search)],
    )


def lane_resources():
    """One unit of its lane for each download job; the profile says how many run at once (design 6.5)."""
    return {
        f"lane_{lane}": lambda wildcards, lane=lane: int(
            lane == (wildcards.get("lane") or wildcards.batch.partition("-")[0])
        )
        for lane in LANES
    }


def check_lanes():
    """Refuse to start where a lane has no limit: Snakemake would take that as unlimited."""
    missing = [
        lane for lane in LANES if f"lane_{lane}" not in workflow.global_resources
    ]
    if missing:
        limits = " ".join(f"lane_{lane}=1" for lane in missing)
        sys.exit(
            f"error: no limit is set for the download lane {', '.join(missing)}. "
            f"Use a profile (snakemake --profile local), or add: --resources {limits}"
        )


def targets():
    """Every declared file, so that one that was deleted is made again."""
    return [
        *rules.pack_dataset.output,
        *expand(rules.fetch_batch.output, batch=BATCHES),
        *expand(rules.fetch_leftovers.output, lane=LANES),
        *expand(rules.decode_batch.output, batch=FETCHED),
        *expand(rules.fit_pictures.output, batch=FITTED),
        *expand(rules.train_model.output, experiment=EXPERIMENTS),
        *expand(rules.evaluate_model.output, experiment=MODELS, benchmark=BENCHMARKS),
        *(expand(rules.evaluate_own.output, experiment=MODELS) if OWN else []),
        *expand(rules.search_images.output, search=SEARCHES),
        *rules.export_entities.output,
        *rules.build_queries.output,
        *rules.merge_candidates.output,
        *rules.decide_pictures.output,
        *(rules.gather_scores.output if EVALUATED else []),
        *(rules.score_against_truth.output if "mirror" in config else []),
        *rules.make_report.output,
        *expand(rules.write_card.output, experiment=EXPERIMENTS),
    ]


onstart:
    check_lanes()
