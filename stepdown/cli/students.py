"""The command that shows a task's students: where each comes from, what became of it, and its bill."""

from __future__ import annotations

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option, task_option
from stepdown.settings import Settings, TaskSettings


@click.command()
@settings_option
@task_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def students(settings: Settings, task: str, as_json: bool) -> None:
    """Say where each student comes from, what it cost and earned, and when it pays itself back."""
    from distill.bill import render_roll, roll
    from evals.report import to_json

    declared = declared_task(settings, task)
    found = roll(open_ledger(settings), settings, task)
    if as_json:
        click.echo(to_json(found).decode(), nl=False)
    elif not found.students:
        click.echo(_nothing(task, declared))
    else:
        click.echo(render_roll(found), nl=False)


def _nothing(task: str, declared: TaskSettings) -> str:
    """Why there are none, and what makes one."""
    if declared.student is None:
        return (
            f"task {task!r} distils no students: set [tasks.{task}.student] with `base`, the checkpoint that "
            f"the small model serves; `stepdown night --task {task} --now` then makes the first one"
        )
    return (
        f"task {task!r} has no students yet: `stepdown night --task {task} --now` begins a night now, and "
        "the schedule begins one at `night.at`"
    )
