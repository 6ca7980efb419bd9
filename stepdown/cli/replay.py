"""`stepdown replay`: a recording through the real loop, step by step, with its progress shown."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from stepdown.errors import NotEnoughEvidence, SettingsError
from stepdown.records import Artifact, Mode, Tier
from stepdown.settings import DEFAULT_TASK, Settings, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from evals.replay.recording import RecordedPair
    from evals.replay.service import Service

DEFAULT_PRICES = {Tier.STRONG: (2.50, 10.00), Tier.SMALL: (0.15, 0.60)}
MIN_LABELS = 50
FAST = {"label_every_s": 0.5, "fit_every_s": 1.0, "report_every_s": 3600.0}


@click.command()
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--settings", "path", metavar="FILE", help="Settings with the task's checks and the prices.")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path(".stepdown/replay"),
    show_default=True,
    help="Folder of the replay; emptied first.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0.05, 0.9),
    default=0.4,
    show_default=True,
    help="Share of the prompts that the router never learns from.",
)
@click.option(
    "--max-quality-loss",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The bound; the task's own if not given.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Confidence of the bound; the task's own if not given.",
)
@click.option("--limit", type=click.IntRange(min=50), help="Use only the first prompts, evenly by slice.")
@click.option("--port", type=int, default=0, help="Port of the proxy; a free one if not given.")
@click.option("--dashboard-port", type=int, default=0, help="Port of the dashboard; a free one if not given.")
@click.option("--png", type=click.Path(path_type=Path), help="Draw the cost-quality curve here.")
@click.option(
    "--stay", is_flag=True, help="Leave the proxy running afterwards, when started from a terminal."
)
def replay(recording: Path, path: str | None, home: Path, **options: Any) -> None:
    """Run a recording of two models through the real proxy, workers and ledger."""
    from evals.replay.holdout import split
    from evals.replay.recording import load_recording
    from evals.replay.service import Service, free_port
    from evals.replay.upstream import RecordedUpstream

    started = time.monotonic()
    pairs = load_recording(recording)
    learning, held = split(_limited(pairs, options["limit"]), options["held_out"])
    _empty(home)
    with RecordedUpstream(pairs) as upstream:
        ports = options["port"] or free_port(), options["dashboard_port"] or free_port()
        settings = _settings(path, home, upstream, ports, learning, options)
        _say_what_is_assumed(recording, learning, held, settings)
        with Service(settings, DEFAULT_TASK) as service:
            with _progress() as progress:
                router = _loop(service, learning, held, progress)
            _conclude(service, router, learning, held, options["png"])
            click.echo(f"\nThe whole took {time.monotonic() - started:.0f} s.")
            _say_how_to_connect(service, learning)
            if options["stay"] and sys.stdin.isatty() and sys.stdout.isatty():
                _fill_dashboard(service)
                _stay()


def _limited(pairs: list[RecordedPair], limit: int | None) -> list[RecordedPair]:
    """Every k-th pair, so that a recording that is ordered by slice keeps its mix."""
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i * len(pairs) // limit] for i in range(limit)]


def _empty(home: Path) -> None:
    if home.exists():
        if not (home / "replay.json").exists() and any(home.iterdir()):
            raise SettingsError(f"folder {str(home)!r} is not empty and not a replay's; give another --home")
        shutil.rmtree(home)


def _settings(
    path: str | None,
    home: Path,
    upstream: str,
    ports: tuple[int, int],
    learning: list[RecordedPair],
    options: dict[str, Any],
) -> Settings:
    from evals.replay.upstream import model_name

    task: dict[str, Any] = {"strong": "strong", "small": "small"}
    for name in ("max_quality_loss", "confidence"):
        if options[name] is not None:
            task[name] = options[name]
    models: dict[str, Any] = {
        str(tier): {"model": model_name(tier), "url": upstream} for tier in (Tier.STRONG, Tier.SMALL)
    }
    if path is None:
        for tier, (paid_in, paid_out) in DEFAULT_PRICES.items():
            models[tier] |= {"input_usd_per_million": paid_in, "output_usd_per_million": paid_out}
        task |= _inferred_check(learning)
    overrides = {
        "home": str(home.absolute()),
        "proxy": {"port": ports[0], "host": "127.0.0.1", "reload_s": 0.5},
        "dashboard": {"port": ports[1], "host": "127.0.0.1"},
        "worker": FAST,
        "models": models,
        "tasks": {DEFAULT_TASK: task},
    }
    return _learning_first(load_settings(path or "/dev/null", overrides=overrides), learning)


def _learning_first(settings: Settings, learning: list[RecordedPair]) -> Settings:
    """Let the first fit wait for every label of the learning part; the checks say how many that will be."""
    from evals.replay.holdout import outcomes

    task = settings.tasks[DEFAULT_TASK]
    found = outcomes(learning, task)
    if len(found.pairs) < MIN_LABELS:
        raise NotEnoughEvidence(
            f"{len(found.pairs)} of {len(learning)} learning prompts can be labelled for both models and "
            f"{MIN_LABELS} are needed; give more rows, or rows with a reference that their check can use"
        )
    task = structs.replace(task, min_labels=len(found.pairs))
    return structs.replace(settings, tasks={**settings.tasks, DEFAULT_TASK: task})


def _inferred_check(pairs: list[RecordedPair]) -> dict[str, Any]:
    def is_number(reference: Any) -> bool:
        try:
            float(str(reference).replace(",", ""))
        except ValueError:
            return False
        return True

    kind = "number" if all(is_number(pair.reference) for pair in pairs) else "exact"
    return {"check": kind, "checks": {kind: {"kind": kind}}}


def _say_what_is_assumed(
    recording: Path, learning: list[RecordedPair], held: list[RecordedPair], settings: Settings
) -> None:
    task = settings.tasks[DEFAULT_TASK]
    click.echo(f"Recording  {recording}: {len(learning)} prompts to learn from, {len(held)} held out.")
    for tier in (Tier.STRONG, Tier.SMALL):
        model = settings.models[tier]
        names = {pair.answers[tier].model for pair in learning} - {None}
        click.echo(
            f"{tier.capitalize():<10} {', '.join(sorted(map(str, names))) or 'not named'}: recorded answers, "
            f"priced at an assumed {_price(model.input_usd_per_million)} in and "
            f"{_price(model.output_usd_per_million)} "
            "out a million tokens."
        )
    if any(pair.answers[tier].completion_tokens is None for pair in learning for tier in Tier):
        click.echo("Tokens     not all recorded: estimated at four characters each.")
    click.echo(
        f"Bound      in at most {task.max_quality_loss:.1%} of requests is strong right and the answer given "
        f"wrong, with confidence {task.confidence:.0%}."
    )
    click.echo(f"Labels     by check {task.check or 'named in each row'}.\n")


def _price(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:.2f}"


@contextmanager
def _progress() -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        yield progress


def _loop(
    service: Service, learning: list[RecordedPair], held: list[RecordedPair], progress: Progress
) -> Artifact:
    """The phases of a task's life. Returns the router that the held-out prompts met."""
    bar = progress.add_task("strong: wait for the worker's first look", total=1)
    service.wait_for_mode(Mode.SHADOW)
    progress.update(bar, completed=1)
    _send(service, learning, progress, "shadow: strong answers, small is watched")
    _label(service, progress, "label: checks compare both answers")
    bar = progress.add_task("fit: two heads, calibration, bound", total=1)
    router = service.wait_for_router()
    promoted = service.is_routing()
    progress.update(bar, completed=1)
    if promoted:
        _send(service, held, progress, "route: held-out prompts under the bound")
        _label(service, progress, "label: what clients received")
    else:  # in mode shadow they would be learnt from, and be held out no more
        progress.add_task("the bound allows no routing: held-out prompts stay out", total=1, completed=1)
    return router


