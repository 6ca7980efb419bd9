"""Students on the dashboard: where each comes from, what became of it, and the forms that move it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboards.pages.students import e_share, ladder
from distill.bill.keep import keep_roll
from distill.evaluation import keep_gate
from distill.gate import decide
from distill.rollout.keep import keep_progress
from distill.rollout.look import rollouts
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Expense, Mode, Progress, Promotion
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas, State
from stepdown.rollback import ROLLBACK_OF
from stepdown.settings import StudentSettings, TaskSettings
from stepdown.students import Manifest, served_name
from tests.dashboards.conftest import Dashboard, Open
from tests.distill.rollout.traffic import a_router, begun, in_canary, promote, settings_of
from tests.distill.test_gate import GOOD, RULES, pairs

ON_BOTH_DATABASES = True
DISTILS = {
    "default": TaskSettings(small="small", student=StudentSettings(base="tiny", canary_shares=(0.2, 0.5)))
}


@pytest.fixture
def school(open_dashboard: Open) -> Dashboard:
    """A dashboard of a task that distils students."""
    return open_dashboard(tasks=DISTILS)


def trained(ledger: Ledger, run: str = "run-1") -> str:
    """A student with its dataset, its curves and what its training cost; its id."""
    registry = Registry(ledger)
    dataset = registry.keep(
        "dataset", "default", run.encode(), settings={}, summary={"examples": {"train": 321}}
    )
    manifest = Manifest(
        base="tiny", base_hash="0", variant="adapter", method="lora", rank=8, folder=run, files={}, run=run
    )
    made = registry.keep(
        "student", "default", manifest.to_bytes(), parents=(dataset.id,), settings={}, summary={}
    )
    points = [
        Progress(run=run, step=step, kind=kind, at=now(), values={"loss": 2.5 - step / 100})
        for step in range(0, 100, 10)
        for kind in ("train", "validation")
    ]
    spent = Expense(
        id=run,
        at=now(),
        task="default",
        kind="training",
        subject=run,
        seconds=90.0,
        cost_usd_micros=870_000,
    )
    ledger.append([*points, spent])
    return made.id


def at_the_gate(ledger: Ledger, student: str, *, passes: bool = True) -> None:
    """Have the gate judge a student."""
    sample = GOOD.sample if passes else pairs(2, 60, 60)
    evidence = type(GOOD)(**{**vars(GOOD), "candidate": student, "sample": sample})
    keep_gate(ledger, "default", evidence, decide(evidence, RULES))


def words(page: str) -> str:
    """What a page says, without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def in_force(dashboard: Dashboard) -> Promotion:
    found = Registry(dashboard.ledger).current("default")
    assert found is not None
    return found


def test_without_students_it_says_how_to_come_by_one(open_dashboard: Open) -> None:
    assert "[tasks.default.student]" in open_dashboard().html("/students")
    assert "A night makes one" in open_dashboard(tasks=DISTILS).html("/students")


def test_a_student_is_shown_with_all_that_it_comes_from(school: Dashboard) -> None:
    student = trained(school.ledger)
    at_the_gate(school.ledger, student)
    router = a_router(school.ledger, student, certificate={"coverage": 0.43}).id
    page = words(school.html(f"/students/{student}"))
    assert "321 to train on" in page
    assert "$0.8700" in page
    assert "may give it 43.0% of the requests" in page
    assert router[:12] in page
    for line in ("fresh sample", "slice sums", "slice words", "p95 latency", "net saving", "failed calls"):
        assert line in page
    assert "Loss over 90 steps" in school.html(f"/students/{student}")
    assert "never tried" in page
    assert school.get("/students/" + "0" * 64).status_code == 404


def test_why_the_gate_stopped_one_is_told(school: Dashboard) -> None:
    student = trained(school.ledger)
    at_the_gate(school.ledger, student, passes=False)
    page = words(school.html(f"/students/{student}"))
    assert "stopped by the gate" in page
    assert "% worse, and 10.0% is allowed" in page


def test_a_canary_is_shown_as_it_was_last_looked_at(school: Dashboard) -> None:
    student = in_canary(school.ledger, 0.2)
    before = words(school.html("/students"))
    assert "The workers have not looked yet" in before
    settings = settings_of()
    for found in rollouts(school.ledger, settings, "default"):
        keep_progress(school.ledger, "default", found)
    page = words(school.html("/students"))
    assert "canary of 20.0%" in page or "canary of 20%" in page
    assert "Evidence for the next step: e-value 1 of" in page
    assert "failed calls" in page
    assert "nan%" not in page
    assert student[:12] in page


