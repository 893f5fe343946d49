"""The hosts of the pictures: what each served, how many pictures it cost, and why."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap

from kg2clip.report.funnel import Loss
from kg2clip.report.results import Results, Row

SHOWN = 25  # hosts, those that cost most first

# Of a candidate's rows in the manifests the last word counts: success, else the second pass. What was never asked for,
# for its licence, is no host's doing. A link that failed before another served costs nothing, but is told.
_HOSTS = r"""
WITH last AS (
    SELECT * FROM downloads SEMI JOIN candidates USING (candidateID) WHERE reason IS DISTINCT FROM 'licence'
    QUALIFY row_number() OVER (
        PARTITION BY candidateID ORDER BY status = 'success' DESC, batch LIKE '%-leftovers' DESC
    ) = 1
), asked AS (
    SELECT coalesce(host, 'no host') AS host, lane, status, reason, bytes, len(tried) > 0 AS further, false AS saved
    FROM last
    UNION ALL
    SELECT coalesce(nullif(regexp_extract(link.accessURI, '^https?://([^/:?#]+)', 1), ''), 'no host'), NULL, NULL,
           NULL, NULL, NULL, true
    FROM (SELECT unnest(tried) AS link FROM last WHERE status = 'success')
)
SELECT host, any_value(lane) AS lane, count(*) FILTER (NOT saved) AS asked,
       count(*) FILTER (status = 'success') AS fetched, count(*) FILTER (status = 'success' AND further) AS further,
       coalesce(sum(bytes), 0)::BIGINT AS bytes, count(*) FILTER (status <> 'success') AS lost,
       count(*) FILTER (saved) AS saved, histogram(reason) FILTER (reason IS NOT NULL) AS reasons
FROM asked GROUP BY host ORDER BY lost DESC, asked DESC, host
"""


@dataclass(frozen=True)
class Hosts:
    """The hosts that cost most pictures, and how many more there are; `saved`: pictures that a further link served."""

    rows: tuple[Row, ...]
    more: int
    saved: int


def measure(results: Results) -> Hosts:
    """Count pictures by host; the `reasons` of a row are `Loss`es, the commonest first."""
    rows = results.rows(_HOSTS)
    for row in rows:
        losses = starmap(Loss, (row["reasons"] or {}).items())
        row["reasons"] = sorted(losses, key=lambda loss: (-loss.count, loss.reason))
    return Hosts(tuple(rows[:SHOWN]), max(0, len(rows) - SHOWN), sum(row["further"] for row in rows))
