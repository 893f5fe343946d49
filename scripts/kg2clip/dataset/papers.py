"""The papers of a dataset: Croissant metadata, data card, attribution. Texts from the web are escaped in all."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import mlcroissant as mlc

from kg2clip.files import atomic_path, sha256_file, write_text
from kg2clip.settings import Settings

Row = Mapping[str, Any]

LICENCE_URLS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "public-domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}
ATTRIBUTION = ("key", "title", "creator", "license", "licenseURL", "furtherInformationURL", "source")
MOST_SHOWN = 50  # rows of a table in the data card; the manifest has all
FIELDS = {
    "key": "Identity of the picture, and the name of its members in the shard.",
    "split": "train, val or test.",
    "shard": "The tar that holds it.",
    "sha256": "SHA-256 of the JPEG in the shard.",
    "source": "Where it was found.",
    "license": "SPDX-like identifier of its licence, or unknown.",
    "licenseURL": "The licence's text.",
    "creator": "Who made it.",
    "title": "Its title at the source.",
    "accessURI": "Where it was fetched from.",
    "furtherInformationURL": "Its page at the source.",
}


def write_attribution(manifest: Path, path: Path) -> None:
    """Write one line for each picture: title, creator, licence, page, source. Cells can't act as formulas."""
    with (
        duckdb.connect() as database,
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(ATTRIBUTION)
        columns = ", ".join(ATTRIBUTION)
        found = database.execute(f"SELECT {columns} FROM read_parquet($path) ORDER BY key", {"path": str(manifest)})
        while rows := found.fetchmany(10_000):
            writer.writerows([_cell(value) for value in row] for row in rows)


def write_card(manifest: Path, entities: Path, counts: Row, settings: Settings, path: Path) -> None:
    """Write the data card.

    Args:
        entities: knowledge/entities.parquet, for names.
        counts: as `finish.measure` gives them.
    """
    with duckdb.connect() as database:
        database.read_parquet(str(manifest)).create_view("dataset")
        shown = _counted(database, "SELECT unnest(entityIDs) AS value FROM dataset")
        sources = _counted(database, "SELECT coalesce(source, 'unknown') AS value FROM dataset")
        named = dict(
            database.execute(
                "SELECT entityID, coalesce(vernacularName, scientificName, entityID) FROM read_parquet($path) "
                "WHERE list_contains($keys, entityID)",
                {"path": str(entities), "keys": [key for key, _ in shown[:MOST_SHOWN]]},
            ).fetchall()
        )  # a natural type is no entity
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kg2clip.dataset"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters["md"] = _markdown
    card = environment.get_template("README.md.j2").render(
        project=settings["project"],
        pictures=counts["samples"],
        entities=len(shown),
        shards=counts["shards"],
        splits=counts["splits"],
        roots=settings["knowledge"]["roots"],
        curate=settings["curate"],
        dataset=settings["dataset"],
        kinds=_table("kind of text", _percent(counts["shareByKind"])),
        origins=_table("origin of text", _percent(counts["shareByOrigin"])),
        licences=_table("licence", _most(counts["licences"])),
        sources=_table("source", sources),
        by_entity=_table("entity", [(f"{named.get(key, key)} ({key})", count) for key, count in shown]),
    )
    write_text(path, card)


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _counted(database: duckdb.DuckDBPyConnection, values: str) -> list[tuple[str, int]]:
    """Values by how often they occur, then by name: the same in every run."""
    return database.execute(
        f"SELECT value, count(*) AS n FROM ({values}) GROUP BY ALL ORDER BY n DESC, value"
    ).fetchall()


def _percent(shares: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{share:.1%}") for name, share in sorted(shares.items(), key=lambda item: (-item[1], item[0]))]


def write_croissant(
    manifest: Path, hashes: Mapping[str, str], settings: Settings, retrieved: datetime, path: Path
) -> None:
    """Write the Croissant description, checked by the Croissant library.

    Args:
        manifest: the file described, beside the shards.
        hashes: SHA-256 of shards, by name; those of others are computed.
        settings: the whole config.
        retrieved: when the newest picture was found; the same inputs give the same file.
        path: the description, beside them too.

    Raises:
        mlcroissant.ValidationError: a defect of ours.
    """
    folder = path.parent
    with duckdb.connect() as database:
        database.read_parquet(str(manifest)).create_view("dataset")
        shards = [name for (name,) in database.execute("SELECT DISTINCT shard FROM dataset ORDER BY shard").fetchall()]
        licences = database.execute("SELECT DISTINCT license, licenseURL FROM dataset").fetchall()
    tars = [_file(folder / shard, shard, "application/x-tar", hashes.get(shard)) for shard in shards]
    distribution = [
        _file(manifest, "manifest", "application/x-parquet"),
        *tars,
        mlc.FileSet(
            id="pictures",
            name="pictures",
            description="The pictures in the shards.",
            contained_in=shards,
            includes=["*.jpg"],
            encoding_formats=["image/jpeg"],
        ),
    ]
    key = mlc.Source(
        file_set="pictures",
        extract=mlc.Extract(file_property=mlc.FileProperty.filename),
        transforms=[mlc.Transform(regex=r"^(.+)\.jpg$")],
    )
    records = [
        mlc.RecordSet(
            id="samples",
            name="samples",
            description="One row for each picture.",
            key="samples/key",
            fields=[_column(name, meaning) for name, meaning in FIELDS.items()],
        ),
        mlc.RecordSet(
            id="images",
            name="images",
            description="The pictures by key.",
            key="images/key",
            fields=[
                mlc.Field(id="images/key", name="key", data_types=mlc.DataType.TEXT, source=key),
                mlc.Field(
                    id="images/image",
                    name="image",
                    data_types=mlc.DataType.IMAGE_OBJECT,
                    source=mlc.Source(file_set="pictures", extract=mlc.Extract(file_property=mlc.FileProperty.content)),
                ),
            ],
        ),
    ]
    project = settings["project"]
    metadata = mlc.Metadata(
        name=project,
        description="Image-text pairs harvested from public sources by queries made from a knowledge graph.",
        conforms_to="http://mlcommons.org/croissant/1.0",
        cite_as=f"{project}, made with kg2clip",
        license=sorted({_licence_url(name, address) for name, address in licences}),
        version="1.0.0",
        date_published=retrieved,
        distribution=distribution,
        record_sets=records,
        data_collection="Found by text search in the sources' own interfaces; see README.md.",
        data_biases="Well-known organisms, rich regions and living adults are over-represented.",
        data_limitations="Labels come from the sources' searches and were not checked by a person.",
    )
    write_text(path, json.dumps(metadata.to_json(), indent=2, ensure_ascii=False, default=str) + "\n")


def _file(path: Path, name: str, encoding: str, sha256: str | None = None) -> mlc.FileObject:
    return mlc.FileObject(
        id=name,
        name=name,
        content_url=path.name,
        content_size=f"{path.stat().st_size} B",
        encoding_formats=[encoding],
        sha256=sha256 or sha256_file(path),
    )


def _column(name: str, meaning: str) -> mlc.Field:
    return mlc.Field(
        id=f"samples/{name}",
        name=name,
        description=meaning,
        data_types=mlc.DataType.TEXT,
        source=mlc.Source(file_object="manifest", extract=mlc.Extract(column=name)),
    )


def _licence_url(name: str | None, stated: str | None) -> str:
    """The licence's address: as stated where that is one, else built from the identifier."""
    if stated and re.fullmatch(r"https?://[\w./%~-]+", stated):
        return stated
    name = name or "unknown"
    if match := re.fullmatch(r"CC-(BY[A-Z-]*)-(\d\.\d)", name):
        return f"https://creativecommons.org/licenses/{match[1].lower()}/{match[2]}/"
    return LICENCE_URLS.get(name, name)


def _cell(value: Any) -> str:
    """A cell that a spreadsheet takes as text, on one line."""
    text = _plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _table(of: str, rows: Sequence[tuple[str, int | str]]) -> str:
    head = "share" if any(isinstance(number, str) for _, number in rows) else "pictures"
    lines = [f"| {of} | {head} |", "| --- | ---: |"]
    for name, number in rows[:MOST_SHOWN]:
        lines.append(f"| {_markdown(name)} | {number if isinstance(number, str) else f'{number:,}'} |")
    if len(rows) > MOST_SHOWN:
        lines.append(f"| and {len(rows) - MOST_SHOWN:,} more (manifest.parquet) | |")
    return "\n".join(lines)


def _markdown(value: Any) -> str:
    """Text that Markdown shows as it is: no link, no tag, no end of the cell."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(_plain(value), quote=False))


def _plain(value: Any) -> str:
    return " ".join(str(value).split()) if value is not None else ""
