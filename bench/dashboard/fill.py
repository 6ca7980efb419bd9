"""Fills a ledger for the benchmark: a month of a task's life, with a real router and what led to it.

Invariant: what is promoted, and what scores the traffic, is a router that was fitted on checked answers by
the product's own code; the bulk of the traffic is drawn from recorded prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from pathlib import Path

from sqlalchemy import select, update

from bench.dashboard.bulk import write
from bench.dashboard.nights import write_nights, write_student
from bench.dashboard.pattern import Pattern, make_patterns
from bench.dashboard.traffic import RARE_AT, InForce, Phases, traffic
from bench.night.fill import fill
from evals.labelling import label_all
from evals.refit import refit
from evals.replay.recording import RecordedPair, load_recording
from evals.slices.build import slice_task
from router.model import RouterModel
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import ACTOR, Artifact, Deployed, Mode, Promotion, Tier, Verdict
from stepdown.registry import Registry
from stepdown.settings import DEFAULT_TASK, Settings, load_settings
from stepdown.students import served_name

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "bench" / "recordings" / "qwen-coder.jsonl.gz"
SETTINGS = ROOT / "bench" / "demo.toml"
PERIOD = timedelta(days=30)
REQUESTS_PER_PROMPT = 100
FEWEST_PATTERNS = 100
AT_ONCE = 20_000  # requests in one transaction
LABELLING_S = 600.0
MOST_PAIRS = 50


@dataclass(frozen=True, slots=True)
class Filled:
    """What a benchmark of pages has to know of the ledger.

    Attributes:
        names: Of what decides and answers.
        patterns: What is asked; more traffic can be made of it.
        phases: When which policy was in force.
        pairs: Ids of requests with both answers and their labels, the newest first.
        night: Id of a night.
        took_s: Seconds that it took to fill.
    """

    names: InForce
    patterns: list[Pattern]
    phases: Phases
    pairs: Sequence[str]
    night: str
    took_s: float


def settings_for(home: Path, database: str | None = None) -> Settings:
    """Settings of the demo's task, with models that are not there: no page may ask them."""
    models = {tier.value: {"url": "http://127.0.0.1:9/v1", "model": f"recorded-{tier}"} for tier in Tier}
    overrides = {"home": str(home.absolute()), "dashboard": {"port": 0}, "models": models}
    if database is not None:
        overrides["database"] = database
    return load_settings(SETTINGS, environ={}, overrides=overrides)


