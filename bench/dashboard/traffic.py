"""A month of traffic as records: what the proxy writes of each request, and what the checks say of pairs.

Invariant: the same seed gives the same traffic. A task lives as tasks do: strong, then shadow, then route, in
the end with a student; what is rare in life (a fallback, a hang-up) is rare here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bench.dashboard.pattern import RARE_NUMBER, Answer, Pattern
from stepdown.ledger import Record
from stepdown.ledger.schema import EPOCH, MICROSECOND
from stepdown.records import Call, Decision, Label, Mode, Reason, Request, Role, Tier, Verdict

EXPLORATION, SHADOW_SHARE = 0.05, 0.6
RARE_AT = (0.2, 0.5, 0.9)  # where in the traffic the one rare prompt is asked
LABELLER, VERSION = "check:number", "bench"
CONVERSATIONS = 5000


@dataclass(frozen=True, slots=True)
class Phases:
    """When which policy was in force.

    Attributes:
        start: Of the traffic, in mode strong.
        shadow: From when on in mode shadow; `route` likewise.
        student: From when on the student is the small model.
        end: Of the traffic.
    """

    start: datetime
    shadow: datetime
    route: datetime
    student: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class InForce:
    """Names of what decides and answers.

    Attributes:
        router: Artifact id of the router for the small model as declared, `student_router` for the student.
        threshold: Of both routers.
        student: Artifact id of the student.
        strong: Name that calls of the strong model carry; likewise `small`, and `served` of the student.
    """

    router: str
    student_router: str
    threshold: float
    student: str
    strong: str
    small: str
    served: str


def traffic(
    patterns: Sequence[Pattern],
    phases: Phases,
    names: InForce,
    requests: int,
    *,
    rare_at: Sequence[float] = (),
    seed: int = 0,
) -> Iterator[list[Record]]:
    """The records of each request, the oldest first.

    Args:
        patterns: What is asked.
        phases: When which policy is in force.
        names: Of what decides and answers.
        requests: How many.
        rare_at: At which shares of the traffic the one rare prompt is asked.
        seed: Of chance.
    """
    chance = random.Random(seed)
    step = (phases.end - phases.start) / requests
    rare = {int(share * requests) for share in rare_at}
    for number in range(requests):
        index = RARE_NUMBER if number in rare else _other(chance, len(patterns))
        at = phases.start + number * step
        yield list(_request(chance, patterns[index], phases, names, at))


def _other(chance: random.Random, count: int) -> int:
    index = int(chance.random() * count)
    return index if index != RARE_NUMBER else index + 1


def name_of(at: datetime, chance: random.Random) -> str:
    """A UUIDv7 of a moment."""
    made = f"{(at - EPOCH) // MICROSECOND // 1000:012x}"
    noise = f"{chance.getrandbits(74):019x}"
    return f"{made[:8]}-{made[8:]}-7{noise[:3]}-8{noise[4:7]}-{noise[7:19]}"


@dataclass(frozen=True, slots=True)
class _Choice:
    mode: Mode
    chosen: Tier
    reason: Reason
    propensity: float = 1.0
    scored: bool = False
    shadowed: bool = False


def _choose(chance: random.Random, pattern: Pattern, phases: Phases, names: InForce, at: datetime) -> _Choice:
    if at < phases.shadow:
        return _Choice(Mode.STRONG, Tier.STRONG, Reason.MODE_STRONG)
    if at < phases.route:
        asked = chance.random() < SHADOW_SHARE
        return _Choice(Mode.SHADOW, Tier.STRONG, Reason.MODE_SHADOW, shadowed=asked)
    return _routed(chance.random(), chance.random(), pattern.gain <= names.threshold)


def _routed(drawn: float, odd: float, takes_small: bool) -> _Choice:
    if odd < 0.0001:
        return _Choice(Mode.ROUTE, Tier.STRONG, Reason.ASLEEP)
    if odd < 0.003:
        return _Choice(Mode.ROUTE, Tier.STRONG, Reason.FALLBACK, scored=True)
    if odd < 0.02:
        return _Choice(Mode.ROUTE, Tier.STRONG, Reason.UNROUTABLE)
    if drawn < EXPLORATION:
        share = EXPLORATION if takes_small else 1.0
        return _Choice(Mode.ROUTE, Tier.STRONG, Reason.EXPLORED, share, scored=True, shadowed=True)
    if takes_small:
        return _Choice(Mode.ROUTE, Tier.SMALL, Reason.ROUTED_SMALL, 1 - EXPLORATION, scored=True)
    return _Choice(Mode.ROUTE, Tier.STRONG, Reason.ROUTED_STRONG, scored=True)


def _request(
    chance: random.Random, pattern: Pattern, phases: Phases, names: InForce, at: datetime
) -> Iterator[Record]:
    choice = _choose(chance, pattern, phases, names, at)
    name, odd = name_of(at, chance), chance.random()
    status = 499 if odd < 0.004 else 502 if odd < 0.009 else 429 if odd < 0.012 else 200
    latency_ms = _latency_ms(chance, choice.chosen)
    learns = at >= phases.student
    yield Request(
        id=name,
        at=at,
        task="default",
        tenant="",
        conversation=f"c{chance.randrange(CONVERSATIONS)}" if chance.random() < 0.3 else None,
        model_asked="stepdown",
        stream=odd > 0.5,
        prompt_hash=pattern.prompt_hash,
        body=pattern.body,
        reference=None,
        check=None,
        slice=pattern.slice,
        status=status,
        latency_ms=latency_ms,
    )
    yield Decision(
        request=name,
        at=at,
        mode=choice.mode,
        policy=(names.student_router if learns else names.router) if choice.scored else "none",
        chosen=choice.chosen,
        reason=choice.reason,
        propensity=choice.propensity,
        p_strong=pattern.p_strong if choice.scored else None,
        p_small=pattern.p_small if choice.scored else None,
        gain=pattern.gain if choice.scored else None,
        threshold=names.threshold if choice.scored else None,
        explored=choice.reason is Reason.EXPLORED,
        shadowed=choice.shadowed,
        student=names.student if learns else None,
    )
    labelled = choice.shadowed and status == 200
    yield from _call(chance, pattern, names, name, at, choice.chosen, Role.LIVE, learns, status, labelled)
    if choice.shadowed:
        yield from _call(chance, pattern, names, name, at, Tier.SMALL, Role.SHADOW, learns, 200, labelled)


def _latency_ms(chance: random.Random, tier: Tier) -> float:
    return chance.lognormvariate(6.8 if tier is Tier.STRONG else 5.6, 0.5)


def _call(
    chance: random.Random,
    pattern: Pattern,
    names: InForce,
    request: str,
    at: datetime,
    tier: Tier,
    role: Role,
    learns: bool,
    status: int,
    labelled: bool,
) -> Iterator[Record]:
    answer, small = pattern.answers[tier], names.served if learns else names.small
    latency_ms, name = _latency_ms(chance, tier), name_of(at, chance)
    whole = status == 200
    yield Call(
        id=name,
        request=request,
        at=at,
        role=role,
        tier=tier,
        model=small if tier is Tier.SMALL else names.strong,
        status=200 if status == 499 else status,
        complete=whole,
        latency_ms=latency_ms,
        ttft_ms=latency_ms / 5 if whole else None,
        prompt_tokens=answer.prompt_tokens if whole else None,
        completion_tokens=answer.completion_tokens if whole else None,
        cost_usd_micros=answer.cost_usd_micros if whole else None,
        finish_reason="stop" if whole else None,
        error=None if whole else "the fake upstream gave up",
        body=answer.body if whole else None,
    )
    if labelled:
        yield _label(name, at, answer)


def _label(call: str, at: datetime, answer: Answer) -> Label:
    verdict = Verdict.GOOD if answer.good else Verdict.BAD
    return Label(
        subject=call,
        labeller=LABELLER,
        version=VERSION,
        at=at,
        verdict=verdict,
        score=float(answer.good),
        evidence="as recorded",
    )
