"""Packing: scripts/pack_dataset.py, side by side with `cp` and `sync` of the shards that it makes.

Made pictures of 24 kB (a harvest's mean at a short side of 256 pixels) in decoded tars, with the texts of a harvest:
500 entities with names, lineage, attributes and queries, four fifths of the pictures with a title and a description, a
tenth with a copy. Everything that packing does is in its time: start, reading the tables, the plan, mixing texts,
guessing their languages, SHA-256 of pictures and shards, indices, manifest and papers, each file synced. `cp` copies
the shards alone. The aim: within three times of `cp` on two cores. It is missed where the disk takes 1 GB a second:
a picture costs half a millisecond of a processor, spread over mixing and telling languages of texts, JSON and hashes.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Child, child, timed
from kg2clip import tables, tars
from kg2clip.identifiers import candidate_id

PACKAGES = ("duckdb", "pyarrow", "py3langid", "ftfy")
ROOT = Path(__file__).resolve().parents[1]
PICTURES, BYTES, ENTITIES, REPEATS = 40_000, 24_000, 500, 3
IN_TAR = 1000
WORDS = """
a bee on the white flower in our garden near old river with its young after rain early morning seen feeding male large
brown bird wings spread over green meadow taken at lake by mountain forest two adults resting summer
"""


def run(scratch: Path) -> list[dict[str, Any]]:
    """A row each for cp, and for packing with one and two processes; in turns."""
    make(scratch)
    packed: dict[int, list[Child]] = {1: [], 2: []}
    copied = []
    for number in range(REPEATS):
        for workers in packed if number % 2 else reversed(packed):
            shutil.rmtree(scratch / "dataset", ignore_errors=True)
            subprocess.run(["sync"], check=True)
            packed[workers].append(child(command(scratch, workers), stderr=subprocess.DEVNULL))
        copied.append(copy(scratch))
    size = sum(path.stat().st_size for path in (scratch / "dataset").glob("*.tar"))
    base = median(copied)
    rows = [{"way": "cp and sync of the shards", **_row(base, copied, size, base)}]
    for workers, runs in packed.items():
        seconds = [one.seconds for one in runs]
        row = {
            "way": f"pack_dataset.py, {workers} process{'es' if workers > 1 else ''}",
            **_row(median(seconds), seconds, size, base),
        }
        if workers == 1:  # helper processes are no children of the program, so nobody counts their time towards it
            row["processor seconds"] = round(median(one.processor_seconds for one in runs), 1)
            row["peak MB"] = max(one.peak_bytes for one in runs) // 2**20
        rows.append(row)
    return rows


def notes() -> list[str]:
    """What the figures do not say."""
    return [
        "The ratio is right only where nothing else runs (load below 1): "
        "`cp` waits for the disk, packing for processors."
    ]


def _row(middle: float, all_of_them: list[float], size: int, base: float) -> dict[str, Any]:
    return {
        "seconds": round(middle, 1),
        "least": round(min(all_of_them), 1),
        "most": round(max(all_of_them), 1),
        "MB/s": size / middle / 1e6,
        "pictures/s": PICTURES / middle,
        "times cp": middle / base,
    }


def copy(scratch: Path) -> float:
    """Seconds that `cp` and `sync` take for the shards."""
    target = scratch / "copy"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    subprocess.run(["sync"], check=True)
    line = f"cp '{scratch}'/dataset/*.tar '{target}' && sync '{target}'/*"
    seconds, _ = timed(lambda: subprocess.run(["sh", "-c", line], check=True))
    return seconds


def command(scratch: Path, workers: int) -> list[str | Path]:
    """The packing."""
    names = ("entities", "queries", "candidates", "decisions")
    inputs = [part for name in names for part in (f"--{name}", scratch / f"{name}.parquet")]
    inputs += ["--features", scratch / "curate" / "web-000.features.parquet", "--output-dir", scratch / "dataset"]
    inputs += ["--provenance", scratch / "provenance.json", "--config", scratch / "config.yaml"]
    return [sys.executable, ROOT / "scripts" / "pack_dataset.py", *inputs, "--workers", str(workers)]


def make(scratch: Path) -> None:
    """Write what a dataset is packed from."""
    draw = random.Random(1)
    keys = [candidate_id("bench", str(number)) for number in range(PICTURES)]
    features = []
    for start in range(0, PICTURES, IN_TAR):
        name = f"web-000/{start // IN_TAR:05d}.tar"
        with tars.writing(scratch / "curate" / name) as writer:
            for key in sorted(keys[start : start + IN_TAR]):
                size = int(draw.uniform(0.5, 1.5) * BYTES)
                offset = writer.add(f"{key}.jpg", b"\xff\xd8" + draw.randbytes(size - 2))
                features.append({"candidateID": key, "tar": name, "offset": offset, "size": size}
                                | {"storedWidth": 341, "storedHeight": 256, "status": "decoded"})  # fmt: skip
    tables.write(features, tables.FEATURES, scratch / "curate" / "web-000.features.parquet")
    tables.write([entity(number) for number in range(ENTITIES)], tables.ENTITIES, scratch / "entities.parquet")
    tables.write(
        [query(number, kind) for number in range(ENTITIES) for kind in range(4)],
        tables.QUERIES,
        scratch / "queries.parquet",
    )
    copies = [candidate_id("copy", str(number)) for number in range(0, PICTURES, 10)]
    shown = [*((key, number) for number, key in enumerate(keys)), *((key, 10 * n) for n, key in enumerate(copies))]
    tables.write(
        [candidate(key, n % ENTITIES, draw) for key, n in shown], tables.CANDIDATES, scratch / "candidates.parquet"
    )
    decisions = [{"candidateID": key, "kept": True, "survivorID": key, "groupID": key} for key in keys]
    decisions += [
        {
            "candidateID": key,
            "kept": False,
            "stage": "duplicate",
            "reason": "duplicate",
            "survivorID": keys[10 * number],
        }
        for number, key in enumerate(copies)
    ]
    tables.write(decisions, tables.DECISIONS, scratch / "decisions.parquet")
    config = {"project": "bench", "knowledge": {"roots": ["Apidae"]}, "dataset": {"removed": str(scratch / "none.csv")}}
    (scratch / "config.yaml").write_text(json.dumps(config))


def candidate(key: str, entity: int, draw: random.Random) -> dict[str, Any]:
    """A candidate with the texts that people write."""
    texted = draw.random() < 0.8
    return {
        "candidateID": key,
        "source": "commons",
        "sourceID": f"Species {entity} {key}.jpg",
        "accessURI": f"https://upload.example.org/thumb/{key[:2]}/{key}/960px-Species_{entity}.jpg",
        "originalURI": f"https://upload.example.org/{key[:2]}/{key}/Species_{entity}.jpg",
        "furtherInformationURL": f"https://commons.example.org/wiki/File:Species_{entity}_{key}.jpg",
        "title": f"Genus{entity // 5} species{entity} {key[:3]}" if texted else None,
        "description": " ".join(draw.choices(WORDS.split(), k=draw.randint(5, 25))) if texted else None,
        "license": "CC-BY-SA-4.0",
        "licenseURL": "https://creativecommons.org/licenses/by-sa/4.0",
        "creator": f"Photographer {draw.randrange(1000)}",
        "retrieved": "2026-01-01T00:00:00Z",
        "queryIDs": [f"q{entity}-{draw.randrange(4)}"],
        "entityIDs": [f"wd:Q{entity}"],
    }


def entity(number: int) -> dict[str, Any]:
    """An entity as Wikidata has a well-known species."""
    name, common = f"Genus{number // 5} species{number}", f"spotted thing {number}"
    ranks = ("genus", "tribe", "family", "order", "class", "phylum", "kingdom")
    names = [
        (name, "scientific"),
        (common, "vernacular"),
        *((f"other name {n} of {number}", "alias") for n in range(6)),
    ]
    return {
        "entityID": f"wd:Q{number}",
        "scientificName": name,
        "vernacularName": common,
        "names": [{"text": text, "language": "en", "kind": kind} for text, kind in names],
        "description": "species of a thing that lives in the forest and is rarely seen",
        "taxonRank": "species",
        "kingdom": "Animalia",
        "naturalType": "things",
        "naturalTypeID": "wd:Q-1",
        "ancestors": [
            {"entityID": f"a:{rank}", "scientificName": f"{rank.title()}{number // 5}", "taxonRank": rank}
            for rank in ranks
        ],
        "attributes": [
            {"category": "colour", "value": f"{colour} wings", "source": "lexicon"}
            for colour in ("red", "brown", "white")
        ],
    }


def query(entity: int, kind: int) -> dict[str, Any]:
    """A query of an entity: its names, then attributes."""
    name = f"Genus{entity // 5} species{entity}"
    row = {"queryID": f"q{entity}-{kind}", "entityID": f"wd:Q{entity}", "kind": "noun", "text": name, "name": name}
    if kind > 1:
        row |= {"kind": "attribute-noun", "attribute": "red wings", "category": "colour", "text": f"red wings {name}"}
    return row
