"""The records of the ledger, as frozen values.

Invariant: a record is a fact about the past and is never changed; what comes later (a label, a
promotion) is a record of its own. The module knows nothing of storage. Ids are UUIDv7 as text, times
are UTC, money is in integer micro-dollars (None is unknown, which is not zero).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

ACTOR = "auto"  # of what no person asked for
HUNG_UP = 499  # status of a request whose client left before the end of the answer


class Mode(enum.StrEnum):
    """Phase of a task: who answers, and what is learnt."""

    STRONG = "strong"
    SHADOW = "shadow"
    ROUTE = "route"


class Tier(enum.StrEnum):
    """Which of a task's two models."""

    STRONG = "strong"
    SMALL = "small"


class Arm(enum.StrEnum):
    """Whose policy decided a request while a candidate is tried on live traffic."""

    CONTROL = "control"
    CANARY = "canary"


class Role(enum.StrEnum):
    """Why an upstream call was made.

    A candidate is an answer of the strong tier's portfolio that was not picked for the client.
    """

    LIVE = "live"
    CANDIDATE = "candidate"
    SHADOW = "shadow"
    JUDGE = "judge"
    ESCALATION = "escalation"


ANSWERING = (Role.LIVE, Role.ESCALATION)  # whose answer the client receives


class Verdict(enum.StrEnum):
    """What a labeller says; `unscored` is a failure to label, excluded and counted."""

    GOOD = "good"
    BAD = "bad"
    UNSCORED = "unscored"


class Reason(enum.StrEnum):
    """Why a request went where it went, in the words shown to users."""

    MODE_STRONG = "mode_strong"
    MODE_SHADOW = "mode_shadow"
    ROUTED_SMALL = "gain_below_threshold"
    ROUTED_STRONG = "gain_above_threshold"
    EXPLORED = "exploration"
    NAMED = "model_named"
    NO_ARTIFACT = "no_artifact"
    BAD_ARTIFACT = "artifact_refused"
    NO_SMALL_MODEL = "no_small_model"
    ASLEEP = "small_model_asleep"
    UNROUTABLE = "request_not_routable"
    CONVERSATION = "conversation_pinned"
    FALLBACK = "small_model_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked.

    Attributes:
        prompt_hash: Hash of the normalised prompt: requests that share it are duplicates.
        tenant: First 16 hex digits of the SHA-256 of the caller's key; empty for anonymous.
        reference: What a check compares the answer with, as JSON text.
        check: Name of the task's check that the caller asked for, or None for the task's default.
        slice: The caller's tag for the kind of query.
        status: HTTP status that the client received; 499 where the client hung up first.
        trace: W3C `traceparent` of the proxy's span, where traces are made.
    """

    id: str
    at: datetime
    task: str
    tenant: str
    conversation: str | None
    model_asked: str
    stream: bool
    prompt_hash: str
    body: str
    reference: str | None
    check: str | None
    slice: str | None
    status: int
    latency_ms: float
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a request went where it went. At most one for each request.

    Attributes:
        policy: Artifact id of the router that was consulted, or `none`.
        propensity: Probability with which the chosen model was chosen, in (0, 1].
        shadowed: Whether the other model was asked too, unseen by the client.
        student: Artifact id of the student that was the small model; None is the model as declared.
        arm: Whose policy decided, where a candidate is tried on live traffic; else None.
    """

    request: str
    at: datetime
    mode: Mode
    policy: str
    chosen: Tier
    reason: Reason
    propensity: float = 1.0
    p_strong: float | None = None
    p_small: float | None = None
    gain: float | None = None
    threshold: float | None = None
    explored: bool = False
    shadowed: bool = False
    student: str | None = None
    arm: Arm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One upstream call.

    Attributes:
        tier: Which of the task's models was asked; strong for a judge, which is neither.
        status: HTTP status of the upstream; 0 where there was none (connection failed, timeout).
        complete: Whether the whole answer was received.
        usage_estimated: Whether the tokens are an estimate of what had been read and produced when the
            answer broke off before the upstream had counted them: four characters a token.
        body: Digest of the answer's body as the upstream sent it (JSON or SSE), or None.
    """

    id: str
    request: str
    at: datetime
    role: Role
    tier: Tier
    model: str
    status: int
    complete: bool
    latency_ms: float
    ttft_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    usage_estimated: bool = False
    cost_usd_micros: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One verdict of one labeller on one call; the key is (subject, labeller, version).

    A comparison of two calls makes a label for each: the better one is good, the worse one bad, and a tie
    leaves both good.

    Attributes:
        subject: Id of the call.
        labeller: Its kind and name; see `stepdown.labellers`.
        version: Changes with whatever could change the verdict.
        score: In [0, 1], or None where unscored; of a comparison 1 won, 0.5 tied, 0 lost.
        evidence: What was compared with what, in words.
        cost_usd_micros: What the label cost beside calls, which carry their own cost.
    """

    subject: str
    labeller: str
    version: str
    at: datetime
    verdict: Verdict
    score: float | None
    evidence: str
    cost_usd_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a user of the application said of an answer.

    Attributes:
        id: Hash of all else but the time, and of the feedback it replaces: the same sent twice is kept once,
            and a mind changed back is a record of its own.
        kind: `thumb`, `score`, `comment`, `outcome` or `edit`.
        value: JSON text.
    """

    id: str
    request: str
    at: datetime
    kind: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """A whole answer of a model to what no client asked: an evaluation's, or a trial's.

    Of the playground one that was stopped is kept too, for it was paid for; none of those is used again.

    Attributes:
        key: Hash of the model's identity, the request's body and the number of the sample.
        task: On whose bill it is.
        purpose: `eval`, `trial`, `judge`, `practice` or `playground`.
        body: Digest of the answer's body.
    """

    key: str
    at: datetime
    task: str
    purpose: str
    model: str
    latency_ms: float
    ttft_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd_micros: int | None = None
    finish_reason: str | None = None
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something made from the ledger, named by the hash of its content.

    Attributes:
        kind: `router`, `report`, `slices`, `eval`, `audit` (of a judge), `dataset`, `student`,
            `practice`, `gate` or `night`.
        parents: Ids or hashes of what it was made from.
        settings: The settings that shaped it, code version included.
        summary: What a reader needs to judge it: counts, estimates with n and interval.
    """

    id: str
    kind: str
    task: str
    at: datetime
    content: bytes
    parents: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


