"""The command that builds a task's dataset, shows its card, and carries datasets in and out as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option
from stepdown.errors import StepdownError
from stepdown.settings import Settings

if TYPE_CHECKING:
    from distill.dataset import TokenCounter
    from stepdown.ledger import Ledger
    from stepdown.records import Artifact

PROBE = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"}]}
IN = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)


@click.command()
@settings_option
@click.argument("task")
@click.option("--import", "source", type=IN, help="Build it from this fine-tuning JSONL, not the ledger.")
@click.option("--id", "name", help="Show or export this dataset, as it is kept, and build none.")
@click.option("--export", "target", type=OUT, help="Write a part of it to this file, as fine-tuning JSONL.")
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test"]),
    default="train",
    show_default=True,
    help="Part that --export writes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def dataset(
    settings: Settings,
    task: str,
    source: Path | None,
    name: str | None,
    target: Path | None,
    part: str,
    as_json: bool,
) -> None:
    """Build the dataset of TASK from the ledger, keep it, and print its card.

    The card says what is in it, where each answer came from, what was left out and why. Built twice from
    the same, it is the same dataset.
    """
    import json

    from distill.dataset.card import render_card

    declared_task(settings, task)
    if source is not None and name is not None:
        raise click.UsageError("--import builds a dataset and --id names one that is kept; give one of them")
    ledger = open_ledger(settings)
    kept = _named(ledger, task, name) if name else _built(ledger, settings, task, source)
    card = dict(kept.summary)
    if target is not None or name:
        card = _exported(ledger, kept, target, part)
    if as_json:
        click.echo(json.dumps({"id": kept.id, **card}, indent=2))
    else:
        click.echo(render_card(card, kept.id), nl=False)


def _built(ledger: Ledger, settings: Settings, task: str, source: Path | None) -> Artifact:
    from distill.dataset import build_dataset, import_dataset, keep_dataset

    count = _counter(settings, task)
    if source is not None:
        return keep_dataset(ledger, import_dataset(ledger, settings, task, source, count=count))
    return keep_dataset(ledger, build_dataset(ledger, settings, task, count=count))


def _named(ledger: Ledger, task: str, name: str) -> Artifact:
    from stepdown.registry import Registry

    found = Registry(ledger).artifact(name)
    if (found.kind, found.task) != ("dataset", task):
        raise StepdownError(
            f"artifact {name!r} is a {found.kind} of task {found.task!r}, no dataset of {task!r}"
        )
    return found


def _exported(ledger: Ledger, kept: Artifact, target: Path | None, part: str) -> dict[str, object]:
    """The card of a dataset whose texts were read; written where that was asked for."""
    from distill.dataset import PARTS, read_dataset
    from distill.dataset.jsonl import write_examples

    read = read_dataset(ledger, kept)
    if target is not None:
        (chosen,) = (one for one in PARTS if one == part)
        written = write_examples(target, read.parts[chosen])
        click.echo(f"{written:,} examples of part {part} written to {target}", err=True)
    return dict(read.card)


def _counter(settings: Settings, task: str) -> TokenCounter:
    """The student's own tokenizer; where it cannot be had, the rule of thumb, and that is said."""
    from distill.dataset import approximate_tokens
    from distill.dataset.build import student_settings
    from distill.training.tokens import open_counter

    student_settings(settings, task)
    try:
        counter = open_counter(settings, task)
        counter([PROBE])
    except StepdownError as error:
        click.echo(
            f"stepdown: tokens are counted as four characters each, which is not exact: {error}", err=True
        )
        return approximate_tokens
    return counter
