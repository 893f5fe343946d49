"""Darwin Core archives: recorded ones give the recorded numbers, hostile ones are refused, and names find pictures."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.search.darwin_core import MAX_LINE, Archive, DarwinCoreArchive, names_of, read_media
from kg2clip.search.source import Answers

LIVING = ["HUMAN_OBSERVATION", "MACHINE_OBSERVATION", "OBSERVATION"]


def query(name: str, **changes: object) -> dict[str, object]:
    return {"queryID": name, "entityID": "wd:Q1", "kind": "noun", "name": name, "nameKind": "scientific", **changes}


def find(path: Path, name: str, bases: list[str] = LIVING, **changes: object) -> list[dict[str, object]]:
    with TemporaryDirectory() as folder:
        source, answers = DarwinCoreArchive({"path": str(path), "basis_of_record": bases}), Answers(Path(folder), "", 1)
        source.prepare([], answers)
        return [hit for page in source.pages(query(name, **changes), answers) for hit in page]


OCCURRENCES = "http://rs.tdwg.org/dwc/terms/Occurrence"
MULTIMEDIA = "http://rs.gbif.org/terms/1.0/Multimedia"


def described(core: str, *extensions: str) -> str:
    return f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{core}{"".join(extensions)}</archive>'


def table(
    element: str,
    file: str,
    row_type: str,
    fields: str,
    quote: str = "",
    separator: str = "\\t",
    encoding: str = "UTF-8",
) -> str:
    name = "id" if element == "core" else "coreid"
    return (
        f'<{element} encoding="{encoding}" fieldsTerminatedBy="{separator}" linesTerminatedBy="\\n" '
        f'fieldsEnclosedBy=\'{quote}\' ignoreHeaderLines="1" rowType="{row_type}">'
        f'<files><location>{file}</location></files><{name} index="0"/>{fields}</{element}>'
    )


def field(index: int | None, term: str, default: str = "") -> str:
    place = "" if index is None else f'index="{index}" '
    return f'<field {place}{f"""default="{default}" """ if default else ""}term="http://rs.tdwg.org/dwc/terms/{term}"/>'


RECORDS = table(
    "core",
    "occurrence.txt",
    OCCURRENCES,
    field(1, "scientificName") + field(2, "basisOfRecord") + field(3, "occurrenceStatus") + field(4, "license"),
)
PICTURES = table(
    "extension",
    "multimedia.txt",
    MULTIMEDIA,
    field(1, "identifier") + field(2, "license") + field(3, "references") + field(4, "format") + field(5, "type"),
)


def write(path: Path, **files: str | bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def write_rows(path: Path, records: list[str], pictures: list[str]) -> Path:
    lines = {"occurrence__txt": ["id\tname", *records], "multimedia__txt": ["id\tpicture", *pictures]}
    texts = {name: "".join(f"{line}\n" for line in found) for name, found in lines.items()}
    return write(path, meta__xml=described(RECORDS, PICTURES), **texts)


@pytest.mark.parametrize(
    ("name", "core", "extensions"),
    [
        ("darwin_core_archive/dwca-simple-test-archive.zip", 2, []),
        ("darwin_core_archive/dwca-star-test-archive.zip", 4, [4]),
        ("darwin_core_archive/dwca-2extensions.zip", 4, [3, 4]),
        ("darwin_core_archive/gbif_results_2013.zip", 14, []),
        ("gbif/download_dwca_2014.zip", 30, [30, 22]),
        ("gbif/download_simple_csv_2025.zip", 19, []),  # 20 lines with the header
    ],
)
def test_recorded_archives_have_the_recorded_numbers_of_rows(
    samples: Path, name: str, core: int, extensions: list[int]
) -> None:
    archive = Archive(samples / name)
    assert len(list(archive.rows(archive.core))) == core
    assert [len(list(archive.rows(extension))) for extension in archive.extensions] == extensions


def test_recorded_archives_have_the_recorded_values(samples: Path) -> None:
    simple = Archive(samples / "darwin_core_archive" / "dwca-simple-test-archive.zip")
    assert list(simple.rows(simple.core))[1] == (
        "",
        {
            "basisOfRecord": "Observation",
            "locality": "Mumbai",
            "family": "Osphronemidae",
            "scientificName": "betta splendens",
        },
    )
    star = Archive(samples / "darwin_core_archive" / "dwca-star-test-archive.zip")
    names = [(taxon, row["vernacularName"]) for taxon, row in star.rows(star.extensions[0])]
    assert names == [("1", "ostrich"), ("1", "volstruis"), ("1", "strutsi"), ("2", "Asitiese patrys")]
    assert "kingdom" not in dict(star.rows(star.core))["3"], "an empty field is no value"
    old = Archive(samples / "darwin_core_archive" / "gbif_results_2013.zip")
    first = next(iter(old.rows(old.core)))
    assert first[0] and first[1]["occurrenceID"] == first[0], "there is no header line to be skipped"
    plain = Archive(samples / "gbif" / "download_simple_csv_2025.zip")
    assert [identifier for identifier, _ in plain.rows(plain.core)][:2] == ["4903779332", "4890704438"]
    assert next(iter(plain.rows(plain.core)))[1]["license"] == "CC_BY_NC_4_0"


def test_pictures_of_a_recorded_download_are_found_by_name(samples: Path) -> None:
    path = samples / "gbif" / "download_dwca_2014.zip"
    hits = find(path, "Bombus ephippiatus", ["PRESERVED_SPECIMEN"])
    assert [hit["observationID"] for hit in hits] == ["gbif:658227137", "gbif:658136740"], "two records, one picture"
    assert len({hit["candidateID"] for hit in hits}) == 1
    hit = {name: value for name, value in hits[0].items() if name not in ("candidateID", "retrieved")}
    address = "http://biimages.biodiversity.ku.edu/static/Entomology/originals/sp65796921642024007584.att.JPG"
    rights = "http://creativecommons.org/licenses/by/4.0/deed.en_US"
    assert hit == {
        "source": "darwincore", "sourceID": address, "observationID": "gbif:658227137", "occurrenceID": None,
        "accessURI": address, "originalURI": address, "furtherInformationURL": "https://www.gbif.org/occurrence/658227137", "title": None,
        "altText": None, "description": None, "format": "image/jpeg", "license": "CC-BY-4.0", "licenseOriginal": rights,
        "licenseURL": rights, "creator": None, "rightsHolder": None,
    }  # fmt: skip
    tables.as_table([{"queryID": "q", "entityID": "e", "rank": 0, **hit} for hit in hits], tables.HITS)
    whole = Archive(path)
    names = {name for _, row in whole.rows(whole.core) for name in names_of(row)}
    found = {
        (hit["sourceID"], hit["observationID"]) for name in names for hit in find(path, name, ["PRESERVED_SPECIMEN"])
    }
    assert len(found) == 22
    assert find(path, "Bombus ephippiatus") == [], "specimens come only where they are asked for"
    assert len(find(path, "bombus", ["PRESERVED_SPECIMEN"])) == 1, "a genus is not its species"


def test_queries_in_other_words_find_nothing(samples: Path) -> None:
    path = samples / "gbif" / "download_dwca_2014.zip"
    for changes in ({"kind": "attribute-noun"}, {"nameKind": "vernacular"}):
        assert find(path, "Bombus ephippiatus", ["PRESERVED_SPECIMEN"], **changes) == []


def test_an_archive_without_pictures_says_what_to_ask_for(samples: Path) -> None:
    with pytest.raises(UserError, match="no table of pictures.*DWCA"):
        find(samples / "gbif" / "download_simple_csv_2025.zip", "Delphinium fissum")


def test_what_a_record_and_its_pictures_say_decides(tmp_path: Path) -> None:
    records = [
        "1\tAlcedo atthis\tHumanObservation\tpresent\tCC_BY_NC_4_0",
        "2\tAlcedo atthis\tHUMAN_OBSERVATION\tABSENT\t",
        "3\tAlcedo atthis\tPRESERVED_SPECIMEN\t\t",
        "\tAlcedo atthis\tHumanObservation\t\t",
        "5\tTurdus merula\tHumanObservation",
    ]
    pictures = [
        "1\thttp://a.test/1.jpg\t\thttp://a.test/page\timage/jpeg\tStillImage",
        "1\thttp://a.test/2.jpg\tAll rights reserved\t\tjpg\tImage",
        "1\thttp://a.test/3.jpg\tpregunte al autor\t\t\t",
        "1\t\t\thttp://a.test/page\timage/jpeg\tStillImage",
        "1\thttp://a.test/4.mp3\t\t\taudio/mpeg\tSound",
        "1\thttp://a.test/5.html\t\t\ttext/html\t",
        "2\thttp://a.test/absent.jpg",
        "3\thttp://a.test/specimen.jpg",
        "\thttp://a.test/anybodys.jpg",
        "6\thttp://a.test/orphan.jpg",
        "5\thttp://a.test/5.jpg",
    ]
    hits = find(write_rows(tmp_path / "a.zip", records, pictures), "Alcedo atthis")
    assert [str(hit["accessURI"])[-5:] for hit in hits] == ["1.jpg", "2.jpg", "3.jpg"]
    assert [hit["license"] for hit in hits] == ["CC-BY-NC-4.0", "all-rights-reserved", "unknown"]
    assert [hit["licenseOriginal"] for hit in hits] == ["CC_BY_NC_4_0", "All rights reserved", "pregunte al autor"]
    assert [hit["format"] for hit in hits] == ["image/jpeg", None, None]
    assert hits[0]["furtherInformationURL"] == "http://a.test/page"
    assert len(find(tmp_path / "a.zip", "TURDUS  merula")) == 1, "a row may end before its last fields"


def test_quotes_defaults_and_encodings_are_those_of_meta_xml(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    core = table("core", "o.csv", OCCURRENCES, field(1, "scientificName"), '"', ",", "ISO-8859-1")
    media = table(
        "extension", "m.csv", "http://rs.tdwg.org/ac/terms/Multimedia",
        field(1, "identifier") + field(2, "accessURI") + field(3, "title") + field(None, "rights", "CC0"), '"', ";", "utf-16",
    )  # fmt: skip
    path = write(
        tmp_path / "a.zip",
        meta__xml=described(core, media),
        o__csv='id,name\r\n"7","Sterna ""x"", 1758"\r\n8,"Pýrrhula\npyrrhula"\r\n'.encode("latin-1"),
        m__csv='id;i;a;t\n8;ark:1;http://a.test/1.jpg;"Ein ""Dompfaff""; Männchen\nim Schnee"\n'.encode("utf-16"),
    )
    archive = Archive(path)
    assert dict(archive.rows(archive.core)) == {
        "7": {"scientificName": 'Sterna "x", 1758'},
        "8": {"scientificName": "Pýrrhula\npyrrhula"},
    }
    (hit,) = find(path, "Pýrrhula pyrrhula")
    assert (hit["accessURI"], hit["license"]) == ("http://a.test/1.jpg", "CC0-1.0")
    assert hit["title"] == 'Ein "Dompfaff"; Männchen im Schnee'
    assert csv.field_size_limit() == limit, "it is that of the whole process"


def test_unquoted_tables_keep_their_quotes_and_odd_line_ends(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "a.zip", ['1\t"Rosa" canina\r', "", '2\tRosa "x\x85y\x0bz\ra'], ["1\thttp://a.test/1.jpg\r"]
    )
    archive = Archive(path)
    assert [row["scientificName"] for _, row in archive.rows(archive.core)] == ['"Rosa" canina', 'Rosa "x\x85y\x0bz\ra']
    assert find(path, '"Rosa" canina')[0]["accessURI"] == "http://a.test/1.jpg"


def test_a_record_is_found_under_all_its_names() -> None:
    parts = {"genericName": "Delphinium", "specificEpithet": "bolosii", "taxonRank": "SPECIES"}
    record = {"scientificName": "Delphinium bolosii C.Blanché & Molero", "species": "Delphinium fissum", **parts}
    assert set(names_of(record)) == {"delphinium bolosii c.blanché & molero", "delphinium bolosii", "delphinium fissum"}
    authored = {"scientificName": "Turdus merula Linnaeus, 1758", "scientificNameAuthorship": "Linnaeus, 1758"}
    assert "turdus merula" in names_of(authored)
    assert names_of({"scientificName": "Bombus sp.", "genus": "Bombus"}) == ["bombus sp."], "not a picture of the genus"


BOMB = '<!DOCTYPE a [<!ENTITY x "lol"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]><archive>&y;</archive>'


@pytest.mark.parametrize(
    "content", [BOMB.encode(), BOMB.encode("utf-16"), b'<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>']
)
def test_a_document_type_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"meta\.xml.*document type"):
        Archive(write(tmp_path / "a.zip", meta__xml=content))


@pytest.mark.parametrize("content", ["", "<archive/>", "no xml", described(RECORDS.replace('index="1"', 'index="-1"'))])
def test_a_meta_xml_that_makes_no_sense_is_told(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r"meta\.xml of .* cannot be understood"):
        Archive(write(tmp_path / "a.zip", meta__xml=content))


@pytest.mark.parametrize("name", ["../../etc/hostname", "/etc/hostname", "http://a.test/occurrence.txt"])
def test_names_that_lead_out_of_the_archive_find_nothing(tmp_path: Path, name: str) -> None:
    meta = described(table("core", name, OCCURRENCES, field(1, "scientificName")))
    archive = Archive(write(tmp_path / "a.zip", meta__xml=meta))
    with pytest.raises(UserError, match="lacks"):
        list(archive.rows(archive.core))


def test_a_member_that_would_grow_without_end_is_refused(tmp_path: Path) -> None:
    block = b"\n" * 2**20
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.xml", described(RECORDS))
        with archive.open("occurrence.txt", "w") as member:
            for _ in range(100):
                member.write(block)
    opened = Archive(tmp_path / "a.zip")
    with pytest.raises(UserError, match="would grow to 104857600 bytes"):
        list(opened.rows(opened.core))


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.zip", ["1\t" + "x" * MAX_LINE], [])
    archive = Archive(path)
    with pytest.raises(UserError, match="has a line of more than"):
        list(archive.rows(archive.core))


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.zip", [f"{number}\tRosa canina{number * 7919}" for number in range(3000)], [])
    content = bytearray(path.read_bytes())
    place = content.find(b"occurrence.txt") + 2000
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    archive = Archive(path)
    with pytest.raises(UserError, match="cannot be read to its end"):
        list(archive.rows(archive.core))
    for spoiled in (content[: len(content) // 2], b"", b"<html>"):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match="cannot be opened"):
            Archive(path)
    with pytest.raises(UserError, match="cannot be opened"):
        Archive(tmp_path / "absent.zip")


def test_values_of_other_types_are_no_texts() -> None:
    assert read_media("gbif", {}, {"identifier": 7}) is None
    hit = read_media("gbif", {"license": None}, {"identifier": " http://a.test/1.jpg ", "title": ["x"], "type": None})
    assert hit and hit["accessURI"] == "http://a.test/1.jpg" and hit["title"] is None and hit["license"] == "unknown"


def test_the_index_is_kept_and_made_again_for_another_archive(tmp_path: Path) -> None:
    def hits() -> list[str]:
        source, answers = DarwinCoreArchive({"path": str(path), "basis_of_record": LIVING}), Answers(folder, "", 1)
        source.prepare([], answers)
        return [hit["accessURI"] for page in source.pages(query("Rosa canina"), answers) for hit in page]

    path, folder = tmp_path / "a.zip", tmp_path / "kept"
    write_rows(path, ["1\tRosa canina"], ["1\thttp://a.test/1.jpg"])
    assert hits() == ["http://a.test/1.jpg"]
    made = (folder / "pictures.parquet").stat().st_mtime_ns
    assert hits() == ["http://a.test/1.jpg"] and (folder / "pictures.parquet").stat().st_mtime_ns == made
    write_rows(path, ["1\tRosa canina", "2\tRosa canina"], ["1\thttp://a.test/1.jpg", "2\thttp://a.test/2.jpg"])
    assert hits() == ["http://a.test/1.jpg", "http://a.test/2.jpg"]
    assert {file.name for file in folder.iterdir()} == {"pictures.parquet", "pictures.json"}


def test_the_doi_to_cite_is_found_in_the_archive(tmp_path: Path, samples: Path) -> None:
    eml = "<eml><dataset><alternateIdentifier>https://doi.org/10.15468/dl.np3k7j</alternateIdentifier></dataset></eml>"
    path = tmp_path / "a.zip"
    texts = {"occurrence__txt": "id\tname\n", "multimedia__txt": "id\tpicture\n", "metadata__xml": eml}
    write(path, meta__xml=described(RECORDS, PICTURES), **texts)
    source = DarwinCoreArchive({"path": str(path), "basis_of_record": LIVING})
    source.prepare([], Answers(tmp_path, "", 1))
    assert source.facts() == {"doi": "10.15468/dl.np3k7j", "archive": "a.zip"}
    assert Archive(samples / "gbif" / "download_dwca_2014.zip").doi is None, "of 2014; it names none"
    assert DarwinCoreArchive({"path": "x/b.zip", "doi": "10.1/x"}).facts() == {"doi": "10.1/x", "archive": "b.zip"}


def test_a_name_of_two_kingdoms_gives_the_entitys_own(tmp_path: Path) -> None:
    core = table("core", "occurrence.txt", OCCURRENCES, field(1, "scientificName") + field(2, "kingdom"))
    path = write(
        tmp_path / "a.zip",
        meta__xml=described(core, PICTURES),
        occurrence__txt="id\tname\tkingdom\n1\tPrunella\tAnimalia\n2\tPrunella\tPlantae\n3\tPrunella\n",
        multimedia__txt="id\tpicture\n1\thttp://a.test/bird.jpg\n2\thttp://a.test/plant.jpg\n3\thttp://a.test/any.jpg\n",
    )
    kingdoms = {"wd:Q1": "Metazoa", "wd:Q2": "Viridiplantae", "wd:Q3": None}
    source, answers = (
        DarwinCoreArchive({"path": str(path), "basis_of_record": LIVING}, kingdoms),
        Answers(tmp_path, "", 1),
    )
    source.prepare([], answers)

    def shown(entity: str, word: str | None) -> list[str]:
        asked = query("Prunella", entityID=entity, disambiguation=word)
        return [str(hit["accessURI"])[14:-4] for page in source.pages(asked, answers) for hit in page]

    assert shown("wd:Q1", "birds") == ["bird"] and shown("wd:Q2", "mints") == ["plant"] and shown("wd:Q3", "x") == []
    assert shown("wd:Q1", None) == ["bird", "any"] and len(shown("wd:Q3", None)) == 3


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("Bombus (Bombus) terrestris (Linnaeus, 1758)", "Bombus terrestris"),
        ("Mentha ×piperita L.", "Mentha × piperita"),
        ("Mentha x piperita", "Mentha × piperita"),
        ("Quercus robur subsp. robur", "Quercus robur subsp. robur"),
        ("Quercus robur robur", "Quercus robur subsp. robur"),
        ("Quercus robur L. var. robur", "Quercus robur var. robur"),
        ("Bo\u0308hmeria nivea (L.) Gaudich.", "Böhmeria nivea"),
        ("Andrena hattorfiana (FABRICIUS, 1775)", "Andrena hattorfiana"),
        ("Apidae Latreille, 1802", "Apidae"),
    ],
)
def test_a_table_that_has_only_the_whole_name_is_found_by_what_people_write(
    tmp_path: Path, written: str, asked: str
) -> None:
    path = write_rows(tmp_path / "one.zip", [f"1\t{written}"], ["1\thttp://a.test/1.jpg\tCC BY 4.0 NC"])
    (found,) = find(path, asked)
    assert found["license"] == "CC-BY-NC-4.0"
    assert find(path, asked.split()[0] + " other") == []


def test_an_archive_in_a_folder_of_its_own(tmp_path: Path) -> None:
    plain = write_rows(tmp_path / "plain.zip", ["1\tApis"], ["1\thttp://a.test/1.jpg"])
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(tmp_path / "folder.zip", "w") as target:
        target.writestr("__MACOSX/meta.xml", "no")
        for name in source.namelist():
            target.writestr(f"my archive/{name}", source.read(name))
    assert len(find(tmp_path / "folder.zip", "Apis")) == len(find(plain, "Apis")) == 1
