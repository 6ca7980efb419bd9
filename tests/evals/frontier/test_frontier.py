"""The document of a real fit: every figure against the ledger that it is made from."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from evals.frontier import Frontier, frontier_document, to_json
from evals.outcomes import read_outcomes
from router.fitting.grid import LOSSES
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from tests.evals.frontier import scene
from tests.evals.ledgers import START, Writer

PAIRS = 1200


@pytest.fixture
def fitted(ledger: Ledger) -> Frontier:
    """The frontier of a task in shadow, with its first router."""
    scene.write(Writer(ledger), 0, PAIRS)
    scene.fit(ledger, scene.settings())
    return scene.document(ledger, scene.settings())


def test_before_a_router_is_fitted_there_is_no_frontier(ledger: Ledger) -> None:
    scene.write(Writer(ledger), 0, 30)
    outcomes = read_outcomes(ledger, scene.TASK)
    assert frontier_document(ledger, scene.settings(), scene.TASK, outcomes) is None


def test_a_looser_bound_buys_more_and_the_document_survives_json(fitted: Frontier) -> None:
    assert [choice.max_quality_loss for choice in fitted.choices] == list(LOSSES)  # 0.05 is one of them
    coverage = [choice.coverage.value or 0.0 for choice in fitted.choices]
    assert coverage == sorted(coverage)
    assert coverage[0] == 0 < coverage[-1]
    strictest = fitted.choices[0]
    assert (strictest.threshold, strictest.certified_for) == (None, None)
    assert "cannot support a quality loss of 0.002" in strictest.reason
    assert strictest.saving_usd_micros is not None
    assert strictest.saving_usd_micros.value == 0
    assert msgspec.json.decode(to_json(fitted), type=Frontier) == fitted


def test_all_choices_hold_together_and_each_keeps_to_its_bound(fitted: Frontier, ledger: Ledger) -> None:
    assert fitted.together == pytest.approx(1 - 0.05 / 2 - 0.05 / 6)
    kept = Registry(ledger).artifact(fitted.router)
    own = kept.summary["certificate"]
    for choice in fitted.choices:
        if choice.threshold is not None:
            assert choice.upper <= choice.max_quality_loss
            assert choice.n == own["n"]
            each = 0.05 / 2 if choice.certified_for == 0.05 else 0.05 / 6 / len(LOSSES)
            assert choice.confidence == pytest.approx(1 - each)
    operating = fitted.operating
    assert (operating.threshold, operating.max_quality_loss) == (own["threshold"], 0.05)
    assert not operating.in_force  # the task is in shadow still


def test_the_operating_point_lies_on_the_curve(fitted: Frontier) -> None:
    operating, last = fitted.operating, fitted.points[-1]
    assert (fitted.points[0].cost_usd_micros, last.cost_usd_micros) == (20.0, 200.0)
    assert (last.quality, fitted.strong.value) == (1.0, 1.0)
    assert operating.coverage.value is not None
    assert operating.cost_usd_micros is not None
    share = 1 - operating.coverage.value
    assert operating.cost_usd_micros.value == pytest.approx(20 + 180 * share)
    above = min(point.quality for point in fitted.points if point.strong_share >= share)
    below = max(point.quality for point in fitted.points if point.strong_share <= share)
    assert below - 1e-6 <= (operating.quality.value or 0) <= above + 1e-6


def test_savings_are_net_of_exploration_and_rent(ledger: Ledger, fitted: Frontier) -> None:
    operating = fitted.operating
    assert operating.coverage.value is not None
    assert operating.saving_usd_micros is not None
    saving = 0.9 * 180 * operating.coverage.value - 0.1 * 20
    assert operating.saving_usd_micros.value == pytest.approx(saving)
    low, high = operating.saving_usd_micros.low, operating.saving_usd_micros.high
    assert low is not None
    assert high is not None
    assert low < saving < high
    renting = scene.document(ledger, scene.settings(usd_per_hour=0.001))
    assert renting.rent_a_month_usd_micros == pytest.approx(0.001 * 720 * 1e6)
    month = renting.operating.saving_a_month_usd_micros
    assert month is not None
    assert month.value == pytest.approx(saving * renting.requests_a_month - 720_000)


def test_a_month_is_reckoned_from_what_the_policy_decided_of_late(ledger: Ledger, fitted: Frontier) -> None:
    # One request a minute, and two calls, which take a minute each in this ledger.
    days = (scene.LATER - timedelta(minutes=1)) / timedelta(days=1)
    assert fitted.counted_days == pytest.approx(days)
    assert fitted.requests_a_month == pytest.approx(PAIRS / days * 30)
    outcomes = read_outcomes(ledger, scene.TASK)
    later = frontier_document(ledger, scene.settings(), scene.TASK, outcomes, at=START + timedelta(days=60))
    assert later is not None
    assert later.operating.saving_a_month_usd_micros is None
    assert any("none in the last week" in line for line in later.missing)


def test_later_labels_move_no_threshold(ledger: Ledger, fitted: Frontier) -> None:
    """Else who waits for a lucky day among many would find one."""
    writer = Writer(ledger)
    writer.numbers = iter(range(90_001, 99_999))  # type: ignore[assignment]
    scene.write(writer, PAIRS, PAIRS + 300)
    later = scene.document(ledger, scene.settings())
    assert later.later > fitted.later
    for before, after in zip(fitted.choices, later.choices, strict=True):
        assert (before.threshold, before.upper, before.n) == (after.threshold, after.upper, after.n)


def test_what_is_not_known_is_missing_and_said(ledger: Ledger) -> None:
    scene.write(Writer(ledger), 0, 60, costs=(None, 20))
    declared = scene.settings()
    scene.fit(ledger, declared)
    found = scene.document(ledger, declared)
    assert (found.points, found.operating.threshold) == ((), None)
    assert found.operating.cost_usd_micros is None
    assert any("more held-out pairs: 2" in line for line in found.missing)
    assert any("10 more held-out pairs whose cost is known on both models" in line for line in found.missing)


def test_a_bound_that_a_person_set_is_the_one_in_force(ledger: Ledger, fitted: Frontier) -> None:
    moved = Deployed(Mode.ROUTE, fitted.router, max_quality_loss=0.06)
    assert Registry(ledger).promote("default", moved, actor="ana", reason="", evidence={}, after=1)
    found = scene.document(ledger, scene.settings())
    assert (found.max_quality_loss, found.by_hand, found.sequence, found.mode) == (0.06, True, 2, "route")
    assert found.operating.in_force
    assert found.operating.certified_for == 0.05  # not on the grid: the router in force keeps to less
    assert [choice.max_quality_loss for choice in found.choices if choice.in_force] == [0.06]
    at = found.at(0.055)
    assert at is not None
    assert at.max_quality_loss == 0.05
    assert found.at(0.001) is None


def test_a_router_from_before_choices_were_offered_has_a_frontier_of_its_own_bound(ledger: Ledger) -> None:
    scene.write(Writer(ledger), 0, 300)
    name = scene.fit(ledger, scene.settings())
    registry = Registry(ledger)
    kept = registry.artifact(name)
    summary = {name: value for name, value in kept.summary.items() if name != "choices"}
    settings = {**kept.settings, "seed": 0, "code_version": "0"}
    registry.keep("router", "default", kept.content, settings=settings, summary=summary)
    found = scene.document(ledger, scene.settings())
    assert [choice.max_quality_loss for choice in found.choices] == [0.05]
    assert any("fitted without other bounds" in line for line in found.missing)


def test_a_router_that_says_nothing_of_its_bound_has_no_frontier(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    scene.write(Writer(ledger), 0, 300)
    kept = Registry(ledger).artifact(scene.fit(ledger, scene.settings()))
    Registry(ledger).keep("router", "default", kept.content, settings={"epsilon": 0.05}, summary={})
    outcomes = read_outcomes(ledger, scene.TASK)
    assert frontier_document(ledger, scene.settings(), scene.TASK, outcomes) is None
    assert "no certificate that can be read" in caplog.text


def test_the_documents_fields_are_json_alone(fitted: Frontier) -> None:
    values = msgspec.json.decode(to_json(fitted))
    assert values["choices"][-1]["coverage"]["n"] == fitted.pairs
