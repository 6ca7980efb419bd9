"""The app's configuration: what keeps work safe is set, and set where each broker looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import select

from stepdown.ledger import Ledger, schema
from stepdown.settings import (
    JudgeSettings,
    ModelSettings,
    Settings,
    StudentSettings,
    TaskSettings,
    WorkerSettings,
)
from tests.processes import settings_in
from workers import names
from workers.factory import create_celery, hard_limit_s, schedule

REDIS = "redis://127.0.0.1:1/3"


@pytest.mark.parametrize("broker", [None, REDIS])
def test_a_message_comes_back_only_after_its_task_must_have_ended(tmp_path: Path, broker: str | None) -> None:
    conf = create_celery(settings_in(tmp_path, broker=broker)).conf
    timeouts = {
        conf.visibility_timeout,
        conf.broker_transport_options["visibility_timeout"],
        conf.result_backend_transport_options["visibility_timeout"],
    }
    assert len(timeouts) == 1
    assert timeouts.pop() > conf.task_time_limit > conf.task_soft_time_limit


@pytest.mark.parametrize("broker", [None, REDIS])
def test_what_keeps_work_safe_is_on(tmp_path: Path, broker: str | None) -> None:
    conf = create_celery(settings_in(tmp_path, broker=broker)).conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result
    assert conf.accept_content == ["json"]
    assert conf.broker_connection_retry_on_startup
    assert not conf.worker_hijack_root_logger


def test_every_name_has_a_task_and_every_hint_a_queue(tmp_path: Path) -> None:
    task = TaskSettings(judges={"j": JudgeSettings(model="strong")}, suites=("suite.toml",))
    settings = distilling(structs.replace(settings_in(tmp_path), tasks={"default": task}))
    app = create_celery(settings)
    assert {*names.QUEUE_OF, names.HEARTBEAT} <= set(app.tasks)
    assert {entry["task"] for entry in schedule(settings).values()} == {*names.QUEUE_OF, names.HEARTBEAT}
    for entry in schedule(settings).values():
        assert entry["task"] in app.tasks
        assert entry["options"]["queue"] in names.QUEUES
        assert entry["options"]["expires"] >= entry["schedule"]
    beaten = [e["args"][0] for e in schedule(settings).values() if e["task"] == names.HEARTBEAT]
    assert sorted(beaten) == sorted(names.QUEUES)


def distilling(settings: Settings) -> Settings:
    """The settings with students, whose servers load them while they run."""
    small = ModelSettings(model="small", url="http://127.0.0.1:1/v1", serving="adapters")
    task = structs.replace(settings.tasks["default"], small="small", student=StudentSettings(base="base"))
    return structs.replace(settings, models={**settings.models, "small": small}, tasks={"default": task})


def test_where_nothing_is_distilled_no_worker_of_students_is_looked_for(tmp_path: Path) -> None:
    hints = schedule(settings_in(tmp_path)).values()
    assert not {entry["options"]["queue"] for entry in hints} & set(names.DISTILLING)


def test_a_task_that_makes_no_more_students_is_looked_at_while_one_may_be_served(tmp_path: Path) -> None:
    settings = distilling(structs.replace(settings_in(tmp_path), tasks={"default": TaskSettings()}))
    task = structs.replace(settings.tasks["default"], student=None)
    settings = structs.replace(settings, tasks={"default": task})
    hinted = {entry["task"] for entry in schedule(settings).values()}
    assert names.ROLLOUT in hinted
    assert names.NIGHT not in hinted


def test_a_task_without_judges_and_suites_sends_no_hints_for_them(tmp_path: Path) -> None:
    hinted = {entry["task"] for entry in schedule(settings_in(tmp_path)).values()}
    assert not hinted & {names.JUDGE, names.SUITES}


@pytest.mark.parametrize("hint", [names.FIT, names.REPORT, names.RANK, names.SLICES])
def test_a_hint_about_a_task_that_is_declared_no_more_is_passed_over(tmp_path: Path, hint: str) -> None:
    settings = settings_in(tmp_path)
    ledger = Ledger(settings.database_url)
    create_celery(settings).tasks[hint]("gone")
    assert ledger.rows(select(schema.artifacts)) == []
    ledger.close()


def test_messages_carry_names_and_nothing_else(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    for entry in schedule(settings).values():
        assert set(entry["args"]) <= {*names.QUEUES, *settings.tasks}


def test_making_an_app_opens_nothing(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"), worker=WorkerSettings(broker=REDIS))
    create_celery(settings)
    assert not (tmp_path / "home").exists()
    assert hard_limit_s(settings) > settings.worker.soft_limit_s
