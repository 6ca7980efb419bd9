"""Runs the benchmark: `python -m bench.gateway [--seconds S] [--rounds N] [--json FILE]`.

A fake upstream, the real proxy (real ledger, in a scratch folder) and a load generator run as processes of
their own; the proxy has one core and the other two share another, where the machine lets us say so. Rounds
go direct, proxy, direct, proxy, …, so that a busy machine is busy for both; the table shows medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
CONCURRENCIES = (1, 32)
WARM_UP_S = 0.5
PROXY = (
    "import os, sys\nfrom router.serving import serve\nfrom stepdown.settings import load_settings\n"
    "serve(load_settings(sys.argv[1], environ={}), os.environ)"
)


class Case(NamedTuple):
    """One row of the table."""

    stream: bool
    concurrency: int

    @property
    def name(self) -> str:
        """As shown."""
        return "streaming" if self.stream else "plain"


class Medians(NamedTuple):
    """Medians over the rounds of one target."""

    requests_per_s: float
    p50_ms: float
    p95_ms: float
    failures: int

    @classmethod
    def of(cls, rounds: Sequence[dict[str, float]]) -> Medians:
        """Of rounds as the load generator reports them."""
        rate, p50, p95 = (statistics.median(r[name] for r in rounds) for name in cls._fields[:3])
        return cls(rate, p50, p95, int(sum(r["failures"] for r in rounds)))


class Result(NamedTuple):
    """A case, measured."""

    case: Case
    direct: Medians
    proxy: Medians

    @property
    def added_ms(self) -> float:
        """What the proxy adds to the median latency."""
        return self.proxy.p50_ms - self.direct.p50_ms


@contextmanager
def process(arguments: list[str], core: int | None) -> Iterator[subprocess.Popen[str]]:
    """A Python process, pinned to a core where one is given, ended with the block."""
    started = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        if core is not None:
            os.sched_setaffinity(started.pid, {core})
        yield started
    finally:
        started.terminate()
        started.communicate(timeout=60)


def cores() -> tuple[int | None, int | None]:
    """A core for the proxy and one for the rest; None where they cannot be had."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def settings_file(home: Path, upstream: int) -> Path:
    """Settings of a proxy in front of the fake upstream."""
    file = home / "stepdown.toml"
    file.write_text(
        f'home = "{home}"\n[proxy]\nport = 0\n[models.strong]\nmodel = "m"\n'
        f'url = "http://127.0.0.1:{upstream}/v1"\ninput_usd_per_million = 1\noutput_usd_per_million = 1\n'
    )
    return file


def line_of(child: subprocess.Popen[str]) -> str:
    """The next line that a child prints."""
    assert child.stdout is not None
    if line := child.stdout.readline():
        return line.strip()
    raise SystemExit(f"a process of the benchmark ended with {child.wait()}; its error is above")


def order(load: subprocess.Popen[str], port: int, case: Case, seconds: float) -> dict[str, float]:
    """Have the load generator run one round."""
    assert load.stdin is not None
    load.stdin.write(json.dumps({"port": port, **case._asdict(), "seconds": seconds}) + "\n")
    load.stdin.flush()
    measured: dict[str, float] = json.loads(line_of(load))
    return measured


def measure(seconds: float, rounds: int, console: Console) -> list[Result]:
    """Run everything."""
    proxy_core, other_core = cores()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stepdown-bench-")))
        upstream = stack.enter_context(process(["-m", "bench.gateway.upstream"], other_core))
        direct = int(line_of(upstream))
        file = settings_file(home, direct)
        server = stack.enter_context(process(["-c", PROXY, str(file)], proxy_core))
        proxy = int(line_of(server).rpartition(":")[2])
        load = stack.enter_context(process(["-m", "bench.gateway.load"], other_core))
        cases = [Case(stream, concurrency) for stream in (False, True) for concurrency in CONCURRENCIES]
        results = []
        for case in cases:
            console.print(f"{case.name}, concurrency {case.concurrency} …", highlight=False)
            results.append(_measure_case(load, direct, proxy, case, seconds, rounds))
    return results


def _measure_case(
    load: subprocess.Popen[str], direct: int, proxy: int, case: Case, seconds: float, rounds: int
) -> Result:
    measured: dict[int, list[dict[str, float]]] = {direct: [], proxy: []}
    for port in measured:
        order(load, port, case, min(WARM_UP_S, seconds))
    for _ in range(rounds):
        for port, found in measured.items():
            found.append(order(load, port, case, seconds))
    return Result(case, Medians.of(measured[direct]), Medians.of(measured[proxy]))


def table(results: Sequence[Result]) -> Table:
    """The results as a table."""
    shown = Table(title="The proxy next to a direct call (relay, decision and durable record)")
    shown.add_column("traffic")
    for column in (
        "concurrency",
        "direct req/s",
        "proxy req/s",
        "ratio",
        "direct p50/p95 ms",
        "proxy p50/p95 ms",
        "added ms",
        "failures",
    ):
        shown.add_column(column, justify="right")
    for result in results:
        direct, proxy = result.direct, result.proxy
        shown.add_row(
            result.case.name,
            str(result.case.concurrency),
            f"{direct.requests_per_s:,.0f}",
            f"{proxy.requests_per_s:,.0f}",
            f"{proxy.requests_per_s / direct.requests_per_s:.3f}",
            f"{direct.p50_ms:.2f} / {direct.p95_ms:.2f}",
            f"{proxy.p50_ms:.2f} / {proxy.p95_ms:.2f}",
            f"{result.added_ms:.2f}",
            str(direct.failures + proxy.failures),
        )
    return shown


def as_json(results: Sequence[Result], seconds: float, rounds: int) -> dict[str, Any]:
    """The results as a document."""
    return {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "seconds": seconds,
        "rounds": rounds,
        "results": [
            {
                **result.case._asdict(),
                "direct": result.direct._asdict(),
                "proxy": result.proxy._asdict(),
                "added_ms": result.added_ms,
            }
            for result in results
        ],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case and target (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 130)
    results = measure(chosen.seconds, chosen.rounds, console)
    console.print(table(results))
    if chosen.json:
        chosen.json.write_text(json.dumps(as_json(results, chosen.seconds, chosen.rounds), indent=2) + "\n")


if __name__ == "__main__":
    main()
