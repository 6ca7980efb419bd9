"""`stepdown eval`: suites run, frozen, listed, shown and compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepdown.cli.options import declared_task, open_ledger, settings_option, task_option
from stepdown.cli.suites import (
    OUT,
    SUITE,
    Served,
    conclude,
    read_suite,
    run_plan,
    served,
    suite_options,
    write_out,
)
from stepdown.errors import SettingsError
from stepdown.settings import Settings

if TYPE_CHECKING:
    from evals.harness.policy import PolicyColumn
    from evals.harness.suite import Suite
    from stepdown.ledger import Ledger

REGRESSED = 1


@click.group(name="eval")
def evaluation() -> None:
    """Run models over a suite of cases, and compare what comes out."""


eval = evaluation  # noqa: A001 - the name under which the command line looks the command up


@evaluation.command()
@settings_option
@click.argument("suite_file", metavar="SUITE", type=SUITE)
@click.option("--models", help="Aliases, with commas between; the task's strong and small if not given.")
@click.option("--policy", help="A router's id, `current` or `newest`: what it would have answered.")
@click.option("--baseline", help="Alias that the others are compared with; the suite's own, or strong.")
@suite_options
def run(settings: Settings, suite_file: Path, **options: Any) -> None:
    """Run models over SUITE: a TOML file beside its cases, or JSON lines alone."""
    from evals.harness.contender import Contender
    from evals.harness.evaluate import Plan
    from evals.harness.text import evaluation_lines

    suite, ledger = read_suite(settings, suite_file, options), open_ledger(settings)
    with served(settings, suite, options["recording"]) as models:
        aliases = _aliases(models, options["models"], with_policy=options["policy"] is not None)
        plan = Plan(
            suite=suite,
            contenders=[Contender(name=alias, alias=alias) for alias in aliases],
            baseline=baseline_of(models, suite, aliases, options["baseline"]),
            settings=models.settings,
            environ=os.environ,
            identities=models.identities,
            untimed=frozenset(models.identities),
            policy=_policy(ledger, models, suite, options["policy"]),
            concurrency=options["concurrency"],
            notes=models.notes if set(aliases) & set(models.identities) else (),
        )
        done = run_plan(ledger, plan)
    click.echo("\n".join(evaluation_lines(done.evaluation)))
    conclude(ledger, done, options)


def _aliases(models: Served, named: str | None, *, with_policy: bool) -> list[str]:
    """The models to run: those named, or else the task's; a policy needs both of its task's."""
    own = [alias for alias in (models.strong, models.small) if alias is not None]
    wanted = [name.strip() for name in named.split(",") if name.strip()] if named else own
    if not wanted:
        raise SettingsError("no model to run; name some with --models, or declare the task's strong model")
    both = [*wanted, *own] if with_policy else wanted
    return [models.declared(alias) for alias in dict.fromkeys(both)]


def baseline_of(models: Served, suite: Suite, aliases: list[str], named: str | None) -> str:
    """The baseline: the one named, else the suite's, else the strong model, else the first."""
    if named is not None and named not in aliases:
        raise SettingsError(f"--baseline {named!r} is not among the models: {', '.join(aliases)}")
    candidates = (named, suite.baseline, models.strong, aliases[0])
    return next(alias for alias in candidates if alias is not None and alias in aliases)


def _policy(ledger: Ledger, models: Served, suite: Suite, name: str | None) -> PolicyColumn | None:
    from evals.harness.policy import find_router, policy_column

    if name is None:
        return None
    if models.strong is None or models.small is None:
        raise SettingsError(f"--policy needs the small model of task {suite.task!r}; set tasks.*.small")
    router = find_router(ledger, suite.task, name)
    small = models.settings.models[models.declared(models.small)]
    return policy_column(ledger, router, suite.cases, (models.strong, models.small), small)


