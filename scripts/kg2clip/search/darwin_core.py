"""Darwin Core archives, such as GBIF's downloads: the pictures of a zip file, looked up by scientific name.

`meta.xml` decides how the tables are read (Darwin Core Text Guide, https://dwc.tdwg.org/text/): file names, separators,
quotes, encodings, the term of each column, defaults. Terms are known here by their last part (`license`), in which
Dublin Core's two forms agree. Archives come from strangers: nothing is unpacked to disk, members are read as
streams under caps, and a document type in meta.xml is refused (entities could grow without end).
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kg2clip import provenance
from kg2clip.errors import UserError
from kg2clip.files import atomic_path, read_json, scratch_folder, write_json
from kg2clip.identifiers import candidate_id
from kg2clip.names import parse
from kg2clip.search import licenses
from kg2clip.search.kingdoms import Kingdoms, may_be_same
from kg2clip.search.source import Answers, Hit, Query, Source
from kg2clip.settings import Settings
from kg2clip.texts import clean

MEDIA_ROWS = (
    "http://rs.gbif.org/terms/1.0/Multimedia",
    "http://rs.tdwg.org/ac/terms/Multimedia",
    "http://rs.gbif.org/terms/1.0/Image",
)
META = re.compile(r"(?!__MACOSX)([^/]+/)?meta\.xml")  # some pack the archive's folder instead of what is in it
MAX_META = 16 * 2**20  # bytes of meta.xml
MAX_MEMBER = 2**40  # bytes of an unpacked table; all of GBIF is below that
MAX_RATIO, RATIO_FROM = 200, 64 * 2**20  # tables shrink 5 to 30 times; more is an attack, once it is big
MAX_LINE = 16 * 2**20  # characters
CHUNK = 20_000  # rows written at a time
PAGE_SIZE = 300
MEMORY = "2GB"  # half of what the rule search_images asks for; beyond it DuckDB works on disk
DOI = re.compile(
    rb"<alternateIdentifier>\s*(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/[^\s<]{1,200})", re.IGNORECASE
)

Row = dict[str, str]
_MARKS = re.compile(r"×|(?<=\s)x(?=\s)|(?<=\s)(?:(?:notho)?(?:subsp|var|f)|ssp|forma)\.(?=\s)")
INDEX = 2  # how the index is made; another number makes it anew


@dataclass(frozen=True)
class Table:
    """How a table of an archive is read: the core or an extension of it."""

    row_type: str
    files: tuple[str, ...]
    encoding: str
    separator: str
    quote: str  # empty where nothing is quoted
    header_lines: int
    id_column: int | None  # of the core's own id, or of the core id in an extension
    columns: tuple[tuple[int, str], ...]
    defaults: Mapping[str, str]


class Archive:
    """An archive's tables, read as streams.

    Raises:
        UserError: the file is absent, is no archive, or is built to do harm.
    """

    def __init__(self, path: Path | str) -> None:
        """Open the zip file and read what it says of itself."""
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} cannot be opened as a Darwin Core archive ({error})") from None
        names = self._zip.namelist()
        self._folder = next((name.removesuffix("meta.xml") for name in names if META.fullmatch(name)), "")
        tables = self._described() if f"{self._folder}meta.xml" in names else [self._undescribed(names)]
        self.core, self.extensions = tables[0], tables[1:]

    @property
    def doi(self) -> str | None:
        """The DOI that the archive's description (EML) gives, or None."""
        names = self._zip.namelist()
        described = next((name for name in ("metadata.xml", "eml.xml") if self._folder + name in names), None)
        if described is None:
            return None
        with self._open(described) as member:
            found = DOI.search(member.read(MAX_META))
        return found[1].decode("ascii", "replace") if found else None

    @property
    def media(self) -> list[Table]:
        """The extensions that list pictures, sounds and films."""
        return [table for table in self.extensions if table.row_type in MEDIA_ROWS]

    def rows(self, table: Table, terms: Collection[str] | None = None) -> Iterator[tuple[str, Row]]:
        """The rows of a table: id (may be empty) and values by term; absent, empty and undefined are the same.

        Args:
            terms: those that are wanted; None for all. A download has 200 columns.
        """
        columns = [(index, term) for index, term in table.columns if terms is None or term in terms]
        defaults = {term: value for term, value in table.defaults.items() if terms is None or term in terms}
        for name in table.files:
            for cells in self._cells(name, table):
                values = dict(defaults)
                filled: set[str] = set()
                for index, term in columns:
                    if index < len(cells) and term not in filled and (value := cells[index].strip()):
                        values[term] = value
                        filled.add(term)
                known = table.id_column is not None and table.id_column < len(cells)
                yield cells[table.id_column].strip() if known and table.id_column is not None else "", values

    def _cells(self, name: str, table: Table) -> Iterator[list[str]]:
        try:
            with self._open(name) as member:
                lines = islice(self._lines(member, table), table.header_lines, None)
                yield from (cells for cells in _split(lines, table) if cells not in ([], [""]))
        except (zipfile.BadZipFile, zlib.error, EOFError, csv.Error, NotImplementedError, RuntimeError) as error:
            raise UserError(
                f"{name} in {self.path} cannot be read to its end ({error}). Fetch the archive anew"
            ) from None

    def _lines(self, member: Any, table: Table) -> Iterator[str]:
        encoding = "utf-8-sig" if re.fullmatch("(?i)utf-?8", table.encoding) else table.encoding
        try:
            text = io.TextIOWrapper(member, encoding=encoding, errors="replace", newline="\n")
        except LookupError:
            raise UserError(f"meta.xml of {self.path} names an unknown encoding: {encoding[:40]!r}") from None
        while line := text.readline(MAX_LINE):
            if len(line) == MAX_LINE:
                raise UserError(f"{member.name} in {self.path} has a line of more than {MAX_LINE} characters")
            yield line

    def _open(self, name: str) -> Any:
        """A member as a stream. Names are looked up among the members only: a path that leads out finds nothing."""
        try:
            member = self._zip.getinfo(self._folder + name)
        except KeyError:
            raise UserError(f"{self.path} lacks {name[:200]!r}, which its meta.xml names") from None
        # zipfile never gives more than the stated size, so that checking the statement is enough.
        bomb = member.file_size > max(RATIO_FROM, MAX_RATIO * member.compress_size)
        if bomb or member.file_size > MAX_MEMBER:
            raise UserError(f"{name} in {self.path} would grow to {member.file_size} bytes, and is refused")
        return self._zip.open(member)

    def _described(self) -> list[Table]:
        with self._open("meta.xml") as member:
            content = member.read(MAX_META + 1)
        try:
            if len(content) > MAX_META:
                raise ValueError("it is too large")
            tree = ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoDocumentType()))
            cores, extensions = tree.findall("{*}core"), tree.findall("{*}extension")
            if len(cores) != 1:
                raise ValueError(f"it has {len(cores)} core tables")
            return [_read_table(element) for element in (*cores, *extensions)]
        except (ElementTree.ParseError, ValueError) as error:
            raise UserError(f"meta.xml of {self.path} cannot be understood ({error})") from None

    def _undescribed(self, names: list[str]) -> Table:
        """The one table of an archive without meta.xml: its header line holds the terms (Text Guide, 1.3)."""
        found = [name for name in names if name.lower().endswith((".csv", ".tsv", ".txt"))]
        if len(found) != 1:
            raise UserError(f"{self.path} is no Darwin Core archive: it has no meta.xml and {len(found)} tables")
        with self._open(found[0]) as member:
            header = member.readline(MAX_META).decode("utf-8-sig", "replace").rstrip("\r\n")
        separator, quote = ("\t", "") if "\t" in header else (",", '"')
        terms = [_term(name) for name in next(csv.reader([header], delimiter=separator))] if header else []
        ids = [terms.index(name) for name in ("gbifID", "id", "occurrenceID", "taxonID") if name in terms]
        columns = tuple(enumerate(terms))
        return Table("", (found[0],), "utf-8", separator, quote, 1, next(iter(ids), None), columns, {})


