"""What a round of practice brought: the student trained with it against the one that practised.

Invariant: the two are compared on prompts that neither was trained on, by trusted verdicts alone, and a
prompt counts once however often it was asked. The gain is of the whole night: the newer student has newer
data besides, so what the round alone brought is not told apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
from sqlalchemy import select

from distill.dataset.kept import DATASET, content_of
from distill.export.variants import variants_of
from evals.metrics.intervals import Estimate, paired_difference
from evals.outcomes import Outcomes, read_outcomes
from stepdown.errors import ArtifactError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Tier
from stepdown.registry import Registry
from stepdown.settings import Settings
from stepdown.students import STUDENT, served_name

PRACTICE = "practice"
CONFIDENCE = 0.95
TRAIN = "train"

_t = schema.artifacts


class Gain(NamedTuple):
    """Of a round.

    Attributes:
        difference: Share of right answers of the student after less that of the one before; n are prompts.
        before: Artifact id of the student that practised.
        after: Of the first student that was trained with the round.
    """

    difference: Estimate
    before: str
    after: str


def gain_of_round(ledger: Ledger, settings: Settings, task: str, round: int) -> Gain | None:  # noqa: A002
    """What a round brought, at the task's confidence; None where no student was trained with it yet.

    Raises:
        ArtifactError: There is no such round.
        LedgerError: The ledger cannot be read.
    """
    for kept in rounds_of(ledger, task):
        if kept.summary.get("round") == round:
            return gain_of(ledger, task, kept, settings.tasks[task].confidence)
    raise ArtifactError(f"task {task!r} has no round {round} of practice")


def rounds_of(ledger: Ledger, task: str) -> list[Artifact]:
    """The rounds of a task, the first one first; a corrupt one is as if never made."""
    query = select(_t.c.id).where(_t.c.kind == PRACTICE, _t.c.task == task).order_by(_t.c.at, _t.c.id)
    found = []
    for row in ledger.rows(query):
        try:
            found.append(Registry(ledger).artifact(row.id))
        except ArtifactError:
            continue
    return found


def gain_of(ledger: Ledger, task: str, kept: Artifact, confidence: float = CONFIDENCE) -> Gain | None:
    """What a round brought; None where no student was trained with it yet."""
    after, dataset = _trained_with(ledger, task, kept.id)
    if after is None or dataset is None:
        return None
    try:
        before = Registry(ledger).artifact(kept.parents[0])
        trained_on = {p for p, past in content_of(dataset).past.items() if past.part == TRAIN}
    except ArtifactError:
        return None
    outcomes = read_outcomes(ledger, task)
    right = [_right(outcomes, _names(ledger, task, student)) for student in (after, before)]
    both = sorted(set(right[0].index) & set(right[1].index) - trained_on)
    difference = paired_difference(right[0][both], right[1][both], confidence)
    return Gain(difference, before.id, after.id)


def _trained_with(ledger: Ledger, task: str, practice: str) -> tuple[Artifact | None, Artifact | None]:
    """The first student whose dataset has a round mixed in, and that dataset."""
    datasets = {row.id for row in _rows(ledger, task, DATASET) if practice in row.parents}
    for row in _rows(ledger, task, STUDENT):
        if mixed := datasets & set(row.parents):
            try:
                return Registry(ledger).artifact(row.id), Registry(ledger).artifact(mixed.pop())
            except ArtifactError:
                continue
    return None, None


def _rows(ledger: Ledger, task: str, kind: str) -> list[Any]:
    query = select(_t.c.id, _t.c.parents).where(_t.c.kind == kind, _t.c.task == task)
    return list(ledger.rows(query.order_by(_t.c.at, _t.c.id)))


def _names(ledger: Ledger, task: str, student: Artifact) -> set[str]:
    """Under which names a student answered, in whichever form."""
    return {served_name(one.id) for one in (student, *variants_of(ledger, task, student))}


def _right(outcomes: Outcomes, names: set[str]) -> pd.Series[float]:
    """The share of right answers to each prompt, by trusted verdicts."""
    calls = outcomes.calls
    own = calls[(calls["tier"] == Tier.SMALL) & calls["ok"] & calls["trusted"] & calls["model"].isin(names)]
    last = own.drop_duplicates("request", keep="last")
    asked = outcomes.requests.set_index("id")["prompt_hash"]
    return last.groupby(last["request"].map(asked))["good"].mean().astype(float)