class Deployed(NamedTuple):
    """What is in force for a task.

    Attributes:
        artifact: The router, or None.
        student: Artifact id of the student that is the small model; None is the model as declared.
        candidate: Artifact id of a student under trial, or None.
        candidate_router: The router fitted on the candidate's own outcomes, or None while it has none.
        candidate_share: Share of requests, in [0, 1), that the candidate's policy decides; 0 is shadow.
        max_quality_loss: The bound that a person set, in (0, 1); None is that of the settings.
    """

    mode: Mode = Mode.STRONG
    artifact: str | None = None
    student: str | None = None
    candidate: str | None = None
    candidate_router: str | None = None
    candidate_share: float = 0.0
    max_quality_loss: float | None = None

    @property
    def settled(self) -> Deployed:
        """The same without a candidate."""
        return self._replace(candidate=None, candidate_router=None, candidate_share=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What is in force for a task was changed; the newest promotion of a task is in force.

    The fields that it shares with `Deployed` say what is in force from now on.

    Attributes:
        sequence: 1, 2, 3, … within the task; its uniqueness makes a promotion a compare-and-set.
        actor: Who moved it: `auto`, or the name a person gave.
        evidence: The numbers that justify it.
    """

    task: str
    sequence: int
    at: datetime
    mode: Mode
    artifact: str | None
    actor: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    student: str | None = None
    candidate: str | None = None
    candidate_router: str | None = None
    candidate_share: float = 0.0
    max_quality_loss: float | None = None

    @property
    def deployed(self) -> Deployed:
        """What is in force by it."""
        return Deployed(*(getattr(self, name) for name in Deployed._fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One run of the nightly distillation of a task.

    Attributes:
        id: The task and the date, `TASK/2026-11-22`; one that a person started has the time too.
        date: The day, in the time zone of the settings, whose night it is.
        actor: Who started it: `auto`, or the name a person gave.
    """

    id: str
    task: str
    date: str
    at: datetime
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NightEvent:
    """Something that happened in a night; the key is (night, stage, event), so a stage ends once.

    Attributes:
        event: `started`, `ended`, or `started 2`, … where it was taken up again; `asleep 1`, `awake 1`, …
            where servers were put to sleep for it.
        outcome: Of an end: `done`, `skipped`, `stopped` or `failed`; else empty.
        reason: In words, for the reader.
        found: What later stages and the report need, as JSON values.
    """

    night: str
    stage: str
    event: str
    at: datetime
    outcome: str = ""
    reason: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One point of a training's curves; the key is (run, step, kind).

    Attributes:
        run: Names the training: hash of what it is made from.
        kind: `train` or `validation`.
        values: `loss`, `learning_rate`, `tokens`, … as JSON values.
    """

    run: str
    step: int
    kind: str
    at: datetime
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense:
    """Money spent on a task beside calls and labels: the hours of a machine.

    Attributes:
        id: Of the work and of the stretch of it that was paid for, so that it is kept once.
        kind: `training`, `export` or `serving`.
        subject: What it was spent on: a run, a student.
        cost_usd_micros: None where the price is not known, which is not zero.
    """

    id: str
    at: datetime
    task: str
    kind: str
    subject: str
    seconds: float
    cost_usd_micros: int | None
