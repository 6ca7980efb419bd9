"""What a night has the other rooms do, each as one call: the seam at which a test puts fakes.

Invariant: every call may be made again after it was broken off, and then does only what is left to do. The
rooms are imported when they are called, for some of them are heavy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.settings import Settings

if TYPE_CHECKING:
    from evals.slices.build import Slicing


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate said of a candidate.

    Attributes:
        gate: Id of the artifact that has all of it.
        reasons: Why it did not pass; empty where it did.
        net_usd_micros: What it is expected to save within the horizon, less what it cost.
        expectation: That, in words.
        table: The comparison, as text.
    """

    gate: str
    passed: bool
    reasons: tuple[str, ...]
    net_usd_micros: float
    expectation: str
    table: str

    def found(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True)
class Saving:
    """What a student is expected to save within the horizon at some coverage, less what it cost."""

    net_usd_micros: float
    words: str


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

    def label(self, deadline: float) -> int:
        """Label and judge what is unlabelled, until a deadline; how many labels were made."""
        from evals.feedback import label_feedback
        from evals.judge.sweep import judge_all
        from evals.labelling import label_all

        tasks = {self.task: self.settings.tasks[self.task]}
        batch, left_s = self.settings.worker.batch, max(0.0, deadline - time.monotonic())
        made = label_all(self.ledger, tasks, batch=batch, budget_s=left_s).labelled
        made += label_feedback(self.ledger, tasks, deadline=deadline).labelled
        left_s = max(0.0, deadline - time.monotonic())
        judged = judge_all(self.ledger, self.settings, self.environ, budget_s=left_s, task=self.task)
        return made + judged.judged

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

    def refusal(self, dataset: Artifact) -> str | None:
        """Why a training on a dataset cannot be, or None."""
        from distill.training import estimate

        return estimate(self.ledger, self.settings, self.task, dataset).refusal

    def train(self, dataset: Artifact, deadline: float) -> Artifact:
        """Train a student."""
        from distill.training import train

        return train(self.ledger, self.settings, self.task, dataset, deadline=deadline)

    def export(self, student: Artifact, variant: str, deadline: float) -> Artifact:
        """Bring a student into another form."""
        from distill.export import export

        return export(self.ledger, self.settings, self.task, student, variant, deadline=deadline)

    def serve(self, student: Artifact, patience_s: float) -> None:
        """Have every server of the small model serve a student."""
        from distill.serving import serve

        serve(self.ledger, self.settings, self.environ, self.task, student, patience_s=patience_s)

    def ask(self, student: str | None, most: int, deadline: float) -> int:
        """Ask a student the newest prompts; how many it was asked now."""
        from distill.evaluation import ask_student

        counts = ask_student(
            self.ledger, self.settings, self.environ, self.task, student, most=most, deadline=deadline
        )
        return counts.asked

    def practise(self, student: Artifact, dataset: Artifact, deadline: float) -> Artifact | None:
        """One round of practice; None where rounds are over."""
        from distill.practice import practise

        return practise(
            self.ledger, self.settings, self.environ, self.task, student, dataset, deadline=deadline
        )

    def judge(self, student: str, deadline: float) -> Judged:
        """Have the gate judge a candidate, and keep what it said."""
        raise NotImplementedError

    def fit(self, student: str) -> Artifact:
        """Fit a router on a student's own outcomes."""
        from evals.refit import fit_for

        return fit_for(self.ledger, self.task, self.settings.tasks[self.task], student)

    def saving_at(self, gate: str, coverage: float) -> Saving:
        """What the candidate of a gate is expected to save at a coverage."""
        raise NotImplementedError

    def begin_trial(self, student: str, router: str, evidence: Mapping[str, Any]) -> bool:
        """Begin the trial of a student; False where what is in force was changed meanwhile."""
        from distill.rollout import begin

        return begin(self.ledger, self.settings, self.task, student, router, evidence)

    def put_to_sleep(self, alias: str) -> None:
        """Free the GPU that a model's servers have."""
        from distill.serving import put_to_sleep

        put_to_sleep(self.ledger, self.settings, self.environ, alias)

    def wake(self, alias: str) -> None:
        """Give it back to them."""
        from distill.serving import wake

        wake(self.ledger, self.settings, self.environ, alias)


PartsFactory = Callable[[Ledger, Settings, Mapping[str, str], str], Parts]
