"""A look at a real ledger: a real fit, kept and promoted once, however often it is looked at."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import select, update

from evals import refit as refit_module
from evals.labelling import label_all, label_backlog, labellers
from evals.promotion import Step
from evals.refit import fit_for, refit
from router.fitting.grid import LOSSES
from stepdown.errors import NotEnoughEvidence
from stepdown.ledger import Body, Ledger, Record, schema
from stepdown.records import Deployed, Mode, Role, Tier, Verdict
from stepdown.registry import Registry
from stepdown.settings import JudgeSettings, TaskSettings
from stepdown.students import served_name
from tests.records import a_call, a_label
from tests.traffic import answered, completion_body

ON_BOTH_DATABASES = True

CHECKS = {"number": {"kind": "number"}}
VERDICT = {True: Verdict.GOOD, False: Verdict.BAD}
TASK = TaskSettings(small="small", min_labels=50, max_quality_loss=0.2, check="number", checks=CHECKS)


def write_pairs(ledger: Ledger, start: int, stop: int) -> None:
    """Sums that both models can do, and products that only strong can."""
    for n in range(start, stop):
        easy = n % 2
        prompt = f"What is {n} plus one?" if easy else f"Please multiply {n} by thirteen."
        answered(ledger, "sums", prompt, str(n), reference=str(n), shadow=str(n if easy else -1))
    label_all(ledger, {"sums": TASK}, batch=500, budget_s=60)


def test_a_task_steps_down_once_and_the_same_evidence_changes_nothing(ledger: Ledger) -> None:
    registry = Registry(ledger)
    first = refit(ledger, "sums", TASK)
    assert first.why_not == "0 prompts are labelled for both models, min_labels is 50"
    assert [p.mode for p in registry.history("sums")] == [Mode.SHADOW]
    write_pairs(ledger, 0, 200)
    second = refit(ledger, "sums", TASK)
    assert second.router is not None
    assert [p.mode for p in registry.history("sums")] == [Mode.SHADOW, Mode.ROUTE]
    current = registry.current("sums")
    assert current is not None
    assert current.artifact == second.router
    third = refit(ledger, "sums", TASK)
    assert (third.router, third.step) == (None, None)
    assert registry.revision() == 2


def test_a_fit_that_was_killed_before_its_promotion_is_taken_up(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    refit(ledger, "sums", TASK)
    write_pairs(ledger, 0, 200)
    with monkeypatch.context() as killed:
        killed.setattr(refit_module, "_promote", lambda *_: None)
        router = refit(ledger, "sums", TASK).router
    taken_up = refit(ledger, "sums", TASK)
    assert taken_up.router is None
    assert taken_up.step is not None
    assert taken_up.step.artifact == router


def test_manual_promotion_keeps_the_router_and_leaves_the_task_alone(ledger: Ledger) -> None:
    write_pairs(ledger, 0, 200)
    done = refit(ledger, "sums", msgspec.structs.replace(TASK, promotion="manual"))
    assert done.router is not None
    kept = Registry(ledger).artifact(done.router)
    assert kept.settings["pairs"] == 200
    assert kept.settings["epsilon"] == 0.2
    assert kept.parents
    assert Registry(ledger).current("sums") is None


def test_a_bound_that_the_labels_cannot_support_keeps_the_task_in_shadow(ledger: Ledger) -> None:
    strict = msgspec.structs.replace(TASK, max_quality_loss=0.001)
    refit(ledger, "sums", strict)
    write_pairs(ledger, 0, 100)
    done = refit(ledger, "sums", strict)
    assert done.router is not None
    assert done.step is None
    current = Registry(ledger).current("sums")
    assert current is not None
    assert current.mode is Mode.SHADOW


def test_too_few_readable_prompts_are_a_reason_not_an_error(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(ledger, 0, 60)
    monkeypatch.setattr(refit_module, "training_examples", lambda *_, **__: [])
    assert "0 distinct prompts" in (refit(ledger, "sums", TASK).why_not or "")


def test_a_corrupt_router_is_replaced(ledger: Ledger) -> None:
    write_pairs(ledger, 0, 100)
    first = refit(ledger, "sums", TASK).router
    artifacts = schema.artifacts
    with ledger.writing() as connection:
        connection.execute(update(artifacts).where(artifacts.c.id == first).values(content=b"rotten"))
    write_pairs(ledger, 100, 104)  # too few to be a reason of their own
    second = refit(ledger, "sums", TASK).router
    assert second not in (None, first)


def test_a_stretch_that_is_labelled_in_part_is_not_learnt_from(ledger: Ledger) -> None:
    """Else what is labelled sooner would be too large a part of what a router is certified on."""
    write_pairs(ledger, 0, 100)
    answered(ledger, "sums", "What is a plus one?", "7", reference="7", shadow="7")
    for n in range(200, 260):
        answered(ledger, "sums", f"What is {n} plus one?", str(n), reference=str(n), shadow=str(n))
    label_backlog(ledger, "sums", TASK, limit=1)
    later = select(schema.calls.c.id).order_by(schema.calls.c.at.desc()).limit(80)
    for (call,) in ledger.rows(later):
        ledger.append([a_label(subject=call, labeller="check:number", version=labellers(TASK)[0].version)])
    done = refit(ledger, "sums", TASK)
    assert done.router is not None
    assert Registry(ledger).artifact(done.router).settings["pairs"] == 100


def test_each_refit_is_certified_with_its_share_of_delta(ledger: Ledger) -> None:
    deltas = []
    for start in (0, 100, 300):
        write_pairs(ledger, start, start + 100)
        done = refit(ledger, "sums", TASK)
        assert done.router is not None
        kept = Registry(ledger).artifact(done.router)
        assert kept.settings["delta"] == 0.05
        choices = kept.summary["choices"]
        deltas += [kept.summary["certificate"]["delta"], sum(choice["delta"] for choice in choices)]
    shares = [0.05 / (look * (look + 1)) for look in range(1, 7)]
    assert deltas == pytest.approx(shares)  # a fit, and the choices that it offers, in turn
    assert [choice["epsilon"] for choice in choices] == [*LOSSES, 0.2]


def test_a_fit_that_certifies_nothing_is_not_repeated_on_the_same_labels(ledger: Ledger) -> None:
    write_pairs(ledger, 0, 60)
    strict = msgspec.structs.replace(TASK, max_quality_loss=0.001)
    assert refit(ledger, "sums", strict).router is not None
    stricter = msgspec.structs.replace(TASK, max_quality_loss=0.0005)
    assert refit(ledger, "sums", stricter).router is not None
    assert refit(ledger, "sums", stricter).router is None


JUDGES = {"j": JudgeSettings(model="strong", kind="single")}
JUDGED = msgspec.structs.replace(TASK, check=None, checks={}, judges=JUDGES, audit_share=1.0)


def judge_pairs(ledger: Ledger, count: int, *, by_hand: int = 0) -> None:
    """Pairs that a judge labels, too kindly every twentieth time, and of which a person labels the first."""
    labels = []
    for n in range(count):
        easy = n % 2
        prompt = f"What is {n} plus one?" if easy else f"Please multiply {n} by thirteen."
        pair = answered(ledger, "sums", prompt, "x", shadow="y")
        truth = {pair.call: True, pair.shadow: bool(easy)}
        for call, good in truth.items():
            said = good or n % 20 == 0
            labels.append(a_label(subject=call, labeller="judge:j", verdict=VERDICT[said]))
            if n < by_hand:
                labels.append(a_label(subject=call, labeller="person:ana", verdict=VERDICT[good]))
    ledger.append(labels)


def test_judged_pairs_certify_nothing_unless_the_task_says_so(ledger: Ledger) -> None:
    judge_pairs(ledger, 200)
    assert refit(ledger, "sums", JUDGED).step == Step(
        Mode.SHADOW, None, "small model 'small' is configured", {}
    )
    newest = Registry(ledger).newest("router", "sums")
    assert newest is not None
    certificate = newest.summary["certificate"]
    assert (certificate["coverage"], certificate["n"]) == (0.0, 0)
    assert "label about 43 audit requests by hand" in certificate["reason"]
    assert "certify_on = 'judged'" in certificate["reason"]
    assert "judged_by" not in newest.summary
    trusting = msgspec.structs.replace(JUDGED, certify_on="judged")
    step = refit(ledger, "sums", trusting).step  # another promise is another fit
    assert step is not None
    assert step.mode is Mode.ROUTE
    assert step.reason.endswith("as judged by judge:j")
    assert step.evidence["judged_by"] == ["judge:j"]


def test_a_judge_that_is_away_holds_up_no_bound_on_trusted_labels(ledger: Ledger) -> None:
    judge_pairs(ledger, 100)
    late = msgspec.structs.replace(JUDGED, judges={**JUDGES, "away": JudgeSettings(model="strong")})
    trusting = msgspec.structs.replace(late, certify_on="judged")
    assert (refit(ledger, "sums", trusting).why_not or "").startswith("0 prompts are labelled")
    assert refit(ledger, "sums", late).router is not None


def test_audit_requests_labelled_by_hand_certify(ledger: Ledger) -> None:
    refit(ledger, "sums", JUDGED)
    judge_pairs(ledger, 200, by_hand=100)
    done = refit(ledger, "sums", JUDGED)
    assert done.step is not None
    assert done.step.mode is Mode.ROUTE
    assert "judged" not in done.step.reason
    certificate = done.step.evidence["certificate"]
    assert 0 < certificate["n"] < 0.6 * 100


def test_peoples_labels_of_requests_outside_the_audit_sample_certify_nothing(ledger: Ledger) -> None:
    judge_pairs(ledger, 200, by_hand=100)
    refit(ledger, "sums", msgspec.structs.replace(JUDGED, audit_share=0.0))
    newest = Registry(ledger).newest("router", "sums")
    assert newest is not None
    assert newest.summary["certificate"]["n"] == 0
    assert newest.settings["certifiable"] == 0


def test_new_trusted_labels_of_old_pairs_are_a_reason_to_fit_again(ledger: Ledger) -> None:
    judge_pairs(ledger, 100)
    assert refit(ledger, "sums", JUDGED).router is not None
    assert refit(ledger, "sums", JUDGED).router is None
    calls = schema.calls.c
    for (call,) in ledger.rows(select(calls.id)):
        ledger.append([a_label(subject=call, labeller="person:ana")])
    assert refit(ledger, "sums", JUDGED).router is not None


def test_people_alone_are_a_reason_to_leave_strong(ledger: Ledger) -> None:
    nothing = msgspec.structs.replace(JUDGED, judges={})
    assert refit(ledger, "sums", nothing).step is None
    pair = answered(ledger, "sums", "one", "x")
    ledger.append([a_label(subject=pair.call, labeller="person:ana")])
    step = refit(ledger, "sums", nothing).step
    assert step is not None
    assert step.mode is Mode.SHADOW


STUDENT = "a" * 64


def write_answers_of_a_student(ledger: Ledger, count: int) -> None:
    """A student's answers to old prompts: it can do the sums and every product."""
    records: list[Record] = []
    for row in ledger.rows(select(schema.requests.c.id, schema.requests.c.reference).limit(count)):
        body = Body.of(completion_body(row.reference))
        fields = {"tier": Tier.SMALL, "role": Role.SHADOW, "model": served_name(STUDENT)}
        records += [body, a_call(request=row.id, body=body.digest, **fields)]
    ledger.append(records)
    label_all(ledger, {"sums": TASK}, batch=500, budget_s=60)


