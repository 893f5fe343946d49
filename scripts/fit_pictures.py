"""Say how well the pictures of a batch fit their names, by a CLIP model of yours (curate.fit_model).

In:  curate/{batch}.features.parquet with the decoded tars beside it, search/candidates.parquet,
     knowledge/entities.parquet
Out: curate/{batch}.fit.parquet, a row for each decoded picture
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kg2clip import device, provenance, settings, tables
from kg2clip.curate.fit import Judge, names_of
from kg2clip.errors import UserError, run_program
from kg2clip.tars import Member

SECTIONS = ("curate.fit_model", "curate.fit_weights")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True, type=Path, metavar="FILE", help="a batch's features table")
    parser.add_argument("--candidates", required=True, type=Path, metavar="FILE")
    parser.add_argument("--entities", required=True, type=Path, metavar="FILE")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE")
    parser.add_argument("--provenance", required=True, type=Path, metavar="FILE")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to compute with (default: all)")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    curate = config["curate"]
    if not curate["fit_model"]:
        raise UserError("curate.fit_model names no model; write the one that shall judge")

    threads = device.use_threads(arguments.threads)
    judge = Judge(curate["fit_model"], curate["fit_weights"], device.select(config["train"]["device"]))
    features = tables.read_frame(arguments.features, ["candidateID", "status", "tar", "offset", "size"])
    features = features[features["status"] == "decoded"]
    pictures = [
        Member(arguments.features.parent / row["tar"], row["candidateID"], int(row["offset"]), int(row["size"]))
        for row in features.to_dict("records")
    ]
    found_for = tables.read_frame(arguments.candidates, ["candidateID", "entityIDs"]).set_index("candidateID")
    named = names_of(tables.read_frame(arguments.entities, ["entityID", "scientificName", "vernacularName"]))
    entities = found_for["entityIDs"].reindex(features["candidateID"])
    names = [[name for entity in (() if own is None else own) for name in named.get(entity, ())] for own in entities]
    fits = judge.fits(pictures, names, workers=threads - 1)
    rows = features[["candidateID"]].assign(fit=fits)
    tables.write(rows, tables.FITS, arguments.output)
    step = f"fit_pictures.{arguments.output.name.removesuffix('.fit.parquet')}"
    provenance.write(
        arguments.provenance, step, config, SECTIONS, {"pictures": len(rows)}, ("open-clip-torch", "torch")
    )


if __name__ == "__main__":
    run_program(main)
