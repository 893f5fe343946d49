"""The columns of every table that a stage hands to another (design 4), and how tables are written and read.

Names are Darwin Core and Audiovisual Core terms where one exists, in their lowerCamelCase.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip.errors import UserError
from kg2clip.files import atomic_path

text, texts = pa.string(), pa.list_(pa.string())

# How every table is stored. With its checksum a page tells that a byte in it was changed (scripts/verify.py).
STORED = {"compression": "zstd", "write_page_checksum": True}

NAME = pa.struct([("text", text), ("language", text), ("kind", text)])
ANCESTOR = pa.struct(
    [("entityID", text), ("taxonID", text), ("scientificName", text), ("vernacularName", text), ("taxonRank", text)]
)
ATTRIBUTE = pa.struct([("category", text), ("value", text), ("source", text)])

ENTITIES = pa.schema(
    [
        ("entityID", text),  # CURIE: wd:Q25334, ncbi:37610 where there is no item
        ("taxonID", text),  # ncbi:37610
        ("scientificName", text),
        ("vernacularName", text),  # the preferred common name in the first configured language, or null
        ("names", pa.list_(NAME)),  # kind: scientific, synonym, label, alias, vernacular
        ("description", text),
        ("taxonRank", text),
        ("kingdom", text),
        ("naturalType", text),  # the nearest ancestor's common name: "songbirds"
        ("naturalTypeID", text),
        ("ancestors", pa.list_(ANCESTOR)),  # nearest first, each once
        ("higherClassification", text),  # root first, joined by |
        ("sitelinks", pa.int32()),
        ("images", texts),  # P18 file names
        ("identifiers", pa.list_(pa.struct([("scheme", text), ("value", text)]))),
        ("attributes", pa.list_(ATTRIBUTE)),  # source: the graph property (P462), lexicon, file, llm:MODEL
    ]
)

QUERIES = pa.schema(
    [
        ("queryID", text),
        ("entityID", text),
        ("kind", text),  # noun, attribute-noun; attribute: of a natural type, whose id is the entityID
        ("text", text),
        ("name", text),  # the entity's name that the text holds
        ("nameKind", text),  # scientific, vernacular, synonym, type
        ("attribute", text),
        ("category", text),
        ("disambiguation", text),  # the word added because other taxa share the name
        ("excludedWords", texts),  # pictures whose texts hold one are not wanted: drawing; sources that can are told
        ("orTerms", texts),  # other names, one of which will do; for sources that charge by the call
    ]
)

_CANDIDATE = [
    ("candidateID", text),
    ("source", text),
    ("sourceID", text),
    ("observationID", text),  # pictures with the same one show one individual (iNaturalist: UUID of the observation)
    ("occurrenceID", text),  # the observation's address or URN, the same wherever its record is published again
    ("accessURI", text),  # the picture that is fetched
    ("originalURI", text),  # the full-size picture at the source
    ("furtherInformationURL", text),  # the page
    ("title", text),  # texts as the source has them, each in its field, cleaned (kg2clip.texts)
    ("altText", text),
    ("description", text),
    ("caption", text),
    ("tags", texts),
    ("format", text),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("bytes", pa.int64()),
    ("license", text),  # SPDX-like id: CC-BY-SA-4.0, CC0-1.0, public-domain, unknown
    ("licenseOriginal", text),
    ("licenseURL", text),
    ("creator", text),
    ("rightsHolder", text),
    ("sha1", text),
    ("retrieved", text),  # ISO 8601, UTC
]
HITS = pa.schema(
    [
        ("queryID", text),
        ("entityID", text),
        ("rank", pa.int32()),  # place among the query's hits, from 0
        ("pictureKey", text),  # the same for all links of one picture, at whatever source (search/identity.py)
        *_CANDIDATE,
    ]
)
LINK = pa.struct([("candidateID", text), ("source", text), ("sourceID", text), ("accessURI", text)])
CANDIDATES = pa.schema(
    [
        *_CANDIDATE,
        ("queryIDs", texts),
        ("entityIDs", texts),
        ("conflict", pa.bool_()),  # found for several entities, of which none lies below another
        ("rank", pa.int32()),  # the best that a query gave it
        ("links", pa.list_(LINK)),  # the same picture elsewhere, in the order in which the sources were asked
    ]
)

TRIED = pa.struct([("accessURI", text), ("reason", text)])
DOWNLOADS = pa.schema(
    [
        ("candidateID", text),  # also the key of its members in the tar
        ("batch", text),
        ("lane", text),
        ("shard", text),  # name of the raw tar, without folder: 00000.tar; null when not stored
        ("accessURI", text),  # the link that the row speaks of: the one that served, else the last that was tried
        ("host", text),
        ("tried", pa.list_(TRIED)),  # the candidate's links before it, which failed for good
        ("nextURI", text),  # where a second pass goes on, at a host of another job: the next link, or a redirect's end
        ("status", text),  # success, failed, refused
        (
            "reason",
            text,
        ),  # null on success: dns, connect, timeout, http-404, too-large, robots, opt-out, private-address, bad-url ...
        ("httpStatus", pa.int32()),
        ("finalURI", text),
        ("attempts", pa.int32()),
        ("mediaType", text),
        ("bytes", pa.int64()),
        ("sha256", text),
        ("retrieved", text),
    ]
)

FEATURES = pa.schema(
    [
        ("candidateID", text),
        ("batch", text),
        ("tar", text),  # decoded tar, relative to curate/: commons-000/00000.tar; null when refused
        ("offset", pa.int64()),  # of the JPEG's first byte in the decoded tar
        ("size", pa.int64()),  # of the JPEG in bytes
        ("status", text),  # decoded, refused
        ("reason", text),
        ("format", text),  # as found in the bytes: JPEG, PNG, WEBP ...
        ("width", pa.int32()),  # of the original, upright
        ("height", pa.int32()),
        ("storedWidth", pa.int32()),
        ("storedHeight", pa.int32()),
        ("flags", texts),  # animated, alpha, exif-rotated, icc, 16-bit, cmyk ...
        ("pictureKind", text),  # by its colours: photograph, drawing, map, logo
        ("deviation", pa.float32()),  # standard deviation of the grey levels, 0 to 127.5: 0 is a blank picture
        ("sha256", text),  # of the raw bytes
        ("pixelHash", text),  # sha256 of the upright picture as 64 x 64 RGB
        ("pdq", pa.binary(32)),
        ("pdqMirrored", pa.binary(32)),  # of the mirror image
        ("pdqQuality", pa.int32()),  # 0 to 100
        ("windows", pa.binary(36 * 32)),  # hashes of the whole and of 35 windows, to find crops by
        ("colours", pa.binary(4 * 4 * 3)),  # mean red, green and blue of 4 x 4 parts
    ]
)

FITS = pa.schema([("candidateID", text), ("fit", pa.float32())])  # the cosine with the best of its names; null: none

DECISIONS = pa.schema(
    [
        ("candidateID", text),
        ("kept", pa.bool_()),
        ("stage", text),  # where a dropped one left: licence, download, decode, filter, duplicate, decontamination
        ("reason", text),  # null when kept
        ("fetchedURI", text),  # the link that served the picture; null where none did
        ("survivorID", text),  # for duplicates: the candidate that stands for the group; itself when kept
        # a duplicate by sha256, pixels, pdq, pdq-mirrored, overlap, burst; leaked also by source-id, address,
        # observation, page
        ("match", text),
        ("distance", pa.int32()),  # PDQ bits to the member of the group that brought it in
        ("burstID", text),  # the first of the nearly equal photos of one observation; null where there is one photo
        ("groupID", text),  # the first of all copies and all photos of their observations: no split cuts through them
        ("benchmark", text),
        ("benchmarkKey", text),  # split/key of the test picture
        ("pictureKind", text),  # by its texts or colours: photograph, drawing, map, specimen, logo
        ("fit", pa.float32()),  # to its names, by curate.fit_model; null without one
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("pdqQuality", pa.int32()),
    ]
)

TEXT = pa.struct([("text", text), ("kind", text), ("origin", text), ("language", text), ("weight", pa.float64())])
WEB = "alt-text"  # the kind of texts that came with a picture; their origin says in which field
NAMES = ("scientific", "vernacular", "synonym")  # kinds of texts for which `name` stands in dataset.text_weights
DATASET = pa.schema(
    [
        ("key", text),  # candidateID of the surviving copy
        ("split", text),  # train, val, test
        ("shard", text),  # train-00000.tar
        ("offset", pa.int64()),  # of the JPEG's first byte in the shard
        ("size", pa.int64()),
        ("sha256", text),  # of the JPEG in the shard
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("entityIDs", texts),
        ("queryIDs", texts),
        ("candidateIDs", texts),  # all merged copies
        ("groupID", text),  # the same for photos of one observation and copies: no split may cut through it
        ("texts", pa.list_(TEXT)),  # weights sum to 1: the exact distribution that training draws from
        ("source", text),
        ("license", text),
        ("licenseURL", text),
        ("creator", text),
        ("title", text),
        ("accessURI", text),
        ("furtherInformationURL", text),
    ]
)

PREDICTIONS = pa.schema(
    [
        ("key", text),
        ("split", text),  # dev, test
        ("label", pa.int32()),  # line in classnames.txt, from 0
        (
            "nameForm",
            text,
        ),  # scientific, common, taxonomic, combined; 5-shot: no name, but so many pictures of each class
        ("prompts", text),  # name of the template set; linear probe
        ("top", pa.list_(pa.int32())),  # the five best labels, best first
        ("scores", pa.list_(pa.float32())),  # their cosines; a probe's logits
        ("heights", pa.list_(pa.int32())),  # how far each is off: 0 right, 1 same genus ... 6 same kingdom, 7 none
        ("confidence", pa.float32()),  # the best label's probability, by the model's own scale
        ("calibrated", pa.float32()),  # the same at `temperature`; null without a dev split
        ("temperature", pa.float32()),  # divides the scale; fitted on the dev split for this form and these prompts
        ("kingdom", text),  # of the label, where the benchmark tells it
        ("seen", pa.bool_()),  # whether the dataset has a picture of the label's taxon; null: no telling
        # whether the harvest met this picture, a copy of it, or its observation; none of them is in the dataset
        ("met", pa.bool_()),
    ]
)

RETRIEVALS = pa.schema(
    [
        ("key", text),  # of the picture; that of a caption is key/0, key/1 ...
        ("split", text),
        ("query", text),  # picture: its captions are looked for; text: its picture
        ("rank", pa.int32()),  # place of the best right answer among all, from 1
        ("score", pa.float32()),  # its cosine
    ]
)

SCORES = pa.schema(
    [
        ("experiment", text),  # or baseline
        ("benchmark", text),
        ("split", text),
        ("nameForm", text),
        ("prompts", text),
        ("chosen", pa.bool_()),  # these prompts were the best on the dev split
        # top1, top5, macro; of the best label: genus, family, order, class (share of pictures where it is right to that
        # rank), distance (mean height), severity (mean height of the mistakes); ece and eceCalibrated. Retrieval: r1,
        # r5, r10 with nameForm captions, prompts picture to text or text to picture
        ("metric", text),
        ("value", pa.float64()),  # 0 to 1; heights 0 to 7
        ("low", pa.float64()),  # 95 % interval, bootstrap over classes; null on dev and for metrics that have none
        ("high", pa.float64()),
        ("pictures", pa.int32()),
        ("classes", pa.int32()),
    ]
)

GROUP_SCORES = pa.schema(
    [
        ("experiment", text),
        ("benchmark", text),
        ("nameForm", text),
        ("prompts", text),  # those chosen on dev
        ("grouping", text),  # kingdom, seen, met
        ("group", text),  # Metazoa ...; seen, unseen; met, not met
        ("metric", text),  # top1, top5, macro, on the test split, among all classes
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("pictures", pa.int32()),
        ("classes", pa.int32()),
    ]
)

COMPARISONS = pa.schema(
    [
        ("benchmark", text),
        ("metric", text),  # top1; r1 picture to text, r1 text to picture
        ("first", text),  # experiment or baseline
        ("second", text),
        ("firstForm", text),  # form of names and prompts that are best on dev
        ("firstPrompts", text),
        ("secondForm", text),
        ("secondPrompts", text),
        ("difference", pa.float64()),  # first minus second, on the same pictures of test
        ("low", pa.float64()),  # 95 % interval, paired bootstrap over classes
        ("high", pa.float64()),
        ("p", pa.float64()),  # of no difference: the two models' answers exchanged class by class
        ("pHolm", pa.float64()),  # corrected for all comparisons of this table
        ("pictures", pa.int32()),
    ]
)


def write(rows: Sequence[Mapping[str, Any]] | pd.DataFrame | pa.Table, schema: pa.Schema, path: Path | str) -> None:
    """Write rows as Parquet, atomically, with exactly the schema's columns in its order; missing ones are null.

    Raises:
        KeyError: a row has a column that the schema does not know.
    """
    table = as_table(rows, schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, **STORED)


def write_stream(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, path: Path | str, at_a_time: int = 5000) -> int:
    """Write rows as they come, `at_a_time` in memory, atomically, and return their number.

    Raises:
        KeyError: a row has a column that the schema does not know.
    """
    return write_parts(_groups(rows, schema, at_a_time), schema, path)


def write_parts(parts: Iterable[pa.Table], schema: pa.Schema, path: Path | str) -> int:
    """Write the rows of tables as they come, one table in memory, atomically, and return their number."""
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **STORED) as writer:
        for part in parts:
            writer.write_table(as_table(part, schema))
            count += part.num_rows
    return count


def as_table(rows: Sequence[Mapping[str, Any]] | pd.DataFrame | pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of the schema."""
    if isinstance(rows, pa.Table):
        return rows.select(schema.names).cast(schema)
    names = list(rows.columns) if isinstance(rows, pd.DataFrame) else {name for row in rows for name in row}
    if unknown := set(names) - set(schema.names):
        raise KeyError(f"columns that the table does not have: {', '.join(sorted(unknown))}")
    if isinstance(rows, pd.DataFrame):
        return pa.Table.from_pandas(rows.reindex(columns=schema.names), schema=schema, preserve_index=False)
    return pa.Table.from_pylist(list(rows), schema=schema)


