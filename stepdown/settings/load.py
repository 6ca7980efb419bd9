"""Reads the settings: defaults, a TOML file, `STEPDOWN_*` environment variables, the command line.

Invariant: later sources win, and nothing is used that was not checked: an unknown key, a wrong type or a
name that leads nowhere is an error that says where it is. No other module reads the environment; keys of
upstreams are named by variable and resolved by who opens them.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from stepdown.errors import SettingsError
from stepdown.settings.tree import ModelSettings, Settings, TaskSettings

PREFIX = "STEPDOWN_"
DEFAULT_FILE = "stepdown.toml"
DEFAULT_TASK = "default"
LONGEST_NAME = 200  # as the ledger keeps it

SHA256 = re.compile("[0-9a-fA-F]{64}")

_place = re.compile(r" - at `\$\.([^`\[]+)`$")


def load_settings(
    path: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings from a TOML (or JSON) file, the environment and overrides, later ones winning.

    Args:
        path: The file; None reads `stepdown.toml` where there is one. A JSON file holds resolved
            settings, as `stepdown up` writes them for its children: the environment adds nothing.
        environ: The environment; None is the process's own.
        overrides: Nested values as in the TOML file.

    Raises:
        SettingsError: A file is missing or malformed, or a value is unknown, of the wrong type or
            out of range; the message names it.
    """
    values = _read_file(path)
    if not (path and Path(path).suffix == ".json"):
        _merge(values, _from_environment(os.environ if environ is None else environ))
    _merge(values, overrides or {})
    _add_default_task(values)
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"settings: {_named(error, values)}; `stepdown config` lists every key"
        ) from error
    _check_urls(settings)
    _check_references(settings)
    return settings


def to_toml_values(settings: Settings) -> dict[str, Any]:
    """The settings as nested plain values, without those that are unset."""
    values: dict[str, Any] = _without_none(msgspec.to_builtins(settings))
    return values


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value


def _read_file(path: str | Path | None) -> dict[str, Any]:
    file = Path(path or DEFAULT_FILE)
    if path is None and not file.exists():
        return {}
    read, kind = (json.loads, "JSON") if file.suffix == ".json" else (tomllib.loads, "TOML")
    try:
        values: dict[str, Any] = read(file.read_text())
    except OSError as error:
        raise SettingsError(f"settings file {str(file)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"settings file {str(file)!r} is not {kind}: {error}") from error
    return values


def _add_default_task(values: dict[str, Any]) -> None:
    """Where models are declared and no task is, traffic goes to the models named strong and small."""
    models = values.get("models")
    if isinstance(models, dict) and "strong" in models:
        values.setdefault("tasks", {}).setdefault(
            DEFAULT_TASK, {"strong": "strong", **({"small": "small"} if "small" in models else {})}
        )


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def scalar_fields() -> list[tuple[str, Any]]:
    """The TOML path and type of each setting that an environment variable can set."""
    found: list[tuple[str, Any]] = []
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.default, msgspec.Struct):
            found += [(f"{field.name}.{f.name}", f.type) for f in msgspec.structs.fields(type(field.default))]
        elif field.name not in ("models", "tasks", "annotators"):
            found.append((field.name, field.type))
    return found


