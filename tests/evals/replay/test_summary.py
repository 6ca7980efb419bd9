"""The replay's last lines say what was served, saved and promised, or why nothing was."""

from __future__ import annotations

import dataclasses

from evals.metrics.intervals import proportion
from evals.replay.holdout import HeldOut
from evals.replay.summary import held_out_lines, in_short
from evals.report import build_report
from stepdown.ledger import Ledger
from stepdown.settings import TaskSettings
from tests.evals.report.scene import play, settings

TASK = TaskSettings(small="small", max_quality_loss=0.05)


def held(regrets: int) -> HeldOut:
    share = proportion(50, 100)
    regret = proportion(regrets, 100)
    return HeldOut(
        share, share, share, share, regret, regrets, {"router": share, "random": share}, unscored=3
    )


def test_a_bound_that_held_and_one_that_did_not_are_told_apart() -> None:
    kept, more, refuted = ("\n".join(held_out_lines(held(k), TASK, labels=60)) for k in (5, 6, 13))
    assert "kept on the held-out prompts: 5 regrets in n=100, 5.0% would be 5.0" in kept
    assert "not refuted on the held-out prompts: 6 regrets in n=100" in more
    assert "p = 0.38" in more
    assert "bound                   refuted on the held-out prompts: 13 regrets in n=100" in refuted
    assert "fitted on 60 labelled prompts" in kept
    assert "3 pairs that could not be labelled" in kept


def test_what_was_served_and_promised_is_there_with_its_n(ledger: Ledger) -> None:
    play(ledger)
    lines = list(in_short(build_report(ledger, settings(), "default"), held(1), TASK, labels=160))
    text = "\n".join(lines)
    for name in ("requests served", "labels made", "coverage", "net saving, routed", "quality", "bound"):
        assert name in text
    assert "n=" in next(line for line in lines if "coverage" in line)
    assert max(map(len, lines)) <= 100


def test_a_bound_that_cannot_be_certified_says_why(ledger: Ledger) -> None:
    play(ledger)
    report = build_report(ledger, settings(), "default")
    assert report.promise is not None
    nothing = dataclasses.replace(report.promise, coverage=0.0, reason="60 prompts are too few")
    text = "\n".join(
        in_short(dataclasses.replace(report, promise=nothing, coverage=None), None, TASK, labels=0)
    )
    assert "nothing is promised, and nothing routed: 60 prompts are too few" in text
    assert "coverage" in text
    assert "0, nothing was routed" in text


def test_an_empty_ledger_promises_nothing(ledger: Ledger) -> None:
    text = "\n".join(in_short(build_report(ledger, settings(), "default"), None, TASK, labels=0))
    assert "no router is in force" in text
