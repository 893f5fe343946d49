"""Names that several taxa bear, and the word that tells a bearer from the others.

In: the export, and homonyms.tsv: all shared names of the NCBI taxonomy (made by scripts/list_homonyms.py), so that a
run on accentors knows of the plants that are called *Prunella* too. Out: for an entity and one of its names, a word.
No two taxa are ever taken for one because they share a name.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

Entity = Mapping[str, Any]
Ancestor = Mapping[str, Any]

LISTED = Path(__file__).parent / "homonyms.tsv"
COLUMNS = ("name", "kind", "scientificName", "taxonID", "taxonRank", "within", "higherClassification")
RANKS = frozenset({"kingdom", "phylum", "class", "order", "family", "genus"})  # those that the list names
SAME = {"animalia": "metazoa", "plantae": "viridiplantae"}  # as Wikidata and as NCBI call them

_AUTHORSHIP = (
    r"^([A-Z][\w-]+(?: [a-z][a-z-]+){0,2}) (?:\((?:in:|ex|nom\.|non) ?[^()]*\)|\(?(?:Auct\. not )?[A-Z][a-z]+\.?"
    r"(?:,? [A-Z][a-z]+\.?|,? et al\.?|,? & [A-Z][a-z]+\.?)*,? (?:1[789]|20)\d\d\)?)$"
)
_BARE = re.compile(_AUTHORSHIP)


class Bearer(NamedTuple):
    """A taxon that bears a name: by what it is known, and what stands above it."""

    own: frozenset[str]  # its entityID and taxonID
    above: frozenset[str]  # ids or folded names of its ancestors, and its own
    within: str = ""  # the taxon above it that bears the same name
    listed: bool = False  # known from the list, which leaves ranks out


def bare(name: str) -> str:
    """A scientific name without authorship: `Bacteria` of `Bacteria Latreille et al. 1825`."""
    return _BARE.sub(r"\1", name)


def fold(name: str) -> str:
    """The form in which names are compared: white space collapsed, letters composed and without case."""
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()


class Namesakes:
    """The bearers of shared names, in the export and in the whole taxonomy.

    Attributes:
        in_export: names, folded, that several entities bear: with these.
    """

    def __init__(self, in_export: Mapping[str, list[Bearer]], ancestors: Mapping[str, list[Ancestor]]) -> None:
        self.in_export = in_export
        self._ancestors = ancestors

    @classmethod
    def of(cls, entities: Path) -> Namesakes:
        """Read what an export shares with itself and with the whole taxonomy; memory grows with what is shared."""
        key = f"lower(nfc_normalize(regexp_replace(trim(text), '{_AUTHORSHIP}', '\\1')))"
        found = duckdb.execute(
            f"""
            WITH names AS (SELECT entityID, unnest(names).text AS text FROM read_parquet($path)),
                 keyed AS (SELECT DISTINCT entityID, {key} AS key FROM names),
                 shared AS (SELECT key FROM keyed GROUP BY key HAVING count(*) > 1 UNION SELECT unnest($listed))
            SELECT entityID, taxonID, scientificName, names, ancestors
            FROM read_parquet($path) SEMI JOIN (keyed SEMI JOIN shared USING (key)) USING (entityID)
            """,
            {"path": str(entities), "listed": list(listed())},
        )
        bearers: dict[str, list[Bearer]] = defaultdict(list)
        ancestors = {}
        while rows := found.fetchmany(10_000):
            for entity_id, taxon_id, scientific, names, above in rows:
                ancestors[entity_id] = above or []
                bearer = _bearer(entity_id, taxon_id, above or [])
                for name in {fold(bare(name["text"] or "")) for name in names or []} | {
                    fold(bare(scientific or ""))
                } - {""}:
                    bearers[name].append(bearer)
        return cls({name: known for name, known in bearers.items() if len(known) > 1}, ancestors)

    def word(self, entity: Entity, name: str) -> str | None:
        """The word that tells an entity from the other bearers of a name; None where no other is known, or no word.

        It is the natural type where no namesake shares it ("accentors"), else the common name of the nearest ancestor
        that none shares, else that ancestor's scientific name; where the namesakes share all ancestors, the entity's
        own scientific name, or its author, or the ancestor that the fewest of them share, or its own common name; for a
        taxon within its namesake (a subgenus *Bombus* of *Bombus*) its rank.
        """
        key = fold(bare(name))
        known = [*self.in_export.get(key, ()), *listed().get(key, ())]
        if not known:
            return None
        above = self._ancestors.get(entity["entityID"], [])
        others = [other for other in known if not _is(entity, above, other) and not _is_within(other, entity)]
        return tell_apart(entity, name, above, others) if others else None


def tell_apart(entity: Entity, name: str, above: Sequence[Ancestor], others: Sequence[Bearer]) -> str | None:
    """The word for `Namesakes.word`, given the entity's ancestors, nearest first, and the other bearers."""
    foreign = frozenset().union(*(other.above for other in others))
    own = [ancestor for ancestor in above if not foreign & _keys(ancestor)]
    ranked = [ancestor for ancestor in above if ancestor["taxonRank"] in RANKS]
    known = ranked if ranked and any(other.listed for other in others) else above
    if known is ranked:
        # The list leaves ranks out, so what stands above the last of its own ranks may be shared.
        last = max((place for place, ancestor in enumerate(own) if ancestor in ranked), default=-1)
        own = own[: last + 1]
    words = [ancestor["vernacularName"] for ancestor in own] + [ancestor["scientificName"] for ancestor in own]
    if entity["naturalTypeID"] in {ancestor["entityID"] for ancestor in own}:
        words.insert(0, entity["naturalType"])
    scientific = entity["scientificName"] or ""
    words += [bare(scientific), scientific.removeprefix(bare(scientific)).strip(" ()")]
    if not any(
        other.own & _keys(ancestor) for other in others for ancestor in above
    ):  # within a namesake the rank says it
        words += [*_telling_most(known, others), entity["vernacularName"]]
    words.append(entity["taxonRank"])
    return next((word for word in words if word and fold(word) != fold(bare(name))), None)


