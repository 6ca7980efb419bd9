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
from evals.harness.judging import Judgements, judge_all, judge_of_suite
from evals.harness.measure import Tried, measure
from evals.harness.policy import PolicyColumn
from evals.harness.scoring import score_all
from evals.harness.suite import Suite
from router.ask import open_asker
from stepdown.errors import SuiteError
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings, Settings

EVAL, TRIAL, JUDGE = "eval", "trial", "judge"
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
        """The models, as the cache and the report know them."""
        return {**self.settings.models, **self.identities}


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
    asked, judged = asyncio.run(_ask(ledger, plan))
    untimed = frozenset(c.name for c in plan.contenders if c.alias in plan.untimed)
    scores = judged.scores if judged else {}
    samples = score_all(plan.suite, asked.replies, judged=scores, untimed=untimed, on_case=plan.on_score)
    tried = Tried(
        purpose=plan.purpose,
        suite=plan.suite,
        contenders=plan.contenders,
        models=plan.models,
        samples=samples,
        incomplete=_incomplete(names, asked, judged),
        policy=plan.policy,
        judge=plan.suite.judge[1].kind if judged and plan.suite.judge else None,
        baseline=plan.baseline,
        confidence=plan.confidence,
        notes=[*plan.notes, *_judge_notes(plan, judged)],
    )
    return Done(measure(tried), _spent(asked, judged), asked.out_of_time)


def _incomplete(names: Sequence[str], asked: Asked, judged: Judgements | None) -> frozenset[str]:
    """Contenders for which another run may get more answers, or more judgements."""
    if judged is not None and judged.may_come:
        return frozenset(names)
    return frozenset(name for (name, _), many in asked.replies.items() if any(r.may_come for r in many))


def _spent(asked: Asked, judged: Judgements | None) -> Spent:
    spent = asked.spent
    if judged is None:
        return spent
    return Spent(
        spent.asked + judged.asked,
        spent.cached,
        spent.usd_micros + judged.spent_usd_micros,
        spent.unpriced + judged.unpriced,
    )


def _judge_notes(plan: Plan, judged: Judgements | None) -> list[str]:
    if judged is None or plan.suite.judge is None:
        return []
    name, settings = plan.suite.judge
    against = f" against {plan.baseline}" if settings.kind == "pairwise" else ""
    cases = sum(case.check is None for case in plan.suite.cases)
    cost = judged.cost_usd_micros / 1e6
    failed = f"; {judged.failed:,} questions it did not answer" if judged.failed else ""
    return [
        f"Judge {name} ({settings.model}) scored the answers{against} to {cases:,} cases, which cost "
        f"${cost:,.4f} beside the models' own{failed}. A judge errs: see its agreement with people."
    ]


async def _ask(ledger: Ledger, plan: Plan) -> tuple[Asked, Judgements | None]:
    concurrency = plan.concurrency or plan.settings.worker.concurrency
    judge = judge_of_suite(plan.suite, plan.models)
    aliases = {contender.alias for contender in plan.contenders} | (
        {judge.settings.model} if judge else set()
    )
    async with open_asker(plan.settings, plan.environ, aliases, concurrency=concurrency) as asker:

        def answers(purpose: str) -> Answering:
            return Answering(asker, plan.models, ledger, task=plan.suite.task, purpose=purpose)

        asked = await ask_all(
            answers(plan.purpose),
            plan.contenders,
            plan.suite.cases,
            concurrency=concurrency,
            deadline=plan.deadline,
            on_reply=plan.on_reply,
        )
        if judge is None or asked.out_of_time:
            return asked, None
        judged = await judge_all(
            judge, answers(JUDGE), plan.suite, asked.replies, plan.baseline, concurrency=concurrency
        )
        return asked, judged
