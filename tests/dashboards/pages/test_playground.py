"""The page of the playground: who is on offer, what is asked without scripts, what is replayed and saved."""

from __future__ import annotations

import json
from pathlib import Path

from evals.harness.load import Reading, load_suite
from router.model import RouterModel
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.students import served_name
from tests.dashboards.asking import asked
from tests.dashboards.playground import PROMPT, Play, billed, texts, told
from tests.fakes import Asked, FakeModel, Reply, plain
from tests.router.test_model import some_weights


def test_a_newest_router_that_is_not_in_force_is_said_to_be_so(play: Play) -> None:
    dashboard = play()
    Registry(dashboard.ledger).keep(
        "router", "default", RouterModel(some_weights(), 0.1).to_bytes(), settings={}, summary={}
    )
    assert "newest router, not in force," in texts(told(dashboard, "model:small"), "score")
    html = dashboard.post("/playground/advice", user=PROMPT).text
    assert "is not in force" in html
    assert "<svg" in html
    assert "<html" not in html


def test_students_are_on_offer(play: Play, small: FakeModel) -> None:
    dashboard = play()
    student = "5" * 64
    deployed = Deployed(mode=Mode.SHADOW, student=student, candidate="6" * 64)
    assert Registry(dashboard.ledger).promote(
        "default", deployed, actor="a", reason="r", evidence={}, after=0
    )
    html = dashboard.html("/playground")
    assert f'name="ask:student:{served_name(student)}" value="on" checked' in html
    assert "on trial" in html
    found = told(dashboard, f"student:{served_name(student)}")
    assert small.asked[-1].json["model"] == served_name(student)
    assert texts(found, "text") == "From small "


def test_who_is_not_on_offer_is_refused(play: Play) -> None:
    dashboard = play()
    assert "not on offer" in texts(told(dashboard, "model:other"), "error")
    answer = dashboard.post("/playground", user=PROMPT, **{"ask:model:other": "on"})
    assert answer.status_code == 400
    assert "not on offer" in answer.text
    assert "nobody is chosen" in dashboard.post("/playground", user=PROMPT).text


def test_nothing_is_asked_without_a_token(play: Play, strong: FakeModel) -> None:
    dashboard = play()
    for path in ("/playground", "/playground/stream", "/playground/save", "/playground/advice"):
        sent = {"token": "wrong", "user": PROMPT, "column": "model:strong", "ask:model:strong": "on"}
        assert dashboard.post(path, **sent).status_code == 403
        from_elsewhere = {**sent, "token": dashboard.token()}
        assert dashboard.post(path, {"sec-fetch-site": "cross-site"}, **from_elsewhere).status_code == 403
    assert strong.asked == []
    fields = {"token": "", "column": "model:strong", "user": PROMPT}
    by_header = dashboard.post("/playground/stream", {"x-token": dashboard.token()}, **fields)
    assert by_header.status_code == 200
    assert len(strong.asked) == 1


def test_without_scripts_the_answers_come_whole_with_the_form_as_it_was(
    play: Play,
) -> None:
    dashboard = play()
    form = {"user": "<i>What</i>?", "reference": "it", "ask:policy": "on", "ask:model:small": "on"}
    html = dashboard.post("/playground", **form).text
    assert "From strong &lt;b&gt;" in html
    assert "From small" in html
    assert "&lt;i&gt;What&lt;/i&gt;?</textarea>" in html
    assert 'name="ask:model:small" value="on" checked' in html
    assert 'name="ask:model:strong" value="on" checked' not in html
    assert "What the policy would do" in html
    assert len(billed(dashboard.ledger)) == 2


def test_answers_that_were_paid_for_are_shown_though_the_ledger_is_read_no_more(
    play: Play, strong: FakeModel
) -> None:
    dashboard = play()
    form = {"token": dashboard.token(), "user": PROMPT, "ask:model:strong": "on"}

    def answered_last(asked: Asked) -> Reply:
        with dashboard.ledger.writing() as connection:
            for table in ("promotions", "replicas"):
                connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_gone")
        return plain("Worth its price.")

    strong.behaviour = answered_last
    answer = dashboard.post("/playground", **form)
    assert answer.status_code == 200
    assert "Worth its price." in answer.text
    assert "What the policy would do" in answer.text
    assert dashboard.post("/playground", **form).status_code == 503
    assert len(strong.asked) == 1


def test_a_form_that_asks_nothing_says_so_and_keeps_what_was_written(play: Play) -> None:
    answer = play().post("/playground", system="kept", **{"ask:policy": "on"})
    assert answer.status_code == 400
    assert "there is nothing to ask" in answer.text
    assert "kept</textarea>" in answer.text


def test_a_request_is_replayed(play: Play) -> None:
    dashboard = play()
    long = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 500_000}]}).encode()
    for records in (asked(1, prompt="Again <b>?"), asked(2, body=long), asked(3, body=b"none")):
        dashboard.ledger.append(records)
    assert "Again &lt;b&gt;?</textarea>" in dashboard.html("/playground", **{"from": "request-000001"})
    assert "too many to replay" in dashboard.html("/playground", **{"from": "request-000002"})
    assert "cannot be replayed" in dashboard.html("/playground", **{"from": "request-000003"})
    assert "no request &#39;gone&#39;" in dashboard.html("/playground", **{"from": "gone"})
    assert "/playground?task=default&amp;from=request-000001" in dashboard.html("/requests/request-000001")


def test_a_prompt_is_saved_as_a_case_once(play: Play, tmp_path: Path) -> None:
    dashboard = play()
    form = {"user": "Say hi.\r\nNow.", "reference": " hi ", "check": "exact"}
    answer = dashboard.post("/playground/save", **form)
    assert answer.status_code == 200
    file = tmp_path / "home" / "suites" / "default-playground.toml"
    assert "Saved as case" in answer.text
    assert 'name="to" value="/playground"' in answer.text  # not the form's address, which nobody can go to
    assert str(file) in answer.text
    assert "Say hi.\nNow.</textarea>" in answer.text
    suite = load_suite(file, Reading(tasks=dashboard.settings.tasks))
    assert [(case.prompt, case.reference, case.check) for case in suite.cases] == [
        ("Say hi.\nNow.", "hi", "exact")
    ]
    again = dashboard.post("/playground/save", **form)
    assert again.status_code == 409
    assert "already" in again.text
    refused = dashboard.post("/playground/save", user="Another.", check="")
    assert refused.status_code == 409
    assert "nothing scores it" in refused.text
    json_reference = {"user": "As JSON.", "reference": '{"a": [1]}', "check": "exact"}
    assert dashboard.post("/playground/save", **json_reference).status_code == 200
    assert load_suite(file, Reading(tasks=dashboard.settings.tasks)).cases[1].reference == {"a": [1]}


def test_a_task_without_a_small_model_has_no_policy_column(play: Play) -> None:
    dashboard = play(task={"small": None})
    html = dashboard.html("/playground")
    assert "ask:policy" not in html
    assert 'name="ask:model:strong" value="on" checked' in html
