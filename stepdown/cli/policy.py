"""Commands that show and move what is in force."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

import click
from sqlalchemy import func, select

from stepdown.bound_in_force import set_by, with_bound
from stepdown.cli.options import declared_task, open_ledger, settings_option, task_option
from stepdown.errors import SettingsError, StepdownError
from stepdown.heartbeat import worker_beat
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Deployed, Mode, Promotion
from stepdown.registry import Registry
from stepdown.rollback import rollback_of
from stepdown.settings import DEFAULT_TASK, Settings


@click.command()
@settings_option
def status(settings: Settings) -> None:
    """Show each task's mode, its router and its counts."""
    from workers.names import queues_of

    ledger = open_ledger(settings)
    registry = Registry(ledger)
    for task in settings.tasks or (DEFAULT_TASK,):
        current = registry.current(task)
        click.echo(f"task {task}: mode {current.mode if current else Mode.STRONG}")
        click.echo(f"  router  {(current.artifact if current else None) or 'none'}")
        if (bound := _bound(registry, settings, task)) is not None:
            click.echo(f"  bound   {bound}")
        if current and (current.student or current.candidate):
            click.echo(f"  student {_students(current)}")
            for line in _rollout(ledger, settings, task):
                click.echo(f"  rollout {line}")
        if current:
            click.echo(f"  since   {current.at:%Y-%m-%d %H:%M:%S} UTC, by {current.actor}: {current.reason}")
        click.echo(f"  ledger  {_counts(ledger, task)}")
        if not (current and current.artifact):
            click.echo(f"  next    {_wanting(settings, task)}")
    for queue in queues_of(settings):
        beat = ledger.last_beat(worker_beat(queue))
        shown = (
            f"{beat:%Y-%m-%d %H:%M:%S} UTC, {(now() - beat).total_seconds():.0f} s ago" if beat else "never"
        )
        click.echo(f"worker of {queue}: last heartbeat {shown}")


def _bound(registry: Registry, settings: Settings, task: str) -> str | None:
    """The bound in force, and who set it where that is not the settings."""
    declared = settings.tasks.get(task)
    if declared is None:
        return None
    setter = set_by(registry.history(task))
    bound = with_bound(declared, setter.deployed) if setter else declared
    shown = f"quality loss <= {bound.max_quality_loss:.4g} with confidence {bound.confidence:.4g}"
    if setter is None:
        return shown
    by = f"set by {setter.actor} on {setter.at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{shown}, {by}; the settings say {declared.max_quality_loss:.4g}"


def _students(current: Promotion) -> str:
    served = current.student or "none, the small model as declared"
    if current.candidate is None:
        return served
    stage = f"canary of {current.candidate_share:.0%}" if current.candidate_share else "shadow"
    return f"{served}; on trial: {current.candidate} ({stage})"


def _rollout(ledger: Ledger, settings: Settings, task: str) -> list[str]:
    """How far a student is, and what speaks against it."""
    from distill.rollout.progress import progress

    found = progress(ledger, settings, task)
    return [] if found is None else found.lines()


def _wanting(settings: Settings, task: str) -> str:
    """What stands between a task and its first router, as far as the settings tell."""
    declared = settings.tasks.get(task)
    if not settings.models or declared is None:
        return (
            "no model is declared: start `stepdown up --strong MODEL --small MODEL`, or write stepdown.toml"
        )
    if declared.small is None:
        return f"nothing to step down to: set tasks.{task}.small"
    if not declared.checks and not declared.judges:
        return f"nothing labels its answers: declare a check under [tasks.{task}.checks.NAME], or a judge"
    return f"`stepdown report --task {task}` says what a router still needs"


def _counts(ledger: Ledger, task: str) -> str:
    of_task = schema.requests.c.task == task
    calls = schema.requests.join(schema.calls, schema.calls.c.request == schema.requests.c.id)
    labels = calls.join(schema.labels, schema.labels.c.subject == schema.calls.c.id)
    counted = [
        f"{ledger.rows(select(func.count()).select_from(tables).where(of_task))[0][0]:,} {name}"
        for name, tables in (("requests", schema.requests), ("calls", calls), ("labels", labels))
    ]
    return ", ".join(counted)


