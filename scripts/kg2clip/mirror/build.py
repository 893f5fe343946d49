"""Build a mirror's folder: pictures, file pages, graph, benchmark and truth. Built once, whole or not at all."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from PIL import Image
from taxoniq import Taxon

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.files import read_json, sha256_bytes, write_json, write_text
from kg2clip.identifiers import candidate_id, stable_hash
from kg2clip.mirror import gbif, graph, inaturalist, rendered, subjects, tuxpaint
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
    plan_placeholders,
    truth_row,
)
from kg2clip.mirror.shots import MARGIN, Shot, cut_frame
from kg2clip.mirror.truth import TRUTH
from kg2clip.processes import die_with_parent
from kg2clip.progress import Progress
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

READY = "built.json"
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")  # that a benchmark tells of its classes
TEMPLATES = ["{c}", "a photo of {c}.", "a photo of a {c}."]
EXACT = Alteration(quality=92)  # how the benchmark's pictures and plain photos are encoded
COLLECTIONS: Mapping[str, Any] = {"rendered": rendered, "tuxpaint": tuxpaint}
Species = Any  # rendered.Species or tuxpaint.Kind: what they share is all that is read here


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
    if wanted["collection"] == "tuxpaint" and not tuxpaint.is_installed():
        raise UserError(f"the collection tuxpaint needs Debian's package: apt-get install {tuxpaint.PACKAGE}")
    log.info("building the mirror in %s", folder)
    for part in (PICTURES, "store", "open_data", *BENCHMARKS):
        shutil.rmtree(folder / part, ignore_errors=True)
    seed, name = wanted["seed"], wanted["collection"]
    species = choose_species(name, wanted["species"])
    benchmarks = {folder_name: plan(name, species, wanted["test_pictures"]) for folder_name, plan in BENCHMARKS.items()}
    pages = plan_files(species, wanted["pictures"], benchmarks["benchmark"], seed)
    pages += plan_oddities(species, len(pages), seed)
    pages += plan_placeholders(species, len(pages), seed)
    with_observations = wanted["observations"] > 0  # a collection that iNaturalist's taxa do not hold asks for none
    observed = inaturalist.plan_test_observations(species, benchmarks["benchmark"], seed) if with_observations else {}
    observations = inaturalist.plan_observations(species, wanted["observations"], seed)
    observations += inaturalist.as_served(observed, seed)
    observations = inaturalist.lose_photos(observations, gbif.lost_photos(observations, seed))
    occurrences = gbif.plan_occurrences(species, wanted["occurrences"], seed)
    occurrences += gbif.publish_again(observations, species, seed)
    hashes = _draw_pages(folder, name, pages)
    others = [(photo.path, photo.shot) for one in observations for photo in one.photos]
    others += gbif.drawings(occurrences)
    others_hashes = _draw_others(folder, name, others)
    for folder_name, tests in benchmarks.items():
        if tests:
            _write_benchmark(folder / folder_name, name, tests, observed if folder_name == "benchmark" else {})
    write_text(folder / PAGES, "".join(f"{as_json(page)}\n" for page in pages))
    inaturalist.write_observations(observations, folder)
    inaturalist.open_data(folder)
    gbif.write_occurrences(occurrences, folder)
    images = {page.species: page.title for page in reversed(pages) if page.fault is None and page.copy_kind is None}
    wordnet = Path(wanted["wordnet"]) if wanted["wordnet"] else None
    taxa = graph.build_store(folder, wanted["branches"], species, images, wordnet)
    truth = [truth_row(page, hashes.get(page.title)) for page in pages]
    truth += [
        gbif.truth_row(occurrence, media, others_hashes.get(media.path.lstrip("/")))
        for occurrence in occurrences
        for media in occurrence.media
        if media.address
    ]
    truth += inaturalist_truth(observations, others_hashes)
    tables.write(truth, TRUTH, folder / "truth.parquet")
    facts = {"taxa": taxa, "species": len(species), "filePages": len(pages), "observations": len(observations)}
    facts |= {"occurrences": len(occurrences), **{key: len(tests) for key, tests in benchmarks.items()}}
    write_json(ready, {"settings": wanted, **facts})
    log.info("the mirror stands: %s", facts)


def inaturalist_truth(
    observations: Sequence[inaturalist.Observation], hashes: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What the mirror knows of the photos of its iNaturalist, as rows of `TRUTH`; a photo in two observations once."""
    rows: dict[str, dict[str, Any]] = {}
    for one in observations:
        for photo in one.photos:
            identifier = candidate_id("inaturalist", str(photo.id))
            row = {
                "candidateID": identifier,
                "sourceID": str(photo.id),
                "scientificName": one.species,
                "pictured": one.species,
                "subject": "photograph",
                "pictureID": photo.shot.picture_id,
                "copyKind": photo.leak,
                "benchmarkKey": photo.benchmark_key,
                "fault": photo.fault,
                "observationID": one.uri,
                "burstID": one.uri if photo.shot.frame else None,
                "crop": photo.shot.crop,
                "shift": photo.shot.shift,
                "sha256": hashes.get(photo.path),
            }
            rows.setdefault(identifier, row)
    return list(rows.values())


