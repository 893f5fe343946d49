"""Kept pictures with their texts to shards of equal size."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg2clip import tables, tars
from kg2clip.dataset.mix import Mixer, site_texts
from kg2clip.errors import UserError
from kg2clip.files import sha256_bytes, write_json
from kg2clip.identifiers import stable_hash
from kg2clip.progress import Progress
from kg2clip.settings import Settings

Row = dict[str, Any]

COPY_FIELDS = (
    "candidateID", "source", "sourceID", "accessURI", "originalURI", "furtherInformationURL", "title", "altText",
    "description", "caption", "tags", "license", "licenseURL", "creator", "rightsHolder", "retrieved", "queryIDs",
    "entityIDs",
)  # fmt: skip
CREDIT_FIELDS = ("source", "license", "licenseURL", "creator", "title", "accessURI", "furtherInformationURL")


@dataclass(frozen=True)
class Inputs:
    """The tables that a dataset is packed from."""

    entities: Path
    queries: Path
    candidates: Path
    features: Sequence[Path]
    decisions: Path


@dataclass(frozen=True)
class Sample:
    """A picture to be packed: where its JPEG lies, all candidates that show it, the survivor first.

    `group` is the same for all pictures that belong together by looks or observation: a split must not part them.
    """

    key: str
    jpeg: tars.Member
    width: int
    height: int
    copies: list[Row]
    group: str

    def merged(self, column: str) -> list[str]:
        """The ids in a list column of all copies, each once, sorted."""
        return sorted({value for copy in self.copies for value in (copy[column] or ())})


def read_samples(inputs: Inputs) -> list[Sample]:
    """All kept pictures with their copies, by key.

    Raises:
        UserError: nothing is kept, or a kept picture has no decoded file.
    """
    decided = tables.read(inputs.decisions, ["candidateID", "kept", "survivorID", "groupID"]).to_pylist()
    groups = {row["candidateID"]: row["groupID"] for row in decided if row["kept"]}
    kept = sorted(groups)
    if not kept:
        raise UserError(f"no picture is left to pack; {inputs.decisions} says why (columns stage and reason)")
    copies: dict[str, list[str]] = {key: [key] for key in kept}
    for row in decided:
        if not row["kept"] and row["survivorID"] in copies:
            copies[row["survivorID"]].append(row["candidateID"])
    wanted = set(itertools.chain.from_iterable(copies.values()))
    candidates = {row["candidateID"]: row for row in _rows(inputs.candidates, COPY_FIELDS, wanted)}
    places = {row["candidateID"]: (path, row) for path in inputs.features for row in _rows(path, _PLACE, copies.keys())}
    if missing := [key for key in kept if key not in candidates or not (key in places and places[key][1]["tar"])]:
        raise UserError(
            f"{len(missing)} kept pictures have no decoded file, among them {missing[0]}. Give all features tables"
        )
    samples = []
    for key in kept:
        path, place = places[key]
        jpeg = tars.Member(path.parent / place["tar"], f"{key}.jpg", place["offset"], place["size"])
        same = [candidates[copy] for copy in (key, *sorted(copies[key][1:]))]
        samples.append(Sample(key, jpeg, place["storedWidth"], place["storedHeight"], same, groups[key]))
    return samples


_PLACE = ("candidateID", "tar", "offset", "size", "storedWidth", "storedHeight")


def _rows(path: Path, columns: Sequence[str], wanted: Any) -> Iterator[Row]:
    for batch in tables.read(path, columns).to_batches(max_chunksize=10_000):
        yield from (row for row in batch.to_pylist() if row["candidateID"] in wanted)


def pack(inputs: Inputs, samples: list[Sample], folder: Path, settings: Settings) -> tuple[list[Row], Row]:
    """Write the shards and sizes.json (which open_clip reads).

    Returns:
        The rows of the manifest, in the order of the shards, and counts for the provenance.
    """
    entities = {row["entityID"]: row for row in tables.read(inputs.entities).to_pylist()}
    queries = {row["queryID"]: row for row in tables.read(inputs.queries).to_pylist()}
    mixer = Mixer.of(settings, site_texts((sample.copies, sample.merged("entityIDs")) for sample in samples))
    rows: list[Row] = []
    sizes = {}
    with Progress(total=len(samples), desc="packing", unit="pictures") as progress:
        for number, members in enumerate(shards(samples, settings["dataset"]["shard_size"], settings["seed"])):
            shard = f"train-{number:05d}.tar"
            with tars.writing(folder / shard) as writer:
                for sample in members:
                    rows.append(_add(writer, shard, sample, _texts(sample, mixer, entities, queries)))
                    progress.update()
            sizes[shard] = len(members)
    write_json(folder / "sizes.json", sizes)
    return rows, _counts(rows, samples, mixer, sizes)


def shards(samples: Sequence[Sample], size: int, seed: int) -> Iterator[Sequence[Sample]]:
    """Mix the samples by the seed and cut them into shards that differ in size by one at most."""
    mixed = sorted(samples, key=lambda sample: stable_hash(seed, sample.key))
    count = -(-len(mixed) // size)
    smallest, larger = divmod(len(mixed), count)
    start = 0
    for number in range(count):
        end = start + smallest + (number < larger)
        yield mixed[start:end]
        start = end


def remove_stale(folder: Path, rows: Sequence[Row]) -> None:
    """Remove shards, whole or half-written, that an earlier run of another size left behind."""
    present = {row["shard"] for row in rows}
    for path in (*folder.glob("train-*.tar"), *folder.glob(".train-*.tar.part")):
        if path.name not in present:
            path.unlink()


def _texts(sample: Sample, mixer: Mixer, entities: Mapping[str, Row], queries: Mapping[str, Row]) -> list[Row]:
    found_for, found_by = sample.merged("entityIDs"), sample.merged("queryIDs")
    asked = [queries[name] for name in found_by if name in queries]
    types = {query["entityID"] for query in asked if query["kind"] == "attribute"}  # natural types, no entities
    if unknown := [name for name in found_for if name not in entities and name not in types] + [
        name for name in found_by if name not in queries
    ]:
        raise UserError(
            f"the candidate {sample.key} names {unknown[0]}, which is in no table: search/ is older than queries/"
        )
    return mixer.mix(sample.copies, [entities[name] for name in found_for if name in entities], asked)


def _add(writer: tars.TarWriter, shard: str, sample: Sample, texts: list[Row]) -> Row:
    jpeg = sample.jpeg.read()
    if not jpeg.startswith(b"\xff\xd8"):
        raise UserError(
            f"{sample.jpeg.tar} is not the tar that its features table describes; remove both and run again"
        )
    survivor = sample.copies[0]
    row = {
        "key": sample.key,
        "groupID": sample.group,
        "sha256": sha256_bytes(jpeg),
        "width": sample.width,
        "height": sample.height,
        "entityIDs": sample.merged("entityIDs"),
        "queryIDs": sample.merged("queryIDs"),
        "candidateIDs": sorted(copy["candidateID"] for copy in sample.copies),
        "texts": texts,
        **{name: survivor[name] for name in CREDIT_FIELDS},
    }
    described = json.dumps({**row, "copies": sample.copies}, ensure_ascii=False, sort_keys=True)
    offset = writer.add(f"{sample.key}.jpg", jpeg)
    writer.add(f"{sample.key}.json", described.encode())
    writer.add(f"{sample.key}.txt", texts[0]["text"].encode())
    return {**row, "split": "train", "shard": shard, "offset": offset, "size": len(jpeg)}


def _counts(rows: Sequence[Row], samples: Sequence[Sample], mixer: Mixer, sizes: Mapping[str, int]) -> Row:
    kinds: Counter[str] = Counter()
    origins: Counter[str] = Counter()
    for row in rows:
        for text in row["texts"]:
            kinds[text["kind"]] += text["weight"] / len(rows)
            origins[text["origin"]] += text["weight"] / len(rows)
    return {
        "samples": len(rows),
        "shards": len(sizes),
        "mergedCopies": sum(len(sample.copies) - 1 for sample in samples),
        "newest": max((copy["retrieved"] or "" for sample in samples for copy in sample.copies), default=""),
        "severalEntities": sum(len(row["entityIDs"]) > 1 for row in rows),
        "droppedTexts": dict(sorted(mixer.dropped.items())),
        "shareByKind": {kind: round(share, 6) for kind, share in sorted(kinds.items())},
        "shareByOrigin": {origin: round(share, 6) for origin, share in sorted(origins.items())},
        "licences": dict(sorted(Counter(row["license"] or "unknown" for row in rows).items())),
    }