@evaluation.command()
@settings_option
@task_option
@click.argument("folder", metavar="OUT_DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--slice", "kind", help="Only requests of this slice.")
@click.option(
    "--by",
    type=click.Choice(["tag", "cluster", "language", "length"]),
    default="tag",
    show_default=True,
    help="What slices are: the callers' tags, or what is found in the prompts.",
)
@click.option(
    "--n", "size", type=click.IntRange(min=1), default=500, show_default=True, help="Cases at most."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw.")
@click.option("--since", type=click.DateTime(), help="Only requests that came at this time (UTC) or later.")
def freeze(settings: Settings, task: str, folder: Path, **options: Any) -> None:
    """Freeze a sample of a task's traffic as a suite in OUT_DIR."""
    from datetime import UTC

    from evals.harness.freeze import Sampling, freeze_suite

    declared = declared_task(settings, task)
    ledger, since = open_ledger(settings), options["since"]
    sampling = Sampling(
        kind=options["kind"],
        size=options["size"],
        seed=options["seed"],
        since=None if since is None else since.replace(tzinfo=UTC),
    )
    slice_of = _slice_of(ledger, task, options["by"])
    frozen = freeze_suite(ledger, task, declared, sampling, folder, slice_of=slice_of)
    click.echo(f"{frozen.cases:,} of {frozen.prompts:,} distinct prompts frozen in {frozen.file}")
    for why, count in frozen.left_out.items():
        click.echo(f"  left out: {count:,} {why}")
    click.echo(f"cases {frozen.cases_hash}")


def _slice_of(ledger: Ledger, task: str, by: str) -> dict[str, str] | None:
    if by == "tag":
        return None
    from evals.slices.build import slice_of
    from evals.slices.kinds import By

    return slice_of(ledger, task, by=By(by))


@evaluation.command()
@settings_option
@click.argument("before")
@click.argument("after")
@click.option("--task", help="Look for `newest` and `previous` among this task's evaluations alone.")
@click.option("--models", help="Models to compare, with commas between; all that are in both if not given.")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Largest probability of finding a regression where there is none.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="A loss of quality up to this is none.",
)
@click.option("--slices", is_flag=True, help="Look for a regression in each slice too.")
@click.option("--intersection", is_flag=True, help="Of two suites, compare the cases that are in both.")
@click.option(
    "--allow-missing",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Largest share of cases that may lack a score.",
)
def diff(settings: Settings, before: str, after: str, **options: Any) -> None:
    """Compare evaluation AFTER with BEFORE; exit code 1 says that there is a significant regression.

    Each is a JSON file, the beginning of an id, `newest`, or `previous` (the one before the newest).
    """
    from evals.harness.diff import Rules, compare_evaluations
    from evals.harness.keep import find_evaluation
    from evals.harness.text import diff_lines

    files = before.endswith(".json") and after.endswith(".json")
    ledger = None if files else open_ledger(settings)
    first, second = (find_evaluation(ledger, name, options["task"]) for name in (before, after))
    rules = Rules(
        models=tuple(name.strip() for name in (options["models"] or "").split(",") if name.strip()),
        alpha=options["alpha"],
        margin=options["margin"],
        slices=options["slices"],
        intersection=options["intersection"],
        allowed_missing=options["allow_missing"],
    )
    found = compare_evaluations(first, second, rules)
    click.echo("\n".join(diff_lines(found)))
    if found.regressions:
        sys.exit(REGRESSED)


@evaluation.command(name="list")
@settings_option
@click.option("--task", help="Only this task's.")
def list_kept(settings: Settings, task: str | None) -> None:
    """List the evaluations in the ledger, the newest first."""
    from evals.harness.keep import kept_evaluations
    from evals.harness.text import kept_lines

    click.echo("\n".join(kept_lines(kept_evaluations(open_ledger(settings), task))))


@evaluation.command()
@settings_option
@click.argument("name")
@click.option("--html", type=OUT, help="Write the report to this file.")
@click.option("--json", "json_file", type=OUT, help="Write the evaluation to this file.")
def show(settings: Settings, name: str, html: Path | None, json_file: Path | None) -> None:
    """Show evaluation NAME: a JSON file, the beginning of an id, `newest` or `previous`."""
    from evals.harness.keep import find_evaluation
    from evals.harness.text import evaluation_lines

    ledger = None if name.endswith(".json") else open_ledger(settings)
    found = find_evaluation(ledger, name)
    click.echo("\n".join(evaluation_lines(found)))
    write_out(found, html, json_file)
