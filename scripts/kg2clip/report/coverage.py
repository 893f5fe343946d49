"""Coverage: what every entity got, grouped by its place in the tree."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kg2clip.report.results import Results, Row

# The first of these ranks that tells at least two groups apart gives the headings, so that a run over bees is grouped
# by family or genus and one over all animals by class.
GROUP_RANKS = ("class", "order", "family", "subfamily", "tribe", "genus")
_PER_ENTITY = (
    "SELECT entityID, count(*) FROM (SELECT unnest(list_distinct(entityIDs)) AS entityID FROM {table}) GROUP BY ALL"
)
MAX_ROWS = 12_000  # about 350 bytes a row: 4 MB of the page


@dataclass(frozen=True)
class Taxon:
    """One entity and its pictures at three points of the chain."""

    entity: Row
    group: str
    queries: int
    candidates: int
    downloaded: int
    kept: int


@dataclass(frozen=True)
class Group:
    """The entities under one heading, those with most kept pictures first."""

    name: str
    taxa: tuple[Taxon, ...]

    @property
    def kept(self) -> int:
        """Kept pictures; one that shows two taxa counts for both."""
        return sum(taxon.kept for taxon in self.taxa)

    @property
    def empty(self) -> int:
        """Entities without a kept picture."""
        return sum(not taxon.kept for taxon in self.taxa)


def measure(results: Results) -> tuple[Group, ...]:
    """Count candidates, downloads and kept pictures of every entity."""
    entities = results.rows(
        "SELECT entityID, taxonID, scientificName, vernacularName, taxonRank, kingdom, naturalType, sitelinks, "
        "ancestors, attributes FROM entities ORDER BY entityID"
    )
    queries = _counts(results, "SELECT entityID, count(*) FROM queries GROUP BY ALL")
    candidates = _counts(results, _PER_ENTITY.format(table="candidates"))
    downloaded = _counts(
        results,
        _PER_ENTITY.format(
            table="candidates SEMI JOIN (SELECT * FROM downloads WHERE status = 'success') d USING (candidateID)"
        ),
    )
    kept = _counts(results, _PER_ENTITY.format(table="dataset"))
    rank = _group_rank(entities)
    groups: dict[str, list[Taxon]] = defaultdict(list)
    for entity in entities:
        identifier = entity["entityID"]
        taxon = Taxon(
            entity,
            _group_name(entity, rank),
            queries.get(identifier, 0),
            candidates.get(identifier, 0),
            downloaded.get(identifier, 0),
            kept.get(identifier, 0),
        )
        groups[taxon.group].append(taxon)
    return tuple(Group(name, tuple(sorted(groups[name], key=_order))) for name in sorted(groups))


def subjects(results: Results) -> list[str]:
    """What the config asks for; identifiers with the name that a lineage of the run gives them."""
    wanted = [*results.settings["knowledge"]["roots"], *results.settings["knowledge"]["classes"]]
    names = dict(
        results.database.execute(
            "SELECT entityID, any_value(name) FROM (SELECT entityID, scientificName AS name FROM entities UNION ALL "
            "SELECT a.entityID, a.scientificName FROM (SELECT unnest(ancestors) AS a FROM entities)) GROUP BY entityID"
        ).fetchall()
    )
    return [f"{names[found]} ({one})" if names.get(found := _identifier(one)) else one for one in wanted]


def all_taxa(groups: Iterable[Group]) -> list[Taxon]:
    """The taxa of all groups."""
    return [taxon for group in groups for taxon in group.taxa]


def cut(groups: Sequence[Group], limit: int = MAX_ROWS) -> tuple[Group, ...]:
    """At most `limit` taxa, those with fewest pictures first in, so that the page still opens and hides no gap."""
    taxa = sorted(all_taxa(groups), key=lambda taxon: (taxon.kept, taxon.entity["entityID"]))[:limit]
    shown = {taxon.entity["entityID"] for taxon in taxa}
    thinned = (Group(group.name, tuple(t for t in group.taxa if t.entity["entityID"] in shown)) for group in groups)
    return tuple(group for group in thinned if group.taxa)


def _identifier(wanted: str) -> str:
    item = re.search(r"(?i)(?:^|[:/])(q[0-9]+)$", wanted)
    return f"wd:{item[1].upper()}" if item else wanted


def _order(taxon: Taxon) -> tuple[int, str, str]:
    return -taxon.kept, taxon.entity["scientificName"] or "", taxon.entity["entityID"]


def _counts(results: Results, query: str) -> dict[str, int]:
    return dict(results.database.execute(query).fetchall())


def _group_rank(entities: Sequence[Row]) -> str:
    for rank in GROUP_RANKS:
        if len({_ancestor(entity, rank) for entity in entities} - {None}) > 1:
            return rank
    return GROUP_RANKS[0]


def _ancestor(entity: Row, rank: str) -> str | None:
    for ancestor in entity["ancestors"] or ():
        if ancestor["taxonRank"] == rank:
            name, common = ancestor["scientificName"], ancestor["vernacularName"]
            return f"{name} ({common})" if name and common and name != common else name or common
    return None


def _group_name(entity: Row, rank: str) -> str:
    # Lineages have holes (many fishes have no class), and things other than organisms have no ranks at all.
    name = _ancestor(entity, rank) or next((found for r in GROUP_RANKS if (found := _ancestor(entity, r))), None)
    parts = [entity["kingdom"], name or entity["naturalType"]]
    return " › ".join(part for part in parts if part) or "no group known"
