"""The plan as a page for a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from math import ceil

from kg2clip.planning.estimate import ASSUMPTIONS, Plan, SourcePlan

INDENT = " " * 11


def render(plan: Plan, title: str, width: int = 100) -> str:
    """The plan, in lines of at most `width` characters but for the table."""
    demand = plan.demand
    kinds: Counter[str] = Counter()
    for (kind, _), count in demand.queries.items():
        kinds[kind] += count
    bound = "" if plan.pictures_known else "at most "
    head = [
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
    ]
    sizes = {what: _rounded(size) for what, size in plan.disk_gigabytes.items()}
    lines = [
        f"Texts      {_texts(plan)}",
        f"Download   {bound}{_days(plan.download_days)}, if all came from the slowest lane",
        f"Disk       {bound}{_amount(sum(sizes.values()))} GB: "
        + ", ".join(f"{what} {_amount(size)}" for what, size in sizes.items()),
    ]
    if model := plan.language_model:
        lines.append(
            f"Language   {model['model']} is asked once about each entity; it stops at {model['max_calls']:,} calls or "
            f"{model['max_cost']:,} (max_cost, in the currency of its prices)"
        )
    for training in plan.training:
        hours = training.gpu_hours
        said = "hours are not known" if hours is None else f"{bound}{_amount(_rounded(hours))} H100 hours"
        lines.append(f"Training   {training.name}: {training.model}, {bound}{training.pairs:,} pairs, {said}")
    lines += ["", "Assumed:", *(f"  - {assumption}" for assumption in ASSUMPTIONS)]
    if plan.warnings:
        lines += ["", *(f"warning: {warning}" for warning in plan.warnings)]
    return "\n".join([*head, *(_wrapped(line, width) for line in lines)])


def _wrapped(line: str, width: int) -> str:
    indent = INDENT if line[:1].isupper() else "    "
    return "\n".join(textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False)) or line


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:,.1f}" if number else "0"


def _rounded(number: float) -> float:
    """To what `_amount` shows, so that sums are right; little is not nothing."""
    return max(round(number, 0 if number >= 100 else 1), 0.1 if number else 0)


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
        return f"{ceil(days * 24 * 60 - 1e-9):,} min"
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
