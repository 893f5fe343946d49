"""A small synthetic run: every table consistent with the others, tiny pictures in tars, hostile texts from the web."""

from __future__ import annotations

import io
import itertools
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kg2clip import settings, tables
from kg2clip.files import sha256_bytes, write_json
from kg2clip.identifiers import candidate_id, stable_hash
from kg2clip.report import page
from kg2clip.report.results import Results, open_results
from kg2clip.report.truth import MISS, SCORES

HOSTILE = [
    '<script>alert("title")</script>',
    "\"><img src=x onerror='alert(1)'>",
    "\u202egnp.elgae\u2066 \u200f' onmouseover='alert(2)",
    "</style><style>*{display:none}</style> {{ 7 * 7 }} \x00\x07",
]
HOSTILE_LINKS = [
    "javascript:alert(3)",
    "data:text/html,<script>alert(4)</script>",
    'https://x.test/"onclick="alert(5)',
    "//x.test/a",
]

SPECIES = [
    ("wd:Q25334", "Bombus terrestris", "buff-tailed bumblebee", "Insecta", "bumblebees"),
    ("wd:Q1124183", "Bombus lucorum", "white-tailed bumblebee", "Insecta", "bumblebees"),
    ("wd:Q131564", "Vanessa atalanta", "red admiral", "Insecta", "butterflies"),
    ("ncbi:37610", "Erithacus rubecula", "European robin", "Aves", "songbirds"),
    ("wd:Q26147", "Prunella modularis", None, "Aves", "songbirds"),
    ("wd:Q999999", "Prunella vulgaris", "self-heal", "Magnoliopsida", "self-heals"),
]
EMPTY = "Prunella vulgaris"


@dataclass
class Run:
    """A results folder and its config; `losses` holds how many candidates were lost, by stage and reason."""

    folder: Path
    config: Path
    settings: settings.Settings
    hostile: tuple[str, ...]
    losses: dict[tuple[str, str], int] = field(default_factory=dict)
    kept: int = 0

    def open(self) -> Results:
        """Open the results as the program does."""
        return open_results(self.folder, self.settings)

    def html(self) -> str:
        """The page, as of a fixed date."""
        return page.render(self.open(), date="2026-11-25T00:00:00Z")[0]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with the mirror's truth."""
    return make_run(tmp_path)


def make_run(root: Path, per_species: int = 14, picture: Any = None) -> Run:
    """Write all that the report reads under `root`."""
    folder, benchmark = root / "results" / "bees", root / "bench"
    config = root / "config.yaml"
    write_json(
        config,
        {
            "project": "bees",
            "knowledge": {"roots": ["Apidae", "Q25334"], "endpoint": "https://graph.test/sparql"},
            "train": {"experiments": {"untrained": {"recipe": "demo"}, "main": {"recipe": "demo"}}},
            "evaluate": {"benchmarks": {"heldout": {"path": str(benchmark)}}, "own": False},
        },
    )
    made = Run(folder, config, settings.load(config), tuple(HOSTILE))
    draw = picture or noise_picture
    _entities(folder)
    candidates = _candidates(folder, per_species)
    jpegs = {row["candidateID"]: jpeg(draw(index, row)) for index, row in enumerate(candidates)}
    decisions = _decide(candidates, made)
    _curate(folder, candidates, decisions, jpegs)
    _benchmark(benchmark, draw)
    _pack(folder, candidates, decisions, jpegs)
    _models(folder)
    _evaluation(folder)
    _truth(folder, decisions)
    for step in ("export_entities", "download_batch", "pack_dataset"):
        write_json(
            folder / "provenance" / f"{step}.json",
            {
                "step": step,
                "date": "2026-11-20T10:00:00Z",
                "seconds": 12.5,
                "python": "3.11.9",
                "machine": "x86_64",
                "versions": {"pyarrow": "26.0.1"},
                "settings": {},
                "settingsHash": stable_hash(step),
                "counts": {"rows": 5, "note": HOSTILE[0]},
                **({"endpoint": "https://graph.test/sparql"} if step == "export_entities" else {}),
            },
        )
    return made


def noise_picture(index: int, row: Any) -> Image.Image:
    """A small picture that no other index shares."""
    pixels = np.random.default_rng(index).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image) -> bytes:
    """Encode as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> dict[str, tuple[int, int]]:
    """Write a tar; gives the offset and size of each member's bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(members.items()):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    with tarfile.open(path) as archive:
        return {member.name: (member.offset_data, member.size) for member in archive}


