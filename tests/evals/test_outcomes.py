"""Tables of outcomes from a real ledger."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sqlalchemy import delete, select, update

from evals.outcomes import calls_frame, pairs_frame, read_outcomes, read_prompts, training_examples
from router.fitting.splits import position
from stepdown.ledger import Body, Ledger, schema
from stepdown.records import Deployed, Mode, Reason, Role, Tier, Verdict
from stepdown.registry import Registry
from stepdown.students import served_name
from tests.evals.ledgers import START, Writer
from tests.records import a_call, a_label

ON_BOTH_DATABASES = True


def test_an_empty_ledger_gives_empty_tables(ledger: Ledger) -> None:
    outcomes = read_outcomes(ledger, "default")
    assert (len(outcomes.requests), len(outcomes.calls), len(outcomes.labelled_pairs)) == (0, 0, 0)


def test_a_pair_is_one_row_with_both_outcomes_and_costs(ledger: Ledger) -> None:
    writer = Writer(ledger)
    request = writer.pair("one", True, False, costs=(120, 7), kind="sums")
    (row,) = pairs_frame(ledger, "default").to_dict("records")
    assert (row["id"], row["strong_good"], row["small_good"]) == (request, 1.0, 0.0)
    assert (row["strong_cost_usd_micros"], row["small_cost_usd_micros"]) == (120, 7)
    assert (row["slice"], row["mode"], row["answered"]) == ("sums", "shadow", "strong")


def test_other_tasks_are_left_out(ledger: Ledger) -> None:
    Writer(ledger, task="other").pair("one", True, True)
    outcomes = read_outcomes(ledger, "default")
    assert [len(table) for table in (outcomes.requests, outcomes.calls, outcomes.pairs)] == [0, 0, 0]


def test_of_two_answers_of_one_model_the_last_counts(ledger: Ledger) -> None:
    writer = Writer(ledger)
    request = writer.pair("one", False, True)
    writer.call(request, Tier.STRONG, True)
    assert pairs_frame(ledger, "default")["strong_good"].tolist() == [1.0]


def test_training_examples_are_the_labelled_pairs_whose_prompts_can_be_read(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.pair("one", True, False, kind="sums")
    writer.pair("unlabelled", True, None)
    lost = writer.pair("lost", True, True)
    with ledger.writing() as connection:
        table, requests = schema.bodies, schema.requests
        body = select(requests.c.body).where(requests.c.id == lost).scalar_subquery()
        connection.execute(delete(table).where(table.c.digest == body))
    (example,) = training_examples(ledger, pairs_frame(ledger, "default"))
    assert (example.prompt.user, example.slice) == ("one", "sums")
    assert (example.strong_good, example.small_good) == (1.0, 0.0)
    assert example.group == pairs_frame(ledger, "default")["prompt_hash"].iloc[0]


def test_a_pair_with_an_unlabelled_or_unscored_side_is_no_labelled_pair(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.pair("one", True, None)
    request = writer.pair("two", None, True)
    calls = read_outcomes(ledger, "default").calls
    strong = calls[(calls["request"] == request) & (calls["tier"] == "strong")]
    writer.label(strong["id"].item(), Verdict.UNSCORED)
    outcomes = read_outcomes(ledger, "default")
    assert (len(outcomes.pairs), len(outcomes.labelled_pairs)) == (2, 0)


def test_the_newest_label_of_a_labeller_counts_whatever_its_version_is_called(ledger: Ledger) -> None:
    writer = Writer(ledger)
    call = writer.call(writer.request("one"), Tier.STRONG)
    versions = (("broken-ff", Verdict.UNSCORED), ("2-ff", Verdict.BAD), ("1-aa", Verdict.GOOD))
    for version, verdict in versions:
        writer.label(call, verdict, version=version)
    assert calls_frame(ledger, "default")["verdict"].tolist() == ["good"]


def test_a_call_is_good_only_where_all_checks_say_so(ledger: Ledger) -> None:
    writer = Writer(ledger)
    verdicts = [
        (Verdict.GOOD, Verdict.GOOD),
        (Verdict.GOOD, Verdict.BAD),
        (Verdict.BAD, Verdict.UNSCORED),
        (Verdict.GOOD, Verdict.UNSCORED),
    ]
    for both in verdicts:
        call = writer.call(writer.request("one"), Tier.STRONG)
        for number, verdict in enumerate(both):
            writer.label(call, verdict, labeller=f"check:{number}")
        writer.label(call, Verdict.BAD, labeller="judge:other", cost=5)
    calls = calls_frame(ledger, "default")
    assert calls["verdict"].tolist() == ["good", "bad", "unscored", "unscored"]
    assert calls["good"].isna().tolist() == [False, False, True, True]
    assert calls["label_cost_usd_micros"].tolist() == [5, 5, 5, 5]


def test_unknown_cost_is_missing_and_not_zero(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.call(writer.request("one"), Tier.STRONG, cost=None)
    assert calls_frame(ledger, "default")["cost_usd_micros"].tolist() == [pd.NA]


def test_the_client_got_the_last_answer_that_came(ledger: Ledger) -> None:
    writer = Writer(ledger)
    failed = writer.request("one", mode=Mode.ROUTE, chosen=Tier.SMALL, reason=Reason.FALLBACK)
    writer.call(failed, Tier.SMALL, status=503, cost=None)
    writer.call(failed, Tier.STRONG)
    nobody = writer.request("two")
    writer.call(nobody, Tier.STRONG, status=0, cost=None)
    answered = read_outcomes(ledger, "default").requests.set_index("id")["answered"]
    assert answered[failed] == "strong"
    assert pd.isna(answered[nobody])


def test_an_escalated_request_is_no_pair(ledger: Ledger) -> None:
    writer = Writer(ledger)
    request = writer.request("one")
    writer.call(request, Tier.SMALL, False)
    writer.call(request, Tier.STRONG, True, role=Role.ESCALATION)
    assert pairs_frame(ledger, "default").empty


def test_since_keeps_requests_from_then_on(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.pair("one", True, True)
    second = writer.pair("two", True, True)
    outcomes = read_outcomes(ledger, "default")
    later = outcomes.since(outcomes.requests["at"].iloc[1].to_pydatetime())
    assert later.requests["id"].tolist() == later.pairs["id"].tolist() == [second]
    assert set(later.calls["request"]) == {second}


def test_unreadable_bodies_are_skipped_and_counted(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for prompt in ("kept", "corrupt", "not a request"):
        writer.request(prompt)
    bodies = read_outcomes(ledger, "default").requests["body"].tolist()
    other = Body.of(b"[1, 2]")
    ledger.append([other])
    with ledger.writing() as connection:
        table = schema.bodies
        connection.execute(update(table).where(table.c.digest == bodies[1]).values(content=b"junk"))
    prompts = read_prompts(ledger, [bodies[0], bodies[1], other.digest, "0" * 64])
    assert [prompt.user for prompt in prompts.by_body.values()] == ["kept"]
    assert prompts.skipped == 3


def test_only_checks_and_people_of_the_audit_sample_are_representative(ledger: Ledger) -> None:
    writer = Writer(ledger)
    labellers = ("check:exact", "person:ana", "judge:j", "person:ana judge:j", "person:ana check:exact")
    for labelled_by in labellers:
        call = writer.call(writer.request(labelled_by), Tier.STRONG)
        for labeller in labelled_by.split():
            writer.label(call, Verdict.GOOD, labeller=labeller)
    inside = read_outcomes(ledger, "default", audit_share=1.0).calls
    outside = read_outcomes(ledger, "default", audit_share=0.0).calls
    assert inside["trusted"].tolist() == outside["trusted"].tolist() == [True, True, False, True, True]
    assert inside["representative"].tolist() == [True, True, False, True, True]
    assert outside["representative"].tolist() == [True, False, False, False, True]
    assert inside["drawn"].tolist() == [True] * 5
    assert outside["drawn"].tolist() == [True, False, True, True, True]
    assert inside["judged"].notna().tolist() == [False, False, True, True, False]


def test_the_audit_sample_is_that_of_the_hash_and_its_share(ledger: Ledger) -> None:
    writer = Writer(ledger)
    with writer.together():
        for n in range(400):
            writer.request(f"prompt {n}")
    quarter = read_outcomes(ledger, "default", audit_share=0.25).requests
    assert quarter["audit"].tolist() == [position(name, 0, "audit") < 0.25 for name in quarter["id"]]
    assert 60 < quarter["audit"].sum() < 140


def test_a_bound_rests_on_trusted_pairs_or_where_it_is_allowed_on_judged_ones(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.pair("checked", True, False)
    judged = writer.pair("judged", None, None)
    mixed = writer.pair("mixed", True, None)
    calls = read_outcomes(ledger, "default").calls
    for call in calls.loc[calls["request"].isin([judged, mixed]), "id"]:
        writer.label(call, Verdict.GOOD, labeller="judge:j")
    outcomes = read_outcomes(ledger, "default")
    assert outcomes.judges == ("judge:j",)
    assert len(outcomes.labelled_pairs) == len(outcomes.drawn_pairs) == 3
    assert outcomes.representative_pairs["strong_good"].tolist() == [1.0]
    trusted = training_examples(ledger, outcomes.labelled_pairs)
    assert [example.certifiable for example in trusted] == [True, False, False]
    assert 0.5 < trusted[1].small_good < 1
    all_of_them = training_examples(ledger, outcomes.labelled_pairs, certify_on="judged")
    assert [example.certifiable for example in all_of_them] == [True, True, True]


def small_answer(ledger: Ledger, request: str, student: str, good: bool) -> None:
    """What a student answered to a request, unseen."""
    call = a_call(request=request, tier=Tier.SMALL, role=Role.SHADOW, model=served_name(student))
    verdict = Verdict.GOOD if good else Verdict.BAD
    ledger.append([call, a_label(subject=call.id, labeller="check:exact", verdict=verdict)])


def test_pairs_are_of_one_small_model_alone(ledger: Ledger) -> None:
    writer = Writer(ledger)
    both, declared = writer.pair("one", True, False), writer.pair("two", True, True)
    student, other = "a" * 64, "b" * 64
    small_answer(ledger, both, student, True)
    small_answer(ledger, declared, other, False)

    def pairs(**of: Any) -> dict[str, float]:
        found = read_outcomes(ledger, "default", **of).pairs
        return dict(zip(found["id"], found["small_good"], strict=True))

    assert pairs(student=None) == {both: 0.0, declared: 1.0}
    assert pairs(student=student) == {both: 1.0}
    assert pairs(student=other) == {declared: 0.0}
    assert pairs(student="c" * 64) == {}
    assert pairs() == pairs(student=None)  # no student is in service
    registry = Registry(ledger)
    live = Deployed(Mode.ROUTE, None, student)
    assert registry.promote("default", live, actor="t", reason="", evidence={}, after=0)
    assert pairs() == {both: 1.0}
    assert len(read_outcomes(ledger, "default").calls) == 6  # the calls are everyone's


def test_reading_from_a_time_on_reads_no_more_than_that(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.pair("one", True, False)
    at = read_outcomes(ledger, "default").requests["at"].iloc[0].to_pydatetime()
    later = writer.pair("two", True, True)
    found = read_outcomes(ledger, "default", since=at + (at - START) / 100)
    assert found.requests["id"].tolist() == found.pairs["id"].tolist() == [later]
    assert set(found.calls["request"]) == {later}
    assert len(read_outcomes(ledger, "default", since=at).requests) == 2
