"""The plan as a page for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kg2clip.planning.estimate import ASSUMPTIONS, Plan, SourcePlan


def render(plan: Plan, title: str) -> str:
    """The plan in lines of at most 120 characters."""
    demand = plan.demand
    kinds: Counter[str] = Counter()
    for (kind, _), count in demand.queries.items():
        kinds[kind] += count
    bound = "" if plan.pictures_known else "at most "
    lines = [
        title,
        "",
        f"Entities   {demand.entities:>12,}   {demand.origin}",
        f"Queries    {demand.total:>12,}   {', '.join(f'{kind} {count:,}' for kind, count in kinds.items()) or 'none'}",
        f"Pictures   {plan.pictures:>12,}   {'found' if plan.pictures_known else 'at most (search.per_entity)'}",
        "",
        *_table(
            ("Source", "calls", "made", "time for the rest", "US$", "with a text of its own"),
            [_source(source) for source in plan.sources],
        ),
        "",
        f"Texts      {_texts(plan)}",
        f"Download   {bound}{_days(plan.download_days)}, if all came from the slowest lane",
        f"Disk       {bound}{sum(plan.disk_gigabytes.values()):,.0f} GB: "
        + ", ".join(f"{what} {size:,.0f}" for what, size in plan.disk_gigabytes.items()),
    ]
    for training in plan.training:
        hours = "hours are not known" if training.gpu_hours is None else f"{bound}{training.gpu_hours:,.1f} H100 hours"
        lines.append(f"Training   {training.name}: {training.model}, {bound}{training.pairs:,} pairs, {hours}")
    lines += ["", "Assumed:", *(f"  - {assumption}" for assumption in ASSUMPTIONS)]
    if plan.warnings:
        lines += ["", *(f"warning: {warning}" for warning in plan.warnings)]
    return "\n".join(lines)


def _source(source: SourcePlan) -> tuple[str, ...]:
    texted = "not known" if source.texted is None else f"{source.texted:.0%}"
    if not source.most:
        return source.name, "none", "", "", "", texted
    money = _range(*source.usd, ",.2f") if source.usd_per_1000 else ""
    return (
        source.name,
        _range(source.least, source.most, ",.0f"),
        f"{source.made:,}",
        " to ".join(dict.fromkeys(map(_days, source.days))),
        money,
        texted,
    )


def _range(low: float, high: float, form: str) -> str:
    one, other = format(low, form), format(high, form)
    return one if one == other else f"{one} to {other}"


def _days(days: float) -> str:
    if days * 24 < 1:
        return f"{days * 24 * 60:,.0f} min"
    return f"{days:,.1f} days" if days >= 1 else f"{days * 24:,.1f} hours"


def _texts(plan: Plan) -> str:
    known = [source.texted for source in plan.sources if source.texted is not None]
    if not known:
        return f"drawn from a picture's own text with probability {plan.alt_text_share:.0%} where it has one"
    shares = sorted(plan.alt_text_share * texted for texted in known)
    return (
        f"a picture's own text is drawn with {_range(shares[0], shares[-1], '.0%')} "
        f"(by source; wanted {plan.alt_text_share:.0%}), else one from the graph"
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [head, *rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    return [
        "   ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
