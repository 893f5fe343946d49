"""The image sources side by side: what each found, what of it nobody else had, what was kept, and what it took."""

from __future__ import annotations

from kg2clip.report.results import Results, Row

PRECISION = "pictures of the entity asked for"  # the detector's name in mirror/scores.parquet

# A hit counts for the candidate that stands for its picture, which may be another source's link.
_FOUND = r"""
WITH hits AS (
    SELECT regexp_extract(filename, '([^/]+?)(-attributes)?\.hits\.parquet$', 1) AS source, candidateID,
           count(*) AS hits
    FROM read_parquet(?, filename = true) GROUP BY ALL
), standing AS (
    SELECT candidateID, candidateID AS picture FROM candidates
    UNION ALL SELECT link.candidateID, candidateID FROM (SELECT candidateID, unnest(links) AS link FROM candidates)
), found AS (
    SELECT source, picture, sum(hits) AS hits FROM hits JOIN standing USING (candidateID) GROUP BY ALL
), shared AS (
    SELECT picture, count(*) AS sources FROM found GROUP BY picture
)
SELECT found.source, sum(hits)::BIGINT AS hits, count(*) AS pictures, count(*) FILTER (shared.sources = 1) AS alone,
       count(*) FILTER (d.kept) AS kept, count(*) FILTER (regexp_matches(license, '-(NC|ND)')) AS restricted,
       count(*) FILTER (coalesce(license, 'unknown') IN ('unknown', 'all-rights-reserved')) AS unknown
FROM found JOIN shared USING (picture) JOIN candidates c ON c.candidateID = picture
LEFT JOIN decisions d ON d.candidateID = picture
GROUP BY found.source
"""


def measure(results: Results) -> list[Row]:
    """One row a source, in the order in which they were asked; none for a run without tables of hits."""
    names = list(results.settings["search"]["sources"])
    folder = results.folder / "search"
    tables = {
        name: [path for part in ("", "-attributes") if (path := folder / f"{name}{part}.hits.parquet").is_file()]
        for name in names
    }
    paths = [str(path) for found in tables.values() for path in found]
    rows = {row["source"]: row for row in results.rows(_FOUND, [paths])} if paths else {}
    calls, right = _calls(results), _precision(results)
    nothing = dict.fromkeys(("hits", "pictures", "alone", "kept", "restricted", "unknown"), 0)
    return [
        {**nothing, **rows.get(name, {}), "source": name, "calls": calls.get(name), "precision": right.get(name)}
        for name in names
        if tables[name]
    ]


def missing(results: Results) -> list[str]:
    """What the searches say that they could not ask for."""
    return [record["missing"] for record in results.provenance() if record.get("missing")]


def _calls(results: Results) -> dict[str, int]:
    """Calls of all runs, by source: both searches of a source write to one ledger."""
    found: dict[str, int] = {}
    for record in results.provenance():
        if str(record.get("step", "")).startswith("search_images.") and "source" in record:
            counts = record.get("counts", {})
            calls = counts.get("calls in all runs", counts.get("calls made", 0))
            found[record["source"]] = max(found.get(record["source"], 0), calls)
    return found


def _precision(results: Results) -> dict[str, Row]:
    path = results.folder / "mirror" / "scores.parquet"
    if not path.is_file():
        return {}
    rows = results.rows(
        "SELECT kind, precision AS value, precisionLow AS low, precisionHigh AS high FROM read_parquet(?) "
        "WHERE detector = ? AND precision IS NOT NULL",
        [str(path), PRECISION],
    )
    return {row.pop("kind"): row for row in rows}
