"""The prompts that a student is to practise: of its training examples those that it failed.

Invariant: a prompt is practised only where it was trained on or may be, never where any dataset holds it
out; and only where a check can tell a right answer, with the reference that the check needs. Whether the
student failed is a trusted verdict's word.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from sqlalchemy import and_, select

from distill.dataset.kept import content_of
from evals.labelling import Labeller, labellers
from evals.outcomes import read_outcomes
from stepdown.ids import digest
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Tier
from stepdown.settings import TaskSettings
from stepdown.students import served_name

TRAIN = "train"
CHUNK = 500

_r, _a = schema.requests, schema.answers


@dataclass(frozen=True, slots=True)
class Failed:
    """A prompt that the student failed.

    Attributes:
        request: Id of the first request that asked it, of those in the dataset.
        body: Digest of that request's body.
        labeller: The check that tells a right answer.
        reference: What it compares with, as JSON text, or None.
    """

    request: str
    body: str
    prompt_hash: str
    labeller: Labeller
    reference: str | None


@dataclass(frozen=True, slots=True)
class ToPractise:
    """What there is to practise.

    Attributes:
        prompts: In an order that depends on their hashes alone, so that the first so many are a fair sample.
        unchecked: Failed prompts that no check can tell a right answer to.
    """

    prompts: tuple[Failed, ...]
    unchecked: int


def failed_prompts(
    ledger: Ledger, task_name: str, task: TaskSettings, student: str, dataset: Artifact
) -> ToPractise:
    """The training prompts of a dataset that a student failed.

    A prompt is failed where the last trusted verdict on an answer of this student was bad; where it has
    none, the last one on an answer of any small model counts.

    Raises:
        ArtifactError: The artifact is no dataset.
        LedgerError: The ledger cannot be read.
    """
    content = content_of(dataset)
    held_out = {prompt for prompt, past in content.past.items() if past.part != TRAIN}
    held_out |= {row.prompt_hash for row in content.rows if row.part != TRAIN}
    failed = _failed(ledger, task_name, student)
    wanted: dict[str, str] = {}
    for row in content.rows:
        trained_on = row.part == TRAIN and row.request is not None
        if trained_on and row.prompt_hash in failed and row.prompt_hash not in held_out:
            wanted.setdefault(row.prompt_hash, str(row.request))
    found = _checkable(ledger, task_name, task, sorted(wanted.values()))
    prompts = sorted(found, key=lambda one: digest(f"practice {one.prompt_hash}".encode()))
    return ToPractise(tuple(prompts), len(wanted) - len(prompts))


def _failed(ledger: Ledger, task: str, student: str) -> set[str]:
    outcomes = read_outcomes(ledger, task)
    calls = outcomes.calls
    small = calls[(calls["tier"] == Tier.SMALL) & calls["ok"] & calls["trusted"]]
    asked = outcomes.requests.set_index("id")["prompt_hash"]
    small = small.assign(prompt_hash=small["request"].map(asked))
    last = _last(small)
    last.update(_last(small[small["model"] == served_name(student)]))
    return {prompt for prompt, good in last.items() if not good}


def _last(calls: pd.DataFrame) -> dict[str, float]:
    """The last verdict on each prompt; the calls are in the order of their times."""
    return dict(zip(calls["prompt_hash"], calls["good"], strict=True))


def _checkable(ledger: Ledger, task_name: str, task: TaskSettings, requests: list[str]) -> list[Failed]:
    """Those of some requests that a declared check can tell a right answer to."""
    by_name = {labeller.name: labeller for labeller in labellers(task)}
    joined = _r.outerjoin(_a, and_(_a.c.task == _r.c.task, _a.c.prompt_hash == _r.c.prompt_hash))
    columns = (_r.c.id, _r.c.body, _r.c.prompt_hash, _r.c.check, _r.c.reference)
    query = select(
        *columns, _a.c.check.label("check_given"), _a.c.reference.label("reference_given")
    ).select_from(joined)
    found = []
    for start in range(0, len(requests), CHUNK):
        chunk = requests[start : start + CHUNK]
        for row in ledger.rows(query.where(_r.c.task == task_name, _r.c.id.in_(chunk))):
            labeller = by_name.get(row.check or row.check_given or task.check or "")
            reference = row.reference or row.reference_given
            if labeller is None or (labeller.needs_reference and reference is None):
                continue
            found.append(Failed(row.id, row.body, row.prompt_hash, labeller, reference))
    return found
