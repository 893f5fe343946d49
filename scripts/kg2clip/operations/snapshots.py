"""The small pictures that a report shows, kept by what they show, so that the page can be made without tars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kg2clip.report.pictures import Pictures, Thumbnail
from kg2clip.report.results import Row

Shown = dict[str, dict[str, Any] | None]  # uri, width, height; None: the page says that there is no picture


@dataclass
class Recorder(Pictures):
    """Pictures of the run's tars; `shown` keeps what was asked for."""

    shown: Shown = field(default_factory=dict)

    def packed(self, sample: Row) -> Thumbnail | None:
        """As in Pictures."""
        return self._keep(_packed(sample), super().packed(sample))

    def decoded(self, tar: str | None, offset: int | None, size: int | None) -> Thumbnail | None:
        """As in Pictures."""
        return self._keep(_decoded(tar, offset, size), super().decoded(tar, offset, size))

    def benchmark(self, name: str | None, key: str | None) -> Thumbnail | None:
        """As in Pictures."""
        return self._keep(_benchmark(name, key), super().benchmark(name, key))

    def _keep(self, what: str, thumbnail: Thumbnail | None) -> Thumbnail | None:
        self.shown[what] = asdict(thumbnail) if thumbnail else None
        return thumbnail


@dataclass
class Snapshots(Pictures):
    """What a `Recorder` kept; a picture that it was not asked for is none."""

    shown: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)

    def packed(self, sample: Row) -> Thumbnail | None:
        """As in Pictures."""
        return self._find(_packed(sample))

    def decoded(self, tar: str | None, offset: int | None, size: int | None) -> Thumbnail | None:
        """As in Pictures."""
        return self._find(_decoded(tar, offset, size))

    def benchmark(self, name: str | None, key: str | None) -> Thumbnail | None:
        """As in Pictures."""
        return self._find(_benchmark(name, key))

    def _find(self, what: str) -> Thumbnail | None:
        found = self.shown.get(what)
        return Thumbnail(**found) if found else None


def _packed(sample: Row) -> str:
    return f"packed {sample['key']}"


def _decoded(tar: str | None, offset: int | None, size: int | None) -> str:
    return f"decoded {tar} {offset} {size}"


def _benchmark(name: str | None, key: str | None) -> str:
    return f"benchmark {name} {key}"
