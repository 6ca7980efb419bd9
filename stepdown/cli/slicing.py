"""The command that shows the kinds of query in a task's traffic."""

from __future__ import annotations

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option, task_option
from stepdown.settings import Settings


@click.command()
@settings_option
@task_option
@click.option(
    "--by",
    type=click.Choice(["cluster", "tag", "language", "length"]),
    default="cluster",
    show_default=True,
    help="What to slice by.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--examples", is_flag=True, help="Show the most typical prompt of each cluster.")
@click.option("--rebuild", is_flag=True, help="Cluster the traffic of now, and keep the slices.")
def slices(settings: Settings, task: str, by: str, as_json: bool, examples: bool, rebuild: bool) -> None:
    """Say which kinds of query there are, what each costs, and which may step down."""
    from evals.report.encode import to_json
    from evals.slices.build import newest_slices, slice_task
    from evals.slices.kinds import By
    from evals.slices.report import example_texts, slice_report
    from evals.slices.text import render_slices

    declared, ledger, slicing = declared_task(settings, task), open_ledger(settings), None
    if by == By.CLUSTER:
        slicing = None if rebuild else newest_slices(ledger, task)
        slicing = slicing or slice_task(ledger, task, declared)
    elif rebuild or examples:
        raise click.UsageError(f"--rebuild and --examples are for clusters, not for --by {by}")
    report = slice_report(ledger, settings, task, by=By(by), slicing=slicing)
    if as_json:
        click.echo(to_json(report).decode(), nl=False)
    else:
        click.echo(render_slices(report, example_texts(ledger, report) if examples else None), nl=False)
