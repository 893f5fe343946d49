"""Decode a batch of fetched pictures once, right: upright sRGB of a small size, and fingerprints to compare them by.

In:  download/{batch}.manifest.parquet and the raw tars download/{batch}/*.tar
Out: curate/{batch}.features.parquet, a row for each fetched picture (decoded, or refused with its reason), and beside
     it the decoded tars curate/{batch}/*.tar, from which shards are packed. Where the config says keep_raw: false the
     raw tars go then
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

from kg2clip import provenance, settings, tables
from kg2clip.curate.batch import LIBRARIES, Batch, decode_batch, drop_raw
from kg2clip.curate.decode import Rules
from kg2clip.curate.pictures import Examiners
from kg2clip.errors import run_program
from kg2clip.files import only_writer

SECTIONS = ("curate.short_side", "curate.jpeg_quality", "curate.background", "curate.max_pixels")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", required=True, type=Path, metavar="FILE", help="the batch's download manifest")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the features table")
    parser.add_argument("--provenance", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (default: all cores)"
    )
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)

    batch = Batch(arguments.downloads, arguments.output)
    with only_writer(batch.decoded), Examiners(max(1, arguments.workers)) as examiners:
        features = decode_batch(batch, Rules.of(config), examiners)
    tables.write(features, tables.FEATURES, arguments.output)
    if not config["download"]["keep_raw"]:
        drop_raw(batch)
    reasons = Counter(features["reason"].drop_null().to_pylist())
    counts = {
        "fetched": len(features),
        "decoded": len(features) - reasons.total(),
        "refused": dict(sorted(reasons.items())),
        "flags": dict(sorted(Counter(flag for flags in features["flags"].to_pylist() for flag in flags).items())),
    }
    provenance.write(arguments.provenance, f"decode_batch.{batch.name}", config, SECTIONS, counts, LIBRARIES)


if __name__ == "__main__":
    run_program(main)
