"""The settings: one frozen object, read at the entry point and passed down.

Sources, later ones win: the defaults below, a TOML file, `STEPDOWN_*` environment variables, the
command line. Every field is documented here, and `stepdown config` prints these words. No other
module reads the environment; keys of upstreams are named by variable and resolved here.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from stepdown.errors import SettingsError

PREFIX = "STEPDOWN_"
DEFAULT_FILE = "stepdown.toml"
DEFAULT_TASK = "default"

Share = Annotated[float, Meta(ge=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Dollars = Annotated[float, Meta(ge=0)]
Capability = Literal["tools", "json", "images", "audio", "files", "logprobs", "choices"]


_place = re.compile(r" - at `\$\.([^`\[]+)`$")


def _doc(text: str) -> Meta:
    return Meta(description=text)


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all settings: frozen, and an unknown key is an error."""


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model behind an alias, `[models.ALIAS]`."""

    model: Annotated[str, Meta(min_length=1), _doc("Name that the upstream knows the model by.")]
    url: Annotated[
        str | None,
        _doc(
            "Base URL of an OpenAI-shaped API, up to and with /v1. Without it the model goes through litellm."
        ),
    ] = None
    api_key_env: Annotated[
        str | None,
        _doc(
            "Environment variable that holds the key. Without it the strong model gets the caller's own key."
        ),
    ] = None
    input_usd_per_million: Annotated[Dollars | None, _doc("Price of a million prompt tokens.")] = None
    cached_usd_per_million: Annotated[
        Dollars | None, _doc("Price of a million cached prompt tokens; the input price if unset.")
    ] = None
    output_usd_per_million: Annotated[Dollars | None, _doc("Price of a million completion tokens.")] = None
    usd_per_hour: Annotated[
        float, Meta(ge=0), _doc("Rent of the hardware that serves the model; on the bill busy or idle.")
    ] = 0.0
    timeout_s: Annotated[float, Meta(gt=0), _doc("Longest wait for the first and between two bytes.")] = 600.0
    batch: Annotated[
        bool, _doc("Whether the URL has OpenAI's /batches and /files; large backlogs of judging go there.")
    ] = False
    batch_price: Annotated[Share, _doc("Price of a batched call, as a share of the ordinary price.")] = 0.5
    capabilities: Annotated[
        tuple[Capability, ...],
        _doc(
            "What the small model may be sent beside plain text: any of tools, json, images, audio, files, "
            "logprobs, choices (several answers, `n`)."
        ),
    ] = ()


class JudgeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One judge, `[tasks.NAME.judges.JUDGE]`: a model that labels."""

    model: Annotated[str, _doc("Alias of the model that judges.")]
    kind: Annotated[
        Literal["pairwise", "single"],
        _doc("pairwise: which of strong's and small's answer is better. single: is an answer good."),
    ] = "pairwise"
    rubric: Annotated[
        str, Meta(min_length=1), _doc("What a good answer is, in words that the judge is given.")
    ] = "The answer is correct, complete, and does what the request asks for."
    votes: Annotated[int, Meta(ge=1, le=15), _doc("Times each question is put; the majority counts.")] = 1
    temperature: Annotated[Temperature | None, _doc("Of the judge; none leaves it out.")] = 0.0
    max_tokens: Annotated[int, Meta(ge=16), _doc("Longest judgement.")] = 400
    share: Annotated[Share, _doc("Share of requests judged, drawn by hash.")] = 1.0
    batch_from: Annotated[
        int, Meta(ge=1), _doc("Backlog from which on the batch endpoint is used, where the model has one.")
    ] = 500


class CandidateSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way of asking in a portfolio, `[[tasks.NAME.portfolio.candidates]]`."""

    model: Annotated[str, _doc("Alias of the model.")]
    system: Annotated[
        str | None, _doc("Text put before the request's own system message; none leaves it as it is.")
    ] = None
    samples: Annotated[int, Meta(ge=1, le=16), _doc("Answers asked for.")] = 1
    temperature: Annotated[
        Temperature | None, _doc("Sampling temperature; none leaves the request's own.")
    ] = None


class PortfolioSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strong tier of several answers, of which one is picked, `[tasks.NAME.portfolio]`."""

    candidates: Annotated[tuple[CandidateSettings, ...], Meta(min_length=1), _doc("The ways of asking.")]
    picker: Annotated[
        tuple[Literal["check", "judge", "majority"], ...],
        Meta(min_length=1),
        _doc("What picks, in this order, until one candidate is left."),
    ] = ("check", "judge", "majority")
    judge: Annotated[str | None, _doc("Name of the task's judge that picks; none skips the judge.")] = None


class TaskSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task, `[tasks.NAME]`: a stream of traffic with one policy."""

    strong: Annotated[str, _doc("Alias of the strong model.")] = "strong"
    small: Annotated[str | None, _doc("Alias of the small model; none keeps the task on strong.")] = None
    promotion: Annotated[
        str,
        Meta(pattern="^(auto|manual)$"),
        _doc("auto: move up a mode when the evidence allows. manual: only `stepdown promote` moves it."),
    ] = "auto"
    shadow_share: Annotated[
        Share, _doc("Share of requests that are also sent to the small model in mode shadow.")
    ] = 1.0
    exploration: Annotated[
        Share,
        _doc(
            "Share of routed requests, drawn at random, that strong answers whatever the router says while "
            "small is asked in its shadow: the unbiased sample that audits the policy."
        ),
    ] = 0.05
    max_quality_loss: Annotated[
        float,
        Meta(gt=0, lt=1),
        _doc(
            "The bound: largest allowed share of requests where strong is right and the answer given is not."
        ),
    ] = 0.02
    confidence: Annotated[float, Meta(gt=0, lt=1), _doc("Confidence with which the bound is kept.")] = 0.95
    min_labels: Annotated[
        int, Meta(ge=20), _doc("Distinct prompts labelled for both models before a router is fitted.")
    ] = 200
    check: Annotated[str | None, _doc("Name of the check for requests that name none.")] = None
    checks: Annotated[
        dict[str, dict[str, Any]], _doc("The task's checks by name: a `kind` and that kind's settings.")
    ] = {}
    judges: Annotated[dict[str, JudgeSettings], _doc("The task's judges by name.")] = {}
    certify_on: Annotated[
        Literal["trusted", "judged"],
        _doc(
            "Whose labels the bound may rest on. trusted: checks, and people's labels of the audit sample. "
            "judged: judges' and users' too, where no trusted label is; the bound is then as they see it."
        ),
    ] = "trusted"
    audit_share: Annotated[
        Share, _doc("Share of requests, drawn by hash, that people are asked to label whatever they are.")
    ] = 0.05
    annotators: Annotated[int, Meta(ge=1), _doc("People who are asked about one request.")] = 1
    edit_similarity: Annotated[
        Share, _doc("Similarity from which on an edit of an answer speaks for the answer.")
    ] = 0.8
    portfolio: Annotated[
        PortfolioSettings | None, _doc("A strong tier of several answers; none asks `strong` once.")
    ] = None
    suites: Annotated[
        tuple[str, ...], _doc("Paths of the task's evaluation suites; each new model runs them.")
    ] = ()
    challengers: Annotated[
        tuple[str, ...], _doc("Aliases of further models that run the suites beside strong and small.")
    ] = ()
    keys: Annotated[
        tuple[str, ...], _doc("SHA-256 (hex) of the API keys whose requests belong to this task.")
    ] = ()


class ProxySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The proxy endpoint, `[proxy]`."""

    host: Annotated[str, _doc("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), _doc("Port to listen on; 0 takes a free one.")] = 4000
    max_body_bytes: Annotated[int, Meta(ge=1024), _doc("Largest request body accepted.")] = 20_000_000
    keys: Annotated[
        tuple[str, ...],
        _doc(
            "SHA-256 (hex) of the API keys let in; `stepdown key` makes one. None lets in every caller, "
            "on a loopback address only."
        ),
    ] = ()
    reload_s: Annotated[float, Meta(gt=0), _doc("Seconds between two looks for a new policy.")] = 1.0
    connect_timeout_s: Annotated[float, Meta(gt=0), _doc("Longest wait for a connection to a model.")] = 10.0


class WorkerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The workers and their schedule, `[worker]`."""

    broker: Annotated[
        str | None,
        _doc("Broker URL, redis://…; none keeps messages in files under `home`. REDIS_URL sets it too."),
    ] = None
    label_every_s: Annotated[float, Meta(gt=0), _doc("Seconds between two sweeps for unlabelled calls.")] = (
        10.0
    )
    fit_every_s: Annotated[float, Meta(gt=0), _doc("Seconds between two looks whether to fit a router.")] = (
        300.0
    )
    report_every_s: Annotated[float, Meta(gt=0), _doc("Seconds between two reports.")] = 600.0
    judge_every_s: Annotated[float, Meta(gt=0), _doc("Seconds between two sweeps for the unjudged.")] = 30.0
    rank_every_s: Annotated[
        float, Meta(gt=0), _doc("Seconds between two rankings of what people are to label.")
    ] = 60.0
    suites_every_s: Annotated[
        float, Meta(gt=0), _doc("Seconds between two looks for models that have not run their suites.")
    ] = 300.0
    slices_every_s: Annotated[
        float, Meta(gt=0), _doc("Seconds between two clusterings of a task's traffic.")
    ] = 86400.0
    concurrency: Annotated[
        int, Meta(ge=1), _doc("Calls at once that judges and evaluations make of one model.")
    ] = 8
    batch: Annotated[int, Meta(ge=1), _doc("Calls labelled in one transaction.")] = 200
    soft_limit_s: Annotated[float, Meta(gt=0), _doc("Seconds after which a task is asked to stop.")] = 1800.0


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings."""

    home: Annotated[str, _doc("Folder for the ledger, the broker's files and reports.")] = ".stepdown"
    database: Annotated[
        str | None, _doc("Ledger URL: sqlite:///PATH or postgresql://…; none is ledger.db in `home`.")
    ] = None
    proxy: ProxySettings = ProxySettings()
    worker: WorkerSettings = WorkerSettings()
    models: Annotated[dict[str, ModelSettings], _doc("The models by alias.")] = {}
    tasks: Annotated[
        dict[str, TaskSettings], _doc("The tasks by name; `default` takes what names none.")
    ] = {}
    annotators: Annotated[
        dict[str, str],
        _doc(
            "People who label, by name: SHA-256 (hex) of their key to the labelling queue. With none, and no "
            "key of the proxy, anyone on a loopback address may label under a name of their choice."
        ),
    ] = {}

    @property
    def database_url(self) -> str:
        """Where the ledger is."""
        return self.database or f"sqlite:///{Path(self.home).absolute() / 'ledger.db'}"

    @property
    def broker_folder(self) -> Path:
        """Where the embedded broker keeps its messages."""
        return Path(self.home).absolute() / "broker"


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
        if isinstance(field.default, Struct):
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


def _converts(value: Any, kind: type[Struct]) -> bool:
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
    for alias, model in settings.models.items():
        if model.url is not None and not model.url.startswith(("http://", "https://")):
            raise SettingsError(
                f"models.{alias}.url = {model.url!r} is not a URL; write http://HOST:PORT/v1 or https://HOST/v1"
            )


def _check_references(settings: Settings) -> None:
    for name, task in settings.tasks.items():
        for role, alias in _aliases_of(task):
            if alias is not None and alias not in settings.models:
                known = ", ".join(settings.models) or "none"
                raise SettingsError(
                    f"tasks.{name}.{role} = {alias!r} is not a model; declared under [models]: {known}"
                )
        if task.check is not None and task.check not in task.checks:
            known = ", ".join(task.checks) or "none"
            raise SettingsError(f"tasks.{name}.check = {task.check!r} is not declared; declared: {known}")
        portfolio = task.portfolio
        if portfolio is not None and portfolio.judge is not None and portfolio.judge not in task.judges:
            known = ", ".join(task.judges) or "none"
            raise SettingsError(
                f"tasks.{name}.portfolio.judge = {portfolio.judge!r} is not declared; declared: {known}"
            )


def _aliases_of(task: TaskSettings) -> list[tuple[str, str | None]]:
    """Every model that a task names, by where it names it."""
    named = [("strong", task.strong), ("small", task.small)]
    named += [(f"judges.{name}.model", judge.model) for name, judge in task.judges.items()]
    named += [(f"challengers[{i}]", alias) for i, alias in enumerate(task.challengers)]
    candidates = task.portfolio.candidates if task.portfolio else ()
    named += [(f"portfolio.candidates[{i}].model", c.model) for i, c in enumerate(candidates)]
    return named
