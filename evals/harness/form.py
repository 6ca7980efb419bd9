"""An evaluation as a document: what is kept, printed, drawn and compared.

Invariant: the same suite, models and answers give the same bytes: it holds no clock and no chance. Numbers
that are not known, NaN and the infinities are null. `form` grows when a reader of an older document would
misread a newer one; fields may be added without that. The meaning of each field is in `docs/suites.md`.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from evals.metrics.intervals import Estimate
from stepdown.errors import SuiteError

FORM = 1


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all parts."""


class Figure(Struct, frozen=True, kw_only=True):
    """An estimate with its interval; null is undefined, or an end that the data do not bound."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, estimate: Estimate) -> Figure:
        """The figure of an estimate."""
        value, low, high = (round(end, 12) if math.isfinite(end) else None for end in estimate[:3])
        return cls(value=value, low=low, high=high, n=estimate.n)


class SuiteLine(Struct, frozen=True, kw_only=True):
    """Which suite it was.

    Attributes:
        hash: Of the cases and of what scores them.
        cases: How many; `prompts` counts each prompt once.
    """

    name: str
    hash: str
    cases_hash: str
    description: str
    cases: int
    prompts: int


class Column(Struct, frozen=True, kw_only=True):
    """One contender: a model, a policy over two of them, or a variant of a prompt.

    Attributes:
        identity: Hash of the model, its address and the way of asking; of a policy, the router's id.
        incomplete: Whether the model was away, busy or broken for some cases, so that another run may
            have more answers.
        scored: Cases with a score.
        failed: Cases without an answer.
        unscored: Cases with an answer and without a score.
        quality: Mean score.
        latency_p50_ms: Of the answers; null where it was not measured (answers of a recording).
        cost_usd_micros: What these answers cost in total; `unpriced` of them have no known cost.
        cost_per_1000_usd_micros: Of a thousand such answers.
        coverage: Of a policy: share of cases that it gives to the small model.
        seen: Of a policy: cases whose prompt was in the task's traffic before the router was made.
    """

    name: str
    kind: Literal["model", "policy", "variant"]
    alias: str
    model: str
    identity: str
    incomplete: bool
    system: str | None = None
    user: str | None = None
    temperature: float | None = None
    samples: int = 1
    scored: int
    failed: int
    unscored: int
    quality: Figure
    latency_p50_ms: Figure | None
    latency_p95_ms: Figure | None
    ttft_p50_ms: Figure | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd_micros: int
    unpriced: int
    cost_per_1000_usd_micros: Figure
    coverage: Figure | None = None
    seen: int | None = None


class Comparison(Struct, frozen=True, kw_only=True):
    """A contender against the baseline, on the cases that both have a score for.

    Attributes:
        slice: The kind of query, or null for the whole suite.
        test: `mcnemar` (exact) for scores of 0 and 1, else `sign_flip`.
        difference: Contender minus baseline. The interval is Newcombe's (scores of 0 and 1) or the paired
            bootstrap's by prompt; both are approximate. It holds for this comparison alone.
        joint_low: The interval within which all comparisons of the family hold at once; with `joint_high`.
        better: Prompts on which the contender scored higher; `worse`: lower.
        p: Two-sided p-value; `p_holm` is corrected over the family: all contenders over the whole suite,
            or all contenders over all slices.
    """

    column: str
    baseline: str
    slice: str | None
    test: Literal["mcnemar", "sign_flip"]
    difference: Figure
    joint_low: float | None
    joint_high: float | None
    better: int
    worse: int
    p: float
    p_holm: float


class SliceLine(Struct, frozen=True, kw_only=True):
    """One kind of query: the quality of each contender on it."""

    name: str
    cases: int
    quality: dict[str, Figure]


class Sample(Struct, frozen=True, kw_only=True):
    """One answer to one case.

    Attributes:
        score: In [0, 1], or null where there is none; `why` says what was compared, or why there is none.
        text: The beginning of the answer.
        answered: Whether the model gave an answer.
        body: Digest of the answer's body in the ledger.
    """

    score: float | None
    why: str
    answered: bool
    text: str = ""
    latency_ms: float | None = None
    ttft_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd_micros: int | None = None
    body: str | None = None


class CaseLine(Struct, frozen=True, kw_only=True):
    """One case with the answers of all contenders.

    Attributes:
        key: Hash of what is asked and how it is scored.
        prompt: The beginning of its text.
        reference: JSON text of what a check compared with, cut where it is long.
        samples: By contender.
        small: Whether the policy gives it to the small model; null without a policy.
    """

    id: str
    key: str
    prompt_hash: str
    line: int
    slice: str | None
    check: str | None
    prompt: str
    reference: str | None
    samples: dict[str, list[Sample]]
    small: bool | None = None


class Suspicion(Struct, frozen=True, kw_only=True):
    """A reference that every model contradicts: it is hard, or wrong.

    Attributes:
        agreeing: Models that give the same other answer; empty where each gives its own.
        answer: Of the first agreeing model, or else of the first model.
        why: What the check compared in that answer.
    """

    case: str
    line: int
    reference: str
    agreeing: list[str]
    answer: str
    why: str


class Duplicate(Struct, frozen=True, kw_only=True):
    """Cases with one prompt; `contradictory` where their references or checks differ."""

    cases: list[str]
    contradictory: bool


class BadLineNote(Struct, frozen=True, kw_only=True):
    """A line of the suite that was left out."""

    line: int
    why: str


class Evaluation(Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        judge: Kind of the judge that scored the cases without a check; null where there was none.
    """

    form: int = FORM
    purpose: Literal["eval", "trial"]
    code_version: str
    suite: SuiteLine
    task: str
    baseline: str
    judge: Literal["pairwise", "single"] | None = None
    confidence: float
    columns: list[Column]
    comparisons: list[Comparison]
    slices: list[SliceLine]
    suspicious: list[Suspicion]
    duplicates: list[Duplicate]
    bad_lines: list[BadLineNote]
    notes: list[str]
    cases: list[CaseLine]

    def column(self, name: str) -> Column:
        """A column by its name."""
        return next(column for column in self.columns if column.name == name)


def to_json(evaluation: Evaluation) -> bytes:
    """The document as indented JSON, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=1) + b"\n"


def from_json(content: bytes, where: str) -> Evaluation:
    """Read a document.

    Raises:
        SuiteError: It is none, or of a later form; names where it came from.
    """
    try:
        form = msgspec.json.decode(content, type=_Form).form
        if form <= FORM:
            return msgspec.json.decode(content, type=Evaluation)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{where} is not an evaluation: {error}") from error
    raise SuiteError(f"{where} is of form {form}, and this version reads up to {FORM}; update stepdown")


class _Form(msgspec.Struct):
    form: int
