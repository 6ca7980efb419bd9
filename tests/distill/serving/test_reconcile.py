"""Servers are made to have what the registry says, whatever they or the ledger went through."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from distill.serving import reconcile, serve
from distill.serving.servers import turn
from distill.training.identity import checkpoint_hash
from stepdown.errors import ServingError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import Settings, StudentSettings
from stepdown.students import served_name
from tests.distill.serving.students import (
    TASK,
    a_night,
    a_student,
    end,
    names,
    path_of,
    promote,
    settings_for,
)
from tests.fake_vllm import FakeVllm

LATER = timedelta(hours=2)


@pytest.fixture
def servers() -> Iterator[list[FakeVllm]]:
    with FakeVllm() as first, FakeVllm() as second:
        yield [first, second]


@pytest.fixture
def settings(tmp_path: Path, servers: list[FakeVllm]) -> Settings:
    return settings_for(tmp_path, *servers)


def look(ledger: Ledger, settings: Settings, *, later: timedelta = timedelta()) -> list[str]:
    return reconcile(ledger, settings, {}, at=now() + later)


def seen(ledger: Ledger, server: FakeVllm) -> Replica:
    (found,) = (replica for replica in Replicas(ledger).all() if replica.url == server.url)
    return found


def bring(ledger: Ledger, settings: Settings, student: Artifact, patience_s: float = 5.0) -> None:
    serve(ledger, settings, {}, TASK, student, patience_s=patience_s)


def test_every_server_gets_what_is_in_force_on_trial_and_put_back(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    old, new, tried = (a_student(ledger, settings, name) for name in ("old", "new", "tried"))
    promote(ledger, student=old.id)
    promote(ledger, student=new.id)
    promote(ledger, student=new.id, candidate=tried.id)
    said = look(ledger, settings)
    for server in servers:
        assert set(server.adapters) == names(old, new, tried)
        assert seen(ledger, server).state is State.SERVING
        assert dict(seen(ledger, server).adapters) == server.adapters
        assert seen(ledger, server).note == ""
    assert len([line for line in said if "loaded" in line]) == 6
    assert look(ledger, settings) == [], "a second look has nothing to do"


def test_a_server_that_was_started_anew_gets_its_adapters_again(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    student = a_student(ledger, settings, "one")
    promote(ledger, student=student.id)
    look(ledger, settings)
    servers[0].restart()
    assert not servers[0].adapters
    assert look(ledger, settings) == [f"server {servers[0].url}: loaded {served_name(student.id)!r}"]
    assert set(servers[0].adapters) == set(servers[1].adapters) == names(student)


def test_a_server_that_is_away_keeps_nobody_waiting_and_is_noted(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    promote(ledger, student=a_student(ledger, settings, "one").id)
    servers[0].stop()
    said = look(ledger, settings)
    assert any("cannot be reached" in line for line in said)
    assert seen(ledger, servers[0]).state is State.AWAY
    assert "cannot be reached" in seen(ledger, servers[0]).note
    assert len(servers[1].adapters) == 1
    servers[0].start()
    look(ledger, settings)
    assert len(servers[0].adapters) == 1
    assert seen(ledger, servers[0]).note == ""


def test_an_adapter_goes_when_nothing_points_at_it_any_more(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    first, second, third = (a_student(ledger, settings, name) for name in ("one", "two", "three"))
    promote(ledger, student=first.id)
    look(ledger, settings)
    promote(ledger, student=second.id)
    look(ledger, settings, later=LATER)
    assert set(servers[0].adapters) == names(first, second), "a rollback needs the first"
    promote(ledger, student=third.id)
    look(ledger, settings)
    assert set(servers[0].adapters) == names(first, second, third), "a request for it may be under way"
    look(ledger, settings, later=LATER)
    assert set(servers[0].adapters) == names(second, third)


def test_what_a_night_made_is_loaded_and_goes_after_its_end(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    night = a_night(ledger, now())
    made = a_student(ledger, settings, "made")
    a_student(ledger, settings, "made-merged", variant="merged")
    assert not [line for line in look(ledger, settings) if "merged" in line], "a variant is no mistake"
    assert set(servers[0].adapters) == names(made)
    end(ledger, night, now())
    look(ledger, settings)
    assert set(servers[0].adapters) == names(made)
    look(ledger, settings, later=LATER)
    assert not servers[0].adapters


def test_another_path_under_the_name_is_replaced(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    student = a_student(ledger, settings, "one")
    promote(ledger, student=student.id)
    name = served_name(student.id)
    servers[0].adapters[name] = "/adapters/older"
    said = look(ledger, settings)
    assert servers[0].adapters == {name: path_of(settings, "one")}
    assert f"server {servers[0].url}: reloaded {name!r}" in said


def test_servers_see_the_folder_where_it_is_mounted(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm], tmp_path: Path
) -> None:
    student = a_student(ledger, settings, "one")
    promote(ledger, student=student.id)
    (tmp_path / "mounted").symlink_to(settings.students_folder)
    trainer = msgspec.structs.replace(settings.trainer, mounted=str(tmp_path / "mounted"))
    look(ledger, msgspec.structs.replace(settings, trainer=trainer))
    assert servers[0].adapters[served_name(student.id)] == str(tmp_path / "mounted" / "one")


def a_changed_file(settings: Settings) -> None:
    (settings.students_folder / "bad" / "adapter_model.safetensors").write_text("other")


def a_lost_file(settings: Settings) -> None:
    (settings.students_folder / "bad" / "adapter_model.safetensors").unlink()


def test_files_that_are_not_as_they_were_made_are_not_sent(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    good, bad = a_student(ledger, settings, "good"), a_student(ledger, settings, "bad")
    promote(ledger, student=good.id, candidate=bad.id)
    for spoil, words in ((a_changed_file, "has another hash"), (a_lost_file, "is missing")):
        spoil(settings)
        assert any(words in line for line in look(ledger, settings))
        assert set(servers[0].adapters) == names(good), "the good one is there"
        assert words in seen(ledger, servers[0]).note


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"config_rank": 8}, "has rank 8 and not 4"),
        ({"base_hash": "1" * 64, "base": "theirs"}, "serve it under 'theirs'"),
    ],
)
def test_an_adapter_of_the_wrong_rank_or_base_is_not_sent(
    ledger: Ledger,
    settings: Settings,
    servers: list[FakeVllm],
    tmp_path: Path,
    made: dict[str, Any],
    words: str,
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    for server in servers:
        server.root = str(base)
    made = {"base_hash": checkpoint_hash(base), **made}
    promote(ledger, student=a_student(ledger, settings, "wrong", **made).id)
    assert any(words in line for line in look(ledger, settings))
    assert not servers[0].adapters
    assert words in seen(ledger, servers[0]).note


@pytest.mark.parametrize(
    ("trained_from", "declared", "fits"),
    [
        ("Qwen/a", "Qwen/a", True),
        ("Qwen/a", "Qwen/b", False),
        ("/models/a", "/srv/models/a", True),  # folders that only trainer and server see are for them to tell
        ("/models/a", "Qwen/a", True),
        ("/models/a", "here", False),  # seen from here, and it is another
    ],
)
def test_a_student_of_a_base_that_is_declared_no_more_is_not_sent(
    ledger: Ledger,
    settings: Settings,
    servers: list[FakeVllm],
    tmp_path: Path,
    trained_from: str,
    declared: str,
    fits: bool,
) -> None:
    """Under a base of the same shape a server would take it, and answer nonsense."""
    student = a_student(ledger, settings, "one", base=trained_from)
    promote(ledger, student=student.id)
    if declared == "here":
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "config.json").write_text("{}")
        declared = str(tmp_path / "here")
    task = settings.tasks[TASK]
    made = msgspec.structs.replace(task, student=StudentSettings(base=declared))
    settings = msgspec.structs.replace(settings, tasks={TASK: made})
    said = look(ledger, settings)
    assert bool(servers[0].adapters) is fits
    assert any("trained from" in line and "stepdown rollback" in line for line in said) is not fits


def test_a_refused_adapter_is_tried_again_later_and_later(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    promote(ledger, student=a_student(ledger, settings, "one").id)
    servers[0].load_fault = "refuses"
    assert any("no space" in line for line in look(ledger, settings))
    assert seen(ledger, servers[0]).state is State.SERVING
    (refusal,) = seen(ledger, servers[0]).refused.values()
    assert refusal["tries"] == 1
    servers[0].load_fault = None
    assert any("tried 1 times" in line for line in look(ledger, settings, later=timedelta(seconds=5)))
    assert not servers[0].adapters
    look(ledger, settings, later=timedelta(minutes=1))
    assert len(servers[0].adapters) == 1
    assert not seen(ledger, servers[0]).refused


def test_an_adapter_that_kills_a_server_is_not_sent_to_it_again_at_once(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    old, new = a_student(ledger, settings, "old"), a_student(ledger, settings, "new")
    promote(ledger, student=old.id)
    look(ledger, settings)
    promote(ledger, student=old.id, candidate=new.id)
    servers[0].load_fault, servers[0].hang_s = "dies", 0.5
    look(ledger, settings)
    assert seen(ledger, servers[0]).state is State.AWAY
    servers[0].load_fault = None
    servers[0].start()
    look(ledger, settings, later=timedelta(minutes=1))
    assert set(servers[0].adapters) == names(old), "the old student is back, and what killed it is not"
    assert set(servers[1].adapters) == names(old, new)
    look(ledger, settings, later=timedelta(minutes=11))
    assert set(servers[0].adapters) == names(old, new)


def test_a_server_without_runtime_updates_says_so_in_the_ledger(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    promote(ledger, student=a_student(ledger, settings, "one").id)
    servers[0].runtime_lora = False
    look(ledger, settings)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in seen(ledger, servers[0]).note
    assert len(servers[1].adapters) == 1


def test_a_student_that_sleeps_though_nothing_is_trained_is_woken(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    promote(ledger, student=a_student(ledger, settings, "one").id)
    servers[1].asleep = True
    assert any("woken" in line for line in look(ledger, settings))
    assert not servers[1].asleep
    assert len(servers[1].adapters) == 1


def test_servers_that_the_settings_have_no_more_are_forgotten(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    look(ledger, settings)
    small = msgspec.structs.replace(settings.models["small"], replicas=())
    look(ledger, msgspec.structs.replace(settings, models={"small": small}))
    assert [replica.url for replica in Replicas(ledger).all()] == [servers[0].url]


def test_two_looks_do_not_fight(ledger: Ledger, settings: Settings, servers: list[FakeVllm]) -> None:
    promote(ledger, student=a_student(ledger, settings, "one").id)
    with turn(ledger, "small") as held:
        assert held
        assert look(ledger, settings) == []
    assert not servers[0].did
    look(ledger, settings)
    assert len(servers[0].did) == 1


def test_models_that_serve_as_they_are_are_left_alone(
    ledger: Ledger, servers: list[FakeVllm], tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, *servers, serving="as_is")
    promote(ledger, student=a_student(ledger, settings, "one").id)
    assert look(ledger, settings) == []
    assert Replicas(ledger).all() == []


def test_a_key_that_is_missing_is_said_and_stops_nothing(
    ledger: Ledger, servers: list[FakeVllm], tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, *servers, api_key_env="SMALL_KEY")
    assert any("SMALL_KEY" in line for line in look(ledger, settings))


def test_serve_returns_when_every_server_has_it_and_answers(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    student = a_student(ledger, settings, "one")
    other = "stepdown-student-" + "9" * 24
    servers[0].adapters[other] = "/theirs"
    bring(ledger, settings, student)
    for server in servers:
        assert names(student) <= set(server.adapters)
        assert server.asked[-1]["model"] == served_name(student.id)
    assert other in servers[0].adapters, "to serve one takes nothing from another"


def test_serve_waits_for_a_server_that_is_away(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    student = a_student(ledger, settings, "one")
    servers[0].stop()
    with pytest.raises(ServingError, match="cannot be reached"):
        bring(ledger, settings, student, patience_s=0.0)
    servers[0].start()
    bring(ledger, settings, student)
    assert set(servers[0].adapters) == names(student)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("refuses", "no space"), ("dies", "while it was to load"), ("ignores", "serves an older adapter")],
)
def test_serve_says_why_a_server_does_not_take_it_and_the_old_student_stays(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm], fault: Any, words: str
) -> None:
    old, new = a_student(ledger, settings, "old"), a_student(ledger, settings, "new")
    promote(ledger, student=old.id)
    look(ledger, settings)
    servers[0].load_fault, servers[0].hang_s = fault, 0.5
    with pytest.raises(ServingError, match=words):
        bring(ledger, settings, new)
    assert served_name(new.id) in seen(ledger, servers[0]).refused
    assert names(old) <= set(servers[1].adapters)
    if fault != "dies":
        assert names(old) <= set(servers[0].adapters)


def test_serve_of_an_adapter_that_gives_no_answer(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    from tests.fake_vllm import Failure

    servers[1].answer = lambda _model, _body: Failure(400, "there is no chat template")
    with pytest.raises(ServingError, match="there is no chat template"):
        bring(ledger, settings, a_student(ledger, settings, "one"))


def test_serve_refuses_what_the_model_does_not_serve(
    ledger: Ledger, servers: list[FakeVllm], tmp_path: Path
) -> None:
    as_is = settings_for(tmp_path, *servers, serving="as_is")
    student = a_student(ledger, as_is, "one")
    with pytest.raises(ServingError, match=r"set models\.small\.serving"):
        bring(ledger, as_is, student)
    adapters = settings_for(tmp_path, *servers)
    with pytest.raises(ServingError, match="is of variant 'merged'"):
        bring(ledger, adapters, a_student(ledger, adapters, "whole", variant="merged"))
