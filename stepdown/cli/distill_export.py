"""`stepdown distill export` and `stepdown distill practise`: a student in another form, and its practice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option

if TYPE_CHECKING:
    from stepdown.ledger import Ledger
    from stepdown.records import Artifact

VARIANTS = ("adapter", "merged", "fp8", "int8", "gguf")


@click.command()
@settings_option
@click.argument("task")
@click.option("--student", help="Id of the student; if not given, the one trained last.")
@click.option("--variant", type=click.Choice(VARIANTS), required=True, help="The form.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to copy its files to; a new one."
)
def export(settings: Any, task: str, student: str | None, variant: Any, out: Path | None) -> None:
    """Bring a student of TASK into another form, as a student of its own."""
    from distill.export import export as export_student
    from stepdown.errors import TrainingError
    from stepdown.students import Store, manifest_of, served_name

    declared_task(settings, task)
    if out is not None and out.exists():
        raise TrainingError(f"folder {str(out)!r} is there already; name a new one for --out")
    ledger = open_ledger(settings)
    made = export_student(ledger, settings, task, _student(ledger, task, student), variant)
    folder = Store(settings.students_folder).path(manifest_of(made))
    if out is not None:
        part = out.with_name(f".{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(folder, part)
        folder = part.replace(out)
    click.echo(f"student {made.id} ({variant}), served as {served_name(made.id)}: {folder}")
    like = made.summary.get("likeness")
    if like:
        click.echo(
            f"against {like['against']} on fixed prompts: logits {like['error']:.2%} away, the same "
            f"likeliest token at {like['same_top']} of {like['positions']} positions"
        )


@click.command()
@settings_option
@click.argument("task")
@click.option("--student", help="Id of the student, which must be served; if not given, the one in service.")
@click.option("--report", "only_report", is_flag=True, help="Only say what the rounds so far brought.")
def practise(settings: Any, task: str, student: str | None, only_report: bool) -> None:
    """Have a student of TASK sample answers to what it failed, and keep those that checks find right."""
    from distill.practice import practice_report, why_no_round
    from distill.practice import practise as practise_student

    declared_task(settings, task)
    ledger = open_ledger(settings)
    if not only_report:
        who, dataset = _serving(ledger, task, student), _dataset(ledger, task)
        why_not = why_no_round(ledger, settings, task, who, dataset)
        kept = None
        if why_not is None:
            kept = practise_student(ledger, settings, os.environ, task, who, dataset)
            why_not = "it failed no training prompt that a check can tell a right answer to"
        click.echo(f"no round: {why_not}" if kept is None else f"practice {kept.id}")
    click.echo("\n".join(practice_report(ledger, task)))


def _student(ledger: Ledger, task: str, name: str | None) -> Artifact:
    """The student of an id, or the newest that is no other one's variant."""
    from stepdown.errors import TrainingError
    from stepdown.registry import Registry
    from stepdown.students import STUDENT

    if name is not None:
        named = Registry(ledger).artifact(name)
        if (named.kind, named.task) != (STUDENT, task):
            raise TrainingError(
                f"artifact {name!r} is a {named.kind} of task {named.task!r}, no student of {task!r}; "
                f"`stepdown students --task {task}` lists those"
            )
        return named
    trained = Registry(ledger).newest(STUDENT, task, student=None)
    if trained is None:
        raise TrainingError(f"task {task!r} has no student; train one: stepdown distill train {task}")
    return trained


def _serving(ledger: Ledger, task: str, name: str | None) -> Artifact:
    from stepdown.registry import Registry

    return _student(ledger, task, name or Registry(ledger).deployed(task).student)


def _dataset(ledger: Ledger, task: str) -> Artifact:
    from stepdown.errors import DatasetError
    from stepdown.registry import Registry

    dataset = Registry(ledger).newest("dataset", task)
    if dataset is None:
        raise DatasetError(f"task {task!r} has no dataset; build one: stepdown distill dataset {task}")
    return dataset
