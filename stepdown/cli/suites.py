"""What `stepdown eval` and `stepdown trial` share: a suite's options, recorded models, progress, results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepdown.cli.options import declared_task
from stepdown.errors import SettingsError, StepdownError
from stepdown.settings import DEFAULT_TASK, ModelSettings, Settings

if TYPE_CHECKING:
    from evals.harness.asking import Spent
    from evals.harness.evaluate import Done, Plan
    from evals.harness.form import Evaluation
    from evals.harness.suite import Suite
    from stepdown.ledger import Ledger

SUITE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)
STOPPED = "stopped; the answers so far are kept, and the same command goes on from there"

OPTIONS = (
    click.option("--task", help="The suite's task: its checks and judges may be used, and it pays."),
    click.option("--check", help="Check of the cases that name none."),
    click.option("--limit", type=click.IntRange(min=1), help="Take only so many cases, drawn by --seed."),
    click.option("--seed", type=int, help="Of the draw; the suite's own if not given."),
    click.option(
        "--skip-bad-lines", is_flag=True, help="Leave out lines that cannot be used, and list them."
    ),
    click.option("--concurrency", type=click.IntRange(min=1), help="Calls at once of one model."),
    click.option(
        "--recording", type=SUITE, help="Serve it as the models recorded-strong and recorded-small."
    ),
    click.option("--html", type=OUT, help="Write the report to this file."),
    click.option("--json", "json_file", type=OUT, help="Write the evaluation to this file."),
)


def suite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how to read a suite, and where to write what comes out."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def read_suite(settings: Settings, path: Path, options: Mapping[str, Any]) -> Suite:
    """The suite that a command names."""
    from evals.harness.load import Reading, load_suite

    task = options["task"]
    if task is not None and task != DEFAULT_TASK:
        declared_task(settings, task)
    reading = Reading(
        tasks=settings.tasks,
        task=task,
        limit=options["limit"],
        seed=options["seed"],
        check=options["check"],
        skip_bad_lines=options["skip_bad_lines"],
    )
    return load_suite(path, reading)


@dataclass(frozen=True, slots=True)
class Served:
    """The models that can be tried.

    Attributes:
        settings: All settings, the recorded models in them.
        identities: What the cache knows the recorded models by.
        strong: Alias of the strong model, and of the small one: the recorded ones where there are any.
        notes: What a reader has to know of them.
    """

    settings: Settings
    identities: Mapping[str, ModelSettings]
    strong: str | None
    small: str | None
    notes: Sequence[str] = ()

    def declared(self, alias: str) -> str:
        """An alias, if it is one.

        Raises:
            SettingsError: It is not declared.
        """
        if alias not in self.settings.models:
            known = ", ".join(self.settings.models) or "none"
            raise SettingsError(
                f"model {alias!r} is not declared under [models]; declared: {known}. "
                "--recording FILE declares recorded-strong and recorded-small"
            )
        return alias


@contextmanager
def served(settings: Settings, suite: Suite, recording: Path | None) -> Iterator[Served]:
    """The models that a suite can be tried on, for the length of the block."""
    from evals.harness.recorded import NOTE, recorded_models
    from evals.replay.upstream import model_name
    from stepdown.cli.replay import DEFAULT_PRICES
    from stepdown.records import Tier

    if recording is None:
        task = settings.tasks.get(suite.task)
        yield Served(settings, {}, task.strong if task else None, task.small if task else None)
        return
    with recorded_models(settings, recording, DEFAULT_PRICES) as models:
        strong, small = model_name(Tier.STRONG), model_name(Tier.SMALL)
        yield Served(models.settings, models.identities, strong, small, [NOTE])


def run_plan(ledger: Ledger, plan: Plan) -> Done:
    """Run a plan, its progress shown where somebody watches.

    Raises:
        StepdownError: It was stopped with Ctrl-C, or the run itself failed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from evals.harness.evaluate import evaluate

    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    total = len(plan.suite.cases) * len(plan.contenders)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        asking, scoring = (progress.add_task(word, total=total) for word in ("asking", "scoring"))
        watched = replace(
            plan,
            on_reply=lambda: progress.advance(asking),
            on_score=lambda: progress.advance(scoring),
        )
        try:
            return evaluate(ledger, watched)
        except KeyboardInterrupt:
            raise StepdownError(STOPPED) from None


def conclude(ledger: Ledger, done: Done, options: Mapping[str, Any]) -> None:
    """Print an evaluation, keep it, and write it where the options say."""
    from evals.harness.keep import keep_evaluation

    kept = keep_evaluation(ledger, done.evaluation)
    click.echo("\n" + _spent(done.spent))
    write_out(done.evaluation, options["html"], options["json_file"])
    click.echo(f"evaluation {kept.id}")
    if all(column.scored == 0 for column in done.evaluation.columns):
        raise StepdownError("no answer could be scored; the reasons are above")


def write_out(evaluation: Evaluation, html: Path | None, json_file: Path | None) -> None:
    """Write an evaluation as HTML, as JSON, or both."""
    from evals.harness.form import to_json
    from evals.harness.page import to_html

    for path, encode in ((html, to_html), (json_file, to_json)):
        if path is None:
            continue
        try:
            path.write_bytes(encode(evaluation))
        except OSError as error:
            raise StepdownError(f"{str(path)!r} cannot be written: {error.strerror}") from error
        click.echo(f"written to {path}")


def _spent(spent: Spent) -> str:
    from evals.report.layout import dollars

    unknown = f", and that of {spent.unpriced:,} questions is not known" if spent.unpriced else ""
    return (
        f"{spent.asked:,} answers asked for now, {spent.cached:,} taken from the cache; "
        f"spent now {dollars(spent.usd_micros)}{unknown}"
    )
