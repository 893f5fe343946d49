"""The text mix: what training draws, as the config declares it and as the pictures allow it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kg2clip.report.results import Results

WEB = "web"  # all kinds that are no graph kind: texts that came with the picture


@dataclass(frozen=True)
class Share:
    """A kind of text from one origin. `declared` is null where the config fixes no share for this line alone."""

    kind: str
    origin: str
    declared: float | None
    effective: float
    texts: int
    distinct: int


@dataclass(frozen=True)
class TextMix:
    """Shares sum to 1 over the dataset; `web` is the part that came with the pictures, the rest is from the graph."""

    shares: tuple[Share, ...]
    declared_web: float
    effective_web: float
    without_web: int
    pictures: int


def measure(results: Results) -> TextMix:
    """Average the weights of `tables.DATASET` over the pictures, by kind and origin."""
    section = results.settings["dataset"]
    weights: dict[str, float] = section["text_weights"]
    declared_web: float = section["alt_text_share"]
    total = sum(weights.values())
    pictures = results.number("SELECT count(*) FROM dataset")
    rows = results.rows(
        "SELECT t.kind AS kind, t.origin AS origin, fsum(t.weight) AS weight, "
        "count(*) AS texts, count(DISTINCT t.text) AS distinct_ "
        "FROM (SELECT unnest(texts) AS t FROM dataset ORDER BY key) GROUP BY ALL ORDER BY kind, origin"
    )
    lines = Counter(_family(row["kind"], weights) for row in rows)
    declared = {WEB: declared_web} | {
        kind: (1 - declared_web) * weight / total for kind, weight in weights.items() if total
    }
    shares = []
    for row in rows:
        family = _family(row["kind"], weights)
        share = declared.get(family) if lines[family] == 1 else None
        shares.append(
            Share(
                row["kind"] or "", row["origin"] or "", share, row["weight"] / pictures, row["texts"], row["distinct_"]
            )
        )
    absent = [kind for kind, weight in weights.items() if weight and not lines[kind]]
    shares += [Share(kind, "no text", declared[kind], 0.0, 0, 0) for kind in absent]
    without_web = results.number(
        "SELECT count(*) FROM dataset WHERE len(list_filter(texts, lambda t: NOT list_contains(?, t.kind))) = 0",
        [list(weights)],
    )
    return TextMix(
        tuple(sorted(shares, key=lambda share: (-share.effective, share.kind, share.origin))),
        declared_web,
        sum(share.effective for share in shares if share.kind not in weights),
        without_web,
        pictures,
    )


def _family(kind: str | None, weights: Mapping[str, float]) -> str:
    return kind if kind in weights and kind is not None else WEB
