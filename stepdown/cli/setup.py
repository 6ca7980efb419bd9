"""Commands for setting up: what can be set, and keys."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import click
import msgspec

from stepdown.cli.options import settings_option
from stepdown.settings import (
    CandidateSettings,
    DashboardSettings,
    JudgeSettings,
    ModelSettings,
    NightSettings,
    PortfolioSettings,
    ProxySettings,
    Settings,
    StudentSettings,
    TaskSettings,
    TracingSettings,
    TrainerSettings,
    WorkerSettings,
    scalar_fields,
    variable_of,
)

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": Settings,
    "proxy": ProxySettings,
    "dashboard": DashboardSettings,
    "worker": WorkerSettings,
    "tracing": TracingSettings,
    "night": NightSettings,
    "trainer": TrainerSettings,
    "models.ALIAS": ModelSettings,
    "tasks.NAME": TaskSettings,
    "tasks.NAME.judges.JUDGE": JudgeSettings,
    "tasks.NAME.portfolio": PortfolioSettings,
    "tasks.NAME.portfolio.candidates[]": CandidateSettings,
    "tasks.NAME.student": StudentSettings,
}


@click.command()
@settings_option
@click.option("--values", is_flag=True, help="Show the values in force, as JSON, instead of the keys.")
def config(settings: Settings, values: bool) -> None:
    """Show every setting with its TOML key, its environment variable and its default."""
    if values:
        click.echo(msgspec.json.format(msgspec.json.encode(settings)).decode())
        return
    for line in setting_lines():
        click.echo(line)


def setting_lines() -> Iterator[str]:
    """One paragraph for each setting: key, variable, default, meaning."""
    variables = {path: variable_of(path) for path, _ in scalar_fields()}
    for section, struct in SECTIONS.items():
        for field in msgspec.structs.fields(struct):
            description = _description(field.type)
            if description is None:
                continue
            path = f"{section}.{field.name}" if section else field.name
            named = f"  ({variables[path]})" if path in variables else ""
            yield f"{path} = {_default(field)}{named}"
            yield f"    {description}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return "unset" if field.default is None else msgspec.json.encode(field.default).decode()
    return "{}" if field.default_factory is not msgspec.NODEFAULT else "required"


def _description(kind: Any) -> str | None:
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((m.description for m in metas if isinstance(m, msgspec.Meta) and m.description), None)


@click.command()
def key() -> None:
    """Make an API key, and the hash to put under `proxy.keys`, `tasks.NAME.keys` or `annotators`."""
    made = f"sk-stepdown-{secrets.token_urlsafe(32)}"
    click.echo(f"key   {made}   (give it to the caller; it is kept nowhere)")
    click.echo(f"hash  {hashlib.sha256(made.encode()).hexdigest()}")
