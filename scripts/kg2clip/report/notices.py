"""What a reader must know before relying on a run: sums that fail, missing parts, choices that could not be made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kg2clip.report import sources
from kg2clip.report.accuracy import Accuracy
from kg2clip.report.coverage import Taxon
from kg2clip.report.filters import REASONS, counted, short
from kg2clip.report.funnel import Funnel
from kg2clip.report.results import Results
from kg2clip.report.texts import TextMix

NAMED = 12  # names in a notice


@dataclass(frozen=True)
class Notice:
    """One line of the summary; `level` is error, warning or note."""

    level: str
    text: str


def gather(
    results: Results, funnel: Funnel, taxa: Sequence[Taxon], mix: TextMix, accuracy: Accuracy
) -> tuple[Notice, ...]:
    """All notices of a run, the gravest first."""
    return (*_sums(funnel), *_missing_parts(results, funnel, taxa), *_evaluation(results, accuracy), *_texts(mix))


def may_pass(reason: str) -> bool:
    """Whether a download that failed for this reason may succeed another day."""
    if status := re.fullmatch(r"http-(\d+)", reason):
        return int(status[1]) >= 500 or status[1] in ("408", "425", "429")
    return REASONS.get(reason, "").endswith("for now")


def _sums(funnel: Funnel) -> Iterator[Notice]:
    if funnel.adds_up:
        return
    broken = [f"{c.meaning}: {c.found:,} instead of {c.expected:,}" for c in funnel.checks if not c.holds]
    yield Notice("error", f"The counts do not add up. {'; '.join(broken)}.")


def _missing_parts(results: Results, funnel: Funnel, taxa: Sequence[Taxon]) -> Iterator[Notice]:
    if results.settings["accept_partial"]:
        yield Notice(
            "warning", "This run was allowed to go on without what a source or host did not give (accept_partial)."
        )
    for gap in sources.missing(results):
        yield Notice("warning", f"Incomplete search: {gap}.")
    downloads = [loss for step in funnel.steps if step.stage == "download" for loss in step.losses]
    if unfetched := sum(loss.count for loss in downloads if may_pass(loss.reason)):
        yield Notice(
            "warning",
            f"Incomplete: {unfetched:,} of {counted(funnel.candidates, 'candidate')} could not be fetched for now.",
        )
    wanted = results.settings["search"]["per_entity"]
    if poor := [_name(taxon) for taxon in taxa if taxon.candidates < wanted]:
        yield Notice(
            "note",
            f"Entities for which fewer than {wanted:,} pictures were found (search.per_entity): {len(poor):,} of "
            f"{len(taxa):,} ({_listed(poor)}).",
        )
    if empty := [_name(taxon) for taxon in taxa if not taxon.kept]:
        yield Notice("warning", f"Entities without a kept picture: {len(empty):,} of {len(taxa):,} ({_listed(empty)}).")
    yield from _emptied(results, [taxon for taxon in taxa if taxon.downloaded and not taxon.kept])


def _emptied(results: Results, taxa: Sequence[Taxon]) -> Iterator[Notice]:
    """Entities of which pictures were fetched and none is left, by the commonest reason of their loss."""
    rows = results.rows(
        """
        SELECT entityID, mode(reason ORDER BY reason) AS reason FROM decisions JOIN (
            SELECT candidateID, unnest(list_distinct(entityIDs)) AS entityID FROM candidates
        ) USING (candidateID) WHERE stage <> 'download' AND list_contains(?, entityID) GROUP BY entityID
        """,
        [[taxon.entity["entityID"] for taxon in taxa]],
    )
    reasons = {row["entityID"]: row["reason"] for row in rows}
    names: dict[str, list[str]] = {}
    for taxon in taxa:
        if reason := reasons.get(taxon.entity["entityID"]):
            names.setdefault(reason, []).append(_name(taxon))
    for reason, lost in sorted(names.items(), key=lambda item: -len(item[1])):
        told = f"{reason} ({REASONS[reason]})" if reason in REASONS else reason
        yield Notice(
            "warning",
            f"Emptied after the download, mostly by {told}: {counted(len(lost), 'entity', 'entities')} of which "
            f"pictures had been fetched ({_listed(lost)}).",
        )


def _evaluation(results: Results, accuracy: Accuracy) -> Iterator[Notice]:
    if not results.settings["evaluate"]["benchmarks"]:
        says = "nothing says how good the model is"
        if results.benchmarks:
            says = "only the dataset's own test says how good the model is, and that is optimistic"
        yield Notice("warning", f"No benchmark is configured (evaluate.benchmarks): {says}.")
    for name in accuracy.without_dev:
        yield Notice(
            "warning", f"{name} has no dev split, so nothing could be chosen: the first prompt set is reported."
        )
    for detail in accuracy.details:
        if detail.untrained:
            yield Notice(
                "warning",
                f"Classes of {detail.score.benchmark} without a picture in the dataset: {len(detail.untrained):,} "
                f"({_listed(detail.untrained)}).",
            )


def _texts(mix: TextMix) -> Iterator[Notice]:
    if mix.without_web:
        yield Notice(
            "note",
            f"{mix.without_web:,} of {counted(mix.pictures, 'picture')} came without a usable text of their own; "
            "texts from the graph stand in.",
        )


def _name(taxon: Taxon) -> str:
    return short(taxon.entity["scientificName"] or taxon.entity["vernacularName"] or taxon.entity["entityID"], 60)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
