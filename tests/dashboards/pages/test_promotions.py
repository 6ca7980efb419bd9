"""What is in force and how it came to be; every move is based on the one that was shown."""

from __future__ import annotations

import re

import pytest

from dashboards.pages.promotions import MOST_SHOWN
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.rollback import ROLLBACK_OF
from stepdown.settings import TaskSettings
from tests.dashboards.conftest import Dashboard, Open

ON_BOTH_DATABASES = True
EVIL = "<script>alert(1)</script>"
_field = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


def promote(
    ledger: Ledger, to: Deployed, *, after: int, reason: str = "because", actor: str = "auto"
) -> None:
    assert Registry(ledger).promote("default", to, actor=actor, reason=reason, evidence={"n": 3}, after=after)


def fields_of(html: str) -> dict[str, str]:
    """The hidden fields of the form of a review page."""
    main = html[html.index("<main") :]
    return dict(_field.findall(main))


def review(dashboard: Dashboard, mode: str) -> dict[str, str]:
    return fields_of(dashboard.html("/promotions/move", mode=mode))


def a_router(ledger: Ledger, content: bytes = b"weights", student: str | None = None) -> str:
    settings = {"student": student}
    return Registry(ledger).keep("router", "default", content, settings=settings, summary={}).id


def test_before_the_first_promotion_the_page_says_what_is_in_force(dashboard: Dashboard) -> None:
    html = dashboard.html("/promotions")
    assert "Mode strong, as at the beginning" in html
    assert "No promotion yet" in html
    assert "Roll back" not in html


def test_a_promotion_is_shown_before_it_is_made(dashboard: Dashboard) -> None:
    html = dashboard.html("/promotions/move", mode="shadow")
    assert "<del>strong</del>" in html
    assert "<ins>shadow</ins>" in html
    assert Registry(dashboard.ledger).current("default") is None


def test_a_promotion_is_recorded_with_who_and_why(dashboard: Dashboard) -> None:
    sent = {**review(dashboard, "shadow"), "reason": "  to learn  "}
    assert dashboard.post("/promotions/move", **sent).status_code == 303
    made = Registry(dashboard.ledger).current("default")
    assert made is not None
    assert (made.mode, made.sequence, made.reason) == (Mode.SHADOW, 1, "to learn")
    assert made.actor in dashboard.html("/promotions")
    assert "to learn" in dashboard.html("/promotions/1")


def test_of_two_tabs_that_move_the_same_task_one_is_told(dashboard: Dashboard) -> None:
    a_router(dashboard.ledger)
    promote(dashboard.ledger, Deployed(Mode.SHADOW), after=0)
    one, other = review(dashboard, "strong"), review(dashboard, "route")
    assert dashboard.post("/promotions/move", **one).status_code == 303
    answer = dashboard.post("/promotions/move", **other)
    assert answer.status_code == 409
    assert "somebody else meanwhile" in answer.text
    assert Registry(dashboard.ledger).deployed("default").mode == Mode.STRONG


def test_a_form_that_is_ahead_of_the_ledger_is_refused(dashboard: Dashboard) -> None:
    """No promotion is left out of the history, whatever a form says it is based on."""
    for after in ("7", "-1"):
        sent = {**review(dashboard, "shadow"), "after": after}
        assert dashboard.post("/promotions/move", **sent).status_code == 409
    assert Registry(dashboard.ledger).current("default") is None


def test_a_form_sent_twice_moves_once(dashboard: Dashboard) -> None:
    sent = review(dashboard, "shadow")
    assert dashboard.post("/promotions/move", **sent).status_code == 303
    answer = dashboard.post("/promotions/move", **sent)
    assert (answer.status_code, "is so already" in answer.text) == (409, True)
    assert len(Registry(dashboard.ledger).history("default")) == 1


def test_mode_route_takes_the_newest_router_of_the_model_in_service(dashboard: Dashboard) -> None:
    assert "has no router yet" in dashboard.get("/promotions/move", mode="route").text
    declared = a_router(dashboard.ledger)
    a_router(dashboard.ledger, b"of another", student="s" * 64)
    dashboard.post("/promotions/move", **review(dashboard, "route"))
    assert Registry(dashboard.ledger).deployed("default") == Deployed(Mode.ROUTE, declared)


def test_a_router_fitted_after_the_review_is_not_put_in_force(dashboard: Dashboard) -> None:
    a_router(dashboard.ledger)
    reviewed = review(dashboard, "route")
    a_router(dashboard.ledger, b"newer")
    answer = dashboard.post("/promotions/move", **reviewed)
    assert (answer.status_code, "fitted meanwhile" in answer.text) == (409, True)
    assert Registry(dashboard.ledger).current("default") is None


def test_what_is_there_already_is_no_change(dashboard: Dashboard) -> None:
    assert "Nothing would change" in dashboard.html("/promotions/move", mode="strong")