def fill_ledger(
    ledger: Ledger,
    settings: Settings,
    requests: int,
    *,
    recorded: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Filled:
    """Fill an empty ledger with a month of traffic up to now.

    Args:
        ledger: Where to.
        settings: See `settings_for`.
        requests: How many beside those that the router is fitted on.
        recorded: How many recorded prompts the router is fitted on; None takes all.
        say: Is told how far it is.
    """
    started = time.monotonic()
    phases = _phases(now())
    pairs = load_recording(RECORDING, limit=recorded)
    fill(ledger, settings, DEFAULT_TASK, pairs, until=phases.route, over=phases.route - phases.shadow)
    label_all(ledger, settings.tasks, batch=1000, budget_s=LABELLING_S)
    router = _fitted(ledger, settings)
    model = RouterModel.from_bytes(router.content)
    names = _in_force(ledger, settings, router, model, phases)
    models = {Tier.STRONG: settings.models["strong"], Tier.SMALL: settings.models["small"]}
    wanted = max(FEWEST_PATTERNS, requests // REQUESTS_PER_PROMPT)
    patterns, bodies = make_patterns(pairs, _verdicts(ledger, pairs), models, model, wanted)
    ledger.append(bodies)
    made = traffic(patterns, phases, names, requests, rare_at=RARE_AT)
    done = 0
    while many := list(islice(made, AT_ONCE)):
        write(ledger, chain.from_iterable(many))
        done += len(many)
        say(f"{done:,} of {requests:,} requests, {time.monotonic() - started:.0f} s")
    _promote(ledger, names, router, phases)
    night = write_nights(ledger, names.student, phases)
    slice_task(ledger, DEFAULT_TASK, settings.tasks[DEFAULT_TASK])
    _analysed(ledger)
    return Filled(names, patterns, phases, _pairs(ledger), night, time.monotonic() - started)


def _phases(end: datetime) -> Phases:
    start, day = end - PERIOD, timedelta(days=1)
    return Phases(start, shadow=start + day, route=start + 4 * day, student=start + 20 * day, end=end)


def _fitted(ledger: Ledger, settings: Settings) -> Artifact:
    refit(ledger, DEFAULT_TASK, settings.tasks[DEFAULT_TASK])  # to mode shadow; a router is fitted too
    router = Registry(ledger).newest("router", DEFAULT_TASK)
    assert router is not None, "no router could be fitted on the recorded pairs"
    with ledger.writing() as connection:
        connection.execute(schema.promotions.delete())
    return router


def _in_force(
    ledger: Ledger, settings: Settings, router: Artifact, model: RouterModel, phases: Phases
) -> InForce:
    """The names, with a student and the same router anew for it."""
    student = write_student(ledger, phases.student - timedelta(days=2))
    of_student = Registry(ledger).keep(
        router.kind,
        router.task,
        router.content,
        parents=(*router.parents, student),
        settings={**router.settings, "student": student},
        summary=router.summary,
    )
    _date(ledger, {router.id: phases.route, of_student.id: phases.student})
    return InForce(
        router=router.id,
        student_router=of_student.id,
        threshold=model.threshold,
        student=student,
        strong=settings.models["strong"].model,
        small=settings.models["small"].model,
        served=served_name(student),
    )


def _date(ledger: Ledger, dates: dict[str, datetime]) -> None:
    table = schema.artifacts
    with ledger.writing() as connection:
        for name, at in dates.items():
            connection.execute(update(table).where(table.c.id == name).values(at=at))


def _verdicts(ledger: Ledger, pairs: list[RecordedPair]) -> dict[tuple[str, Tier], bool]:
    """Which recorded answers are good, by what the checks said of them."""
    requests, calls, labels = schema.requests, schema.calls, schema.labels
    joined = requests.join(calls, calls.c.request == requests.c.id).join(
        labels, labels.c.subject == calls.c.id
    )
    query = select(requests.c.prompt_hash, calls.c.tier, labels.c.verdict).select_from(joined)
    return {(row.prompt_hash, Tier(row.tier)): row.verdict == Verdict.GOOD for row in ledger.rows(query)}


def _promote(ledger: Ledger, names: InForce, router: Artifact, phases: Phases) -> None:
    trial = Deployed(Mode.ROUTE, names.router, None, names.student, names.student_router)
    steps = (
        (phases.shadow, Deployed(Mode.SHADOW), "labels are coming in"),
        (phases.route, Deployed(Mode.ROUTE, names.router), "the bound is kept"),
        (phases.student - timedelta(days=2), trial, "the gate let the student in"),
        (
            phases.student - timedelta(days=1),
            trial._replace(candidate_share=0.1),
            "its shadow calls went well",
        ),
        (phases.student, Deployed(Mode.ROUTE, names.student_router, names.student), "the canary went well"),
    )
    ledger.append(
        Promotion(
            task=DEFAULT_TASK,
            sequence=number + 1,
            at=at,
            **deployed._asdict(),
            actor=ACTOR,
            reason=reason,
            evidence=dict(router.summary) if deployed.artifact else {},
        )
        for number, (at, deployed, reason) in enumerate(steps)
    )


def _pairs(ledger: Ledger) -> list[str]:
    decisions = schema.decisions
    query = select(decisions.c.request).where(decisions.c.explored).order_by(decisions.c.request.desc())
    return [str(row.request) for row in ledger.rows(query.limit(MOST_PAIRS))]


def _analysed(ledger: Ledger) -> None:
    """Statistics for the planner, as autovacuum makes them in PostgreSQL; SQLite is used without any."""
    if ledger.engine.dialect.name == "postgresql":
        with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
