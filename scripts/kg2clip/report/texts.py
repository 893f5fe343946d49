"""The text mix: what training draws, as declared and as the pictures allow it, and some draws to read; the splits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kg2clip.report.results import Results
from kg2clip.tables import NAMES, WEB

DRAWS = 20


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
class Split:
    """One split of the dataset; a group is all copies of a picture and all photos of its observation."""

    name: str
    pictures: int
    groups: int
    entities: int
    shards: int


@dataclass(frozen=True)
class Draw:
    """A text that training may draw for a picture."""

    title: str
    text: str
    kind: str
    origin: str


@dataclass(frozen=True)
class TextMix:
    """Shares sum to 1 over the dataset; `web` is the part that came with the pictures, the rest is from the graph."""

    shares: tuple[Share, ...]
    origins: tuple[tuple[str, float], ...]
    declared_web: float
    effective_web: float
    without_web: int
    pictures: int
    splits: tuple[Split, ...]
    draws: tuple[Draw, ...]


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
    shares, origins = [], Counter[str]()
    for row in rows:
        family = _family(row["kind"], weights)
        share = declared.get(family) if lines[family] == 1 else None
        effective = row["weight"] / pictures
        origins[row["origin"] or ""] += effective
        shares.append(Share(row["kind"] or "", row["origin"] or "", share, effective, row["texts"], row["distinct_"]))
    absent = [kind for kind, weight in weights.items() if weight and not lines[kind]]
    shares += [Share(kind, "no text", declared[kind], 0.0, 0, 0) for kind in absent]
    without_web = results.number(
        "SELECT count(*) FROM dataset WHERE NOT list_contains(list_transform(texts, lambda t: t.kind), ?)", [WEB]
    )
    return TextMix(
        tuple(sorted(shares, key=lambda share: (-share.effective, share.kind, share.origin))),
        tuple(sorted(origins.items(), key=lambda item: (-item[1], item[0]))),
        declared_web,
        sum(share.effective for share in shares if share.kind == WEB),
        without_web,
        pictures,
        _splits(results),
        _draws(results),
    )


def _family(kind: str | None, weights: Mapping[str, float]) -> str:
    """The weight that a kind of text is drawn by; one that has its own and shares that of `name` counts for its own."""
    return "name" if kind in NAMES and kind not in weights and "name" in weights else kind or ""


def _splits(results: Results) -> tuple[Split, ...]:
    rows = results.rows(
        "SELECT split, count(*) AS pictures, count(DISTINCT groupID) AS groups, count(DISTINCT shard) AS shards, "
        "any_value(entities) AS entities FROM dataset JOIN (SELECT split, count(DISTINCT entityID) AS entities "
        "FROM (SELECT split, unnest(entityIDs) AS entityID FROM dataset) GROUP BY split) USING (split) "
        "GROUP BY split ORDER BY pictures DESC, split"
    )
    return tuple(Split(row["split"], row["pictures"], row["groups"], row["entities"], row["shards"]) for row in rows)


def _draws(results: Results) -> tuple[Draw, ...]:
    """Texts drawn by weight for pictures of the training split, both by lot with the config's seed."""
    seed = str(results.settings["seed"])
    rows = results.rows(
        "SELECT key, title, texts FROM dataset WHERE split = 'train' AND len(texts) > 0 "
        "ORDER BY md5(concat('draw ', ?, key)), key LIMIT ?",
        [seed, DRAWS],
    )
    drawn = []
    for row in rows:
        weights = [text["weight"] or 0 for text in row["texts"]]
        if sum(weights) > 0:
            (text,) = random.Random(f"{seed} {row['key']}").choices(row["texts"], weights)
            drawn.append(Draw(row["title"] or row["key"], text["text"], text["kind"] or "", text["origin"] or ""))
    return tuple(drawn)
