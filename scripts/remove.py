"""Take pictures out of a dataset, for good: when their author, or anyone shown on them, wants that.

    python scripts/remove.py https://www.inaturalist.org/photos/12345 --reason "asked by its author"

In:  keys of pictures (column key of dataset/manifest.parquet, or candidateID), or addresses: a picture's page, or
     the picture itself. Out: they stand on the list dataset.removed (config/removed.csv), which packing obeys from now
     on in all projects; the shards that held them are written without them, and manifest, sizes, attribution, Croissant
     and data card agree. All copies of a picture go; no other shard is touched. Does not need Snakemake.
"""

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from kg2clip import provenance, removals, settings
from kg2clip.dataset.finish import finish
from kg2clip.dataset.takedown import thin
from kg2clip.errors import UserError, run_program
from kg2clip.files import only_writer, read_json, write_json

SECTIONS = ()

# Where pictures and their copies are known from: the run's tables, or where only the dataset was kept its manifest.
VIEWS = {
    "candidates": (
        ("search/candidates.parquet", "FROM all_candidates"),
        (
            "dataset/manifest.parquet",
            "SELECT unnest(candidateIDs) AS candidateID, accessURI, NULL AS originalURI, furtherInformationURL, "
            "[]::STRUCT(candidateID VARCHAR, accessURI VARCHAR)[] AS links FROM all_candidates",
        ),
    ),
    "decisions": (
        ("curate/decisions.parquet", "FROM all_decisions"),
        (
            "dataset/manifest.parquet",
            "SELECT unnest(candidateIDs) AS candidateID, key AS survivorID FROM all_decisions",
        ),
    ),
}

# All copies of the pictures that a word names: an id, or an address of the picture or its page.
NAMED = """
WITH named AS (
    SELECT candidateID FROM candidates
    WHERE $word IN (candidateID, accessURI, originalURI, furtherInformationURL)
        OR list_contains(list_transform(links, lambda link: link.accessURI), $word)
        OR list_contains(list_transform(links, lambda link: link.candidateID), $word)
), groups AS (
    SELECT DISTINCT coalesce(survivorID, candidateID) AS survivorID FROM decisions SEMI JOIN named USING (candidateID)
)
SELECT candidateID, furtherInformationURL FROM candidates
SEMI JOIN (
    FROM named UNION
    SELECT candidateID FROM decisions WHERE coalesce(survivorID, candidateID) IN (FROM groups)
) USING (candidateID) ORDER BY candidateID
"""


def main() -> None:
    """Parse arguments, find the pictures, write the list, thin the shards, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", metavar="KEY", help="a key, or the address of a picture or its page")
    parser.add_argument("--reason", required=True, help="why; it stands on the list")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    results = Path("results") / config["project"]
    found = find(results, arguments.pictures)
    listed = Path(config["dataset"]["removed"])
    removals.add(listed, [row | {"reason": arguments.reason, "date": today()} for row in found])
    print(f"{len(found)} pictures and copies stand on {listed}")
    if (results / "dataset" / "manifest.parquet").is_file():
        for line in take_down(results, config):
            print(line)


def find(results: Path, words: Sequence[str]) -> list[dict[str, str]]:
    """The pictures that the words name, with all their copies.

    Raises:
        UserError: a word names no picture of this project, or the project has no table of pictures.
    """
    found: dict[str, dict[str, str]] = {}
    with duckdb.connect() as database:
        for view, places in VIEWS.items():
            there = next(((results / file, query) for file, query in places if (results / file).is_file()), None)
            if there is None:
                raise UserError(f"{results / places[0][0]} is missing, which says what pictures there are")
            database.read_parquet(str(there[0])).create_view(f"all_{view}")
            database.execute(f"CREATE VIEW {view} AS {there[1]}")
        for word in words:
            rows = database.execute(NAMED, {"word": word}).fetchall()
            if not rows:
                raise UserError(f"no picture of {results} has the key or the address {word}; nothing was changed")
            found |= {key: {"candidateID": key, "furtherInformationURL": page or ""} for key, page in rows}
    return list(found.values())


def take_down(results: Path, config: settings.Settings) -> list[str]:
    """Thin the dataset by the whole list; what was done and what is left to do, in lines."""
    folder, record = results / "dataset", results / "provenance" / "pack_dataset.json"
    removed = removals.keys(config["dataset"]["removed"])
    with only_writer(folder):
        changed, shards = thin(folder / "manifest.parquet", removed)
        if not changed:
            return ["they were in no shard of this dataset"]
        if not shards:
            raise UserError(f"nothing is left of {folder}: every picture was taken down. Remove the folder")
        date = datetime.datetime.fromisoformat(read_json(folder / "croissant.json")["datePublished"])
        counts = finish(folder, shards, results / "knowledge" / "entities.parquet", config, date)
    update(record, counts)
    return [
        f"without them now: {', '.join(changed)} in {folder}, and the papers beside",
        f"left to do: make the report again (python scripts/make_report.py --results {results}"
        f" --output {results}/report/index.html --provenance {results}/provenance/make_report.json)",
        f"the pictures as fetched still lie in {results}/download and {results}/curate, which nobody publishes",
        "models that saw them stay as they are; the next run of snakemake trains anew",
    ]


def update(record: Path, counts: dict[str, Any]) -> None:
    """Bring the counts of the packing step up to date."""
    if not record.is_file():
        return
    said = read_json(record)
    gone = said["counts"]["samples"] - counts["samples"]
    write_json(record, said | {"counts": counts | {"removed": said["counts"].get("removed", 0) + gone}})


def today() -> str:
    """The date, for the list."""
    return provenance.now()[:10]


if __name__ == "__main__":
    run_program(main)
