"""Samples of kept and dropped pictures: drawn by hash with the config's seed, so that nobody chose the nice ones."""

from __future__ import annotations

from dataclasses import dataclass

from kg2clip import removals
from kg2clip.report.pictures import Pictures, Thumbnail
from kg2clip.report.results import Results, Row

KEPT = 160  # about 10 kB each
SHOWN = 24  # of the kept ones at first sight
DROPPED = 8  # a reason

# A picture's place in its lot: no generator's state, so the same on every machine and whatever the order of the rows.
DRAW = "md5(? || ':' || {key})"


@dataclass(frozen=True)
class KeptPicture:
    """A sample of the dataset, with the names of what it shows."""

    sample: Row
    names: tuple[Row, ...]
    thumbnail: Thumbnail | None


@dataclass(frozen=True)
class DroppedPicture:
    """A dropped picture and, for a copy or a leak, the picture that it repeats."""

    row: Row
    thumbnail: Thumbnail | None
    other: Thumbnail | None
    other_name: str | None


@dataclass(frozen=True)
class DroppedLot:
    """Some of the pictures that were dropped for one reason, of leaks those of one benchmark."""

    stage: str
    reason: str
    benchmark: str | None
    match: str | None
    total: int
    pictures: tuple[DroppedPicture, ...]


def kept(results: Results, pictures: Pictures, limit: int = KEPT) -> tuple[KeptPicture, ...]:
    """Draw kept pictures, from as many entities as there are before any has a second one."""
    seed = str(results.settings["seed"])
    samples = results.rows(
        f"SELECT * FROM dataset JOIN (SELECT key, draw, row_number() OVER (PARTITION BY entity ORDER BY draw) AS turn "
        f"FROM (SELECT key, {DRAW.format(key='key')} AS draw, entityIDs[1] AS entity FROM dataset)) USING (key) "
        "ORDER BY turn, draw LIMIT ?",
        [seed, limit],
    )
    names = _names(results, [entity for sample in samples for entity in sample["entityIDs"] or ()])
    return tuple(
        KeptPicture(
            {**sample, "texts": sorted(sample["texts"] or (), key=lambda text: -(text["weight"] or 0))},
            tuple(
                names.get(entity, {"entityID": entity, "scientificName": entity, "vernacularName": None})
                for entity in sample["entityIDs"] or ()
            ),
            pictures.packed(sample),
        )
        for sample in samples
    )


def dropped(results: Results, pictures: Pictures, limit: int = DROPPED) -> tuple[DroppedLot, ...]:
    """Draw dropped pictures of every reason that leaves a picture to show (not those that were never decoded).

    Copies of pictures that were taken down are not shown.
    """
    seed = str(results.settings["seed"])
    rows = results.rows(
        f"""
        WITH lost AS (
            SELECT *, {DRAW.format(key="candidateID")} AS draw FROM decisions
            WHERE NOT coalesce(kept, false) AND stage IN ('filter', 'duplicate', 'decontamination')
                AND NOT list_has_any(?, [candidateID, survivorID])
        ), drawn AS (
            SELECT *, count(*) OVER lot AS total FROM lost
            WINDOW lot AS (PARTITION BY stage, reason, benchmark, match)
            QUALIFY row_number() OVER (PARTITION BY stage, reason, benchmark, match ORDER BY draw) <= ?
        )
        SELECT DISTINCT ON (d.candidateID) d.*, c.title, c.source, c.license, c.licenseURL, c.creator,
            c.furtherInformationURL, c.entityIDs, f.tar, f."offset", f.size, s.tar AS otherTar,
            s."offset" AS otherOffset, s.size AS otherSize, o.kept AS otherKept
        FROM drawn d LEFT JOIN candidates c USING (candidateID)
            LEFT JOIN (SELECT * FROM features WHERE status = 'decoded') f ON f.candidateID = d.candidateID
            LEFT JOIN decisions o ON o.candidateID = d.survivorID
            LEFT JOIN (SELECT * FROM features WHERE status = 'decoded') s ON s.candidateID = d.survivorID
        ORDER BY d.candidateID
        """,
        [seed, removals.keys(results.settings["dataset"]["removed"]), limit],
    )
    names = _names(results, [entity for row in rows for entity in row["entityIDs"] or ()])
    lots: dict[tuple[str, str, str | None, str | None], list[Row]] = {}
    for row in sorted(rows, key=_lot_order):
        row["names"] = [names[entity] for entity in row["entityIDs"] or () if entity in names]
        lot = row["stage"], row["reason"] or "no reason given", row["benchmark"], row["match"]
        lots.setdefault(lot, []).append(row)
    return tuple(
        DroppedLot(*lot, members[0]["total"], tuple(_dropped_picture(row, pictures) for row in members))
        for lot, members in lots.items()
    )


def leaks(results: Results) -> list[Row]:
    """Count what was removed for each benchmark by the way in which it matched, and the test pictures matched."""
    return results.rows(
        """
        SELECT benchmark, match, count(*) AS candidates, count(DISTINCT benchmarkKey) AS tests FROM decisions
        WHERE stage = 'decontamination' GROUP BY ALL ORDER BY benchmark, candidates DESC, match
        """
    )


def _dropped_picture(row: Row, pictures: Pictures) -> DroppedPicture:
    picture = pictures.decoded(row["tar"], row["offset"], row["size"])
    if row["stage"] == "decontamination":
        other, name = pictures.benchmark(row["benchmark"], row["benchmarkKey"]), "benchmark picture"
    elif row["stage"] == "duplicate" and row["survivorID"] != row["candidateID"]:
        other, name = (
            pictures.decoded(row["otherTar"], row["otherOffset"], row["otherSize"]),
            f"{'kept' if row['otherKept'] else 'other'} {'photo' if row['reason'] == 'burst' else 'copy'}",
        )
    else:
        return DroppedPicture(row, picture, None, None)
    return DroppedPicture(row, picture, other, name)


def _lot_order(row: Row) -> tuple[int | str, ...]:
    stage = ("filter", "duplicate", "decontamination").index(row["stage"])
    return stage, row["reason"] or "", row["benchmark"] or "", row["match"] or "", row["draw"]


def _names(results: Results, entities: list[str]) -> dict[str, Row]:
    rows = results.rows(
        "SELECT entityID, scientificName, vernacularName FROM entities WHERE list_contains(?, entityID)",
        [sorted(set(entities))],
    )
    return {row["entityID"]: row for row in rows}