def _entities(folder: Path) -> None:
    rows = [
        {
            "entityID": identifier,
            "taxonID": "ncbi:1",
            "scientificName": name,
            "vernacularName": common,
            "taxonRank": "species",
            "kingdom": "Plantae" if group == "Magnoliopsida" else "Animalia",
            "naturalType": kind,
            "sitelinks": 40,
            "ancestors": [
                _ancestor(f"wd:{group}-{name.split()[0]}", name.split()[0], "genus"),
                _ancestor(f"wd:{group}", group, "class"),
            ],
            "attributes": [
                {"category": "colour", "value": "yellow", "source": "P462"},
                {"category": HOSTILE[0], "value": HOSTILE[1], "source": "P1"},
            ],
        }
        for identifier, name, common, group, kind in SPECIES
    ]
    tables.write(rows, tables.ENTITIES, folder / "knowledge" / "entities.parquet")
    queries = [
        {
            "queryID": stable_hash(name),
            "entityID": identifier,
            "kind": "noun",
            "text": name,
            "name": name,
            "nameKind": "scientific",
        }
        for identifier, name, *_ in SPECIES
    ]
    tables.write(queries, tables.QUERIES, folder / "queries" / "queries.parquet")


def _ancestor(identifier: str, name: str, rank: str) -> dict[str, Any]:
    return {"entityID": identifier, "scientificName": name, "taxonRank": rank}


def _candidates(folder: Path, per_species: int) -> list[dict[str, Any]]:
    rows = []
    for identifier, name, *_ in SPECIES:
        if name == EMPTY:
            continue
        for number in range(per_species):
            source_id = f"{name} {number}"
            rows.append(
                {
                    "candidateID": candidate_id("commons", source_id),
                    "source": "commons",
                    "sourceID": source_id,
                    "accessURI": f"http://upload.test/{number}.jpg",
                    "furtherInformationURL": HOSTILE_LINKS[number % 5]
                    if number % 5 < 4
                    else f"https://commons.test/{number}",
                    "title": HOSTILE[number % 4],
                    "license": "CC-BY-SA-4.0" if number % 3 else "CC0-1.0",
                    "licenseURL": "https://creativecommons.test/by-sa",
                    "creator": HOSTILE[(number + 1) % 4] if number % 4 else "",
                    "queryIDs": [stable_hash(name)],
                    "entityIDs": [identifier],
                    "rank": number,
                }
            )
    # The first of them has a link at another source too; that source found nothing else.
    link = {"candidateID": "elsewhere", "source": "wikidata", "sourceID": "x", "accessURI": "http://other.test/x.jpg"}
    rows[0]["links"] = [link]
    tables.write(rows, tables.CANDIDATES, folder / "search" / "candidates.parquet")
    hits = [{"candidateID": row["candidateID"], "entityID": row["entityIDs"][0]} for row in rows]
    tables.write(hits + hits[:9], tables.HITS, folder / "search" / "commons.hits.parquet")
    tables.write(hits[:5], tables.HITS, folder / "search" / "commons-attributes.hits.parquet")
    tables.write([{"candidateID": "elsewhere"}], tables.HITS, folder / "search" / "wikidata.hits.parquet")
    return rows


FATES = [
    ("download", "http-404", None),
    ("decode", "truncated", None),
    ("filter", "too-small", None),
    ("duplicate", "duplicate", "pdq"),
    ("decontamination", "benchmark", "pixels"),
    ("decontamination", "benchmark", "observation"),
    ("duplicate", "burst", "burst"),
]


