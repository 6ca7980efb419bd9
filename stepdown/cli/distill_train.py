"""The command that trains a student."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from sqlalchemy import func, select

from stepdown.cli.options import declared_task, open_ledger, settings_option
from stepdown.errors import TrainingError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import Settings
from stepdown.students import served_name

if TYPE_CHECKING:
    from distill.training.dry_run import Estimate

NEWEST = "newest"
LOOK_EVERY_S = 2.0
GB = 1e9
MICROS_PER_USD = 1_000_000


@click.command()
@click.argument("task")
@settings_option
@click.option("--dataset", "name", default=NEWEST, show_default=True, help="Artifact id of the dataset.")
@click.option("--dry-run", is_flag=True, help="Say what it would take, and train nothing.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Longest time that it may take.")
def train(settings: Settings, task: str, name: str, dry_run: bool, minutes: float | None) -> None:
    """Train a student of TASK, or take its training up where it was.

    A training that was broken off, by its time, a kill or a full disk, goes on at its last checkpoint when
    the command is given again; one that is done is not done again.
    """
    from distill.training.dry_run import estimate
    from distill.training.launch import train as train_student

    declared_task(settings, task)
    ledger = open_ledger(settings)
    dataset = _dataset(ledger, task, name)
    seconds_left = minutes * 60 if minutes else math.inf
    if dry_run:
        found = estimate(ledger, settings, task, dataset, seconds_left=seconds_left)
        click.echo(in_words(found))
        if found.refusal:
            raise TrainingError(f"it cannot be trained: {found.refusal}")
        return
    with _progress_line(ledger):
        made = train_student(ledger, settings, task, dataset, deadline=time.monotonic() + seconds_left)
    click.echo(_made(made))


def _dataset(ledger: Ledger, task: str, name: str) -> Artifact:
    registry = Registry(ledger)
    found = registry.newest("dataset", task) if name == NEWEST else registry.artifact(name)
    if found is None or found.kind != "dataset" or found.task != task:
        raise TrainingError(
            f"task {task!r} has no such dataset; `stepdown distill dataset {task}` builds one"
        )
    return found


def in_words(found: Estimate) -> str:
    """An estimate as text."""
    seconds, memory, cost = found.seconds, found.memory_bytes, found.cost_usd_micros
    lines = [
        f"run       {found.run[:24]}",
        f"data      {found.examples:,} examples, {found.tokens:,} tokens in {found.steps:,} steps at most",
        f"time      {seconds.likely / 60:.1f} min ({seconds.low / 60:.1f} to {seconds.high / 60:.1f}), "
        f"by {found.speed_source}",
        f"memory    {memory.likely / GB:.2f} GB ({memory.low / GB:.2f} to {memory.high / GB:.2f}) of "
        f"{found.memory_limit_bytes / GB:.2f} GB on {found.device}",
        f"disk      {found.disk_bytes / GB:.2f} GB of {found.disk_free_bytes / GB:.2f} GB",
        f"cost      ${cost.likely / MICROS_PER_USD:.2f} (${cost.low / MICROS_PER_USD:.2f} to "
        f"${cost.high / MICROS_PER_USD:.2f})",
        *(f"warning   {warning}" for warning in found.warnings),
    ]
    return "\n".join(lines)


def _made(student: Artifact) -> str:
    summary = student.summary
    loss = summary.get("validation_loss")
    held_out = f", validation loss {loss:.4f} at step {summary['kept_step']}" if loss is not None else ""
    early = " (stopped early)" if summary["stopped_early"] else ""
    return (
        f"student {student.id}\n"
        f"  served as {served_name(student.id)}\n"
        f"  {summary['steps']} of {summary['most_steps']} steps{early}, {summary['seconds']:.0f} s{held_out}"
    )


@contextmanager
def _progress_line(ledger: Ledger) -> Iterator[None]:
    """Show the newest point of the curves on one line, for as long as the block runs."""
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(ledger, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(ledger: Ledger, ended: threading.Event) -> None:
    table, shown = schema.progress, ""
    before = ledger.rows(select(func.max(table.c.at)))[0][0]
    newest = select(table).order_by(table.c.at.desc(), table.c.step.desc()).limit(1)
    while not ended.wait(LOOK_EVERY_S):
        for row in ledger.rows(newest if before is None else newest.where(table.c.at > before)):
            loss = row._mapping["values"].get("loss")
            line = f"step {row.step} of {row._mapping['values'].get('steps')}: {row.kind} loss {loss:.4f}"
            if line != shown:
                click.echo(f"\r{line:<60}" if _is_terminal() else line, nl=not _is_terminal(), err=True)
                shown = line
    if shown and _is_terminal():
        click.echo(err=True)


def _is_terminal() -> bool:
    return sys.stderr.isatty()
