"""The stages that make a student: labels, slices, a dataset, its training, and the forms it is served in.

Invariant: each is idempotent through the ledger, as the parts that it calls are, so it may be broken off
anywhere and begun again.
"""

from __future__ import annotations

from distill.night import gpu
from distill.night.machine import Ending, Outcome, Stage, ending_of, found, left_over
from distill.night.tonight import Tonight, done, failed, skipped
from stepdown.errors import OutOfBudget, StepdownError
from stepdown.ids import now
from stepdown.records import Artifact
from stepdown.students import Variant, manifest_of

DATASET = "dataset"
NEWEST_DATASET = "newest_dataset"
ON_A_GPU = frozenset({"fp8", "int8"})
CHUNK_S = 60.0
USES = {"train": "train on", "validation": "validate with", "test": "test with"}


def label(tonight: Tonight) -> Ending:
    """Label the backlog: checks, users' feedback, judges."""
    made = label_backlog(tonight)
    return done(f"{made:,} labels made", labelled=made)


def label_backlog(tonight: Tonight, *, at_once: bool = False) -> int:
    """Label until nothing is left that can be of what was asked before, and say how many labels were made.

    What comes meanwhile is not waited for: while there is traffic there would be no end to it.

    Args:
        tonight: The stage.
        at_once: Whether labels are needed tonight, and not when a batch endpoint answers.

    Raises:
        OutOfBudget: The stage's budget is used up; what was labelled is kept.
    """
    total, began = 0, now()
    while made := tonight.parts.label(tonight.budget.until(CHUNK_S), at_once=at_once):
        total += made
        tonight.say(f"{total:,} labels made")
        if not tonight.parts.is_left(began, at_once=at_once):
            break
        tonight.budget.check()
    return total


def slices(tonight: Tonight) -> Ending:
    """Cluster the traffic."""
    slicing = tonight.parts.slice()
    names = [slice_.name for slice_ in slicing.model.slices]
    new = [one.name for one in slicing.new] if slicing.fresh else []
    reason = f"{len(names)} slices" + (f", new: {', '.join(new)}" if new else "")
    return done(reason, slices=slicing.artifact.id if slicing.artifact else None, new=new)


def dataset(tonight: Tonight) -> Ending:
    """Build the dataset, if there is enough new and nothing is on trial."""
    on_trial = tonight.registry.deployed(tonight.night.task).candidate
    if on_trial is not None:
        return skipped(
            f"student {on_trial[:12]} is on trial, and no second one is made until that is decided"
        )
    if (made := _made_before(tonight)) is not None:
        return done(_counted(made), dataset=made.id)
    if (half := _half_trained(tonight)) is not None:
        return half
    new, wanted = tonight.parts.new_examples(), tonight.student.min_new
    if new < wanted:
        return _too_little(tonight, f"{new:,} new examples, min_new is {wanted:,}", new)
    made = tonight.parts.build_dataset()
    return done(_counted(made), dataset=made.id, new=new)


def _made_before(tonight: Tonight) -> Artifact | None:
    """The dataset that this stage had kept when it was broken off, or None."""
    if tonight.attempt == 1:
        return None
    newest = tonight.registry.newest(DATASET, tonight.night.task)
    return newest if newest is not None and newest.id != tonight.marks.get(NEWEST_DATASET) else None


def _half_trained(tonight: Tonight) -> Ending | None:
    """Go on with the training that the night before stopped at its budget, however much is new since.

    On busy traffic each night has enough for a dataset of its own, and a long training would never end.
    """
    before = tonight.book.before(tonight.night)
    events = tonight.book.events(before.id) if before else []
    ended, name = ending_of(events, Stage.TRAIN), found(events, Stage.DATASET).get("dataset")
    newest = tonight.registry.newest(DATASET, tonight.night.task)
    stopped_there = ended is not None and ended.outcome == Outcome.STOPPED
    if before is None or not stopped_there or newest is None or newest.id != name:
        return None
    return done(f"the training of night {before.id} is gone on with", dataset=name)


def _too_little(tonight: Tonight, reason: str, new: int) -> Ending:
    """Nothing is done, unless the night before did not come to the end of its own dataset."""
    before = tonight.book.before(tonight.night)
    name = left_over(tonight.book.events(before.id)) if before else None
    newest = tonight.registry.newest(DATASET, tonight.night.task)
    if before is None or newest is None or newest.id != name:
        return skipped(reason, new=new)
    return done(f"{reason}; the dataset of night {before.id} is taken up", dataset=name, new=new)


def _counted(made: Artifact) -> str:
    parts = made.summary.get("examples", {})
    return ", ".join(f"{count:,} examples to {USES.get(part, part)}" for part, count in parts.items())


def train(tonight: Tonight) -> Ending:
    """Train a student on the dataset, with the GPU to itself."""
    examples = tonight.artifact(Stage.DATASET, "dataset")
    deadline = tonight.budget.rented(tonight.settings.trainer.usd_per_hour)
    with gpu.handed_over(tonight):
        student = tonight.parts.train(examples, deadline)
    return done(f"student {student.id[:12]}", student=student.id)


def export(tonight: Tonight) -> Ending:
    """Bring the student into the forms in which it may be served; one that cannot be is left out."""
    trained = tonight.artifact(Stage.TRAIN, "student")
    candidates, refused = [], {}
    for variant in tonight.student.variants:
        try:
            candidates.append({"variant": variant, "student": _in_form(tonight, trained, variant).id})
        except OutOfBudget:
            raise
        except StepdownError as error:
            refused[variant] = str(error)
            tonight.say(f"{variant}: {error}")
    if not candidates:
        return failed("; ".join(f"{variant}: {why}" for variant, why in refused.items()), refused=refused)
    named = ", ".join(one["variant"] for one in candidates) + "".join(f"; without {v}" for v in refused)
    return done(named, candidates=candidates, refused=refused)


def _in_form(tonight: Tonight, trained: Artifact, variant: Variant) -> Artifact:
    if manifest_of(trained).variant == variant:
        return trained
    deadline = tonight.budget.rented(tonight.settings.trainer.usd_per_hour)
    with gpu.handed_over(tonight, needed=variant in ON_A_GPU):
        return tonight.parts.export(trained, variant, deadline)
