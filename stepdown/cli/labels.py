"""The command that says how far labels can be trusted."""

from __future__ import annotations

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option, task_option
from stepdown.settings import Settings

NOTHING = (
    "nothing of task {task!r} is labelled yet: it takes traffic, and a check with references, a judge, people"
    " or feedback. `stepdown report --task {task}` says what is missing"
)


@click.command()
@settings_option
@task_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def labels(settings: Settings, task: str, as_json: bool) -> None:
    """Say how far each labeller can be trusted, and what contradicts what."""
    from evals.labeller_error import labeller_errors
    from evals.report import to_json
    from evals.report.labels_text import error_sections

    errors = labeller_errors(open_ledger(settings), task, declared_task(settings, task))
    if as_json:
        click.echo(to_json(errors).decode())
        return
    sections = ["\n".join(section) for section in error_sections(errors) if section]
    click.echo("\n\n".join(sections) if sections else NOTHING.format(task=task))
