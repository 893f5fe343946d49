"""Tars whose bytes depend on their members only, and reads of one member without scanning the tar."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kg2clip.errors import UserError
from kg2clip.files import atomic_path


class TarWriter:
    """Appends members with zeroed metadata (owner, time, mode) and says where their bytes lie."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        """Write to an open tar."""
        self._tar = tar

    def add(self, name: str, content: bytes) -> int:
        """Append a member; return the offset of its first byte in the tar. USTAR headers take exactly one block."""
        offset = self._tar.offset + tarfile.BLOCKSIZE
        header = tarfile.TarInfo(name)
        header.size = len(content)
        self._tar.addfile(header, io.BytesIO(content))
        return offset


@contextmanager
def writing(path: Path | str) -> Iterator[TarWriter]:
    """Write a tar atomically."""
    with (
        atomic_path(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as tar,
    ):
        yield TarWriter(tar)


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in its tar."""

    tar: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The member's bytes."""
        return read_at(self.tar, self.offset, self.size)


def members(path: Path | str) -> list[Member]:
    """The files in a tar, in its order. Only headers are read.

    Raises:
        UserError: the tar is absent, torn or no tar.
    """
    path = Path(path)
    size = path.stat().st_size if path.exists() else 0
    try:
        with tarfile.open(path, "r:") as tar:
            found = [Member(path, info.name, info.offset_data, info.size) for info in tar if info.isfile()]
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except tarfile.TarError as error:
        raise UserError(f"{path} is no whole tar ({error})") from None
    if found and found[-1].offset + found[-1].size > size:
        raise UserError(f"{path} is torn: its last member {found[-1].name} is cut off")
    return found


def read_at(path: Path | str, offset: int, size: int) -> bytes:
    """Read `size` bytes from `offset`.

    Raises:
        UserError: the file is absent or shorter than that.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    try:
        content = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if len(content) != size:
        raise UserError(f"{path} is torn: it ends before byte {offset + size}")
    return content