def test_a_task_without_a_small_model_stays_on_strong(open_dashboard: Open) -> None:
    dashboard = open_dashboard(tasks={"default": TaskSettings()})
    answer = dashboard.get("/promotions/move", mode="shadow")
    assert (answer.status_code, "no small model" in answer.text) == (409, True)


def test_a_mode_that_is_none_is_refused(dashboard: Dashboard) -> None:
    assert dashboard.get("/promotions/move", mode=EVIL).status_code == 400
    assert dashboard.get("/promotions/move").status_code == 400
    sent = {"task": "default", "mode": EVIL, "router": "", "after": "0"}
    assert dashboard.post("/promotions/move", **sent).status_code == 400


def test_a_form_about_another_task_than_the_page_is_refused(open_dashboard: Open) -> None:
    tasks = {"one": TaskSettings(small="small"), "other": TaskSettings(small="small")}
    dashboard = open_dashboard(tasks=tasks)
    sent = fields_of(dashboard.html("/promotions/move", mode="shadow", task="one"))
    assert dashboard.post("/promotions/move?task=other", **sent).status_code == 400
    assert dashboard.post("/promotions/move?task=one", **sent).status_code == 303
    assert Registry(dashboard.ledger).current("other") is None


def test_a_candidate_on_trial_ends_with_a_move_and_that_is_said(dashboard: Dashboard) -> None:
    trial = Deployed(Mode.SHADOW, candidate="c" * 64, candidate_share=0.05)
    promote(dashboard.ledger, trial, after=0)
    html = dashboard.html("/promotions")
    assert "5% of the traffic" in html
    html = dashboard.html("/promotions/move", mode="strong")
    assert "this ends its trial" in html
    assert "<del>5%</del>" in html
    dashboard.post("/promotions/move", **fields_of(html))
    assert Registry(dashboard.ledger).deployed("default") == Deployed(Mode.STRONG)


def test_a_rollback_puts_back_what_was_before_and_says_so(dashboard: Dashboard) -> None:
    router = a_router(dashboard.ledger)
    promote(dashboard.ledger, Deployed(Mode.SHADOW), after=0)
    promote(dashboard.ledger, Deployed(Mode.ROUTE, router, max_quality_loss=0.07), after=1)
    html = dashboard.html("/promotions/rollback")
    assert "Roll back promotion 2" in html
    assert "<del>7%</del>" in html
    assert dashboard.post("/promotions/rollback", **fields_of(html)).status_code == 303
    last = Registry(dashboard.ledger).current("default")
    assert last is not None
    assert last.deployed == Deployed(Mode.SHADOW)
    assert last.evidence == {ROLLBACK_OF: [2]}
    assert "Promotion 2 of task default was rolled back." in dashboard.html("/promotions")


def test_a_rollback_of_what_changed_meanwhile_is_refused(dashboard: Dashboard) -> None:
    promote(dashboard.ledger, Deployed(Mode.SHADOW), after=0)
    sent = fields_of(dashboard.html("/promotions/rollback"))
    promote(dashboard.ledger, Deployed(Mode.ROUTE), after=1)
    assert dashboard.post("/promotions/rollback", **sent).status_code == 409
    assert len(Registry(dashboard.ledger).history("default")) == 2


def test_nothing_to_roll_back_is_said(dashboard: Dashboard) -> None:
    assert dashboard.get("/promotions/rollback").status_code == 409
    promote(dashboard.ledger, Deployed(Mode.SHADOW), after=0)
    dashboard.post("/promotions/rollback", **fields_of(dashboard.html("/promotions/rollback")))
    answer = dashboard.get("/promotions/rollback")
    assert (answer.status_code, "nothing" in answer.text or "no promotion" in answer.text) == (409, True)


@pytest.mark.parametrize("path", ["/promotions", "/promotions/1"])
def test_html_in_what_people_wrote_is_text(dashboard: Dashboard, path: str) -> None:
    to = Deployed(Mode.SHADOW, artifact=EVIL, student=f'"{EVIL}', candidate=EVIL, candidate_share=0.1)
    assert Registry(dashboard.ledger).promote(
        "default", to, actor=EVIL, reason=EVIL, evidence={EVIL: EVIL}, after=0
    )
    html = dashboard.html(path)
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 3 or "\\u003cscript\\u003e" in html


def test_the_newest_come_first_and_no_more_than_can_be_read(dashboard: Dashboard) -> None:
    for number in range(MOST_SHOWN + 5):
        mode = Mode.SHADOW if number % 2 else Mode.STRONG
        promote(dashboard.ledger, Deployed(mode), after=number, reason=f"step {number + 1}.")
    html = dashboard.html("/promotions")
    assert html.index(f"step {MOST_SHOWN + 5}.") < html.index("step 100.")
    assert "step 5." not in html
    assert f"The newest {MOST_SHOWN} of {MOST_SHOWN + 5}." in html
    assert "step 5." in dashboard.html("/promotions/5")
