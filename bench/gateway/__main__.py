"""Runs the benchmark: `python -m bench.gateway [--seconds S] [--rounds N] [--json FILE]`.

A fake upstream, a bare relay of the proxy's own stack, the real proxy (real ledger, in a scratch folder)
and a load generator run as processes of their own; relay and proxy share one core and the other two
another, where the machine lets us say so. Rounds go direct, relay, proxy, direct, relay, proxy, …, so that
a busy machine is busy for all; the tables show medians.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from evals.report.layout import table

ROOT = Path(__file__).parents[2]
CONCURRENCIES = (1, 32)
TARGETS = ("direct", "bare relay", "proxy")
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
    """A case, measured.

    Attributes:
        direct: The load generator's own calls of the upstream.
        relay: Calls through a bare relay of the same stack, which neither decides nor records.
        proxy: Calls through the proxy.
    """

    case: Case
    direct: Medians
    relay: Medians
    proxy: Medians

    @property
    def added_ms(self) -> float:
        """What the proxy adds to the median latency of a direct call."""
        return self.proxy.p50_ms - self.direct.p50_ms

    @property
    def failures(self) -> int:
        """All that failed."""
        return self.direct.failures + self.relay.failures + self.proxy.failures


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


def measure(seconds: float, rounds: int) -> list[Result]:
    """Run everything."""
    proxy_core, other_core = cores()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stepdown-bench-")))
        upstream = stack.enter_context(process(["-m", "bench.gateway.upstream"], other_core))
        direct = int(line_of(upstream))
        file = settings_file(home, direct)
        server = stack.enter_context(process(["-c", PROXY, str(file)], proxy_core))
        floor = stack.enter_context(process(["-m", "bench.gateway.floor", str(direct)], proxy_core))
        load = stack.enter_context(process(["-m", "bench.gateway.load"], other_core))
        ports = {
            "direct": direct,
            "relay": int(line_of(floor)),
            "proxy": int(line_of(server).rpartition(":")[2]),
        }
        cases = [Case(stream, concurrency) for stream in (False, True) for concurrency in CONCURRENCIES]
        results = []
        for case in cases:
            print(f"{case.name}, {case.concurrency} at a time …", file=sys.stderr, flush=True)
            results.append(_measure_case(load, ports, case, seconds, rounds))
    return results


def _measure_case(
    load: subprocess.Popen[str], ports: Mapping[str, int], case: Case, seconds: float, rounds: int
) -> Result:
    measured: dict[str, list[dict[str, float]]] = {target: [] for target in ports}
    for port in ports.values():
        order(load, port, case, min(WARM_UP_S, seconds))
    for _ in range(rounds):
        for target, port in ports.items():
            measured[target].append(order(load, port, case, seconds))
    return Result(case, **{target: Medians.of(found) for target, found in measured.items()})


def shown(results: Sequence[Result]) -> str:
    """The results as two tables."""
    rates, latencies = [], []
    for result in results:
        row = [result.case.name, str(result.case.concurrency)]
        direct, relay, proxy = (m.requests_per_s for m in (result.direct, result.relay, result.proxy))
        ratios = (relay / direct, proxy / direct, proxy / relay)
        rates.append(
            [*row, *(f"{rate:,.0f}" for rate in (direct, relay, proxy)), *(f"{r:.3f}" for r in ratios)]
        )
        times = [f"{m.p50_ms:.2f} / {m.p95_ms:.2f}" for m in (result.direct, result.relay, result.proxy)]
        latencies.append([*row, *times, f"{result.added_ms:.2f}", str(result.failures)])
    lines = [
        "Requests a second: direct, through a bare relay of the same stack, through the proxy",
        *table(["traffic", "clients", *TARGETS, "relay/direct", "proxy/direct", "proxy/relay"], rates),
        "",
        "Latency in ms, median / 95th percentile, and what the proxy adds to a direct median",
        *table(["traffic", "clients", *TARGETS, "proxy adds", "failures"], latencies),
    ]
    return "\n".join(lines)


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
                "relay": result.relay._asdict(),
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
    results = measure(chosen.seconds, chosen.rounds)
    print(shown(results))
    if chosen.json:
        chosen.json.write_text(json.dumps(as_json(results, chosen.seconds, chosen.rounds), indent=2) + "\n")


if __name__ == "__main__":
    main()