def put(ledger: Ledger, deployed: Deployed) -> None:
    registry = Registry(ledger)
    current = registry.current("sums")
    after = current.sequence if current else 0
    assert registry.promote("sums", deployed, actor="auto", reason="", evidence={}, after=after)


def test_a_router_is_fitted_on_the_answers_of_one_student_and_promoted_by_nobody(ledger: Ledger) -> None:
    write_pairs(ledger, 0, 200)
    with pytest.raises(NotEnoughEvidence, match="0 distinct prompts"):
        fit_for(ledger, "sums", TASK, STUDENT)
    write_answers_of_a_student(ledger, 120)
    router = fit_for(ledger, "sums", TASK, STUDENT)
    assert (router.settings["student"], router.settings["pairs"]) == (STUDENT, 120)
    assert fit_for(ledger, "sums", TASK, STUDENT).id == router.id  # the same labels: the same router
    registry = Registry(ledger)
    assert registry.count("router", "sums") == 1
    assert registry.current("sums") is None
    done = refit(ledger, "sums", TASK)  # of the model in service, which is no student
    assert done.router is not None
    assert "student" not in registry.artifact(done.router).settings
    newest = registry.newest("router", "sums", student=STUDENT)
    assert newest is not None
    assert newest.id == router.id


def test_a_student_in_service_is_refitted_on_its_own_answers(ledger: Ledger) -> None:
    write_pairs(ledger, 0, 200)
    write_answers_of_a_student(ledger, 100)
    put(ledger, Deployed(Mode.SHADOW, None, STUDENT))
    done = refit(ledger, "sums", TASK)
    assert done.step is not None
    deployed = Registry(ledger).deployed("sums")
    assert (deployed.mode, deployed.student, deployed.artifact) == (Mode.ROUTE, STUDENT, done.router)
    assert Registry(ledger).artifact(done.router or "").settings["pairs"] == 100


