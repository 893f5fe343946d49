"""The hosts of the pictures: what each served, how many pictures it cost, and why."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap

from kg2clip.report.funnel import Loss
from kg2clip.report.results import Results, Row

SHOWN = 25  # hosts, those that cost most first

# Of a candidate's rows in the manifests the last word counts: success, else the second pass. What was never asked for,
# for its licence, is no host's doing. A link that failed before another served costs nothing, but is told. The pace is
# that from picture to picture; where more than five minutes lie between two, the run stood still.
_COUNTS = r"""
WITH last AS (
    SELECT * FROM downloads SEMI JOIN candidates USING (candidateID) WHERE reason IS DISTINCT FROM 'licence'
    QUALIFY row_number() OVER (
        PARTITION BY candidateID ORDER BY status = 'success' DESC, batch LIKE '%-leftovers' DESC, batch
    ) = 1
), asked AS (
    SELECT candidateID, coalesce(host, 'no host') AS host, lane, status, reason, bytes, len(tried) > 0 AS further,
           false AS saved, CASE WHEN attempts > 0 THEN TRY_CAST(retrieved AS TIMESTAMP) END AS moment
    FROM last
    UNION ALL
    SELECT candidateID, coalesce(nullif(regexp_extract(link.accessURI, '^https?://([^/:?#]+)', 1), ''), 'no host'),
           NULL, NULL, NULL, NULL, NULL, true, NULL
    FROM (SELECT candidateID, unnest(tried) AS link FROM last WHERE status = 'success')
), timed AS (
    SELECT *, date_diff('second', lag(moment) OVER before, moment) AS gap
    FROM asked WINDOW before AS (PARTITION BY {by} ORDER BY moment NULLS LAST, candidateID)
)
SELECT {by}, min(lane) AS lane, count(*) FILTER (NOT saved) AS asked,
       count(*) FILTER (status = 'success') AS fetched, count(*) FILTER (status = 'success' AND further) AS further,
       coalesce(sum(bytes), 0)::BIGINT AS bytes, count(*) FILTER (status <> 'success') AS lost,
       count(*) FILTER (saved) AS saved, histogram(reason) FILTER (reason IS NOT NULL) AS reasons,
       count(*) FILTER (gap <= 300) / nullif(sum(gap) FILTER (gap <= 300), 0) AS pace,
       sum(bytes) FILTER (gap <= 300) * 8e-6 / nullif(sum(gap) FILTER (gap <= 300), 0) AS megabits
FROM timed GROUP BY {by} ORDER BY lost DESC, asked DESC, {by}
"""


@dataclass(frozen=True)
class Hosts:
    """The lanes, the hosts that cost most pictures, and how many more there are.

    Attributes:
        lanes: as `rows`, of the hosts of each lane together.
        rows: of a host what was asked, fetched and lost, why, its pictures (`pace`) and `megabits` a second.
        saved: pictures that a further link served.
    """

    lanes: tuple[Row, ...]
    rows: tuple[Row, ...]
    more: int
    saved: int


def measure(results: Results) -> Hosts:
    """Count pictures by host; the `reasons` of a row are `Loss`es, the commonest first."""
    lanes = [row for row in results.rows(_COUNTS.format(by="lane")) if row["lane"]]
    rows = results.rows(_COUNTS.format(by="host"))
    for row in rows:
        losses = starmap(Loss, (row["reasons"] or {}).items())
        row["reasons"] = sorted(losses, key=lambda loss: (-loss.count, loss.reason))
    return Hosts(tuple(lanes), tuple(rows[:SHOWN]), max(0, len(rows) - SHOWN), sum(row["further"] for row in rows))
