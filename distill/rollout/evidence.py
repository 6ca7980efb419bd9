"""Reads from the ledger what speaks for and against a student: its calls, its answers, its arm's.

Invariant: each look reads all that is there, and changes nothing; what has not come yet, a label, is missing
and never good, and an answer that never came is bad and needs no label. Decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Row, Select, select

from distill.rollout.decide import ArmCount, ArmRow, Observed
from distill.rollout.nights import asked_by_nights
from distill.rollout.trial import Service, Trial
from distill.rollout.watches import REFERENCE, Series, Timed
from evals.judge.sweep import first_unjudged
from evals.labelling import first_unlabelled
from evals.outcomes import JUDGED, Outcomes, read_outcomes, read_prompts
from router.model import RouterModel
from stepdown.errors import UNREACHABLE
from stepdown.ledger import Ledger, schema
from stepdown.records import ANSWERING, HUNG_UP, Arm, Mode, Reason, Role, Tier
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings
from stepdown.students import PREFIX, served_name

ASKED_OF_IT = (Role.LIVE, Role.SHADOW)
RELOADS = 3
READ_FOR_REFERENCE = 4 * REFERENCE
FROM_A_PROXY = timedelta(seconds=30)
ABSENT = 404
ABSENT_FOR = timedelta(minutes=10)
ABSENT_IN_CANARY = timedelta(minutes=2)  # strong answers for it meanwhile, which speaks for nobody


def observe_trial(ledger: Ledger, settings: Settings, task: str, trial: Trial) -> Observed:
    """What happened in a trial so far.

    Raises:
        LedgerError: The ledger cannot be read.
        ArtifactError: The candidate's router is missing or corrupt.
    """
    declared = settings.tasks[task]
    # Read before the outcomes: a label may come meanwhile, and none may be missed.
    horizon = first_waiting(ledger, task, declared)
    patience = ABSENT_IN_CANARY if trial.share else ABSENT_FOR
    seen = _read(ledger, declared, task, trial.student, trial.before, trial.began, patience)
    scored = _regrets(seen, trial.student, _gains(ledger, trial.router, seen))
    settling = timedelta(seconds=RELOADS * settings.proxy.reload_s)
    requests = list(_in_arms(seen, trial, settling))
    return Observed(
        errors=_errors(seen),
        answers=_timed(seen.calls),
        reference=seen.reference,
        regrets=scored,
        shadow_labelled=_shadow_labelled(seen, trial.student),
        arms=_arms(requests, horizon),
        counts={str(arm): _counted(requests, arm, horizon) for arm in Arm} if trial.share else {},
        waiting=_waiting(seen, horizon),
    )


def observe_service(
    ledger: Ledger, settings: Settings, task: str, service: Service, since: datetime
) -> Observed:
    """What the student in service did since a time.

    How slow it was while a night asked its servers is left out: on a trial the model before it is as slow
    meanwhile, and here nothing else is asked of those servers.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    declared = settings.tasks[task]
    horizon = first_waiting(ledger, task, declared)
    seen = _read(ledger, declared, task, service.student, service.before, since)
    asked = asked_by_nights(ledger, settings, declared.small, since)
    undisturbed = (call for call in seen.calls if not any(period.has(call.at) for period in asked))
    return Observed(
        errors=_errors(seen),
        answers=_timed(undisturbed),
        reference=seen.reference,
        regrets=_regrets(seen, service.student, {}),
        waiting=_waiting(seen, horizon),
    )


def first_waiting(ledger: Ledger, task: str, declared: TaskSettings) -> datetime | None:
    """When the first request came that waits for a label; None where none does.

    Judges are waited for where they are all that labels, or where the task's bound rests on them.
    """
    waiting = [first_unlabelled(ledger, task, declared)]
    if declared.certify_on == JUDGED or not declared.checks:
        waiting.append(first_unjudged(ledger, task, declared))
    return min((at for at in waiting if at is not None), default=None)


