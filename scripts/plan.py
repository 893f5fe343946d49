"""What a run will take, before anything is spent: entities, queries, calls, days, money, pictures, disk, GPU hours.

    python scripts/plan.py --config config/config.yaml

Reads what earlier steps have written; where there are no entities yet it asks the graph for counts (those only, and no
image source for anything), or takes the number that you give with --entities. Exit status: 0 if the run can be made as
planned, 2 if something in it would be refused or wait for you.
"""

import argparse
import os
import shutil
import sqlite3
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.compute as pc

from build_queries import write_queries
from kg2clip import settings, tables, web
from kg2clip.errors import IncompleteError, UserError, run_program
from kg2clip.files import read_json
from kg2clip.knowledge.members import count_members
from kg2clip.knowledge.roots import find_classes, find_roots
from kg2clip.knowledge.sparql import Endpoint
from kg2clip.operations.doctor import KEYS
from kg2clip.planning import estimate, sheet
from kg2clip.planning.estimate import Demand, Plan, TrainingPlan
from kg2clip.search.order import searches
from kg2clip.train import recipe


def main() -> None:
    """Parse arguments, plan, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, metavar="N", help="plan for N entities and ask nobody")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    if arguments.entities is not None and arguments.entities < 1:
        raise UserError("--entities is the number of entities to plan for: 1 or more")
    config = settings.load(arguments.config)
    results = Path("results") / config["project"]
    plan = make_plan(config, results, arguments.entities)
    width = max(60, shutil.get_terminal_size((100, 24)).columns)
    print(sheet.render(plan, f"Plan of {config['project']} ({arguments.config or 'config/config.yaml'})", width))
    sys.exit(2 if plan.warnings else 0)


def make_plan(config: settings.Settings, results: Path, entities: int | None) -> Plan:
    """Put the plan together."""
    demand = find_demand(config, results, entities)
    found = results / "search" / "candidates.parquet"
    known = found.is_file() and entities is None
    pictures = tables.count(found) if known else demand.entities * config["search"]["per_entity"]
    made = {} if entities else {name: calls_made(results / "search" / name) for name in config["search"]["sources"]}
    waiting = {name.split("-")[0] for name in searches(config) if entities or not is_done(name, results, config)}
    sources = tuple(
        estimate.plan_source(name, wanted, demand, made.get(name, 0), name not in waiting)
        for name, wanted in config["search"]["sources"].items()
    )
    return Plan(
        demand,
        sources,
        pictures,
        known,
        estimate.download_days(pictures, config["download"]["lanes"]),
        estimate.disk(pictures, config["search"]["sources"]),
        tuple(plan_training(config, name, pictures) for name in config["train"]["experiments"]),
        config["dataset"]["alt_text_share"],
        tuple(find_warnings(config, demand)),
        config["knowledge"].get("language_model"),
    )


def find_demand(config: settings.Settings, results: Path, entities: int | None) -> Demand:
    """Entities and queries: as told, as written by earlier steps, or as the graph counts them."""
    if entities is not None:
        return estimate.rough_demand(entities, config, "as you say; queries are roughly those of so many")
    table = results / "knowledge" / "entities.parquet"
    if table.is_file():
        with TemporaryDirectory() as folder:
            write_queries(table, Path(folder, "queries.parquet"), config)
            queries = tables.read(Path(folder, "queries.parquet"), ["kind", "nameKind"]).to_pylist()
        images = tables.read(table, ["images"])["images"]
        named = pc.sum(pc.list_value_length(images)).as_py() or 0
        return estimate.demand_of(queries, len(images), named, f"from {table}; queries as they will be built")
    wanted = config["knowledge"]
    endpoint = Endpoint(wanted["endpoint"], config["contact"], table.parent / "answers", wanted["snapshot"])
    try:
        roots, classes = find_roots(endpoint, wanted["roots"]), find_classes(endpoint, wanted["classes"])
        count = count_members(endpoint, roots, classes, wanted)
    except (web.RefusedError, IncompleteError) as error:
        raise UserError(f"{error}. Or plan for a number of entities and ask nobody: --entities 300") from None
    origin = f"at most, counted by {endpoint.host}; queries are roughly those of so many"
    return estimate.rough_demand(count, config, origin)


def is_done(search: str, results: Path, config: settings.Settings) -> bool:
    """Whether a search has its hits, found as the config asks now."""
    try:
        asked = read_json(results / f"provenance/search_images.{search}.json")["settings"]
        same = asked == settings.tracked(config, *asked)
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return same and (results / f"search/{search}.hits.parquet").exists()


def calls_made(folder: Path) -> int:
    """Calls in a source's ledger; 0 where it was not asked yet, or is being asked right now."""
    path = folder / "answers.sqlite"
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0) as ledger:
            (count,) = ledger.execute("SELECT count(*) FROM calls").fetchone()
            return int(count)
    except sqlite3.Error:
        return 0


def plan_training(config: settings.Settings, experiment: str, pictures: int) -> TrainingPlan:
    """Pairs seen and GPU hours of an experiment."""
    read = recipe.load(config, experiment).fitted(pictures)
    model = read.model_cfg or estimate.known_model(read.model or "")
    pairs = read.total_steps(pictures) * read.batch_size
    hours = None
    if model:
        hours = estimate.gpu_hours(pairs, estimate.gigaflops(model, read.image_size, read.context_length))
    return TrainingPlan(experiment, read.model or "a model of its own", pairs, hours)


def find_warnings(config: settings.Settings, demand: Demand) -> list[str]:
    """What would stop the run, or make it wait."""
    found = []
    sources = config["search"]["sources"]
    asked = [wanted["api"] for wanted in sources.values() if "api" in wanted]
    if not config["contact"] and any(is_public(address) for address in (config["knowledge"]["endpoint"], *asked)):
        found.append("no contact is set: no public host will be asked. Set contact: in the config")
    for name in sources:
        if missing := [key for key in KEYS.get(name, ()) if not os.environ.get(key)]:
            found.append(f"{name} needs the environment variable {' and '.join(missing)}")
        most = sources[name].get("max_calls")
        needed = estimate.plan_source(name, sources[name], demand).least
        if most and needed > most:
            found.append(
                f"{name} will refuse: it needs {needed:,} calls at least, and search.sources.{name}.max_calls allows "
                f"{most:,}. See docs/sources.md for the bulk way"
            )
        total = sources[name].get("calls_total")
        if total and needed > total:
            found.append(
                f"{name} will stop: it needs {needed:,} calls at least, and search.sources.{name}.calls_total allows "
                f"{total:,}"
            )
    model = config["knowledge"].get("language_model")
    if model and demand.entities > model["max_calls"]:
        found.append(
            f"{model['model']} may stop: it is asked about up to {demand.entities:,} entities, and "
            f"knowledge.language_model.max_calls allows {model['max_calls']:,}"
        )
    return found


def is_public(address: str) -> bool:
    """Whether an address leads to a host that wants to know who asks."""
    host = web.host_of(address) or ""
    return not web.is_reserved(host) and host not in web.resolve_map()


if __name__ == "__main__":
    run_program(main)
