"""Commands about evidence: labels, the router's fit, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option, task_option
from stepdown.settings import Settings


@click.command()
@settings_option
@task_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw the cost-quality curve.")
def report(settings: Settings, task: str, as_json: bool, png: Path | None) -> None:
    """Say what was saved, net of everything, and what it cost in quality."""
    from evals.report import build_report, render_text, to_json

    declared_task(settings, task)
    built = build_report(open_ledger(settings), settings, task)
    click.echo(to_json(built).decode() if as_json else render_text(built))
    if png is not None:
        from evals.report.chart import write_png

        write_png(built, png)
        click.echo(f"The curve is drawn in {png}.", err=True)


@click.command()
@settings_option
@task_option
@click.argument("file", type=click.File("rb"))
def answers(settings: Settings, task: str, file: IO[bytes]) -> None:
    """Upload an answer file: one {"prompt", "reference", "check"?} a line; - is standard input."""
    from evals.answers import upload_answers

    declared_task(settings, task)
    counts = upload_answers(open_ledger(settings), task, file)
    click.echo(
        f"{counts.added} references added, {counts.changed} changed, {counts.unchanged} as before; "
        f"{counts.relabel} labels will be made anew"
    )


@click.command()
@settings_option
@task_option
def label(settings: Settings, task: str) -> None:
    """Label what has no label yet, now and in this process."""
    from evals.labelling import label_all

    only = {task: declared_task(settings, task)}
    worker = settings.worker
    counts = label_all(open_ledger(settings), only, batch=worker.batch, budget_s=worker.soft_limit_s)
    click.echo(
        f"{counts.labelled} calls labelled: {counts.good} good, {counts.bad} bad, {counts.unscored} unscored"
    )
    click.echo(f"{counts.waiting} calls wait for a reference")
    if not only[task].checks:
        click.echo(f"task {task!r} declares no check: add [tasks.{task}.checks.CHECK] to the settings")


@click.command()
@settings_option
@task_option
def fit(settings: Settings, task: str) -> None:
    """Fit a task's router if its labels allow it, now and in this process."""
    from evals.refit import refit

    done = refit(open_ledger(settings), task, declared_task(settings, task))
    click.echo(f"router {done.router} fitted" if done.router else f"no router fitted: {done.why_not}")
    click.echo(f"promoted to {done.step.mode}: {done.step.reason}" if done.step else "nothing promoted")
