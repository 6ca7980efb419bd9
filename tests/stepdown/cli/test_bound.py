"""The command by which a person looks at what bounds buy, and sets one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evals.refit import refit
from stepdown.cli import cli
from stepdown.errors import StepdownError
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.registry import Registry
from stepdown.settings import load_settings
from tests.evals.frontier import scene
from tests.evals.ledgers import Writer

SETTINGS = """
home = "{home}"
[models.strong]
model = "large-1"
input_usd_per_million = 2.0
output_usd_per_million = 8.0
url = "http://127.0.0.1:9/v1"
[models.small]
model = "tiny-1"
url = "http://127.0.0.1:9/v1"
[tasks.default]
small = "small"
max_quality_loss = 0.05
min_labels = 50
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "stepdown.toml"
    path.write_text(SETTINGS.format(home=tmp_path / "home"))
    return str(path)


@pytest.fixture
def routing(file: str) -> Ledger:
    """The ledger of a task in mode route."""
    declared = load_settings(file, environ={})
    ledger, writer = Ledger(declared.database_url), Writer(Ledger(declared.database_url))
    scene.write(writer, 0, 3)
    refit(ledger, "default", declared.tasks["default"])
    scene.write(writer, 3, 1200)
    refit(ledger, "default", declared.tasks["default"])
    assert Registry(ledger).deployed("default").mode is Mode.ROUTE
    return ledger


def run(file: str, *arguments: str, answer: str | None = None) -> Result:
    command, *more = arguments
    return CliRunner().invoke(cli, [command, "--settings", file, *more], input=answer, catch_exceptions=False)


def test_without_a_value_it_shows_what_each_bound_buys(file: str, routing: Ledger) -> None:
    shown = run(file, "bound").output
    assert "task default: mode route, quality loss <= 0.05 (as the settings say)" in shown
    assert "every bound below holds at once with confidence 96.667%" in shown
    assert "0.2%  nothing goes to small: n=" in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if line.split()}
    assert "* 5%" in lines["*"]
    assert "[" in lines["10%"]
    assert "of these pairs also chose the thresholds, so all but the regret errs a little" in shown
    assert Registry(routing).revision() == 2


def test_a_bound_is_shown_asked_about_and_set(file: str, routing: Ledger) -> None:
    refused = run(file, "bound", "10%", answer="n\n")
    assert "allowed quality loss   5%  ->  10%" in refused.output
    assert refused.exit_code == 1
    assert Registry(routing).revision() == 2
    done = run(file, "bound", "10%", "--reason", "cheaper", answer="y\n")
    assert "promotion 3: mode route, quality loss <= 0.1" in done.output
    current = Registry(routing).current("default")
    assert current is not None
    assert (current.max_quality_loss, current.reason) == (0.1, "cheaper")
    status = run(file, "status").output
    assert f"bound   quality loss <= 0.1 with confidence 0.95, set by {current.actor} on 20" in status
    assert "UTC; the settings say 0.05" in status
    assert "quality loss <= 0.1 (set by a person)" in run(file, "bound").output


def test_moving_a_task_by_hand_keeps_its_bound_and_a_rollback_restores_the_one_before(
    file: str, routing: Ledger
) -> None:
    run(file, "bound", "0.1", "--yes")
    run(file, "promote", "--to", "shadow")
    assert Registry(routing).deployed("default").max_quality_loss == 0.1
    run(file, "promote", "--to", "route")
    assert Registry(routing).deployed("default").max_quality_loss == 0.1
    for _ in range(3):
        run(file, "rollback")
    assert Registry(routing).deployed("default").max_quality_loss is None
    assert "bound   quality loss <= 0.05 with confidence 0.95\n" in run(file, "status").output


def test_before_a_router_is_fitted_it_says_so_and_sets_the_bound_alone(file: str) -> None:
    assert "no router was fitted yet, so no bound buys anything" in run(file, "bound").output
    done = run(file, "bound", "2.5%", "--yes").output
    assert "only the bound is set: the next fit is certified for 0.025" in done
    assert "promotion 1: mode strong, quality loss <= 0.025" in done


def test_what_is_no_share_is_refused(file: str) -> None:
    assert "'lots' is no share of requests: write 0.02 or 2%" in run(file, "bound", "lots").output
    with pytest.raises(StepdownError, match="give one above 0 and below 1"):
        run(file, "bound", "150%", "--yes")
