"""Clustering is due by the ledger's clock, and not by how often somebody asks."""

from __future__ import annotations

from evals.slices.build import SLICES
from evals.slices.due import slice_if_due
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.settings import TaskSettings
from tests.evals.ledgers import Writer
from tests.evals.slices.prompts import mixed
from tests.evals.slices.test_build import write

DAY_S = 86400.0
TASK = TaskSettings()


def test_slices_are_made_once_a_day_and_anew_when_the_day_is_over(ledger: Ledger) -> None:
    writer = Writer(ledger)
    write(writer, mixed({"sql": 25, "sentiment": 25}))
    assert slice_if_due(ledger, "default", TASK, every_s=DAY_S)
    write(writer, mixed({"order_json": 25}))
    assert not slice_if_due(ledger, "default", TASK, every_s=DAY_S)
    assert Registry(ledger).count(SLICES, "default") == 1
    assert slice_if_due(ledger, "default", TASK, every_s=0)
    assert Registry(ledger).count(SLICES, "default") == 2


def test_young_traffic_is_clustered_anew_when_it_has_doubled(ledger: Ledger) -> None:
    writer = Writer(ledger)
    assert not slice_if_due(ledger, "default", TASK, every_s=0), "there is nothing to cluster"
    assert Registry(ledger).count(SLICES, "default") == 0
    write(writer, mixed({"sql": 10}))
    assert slice_if_due(ledger, "default", TASK, every_s=DAY_S)
    write(writer, mixed({"sentiment": 9}))
    assert not slice_if_due(ledger, "default", TASK, every_s=DAY_S)
    write(writer, mixed({"order_json": 1}))
    assert slice_if_due(ledger, "default", TASK, every_s=DAY_S)


def test_without_new_traffic_nothing_new_is_kept(ledger: Ledger) -> None:
    write(Writer(ledger), mixed({"sql": 25, "sentiment": 25}))
    assert slice_if_due(ledger, "default", TASK, every_s=0)
    assert not slice_if_due(ledger, "default", TASK, every_s=0)