def choose_species(collection: str, count: int) -> list[Species]:
    """`count` species of the collection, taken from its groups in turn; all of them if `count` is 0.

    In a group homonyms come first, then those of which an individual is held out.
    """
    everything = list(COLLECTIONS[collection].species())
    if not count:
        return everything
    groups_of_genus: dict[str, set[str]] = defaultdict(set)
    for shown in everything:
        groups_of_genus[_genus(shown)].add(shown.group)
    groups: dict[str, list[Species]] = defaultdict(list)
    for shown in sorted(everything, key=lambda one: (len(groups_of_genus[_genus(one)]) == 1, not _held_out(one))):
        groups[shown.group].append(shown)
    turns = [shown for turn in zip_longest(*groups.values()) for shown in turn if shown]
    return turns[:count]


def _genus(shown: Species) -> str:
    return str(shown.scientific_name.split()[0])


def _held_out(shown: Species) -> bool:
    return isinstance(shown, tuxpaint.Kind) and tuxpaint.has_held_out(shown)


def _plan_scenes(collection: str, species: Sequence[Species], per_species: int) -> list[TestPicture]:
    return plan_benchmark(species, per_species)


def _plan_individuals(collection: str, species: Sequence[Species], per_species: int) -> list[TestPicture]:
    """Test pictures of individuals that no training picture shows; only tuxpaint has them."""
    held_out = [shown for shown in species if _held_out(shown)]
    return plan_benchmark(held_out, per_species, tuxpaint.FIRST_HELD_OUT_SEED)


BENCHMARKS = {"benchmark": _plan_scenes, "benchmark-individuals": _plan_individuals}


def _draw_pages(folder: Path, collection: str, pages: Sequence[FilePage]) -> dict[str, str]:
    """Draw the files of all pages; give their SHA-256 by title."""
    by_picture: dict[tuple[str, int, str], list[FilePage]] = defaultdict(list)
    for page in pages:
        if not page.address and page.fault not in ("dead-host", "not-found"):
            by_picture[page.pictured, page.picture_seed, page.subject].append(page)
    hashes = {}
    with _painters() as pool:
        jobs = pool.map(partial(_draw_copies, collection), by_picture, by_picture.values(), chunksize=16)
        for files in Progress(jobs, total=len(by_picture), desc="drawing", unit="pictures"):
            for title, path, content in files:
                hashes[title] = _write(folder / PICTURES / path.lstrip("/"), content)
    return hashes


def _painters() -> ProcessPoolExecutor:
    """Processes that draw, one for each core."""
    return ProcessPoolExecutor(os.cpu_count(), initializer=die_with_parent)


def _draw_copies(collection: str, key: tuple[str, int, str], pages: list[FilePage]) -> list[tuple[str, str, bytes]]:
    name, picture_seed, subject = key
    # Seeded by species too: two species' maps must not be one picture.
    own_seed = int(stable_hash(name, picture_seed, length=8), 16)
    picture = subjects.draw(subject, draw(collection, name, picture_seed), own_seed)
    exact = encode(picture, EXACT)  # what a leak copies byte for byte
    return [
        (
            page.title,
            page.path,
            exact if page.benchmark_key and page.copy_kind == "exact" else encode(picture, page.alteration),
        )
        for page in pages
    ]


