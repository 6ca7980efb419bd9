"""Bills of students that can be added up on paper."""

from __future__ import annotations

from datetime import timedelta

import pytest

from distill.bill import student_bills
from distill.bill.tree import Cost, Outlook, StudentBill
from stepdown.ledger import Ledger
from stepdown.records import Arm, CachedAnswer, Deployed, Mode, Reason, Role, Verdict
from stepdown.settings import Settings
from stepdown.students import served_name
from tests.distill.bill.scene import DAY, SMALL, START, STRONG, Scene, settings
from tests.records import a_label

ON_BOTH_DATABASES = True


def bills(ledger: Ledger, days: float, given: Settings | None = None) -> dict[str, StudentBill]:
    made = student_bills(ledger, given or settings(), "default", at=START + days * DAY)
    assert all(bill.net is None or bill.saved is None or adds_up(bill) for bill in made)
    return {bill.student: bill for bill in made}


def adds_up(bill: StudentBill) -> bool:
    assert bill.saved is not None
    assert bill.net is not None
    assert bill.net.high - bill.net.low == bill.saved.high - bill.saved.low
    return bill.net.value == bill.saved.value - bill.live.usd_micros - bill.spent.usd_micros


def test_every_line_of_a_bill_is_what_paper_says(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", 500)
    scene.expense(student, 70, kind="export")
    scene.expense("another run", 9999)
    shadowed = scene.shadowed(student)
    judge = {"role": Role.JUDGE, "cost_usd_micros": 40}
    scene.call(shadowed[0], START, None, **judge)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START + DAY)
    scene.answered(student, START + DAY, requests=6)
    scene.call(scene.request(START + DAY, student), START + DAY, student, status=503, cost_usd_micros=7)
    scene.keep(cached("eval", student, 11), cached("practice", student, 13), cached("eval", "b" * 64, 999))
    found = bills(ledger, 3.0, settings(usd_per_hour=0.0001))[student]
    assert found.training == Cost(500)
    assert found.export == Cost(70)
    assert found.labelling == Cost(40)
    assert found.asking == Cost(10 * SMALL + 11 + 13)
    assert found.live == Cost(6 * SMALL + 7)
    assert (found.service_s, found.rent) == (2 * 86400, Cost(48 * 100))
    assert found.answered == 6
    assert found.saved == (6 * STRONG, 6 * STRONG, 6 * STRONG, 10)
    assert found.net is not None
    assert found.net.value == 1080 - 67 - 500 - 70 - 40 - 124 - 4800


def cached(purpose: str, student: str, cost: int) -> CachedAnswer:
    return CachedAnswer(
        key=f"{purpose} {student[:20]}",
        at=START,
        task="default",
        purpose=purpose,
        model=served_name(student),
        latency_ms=1.0,
        cost_usd_micros=cost,
        body="0" * 64,
    )


def test_what_a_judge_took_for_a_request_is_shared_among_the_small_models_that_it_judged(
    ledger: Ledger,
) -> None:
    scene = Scene(ledger)
    first, second, third = (scene.student(run) for run in ("run-1", "run-2", "run-3"))
    (request,) = scene.shadowed(first, pairs=1)
    judged = [scene.call(request, START, second, role=Role.SHADOW)]
    scene.call(request, START, third, role=Role.SHADOW)
    judged += [row.id for row in ledger.rows(calls_of(first))]
    for call in judged:
        scene.keep(a_label(subject=call, labeller="judge:better", verdict=Verdict.GOOD, cost_usd_micros=3))
    scene.call(request, START, None, role=Role.JUDGE, cost_usd_micros=40)
    found = bills(ledger, 1.0)
    assert [found[name].labelling for name in (first, second, third)] == [Cost(23), Cost(23), Cost(0)]


def calls_of(student: str):  # type: ignore[no-untyped-def]
    from stepdown.ledger import schema

    return schema.calls.select().where(schema.calls.c.model == served_name(student))