def test_while_a_candidate_is_on_trial_no_new_router_is_promoted(ledger: Ledger) -> None:
    trial = Deployed(Mode.SHADOW, None, None, STUDENT, "r" * 64, 0.5)
    put(ledger, trial)
    write_pairs(ledger, 0, 200)
    done = refit(ledger, "sums", TASK)
    assert done.router is not None
    assert done.step is None
    assert Registry(ledger).deployed("sums") == trial


def test_a_certificate_that_is_no_longer_given_ends_the_trial(ledger: Ledger) -> None:
    refit(ledger, "sums", TASK)
    write_pairs(ledger, 0, 200)
    routed = refit(ledger, "sums", TASK)
    assert routed.step is not None
    before = Registry(ledger).deployed("sums")
    put(ledger, before._replace(candidate=STUDENT, candidate_router="r" * 64, candidate_share=0.5))
    strict = msgspec.structs.replace(TASK, max_quality_loss=0.001)
    assert refit(ledger, "sums", strict).step is not None
    assert Registry(ledger).deployed("sums") == Deployed(Mode.SHADOW)


def test_another_bound_in_force_is_another_fit_and_is_never_lost(ledger: Ledger) -> None:
    refit(ledger, "sums", TASK)
    write_pairs(ledger, 0, 200)
    first = refit(ledger, "sums", TASK)
    assert first.step is not None
    put(ledger, Registry(ledger).deployed("sums")._replace(max_quality_loss=0.3))
    second = refit(ledger, "sums", TASK)
    assert second.router not in (None, first.router)
    kept = Registry(ledger).artifact(second.router or "")
    assert kept.settings["epsilon"] == 0.3
    assert 0.3 in {choice["epsilon"] for choice in kept.summary["choices"]}
    assert Registry(ledger).deployed("sums") == Deployed(Mode.ROUTE, second.router, max_quality_loss=0.3)
    assert refit(ledger, "sums", TASK).router is None
    put(ledger, Registry(ledger).deployed("sums")._replace(max_quality_loss=0.001))
    assert refit(ledger, "sums", TASK).step is not None  # nothing is certified at so strict a bound
    assert Registry(ledger).deployed("sums") == Deployed(Mode.SHADOW, max_quality_loss=0.001)


def test_the_router_of_a_candidate_is_fitted_for_the_bound_in_force(ledger: Ledger) -> None:
    write_pairs(ledger, 0, 200)
    write_answers_of_a_student(ledger, 120)
    first = fit_for(ledger, "sums", TASK, STUDENT)
    put(ledger, Deployed(max_quality_loss=0.3))
    second = fit_for(ledger, "sums", TASK, STUDENT)
    assert (first.settings["epsilon"], second.settings["epsilon"]) == (0.2, 0.3)
    assert second.parents == first.parents
    assert fit_for(ledger, "sums", TASK, STUDENT).id == second.id
