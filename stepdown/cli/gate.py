"""The command that shows what the gate said of a student."""

from __future__ import annotations

import json

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option
from stepdown.errors import StepdownError
from stepdown.settings import Settings

LEAST_DIGITS = 4


@click.command()
@settings_option
@click.argument("task")
@click.option("--student", metavar="ID", help="Of this student, by the beginning of its id; else the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def gate(settings: Settings, task: str, student: str | None, as_json: bool) -> None:
    """Show the gate's verdict on TASK's newest candidate, line by line."""
    from distill.evaluation import gates, read_gate, render_gate
    from distill.verdict import as_values

    declared_task(settings, task)
    if student is not None and len(student) < LEAST_DIGITS:
        raise StepdownError(f"--student {student!r}: give {LEAST_DIGITS} characters of its id at least")
    found = gates(open_ledger(settings), task, student or "")
    if not found:
        whom = f" to a student {student!r}" if student else ""
        raise StepdownError(f"task {task!r} has no gate yet{whom}; `stepdown night --now` makes one")
    verdict = read_gate(found[0])
    click.echo(json.dumps(as_values(verdict), indent=1) if as_json else render_gate(verdict))
    click.echo(f"gate {found[0].id}, {found[0].at:%Y-%m-%d %H:%M} UTC", err=as_json)
