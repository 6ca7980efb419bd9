"""The stages that let a student in: its answers, the gate, a router of its own, and how its trial begins.

Invariant: nothing here moves traffic but the last stage, and that begins a trial and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.night.machine import Ending, Stage
from distill.night.making import label_backlog
from distill.night.parts import Judged
from distill.night.tonight import Tonight, done, failed, skipped, stopped
from evals.promotion import AUTO
from evals.report.layout import dollars
from stepdown.errors import OutOfBudget, ServingError, StepdownError
from stepdown.records import Artifact

CHUNK = 50  # prompts asked between two looks at the money
PATIENCE_S = 300.0
PROMOTIONS = "promotions"
PRACTICE = "practice"


def evaluate(tonight: Tonight) -> Ending:
    """Serve each candidate, and have it answer the newest prompts and the suites."""
    served, refused, asked, labelled = [], {}, 0, 0
    for candidate in tonight.found(Stage.EXPORT)["candidates"]:
        name = str(candidate["student"])
        try:
            tonight.parts.serve(tonight.registry.artifact(name), PATIENCE_S)
            asked += ask(tonight, name, tonight.student.fresh, beside=True)
            labelled += label_backlog(tonight, at_once=True)
            tonight.parts.run_suites(name, tonight.budget.deadline)
            served.append(candidate)
        except ServingError as error:
            refused[candidate["variant"]] = str(error)
            tonight.say(f"{candidate['variant']}: {error}")
    if not served:
        return failed(_all(refused), refused=refused)
    reason = f"{asked:,} prompts asked, {labelled:,} labels made" + "".join(f"; without {v}" for v in refused)
    return done(reason, candidates=served, refused=refused, asked=asked)


def ask(tonight: Tonight, student: str, most: int, *, beside: bool) -> int:
    """Ask a student the newest prompts that it has not answered, and look at the money in between.

    Raises:
        OutOfBudget: The stage's budget is used up; what was answered is kept.
    """
    asked, step = 0, most if tonight.budget.usd is None else CHUNK
    for upto in (*range(step, most, step), most):
        tonight.budget.check()
        asked += tonight.parts.ask(student, upto, tonight.budget.deadline, beside=beside)
        tonight.say(f"{asked:,} prompts asked")
    return asked


def _all(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{variant}: {why}" for variant, why in refused.items())


def practice(tonight: Tonight) -> Ending:
    """Have the student practise what it failed, for the next night's dataset."""
    if not tonight.student.practice_rounds:
        return skipped("practice_rounds is 0")
    student = tonight.registry.artifact(tonight.found(Stage.EVALUATE)["candidates"][0]["student"])
    examples = tonight.artifact(Stage.DATASET, "dataset")
    made: Artifact | str | None = tonight.registry.newest(PRACTICE, tonight.night.task)
    if not isinstance(made, Artifact) or made.parents != (student.id, examples.id):
        tonight.budget.check()
        made = tonight.parts.practise(student, examples, tonight.budget.deadline)
    if isinstance(made, str):
        return skipped(made)
    return done(f"round {made.summary['round']}: {made.summary['kept']:,} answers kept", practice=made.id)


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
        return failed(_all(refused), refused=refused)
    gates = [{**candidate, **verdict.found()} for candidate, verdict in judged]
    passed = [one for one in judged if one[1].passed]
    if not passed:
        why = "; ".join(f"{candidate['variant']}: {verdict.reason}" for candidate, verdict in judged)
        return stopped(f"no candidate passed: {why}", gates=gates, refused=refused)
    best, verdict = max(passed, key=lambda one: one[1].net_usd_micros or 0.0)
    reason = (
        f"{best['variant']} passed: {verdict.reason}; {dollars(verdict.net_usd_micros or 0.0)} net expected"
    )
    return done(reason, gates=gates, refused=refused, gate=verdict.gate, **best)


def relabel(tonight: Tonight) -> Ending:
    """Ask the student older prompts and have its answers labelled, for a router of its own."""
    student = str(tonight.found(Stage.GATE)["student"])
    tonight.parts.serve(tonight.registry.artifact(student), PATIENCE_S)
    asked = ask(tonight, student, _router_wants(tonight), beside=False)
    labelled = label_backlog(tonight, at_once=True)
    return done(f"{asked:,} prompts asked, {labelled:,} labels made", asked=asked, labelled=labelled)


def _router_wants(tonight: Tonight) -> int:
    """Prompts to have labelled: what a certificate needs, and no fewer than the router in force knew."""
    in_force = tonight.registry.deployed(tonight.night.task).artifact
    known = int(tonight.registry.artifact(in_force).settings.get("pairs", 0)) if in_force else 0
    wanted = tonight.parts.prompts_to_certify()
    return max(tonight.student.fresh, 2 * tonight.task.min_labels, wanted, known)


def fit(tonight: Tonight) -> Ending:
    """Fit a router on the student's own outcomes."""
    router = tonight.parts.fit(str(tonight.found(Stage.GATE)["student"]))
    coverage = router.summary["certificate"]["coverage"]
    return done(f"router {router.id[:12]}, coverage {coverage:.1%}", router=router.id, coverage=coverage)


def bound(tonight: Tonight) -> Ending:
    """See that the router may send the student traffic, and that this traffic pays for the student."""
    router = tonight.artifact(Stage.FIT, "router")
    certificate = router.summary["certificate"]
    if not certificate["coverage"] > 0:
        return stopped(f"the router of the student certifies nothing: {certificate['reason']}")
    coverage = float(certificate["coverage"])
    net, words = tonight.parts.saving_at(str(tonight.found(Stage.GATE)["gate"]), coverage)
    if not net > 0:
        return stopped(f"it does not pay: {words}", coverage=coverage, net_usd_micros=net)
    return done(words, coverage=coverage, net_usd_micros=net)


def canary(tonight: Tonight) -> Ending:
    """Begin the trial of the student, in the shadow of live traffic first."""
    student = str(tonight.found(Stage.GATE)["student"])
    if _was_begun(tonight, student):
        return done("its trial had begun when this stage was broken off", student=student)
    if tonight.task.promotion != AUTO:
        why = f"promotion is manual: `stepdown promote --task {tonight.night.task} --student {student}`"
        return skipped(f"{why} begins the trial", student=student)
    evidence = {
        "night": tonight.night.id,
        "gate": tonight.found(Stage.GATE)["gate"],
        "coverage": tonight.found(Stage.BOUND)["coverage"],
        "net_usd_micros": tonight.found(Stage.BOUND)["net_usd_micros"],
    }
    why_not = tonight.parts.begin_trial(student, str(tonight.found(Stage.FIT)["router"]), evidence)
    if why_not is not None:
        return stopped(why_not, student=student)
    return done(f"student {student[:12]} is on trial, in the shadow first", student=student)


def _was_begun(tonight: Tonight, student: str) -> bool:
    """Whether the trial began in this very stage, before it was broken off."""
    since = int(tonight.marks.get(PROMOTIONS, 0))
    history = tonight.registry.history(tonight.night.task)
    return any(p.candidate == student for p in history if p.sequence > since)
