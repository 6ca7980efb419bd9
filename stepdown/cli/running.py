"""Commands that run the service: all of it, or one of its processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from stepdown.cli.options import RESOLVED, model_values, open_ledger, settings_option
from stepdown.errors import SettingsError, StepdownError
from stepdown.settings import DEFAULT_TASK, Settings, load_settings

if TYPE_CHECKING:
    from router.picking import StagesOf


@click.command()
@click.option("--settings", "path", metavar="FILE", help="Settings file (TOML).")
@click.option("--strong", metavar="MODEL", help="Strong model: URL#NAME, openai/NAME or PROVIDER/NAME.")
@click.option("--small", metavar="MODEL", help="Small model, named likewise.")
@click.option("--home", metavar="DIR", help="Folder for the ledger and the broker's files.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--dashboard-port", type=int, help="Port of the dashboard.")
def up(path: str | None, **options: Any) -> None:
    """Start proxy, workers, schedule and dashboard as one supervised process tree; Ctrl-C stops it."""
    settings = load_settings(path, overrides=_overrides(**options))
    if not settings.models:
        raise SettingsError("no model is declared; give --strong MODEL, or [models.strong] in stepdown.toml")
    from stepdown.preflight import alone_in, check_port
    from stepdown.processes import up_children
    from stepdown.supervisor import supervise

    with alone_in(Path(settings.home).absolute()):
        check_port("proxy.port", settings.proxy.host, settings.proxy.port)
        check_port("dashboard.port", settings.dashboard.host, settings.dashboard.port)
        check_settings(settings, os.environ)
        open_ledger(settings).close()
        warn_of_suites(settings)
        resolved = write_settings(settings)
        sys.exit(supervise(up_children(resolved, settings)))


@click.command()
@settings_option
def proxy(settings: Settings) -> None:
    """Start the proxy alone."""
    from router.serving import serve

    serve(settings, os.environ, stages_of=_stages_of(settings))


@click.command()
@settings_option
@click.option("--beat", "with_beat", is_flag=True, help="Run the schedule in this worker too.")
@click.option("--queue", "queues", multiple=True, help="Queue: labels, fits or evals; all if unset.")
def worker(settings: Settings, with_beat: bool, queues: tuple[str, ...]) -> None:
    """Start a worker alone."""
    from workers.run import run_worker

    run_worker(settings, beat=with_beat, queues=queues)


@click.command()
@settings_option
def beat(settings: Settings) -> None:
    """Start the schedule alone; one for all workers."""
    from workers.run import run_beat

    run_beat(settings)


def _stages_of(settings: Settings) -> StagesOf:
    """What picks among the answers of a portfolio; checks and judges are loaded only where a task has one."""
    from router.picking import plain_stages

    if not any(task.portfolio for task in settings.tasks.values()):
        return plain_stages
    from evals.picking.stages import picking_stages

    return picking_stages(settings, os.environ)


def check_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse at once what a child would fail by, or only a label would tell of.

    Raises:
        SettingsError: A key's variable is not set, proxy or dashboard would be open to other machines, or
            traces are asked for and what sends them is not installed.
        CheckError: A check is not known, its settings are wrong, or it needs a sandbox and there is none.
    """
    from dashboards.access import check_dashboard
    from evals.checks import build_checks
    from router.access import Annotators, check_address
    from router.upstream.factory import read_keys
    from stepdown.tracing import open_tracing

    check_address(settings)
    check_dashboard(settings)
    Annotators(settings)
    read_keys(settings, environ)
    for task in settings.tasks.values():
        build_checks(task.checks)
    if tracing := open_tracing(settings.tracing):
        tracing.close()


def warn_of_suites(settings: Settings) -> None:
    """Say which suites cannot be run; what serves traffic does not wait for them."""
    if not any(task.suites for task in settings.tasks.values()):
        return
    from evals.harness.load import Reading, load_suite

    for name, task in settings.tasks.items():
        for path in task.suites:
            try:
                load_suite(Path(path), Reading(tasks=settings.tasks, task=name))
            except StepdownError as error:
                click.echo(f"stepdown: suite {path!r} of task {name!r} will not run: {error}", err=True)


def write_settings(settings: Settings) -> Path:
    """Write the resolved settings for the children alone: the URL of a broker may hold a password."""
    home = Path(settings.home).absolute()
    home.mkdir(parents=True, exist_ok=True)
    file = home / RESOLVED
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_bytes(
        msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(settings, home=str(home))))
    )
    return file


def _overrides(
    strong: str | None,
    small: str | None,
    home: str | None,
    host: str | None,
    port: int | None,
    dashboard_port: int | None,
) -> dict[str, Any]:
    values: dict[str, Any] = {"home": home} if home else {}
    if dashboard_port is not None:
        values["dashboard"] = {"port": dashboard_port}
    values["proxy"] = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    for tier, spec in (("strong", strong), ("small", small)):
        if spec:
            values.setdefault("models", {})[tier] = model_values(spec)
            values.setdefault("tasks", {}).setdefault(DEFAULT_TASK, {})[tier] = tier
    return values
