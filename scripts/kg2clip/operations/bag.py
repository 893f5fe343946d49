"""BagIt 1.0 (RFC 8493): a folder with the SHA-256 of every file beside it, as archives take and check it.

Written by hand: PyPI's bagit lists tag files in the order of the file system, so two bags of one run would differ.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from kg2clip.errors import PLACES, UserError
from kg2clip.files import atomic_path, sha256_file, write_text
from kg2clip.operations.findings import Finding, error, ok, shown
from kg2clip.progress import Progress

PAYLOAD, MANIFEST, TAG_MANIFEST = "data", "manifest-sha256.txt", "tagmanifest-sha256.txt"
TAGS = ("bag-info.txt", "bagit.txt", MANIFEST)
SPARE_BYTES, MOST_FILES = 10**9, 10**6  # left on the disk by an archive that is unpacked; files that it may hold
LONGEST_READ = 2**20  # bytes that tarfile may want at once; only a header made to fill the memory is longer
ESCAPES = {"%": "%25", "\n": "%0A", "\r": "%0D"}  # RFC 8493, 2.1.3: what a path in a manifest must not hold as it is


def write_tags(bag: Path, info: Mapping[str, str]) -> None:
    """Make a bag of a folder whose payload lies in `data/`. The bytes depend on the payload and `info` alone."""
    files = _payload(bag)
    sizes = [(bag / name).stat().st_size for name in files]
    write_text(bag / "bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    facts = {**info, "Payload-Oxum": f"{sum(sizes)}.{len(sizes)}"}
    write_text(bag / "bag-info.txt", "".join(f"{key}: {' '.join(value.split())}\n" for key, value in facts.items()))
    hashes = [(sha256_file(bag / name), name) for name in Progress(files, desc="checksums", unit="files")]
    write_text(bag / MANIFEST, _lines(hashes))
    write_text(bag / TAG_MANIFEST, _lines([(sha256_file(bag / name), name) for name in TAGS]))


def check(bag: Path) -> Iterator[Finding]:
    """Every file of a bag against its checksum; files that are gone or that no manifest names.

    Raises:
        UserError: the folder is no bag.
    """
    if not (bag / "bagit.txt").is_file() or not (bag / MANIFEST).is_file():
        raise UserError(f"{bag} is no bundle: it has no bagit.txt and {MANIFEST}. Name the folder or the archive")
    tags, payload = _read(bag / TAG_MANIFEST), _read(bag / MANIFEST)
    wrong = 0
    for name, sha256 in Progress(sorted({**tags, **payload}.items()), desc="checksums", unit="files"):
        if says := _differs(bag, name, sha256):
            wrong += 1
            yield error(name, says)
    for name in sorted(set(_everything(bag)) - {*payload, *tags, TAG_MANIFEST}):
        wrong += 1
        yield error(name, "was not bundled")
    for name in sorted(set(TAGS) - set(tags)):
        wrong += 1
        yield error(name, f"is not named in {TAG_MANIFEST}")
    if not wrong:
        yield ok("checksums", f"{len(payload)} files are what was bundled")


def _differs(bag: Path, name: str, sha256: str) -> str | None:
    """What is wrong with a file that a manifest names. Nothing outside the bag is read, and no link is followed."""
    file = bag / name
    try:
        if not file.parent.resolve().is_relative_to(bag.resolve()):
            return "lies outside the bundle"
        if not stat.S_ISREG(file.lstat().st_mode):
            return "is no plain file"
        return None if sha256_file(file) == sha256 else "is not what was bundled: its SHA-256 is another"
    except FileNotFoundError:
        return "is gone"
    except (OSError, ValueError) as failure:  # a name too long, a NUL in it, no right to read
        return f"can't be read ({failure})"


def pack(bag: Path, archive: Path) -> None:
    """Write a bag as .tar.gz, its folder's name at the top; equal bags give equal bytes."""
    files = sorted(path for path in bag.rglob("*") if path.is_file())
    with (
        atomic_path(archive) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in Progress(files, desc=archive.name, unit="files"):
            header = tarfile.TarInfo(f"{bag.name}/{path.relative_to(bag).as_posix()}")
            header.size = path.stat().st_size
            with open(path, "rb") as content:
                tar.addfile(header, content)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a bag into a folder; nothing of it can land elsewhere. Returns the bag's own folder.

    Raises:
        UserError: no archive, more than the disk can hold, or not of one folder.
    """
    try:
        with _Archive(archive) as content, tarfile.open(fileobj=content, mode="r:") as tar:
            for number, member in enumerate(tar):
                _check_member(archive, folder, member, number)
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError, zlib.error) as failure:
        raise UserError(f"{archive} is no whole .tar.gz ({failure}). Get it again") from None
    except OSError as failure:
        if failure.errno in PLACES:
            raise
        raise UserError(f"{archive} can't be unpacked ({failure})") from None
    found = list(folder.iterdir())
    if len(found) != 1 or not found[0].is_dir():
        raise UserError(f"{archive} is no bundle: it holds more than one folder")
    if not (found[0] / MANIFEST).is_file():  # tarfile takes a torn header for the end
        raise UserError(f"{archive} is no whole bundle: it has no {MANIFEST}")
    return found[0]


class _Archive(gzip.GzipFile):
    """A .tar.gz whose headers can't fill the memory: tarfile reads each as long as it says that it is."""

    def read(self, size: int | None = -1) -> bytes:
        """As in GzipFile.

        Raises:
            ReadError: more is wanted than any header of a bundle has.
        """
        if size is None or not 0 <= size <= LONGEST_READ:
            raise tarfile.ReadError("a header is too long")
        return super().read(size)


def _check_member(archive: Path, folder: Path, member: tarfile.TarInfo, number: int) -> None:
    """A bundle holds plain files and folders; a small archive may stand for more than any disk holds."""
    if not (member.isreg() or member.isdir()):
        raise UserError(f"{archive} is no bundle: {shown(member.name)} in it is a link or a device")
    if number >= MOST_FILES:
        raise UserError(f"{archive} holds more than {MOST_FILES:,} files, which no bundle does")
    if member.size > shutil.disk_usage(folder).free - SPARE_BYTES:
        raise UserError(
            f"the disk of {folder} is too full for {archive}: {shown(member.name)} has {member.size / 1e6:,.1f} MB; "
            f"{SPARE_BYTES / 1e9:,.0f} GB must stay free. Set TMPDIR to a larger one, or unpack it and name the folder"
        )


def _everything(bag: Path) -> list[str]:
    """Whatever lies in a bag but folders; links to folders are no folders."""
    return sorted(path.relative_to(bag).as_posix() for path in bag.rglob("*") if path.is_symlink() or not path.is_dir())


def _payload(bag: Path) -> list[str]:
    return [name for name in _everything(bag) if name.startswith(f"{PAYLOAD}/")]


def _lines(hashes: list[tuple[str, str]]) -> str:
    return "".join(f"{sha256}  {name.translate(_ESCAPED)}\n" for sha256, name in hashes)


_ESCAPED = str.maketrans(ESCAPES)


def _read(path: Path) -> dict[str, str]:
    """SHA-256 by file, of a manifest."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other ends of lines may stand in a name
    except FileNotFoundError:
        raise UserError(f"{path} is gone: nothing says whether the bundle is whole") from None
    except ValueError:
        raise UserError(f"{path} is no text") from None
    found = {}
    for line in filter(None, (line.removesuffix("\r") for line in lines)):
        entry = re.fullmatch(r"([0-9a-f]{64})  ?(.+)", line)
        if entry is None:
            raise UserError(f"{path} holds a line that names no file: {line[:80]!r}")
        if (name := unquote(entry[2])) in found:
            raise UserError(f"{path} names {shown(name)} twice")
        found[name] = entry[1]
    return found