class _NoDocumentType(ElementTree.TreeBuilder):
    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it has a document type, which no archive needs")


def _read_table(element: ElementTree.Element) -> Table:
    identifier = element.find("{*}id")
    identifier = element.find("{*}coreid") if identifier is None else identifier
    fields = [(field.get("index"), _term(field.get("term", "")), field) for field in element.findall("{*}field")]
    separator = _unescape(element.get("fieldsTerminatedBy", ","))
    quote = element.get("fieldsEnclosedBy", '"')
    if not separator or len(quote) > 1 or (quote and len(separator) > 1):
        raise ValueError("its separators are not of one character")
    return Table(
        row_type=element.get("rowType", ""),
        files=tuple((location.text or "").strip() for location in element.findall("{*}files/{*}location")),
        encoding=element.get("encoding", "UTF-8"),
        separator=separator,
        quote=quote,
        header_lines=_number(element.get("ignoreHeaderLines", "0")),
        id_column=None if identifier is None else _number(identifier.get("index", "0")),
        columns=tuple((_number(index), term) for index, term, _ in fields if index is not None),
        defaults={term: field.get("default", "") for _, term, field in fields if field.get("default")},
    )


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text):
        raise ValueError(f"{text[:40]!r} is no column")
    return int(text)


def _term(uri: str) -> str:
    return re.split("[/#:]", uri.strip())[-1]