def _decide(candidates: list[dict[str, Any]], made: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    fates = itertools.cycle([None, *FATES, None, None, None, None])
    for candidate, fate in zip(candidates, fates, strict=False):
        row = {
            "candidateID": candidate["candidateID"],
            "kept": fate is None,
            "width": 640,
            "height": 480,
            "pdqQuality": 90,
        }
        if fate is None:
            made.kept += 1
            row["survivorID"] = candidate["candidateID"]
        else:
            stage, reason, match = fate
            made.losses[stage, reason] = made.losses.get((stage, reason), 0) + 1
            row |= {"stage": stage, "reason": reason, "match": match}
            if stage == "duplicate":
                row |= {"survivorID": candidates[0]["candidateID"], "distance": 12}
            if stage == "decontamination":
                row |= {"benchmark": "heldout", "benchmarkKey": "test/s0000003"}
        rows.append(row)
    return rows


def _curate(
    folder: Path, candidates: list[dict[str, Any]], decisions: list[dict[str, Any]], jpegs: dict[str, bytes]
) -> None:
    tables.write(decisions, tables.DECISIONS, folder / "curate" / "decisions.parquet")
    stage = {row["candidateID"]: row.get("stage") for row in decisions}
    for batch, chosen in (("commons-000", candidates[::2]), ("commons-001", candidates[1::2])):
        fetched = [row["candidateID"] for row in chosen if stage[row["candidateID"]] != "download"]
        downloads = [
            {
                "candidateID": row["candidateID"],
                "batch": batch,
                "lane": "commons",
                "shard": "00000.tar",
                "status": "success" if row["candidateID"] in fetched else "failed",
                "reason": None if row["candidateID"] in fetched else "http-404",
            }
            for row in chosen
        ]
        tables.write(downloads, tables.DOWNLOADS, folder / "download" / f"{batch}.manifest.parquet")
        decoded = [key for key in fetched if stage[key] != "decode"]
        places = write_tar(folder / "curate" / batch / "00000.tar", {f"{key}.jpg": jpegs[key] for key in decoded})
        features = [
            {
                "candidateID": key,
                "batch": batch,
                "status": "decoded" if key in decoded else "refused",
                "reason": None if key in decoded else "truncated",
                **(
                    {"tar": f"{batch}/00000.tar", "offset": places[f"{key}.jpg"][0], "size": places[f"{key}.jpg"][1]}
                    if key in decoded
                    else {}
                ),
            }
            for key in fetched
        ]
        tables.write(features, tables.FEATURES, folder / "curate" / f"{batch}.features.parquet")


def _pack(
    folder: Path, candidates: list[dict[str, Any]], decisions: list[dict[str, Any]], jpegs: dict[str, bytes]
) -> None:
    kept = [row for row, decision in zip(candidates, decisions, strict=True) if decision["kept"]]
    places = write_tar(
        folder / "dataset" / "train-00000.tar", {f"{row['candidateID']}.jpg": jpegs[row["candidateID"]] for row in kept}
    )
    names = {identifier: name for identifier, name, *_ in SPECIES}
    rows = []
    for number, row in enumerate(kept):
        key = row["candidateID"]
        web = (
            [{"text": row["title"], "kind": "alt-text", "origin": "title", "language": "en", "weight": 0.5}]
            if number % 2
            else []
        )
        rest = 0.5 if web else 1.0
        name = names[row["entityIDs"][0]]
        graph = [
            {"text": name, "kind": "scientific", "origin": "graph", "language": "la", "weight": rest * 0.6},
            {"text": f"a {name}", "kind": "query", "origin": "graph", "language": "en", "weight": rest * 0.3},
            {"text": HOSTILE[1], "kind": "description", "origin": "graph", "language": "en", "weight": rest * 0.08},
            {"text": "insects", "kind": "type", "origin": "graph", "language": "en", "weight": rest * 0.02},
        ]
        offset, size = places[f"{key}.jpg"]
        rows.append(
            {
                "key": key,
                "split": "train",
                "shard": "train-00000.tar",
                "offset": offset,
                "size": size,
                "sha256": sha256_bytes(jpegs[key]),
                "width": 64,
                "height": 48,
                "candidateIDs": [key],
                "texts": web + graph,
                **{
                    name: row[name]
                    for name in (
                        "entityIDs",
                        "queryIDs",
                        "source",
                        "license",
                        "licenseURL",
                        "creator",
                        "title",
                        "accessURI",
                        "furtherInformationURL",
                    )
                },
            }
        )
    tables.write(rows, tables.DATASET, folder / "dataset" / "manifest.parquet")


def _benchmark(benchmark: Path, draw: Any) -> None:
    for split, start in (("dev", 5000), ("test", 6000)):
        members = {f"s{n:07d}.jpg": jpeg(draw(start + n, None)) for n in range(len(SPECIES) * 4)}
        members |= {f"s{n:07d}.cls": str(n % len(SPECIES)).encode() for n in range(len(SPECIES) * 4)}
        write_tar(benchmark / split / "0.tar", members)
        (benchmark / split / "nshards.txt").write_text("1")
    (benchmark / "classnames.txt").write_text("\n".join(name for _, name, *_ in SPECIES))
    write_json(
        benchmark / "classes.json",
        [
            {"entityID": identifier, "scientificName": name, "vernacularName": common}
            for identifier, name, common, *_ in SPECIES
        ],
    )


def _models(folder: Path) -> None:
    history = [
        {
            "step": s,
            "epoch": s // 20,
            "loss": 4.8 * 0.98**s + 0.4,
            "lr": 1e-3 * min(1, s / 20),
            "imagesPerSecond": 130.0,
        }
        for s in range(1, 121)
    ]
    write_json(
        folder / "models" / "main" / "metrics.json",
        {"steps": 120, "batchSize": 128, "pictures": 29, "samples": 15360, "seconds": 118.25, "history": history},
    )
    write_json(folder / "models" / "untrained" / "metrics.json", {"steps": 0, "history": []})


# Test top-1 by experiment, form and prompts. For `main`, neither the form nor the prompts best on test are so on dev.
TEST_TOP1 = {
    ("main", "scientific", "bare"): 0.75,
    ("main", "scientific", "photo"): 0.5,
    ("main", "common", "bare"): 0.875,
    ("main", "common", "photo"): 0.9583,
    ("untrained", "scientific", "bare"): 0.25,
    ("untrained", "scientific", "photo"): 0.125,
    ("untrained", "common", "bare"): 0.125,
    ("untrained", "common", "photo"): 0.125,
}


def _evaluation(folder: Path) -> None:
    classes, pictures = len(SPECIES), len(SPECIES) * 4
    scores: list[dict[str, Any]] = []
    predictions: dict[str, list[dict[str, Any]]] = {"main": [], "untrained": []}
    for (experiment, form, prompts), top1 in TEST_TOP1.items():
        common = {
            "experiment": experiment,
            "benchmark": "heldout",
            "nameForm": form,
            "prompts": prompts,
            "chosen": prompts == "bare",
            "pictures": pictures,
            "classes": classes,
        }
        dev = {"top1": 0.7 if prompts == "bare" else 0.4, "top5": 0.9, "macro": 0.6}
        dev["top1"] += (0.1 if form == "scientific" else 0.0) - (0.35 if experiment == "untrained" else 0.0)
        scores += [{**common, "split": "dev", "metric": metric, "value": value} for metric, value in dev.items()]
        test = {"top1": top1, "top5": 0.95, "macro": top1 - 0.01, "family": 0.973, "severity": 3.4, "ece": 0.123}
        scores += [
            {**common, "split": "test", "metric": m, "value": v, "low": v - 0.1, "high": min(1, v + 0.1)}
            for m, v in test.items()
        ]
        for number in range(pictures):
            label = number % classes
            # Round by round: the first `top1` of the pictures are right, every other is called the next class.
            guess = label if number < top1 * pictures else (label + 1) % classes
            predictions[experiment].append(
                {
                    "key": f"s{number:07d}",
                    "split": "test",
                    "label": label,
                    "nameForm": form,
                    "prompts": prompts,
                    "top": [guess],
                    "scores": [0.3],
                }
            )
    tables.write(scores, tables.SCORES, folder / "evaluation" / "scores.parquet")
    group = {"benchmark": "heldout", "nameForm": "scientific", "prompts": "bare", "grouping": "kingdom"}
    groups = [
        {**group, "experiment": name, "group": kingdom, "metric": "top1", "value": value, "low": 0.5, "high": 0.8}
        | {"pictures": 12, "classes": 3}
        for name, value in (("main", 0.71), ("untrained", 0.24))
        for kingdom in ("<b>Metazoa", "Fungi")
    ]
    tables.write(groups, tables.GROUP_SCORES, folder / "evaluation" / "groups.parquet")
    comparison = {
        "benchmark": "heldout",
        "metric": "top1",
        "first": "main",
        "second": "untrained",
        "pictures": pictures,
    }
    comparison |= {"firstForm": "scientific", "firstPrompts": "bare", "secondForm": "common", "secondPrompts": "photo"}
    comparison |= {"difference": 0.625, "low": 0.4, "high": 0.75, "p": 0.0001, "pHolm": 0.0003}
    tables.write([comparison], tables.COMPARISONS, folder / "evaluation" / "comparisons.parquet")
    for experiment, rows in predictions.items():
        tables.write(rows, tables.PREDICTIONS, folder / "evaluation" / experiment / "heldout.parquet")


def _truth(folder: Path, decisions: list[dict[str, Any]]) -> None:
    score = {
        "precision": 0.9,
        "precisionLow": 0.7,
        "precisionHigh": 0.97,
        "recall": 0.8,
        "recallLow": 0.6,
        "recallHigh": 0.9,
    }
    rows = [
        {
            "detector": "duplicate",
            "kind": "crop",
            "planted": 10,
            "found": 9,
            "truePositives": 8,
            "falsePositives": 1,
            **score,
        },
        {"detector": "decode", "kind": "bomb", "planted": 0, "found": 0, "truePositives": 0, "falsePositives": 0},
    ]
    tables.write(rows, SCORES, folder / "mirror" / "scores.parquet")
    kept = [row["candidateID"] for row in decisions if row["kept"]]
    misses = [
        {
            "detector": "duplicate",
            "kind": "crop",
            "outcome": "missed",
            "candidateID": kept[0],
            "otherID": kept[1],
            "detail": HOSTILE[0],
        },
        {
            "detector": "duplicate",
            "kind": "crop",
            "outcome": "missed",
            "candidateID": kept[2],
            "otherID": "benchmark/test/s0000002",
            "detail": "kept",
        },
        {
            "detector": "duplicate",
            "kind": "crop",
            "outcome": "false alarm",
            "candidateID": kept[3],
            "otherID": None,
            "detail": "not a copy",
        },
    ]
    tables.write(misses, MISS, folder / "mirror" / "misses.parquet")
