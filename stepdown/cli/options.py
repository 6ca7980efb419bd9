"""The options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from stepdown.ledger import Ledger
from stepdown.settings import DEFAULT_FILE, Settings, load_settings

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"


def settings_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--settings FILE`, and hand the command the settings that it leads to."""
    return click.option(
        "--settings",
        callback=lambda _context, _option, path: load_settings(path),
        metavar="FILE",
        help=f"Settings file (TOML); {DEFAULT_FILE} where there is one.",
    )(command)


def task_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--task NAME`."""
    return click.option("--task", default="default", show_default=True, help="Name of the task.")(command)


def open_ledger(settings: Settings) -> Ledger:
    """The ledger that the settings name."""
    return Ledger(settings.database_url)


def model_values(spec: str) -> dict[str, Any]:
    """The model settings that a command-line spec stands for.

    `http://host/v1#name` is a model behind an OpenAI-shaped URL, `openai/name` one of OpenAI's, and
    any other `provider/name` goes through litellm.
    """
    if "://" in spec:
        url, _, name = spec.partition("#")
        if not name:
            raise click.BadParameter(f"{spec!r} names no model; write {url}#MODEL")
        return {"url": url, "model": name}
    if spec.startswith("openai/"):
        return {"url": OPENAI_URL, "model": spec.removeprefix("openai/"), "api_key_env": OPENAI_KEY}
    if "/" not in spec:
        raise click.BadParameter(f"{spec!r} is neither URL#MODEL nor PROVIDER/MODEL")
    return {"model": spec}