def gather(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, at_a_time: int = 5000) -> pa.Table:
    """Rows as they come as an Arrow table of the schema, with `at_a_time` as Python objects in memory."""
    return pa.concat_tables([schema.empty_table(), *_groups(rows, schema, at_a_time)])


def _groups(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, at_a_time: int) -> Iterator[pa.Table]:
    waiting = iter(rows)
    while group := list(islice(waiting, at_a_time)):
        yield as_table(group, schema)


def read(path: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table.

    Raises:
        UserError: the file is absent or is no Parquet table.
    """
    with _readable(path):
        return pq.read_table(path, columns=list(columns) if columns else None)


def read_rows(path: Path | str, columns: Sequence[str], at_a_time: int = 5000) -> Iterator[dict[str, Any]]:
    """Read the rows of a Parquet table, `at_a_time` in memory; raises as `read` does."""
    with _readable(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(at_a_time, columns=list(columns)):
            yield from batch.to_pylist()


def count(path: Path | str) -> int:
    """The number of rows of a Parquet table; raises as `read` does."""
    with _readable(path):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _readable(path: Path | str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Make it with: snakemake {path}") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is no whole table ({error}). Remove it and run again") from None


def read_frame(path: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table into pandas, with nullable integer and string columns left as Python objects where null."""
    frame: pd.DataFrame = read(path, columns).to_pandas()
    return frame
