"""The command that runs beside one server of a small model and gives it the checkpoint it should serve."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from stepdown.cli.options import open_ledger, settings_option
from stepdown.errors import LedgerError, SettingsError
from stepdown.settings import Settings

if TYPE_CHECKING:
    from distill.serving.agent import Agent

VLLM = ("-m", "vllm.entrypoints.openai.api_server")


@click.command()
@settings_option
@click.argument("alias")
@click.option(
    "--replica", default=0, show_default=True, help="Number of the server: 0 is url, 1 replicas[0]."
)
@click.option("--listen", metavar="HOST:PORT", help="Where it listens; if not given, as its URL says.")
@click.option("--command", metavar="COMMAND", help="Starts the server; if not given, vLLM by trainer.python.")
@click.argument("extra", nargs=-1, type=click.UNPROCESSED)
def serve(
    settings: Settings,
    alias: str,
    replica: int,
    listen: str | None,
    command: str | None,
    extra: tuple[str, ...],
) -> None:
    """Run the server of model ALIAS with the checkpoint that is in force, and swap it when that changes.

    What follows -- goes to the server: stepdown serve small -- --max-model-len 4096
    """
    from distill.serving.agent import Agent
    from distill.serving.child import ServerChild
    from distill.serving.servers import servers_of
    from distill.serving.vllm import VllmServer
    from stepdown.students import Store
    from stepdown.watchdog import Watchdog

    servers = servers_of(settings, os.environ, alias)
    url, address = address_of(settings, alias, replica, listen)
    argv = shlex.split(command) if command else [settings.trainer.python or sys.executable, *VLLM]
    server = VllmServer(f"http://{_bracketed(address[0])}:{address[1]}/v1", servers[0].key)
    signal.signal(signal.SIGTERM, _interrupt)
    with Watchdog() as guard:
        child = ServerChild(argv, extra, address, server, guard)
        store = Store(Path(settings.trainer.mounted or settings.students_folder))
        ledger = open_ledger(settings)
        agent = Agent(ledger, settings, alias, servers, url, child, server, store, click.echo)
        try:
            while True:
                guard.keep_alive()
                _look(agent)
                time.sleep(settings.night.reconcile_every_s)
        except KeyboardInterrupt:
            click.echo("stopped")
        finally:
            child.stop()


def address_of(
    settings: Settings, alias: str, replica: int, listen: str | None
) -> tuple[str, tuple[str, int]]:
    """The URL of a server as the settings name it, and the host and port that it listens on.

    Raises:
        SettingsError: There is no such server, or the address is none.
    """
    from urllib.parse import urlsplit

    model = settings.models[alias]
    if model.serving != "checkpoints":
        raise SettingsError(
            f'models.{alias}.serving is {model.serving!r}; `stepdown serve` is for "checkpoints", and '
            "adapters come to a running vLLM by themselves"
        )
    if not 0 <= replica < len(model.servers):
        raise SettingsError(
            f"--replica {replica} is not there: {alias!r} has servers 0 to {len(model.servers) - 1}"
        )
    url = model.servers[replica]
    try:
        parts = urlsplit(f"//{listen}" if listen else url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        raise SettingsError(f"{listen or url!r} names no HOST:PORT to listen on; give --listen HOST:PORT")
    return url, (host, port)


def _bracketed(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _look(agent: Agent) -> None:
    try:
        agent.look()
    except LedgerError as error:
        click.echo(f"the ledger cannot be reached, what is served stays: {error}", err=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
