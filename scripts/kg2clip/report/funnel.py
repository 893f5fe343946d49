"""The funnel: what entered every step, what left it and why, and whether the numbers add up exactly."""

from __future__ import annotations

from dataclasses import dataclass

from kg2clip import removals
from kg2clip.report.filters import counted
from kg2clip.report.results import Results

TAKEDOWN = "takedown"  # no stage of the decisions: what scripts/remove.py took out of the dataset

# Stages of tables.DECISIONS in their order, with the word for what has passed them.
PASSED = {
    "licence": "under a licence asked for",
    "download": "downloaded",
    "decode": "decoded",
    "filter": "passed the filters",
    "duplicate": "unique",
    "decontamination": "free of benchmark pictures",
    TAKEDOWN: "not taken down",
}

# A failed try and its retry are two rows, and a batch of another config may lie beside: each candidate counts once.
_DISTINCT = (
    "SELECT count(DISTINCT candidateID) FROM {table} SEMI JOIN candidates USING (candidateID) WHERE status = '{status}'"
)


@dataclass(frozen=True)
class Loss:
    """Candidates lost at one stage for one reason."""

    reason: str
    count: int


@dataclass(frozen=True)
class Step:
    """One stage of the funnel: `entered` candidates came in, `left` went on."""

    stage: str
    passed: str
    entered: int
    losses: tuple[Loss, ...]

    @property
    def lost(self) -> int:
        """All that this stage dropped."""
        return sum(loss.count for loss in self.losses)

    @property
    def left(self) -> int:
        """What went on to the next stage."""
        return self.entered - self.lost


@dataclass(frozen=True)
class Check:
    """Two counts from different tables that must be equal."""

    meaning: str
    expected: int
    found: int

    @property
    def holds(self) -> bool:
        """Whether they are."""
        return self.expected == self.found


@dataclass(frozen=True)
class Funnel:
    """From entities to kept pictures."""

    entities: int
    entities_with_queries: int
    queries: int
    queries_with_hits: int
    candidates: int
    steps: tuple[Step, ...]
    kept: int
    checks: tuple[Check, ...]

    @property
    def adds_up(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    @property
    def equation(self) -> str:
        """The sum, as a line that a person can check: 10 candidates = 7 kept + 3 download."""
        parts = [f"{self.kept:,} kept", *(f"{step.lost:,} {step.stage}" for step in self.steps)]
        return f"{counted(self.candidates, 'candidate')} {'=' if self.adds_up else '≠'} {' + '.join(parts)}"


def measure(results: Results) -> Funnel:
    """Count the funnel from the stored tables; the checks compare each table with what its neighbours say."""
    number = results.number
    candidates = number("SELECT count(*) FROM candidates")
    removed = _removed(results)
    kept = number("SELECT count(*) FROM decisions WHERE kept") - removed
    steps = _steps(results, candidates, removed)
    return Funnel(
        entities=number("SELECT count(*) FROM entities"),
        entities_with_queries=number(
            "SELECT count(DISTINCT entityID) FROM queries SEMI JOIN entities USING (entityID)"
        ),
        queries=number("SELECT count(*) FROM queries"),
        queries_with_hits=number(
            "SELECT count(*) FROM queries "
            "SEMI JOIN (SELECT unnest(queryIDs) AS queryID FROM candidates) hits USING (queryID)"
        ),
        candidates=candidates,
        steps=steps,
        kept=kept,
        checks=_checks(results, candidates, steps, kept),
    )


def _removed(results: Results) -> int:
    """Kept pictures of which a copy is on the list of those that somebody wants out."""
    return int(
        results.number(
            "SELECT count(DISTINCT key) FROM (SELECT CASE WHEN kept THEN candidateID ELSE survivorID END AS key "
            "FROM decisions WHERE list_contains(?, candidateID)) "
            "SEMI JOIN (SELECT candidateID AS key FROM decisions WHERE kept) USING (key)",
            [removals.keys(results.settings["dataset"]["removed"])],
        )
    )


def _steps(results: Results, candidates: int, removed: int) -> tuple[Step, ...]:
    losses: dict[str, list[Loss]] = {stage: [] for stage in PASSED if stage != TAKEDOWN}
    for row in results.rows(
        "SELECT coalesce(stage, 'no stage given') AS stage, coalesce(reason, 'no reason given') AS reason, "
        "count(*) AS n "
        "FROM decisions WHERE NOT coalesce(kept, false) GROUP BY ALL ORDER BY n DESC, reason"
    ):
        losses.setdefault(row["stage"], []).append(Loss(row["reason"], row["n"]))
    if removed:
        losses[TAKEDOWN] = [Loss("removed on request", removed)]
    steps = []
    entered = candidates
    for stage, lost in losses.items():
        steps.append(Step(stage, PASSED.get(stage, stage), entered, tuple(lost)))
        entered = steps[-1].left
    return tuple(steps)


def _checks(results: Results, candidates: int, steps: tuple[Step, ...], kept: int) -> tuple[Check, ...]:
    number = results.number
    left = {step.stage: step.left for step in steps}
    downloaded = number(_DISTINCT.format(table="downloads", status="success"))
    decoded = number(_DISTINCT.format(table="features", status="decoded"))
    matched = number(
        "SELECT count(*) FROM (SELECT candidateID FROM candidates INTERSECT SELECT candidateID FROM decisions)"
    )
    packed = number(
        "SELECT count(*) FROM dataset SEMI JOIN (SELECT * FROM decisions WHERE kept) d ON key = d.candidateID"
    )
    return (
        Check("Every candidate has exactly one decision", candidates, number("SELECT count(*) FROM decisions")),
        Check("The decisions are about these candidates", candidates, matched),
        Check("Candidates without all losses are the kept ones", kept, steps[-1].left),
        Check("The download manifests hold what the decisions call downloaded", left["download"], downloaded),
        Check("The picture tables hold what the decisions call decoded", left["decode"], decoded),
        Check("The dataset has a sample for each kept picture", kept, number("SELECT count(*) FROM dataset")),
        Check("The samples of the dataset are the kept pictures", kept, packed),
    )