def _draw_others(folder: Path, collection: str, files: Sequence[tuple[str, Shot]]) -> dict[str, str]:
    """Draw photos, given by path and what they show; give their SHA-256 by path."""
    hashes = {}
    with _painters() as pool:
        jobs = pool.map(partial(_take, collection), [shot for _, shot in files], chunksize=16)
        for (path, _), content in zip(
            files, Progress(jobs, total=len(files), desc="drawing", unit="photos"), strict=True
        ):
            hashes[path] = _write(folder / PICTURES / path, content)
    return hashes


def _take(collection: str, shot: Shot) -> bytes:
    """Draw a photo."""
    species = _by_name(collection)[shot.species]
    size = (round(WIDTH * MARGIN), round(HEIGHT * MARGIN)) if shot.frame else (WIDTH, HEIGHT)
    scene = COLLECTIONS[collection].draw(species, shot.picture_seed, *size, individual=shot.individual)
    return encode(cut_frame(scene, shot) if shot.frame else scene, replace(EXACT, crop=shot.crop))


def _write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return sha256_bytes(content)


def draw(collection: str, name: str, picture_seed: int) -> Image.Image:
    """A picture of a species of the collection."""
    picture: Image.Image = COLLECTIONS[collection].draw(_by_name(collection)[name], picture_seed, WIDTH, HEIGHT)
    return picture


@cache
def _by_name(collection: str) -> dict[str, Species]:
    return {shown.scientific_name: shown for shown in COLLECTIONS[collection].species()}


def encode(picture: Image.Image, alteration: Alteration) -> bytes:
    """A picture, altered, as JPEG."""
    buffer = io.BytesIO()
    subjects.alter(picture, alteration).save(buffer, "JPEG", quality=alteration.quality)
    return buffer.getvalue()


def _write_benchmark(
    folder: Path, collection: str, tests: Sequence[TestPicture], observed: Mapping[str, inaturalist.Observation]
) -> None:
    """Write a benchmark in CLIP_benchmark's WebDataset form, with our sidecars of names and ids (reference: training
    4.4).
    """
    shown = sorted({test.label: test.species for test in tests}.items())
    classes = [_by_name(collection)[name] for _, name in shown]
    nodes = graph.name_nodes(graph.collect_taxa([], classes).values())
    with _painters() as pool:
        shots = [Shot(test.species, test.picture_seed) for test in tests]
        encoded = list(pool.map(partial(_take, collection), shots, chunksize=16))
    for split in ("dev", "test"):
        (folder / split).mkdir(parents=True)
        with tarfile.open(folder / split / "0.tar", "w") as tar:
            for test, content in zip(tests, encoded, strict=True):
                if test.split != split:
                    continue
                key = test.key.split("/")[1]
                _add(tar, f"{key}.jpg", content)
                _add(tar, f"{key}.cls", str(test.label).encode())
                if one := observed.get(test.key):
                    _add(tar, f"{key}.json", json.dumps(inaturalist.ids_of(one)).encode())
        write_text(folder / split / "nshards.txt", "1\n")
    write_text(folder / "classnames.txt", "".join(f"{one.vernacular_name}\n" for one in classes))
    write_text(folder / "zeroshot_classification_templates.txt", "".join(f"{line}\n" for line in TEMPLATES))
    names = [
        {
            "entityID": curie(nodes[one.taxon_id]),
            "scientificName": one.scientific_name,
            "vernacularName": one.vernacular_name,
            **{
                taxon.rank.name: taxon.scientific_name
                for taxon in Taxon(one.taxon_id).lineage
                if taxon.rank.name in RANKS
            },
        }
        for one in classes
    ]
    write_json(folder / "classes.json", names)


def curie(node: str) -> str:
    """The short form of a node's address: wd:Q25334, ncbi:37610."""
    return node.replace(graph.ENTITY, "wd:").replace(graph.NCBI, "ncbi:")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
