"""Build a mirror's folder: pictures, file pages, graph, benchmark and truth. Built once, whole or not at all."""

from __future__ import annotations

import io
import logging
import os
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import zip_longest
from pathlib import Path

from PIL import Image

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import read_json, sha256_bytes, write_json, write_text
from kg2clip.mirror import graph, rendered, subjects
from kg2clip.mirror.plan import (
    HEIGHT,
    PAGES,
    PICTURES,
    WIDTH,
    Alteration,
    FilePage,
    TestPicture,
    as_json,
    plan_benchmark,
    plan_files,
    plan_oddities,
    truth_row,
)
from kg2clip.mirror.truth import TRUTH
from kg2clip.progress import Progress
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

READY = "built.json"
TEMPLATES = ["{c}", "a photo of {c}.", "a photo of a {c}."]
_BENCHMARK_QUALITY = 92


def ensure_built(folder: Path, wanted: Settings) -> None:
    """Build the mirror unless it stands already.

    Raises:
        UserError: another mirror, made with other settings, stands there.
    """
    ready = folder / READY
    if ready.exists():
        if read_json(ready)["settings"] == wanted:
            return
        raise UserError(
            f"{folder} holds a mirror that was made with other settings. Remove the whole results folder beside it "
            f"(rm -r {folder.parent}), or choose another project name"
        )
    log.info("building the mirror in %s", folder)
    for part in (PICTURES, "store", "benchmark"):
        shutil.rmtree(folder / part, ignore_errors=True)
    species = choose_species(wanted["species"])
    tests = plan_benchmark(species, wanted["test_pictures"])
    pages = plan_files(species, wanted["pictures"], tests, wanted["seed"])
    pages += plan_oddities(species, len(pages), wanted["seed"])
    hashes, leaked = _draw_all(folder, species, pages, tests)
    write_text(folder / PAGES, "".join(f"{as_json(page)}\n" for page in pages))
    images = {page.species: page.title for page in reversed(pages) if page.fault is None and page.copy_kind is None}
    taxa = graph.build_store(folder, wanted["branches"], species, images)
    tables.write([truth_row(page, hashes.get(page.title)) for page in pages], TRUTH, folder / "truth.parquet")
    facts = {"taxa": taxa, "species": len(species), "filePages": len(pages), "benchmarkPictures": len(leaked)}
    write_json(ready, {"settings": wanted, **facts})
    log.info("the mirror stands: %s", facts)


def choose_species(count: int) -> list[rendered.Species]:
    """`count` species of the collection, taken from its groups in turn, homonyms first; all of them if `count` is 0."""
    everything = rendered.species()
    if not count:
        return everything
    groups_of_genus: dict[str, set[str]] = defaultdict(set)
    for shown in everything:
        groups_of_genus[_genus(shown)].add(shown.group)
    groups: dict[str, list[rendered.Species]] = defaultdict(list)
    for shown in sorted(everything, key=lambda shown: len(groups_of_genus[_genus(shown)]) == 1):
        groups[shown.group].append(shown)
    turns = [shown for turn in zip_longest(*groups.values()) for shown in turn if shown]
    return turns[:count]


def _genus(shown: rendered.Species) -> str:
    return shown.scientific_name.split()[0]


def _draw_all(
    folder: Path, species: Sequence[rendered.Species], pages: Sequence[FilePage], tests: Sequence[TestPicture]
) -> tuple[dict[str, str], list[str]]:
    by_picture: dict[tuple[str, int, str], tuple[list[FilePage], list[TestPicture]]] = {}
    for page in pages:
        if page.address:
            continue
        key = (page.pictured, page.picture_seed, page.subject)
        by_picture.setdefault(key, ([], []))[0].append(page)
    for test in tests:
        by_picture.setdefault((test.species, test.picture_seed, "photograph"), ([], []))[1].append(test)
    hashes: dict[str, str] = {}
    encoded: dict[str, bytes] = {}
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = pool.map(_draw_picture, by_picture, by_picture.values(), chunksize=16)
        for files, benchmark in Progress(jobs, total=len(by_picture), desc="drawing", unit="pictures"):
            for title, path, content in files:
                target = folder / PICTURES / path.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                hashes[title] = sha256_bytes(content)
            encoded.update(benchmark)
    _write_benchmark(folder / "benchmark", species, tests, encoded)
    return hashes, list(encoded)


def _draw_picture(
    key: tuple[str, int, str], wanted: tuple[list[FilePage], list[TestPicture]]
) -> tuple[list[tuple[str, str, bytes]], dict[str, bytes]]:
    pages, tests = wanted
    name, picture_seed, subject = key
    picture = subjects.draw(subject, rendered.draw(_by_name(name), picture_seed, WIDTH, HEIGHT), picture_seed)
    exact = encode(picture, Alteration(quality=_BENCHMARK_QUALITY))  # what a leak copies byte for byte
    files = []
    for page in pages:
        if page.fault in ("dead-host", "not-found"):
            continue
        leaked = page.benchmark_key and page.copy_kind == "exact"
        files.append((page.title, page.path, exact if leaked else encode(picture, page.alteration)))
    return files, {test.key: exact for test in tests}


_species_by_name: dict[str, rendered.Species] = {}


def _by_name(name: str) -> rendered.Species:
    if not _species_by_name:
        _species_by_name.update({shown.scientific_name: shown for shown in rendered.species()})
    return _species_by_name[name]


def encode(picture: Image.Image, alteration: Alteration) -> bytes:
    """A picture, altered, as JPEG."""
    buffer = io.BytesIO()
    subjects.alter(picture, alteration).save(buffer, "JPEG", quality=alteration.quality)
    return buffer.getvalue()


def _write_benchmark(
    folder: Path, species: Sequence[rendered.Species], tests: Sequence[TestPicture], encoded: dict[str, bytes]
) -> None:
    """Write the benchmark in CLIP_benchmark's WebDataset form, with our sidecar of names (reference: training 4.4)."""
    nodes = graph.name_nodes(graph.collect_taxa([], species).values())
    for split in ("dev", "test"):
        (folder / split).mkdir(parents=True)
        with tarfile.open(folder / split / "0.tar", "w") as tar:
            for test in tests:
                if test.split == split:
                    _add(tar, f"{test.key.split('/')[1]}.jpg", encoded[test.key])
                    _add(tar, f"{test.key.split('/')[1]}.cls", str(test.label).encode())
        write_text(folder / split / "nshards.txt", "1\n")
    write_text(folder / "classnames.txt", "".join(f"{shown.vernacular_name}\n" for shown in species))
    write_text(folder / "zeroshot_classification_templates.txt", "".join(f"{line}\n" for line in TEMPLATES))
    write_json(
        folder / "classes.json",
        [
            {
                "entityID": _curie(nodes[shown.taxon_id]),
                "scientificName": shown.scientific_name,
                "vernacularName": shown.vernacular_name,
            }
            for shown in species
        ],
    )


def _curie(node: str) -> str:
    return node.replace(graph.ENTITY, "wd:").replace(graph.NCBI, "ncbi:")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
