"""Take pictures out of a dataset, for good: when their author, or anyone shown on them, wants that.

    python scripts/remove.py https://www.inaturalist.org/photos/12345 --reason "asked by its author"
    python scripts/remove.py @wanted-out.txt --reason "asked by their author"

In:  keys of pictures (column key of dataset/manifest.parquet, or candidateID), or addresses: a picture's page, or
     the picture itself; or @ and the name of a text file with one of these on each line (# begins a comment).
Out: they stand on the list dataset.removed (config/removed.csv), which packing obeys from now on in all projects; the
     shards that held them are written without them, and manifest, sizes, attribution, Croissant and data card agree.
     All copies of a picture go; no other shard is touched. Does not need Snakemake.
"""

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

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

# The pictures that words name: ids, or addresses of a picture or its page.
NAMED = """
CREATE TABLE named AS
SELECT DISTINCT word, candidateID FROM (
    SELECT candidateID, unnest(list_concat(
        [candidateID, accessURI, originalURI, furtherInformationURL],
        coalesce(flatten(list_transform(links, lambda link: [link.accessURI, link.candidateID])), [])
    )) AS word FROM candidates
) SEMI JOIN given USING (word)
"""

# They and all their copies.
COPIES = """
WITH groups AS (
    SELECT DISTINCT coalesce(survivorID, candidateID) AS survivorID FROM decisions SEMI JOIN named USING (candidateID)
)
SELECT candidateID, coalesce(furtherInformationURL, '') FROM candidates
SEMI JOIN (
    SELECT candidateID FROM named UNION
    SELECT candidateID FROM decisions WHERE coalesce(survivorID, candidateID) IN (FROM groups)
) USING (candidateID) ORDER BY candidateID
"""


def main() -> None:
    """Parse arguments, find the pictures, write the list, thin the shards, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "pictures", nargs="+", metavar="KEY", help="a key, the address of a picture or its page, or @FILE"
    )
    parser.add_argument("--reason", required=True, help="why; it stands on the list")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    results = Path("results") / config["project"]
    found = find(results, wanted_out(arguments.pictures))
    listed = Path(config["dataset"]["removed"])
    removals.add(listed, [row | {"reason": arguments.reason, "date": today()} for row in found])
    print(f"{len(found)} pictures and copies stand on {listed}")
    if (results / "dataset" / "manifest.parquet").is_file():
        for line in take_down(results, config):
            print(line)


def wanted_out(given: Sequence[str]) -> list[str]:
    """The keys and addresses that were given, those in files among them, each once.

    Raises:
        UserError: a file is missing, is no text, or holds none.
    """
    found: list[str] = []
    for word in given:
        lines = [word] if not word.startswith("@") else _lines(Path(word[1:]))
        found += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise UserError("no key and no address was given; nothing was changed")
    return list(dict.fromkeys(found))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list {path} can't be read ({error}); nothing was changed") from None


def find(results: Path, words: Sequence[str]) -> list[dict[str, str]]:
    """The pictures that the words name, with all their copies.

    Raises:
        UserError: a word names no picture of this project, or the project has no table of pictures.
    """
    with duckdb.connect() as database:
        for view, places in VIEWS.items():
            there = next(((results / file, query) for file, query in places if (results / file).is_file()), None)
            if there is None:
                raise UserError(f"{results / places[0][0]} is missing, which says what pictures there are")
            database.read_parquet(str(there[0])).create_view(f"all_{view}")
            database.execute(f"CREATE VIEW {view} AS {there[1]}")
        database.register("given", pa.table({"word": pa.array(words, pa.string())}))
        database.execute(NAMED)
        known = {word for (word,) in database.execute("SELECT word FROM named").fetchall()}
        if unknown := [word for word in words if word not in known]:
            raise UserError(f"no picture of {results} has the key or the address {unknown[0]}; nothing was changed")
        found = database.execute(COPIES).fetchall()
    return [{"candidateID": key, "furtherInformationURL": page} for key, page in found]


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
