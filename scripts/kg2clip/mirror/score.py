"""What the chain decided, held against what the mirror planted: precision and recall with 95 % Wilson intervals,
and the misses.

This is the only code that reads the truth. It reads the tables of the stages; no stage reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from scipy.stats import binomtest

from kg2clip.mirror.truth import COPY_KINDS, LEAK_KINDS, OBSERVED_LEAKS, SUBJECTS, USELESS_KINDS
from kg2clip.tables import WEB

Row = Mapping[str, Any]

METHODS = {  # the others by looks
    "exact": ("sha256", "pixels"),
    "mirrored": ("pdq-mirrored",),
    "id": ("source-id", "address"),
    "observation": ("observation", "page"),
    "republished": ("observation", "page"),
}
BY_LOOKS = ("pdq", "overlap")
SAVED = {"size-gone": "at a host of its lane", "moved": "at a host of another lane"}  # dead links beside a living one
STRENGTHS = {
    "reencoded": [
        ("quality", 30, 50), ("quality", 50, 75), ("quality", 75, 96), ("scale", 0.25, 0.5), ("scale", 0.5, 1.01),
    ],
    "cropped": [("crop", 0.01, 0.02), ("crop", 0.02, 0.05), ("crop", 0.05, 0.101)],
    "watermarked": [("watermark", 0.05, 0.08), ("watermark", 0.08, 0.121)],
    "burst": [("shift", 0.005, 0.01), ("shift", 0.01, 0.02), ("shift", 0.02, 0.03), ("shift", 0.03, 0.041)],
}  # fmt: skip

MEASURES: dict[str, tuple[Any, ...]] = {  # strengths, with the values that mean none
    "quality": (None, 90), "scale": (None, 1.0), "crop": (None, 0.0), "watermark": (None, 0.0), "shift": (None, 0.0),
}  # fmt: skip

SCORES = pa.schema(
    [
        ("detector", pa.string()),
        ("kind", pa.string()),
        ("planted", pa.int32()),
        ("found", pa.int32()),
        ("truePositives", pa.int32()),
        ("falsePositives", pa.int32()),
        ("precision", pa.float64()),
        ("precisionLow", pa.float64()),
        ("precisionHigh", pa.float64()),
        ("recall", pa.float64()),
        ("recallLow", pa.float64()),
        ("recallHigh", pa.float64()),
    ]
)
MISSES = pa.schema(
    [
        ("detector", pa.string()),
        ("kind", pa.string()),
        ("outcome", pa.string()),  # missed, false alarm
        ("candidateID", pa.string()),
        ("otherID", pa.string()),  # the picture that it is, or was taken for, a copy of
        ("detail", pa.string()),
    ]
)


class Judge:
    """Collects the scores and misses of all detectors."""

    def __init__(self, truth: Sequence[Row], decisions: Sequence[Row], dataset: Sequence[Row]) -> None:
        self.truth = {row["candidateID"]: row for row in truth}
        self.decisions = {row["candidateID"]: row for row in decisions}
        self.dataset = {row["key"]: row for row in dataset}
        self.scores: list[dict[str, Any]] = []
        self.misses: list[dict[str, Any]] = []
        self._first_frames: dict[str, str] = {}  # of those that reached the comparison of pictures, by burstID
        self._duplicates()
        self._bursts()
        self._leaks()
        self._links()
        self._oddities()
        self._placeholders()
        self._kinds()
        self._texts()

    def _add(
        self, detector: str, kind: str, planted: set[str], found: set[str], wrong: Mapping[str, str] | None
    ) -> None:
        """Score one detector: `planted` and `found` are candidates, `wrong` the false alarms with what they were
        taken for.
        """
        hits = planted & found
        false = wrong or {}
        recall, recall_low, recall_high = share(len(hits), len(planted))
        claimed = 0 if wrong is None else len(hits) + len(false)
        precision, precision_low, precision_high = share(len(hits), claimed)
        self.scores.append(
            {
                "detector": detector,
                "kind": kind,
                "planted": len(planted),
                "found": len(hits) + len(false),
                "truePositives": len(hits),
                "falsePositives": len(false),
                "precision": precision,
                "precisionLow": precision_low,
                "precisionHigh": precision_high,
                "recall": recall,
                "recallLow": recall_low,
                "recallHigh": recall_high,
            }
        )
        if wrong is None:  # a part of a row above: its misses stand there
            return
        for candidate in sorted(planted - found):
            self._miss(detector, kind, "missed", candidate, self._origin(candidate))
        for candidate, other in sorted(false.items()):
            self._miss(detector, kind, "false alarm", candidate, other)

    def _miss(self, detector: str, kind: str, outcome: str, candidate: str, other: str | None) -> None:
        row, decided = self.truth.get(candidate, {}), self.decisions.get(candidate, {})
        strengths = [
            f"{measure} {row[measure]:g}" for measure, none in MEASURES.items() if row.get(measure) not in none
        ]
        said = [text["text"] for text in self.dataset.get(candidate, {}).get("texts", ()) if text["kind"] == "alt-text"]
        detail = "; ".join([*strengths, decided.get("reason") or "kept", *(said if "texts" in detector else ())])
        self.misses.append(
            {
                "detector": detector,
                "kind": kind,
                "outcome": outcome,
                "candidateID": candidate,
                "otherID": other,
                "detail": detail,
            }
        )

    def _origin(self, candidate: str) -> str | None:
        row = self.truth[candidate]
        if row["benchmarkKey"]:
            return f"benchmark/{row['benchmarkKey']}"
        return row["copyOf"] or self._first_frames.get(row["burstID"])

    def _same_moment(self, one: str, other: str) -> bool:
        """Whether two candidates show one picture, or two frames of one burst: a frame's copy goes with the frame."""
        mine, theirs = self.truth[one], self.truth.get(other, {})
        burst = mine["burstID"] and mine["burstID"] == theirs.get("burstID")
        return bool(burst or mine["pictureID"] == theirs.get("pictureID"))

    def _asked_for(self, column: str, value: str) -> set[str]:
        """Candidates of which the truth says this, those aside whose licence kept them from being fetched."""
        asked = (key for key, row in self.decisions.items() if row["stage"] != "licence")
        return {key for key in asked if self.truth.get(key, {}).get(column) == value}

    def _judged(self) -> Iterable[str]:
        """Candidates that reached the comparison of pictures."""
        return (
            key
            for key, row in self.decisions.items()
            if row["stage"] not in ("licence", "download", "decode", "filter")
        )

    def _duplicates(self) -> None:
        """A copy counts as found where it and its original ended in one group, or both left as leaked."""
        judged = {key for key in self._judged() if key in self.truth}
        group = {key: self.decisions[key]["survivorID"] or key for key in judged}
        wrong = {
            key: group[key]
            for key in judged
            if self.decisions[key]["reason"] == "duplicate" and not self._same_moment(key, group[key])
        }
        copies = {key for key in judged if self.truth[key]["copyOf"] in judged}
        found = {key for key in copies if group[key] == group[self.truth[key]["copyOf"]]}
        self._add_kinds("duplicates", COPY_KINDS, copies, found, wrong)

    def _bursts(self) -> None:
        """A frame counts as found where it stands in one burst with the first frame of its own."""
        judged = set(self._judged())
        burst = {key: row["burstID"] for key, row in self.truth.items() if key in judged and row["burstID"]}
        self._first_frames = {name: key for key, name in reversed(burst.items())}
        others = {key: self._first_frames[name] for key, name in burst.items() if self._first_frames[name] != key}
        found = {
            key
            for key, first in others.items()
            if (said := self.decisions[key]["burstID"]) and said == self.decisions[first]["burstID"]
        }
        wrong = {
            key: self.decisions[key]["survivorID"]
            for key in judged & self.truth.keys()
            if self.decisions[key]["reason"] == "burst"
            and not self._same_moment(key, self.decisions[key]["survivorID"])
        }
        self._add("bursts", "frames of one moment", set(others), found, wrong)
        for measure, low, high in STRENGTHS["burst"]:
            of_strength = {key for key in others if low <= self.truth[key][measure] < high}
            self._add("bursts", f"{measure} {low:g} to {high:g}", of_strength, found & of_strength, None)

    def _leaks(self) -> None:
        judged = {key for key in self._judged() if key in self.truth}
        removed = {key for key in judged if self.decisions[key]["stage"] == "decontamination"}
        leaked = {row["pictureID"] for row in self.truth.values() if row["benchmarkKey"]}
        wrong = {
            key: f"benchmark/{self.decisions[key]['benchmarkKey']}"
            for key in removed
            if self.truth[key]["pictureID"] not in leaked
        }
        planted = {key for key in judged if self.truth[key]["benchmarkKey"]}
        self._add_kinds("leaked test pictures", (*LEAK_KINDS, *OBSERVED_LEAKS), planted, planted & removed, wrong)

    def _add_kinds(
        self, detector: str, kinds: Sequence[str], planted: set[str], found: set[str], wrong: Mapping[str, str]
    ) -> None:
        """Score by kind of copy, and by strength within a kind; a false alarm counts where its method belongs."""
        for kind in kinds:
            of_kind = {key for key in planted if self.truth[key]["copyKind"] == kind}
            methods = METHODS.get(kind, BY_LOOKS)
            false = {key: other for key, other in wrong.items() if self.decisions[key]["match"] in methods}
            self._add(detector, kind, of_kind, found & of_kind, false)
            for measure, low, high in STRENGTHS.get(kind, ()):
                of_strength = {key for key in of_kind if low <= self.truth[key][measure] < high}
                self._add(detector, f"{kind}, {measure} {low:g} to {high:g}", of_strength, found & of_strength, None)

    def _links(self) -> None:
        lost = {key for key, row in self.decisions.items() if row["stage"] == "download" and key in self.truth}
        savable = {key for key in lost if self.truth[key]["fault"] in SAVED}
        for fault in ("dead-host", "not-found"):
            planted = self._asked_for("fault", fault)
            false = {key: "" for key in lost - savable if self.truth[key]["sha256"]} if fault == "not-found" else {}
            self._add("dead links", fault, planted, planted & lost, false)
        for fault, kind in SAVED.items():
            planted = self._asked_for("fault", fault)
            self._add("saved by a further link", kind, planted, planted - lost, {})
        small = {key for key, row in self.decisions.items() if row["reason"] == "too-small" and key in self.truth}
        planted = self._asked_for("fault", "too-small")
        odd = {key for key in small if self.truth[key]["expectedReason"] == "too-small"}
        self._add("too small", "scaled to 0.12", planted, planted & small, {key: "" for key in small - planted - odd})

    def _oddities(self) -> None:
        """An odd link or picture counts as found where it was dropped for the reason that it must be dropped for."""
        for fault, detector in (("odd-link", "odd links"), ("odd-picture", "odd pictures")):
            planted = self._asked_for("fault", fault)
            found = {key for key in planted if self.decisions[key]["reason"] == self.truth[key]["expectedReason"]}
            self._add(detector, "dropped for the right reason", planted, found, {})

    def _placeholders(self) -> None:
        """Judged on what was decoded; what is dropped as a placeholder and shows a picture is a false alarm."""
        decoded = {key for key, row in self.decisions.items() if row["stage"] not in ("download", "decode")}
        planted = {key for key in decoded if self.truth.get(key, {}).get("fault") == "placeholder"}
        found = {key for key in decoded if self.decisions[key]["reason"] == "placeholder"}
        wrong = {key: "" for key in found - planted}
        self._add("placeholders", "in place of a picture", planted, planted & found, wrong)

    def _kinds(self) -> None:
        """Judged on pictures that were decoded and not altered so as to show something else."""
        judged = {
            key: row["pictureKind"]
            for key, row in self.decisions.items()
            if row.get("pictureKind")
            and self.truth.get(key, {}).get("sha256")
            and not self.truth[key]["expectedReason"]
        }
        for kind in SUBJECTS:
            planted = {key for key in judged if self.truth[key]["subject"] == kind}
            found = {key for key, said in judged.items() if said == kind}
            self._add("kinds of pictures", kind, planted, planted & found, {key: "" for key in found - planted})

    def _from_commons(self, row: Row) -> bool:
        """Whether a sample is a page of the mirror's Commons, the source with texts, that stands for itself alone."""
        return row["key"] in self.truth and row["source"] == "commons" and len(row["candidateIDs"]) == 1

    def _texts(self) -> None:
        """A bad text counts as found where training would not draw it. Judged on kept pictures without merged copies.

        Nothing looks for wrong texts: how many are left out, and how many of those drawn are right, is stated alone.
        """
        alone = {key: self.truth[key] for key, row in self.dataset.items() if self._from_commons(row)}
        drawn = {key for key in alone if any(text["kind"] == WEB for text in self.dataset[key]["texts"])}
        unused = alone.keys() - drawn
        useless = {key for key, row in alone.items() if row["textFault"] == "useless"}
        self._add("useless texts", "all", useless, useless & unused, {key: "" for key in unused - useless})
        for kind in USELESS_KINDS:
            of_kind = {key for key in useless if alone[key]["textKind"] == kind}
            self._add("useless texts", kind, of_kind, of_kind & unused, None)
        wrong = {
            "the text names another species": {key for key, row in alone.items() if row["textFault"] == "wrong"},
            "the picture shows another species": {
                key for key in alone.keys() - useless if alone[key]["pictured"] != alone[key]["scientificName"]
            },
        }
        for kind, planted in wrong.items():
            self._add("wrong texts", kind, planted, planted & unused, None)
        misfits = drawn & set().union(*wrong.values())
        self.scores.append(
            precision_of("texts drawn with pictures", "fit the picture", len(drawn - misfits), len(drawn))
        )