def _unescape(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r")


def _split(lines: Iterator[str], table: Table) -> Iterator[list[str]]:
    if not table.quote:
        yield from (line.rstrip("\r\n").split(table.separator) for line in lines)
        return
    before = csv.field_size_limit(MAX_LINE)  # of the whole process
    try:
        yield from csv.reader(lines, delimiter=table.separator, quotechar=table.quote)
    finally:
        csv.field_size_limit(before)


def taxon_name(query: Query) -> str | None:
    """The scientific name that a query asks for; None for queries in other words, which record bases cannot answer."""
    scientific = query["kind"] == "noun" and query.get("nameKind") in (None, "scientific", "synonym")
    return query["name"] if scientific else None


def is_wanted(record: Mapping[str, Any], bases: Iterable[str]) -> bool:
    """Whether a record says that the organism was there, and is of a wanted basis (HUMAN_OBSERVATION; an archive may
    write HumanObservation). A record that does not say is taken, for tables of taxa say neither.
    """
    if _plain(_text(record.get("occurrenceStatus"))) == "absent":
        return False
    basis = _plain(_text(record.get("basisOfRecord")))
    return not basis or basis in {_plain(wanted) for wanted in bases}


def read_media(source: str, record: Mapping[str, Any], media: Mapping[str, Any]) -> Hit | None:
    """A picture of a record as a hit; None for what is no picture or has no address. `references` is a page.

    Both mappings hold values by term, as GBIF's API gives them too. The picture's own licence counts, whether or not it
    can be read; only where there is none does the record's.
    """
    address = _first(media, "accessURI", "identifier")
    kind = _term(_first(media, "type") or "StillImage").lower()
    mime = (_first(media, "format") or "").lower()
    if not address or kind not in ("stillimage", "image") or ("/" in mime and not mime.startswith("image/")):
        return None
    said = _all(media, "license", "UsageTerms", "WebStatement", "rights") or _all(record, "license", "rights")
    key = _first(record, "gbifID")
    occurrence = _first(record, "occurrenceID")
    page = _first(media, "references") or _first(record, "references")
    return {
        "candidateID": candidate_id(source, address),
        "source": source,
        "sourceID": address,
        "observationID": f"gbif:{key}" if key else occurrence,
        # Publishers also write plain numbers here, which others use too.
        "occurrenceID": occurrence if occurrence and ":" in occurrence else None,
        "accessURI": address,
        "originalURI": address,
        "furtherInformationURL": page or (f"https://www.gbif.org/occurrence/{key}" if key else None),
        "title": clean(_first(media, "title")),
        "altText": None,
        "description": clean(_first(media, "description", "caption")),
        "format": mime if mime.startswith("image/") else None,
        "license": licenses.normalize(*said),
        "licenseOriginal": next((clean(text) for text in said), None),
        "licenseURL": next((text for text in said if text.startswith(("http://", "https://"))), None),
        "creator": clean(_first(media, "creator")),
        "rightsHolder": clean(_first(media, "rightsHolder", "Owner") or _first(record, "rightsHolder")),
        "retrieved": provenance.now(),
    }


def names_of(record: Mapping[str, str]) -> list[str]:
    """The names under which a record is found: as written, without author, in parts, and the accepted species."""
    whole = record.get("scientificName", "")
    genus = record.get("genericName") or record.get("genus", "")
    epithets = [record.get("specificEpithet", ""), record.get("infraspecificEpithet", "")]
    parts = [genus, *epithets] if epithets[0] or record.get("taxonRank", "").upper() == "GENUS" else []
    bare = whole.removesuffix(record.get("scientificNameAuthorship", "")).rstrip(" ,")
    told = "" if parts or bare != whole else parse(whole).canonical  # a table without these columns
    names = (whole, bare, told, " ".join(part for part in parts if part), record.get("species", ""))
    return sorted({name_key(name) for name in names if name.strip()})


class DarwinCoreArchive(Source):
    """The source `darwincore`: an archive on this machine; `wanted` is its section of the config, `kingdoms` those of
    the entities.
    """

    name = "darwincore"

    def __init__(self, wanted: Settings, kingdoms: Kingdoms | None = None) -> None:
        self._wanted = wanted
        self._kingdoms = kingdoms or {}
        self._pictures: Pictures | None = None

    def prepare(self, queries: Sequence[Query], answers: Answers) -> None:
        """Index the archive's pictures by name, out of core, unless that was done before.

        Raises:
            UserError: there is no such archive, it has no pictures, or is built to do harm.
        """
        path, bases = Path(self._wanted["path"]), self._wanted["basis_of_record"]
        self._pictures = Pictures(path, bases, answers.folder, self._kingdoms)

    def pages(self, query: Query, answers: Answers) -> Iterator[list[Hit]]:
        """The pictures of records under a query's name, in the archive's order."""
        if self._pictures is None:
            raise RuntimeError("prepare() comes before pages()")
        yield from self._pictures.pages(self.name, query)

    def facts(self) -> dict[str, Any]:
        """The DOI to cite: the config's, else the one that the archive gives itself."""
        doi = self._wanted.get("doi") or (self._pictures.doi if self._pictures else None)
        return {"doi": doi, "archive": Path(self._wanted["path"]).name}


class Pictures:
    """An archive's pictures, looked up by the names of their records.

    The index is kept in `folder`, and made again when the archive or the wanted bases change.

    Raises:
        UserError: the archive is absent, has no table of pictures, or is built to do harm.
    """

    def __init__(self, path: Path, bases: Sequence[str], folder: Path, kingdoms: Kingdoms) -> None:
        archive = Archive(path)
        self._kingdoms = kingdoms
        self.doi = archive.doi
        status = path.stat()
        state = [str(path), status.st_size, status.st_mtime_ns, sorted(bases), INDEX]
        index, built = folder / "pictures.parquet", folder / "pictures.json"
        if not index.exists() or not built.exists() or read_json(built) != state:
            built.unlink(missing_ok=True)
            build_index(archive, bases, index)
            write_json(built, state)
        self._database = duckdb.connect()
        self._database.read_parquet(str(index)).create_view("pictures")

    def pages(self, source: str, query: Query) -> Iterator[list[Hit]]:
        """The pictures under a query's name, in the archive's order, for the source of this name. Records of another
        kingdom than the entity's are left out.
        """
        name = taxon_name(query)
        if name is None:
            return
        cursor = self._database.cursor()
        cursor.execute("SELECT record, media FROM pictures WHERE name = ? ORDER BY place", [name_key(name)])
        while rows := cursor.fetchmany(PAGE_SIZE):
            found = ((json.loads(record), json.loads(media)) for record, media in rows)
            meant = ((record, media) for record, media in found if self._is_meant(query, record))
            yield [hit for record, media in meant if (hit := read_media(source, record, media))]

    def _is_meant(self, query: Query, record: Row) -> bool:
        ours = self._kingdoms.get(query["entityID"])
        return may_be_same(ours, record.get("kingdom"), bool(query.get("disambiguation")))


# What read_media reads of a record and of a picture; the rest of an archive's 200 columns is left behind.
RECORD_TERMS = ("gbifID", "kingdom", "license", "rights", "references", "rightsHolder", "occurrenceID")
NAME_TERMS = (
    "scientificName", "scientificNameAuthorship", "genericName", "genus", "specificEpithet", "infraspecificEpithet",
    "taxonRank", "species",
)  # fmt: skip
WANTED_TERMS = ("occurrenceStatus", "basisOfRecord")
MEDIA_TERMS = (
    "accessURI", "identifier", "type", "format", "references", "title", "description", "caption", "license",
    "UsageTerms", "WebStatement", "rights", "creator", "rightsHolder", "Owner",
)  # fmt: skip
_RECORDS = pa.schema([("id", pa.string()), ("names", pa.list_(pa.string())), ("record", pa.string())])
_MEDIA = pa.schema([("id", pa.string()), ("place", pa.int64()), ("media", pa.string())])


def build_index(archive: Archive, bases: Iterable[str], target: Path) -> None:
    """Join an archive's pictures with its wanted records, sorted by name, into a Parquet file.

    Raises:
        UserError: the archive has no table of pictures.
    """
    if not archive.media:
        raise UserError(
            f"{archive.path} has no table of pictures (multimedia.txt). GBIF's SIMPLE_CSV has none: request format DWCA"
        )
    with scratch_folder(target) as folder:
        records, media = folder / "records.parquet", folder / "media.parquet"
        _write(_records(archive, frozenset(bases)), _RECORDS, records)
        _write(_pictures(archive), _MEDIA, media)
        with (
            duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": str(folder)}) as database,
            atomic_path(target) as temporary,
        ):
            database.read_parquet(str(records)).create_view("records")
            database.read_parquet(str(media)).create_view("media")
            database.sql(
                """
                WITH named AS (SELECT id, record, unnest(names) AS name FROM records)
                SELECT name, place, min(record) AS record, any_value(media) AS media
                FROM named JOIN media USING (id) GROUP BY name, place ORDER BY name, place
                """
            ).write_parquet(str(temporary), compression="zstd")


def _records(archive: Archive, bases: frozenset[str]) -> Iterator[dict[str, Any]]:
    for identifier, row in archive.rows(archive.core, {*RECORD_TERMS, *NAME_TERMS, *WANTED_TERMS}):
        if is_wanted(row, bases):
            yield {"id": identifier, "names": names_of(row), "record": _some(row, RECORD_TERMS)}


def _pictures(archive: Archive) -> Iterator[dict[str, Any]]:
    rows = (row for table in archive.media for row in archive.rows(table, MEDIA_TERMS))
    for place, (identifier, row) in enumerate(rows):
        if identifier:  # without, it would belong to every record that has none either
            yield {"id": identifier, "place": place, "media": _some(row, MEDIA_TERMS)}


def _write(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, path: Path) -> None:
    with pq.ParquetWriter(path, schema) as writer:
        iterator = iter(rows)
        while chunk := list(islice(iterator, CHUNK)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


def _some(row: Row, terms: Iterable[str]) -> str:
    return json.dumps({term: row[term] for term in terms if term in row}, ensure_ascii=False, sort_keys=True)


def name_key(name: str) -> str:
    """The form in which names are compared: without case, ranks and hybrid signs, as GBIF's canonical names are."""
    return " ".join(_MARKS.sub(" ", unicodedata.normalize("NFC", name).casefold()).split())


def _plain(word: str) -> str:
    return re.sub("[^a-z]", "", word.lower())


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _all(values: Mapping[str, Any], *terms: str) -> list[str]:
    return [text for term in terms if (text := _text(values.get(term)))]


def _first(values: Mapping[str, Any], *terms: str) -> str | None:
    return next(iter(_all(values, *terms)), None)
