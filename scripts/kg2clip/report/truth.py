"""The detectors held against the embedded mirror's truth, if a run has one: scores, and misses as pairs of pictures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa

from kg2clip.report.pictures import Pictures, Thumbnail
from kg2clip.report.results import Results, Row, check_columns
from kg2clip.report.sources import PRECISION

MISSES = 40  # of one detector, kind and outcome

SCORES = pa.schema(
    [
        ("detector", pa.string()),
        ("kind", pa.string()),
        ("planted", pa.int64()),
        ("found", pa.int64()),
        ("truePositives", pa.int64()),
        ("falsePositives", pa.int64()),
        ("precision", pa.float64()),
        ("precisionLow", pa.float64()),
        ("precisionHigh", pa.float64()),
        ("recall", pa.float64()),
        ("recallLow", pa.float64()),
        ("recallHigh", pa.float64()),
    ]
)
MISS = pa.schema([(name, pa.string()) for name in ("detector", "kind", "outcome", "candidateID", "otherID", "detail")])


@dataclass(frozen=True)
class Miss:
    """A fault that was missed, or a sound picture that was dropped, beside what it is a copy of."""

    row: Row
    thumbnail: Thumbnail | None
    other: Thumbnail | None


@dataclass(frozen=True)
class MissLot:
    """Some of the misses of one detector, kind and outcome."""

    detector: str
    kind: str
    outcome: str
    total: int
    misses: tuple[Miss, ...]


@dataclass(frozen=True)
class Truth:
    """What was measured against the truth."""

    scores: tuple[Row, ...]
    lots: tuple[MissLot, ...]


def measure(results: Results, pictures: Pictures, limit: int = MISSES) -> Truth | None:
    """Read the comparison with the mirror's truth; None for a run on real sources, which has none."""
    scores, misses = results.folder / "mirror" / "scores.parquet", results.folder / "mirror" / "misses.parquet"
    if not scores.is_file():
        return None
    check_columns(scores, SCORES)
    # What the sources found is no detector's work and stands beside the sources.
    rows = results.rows(
        "SELECT * FROM read_parquet(?) WHERE detector <> ? ORDER BY detector, kind", [str(scores), PRECISION]
    )
    if not misses.is_file():
        return Truth(tuple(rows), ())
    check_columns(misses, MISS)
    return Truth(tuple(rows), _lots(results, pictures, str(misses), limit))


def _lots(results: Results, pictures: Pictures, path: str, limit: int) -> tuple[MissLot, ...]:
    rows = results.rows(
        """
        WITH picked AS (
            SELECT *, count(*) OVER (PARTITION BY detector, kind, outcome) AS total FROM read_parquet(?)
            QUALIFY row_number() OVER (PARTITION BY detector, kind, outcome ORDER BY candidateID, otherID) <= ?
        )
        SELECT DISTINCT ON (m.detector, m.kind, m.outcome, m.candidateID, m.otherID) m.*,
            f.tar, f."offset", f.size, o.tar AS otherTar, o."offset" AS otherOffset, o.size AS otherSize
        FROM picked m
            LEFT JOIN (SELECT * FROM features WHERE status = 'decoded') f ON f.candidateID = m.candidateID
            LEFT JOIN (SELECT * FROM features WHERE status = 'decoded') o ON o.candidateID = m.otherID
        ORDER BY m.detector, m.kind, m.outcome, m.candidateID, m.otherID
        """,
        [path, limit],
    )
    lots: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        lots[row["detector"], row["kind"], row["outcome"]].append(row)
    return tuple(
        MissLot(*lot, members[0]["total"], tuple(_miss(row, pictures) for row in members))
        for lot, members in lots.items()
    )


def _miss(row: Row, pictures: Pictures) -> Miss:
    other = row["otherID"] or ""
    # A benchmark's picture is named benchmark/split/key, a candidate has no slash.
    name, _, key = other.partition("/")
    if key:
        beside = pictures.benchmark(name, key)
    else:
        beside = pictures.decoded(row["otherTar"], row["otherOffset"], row["otherSize"])
    return Miss(row, pictures.decoded(row["tar"], row["offset"], row["size"]), beside)
