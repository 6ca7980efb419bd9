"""Runs contenders over a suite, from the first question to the evaluation.

Invariant: every answer is kept before it is scored, so a run that is killed at any point is taken up where
it was by running it again. The module decides nothing: what is asked, scored and compared is done elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from evals.answering import Answering
from evals.harness.asking import Asked, Spent, ask_all
from evals.harness.contender import Contender
from evals.harness.form import Evaluation
from evals.harness.measure import Tried, measure
from evals.harness.policy import PolicyColumn
from evals.harness.scoring import score_all
from evals.harness.suite import Suite
from router.ask import open_asker
from stepdown.errors import SuiteError
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings, Settings

EVAL, TRIAL = "eval", "trial"
CONFIDENCE = 0.95


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run.

    Attributes:
        settings: Where the models are.
        environ: Where their keys are.
        identities: What the models are in the eyes of the cache, by alias; those of the settings if empty.
        untimed: Aliases whose times say nothing, because they are recordings.
        baseline: Name of the contender that the others are compared with.
        policy: A router over two of the contenders, or None.
        concurrency: Calls at once of one model; None takes that of the settings.
        deadline: Time of `evals.harness.asking.CLOCK` at which no more is asked.
        on_reply: Called after each case of each contender is answered; `on_score` after it is scored.
    """

    suite: Suite
    contenders: Sequence[Contender]
    baseline: str
    settings: Settings
    environ: Mapping[str, str]
    purpose: str = EVAL
    identities: Mapping[str, ModelSettings] = field(default_factory=dict)
    untimed: frozenset[str] = frozenset()
    policy: PolicyColumn | None = None
    confidence: float = CONFIDENCE
    concurrency: int | None = None
    deadline: float = float("inf")
    notes: Sequence[str] = ()
    on_reply: Callable[[], None] = _nothing
    on_score: Callable[[], None] = _nothing

    @property
    def models(self) -> Mapping[str, ModelSettings]:
        """The models of the contenders, as the cache and the report know them."""
        known = {**self.settings.models, **self.identities}
        return {contender.alias: known[contender.alias] for contender in self.contenders}


@dataclass(frozen=True, slots=True)
class Done:
    """A run: its evaluation, what it cost just now, and whether the time was up before all was asked."""

    evaluation: Evaluation
    spent: Spent
    out_of_time: bool


def evaluate(ledger: Ledger, plan: Plan) -> Done:
    """Run a plan.

    Raises:
        SettingsError: A model is not declared, or its key is not set.
        SuiteError: Two contenders have one name, or the baseline is none of them.
        LedgerError: The ledger refused.
    """
    names = [contender.name for contender in plan.contenders]
    if len(set(names)) < len(names):
        raise SuiteError(f"contenders {', '.join(names)}: each name must be used once")
    if plan.baseline not in names:
        raise SuiteError(f"baseline {plan.baseline!r} is not among those tried: {', '.join(names)}")
    asked = asyncio.run(_ask(ledger, plan))
    untimed = frozenset(c.name for c in plan.contenders if c.alias in plan.untimed)
    samples = score_all(plan.suite, asked.replies, judged={}, untimed=untimed, on_case=plan.on_score)
    tried = Tried(
        purpose=plan.purpose,
        suite=plan.suite,
        contenders=plan.contenders,
        models=plan.models,
        samples=samples,
        incomplete=frozenset(
            name for (name, _), many in asked.replies.items() if any(r.may_come for r in many)
        ),
        policy=plan.policy,
        baseline=plan.baseline,
        confidence=plan.confidence,
        notes=plan.notes,
    )
    return Done(measure(tried), asked.spent, asked.out_of_time)


async def _ask(ledger: Ledger, plan: Plan) -> Asked:
    concurrency = plan.concurrency or plan.settings.worker.concurrency
    aliases = {contender.alias for contender in plan.contenders}
    async with open_asker(plan.settings, plan.environ, aliases, concurrency=concurrency) as asker:
        answering = Answering(asker, plan.models, ledger, task=plan.suite.task, purpose=plan.purpose)
        return await ask_all(
            answering,
            plan.contenders,
            plan.suite.cases,
            concurrency=concurrency,
            deadline=plan.deadline,
            on_reply=plan.on_reply,
        )
