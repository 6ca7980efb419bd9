"""The stages that let a student in: its answers, the gate, a router of its own, and how its trial begins.

Invariant: nothing here moves traffic but the last stage, and that begins a trial and no more.
"""

from __future__ import annotations

from typing import Any

from distill.night.machine import Ending, Stage
from distill.night.making import label_backlog
from distill.night.parts import Judged
from distill.night.tonight import Tonight, done, failed, skipped, stopped
from stepdown.errors import OutOfBudget, ServingError, StepdownError

CHUNK = 50  # prompts asked between two looks at the money
PATIENCE_S = 300.0
PROMOTIONS = "promotions"


def evaluate(tonight: Tonight) -> Ending:
    """Serve each candidate, and ask it and the student in service the newest prompts."""
    served, refused, asked = [], {}, 0
    most = tonight.student.fresh
    for candidate in tonight.found(Stage.EXPORT)["candidates"]:
        try:
            tonight.parts.serve(tonight.registry.artifact(candidate["student"]), PATIENCE_S)
            asked += ask(tonight, candidate["student"], most)
            served.append(candidate)
        except ServingError as error:
            refused[candidate["variant"]] = str(error)
            tonight.say(f"{candidate['variant']}: {error}")
    if not served:
        return failed("; ".join(f"{variant}: {why}" for variant, why in refused.items()), refused=refused)
    asked += ask(tonight, tonight.registry.deployed(tonight.night.task).student, most)
    labelled = label_backlog(tonight)
    return done(
        f"{asked:,} prompts asked, {labelled:,} labels made", candidates=served, refused=refused, asked=asked
    )


def ask(tonight: Tonight, student: str | None, most: int) -> int:
    """Ask a student the newest prompts that it has not answered, and look at the money in between.

    Raises:
        OutOfBudget: The stage's budget is used up; what was answered is kept.
    """
    asked, step = 0, most if tonight.budget.usd is None else CHUNK
    for upto in (*range(step, most, step), most):
        tonight.budget.check()
        asked += tonight.parts.ask(student, upto, tonight.budget.deadline)
        tonight.say(f"{asked:,} prompts asked")
    return asked


def practice(tonight: Tonight) -> Ending:
    """Have the student practise on what it failed, for the next night's dataset."""
    if not tonight.student.practice_rounds:
        return skipped("practice_rounds is 0")
    student = tonight.registry.artifact(tonight.found(Stage.EVALUATE)["candidates"][0]["student"])
    examples = tonight.artifact(Stage.DATASET, "dataset")
    rounds: list[dict[str, Any]] = []
    for _ in range(tonight.student.practice_rounds):
        tonight.budget.check()
        kept = tonight.parts.practise(student, examples, tonight.budget.deadline)
        if kept is None:
            break
        rounds.append({"practice": kept.id, **kept.summary})
    return done(f"{len(rounds)} rounds", rounds=rounds)


def gate(tonight: Tonight) -> Ending:
    """Judge each candidate; the one that is expected to save the most of those that pass goes on."""
    judged: list[tuple[dict[str, Any], Judged]] = []
    refused = {}
    for candidate in tonight.found(Stage.EVALUATE)["candidates"]:
        tonight.budget.check()
        try:
            judged.append((candidate, tonight.parts.judge(candidate["student"], tonight.budget.deadline)))
        except OutOfBudget:
            raise
        except StepdownError as error:
            refused[candidate["variant"]] = str(error)
    if not judged:
        return failed("; ".join(f"{variant}: {why}" for variant, why in refused.items()), refused=refused)
    gates = [{**candidate, **verdict.found()} for candidate, verdict in judged]
    passed = [one for one in judged if one[1].passed]
    if not passed:
        why = "; ".join(f"{c['variant']}: {', '.join(v.reasons)}" for c, v in judged)
        return stopped(f"no candidate passed: {why}", gates=gates, refused=refused)
    best, verdict = max(passed, key=lambda one: one[1].net_usd_micros)
    reason = f"{best['variant']} passed; {verdict.expectation}"
    return done(reason, gates=gates, refused=refused, gate=verdict.gate, **best)


def relabel(tonight: Tonight) -> Ending:
    """Ask the student older prompts and have its answers labelled, for a router of its own."""
    student = str(tonight.found(Stage.GATE)["student"])
    asked = ask(tonight, student, _router_wants(tonight))
    labelled = label_backlog(tonight)
    return done(f"{asked:,} prompts asked, {labelled:,} labels made", asked=asked, labelled=labelled)


def _router_wants(tonight: Tonight) -> int:
    """Prompts to have labelled: twice the least, and no fewer than the router in force knew."""
    in_force = tonight.registry.deployed(tonight.night.task).artifact
    known = int(tonight.registry.artifact(in_force).settings.get("pairs", 0)) if in_force else 0
    return max(tonight.student.fresh, 2 * tonight.task.min_labels, known)


def fit(tonight: Tonight) -> Ending:
    """Fit a router on the student's own outcomes."""
    router = tonight.parts.fit(str(tonight.found(Stage.GATE)["student"]))
    coverage = router.summary["certificate"]["coverage"]
    return done(f"router {router.id}, coverage {coverage:.1%}", router=router.id, coverage=coverage)


def bound(tonight: Tonight) -> Ending:
    """See that the router may send the student traffic, and that this traffic pays for the student."""
    router = tonight.artifact(Stage.FIT, "router")
    certificate = router.summary["certificate"]
    if not certificate["coverage"] > 0:
        return stopped(f"the router of the student certifies nothing: {certificate['reason']}")
    saving = tonight.parts.saving_at(str(tonight.found(Stage.GATE)["gate"]), float(certificate["coverage"]))
    found = {"coverage": certificate["coverage"], "net_usd_micros": saving.net_usd_micros}
    if not saving.net_usd_micros > 0:
        return stopped(
            f"at a coverage of {certificate['coverage']:.1%} it does not pay: {saving.words}", **found
        )
    return done(f"coverage {certificate['coverage']:.1%}; {saving.words}", **found)


def canary(tonight: Tonight) -> Ending:
    """Begin the trial of the student, in the shadow of live traffic first."""
    student = str(tonight.found(Stage.GATE)["student"])
    if _was_begun(tonight, student):
        return done("its trial had begun when this stage was broken off", student=student)
    if tonight.task.promotion != "auto":
        return skipped("promotion is manual: only a person begins the trial of a student", student=student)
    evidence = {
        "night": tonight.night.id,
        "gate": tonight.found(Stage.GATE)["gate"],
        "coverage": tonight.found(Stage.BOUND)["coverage"],
        "net_usd_micros": tonight.found(Stage.BOUND)["net_usd_micros"],
    }
    if not tonight.parts.begin_trial(student, str(tonight.found(Stage.FIT)["router"]), evidence):
        return failed("what is in force was changed meanwhile, so that no trial was begun", student=student)
    return done(f"student {student} is on trial, in the shadow first", student=student)


def _was_begun(tonight: Tonight, student: str) -> bool:
    """Whether the trial began in this very stage, before it was broken off."""
    since = int(tonight.marks.get(PROMOTIONS, 0))
    history = tonight.registry.history(tonight.night.task)
    return any(p.candidate == student for p in history if p.sequence > since)
