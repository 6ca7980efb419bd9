"""What a night has the other rooms do, each as one call: the seam at which a test puts fakes.

Invariant: every call may be made again after it was broken off, and then does only what is left to do. The
rooms are imported when they are called, for some of them are heavy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.students import Variant

if TYPE_CHECKING:
    from evals.slices.build import Slicing


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate said of a candidate.

    Attributes:
        gate: Id of the artifact that has all of it.
        reason: Why it passed, or did not.
        net_usd_micros: What it is expected to save within the horizon, less what it cost; None if not known.
        table: The comparison, as text.
    """

    gate: str
    passed: bool
    reason: str
    net_usd_micros: float | None
    table: str

    def found(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class Parts:
    """The other rooms, for one task.

    Args:
        ledger: Where everything is.
        settings: All settings.
        environ: Where the upstreams' keys are.
        task: Name of the task.
    """

    def __init__(self, ledger: Ledger, settings: Settings, environ: Mapping[str, str], task: str) -> None:
        self.ledger, self.settings, self.environ, self.task = ledger, settings, environ, task

    def label(self, deadline: float, *, at_once: bool = False) -> int:
        """Label and judge what is unlabelled, until a deadline; how many labels were made.

        Args:
            deadline: Of the monotonic clock.
            at_once: Whether to do without batch endpoints, which answer some day.
        """
        from evals.feedback import label_feedback
        from evals.judge.sweep import judge_all
        from evals.labelling import label_all

        settings = _without_batches(self.settings) if at_once else self.settings
        tasks = {self.task: settings.tasks[self.task]}
        batch, left_s = settings.worker.batch, max(0.0, deadline - time.monotonic())
        made = label_all(self.ledger, tasks, batch=batch, budget_s=left_s).labelled
        made += label_feedback(self.ledger, tasks, deadline=deadline).labelled
        left_s = max(0.0, deadline - time.monotonic())
        return made + judge_all(self.ledger, settings, self.environ, budget_s=left_s, task=self.task).judged

    def is_left(self, before: datetime, *, at_once: bool = False) -> bool:
        """Whether something that was asked before a time waits for a label that could be made now.

        Args:
            before: The time.
            at_once: As in `label`; without it, what a batch endpoint answers some day is not waited for.
        """
        from evals.judge.sweep import first_unjudged
        from evals.labelling import first_unlabelled

        models, task = self.settings.models, self.settings.tasks[self.task]
        judges = {name: one for name, one in task.judges.items() if at_once or not models[one.model].batch}
        waiting = (
            first_unlabelled(self.ledger, self.task, task),
            first_unjudged(self.ledger, self.task, msgspec.structs.replace(task, judges=judges)),
        )
        return any(at is not None and at < before for at in waiting)

    def slice(self) -> Slicing:
        """Cluster the traffic of now."""
        from evals.slices.build import slice_task

        return slice_task(self.ledger, self.task, self.settings.tasks[self.task])

    def new_examples(self) -> int:
        """Usable examples that the task's last dataset did not have."""
        from distill.dataset import new_examples

        return new_examples(self.ledger, self.settings, self.task)

    def build_dataset(self) -> Artifact:
        """Build a dataset with the student's own tokenizer, and keep it."""
        from distill.dataset import build_dataset, keep_dataset
        from distill.training import open_counter

        counter = open_counter(self.settings, self.task)
        return keep_dataset(self.ledger, build_dataset(self.ledger, self.settings, self.task, count=counter))

    def train(self, dataset: Artifact, deadline: float) -> Artifact:
        """Train a student."""
        from distill.training import train

        return train(self.ledger, self.settings, self.task, dataset, deadline=deadline)

    def export(self, student: Artifact, variant: Variant, deadline: float) -> Artifact:
        """Bring a student into another form."""
        from distill.export import export

        return export(self.ledger, self.settings, self.task, student, variant, deadline=deadline)

    def serve(self, student: Artifact, patience_s: float) -> None:
        """Have every server of the small model serve a student."""
        from distill.serving import serve

        serve(self.ledger, self.settings, self.environ, self.task, student, patience_s=patience_s)

    def ask(self, student: str, most: int, deadline: float, *, beside: bool) -> int:
        """Ask a student the newest prompts; how many it was asked now.

        Args:
            student: Its artifact's id.
            most: Prompts, those that it has answered already among them.
            deadline: Of the monotonic clock.
            beside: Whether to ask the student in service too.
        """
        from distill.evaluation import ask_student

        where = (self.ledger, self.settings, self.environ, self.task)
        return ask_student(*where, student, most=most, deadline=deadline, beside=beside).asked

    def run_suites(self, student: str, deadline: float) -> None:
        """Have a student that is served run the suites; what it answers is kept for the gate."""
        from distill.evaluation import gather

        gather(self.ledger, self.settings, self.environ, self.task, student, deadline=deadline)

    def practise(self, student: Artifact, dataset: Artifact, deadline: float) -> Artifact | str:
        """A round of practice, or why there is none."""
        from distill.practice import practise, why_no_round

        where = (self.ledger, self.settings, self.environ, self.task)
        why_not = why_no_round(self.ledger, self.settings, self.task, student, dataset)
        kept = practise(*where, student, dataset, deadline=deadline)
        return kept or why_not or "it failed nothing that could be practised"

    def judge(self, student: str, deadline: float) -> Judged:
        """Have the gate judge a candidate, and keep what it said."""
        from distill.evaluation import gather, keep_gate, render_gate, rules_of
        from distill.gate import decide

        where = (self.ledger, self.settings, self.environ, self.task)
        evidence = gather(*where, student, deadline=deadline)
        verdict = decide(evidence, rules_of(self.settings.tasks[self.task]))
        return Judged(
            gate=keep_gate(self.ledger, self.task, evidence, verdict).id,
            passed=verdict.passed,
            reason=verdict.reason,
            net_usd_micros=None if math.isnan(verdict.net_usd_micros) else verdict.net_usd_micros,
            table=render_gate(verdict),
        )

    def fit(self, student: str) -> Artifact:
        """Fit a router on a student's own outcomes."""
        from evals.refit import fit_for

        return fit_for(self.ledger, self.task, self.settings.tasks[self.task], student)

    def prompts_to_certify(self) -> int:
        """Labelled prompts that a router needs before its bound can be certified."""
        from evals.refit import prompts_to_certify

        return prompts_to_certify(self.ledger, self.task, self.settings.tasks[self.task])

    def saving_at(self, gate: str, coverage: float) -> tuple[float, str]:
        """What the candidate of a gate is expected to save at a coverage, less what it cost; and in words."""
        from distill.evaluation import expected_saving

        return expected_saving(self.ledger, gate, coverage)

    def begin_trial(self, student: str, router: str, evidence: Mapping[str, Any]) -> str | None:
        """Begin the trial of a student, or say why it is not begun."""
        from distill.rollout.steps import begin, why_not_begin

        where = (self.ledger, self.settings, self.task, student, router)
        if begin(*where, evidence):
            return None
        return why_not_begin(*where) or "what is in force was changed meanwhile"

    def put_to_sleep(self, alias: str) -> None:
        """Free the GPU that a model's servers have."""
        from distill.serving import put_to_sleep

        put_to_sleep(self.ledger, self.settings, self.environ, alias)

    def wake(self, alias: str) -> None:
        """Give it back to them."""
        from distill.serving import wake

        wake(self.ledger, self.settings, self.environ, alias)


PartsFactory = Callable[[Ledger, Settings, Mapping[str, str], str], Parts]


def _without_batches(settings: Settings) -> Settings:
    models = {name: msgspec.structs.replace(model, batch=False) for name, model in settings.models.items()}
    return msgspec.structs.replace(settings, models=models)