def _send(service: Service, pairs: list[RecordedPair], progress: Progress, what: str) -> None:
    from evals.replay.drive import drive

    bar = progress.add_task(what, total=len(pairs))
    asyncio.run(drive(f"{service.url}/v1", pairs, model="stepdown", on_answer=lambda: progress.advance(bar)))
    service.wait_for_calls()


def _label(service: Service, progress: Progress, what: str) -> None:
    bar = progress.add_task(what, total=None)
    made = service.wait_for_labels(lambda count: progress.update(bar, completed=count))
    progress.update(bar, total=made, completed=made)


def _conclude(
    service: Service,
    router: Artifact,
    learning: list[RecordedPair],
    held: list[RecordedPair],
    png: Path | None,
) -> None:
    from evals.replay.holdout import evaluate, outcomes
    from evals.replay.summary import held_out_lines, in_short
    from evals.report import build_report, render_text
    from router.model import RouterModel

    task = service.settings.tasks[DEFAULT_TASK]
    report = build_report(service.ledger, service.settings, DEFAULT_TASK)
    click.echo("\n" + render_text(report))
    if png is not None:
        from evals.report.chart import write_png

        write_png(report, png)
        click.echo(f"The curve is drawn in {png}.\n")
    model = RouterModel.from_bytes(router.content)
    result = evaluate(model, outcomes(learning, task), outcomes(held, task))
    labels = int(router.summary["n_fit"])
    click.echo("\n".join(held_out_lines(result, task, labels=labels)))
    click.echo("\n" + "\n".join(in_short(report, result, task, service.labelled())))


def _say_how_to_connect(service: Service, pairs: list[RecordedPair]) -> None:
    shortest = min(pairs, key=lambda pair: len(pair.prompt.text))
    body = json.dumps({"model": "stepdown", "messages": list(shortest.messages)})
    click.echo(
        f"\nPoint a client at the proxy with base_url={service.url}/v1 and model=stepdown. Its models are\n"
        f"recordings and know only the recorded prompts, such as\n\n"
        f"  curl -i {service.url}/v1/chat/completions -d {shlex.quote(body)}\n\n"
        f"The dashboard is at http://127.0.0.1:{service.settings.dashboard.port}"
    )


def _fill_dashboard(service: Service) -> None:
    """Keep now what the workers keep for the dashboard by and by."""
    from evals.rollups.fill import roll_up
    from evals.summary.keep import report_and_summaries

    roll_up(service.ledger)
    report_and_summaries(service.ledger, service.settings, DEFAULT_TASK)


def _stay() -> None:
    click.echo("\nThe proxy and the dashboard go on running; Ctrl-C stops them.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("Stopping.")
