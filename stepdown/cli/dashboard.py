"""The command that runs the dashboard alone."""

from __future__ import annotations

import os

import click

from stepdown.cli.options import settings_option
from stepdown.settings import Settings


@click.command()
@settings_option
def dashboard(settings: Settings) -> None:
    """Start the eval dashboard alone."""
    from dashboards.serving import serve

    serve(settings, os.environ)