class _Call(NamedTuple):
    at: datetime
    unit: str
    failed: bool
    latency_ms: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read.

    Attributes:
        requests: Of the task since the beginning, with what decided them, by id and in their order.
        calls: Of the student.
        reference: Whole answers of the small model before it.
    """

    requests: Mapping[str, Row[Any]]
    outcomes: Outcomes
    calls: Sequence[_Call]
    reference: Sequence[Timed]


def _read(
    ledger: Ledger,
    declared: TaskSettings,
    task: str,
    student: str,
    before: str | None,
    since: datetime,
    patience: timedelta = ABSENT_FOR,
) -> _Seen:
    requests = {row.id: row for row in ledger.rows(_requests_query(task, since))}
    outcomes = read_outcomes(ledger, task, audit_share=declared.audit_share, student=student, since=since)
    its_own = _calls_query(task, schema.calls.c.model == served_name(student)).where(_came(since))
    is_coming = _is_coming(patience)
    calls = [
        _Call(row.at, unit_of(row), not _whole(row), row.latency_ms)
        for row in ledger.rows(its_own.order_by(schema.calls.c.at, schema.calls.c.id))
        if (row.role != Role.LIVE or row.request_status != HUNG_UP) and _by_proxy(row) and not is_coming(row)
    ]
    return _Seen(requests, outcomes, calls, _reference(ledger, task, before, since))


def _by_proxy(row: Any) -> bool:
    """Whether a call was made while its request was there.

    An evaluation asks older prompts many at a time: how slow that is says nothing of live traffic.
    """
    return bool(row.at - row.request_at <= FROM_A_PROXY)


def _is_coming(patience: timedelta) -> Callable[[Any], bool]:
    """Tells, call by call in their order, which were for a student that its server does not have yet.

    After a restart or a rollback it comes within moments, a checkpoint within minutes; and a server that is
    away is away for every student. What is not there for longer fails.
    """
    since: datetime | None = None

    def tell(row: Any) -> bool:
        nonlocal since
        away = row.status == ABSENT or (row.status == 0 and UNREACHABLE in (row.error or ""))
        since = (since or row.at) if away else None
        return since is not None and row.at - since < patience

    return tell


def _came(since: datetime) -> ColumnElement[bool]:
    return schema.requests.c.at >= since


def _requests_query(task: str, since: datetime) -> Select[Any]:
    r, d = schema.requests, schema.decisions
    names = ("mode", "reason", "student", "arm", "gain", "threshold", "explored")
    return (
        select(
            *(r.c[name] for name in ("id", "at", "conversation", "tenant", "prompt_hash", "body", "status")),
            *(d.c[name] for name in names),
        )
        .select_from(r.join(d, d.c.request == r.c.id))
        .where(r.c.task == task, _came(since))
        .order_by(r.c.at, r.c.id)
    )


def _calls_query(task: str, of_model: ColumnElement[bool]) -> Select[Any]:
    r, c = schema.requests, schema.calls
    return (
        select(
            *(c.c[name] for name in ("at", "role", "status", "complete", "latency_ms", "error")),
            *(r.c[name] for name in ("id", "conversation", "tenant")),
            r.c.at.label("request_at"),
            r.c.status.label("request_status"),
        )
        .select_from(c.join(r, r.c.id == c.c.request))
        .where(r.c.task == task, c.c.tier == Tier.SMALL, c.c.role.in_(ASKED_OF_IT), of_model)
    )


def _reference(ledger: Ledger, task: str, before: str | None, since: datetime) -> list[Timed]:
    """Whole answers of the small model before: the newest from before a time, and all after it.

    So many of the newest are read that those of an evaluation are few among them.
    """
    model = schema.calls.c.model
    its_own = ~model.startswith(PREFIX) if before is None else model == served_name(before)
    whole = _calls_query(task, its_own).where(
        schema.calls.c.complete, schema.calls.c.status.between(200, 299)
    )
    at = schema.calls.c.at
    earlier = ledger.rows(whole.where(at < since).order_by(at.desc()).limit(READ_FOR_REFERENCE))
    later = ledger.rows(whole.where(at >= since))
    live = [*islice(filter(_by_proxy, earlier), REFERENCE), *filter(_by_proxy, later)]
    return [Timed(row.at.timestamp(), row.latency_ms) for row in live]


def unit_of(row: Any) -> str:
    """What a request was drawn into an arm by, as the proxy names it: its conversation, or itself."""
    return row.id if row.conversation is None else f"{row.tenant} {row.conversation}"


def group_of(row: Any) -> str:
    """What a request's answers count with: its conversation, or else all requests of its prompt."""
    return f"prompt {row.prompt_hash}" if row.conversation is None else unit_of(row)


def _whole(row: Any) -> bool:
    return bool(200 <= row.status < 300 and row.complete)


def _errors(seen: _Seen) -> Series:
    return Series([float(call.failed) for call in seen.calls], [call.unit for call in seen.calls])


def _timed(calls: Iterable[_Call]) -> list[Timed]:
    return [Timed(call.at.timestamp(), call.latency_ms, call.unit) for call in calls if not call.failed]


def _gains(ledger: Ledger, router: str | None, seen: _Seen) -> dict[str, bool]:
    """Which of the pairs a router would send to small, by request."""
    if router is None or seen.outcomes.pairs.empty:
        return {}
    model = RouterModel.from_bytes(Registry(ledger).artifact(router).content)
    pairs = _unbiased(seen)
    prompts = read_prompts(ledger, pairs["body"]).by_body
    return {
        request: model.score(prompts[body]).gain <= model.threshold
        for request, body in zip(pairs["id"], pairs["body"], strict=True)
        if body in prompts
    }