def _telling_most(above: Sequence[Ancestor], others: Sequence[Bearer]) -> list[str]:
    """Names of ancestors that some bearers share but not all, those that the fewest share first, then the nearest.

    For an entity whose number nobody knows one of the bearers may be itself, and no ancestor tells it from that one.
    """
    shared = [(sum(bool(other.above & _keys(ancestor)) for other in others), ancestor) for ancestor in above]
    some = sorted((item for item in shared if item[0] < len(others)), key=lambda item: item[0])  # stable: nearest first
    return [ancestor["vernacularName"] or ancestor["scientificName"] for _, ancestor in some]


@cache
def listed() -> Mapping[str, list[Bearer]]:
    """The list of the whole taxonomy, by folded name."""
    found: dict[str, list[Bearer]] = defaultdict(list)
    with open(LISTED, encoding="utf-8", newline="") as file:
        for row in csv.DictReader((line for line in file if line[0] != "#"), delimiter="\t"):
            above = {*map(fold, row["higherClassification"].split("|")), row["taxonID"], fold(row["scientificName"])}
            found[row["name"]].append(Bearer(frozenset({row["taxonID"]}), frozenset(above - {""}), row["within"], True))
    return found


def _bearer(entity_id: str, taxon_id: str | None, above: Iterable[Ancestor]) -> Bearer:
    own = frozenset(filter(None, (entity_id, taxon_id)))
    return Bearer(own, own.union(*(filter(None, (ancestor["entityID"], ancestor["taxonID"])) for ancestor in above)))


def _keys(ancestor: Ancestor) -> set[str]:
    name = fold(ancestor["scientificName"] or "")
    return {ancestor["entityID"], ancestor["taxonID"] or ancestor["entityID"], SAME.get(name, name)}


def _is(entity: Entity, above: Iterable[Ancestor], other: Bearer) -> bool:
    """Whether a bearer is the entity itself. Without a taxonID the list's bearer with the same genus or family is."""
    if entity["entityID"] in other.own or entity["taxonID"]:
        return bool({entity["entityID"], entity["taxonID"]} & other.own)
    near = {
        fold(ancestor["scientificName"] or "") for ancestor in above if ancestor["taxonRank"] in ("genus", "family")
    }
    return bool(near & other.above)


def _is_within(other: Bearer, entity: Entity) -> bool:
    """Whether a bearer stands below the entity: then the name means the entity first, and its pictures too."""
    own = {entity["entityID"], entity["taxonID"]} - {None}
    return bool(own & (other.above - other.own)) or other.within in own
