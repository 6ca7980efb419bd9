"""The options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.settings import DEFAULT_FILE, Settings, TaskSettings, load_settings

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
RESOLVED = "settings.json"


def settings_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--settings FILE`, and hand the command the settings that it leads to."""
    return click.option(
        "--settings",
        callback=lambda _context, _option, path: settings_of(path),
        metavar="FILE",
        help=f"Settings file (TOML); if not given, {DEFAULT_FILE}, or else what `stepdown up` last ran with.",
    )(command)


def settings_of(path: str | None) -> Settings:
    """The settings of a file; where none is named and none declares a model, those of the last `stepdown up`.

    So that what was started with models on the command line can be looked at without naming them again.
    """
    settings = load_settings(path)
    last = Path(settings.home) / RESOLVED
    return load_settings(last) if path is None and not settings.models and last.exists() else settings


def task_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--task NAME`."""
    return click.option("--task", default="default", show_default=True, help="Name of the task.")(command)


def declared_task(settings: Settings, name: str) -> TaskSettings:
    """The settings of a task.

    Raises:
        SettingsError: It is not declared.
    """
    if name not in settings.tasks:
        known = ", ".join(settings.tasks) or (
            f"none; declare [models] in {DEFAULT_FILE}, or set STEPDOWN_HOME to the folder of `stepdown up`"
        )
        raise SettingsError(f"task {name!r} is not declared; declared: {known}")
    return settings.tasks[name]


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
