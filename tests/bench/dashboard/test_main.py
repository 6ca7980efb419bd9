"""The benchmark of the dashboard runs, and no page of it is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.dashboard.pages import FILTERS, RANGES
from dashboards.queries.filters import filters_of

ROOT = Path(__file__).parents[3]


def test_a_short_run_asks_for_every_page(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    command = [sys.executable, "-m", "bench.dashboard", "--requests", "1000", "--recorded", "400"]
    command += ["--times", "1", "--databases", "sqlite", "--home", str(tmp_path), "--out", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode in (0, 1), run.stderr  # a machine may be slow; that is not for a test to say
    shown = out.read_text()
    assert "answered with" not in shown, shown
    for page in (*(f"overview, {name}" for name in RANGES), *(f"requests, {name}" for name in FILTERS)):
        assert f"  {page} " in shown
    assert " kB" in shown


def test_the_filters_that_it_asks_for_are_read() -> None:
    assert all(filters_of(fields).given == fields for fields in FILTERS.values())
