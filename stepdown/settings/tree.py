"""The tree of settings: every field with its meaning, range and default.

Invariant: `stepdown config` prints these words, so there is no other documentation of a setting. The tree
does not know where its values come from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from stepdown.settings.base import Dollars, Share, Temperature
from stepdown.settings.base import doc as _doc
from stepdown.settings.distilling import NightSettings, StudentSettings, TrainerSettings

Capability = Literal["tools", "json", "images", "audio", "files", "logprobs", "choices"]


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model behind an alias, `[models.ALIAS]`."""

    model: Annotated[str, Meta(min_length=1), _doc("Name that the upstream knows the model by.")]
    url: Annotated[
        str | None,
        _doc(
            "Base URL of an OpenAI-shaped API, up to and with /v1. Without it the model goes through litellm."
        ),
    ] = None
    replicas: Annotated[
        tuple[str, ...],
        _doc("Base URLs of further servers of the same model; each request goes to the least busy one."),
    ] = ()
    serving: Annotated[
        Literal["as_is", "adapters", "checkpoints"],
        _doc(
            "How students come to its servers. as_is: they do not. adapters: vLLM loads them while it runs. "
            "checkpoints: `stepdown serve` starts vLLM anew with the student's whole checkpoint."
        ),
    ] = "as_is"
    sleeps: Annotated[
        bool, _doc("Whether vLLM is put to sleep while a student is trained, to free the GPU for it.")
    ] = False
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
        float,
        Meta(ge=0),
        _doc(
            "Rent of the hardware that serves the model; on the bill busy or idle; its tasks share it evenly."
        ),
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

    @property
    def servers(self) -> tuple[str, ...]:
        """The base URLs of all its servers."""
        return () if self.url is None else (self.url, *self.replicas)


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
    student: Annotated[
        StudentSettings | None, _doc("How students are distilled from the traffic; none distils none.")
    ] = None
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


class DashboardSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The eval dashboard, `[dashboard]`."""

    host: Annotated[str, _doc("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), _doc("Port to listen on; 0 takes a free one.")] = 4001
    names: Annotated[
        tuple[str, ...],
        _doc("Further host names that browsers may reach it by; any other name in a request is refused."),
    ] = ()
    people: Annotated[
        dict[str, str],
        _doc(
            "People who may look and act, by name: SHA-256 (hex) of their key (`stepdown key`). None "
            "lets in everybody, on a loopback address only. Annotators may sign in too, and only label."
        ),
    ] = {}
    session_hours: Annotated[float, Meta(gt=0), _doc("Hours after which a person signs in again.")] = 12.0


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
    rollup_every_s: Annotated[
        float, Meta(gt=0), _doc("Seconds between two counts of new traffic for the dashboard.")
    ] = 15.0
    slices_every_s: Annotated[
        float, Meta(gt=0), _doc("Seconds between two clusterings of a task's traffic.")
    ] = 86400.0
    concurrency: Annotated[
        int, Meta(ge=1), _doc("Calls at once that judges and evaluations make of one model.")
    ] = 8
    batch: Annotated[int, Meta(ge=1), _doc("Calls labelled in one transaction.")] = 200
    soft_limit_s: Annotated[float, Meta(gt=0), _doc("Seconds after which a task is asked to stop.")] = 1800.0


class TracingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenTelemetry traces, `[tracing]`; they need the extra `otel`."""

    endpoint: Annotated[
        str | None,
        _doc(
            "Base URL of a collector that takes OTLP over HTTP, http://HOST:4318; none makes no traces. "
            "Its keys, if any, are headers in OTEL_EXPORTER_OTLP_HEADERS."
        ),
    ] = None
    service_name: Annotated[str, Meta(min_length=1), _doc("Name under which the spans appear.")] = "stepdown"
    sample: Annotated[
        Share,
        _doc("Share of requests that are traced; of those that come with a trace, their caller decides."),
    ] = 1.0


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings."""

    home: Annotated[str, _doc("Folder for the ledger, the broker's files and reports.")] = ".stepdown"
    database: Annotated[
        str | None, _doc("Ledger URL: sqlite:///PATH or postgresql://…; none is ledger.db in `home`.")
    ] = None
    proxy: ProxySettings = ProxySettings()
    dashboard: DashboardSettings = DashboardSettings()
    worker: WorkerSettings = WorkerSettings()
    tracing: TracingSettings = TracingSettings()
    night: NightSettings = NightSettings()
    trainer: TrainerSettings = TrainerSettings()
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

    @property
    def students_folder(self) -> Path:
        """Where students and the checkpoints of trainings are."""
        return Path(self.trainer.folder or Path(self.home) / "students").absolute()

    @property
    def distils(self) -> bool:
        """Whether there is anything for the workers of students to do."""
        served = any(model.serving != "as_is" or model.sleeps for model in self.models.values())
        return served or any(task.student is not None for task in self.tasks.values())