def variable_of(path: str) -> str:
    """The environment variable of a TOML path: `proxy.port` is `STEPDOWN_PROXY_PORT`."""
    return PREFIX + path.upper().replace(".", "_")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if environ.get("REDIS_URL"):
        values["worker"] = {"broker": environ["REDIS_URL"]}
    for path, kind in scalar_fields():
        variable = variable_of(path)
        if variable not in environ:
            continue
        raw = environ[variable]
        try:
            value = msgspec.convert(raw.split(",") if "tuple" in str(kind) else raw, kind, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{variable}={raw!r}: {error}") from error
        room, _, key = path.rpartition(".")
        (values.setdefault(room, {}) if room else values)[key] = value
    return values


def _named(error: msgspec.ValidationError, values: Mapping[str, Any]) -> str:
    """The error with the offending alias or task, and value, where msgspec leaves them out."""
    text = str(error)
    for section, kind in (("models", ModelSettings), ("tasks", TaskSettings)):
        if f"`$.{section}[...]" in text:
            alias = next((a for a, v in values[section].items() if not _converts(v, kind)), "...")
            text = text.replace(f"`$.{section}[...]", f"`$.{section}.{alias}")
    value: Any = values
    found = _place.search(text)
    for key in found.group(1).split(".") if found else [""]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return text if value is None or isinstance(value, Mapping) else f"{text}, got {value!r:.100}"


def _converts(value: Any, kind: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _check_urls(settings: Settings) -> None:
    scheme, found, _ = (settings.worker.broker or "redis://").partition("://")
    if not found or scheme not in ("redis", "rediss"):
        shown = f"{scheme}://…" if found else "no URL"  # the rest may hold a password
        raise SettingsError(
            f"worker.broker is {shown}; write redis://HOST:PORT/DATABASE, or rediss:// for TLS"
        )
    collector = settings.tracing.endpoint
    if collector is not None and not collector.startswith(("http://", "https://")):
        raise SettingsError(f"tracing.endpoint = {collector!r} is not a URL; write http://HOST:4318")
    for alias, model in settings.models.items():
        named = [("url", model.url), *((f"replicas[{i}]", url) for i, url in enumerate(model.replicas))]
        for field, url in named:
            if url is not None and not url.startswith(("http://", "https://")):
                raise SettingsError(
                    f"models.{alias}.{field} = {url!r} is not a URL; "
                    "write http://HOST:PORT/v1 or https://HOST/v1"
                )
        if model.url is None and (model.replicas or model.serving != "as_is" or model.sleeps):
            raise SettingsError(
                f"models.{alias} has no url, which replicas, serving and sleeps need; set models.{alias}.url"
            )


def _check_references(settings: Settings) -> None:
    for name, task in settings.tasks.items():
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise SettingsError(
                f"the name of task {name!r:.100} has {len(name)} characters; take 1 to {LONGEST_NAME} that "
                "can be printed"
            )
        for role, alias in _aliases_of(task):
            if alias is not None and alias not in settings.models:
                known = ", ".join(settings.models) or "none"
                raise SettingsError(
                    f"tasks.{name}.{role} = {alias!r} is not a model; declared under [models]: {known}"
                )
        if task.check is not None and task.check not in task.checks:
            known = ", ".join(task.checks) or "none"
            raise SettingsError(f"tasks.{name}.check = {task.check!r} is not declared; declared: {known}")
        _check_portfolio(name, task)
        _check_student(name, task)
    try:
        ZoneInfo(settings.night.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(
            f"night.timezone = {settings.night.timezone!r} is not a time zone; write one like Europe/Berlin"
        ) from error
    people = [(f"annotators.{name}", key) for name, key in settings.annotators.items()]
    people += [(f"dashboard.people.{name}", key) for name, key in settings.dashboard.people.items()]
    for person, key in people:
        if not SHA256.fullmatch(key):
            raise SettingsError(f"{person} is not a SHA-256 in hex; `stepdown key` makes a key and its hash")


def _check_portfolio(name: str, task: TaskSettings) -> None:
    portfolio = task.portfolio
    if portfolio is None:
        return
    if portfolio.judge is None and portfolio.picker == ("judge",):
        raise SettingsError(
            f'tasks.{name}.portfolio.picker = ["judge"] has no judge; set tasks.{name}.portfolio.judge'
        )
    if portfolio.judge is not None and portfolio.judge not in task.judges:
        known = ", ".join(task.judges) or "none"
        raise SettingsError(
            f"tasks.{name}.portfolio.judge = {portfolio.judge!r} is not declared; declared: {known}"
        )


def _check_student(name: str, task: TaskSettings) -> None:
    student = task.student
    if student is None:
        return
    place = f"tasks.{name}.student"
    if task.small is None:
        raise SettingsError(f"{place} has no small model to be; set tasks.{name}.small")
    if student.objective == "gkd" and student.teacher is None:
        raise SettingsError(f'{place}.objective = "gkd" has no teacher; set {place}.teacher')
    if student.validation_share + student.test_share >= 1:
        raise SettingsError(
            f"{place}: validation_share {student.validation_share:g} and test_share {student.test_share:g} "
            "leave nothing to train on; together they must be less than 1"
        )
    if list(student.canary_shares) != sorted(set(student.canary_shares)):
        raise SettingsError(f"{place}.canary_shares = {list(student.canary_shares)} must grow")
    if student.method == "full" and "adapter" in student.variants:
        raise SettingsError(f'{place}: method = "full" makes no adapter; set {place}.variants = ["merged"]')


def _aliases_of(task: TaskSettings) -> list[tuple[str, str | None]]:
    """Every model that a task names, by where it names it."""
    named = [("strong", task.strong), ("small", task.small)]
    named += [(f"judges.{name}.model", judge.model) for name, judge in task.judges.items()]
    named += [(f"challengers[{i}]", alias) for i, alias in enumerate(task.challengers)]
    candidates = task.portfolio.candidates if task.portfolio else ()
    named += [(f"portfolio.candidates[{i}].model", c.model) for i, c in enumerate(candidates)]
    return named
