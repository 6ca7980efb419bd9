"""Scores replies by the suite's checks.

Invariant: a score is what a check said, and its failure to say anything leaves that one answer unscored,
with the reason; it never counts as bad. In the main thread of a process a check that takes too long is
stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evals.checks import Subject, applied
from evals.checks.outcome import limit_s
from evals.checks.schema import asked_schema
from evals.harness.asking import Replies, Reply
from evals.harness.form import Sample
from evals.harness.suite import Case, Suite
from evals.time_limit import time_limit
from router.wire import Answer
from stepdown.records import Verdict

CHECK_LIMIT_S = 60.0
TEXT_CHARS = 300
WHY_CHARS = 300

Scores = Mapping[tuple[str, str, int], tuple[float | None, str]]
Samples = Mapping[tuple[str, str], Sequence[Sample]]


def score_all(
    suite: Suite,
    replies: Replies,
    *,
    judged: Scores,
    untimed: frozenset[str] = frozenset(),
    on_case: Callable[[], None] = lambda: None,
) -> Samples:
    """Score every reply, by contender and case.

    Args:
        suite: The cases and their checks.
        replies: By contender and case.
        judged: What a judge said, by contender, case and number of the sample, where no check scores.
        untimed: Contenders whose times are not their models' own.
        on_case: Called after each.
    """
    cases = {case.id: case for case in suite.cases}
    scored: dict[tuple[str, str], list[Sample]] = {}
    for (name, case_id), many in replies.items():
        case = cases[case_id]
        scored[name, case_id] = [
            _sample(suite, case, reply, judged.get((name, case_id, n)), name not in untimed)
            for n, reply in enumerate(many)
        ]
        on_case()
    return scored


def _sample(
    suite: Suite, case: Case, reply: Reply, judged: tuple[float | None, str] | None, timed: bool
) -> Sample:
    answered = reply.answered
    if answered is None or answered.answer is None or answered.kept is None:
        return Sample(score=None, why=(reply.error or "no answer")[:WHY_CHARS], answered=False)
    if case.check is None:
        score, why = judged or (None, "nothing scores it")
    else:
        score, why = checked(suite, case, answered.answer)
    kept = answered.kept
    return Sample(
        score=score,
        why=why[:WHY_CHARS],
        answered=True,
        text=answered.answer.text[:TEXT_CHARS],
        latency_ms=kept.latency_ms if timed else None,
        ttft_ms=kept.ttft_ms if timed else None,
        prompt_tokens=kept.prompt_tokens,
        completion_tokens=kept.completion_tokens,
        cost_usd_micros=kept.cost_usd_micros,
        body=kept.body,
    )


def checked(suite: Suite, case: Case, answer: Answer) -> tuple[float | None, str]:
    """The score of an answer by the case's check, and what was compared; None where it failed to say."""
    assert case.check is not None
    subject = Subject(
        answer.text,
        case.reference,
        case.prompt,
        answer.tool_calls,
        answer.finish_reason,
        answer.refusal,
        asked_schema(case.fields.get("response_format")),
    )
    check = suite.checks[case.check]
    try:
        with time_limit(limit_s(check, CHECK_LIMIT_S)):
            outcome = applied(check, subject)
    except Exception as error:  # a check may be anybody's code
        return None, f"{type(error).__name__}: {error}"
    if outcome.verdict is Verdict.UNSCORED:
        return None, outcome.evidence
    whole = float(outcome.verdict is Verdict.GOOD)
    return (outcome.score if suite.partial_credit else whole), outcome.evidence
