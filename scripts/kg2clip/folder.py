"""Pictures in a folder of the user's: how the stage search names them, and how the stage download reads them.

No file:// is ever read. A picture of the folder has the address `folder:Bombus%20terrestris/a.jpg#size-time`; it is
read only for a candidate of the source `folder` (its identity says so), only from the folder that the config names, and
only where the path, with all links followed, stays in there. Size and time are in the address, so that a changed file
is read anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from kg2clip.identifiers import candidate_id, stable_hash

SOURCE = "folder"
SCHEME = "folder:"


def address_of(path: Path, root: Path) -> str:
    """The address of a file in the folder."""
    status = path.stat()
    return f"{SCHEME}{quote(path.relative_to(root).as_posix())}#{status.st_size}-{status.st_mtime_ns}"


def digest(root: Path) -> str:
    """A hash of all files below a folder, by name, size and time; the hash of none where there is no folder."""
    files = ((os.fsencode(path.relative_to(root)).hex(), path.stat()) for path in root.rglob("*") if path.is_file())
    return stable_hash(sorted((name, status.st_size, status.st_mtime_ns) for name, status in files))


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path is a file in the folder, with all links followed."""
    return path.is_file() and path.resolve().is_relative_to(root.resolve())


def find(address: str | None, candidate: str, settings: Mapping[str, Any]) -> Path | None:
    """The file that a candidate's address means, or None if it may not be read.

    Args:
        candidate: the candidateID; that of another source reads nothing.
        settings: the whole config.
    """
    wanted = settings["search"]["sources"].get(SOURCE)
    if not address or not address.startswith(SCHEME) or not wanted:
        return None
    relative = unquote(address.removeprefix(SCHEME).partition("#")[0])
    root = Path(wanted["path"])
    if candidate != candidate_id(SOURCE, relative) or "\0" in relative or not is_inside(root / relative, root):
        return None
    return root / relative
