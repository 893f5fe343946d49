"""Compare what the chain decided with what the mirror planted (demo and tests only).

In:  mirror/truth.parquet, curate/decisions.parquet, dataset/manifest.parquet, search/{search}.hits.parquet and
knowledge/entities.parquet. Out: mirror/scores.parquet and mirror/misses.parquet.
"""

import argparse
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.mirror.score import MISSES, SCORES, Judge, score_sources

SECTIONS = ()


def main() -> None:
    """Parse arguments, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("truth", "decisions", "dataset", "entities", "scores", "misses", "provenance"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--hits", required=True, nargs="+", type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    truth, decisions, dataset = (
        tables.read(path).to_pylist() for path in (arguments.truth, arguments.decisions, arguments.dataset)
    )
    judge = Judge(truth, decisions, dataset)
    scores = [*judge.scores, *score_sources(truth, read_hits(arguments.hits), read_names(arguments.entities))]
    tables.write(scores, SCORES, arguments.scores)
    tables.write(judge.misses, MISSES, arguments.misses)
    counts = {"detectors scored": len(scores), "misses": len(judge.misses)}
    provenance.write(arguments.provenance, "score_against_truth", config, SECTIONS, counts, ("scipy",))


def read_hits(paths: list[Path]) -> dict[str, list[dict[str, str]]]:
    """The hits by source, both searches of a source together."""
    found: dict[str, list[dict[str, str]]] = {}
    for path in paths:
        source = path.name.removesuffix(".hits.parquet").removesuffix("-attributes")
        found.setdefault(source, []).extend(tables.read(path, ["candidateID", "entityID"]).to_pylist())
    return found


def read_names(entities: Path) -> dict[str, str]:
    """Scientific names by entity."""
    return {
        row["entityID"]: row["scientificName"]
        for row in tables.read(entities, ["entityID", "scientificName"]).to_pylist()
    }


if __name__ == "__main__":
    run_program(main)
