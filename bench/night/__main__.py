"""`python -m bench.night --base FOLDER --python PYTHON --recording FILE`: a night with real models.

A recorded strong model teaches a checkpoint that a real vLLM serves. Everything between is the product's own
night: labels, dataset, training, evaluation, gate, relabelling, router, bound, and the start of the rollout.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import click
import msgspec
from sqlalchemy import func, select

from bench.night.compare import compare
from bench.night.fill import fill, of_kinds
from bench.night.server import free_port, vllm
from bench.night.text import compared_lines
from distill.night.run import look, start_now
from distill.night.status import status
from distill.night.text import render_status
from evals.labelling import label_all
from evals.refit import refit
from evals.replay.recording import RecordedPair, load_recording
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Mode
from stepdown.registry import Registry
from stepdown.settings import DEFAULT_TASK, Settings, load_settings

SETTINGS = Path(__file__).with_name("night.toml")
LEFT_OUT = ("arithmetic", "discount", "unit_conversion")  # long answers, which take a CPU most of the time
A_DAY = timedelta(days=1)
LABELLING_S = 600.0


@click.command()
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--python", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--recording", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--home", type=click.Path(path_type=Path), default=Path(".stepdown/night"), show_default=True)
@click.option("--limit", type=click.IntRange(min=200), help="Use only so many prompts, evenly by kind.")
@click.option("--again", is_flag=True, help="Run nothing: make the report of the night in --home anew.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the report here too.")
def main(
    base: Path, python: Path, recording: Path, home: Path, limit: int | None, again: bool, out: Path | None
) -> None:
    """Run a night with real models and say what it changed."""
    port = free_port()
    settings = _settings(base.absolute(), python.absolute(), home, port)
    if not again:
        pairs = of_kinds(load_recording(recording), LEFT_OUT)
        if limit is not None:
            pairs = [pairs[i * len(pairs) // limit] for i in range(min(limit, len(pairs)))]
        _run(settings, pairs, base.absolute(), python.absolute(), port)
    report = "\n".join(_report(Ledger(settings.database_url), settings, base)) + "\n"
    click.echo(report, nl=False)
    if out is not None:
        out.write_text(report)


def _run(settings: Settings, pairs: Sequence[RecordedPair], base: Path, python: Path, port: int) -> None:
    """Fill a new home with the traffic, and run a night over it."""
    home = Path(settings.home)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    ledger = Ledger(settings.database_url)
    fill(ledger, settings, DEFAULT_TASK, pairs, until=now(), over=A_DAY)
    label_all(ledger, settings.tasks, batch=settings.worker.batch, budget_s=LABELLING_S)
    _to_shadow(ledger, settings)
    with vllm(python, base, home / "vllm.log", port=port):
        start_now(ledger, settings, DEFAULT_TASK, "bench")
        look(ledger, settings, os.environ, DEFAULT_TASK, say=click.echo)
    ledger.close()


def _settings(base: Path, python: Path, home: Path, port: int) -> Settings:
    overrides = {
        "home": str(home.absolute()),
        "models": {"small": {"url": f"http://127.0.0.1:{port}/v1"}},
        "trainer": {"python": str(python)},
        "tasks": {DEFAULT_TASK: {"student": {"base": str(base)}}},
    }
    return load_settings(SETTINGS, environ={}, overrides=overrides)


def _to_shadow(ledger: Ledger, settings: Settings) -> None:
    """What the workers do before the first night: the task is in shadow, and has its router if it can."""
    by_itself = msgspec.structs.replace(settings.tasks[DEFAULT_TASK], promotion="auto")
    refit(ledger, DEFAULT_TASK, by_itself)
    assert Registry(ledger).deployed(DEFAULT_TASK).mode in (Mode.SHADOW, Mode.ROUTE)


def _report(ledger: Ledger, settings: Settings, base: Path) -> Iterator[str]:
    """What the night in a ledger changed."""
    prompts = int(ledger.rows(select(func.count()).select_from(schema.requests))[0][0])
    yield f"NIGHT with real models: {prompts:,} prompts of recorded traffic, taken as those of one day"
    yield f"  strong is Qwen2.5-Coder-1.5B-Instruct, recorded; small is the checkpoint {base.name}, on vLLM"
    yield f"  left out: {', '.join(LEFT_OUT)}, whose long answers would take most of the time on a CPU"
    yield f"  prices are assumed, and so is the rent of what trains; measured on {os.cpu_count()} CPU cores"
    yield ""
    yield render_status(status(ledger, settings, DEFAULT_TASK)).rstrip()
    student = Registry(ledger).newest("student", DEFAULT_TASK)
    if student is not None:
        task = settings.tasks[DEFAULT_TASK]
        yield ""
        compared = compare(ledger, DEFAULT_TASK, task, student.id)
        yield from compared_lines(compared, task.max_quality_loss, task.confidence)


if __name__ == "__main__":
    main()
