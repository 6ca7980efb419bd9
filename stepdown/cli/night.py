"""The command of the night: start one now, and see how far it is."""

from __future__ import annotations

import getpass
import os
import time
from typing import TYPE_CHECKING

import click

from stepdown.cli.options import declared_task, open_ledger, settings_of
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.settings import DEFAULT_FILE, DEFAULT_TASK, Settings

if TYPE_CHECKING:
    from stepdown.records import Night

LOOK_S = 2.0
BROKEN_OFF = (
    "stopped; the worker's next look goes on from there, and so does `stepdown night --task {} --now`"
)


_settings = click.option(
    "--settings", metavar="FILE", help=f"Settings file (TOML); {DEFAULT_FILE} if not given."
)
_task = click.option("--task", metavar="NAME", help=f"Name of the task; {DEFAULT_TASK!r} if not given.")


@click.group(invoke_without_command=True)
@_settings
@_task
@click.option("--now", "starts", is_flag=True, help="Start a night, or go on with one that was broken off.")
@click.option("--detach", is_flag=True, help="With --now: leave it to the worker, which looks every minute.")
@click.pass_context
def night(context: click.Context, settings: str | None, task: str | None, starts: bool, detach: bool) -> None:
    """Distil a student from the traffic now; without --now, show how far the newest night is.

    Stages: label, slices, dataset, train, export, evaluate, practice, gate, relabel, fit, bound, canary,
    report. Stopped or killed at any time, it is taken up where it was.
    """
    if context.invoked_subcommand is None:
        name, read = task or DEFAULT_TASK, settings_of(settings)
        declared_task(read, name)
        if starts or detach:
            _start(read, name, detach)
        else:
            _show(read, name, as_json=False)


@night.command()
@_settings
@_task
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_context
def status(context: click.Context, settings: str | None, task: str | None, as_json: bool) -> None:
    """Show the newest night's stages, with their outcomes and why, and when the next one begins."""
    above = context.parent.params if context.parent else {}
    read = settings_of(settings or above.get("settings"))
    name = task or above.get("task") or DEFAULT_TASK
    declared_task(read, name)
    _show(read, name, as_json=as_json)


def _start(settings: Settings, task: str, detach: bool) -> None:
    ledger = open_ledger(settings)
    begun = _begun(ledger, settings, task)
    if detach:
        click.echo(f"night {begun.id} is left to the worker; `stepdown night status --task {task}` shows it")
        return
    try:
        _run(ledger, settings, begun)
    except KeyboardInterrupt:
        raise StepdownError(BROKEN_OFF.format(task)) from None


def _show(settings: Settings, task: str, *, as_json: bool) -> None:
    from distill.night.status import status as status_of
    from distill.night.text import render_status
    from evals.report.encode import to_json

    found = status_of(open_ledger(settings), settings, task)
    click.echo(to_json(found).decode() if as_json else render_status(found), nl=False)


def _begun(ledger: Ledger, settings: Settings, task: str) -> Night:
    from distill.night.run import start_now, under_way

    broken_off = under_way(ledger, task)
    if broken_off is not None:
        click.echo(f"night {broken_off.id} is not over, and is gone on with")
        return broken_off
    begun = start_now(ledger, settings, task, getpass.getuser())
    click.echo(f"night {begun.id}")
    return begun


def _run(ledger: Ledger, settings: Settings, begun: Night) -> None:
    """Run a night here; where another process does, show how far that is."""
    from distill.night.book import Book
    from distill.night.machine import ENDED, is_over
    from distill.night.run import look

    shown: set[str] = set()
    book = Book(ledger, begun.task)
    while not is_over(events := book.events(begun.id)):
        for event in events:
            if event.event == ENDED and event.stage not in shown:
                click.echo(f"{event.stage}: {event.outcome}: {event.reason}")
                shown.add(event.stage)
        if look(ledger, settings, os.environ, begun.task, say=click.echo) is None:
            time.sleep(LOOK_S)
    _show(settings, begun.task, as_json=False)