def test_a_training_is_on_the_bill_of_each_form_of_its_student_and_they_say_so(ledger: Ledger) -> None:
    scene = Scene(ledger)
    adapter = scene.student("run-1")
    merged = scene.student("run-1", variant="merged", parents=(adapter,))
    scene.expense("run-1", 500)
    found = bills(ledger, 1.0)
    assert (found[adapter].training, found[merged].training) == (Cost(500), Cost(500))
    assert (found[adapter].shared_with, found[merged].shared_with) == ((merged,), (adapter,))


def test_exports_are_on_the_bills_of_what_they_made_or_of_the_student_where_they_made_nothing(
    ledger: Ledger,
) -> None:
    scene = Scene(ledger)
    alone, adapter = scene.student("run-1"), scene.student("run-2")
    forms = [scene.student("run-2", variant=form, parents=(adapter,)) for form in ("merged", "int8")]
    scene.expense(adapter, 30, kind="export")
    scene.expense(alone, 7, kind="export")
    found = bills(ledger, 1.0)
    exports = [found[name].export for name in (alone, adapter, *forms)]
    assert exports == [Cost(7), Cost(0), Cost(15), Cost(15)]


def test_an_unknown_price_is_counted_and_not_called_zero(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", None)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START)
    scene.answered(student, START + DAY, requests=5)
    scene.call(scene.request(START + DAY, student), START + DAY, student, cost_usd_micros=None)
    found = bills(ledger, 2.0)[student]
    assert found.training == Cost(0, 1)
    assert found.live == Cost(5 * SMALL, 1)
    assert (found.answered, found.excluded, found.unknown) == (6, 1, 2)
    assert found.saved is not None
    assert found.saved.value == 5 * STRONG


def test_without_a_price_of_strong_nothing_is_said_to_be_saved(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.promote(Deployed(Mode.ROUTE, "router", student), START)
    for _ in range(12):
        request = scene.request(START, None)
        scene.call(request, START, None, cost_usd_micros=None)
        scene.call(request, START, student, role=Role.SHADOW)
    scene.answered(student, START + DAY)
    found = bills(ledger, 3.0)[student]
    assert (found.saved, found.net, found.payback.outlook) == (None, None, Outlook.UNTOLD)
    assert any("there are 0, 10 more are needed" in line for line in found.missing)


def test_requests_that_named_their_model_save_nothing(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START)
    scene.answered(student, START + DAY, requests=3, reason=Reason.NAMED)
    found = bills(ledger, 3.0)[student]
    assert (found.answered, found.saved) == (0, (0, 0, 0, 0))


def test_a_student_that_was_never_tried_has_its_cost_and_no_break_even(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", 500)
    found = bills(ledger, 1.0)[student]
    assert found.net == (-500, -500, -500, 0)
    assert found.payback.outlook == Outlook.NOT_IN_SERVICE
    assert "on no canary" in found.untold


def test_the_day_of_break_even_is_the_one_at_whose_end_all_is_earned(ledger: Ledger) -> None:
    """It costs 1,000 and nets 340 a day, from the second day on: three days are enough."""
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", 900)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START + DAY)
    for day in range(1, 4):
        scene.answered(student, START + day * DAY + timedelta(hours=12), requests=2)
        found = bills(ledger, day + 1.0)[student].payback
        if day < 3:
            assert found.outlook == Outlook.WILL
    assert (found.outlook, found.day) == (Outlook.PAID, START + 3 * DAY)


def test_the_day_to_come_is_what_is_missing_by_what_it_nets_a_day(ledger: Ledger) -> None:
    """After two days in service at 340 a day it lacks 2,720 of 3,400: eight days."""
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", 3300)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START)
    for hour in (12, 36):
        scene.answered(student, START + timedelta(hours=hour), requests=2)
    found = bills(ledger, 2.0)[student].payback
    # The shadow calls of the first day, 100 in all, are within the pace.
    assert found.per_day is not None
    assert found.per_day.value == (4 * 170 - 100) / 2
    assert found.day == START + 2 * DAY + DAY * ((3300 + 100 - 680) / 290)
    assert found.early is not None
    assert found.early < found.day
    assert found.late is None or found.late > found.day


def test_a_student_whose_rent_is_more_than_it_saves_never_pays_itself_back(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", 900)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START)
    scene.answered(student, START + timedelta(hours=12), requests=10)
    found = bills(ledger, 2.0, settings(usd_per_hour=0.01))[student].payback
    assert (found.outlook, found.day) == (Outlook.NEVER, None)


def test_hours_in_service_are_too_few_for_a_pace(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", 9000)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START)
    scene.answered(student, START + timedelta(hours=1), requests=10)
    found = bills(ledger, 0.5)[student].payback
    assert (found.outlook, found.day, found.per_day) == (Outlook.NO_PACE, None, None)


def test_what_was_taken_out_before_its_break_even_has_none(ledger: Ledger) -> None:
    scene = Scene(ledger)
    student = scene.student("run-1")
    scene.expense("run-1", 9000)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START)
    scene.answered(student, START + timedelta(hours=12), requests=10)
    scene.promote(Deployed(Mode.STRONG), START + DAY)
    found = bills(ledger, 5.0, settings(usd_per_hour=0.0001))[student]
    assert found.payback.outlook == Outlook.TAKEN_OUT
    assert found.rent == Cost(24 * 100)


def test_a_canary_tells_what_a_student_earns_beyond_the_one_before_it(ledger: Ledger) -> None:
    """The new one answers four of five requests, the old one two of five: 68 a request more."""
    scene = Scene(ledger)
    old, new = scene.student("run-1"), scene.student("run-2")
    for student in (old, new):
        scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", old), START)
    scene.promote(Deployed(Mode.ROUTE, "router", old, new, "router 2", 0.5), START + DAY)
    at = START + DAY + timedelta(hours=1)
    scene.answered(new, at, requests=40, arm=Arm.CANARY)
    scene.by_strong(new, at, requests=10, arm=Arm.CANARY)
    scene.answered(old, at, requests=20, arm=Arm.CONTROL)
    scene.by_strong(old, at, requests=30, arm=Arm.CONTROL)
    scene.promote(Deployed(Mode.ROUTE, "router 2", new), START + 2 * DAY)
    scene.answered(new, START + 2 * DAY, requests=50)
    found = bills(ledger, 3.0)
    beside = found[new].marginal
    assert found[new].predecessor == old
    assert beside is not None
    assert beside.per_request == pytest.approx(68)
    assert beside.low < 68 < beside.high
    assert (beside.canary, beside.control, beside.decided) == (50, 50, 100)
    assert beside.so_far.value == 6800
    assert found[old].marginal is None


def test_a_share_that_grew_while_the_traffic_changed_tilts_nothing(ledger: Ledger) -> None:
    """Both do the same; small answers nothing at first and all later, when the canary is larger."""
    scene = Scene(ledger)
    old, new = scene.student("run-1"), scene.student("run-2")
    for student in (old, new):
        scene.shadowed(student)
    for day, share in ((0, 0.1), (1, 0.5)):
        scene.promote(Deployed(Mode.ROUTE, "router", old, new, "router 2", share), START + day * DAY)
    hour = timedelta(hours=1)
    scene.by_strong(new, START + hour, requests=10, arm=Arm.CANARY)
    scene.by_strong(old, START + hour, requests=90, arm=Arm.CONTROL)
    scene.answered(new, START + DAY + hour, requests=50, arm=Arm.CANARY)
    scene.answered(old, START + DAY + hour, requests=50, arm=Arm.CONTROL)
    beside = bills(ledger, 2.0)[new].marginal
    assert beside is not None
    assert beside.per_request == pytest.approx(0)


def test_too_small_a_canary_tells_nothing_and_says_how_many_are_needed(ledger: Ledger) -> None:
    scene = Scene(ledger)
    new = scene.student("run-2")
    scene.shadowed(new)
    scene.promote(Deployed(Mode.STRONG, None, None, new, "router 2", 0.1), START)
    scene.answered(new, START + DAY, requests=3, arm=Arm.CANARY)
    scene.by_strong(None, START + DAY, requests=27, arm=Arm.CONTROL)
    found = bills(ledger, 2.0)[new]
    assert found.marginal is None
    assert "gave 3 requests to it and 27 to the one before it; 30 of each" in found.untold
