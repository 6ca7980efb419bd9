"""A ledger that has everything a page can show: the demo's task, and one whose students are distilled.

Invariant: all of it was made by the product: the demo's replay through the real service, and three nights of
the real rooms with a fake trainer. Only the times are spread over two weeks afterwards.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from msgspec import structs
from sqlalchemy import func, select

from bench.dashboard.fill import RECORDING, SETTINGS
from bench.dashboard.spread import Knot, spread
from distill.bill.keep import keep_roll
from evals.queue import rank
from evals.rollups.fill import roll_up
from evals.slices.build import slice_task
from evals.summary.keep import report_and_summaries
from evals.summary.operations import keep_operations
from stepdown.heartbeat import worker_beat
from stepdown.ids import new_id, now
from stepdown.ledger import Ledger, schema
from stepdown.records import Request
from stepdown.settings import DEFAULT_TASK, Settings, load_settings
from tests.school import a_world, three_nights

SUMS = "sums"
PERIOD = timedelta(days=14)
QUIET = timedelta(minutes=5)  # since the last request
PAUSE = timedelta(hours=1)
QUEUES = ("labels", "fits", "evals", "students", "nights")
NIGHT_AT = time(2, 30, tzinfo=UTC)
NIGHT_TAKES = timedelta(hours=1, minutes=40)
REPLAY_S = 1200.0


def make_showcase(home: Path, *, limit: int | None = None, bound: float | None = None) -> Settings:
    """Make the ledger `home/ledger.db`, and return settings that name it.

    Args:
        home: A folder that is not there yet.
        limit: How many of the recorded prompts the demo uses; None is all.
        bound: That the demo's router is to keep; None is that of its settings.
    """
    more = {"--limit": limit, "--max-quality-loss": bound}
    replayed = _replay(home / "demo", [f"{name}={value}" for name, value in more.items() if value])
    school = _school(home / "school")
    settings = structs.replace(
        replayed,
        home=str(home.absolute()),
        database=None,
        models={
            **replayed.models,
            "large": school.models["strong"],
            "tiny": school.models["small"],
        },
        tasks={**replayed.tasks, SUMS: structs.replace(school.tasks[SUMS], strong="large", small="tiny")},
    )
    shutil.copy(home / "demo" / "ledger.db", home / "ledger.db")
    shutil.copytree(home / "school" / "students", home / "students")
    ledger = Ledger(settings.database_url)
    try:
        other = Ledger(f"sqlite:///{home / 'school' / 'ledger.db'}")
        _add(ledger, other)
        other.close()
        _finish(ledger, settings)
    finally:
        ledger.close()
    return settings


def come_alive(ledger: Ledger) -> None:
    """Let the workers beat once, as they do where they run."""
    for queue in QUEUES:
        ledger.beat(worker_beat(queue))


def _replay(home: Path, options: list[str]) -> Settings:
    """Run the demo; its service has ended and left its ledger whole."""
    command = [sys.executable, "-m", "stepdown", "replay", str(RECORDING), "--settings", str(SETTINGS)]
    command += ["--home", str(home), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=REPLAY_S)
    settings = load_settings(home / "replay.json")
    ledger = Ledger(settings.database_url)
    try:
        spread(ledger, _without_pause(ledger, now() - QUIET))
        _checkpoint(ledger)
    finally:
        ledger.close()
    return settings


def _school(home: Path) -> Settings:
    """Three nights of a task; each is put into the night of its date."""
    home.mkdir(parents=True)
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    try:
        end = now() - QUIET
        early = _early_request(end - PERIOD)  # else no night before today would be due
        ledger.append([early])
        with a_world(ledger, home, SUMS) as world:
            world.eve = end - timedelta(days=5)
            three_nights(world)
        with ledger.writing() as connection:
            connection.execute(schema.requests.delete().where(schema.requests.c.id == early.id))
        asked = _asked(ledger)
        spread(ledger, [Knot(asked[0], end - PERIOD), *_nights(ledger), *_ending(ledger, asked[-1], end)])
        _checkpoint(ledger)
    finally:
        ledger.close()
    return world.settings


def _early_request(at: datetime) -> Request:
    return Request(
        id=new_id(),
        at=at,
        task=SUMS,
        tenant="",
        conversation=None,
        model_asked="stepdown",
        stream=False,
        prompt_hash="",
        body="",
        reference=None,
        check=None,
        slice=None,
        status=429,
        latency_ms=0.0,
    )


def _nights(ledger: Ledger) -> list[Knot]:
    nights, events = schema.nights, schema.night_events
    joined = nights.join(events, events.c.night == nights.c.id)
    ends = func.min(events.c.at).label("begun"), func.max(events.c.at).label("ended")
    query = select(nights.c.date, *ends).select_from(joined).group_by(nights.c.date).order_by(nights.c.date)
    knots = []
    for row in ledger.rows(query):
        begins = datetime.combine(datetime.fromisoformat(row.date), NIGHT_AT)
        knots += [Knot(row.begun, begins), Knot(row.ended, begins + NIGHT_TAKES)]
    return knots


def _asked(ledger: Ledger) -> list[datetime]:
    return [row.at for row in ledger.rows(select(schema.requests.c.at).order_by(schema.requests.c.at))]


def _without_pause(ledger: Ledger, end: datetime) -> list[Knot]:
    """The demo waits for its router between learning and routing; traffic does not."""
    asked = _asked(ledger)
    resumed = max(range(1, len(asked)), key=lambda number: asked[number] - asked[number - 1])
    learnt = end - PERIOD + PERIOD * (resumed / len(asked))
    return [
        Knot(asked[0], end - PERIOD),
        Knot(asked[resumed - 1], learnt),
        Knot(asked[resumed], learnt + PAUSE),
        *_ending(ledger, asked[-1], end),
    ]


def _ending(ledger: Ledger, last_asked: datetime, end: datetime) -> list[Knot]:
    """The last request is of the end; what came of it follows within minutes."""
    return [Knot(last_asked, end), Knot(max(_last(ledger), last_asked + QUIET), end + QUIET)]


def _last(ledger: Ledger) -> datetime:
    tables = (schema.requests, schema.calls, schema.labels, schema.promotions, schema.night_events)
    newest: list[datetime | None] = [ledger.rows(select(func.max(table.c.at)))[0][0] for table in tables]
    return max(at for at in newest if at is not None)


def _checkpoint(ledger: Ledger) -> None:
    """Put all into the one file, which is copied."""
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _add(ledger: Ledger, other: Ledger) -> None:
    """Add all that another ledger has."""
    with ledger.writing() as connection:
        for table in schema.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in other.rows(select(table))]
            if rows:
                connection.execute(table.insert().prefix_with("OR IGNORE"), rows)


def _finish(ledger: Ledger, settings: Settings) -> None:
    """What the workers keep."""
    for name, task in settings.tasks.items():
        slice_task(ledger, name, task)
        rank(ledger, name, task)
        report_and_summaries(ledger, settings, name)
        if task.student is not None:
            keep_roll(ledger, settings, name)
    roll_up(ledger, budget_s=600.0)
    keep_operations(ledger, settings)
    assert DEFAULT_TASK in settings.tasks
    _checkpoint(ledger)