def _unbiased(seen: _Seen) -> pd.DataFrame:
    """The labelled pairs that stand for all requests: in mode route the explored ones alone."""
    pairs = seen.outcomes.labelled_pairs
    drawn = pairs["strong_drawn"] & pairs["small_drawn"]
    return pairs[drawn & ((pairs["mode"] != Mode.ROUTE) | pairs["explored"])].reset_index(drop=True)


def _regrets(seen: _Seen, student: str, would: Mapping[str, bool]) -> Series:
    """Regret of the student's router on every pair: as it decided, or else as it `would` have."""
    values, units = [], []
    pairs = _unbiased(seen)
    for request, strong, small in zip(pairs["id"], pairs["strong_good"], pairs["small_good"], strict=True):
        row = seen.requests.get(request)
        if row is None:
            continue
        decided = row.student == student and row.gain is not None
        to_small = row.gain <= row.threshold if decided else would.get(request)
        if to_small is not None:
            values.append(strong * (1 - small) if to_small else 0.0)
            units.append(group_of(row))
    return Series(values, units)


def _shadow_labelled(seen: _Seen, student: str) -> int:
    calls = seen.outcomes.calls
    its_own = (calls["model"] == served_name(student)) & (calls["role"] == Role.SHADOW)
    return int(calls.loc[its_own & calls["good"].notna(), "request"].nunique())


def _waiting(seen: _Seen, horizon: datetime | None) -> int:
    return 0 if horizon is None else sum(row.at >= horizon for row in seen.requests.values())


class _Answer(NamedTuple):
    """A request of an arm and what became of it.

    Attributes:
        step: Place of the trial's step in which its unit came.
        share: With which the unit was drawn into the canary.
        quality: NaN where it has no label that counts.
        answered: Whether its client received a whole answer.
        hung_up: Whether the client did not wait for it: nobody's fault, and it counts for nothing.
    """

    at: datetime
    unit: str
    group: str
    step: int
    canary: bool
    share: float
    quality: float
    answered: bool
    hung_up: bool


def _in_arms(seen: _Seen, trial: Trial, settling: timedelta) -> Iterator[_Answer]:
    """The requests of the two arms; what a unit asked after it had gone over to the other is left out.

    So is what came while the small model slept, for another task's training, say: strong answered both arms.
    """
    quality = _quality_by_request(seen.outcomes)
    drawn: dict[str, tuple[bool, int | None]] = {}
    for row in seen.requests.values():
        if row.arm is None or row.reason == Reason.ASLEEP:
            continue
        unit, canary = unit_of(row), row.arm == Arm.CANARY
        if unit not in drawn:
            drawn[unit] = canary, trial.step_at(row.at, settling)
        arm, step = drawn[unit]
        if step is None or not (share := trial.steps[step].share) or arm is not canary:
            continue
        answered, hung_up = row.id in quality, row.status == HUNG_UP
        value = math.nan if hung_up else quality.get(row.id, 0.0)
        yield _Answer(row.at, unit, group_of(row), step, canary, share, value, answered, hung_up)


def _quality_by_request(outcomes: Outcomes) -> dict[str, float]:
    """The quality of the whole answer that a client received, by request; NaN where no label counts."""
    calls = outcomes.calls
    whole = calls["ok"] & calls["complete"].astype(bool) & calls["role"].isin(ANSWERING)
    answers = calls[whole].drop_duplicates("request", keep="last")
    good = answers["good"].where(answers["drawn"])
    return dict(zip(answers["request"], good.astype(float), strict=True))


def _arms(requests: Sequence[_Answer], horizon: datetime | None) -> list[ArmRow]:
    units: dict[str, list[_Answer]] = {}
    for one in requests:
        units.setdefault(one.unit, []).append(one)
    return [_arm_row(answers, horizon) for answers in units.values()]


def _arm_row(answers: Sequence[_Answer], horizon: datetime | None) -> ArmRow:
    first = answers[0]
    before = [one for one in answers if horizon is None or one.at < horizon]
    lost = [float(math.isnan(one.quality)) for one in before if not one.hung_up]
    return ArmRow(
        first.group,
        first.step,
        first.canary,
        first.share,
        _mean([one.quality for one in answers]),
        _mean([one.quality for one in before]),
        _mean(lost),
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _counted(requests: Sequence[_Answer], arm: Arm, horizon: datetime | None) -> ArmCount:
    mine = [one for one in requests if one.canary is (arm is Arm.CANARY)]
    unlabelled = [one for one in mine if math.isnan(one.quality) and not one.hung_up]
    waiting = sum(horizon is not None and one.at >= horizon for one in unlabelled)
    return ArmCount(
        requests=len(mine),
        labelled=sum(one.answered and not math.isnan(one.quality) for one in mine),
        unanswered=sum(not one.answered and not one.hung_up for one in mine),
        waiting=waiting,
        unlabelled=len(unlabelled) - waiting,
        hung_up=sum(one.hung_up for one in mine),
    )