def share(hits: int, total: int) -> tuple[float | None, float | None, float | None]:
    """A share with its 95 % Wilson interval; nothing where there is nothing to count."""
    if not total:
        return None, None, None
    interval = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    return hits / total, float(interval.low), float(interval.high)


def score_sources(
    truth: Sequence[Row], hits: Mapping[str, Sequence[Row]], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """How many of a source's finds, pairs of picture and entity, show the entity: its search's precision.

    Args:
        hits: entityID and candidateID of the hits, by source; those whose picture the truth does not name are left out.
        names: scientific names by entityID.
    """
    shown = {row["candidateID"]: row["pictured"] for row in truth if row["pictured"]}
    scores = []
    for source, rows in hits.items():
        finds = {(row["candidateID"], row["entityID"]) for row in rows if row["candidateID"] in shown}
        right = sum(shown[candidate] == names.get(entity) for candidate, entity in finds)
        scores.append(precision_of("pictures of the entity asked for", source, right, len(finds)))
    return scores


def precision_of(detector: str, kind: str, right: int, found: int) -> dict[str, Any]:
    """A row of SCORES where nothing was planted: how many of the finds are right."""
    precision, low, high = share(right, found)
    return dict.fromkeys(SCORES.names) | {
        "detector": detector,
        "kind": kind,
        "found": found,
        "truePositives": right,
        "falsePositives": found - right,
        "precision": precision,
        "precisionLow": low,
        "precisionHigh": high,
    }
