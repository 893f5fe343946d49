"""Export the entities below the configured roots from a SPARQL endpoint.

In:  the graph (config: knowledge). Out: knowledge/entities.parquet, one row an entity with names, ancestors and
attributes. Answers are kept in a folder beside the output, those of a language model (config: knowledge.language_model)
in language_model.jsonl; a rerun asks only what is new. With knowledge.taxonomy, NCBI's taxonomy renumbers merged taxa
and fills what the graph leaves open.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from kg2clip import provenance, settings, tables
from kg2clip.errors import run_program
from kg2clip.files import only_writer
from kg2clip.knowledge.describe import describe
from kg2clip.knowledge.export import export_entities
from kg2clip.knowledge.language_model import LanguageModel
from kg2clip.knowledge.sparql import Endpoint
from kg2clip.knowledge.taxonomy import open_archive

SECTIONS = ("knowledge", "accept_partial")


# Seconds. An answer comes in dozens of pieces; for each its reader may wait so long while another thread makes rows of
# the answer before, and the endpoint stands idle. Python's own interval is 5 ms.
SWITCH_INTERVAL = 0.0005


def main() -> None:
    """Parse arguments, export, write."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, help="entities.parquet")
    parser.add_argument("--provenance", required=True, type=Path)
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    wanted = config["knowledge"]
    answers = arguments.output.parent / "answers"
    with only_writer(answers):
        endpoint = Endpoint(wanted["endpoint"], config["contact"], answers, wanted["snapshot"])
        pinned = wanted.get("taxonomy")
        taxonomy = open_archive(pinned, answers / "taxonomy", config["contact"]) if pinned else None
        rows, counts = export_entities(endpoint, wanted, taxonomy)
        renewed: Counter[str] = Counter()
        if taxonomy:
            rows = taxonomy.complete(rows, answers / "entities.parquet", renewed)
        model = None
        if asked := wanted.get("language_model"):
            model = LanguageModel(asked, config["contact"], arguments.output.parent / "language_model.jsonl")
            rows = describe(rows, model, wanted, counts, config["accept_partial"])
        tables.write_stream(rows, tables.ENTITIES, arguments.output)
    packages = ("SPARQLWrapper", "ijson", "requests", *([taxonomy.tool] if taxonomy else []))
    facts: dict[str, Any] = {
        "endpoint": endpoint.url,
        "queriesAsked": endpoint.asked,
        "queries": endpoint.record(),
        "taxonomy": renewed,
        **({"languageModel": model.record()} if model else {}),
    }
    provenance.write(arguments.provenance, "export_entities", config, SECTIONS, dict(counts), packages, **facts)


if __name__ == "__main__":
    run_program(main)
