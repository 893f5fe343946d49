"""Write a model's card: data, graph, texts, recipe, cost, licences and scores on one page.

In:  models/{experiment}/metrics.json, provenance/export_entities.json and, where anything is evaluated,
     evaluation/scores.parquet.
Out: models/{experiment}/README.md, which model hubs show, and the provenance file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.files import read_json, write_text
from kg2clip.report.card import model_card

SECTIONS = ()


def main() -> None:
    """Read the arguments, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=Path, required=True, metavar="FILE", help="models/{experiment}/metrics.json")
    parser.add_argument("--graph", type=Path, required=True, metavar="FILE", help="provenance/export_entities.json")
    parser.add_argument("--scores", type=Path, metavar="FILE", help="evaluation/scores.parquet")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="models/{experiment}/README.md")
    parser.add_argument("--provenance", type=Path, required=True, metavar="FILE", help="provenance of this step (JSON)")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    facts = read_json(arguments.metrics)
    rows = tables.read(arguments.scores).to_pylist() if arguments.scores else []
    scores = [row for row in rows if row["experiment"] == facts["experiment"]]
    write_text(arguments.output, model_card(facts, read_json(arguments.graph), scores))
    counts = {"scores": len(scores)}
    provenance.write(arguments.provenance, "write_card", settings.load(arguments.config), SECTIONS, counts)


if __name__ == "__main__":
    run_program(main)