def test_numbers_of_an_earlier_step_are_not_shown_as_those_of_this_one(school: Dashboard) -> None:
    in_canary(school.ledger, 0.2)
    for found in rollouts(school.ledger, settings_of(), "default"):
        keep_progress(school.ledger, "default", found)
    promote(school.ledger, in_force(school).deployed._replace(candidate_share=0.5), at=now())
    assert "The workers have not looked yet" in school.html("/students")


def test_the_bill_is_that_which_the_workers_kept(school: Dashboard) -> None:
    student = trained(school.ledger)
    assert "Not reckoned yet" in school.html(f"/students/{student}")
    keep_roll(school.ledger, school.settings, "default")
    page = words(school.html(f"/students/{student}"))
    assert "less training $0.8700" in page
    assert "not in service yet" in page


def test_what_servers_have_is_shown_by_student(school: Dashboard) -> None:
    student = trained(school.ledger)
    seen: dict[str, Any] = {"alias": "small", "at": now(), "state": State.SERVING}
    refused = {"stepdown-student-" + "0" * 24: {"why": "rank 64 is <b>too much</b>"}}
    adapters = {served_name(student): "/students/run-1"}
    Replicas(school.ledger).note(
        Replica(url="http://127.0.0.1:8001/v1", adapters=adapters, refused=refused, **seen)
    )
    page = school.html("/students")
    assert "http://127.0.0.1:8001/v1" in page
    assert f"/students/{student}?" in page.split("Students it refused")[1]
    assert "rank 64 is &lt;b&gt;too much&lt;/b&gt;" in page


def review(dashboard: Dashboard, path: str, **query: Any) -> dict[str, str]:
    """The hidden fields of a review page."""
    page = dashboard.html(path, **query)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    return {name: value for name, value in fields.items() if name in ("step", "after")}


def test_a_person_moves_a_student_step_by_step_and_takes_it_out(school: Dashboard) -> None:
    student = trained(school.ledger)
    router = a_router(school.ledger, student).id
    path = f"/students/{student}/promote"
    for step, expected in (
        ("shadow", Deployed(Mode.STRONG, None, None, student, router, 0.0)),
        ("0.2", Deployed(Mode.STRONG, None, None, student, router, 0.2)),
        ("live", Deployed(Mode.ROUTE, router, student)),
    ):
        answer = school.post(path, **review(school, path, step=step), reason="I saw its answers")
        assert answer.status_code == 303, answer.text
        assert in_force(school).deployed == expected
        assert in_force(school).reason == "I saw its answers"
        assert in_force(school).actor not in ("", "auto")
    back = f"/students/{student}/rollback"
    assert school.post(back, **review(school, back)).status_code == 303
    assert in_force(school).deployed == Deployed()
    assert in_force(school).evidence == {ROLLBACK_OF: [1, 2, 3]}


def test_a_step_on_what_is_in_force_no_more_is_refused(school: Dashboard) -> None:
    student = begun(school.ledger)
    path, back = f"/students/{student}/promote", f"/students/{student}/rollback"
    stale, gone = review(school, path, step="live"), review(school, back)
    promote(school.ledger, in_force(school).deployed._replace(candidate_share=0.5))
    moved = in_force(school)
    for where, fields in ((path, stale), (back, gone)):
        answer = school.post(where, **fields)
        assert answer.status_code == 409
        assert "meanwhile" in answer.text
    assert school.post(path, token="", **stale).status_code == 403
    assert in_force(school) == moved


def test_what_cannot_be_done_is_said_with_its_reason(school: Dashboard) -> None:
    student, other = begun(school.ledger), trained(school.ledger)
    assert "is on trial" in school.get(f"/students/{other}/promote", step="shadow").text
    assert school.get(f"/students/{other}/rollback").status_code == 409
    for step in ("1", "-0.5", "nan", "all"):
        assert school.get(f"/students/{student}/promote", step=step).status_code == 400


def test_the_review_warns_of_what_the_evidence_says(school: Dashboard) -> None:
    student = trained(school.ledger)
    a_router(school.ledger, student)
    at_the_gate(school.ledger, student, passes=False)
    page = school.html(f"/students/{student}/promote", step="live")
    assert "The gate stopped it" in page
    assert "It skips the canary" in page


def test_the_ladder_marks_the_present_step_alone() -> None:
    assert ladder((0.1, 0.5), True, 0.1) == [
        ("shadow", True, False),
        ("10%", True, True),
        ("50%", False, False),
        ("live", False, False),
    ]
    assert [here for _, _, here in ladder((0.1,), False, 1.0)] == [False, False, True]


def test_how_far_an_e_value_is_goes_by_its_logarithm() -> None:
    assert e_share(10.0, 100.0) == pytest.approx(0.5)
    assert (e_share(0.01, 20.0), e_share(500.0, 20.0)) == (0.0, 1.0)
    assert e_share(None, 20.0) is None
