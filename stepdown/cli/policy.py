"""Commands that show and move what is in force."""

from __future__ import annotations

import getpass

import click
from sqlalchemy import func, select

from stepdown.cli.options import open_ledger, settings_option, task_option
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger, schema
from stepdown.records import Mode
from stepdown.registry import Registry
from stepdown.settings import DEFAULT_TASK, Settings


@click.command()
@settings_option
def status(settings: Settings) -> None:
    """Show each task's mode, its router and its counts."""
    ledger = open_ledger(settings)
    registry = Registry(ledger)
    for task in settings.tasks or (DEFAULT_TASK,):
        current = registry.current(task)
        click.echo(f"task {task}: mode {current.mode if current else Mode.STRONG}")
        click.echo(f"  router  {(current.artifact if current else None) or 'none'}")
        if current:
            click.echo(f"  since   {current.at:%Y-%m-%d %H:%M:%S} UTC, by {current.actor}: {current.reason}")
        click.echo(f"  ledger  {_counts(ledger, task)}")
    beat = ledger.last_beat("worker")
    click.echo(f"worker: last heartbeat {f'{beat:%Y-%m-%d %H:%M:%S} UTC' if beat else 'never'}")


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
@click.option(
    "--to", "mode", type=click.Choice([mode.value for mode in Mode]), required=True, help="Mode to move to."
)
@click.option("--router", "artifact", help="Artifact id; the newest fitted router if not given.")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the record.")
def promote(settings: Settings, task: str, mode: str, artifact: str | None, reason: str) -> None:
    """Move a task to a mode, or to another router."""
    registry = Registry(open_ledger(settings))
    if mode == Mode.ROUTE:
        newest = registry.artifact(artifact) if artifact else registry.newest("router", task)
        if newest is None or newest.task != task or newest.kind != "router":
            raise StepdownError(f"task {task!r} has no such router; `stepdown fit --task {task}` makes one")
        artifact = newest.id
    _move(registry, task, Mode(mode), artifact, reason)


@click.command()
@settings_option
@task_option
def rollback(settings: Settings, task: str) -> None:
    """Put back what was in force before the last promotion; before the first one is mode strong."""
    registry = Registry(open_ledger(settings))
    history = registry.history(task)
    if not history:
        raise StepdownError(f"task {task!r} was never promoted; it is in mode strong")
    before = history[-2] if len(history) > 1 else None
    mode, artifact = (before.mode, before.artifact) if before else (Mode.STRONG, None)
    _move(registry, task, mode, artifact, f"rollback of promotion {history[-1].sequence}")


def _move(registry: Registry, task: str, mode: Mode, artifact: str | None, reason: str) -> None:
    current = registry.current(task)
    moved = registry.promote(
        task,
        mode=mode,
        artifact=artifact,
        actor=getpass.getuser(),
        reason=reason,
        evidence={},
        after=current.sequence if current else 0,
    )
    if not moved:
        raise StepdownError(f"task {task!r} was promoted by somebody else meanwhile; look, and try again")
    click.echo(
        f"task {task}: {current.mode if current else Mode.STRONG} -> {mode} ({artifact or 'no router'})"
    )
