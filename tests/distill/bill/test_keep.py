"""Bills that are kept for those who only show them."""

from __future__ import annotations

from distill.bill.keep import STUDENTS, keep_roll, kept_roll
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.summaries import Summaries
from tests.distill.bill.scene import DAY, START, Scene, settings

ON_BOTH_DATABASES = True


def test_what_was_kept_is_read_back_whole(ledger: Ledger) -> None:
    scene = Scene(ledger)
    dataset = scene.dataset()
    student = scene.student("run-1", parents=(dataset,))
    scene.expense("run-1", 500)
    scene.expense("a run that made none", None)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "router", student), START + DAY)
    scene.answered(student, START + DAY, requests=6)
    kept = keep_roll(ledger, settings(usd_per_hour=0.0001), "default")
    (entry,) = kept.students
    assert (entry.lineage.student, entry.lineage.dataset) == (student, dataset)
    assert entry.bill.saved is not None
    assert kept.unclaimed.unknown == 1
    assert kept_roll(ledger, "default") == kept


def test_what_is_of_another_version_is_none(ledger: Ledger) -> None:
    assert kept_roll(ledger, "default") is None
    Summaries(ledger).keep("default", STUDENTS, b'{"students":[{"name":"of old"}]}')
    assert kept_roll(ledger, "default") is None