@click.command()
@settings_option
@task_option
@click.option("--to", "mode", type=click.Choice([mode.value for mode in Mode]), help="Mode to move to.")
@click.option("--router", "artifact", help="Artifact id; the newest fitted router if not given.")
@click.option(
    "--student", help="Artifact id of a student to try, in the shadow of the traffic if no more is given."
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the traffic that the student decides.",
)
@click.option("--live", is_flag=True, help="Put the student in service.")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the record.")
def promote(
    settings: Settings,
    task: str,
    mode: str | None,
    artifact: str | None,
    student: str | None,
    share: float | None,
    live: bool,
    reason: str,
) -> None:
    """Move a task to a mode, to another router, or a student one step on."""
    declared = declared_task(settings, task)
    if (mode is None) == (student is None):
        raise click.UsageError("one of --to MODE and --student ID is needed")
    if student is None and (live or share):
        raise click.UsageError("--share and --live go with --student ID")
    if live and share:
        raise click.UsageError("--live is all of the traffic, and goes without --share")
    if student is not None:
        _promote_student(settings, task, student, artifact, None if live else share or 0.0, reason)
        return
    assert mode is not None
    if declared.small is None and mode != Mode.STRONG:
        raise SettingsError(
            f"task {task!r} has no small model to be in mode {mode} with; set tasks.{task}.small"
        )
    if artifact is not None and mode != Mode.ROUTE:
        raise click.UsageError(f"--router {artifact} goes with --to route, not with --to {mode}")
    registry = Registry(open_ledger(settings))
    deployed = registry.deployed(task)
    if mode == Mode.ROUTE:
        artifact = _router(registry, task, artifact, deployed.student).id
    _move(registry, task, deployed.settled._replace(mode=Mode(mode), artifact=artifact), reason)


def _promote_student(
    settings: Settings, task: str, student: str, router: str | None, share: float | None, reason: str
) -> None:
    from distill.rollout.steps import by_hand

    if declared_task(settings, task).small is None:
        raise SettingsError(f"task {task!r} has no small model to serve a student; set tasks.{task}.small")
    ledger, actor = open_ledger(settings), getpass.getuser()
    moved = by_hand(ledger, task, student, router=router, share=share, actor=actor, reason=reason)
    click.echo(f"task {task}: student {_students(moved)}")


def _router(registry: Registry, task: str, name: str | None, student: str | None) -> Artifact:
    """The router to be put in force: one that was fitted on what the model in service answered."""
    found = registry.artifact(name) if name else registry.newest("router", task, student=student)
    if found is None or found.task != task or found.kind != "router":
        raise StepdownError(f"task {task!r} has no such router; `stepdown fit --task {task}` makes one")
    if found.settings.get("student") != student:
        raise StepdownError(
            f"router {found.id!r} was fitted on the answers of another small model than the one in service; "
            f"`stepdown fit --task {task}` makes one for it"
        )
    return found


@click.command()
@settings_option
@task_option
def rollback(settings: Settings, task: str) -> None:
    """Put back what was in force before the last promotion; before the first one is mode strong.

    A student under trial is dropped; one that went live goes with all the steps by which it did. Done
    again, it goes back one promotion more: what was rolled back does not come back by itself.
    """
    declared_task(settings, task)
    registry = Registry(open_ledger(settings))
    found = rollback_of(registry.history(task))
    if found is None:
        raise StepdownError(f"task {task!r} has no promotion to roll back; it is in mode strong")
    _move(registry, task, found.to, f"rollback of promotion {found.named}", evidence=found.evidence)


def _move(
    registry: Registry,
    task: str,
    to: Deployed,
    reason: str,
    evidence: Mapping[str, Any] = {},
) -> None:
    current = registry.current(task)
    if current is not None and current.deployed == to:
        raise StepdownError(f"task {task!r} is in mode {to.mode} already, with {to.artifact or 'no router'}")
    moved = registry.promote(
        task,
        to,
        actor=getpass.getuser(),
        reason=reason,
        evidence=evidence,
        after=current.sequence if current else 0,
    )
    if not moved:
        raise StepdownError(f"task {task!r} was promoted by somebody else meanwhile; look, and try again")
    student = f", student {to.student}" if to.student else ""
    click.echo(
        f"task {task}: {current.mode if current else Mode.STRONG} -> {to.mode} "
        f"({to.artifact or 'no router'}{student})"
    )
