"""Bills that can be added up on paper."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from evals.outcomes import DECLARED, Outcomes, read_outcomes
from evals.report.machines import Machines, machine_costs
from evals.report.offline import Offline, offline_costs
from evals.report.savings import Rates, bill
from evals.report.tree import Bill
from stepdown.errors import NotEnoughEvidence
from stepdown.ledger import Ledger
from stepdown.prices import Price
from stepdown.records import CachedAnswer, Expense, Mode, Reason, Role, Tier, Verdict
from stepdown.students import served_name
from tests.evals.ledgers import START, Writer

STRONG = Price(input=2.0, cached=2.0, output=8.0)


def billed(ledger: Ledger, rates: Rates = Rates(STRONG)) -> Bill:  # noqa: B008
    outcomes = read_outcomes(ledger, "default")
    return bill(outcomes, outcomes.pairs_by_small, rates, 0.95)


def pairs(writer: Writer, count: int = 10) -> None:
    for i in range(count):
        writer.pair(f"pair {i}", True, True, costs=(180, 10), tokens=(10, 20))


def assert_adds_up(found: Bill) -> None:
    asked_for = found.judge + found.evaluations + found.trials
    learning = found.shadow + found.exploration + found.escalation + asked_for + found.rent
    learning += found.distillation
    answers = found.live + found.candidates
    assert found.actual == answers + learning
    assert found.gross.value == found.counterfactual.value - answers
    assert found.net.value == found.gross.value - learning == found.counterfactual.value - found.actual
    assert found.net.high - found.net.low == found.counterfactual.high - found.counterfactual.low


def test_every_item_of_a_bill_is_what_paper_says(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)  # requests in minutes 1, 4, …, 28
    for i in range(3):  # minutes 31, 33, 35
        writer.routed(f"small {i}", Tier.SMALL, True, cost=10, tokens=(10, 20))
    for i in range(2):  # minutes 37, 39
        writer.routed(f"strong {i}", Tier.STRONG, True, cost=180, tokens=(10, 20))
    explored = writer.explored("explored", True, True, -0.5, costs=(180, 10), tokens=(10, 20))  # minute 41
    judged = writer.call(explored, Tier.STRONG, role=Role.JUDGE, cost=5)
    writer.label(judged, Verdict.GOOD, labeller="judge:large", cost=7)
    found = billed(ledger, Rates(STRONG, small_usd_per_hour=0.006))
    assert (found.requests, found.answered_small) == (16, 3)
    assert found.counterfactual == (16 * 180, 16 * 180, 16 * 180, 11)  # the ratios fit these pairs exactly
    assert found.live == 10 * 180 + 3 * 10 + 2 * 180 + 180
    assert (found.shadow, found.exploration, found.escalation) == (100, 10, 0)
    assert found.judge == 5 + 7
    assert found.rent == 40 * 100  # 40 minutes at 100 micro-dollars
    assert found.net.value == 510 - 100 - 10 - 12 - 4000
    assert found.net_share.value == pytest.approx(found.net.value / 2880)
    assert_adds_up(found)


def uneven(seed: int) -> tuple[Outcomes, int]:
    """40 pairs and 20 routed requests of uneven sizes, and what strong would have cost for all of them."""
    generator, n = np.random.default_rng(seed), 60
    prompt, short = generator.integers(5, 200, (2, n))
    long = (short * generator.uniform(1.0, 2.0, n)).astype(int)
    cost = 2 * prompt + 8 * long
    ids = [f"r{i}" for i in range(n)]
    times = pd.date_range("2026-11-01", periods=n, freq="min", tz="UTC")
    requests = pd.DataFrame({"id": ids, "at": times, "prompt_hash": ids, "reason": "x", "explored": False})
    small = {"request": ids, "prompt_tokens": prompt, "completion_tokens": short, "tier": "small"}
    role = ["shadow"] * 40 + ["live"] * 20
    strong = {"request": ids, "prompt_tokens": prompt, "completion_tokens": long, "tier": "strong"}
    calls = pd.concat(
        [
            pd.DataFrame({**small, "cost_usd_micros": 3, "role": role}),
            pd.DataFrame({**strong, "cost_usd_micros": cost, "role": "live"})[:40],
        ]
    )
    calls = calls.assign(ok=True, model=calls["tier"], label_cost_usd_micros=0)
    by_tier = {
        "small_prompt_tokens": prompt,
        "small_completion_tokens": short,
        "strong_completion_tokens": long,
        "strong_cost_usd_micros": cost,
    }
    pairs = pd.DataFrame({"id": ids, "prompt_hash": ids, **by_tier})[:40]
    return Outcomes(requests, calls, pairs), int(cost.sum())


def test_bills_of_uneven_costs_add_up_and_their_intervals_hold_the_truth_as_often_as_stated() -> None:
    held = []
    for seed in range(150):
        outcomes, truth = uneven(seed)
        found = bill(outcomes, {DECLARED: outcomes.pairs}, Rates(STRONG), 0.95)
        assert_adds_up(found)
        assert found.net.low < found.net.value < found.net.high
        held.append(found.counterfactual.low <= truth <= found.counterfactual.high)
    assert np.mean(held) >= 0.95 - 2.5 * math.sqrt(0.95 * 0.05 / len(held))


def test_without_tokens_the_mean_of_pairs_is_used_and_said(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    writer.routed("small", Tier.SMALL, cost=10, tokens=None)
    found = billed(ledger)
    assert found.counterfactual.value == 11 * 180
    assert found.method == "estimated from the mean cost of strong over 10 pairs"


def test_strong_alone_needs_no_estimate(ledger: Ledger) -> None:
    writer = Writer(ledger)
    writer.call(writer.request("one"), Tier.STRONG, cost=100)
    found = billed(ledger)
    assert found.counterfactual == (100, 100, 100, 0)
    assert found.net.value == 0


def test_a_request_of_unknown_cost_is_on_neither_side(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    writer.routed("unknown", Tier.SMALL, cost=None, tokens=(10, 20))
    writer.routed("small", Tier.SMALL, cost=10, tokens=(10, 20))
    found = billed(ledger)
    assert (found.requests, found.excluded, found.counterfactual.value) == (11, 1, 11 * 180)
    assert_adds_up(found)


def test_an_unknown_shadow_cost_is_counted_and_not_called_zero(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    writer.pair("unknown", True, True, costs=(180, None), tokens=(10, 20))
    assert billed(ledger).unpriced == 1


def test_a_model_without_a_price_stops_the_bill_and_says_what_to_set(ledger: Ledger) -> None:
    Writer(ledger).pair("one", True, True, costs=(180, None))
    with pytest.raises(NotEnoughEvidence, match=r"'tiny-1' has no known price \(1 calls\): set input_usd"):
        billed(ledger)


def test_too_few_pairs_stop_the_bill_and_say_how_many_are_needed(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer, 4)
    writer.routed("small", Tier.SMALL, tokens=(10, 20))
    with pytest.raises(NotEnoughEvidence, match="there are 4, 6 more are needed"):
        billed(ledger)


def test_named_models_are_not_on_the_bill(ledger: Ledger) -> None:
    writer = Writer(ledger)
    named = writer.request("named", reason=Reason.NAMED, chosen=Tier.SMALL)
    writer.call(named, Tier.SMALL, cost=10)
    with pytest.raises(NotEnoughEvidence, match="there are none yet"):
        billed(ledger)


def test_judging_answers_of_named_models_is_paid_too(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    before = billed(ledger)
    named = writer.request("named", reason=Reason.NAMED, chosen=Tier.STRONG)
    writer.call(named, Tier.STRONG, cost=180)
    judged = writer.call(named, Tier.STRONG, role=Role.JUDGE, cost=5)
    writer.label(judged, Verdict.GOOD, labeller="judge:large", cost=7)
    found = billed(ledger)
    assert (found.requests, found.live) == (before.requests, before.live)
    assert found.judge == before.judge + 5 + 7
    assert_adds_up(found)


def test_a_failed_small_call_is_paid_by_us_and_not_by_always_strong(ledger: Ledger) -> None:
    writer = Writer(ledger)
    request = writer.request("one", mode=Mode.ROUTE, chosen=Tier.SMALL, reason=Reason.FALLBACK)
    writer.call(request, Tier.SMALL, status=503, cost=30)
    writer.call(request, Tier.STRONG, cost=180)
    found = billed(ledger)
    assert (found.counterfactual.value, found.net.value) == (180, -30)


def test_always_strong_pays_for_the_whole_portfolio(ledger: Ledger) -> None:
    """Two candidates stand beside each answer of strong's, and one of them is dearer than it."""
    writer = Writer(ledger)
    for i in range(10):
        request = writer.pair(f"prompt {i}", True, True, costs=(180, 10), tokens=(10, 20))
        for cost in (180, 300):
            writer.call(request, Tier.STRONG, role=Role.CANDIDATE, cost=cost, tokens=(10, 20))
    writer.routed("small", Tier.SMALL, True, cost=10, tokens=(10, 20))
    strong = writer.routed("strong", Tier.STRONG, True, cost=180, tokens=(10, 20))
    writer.call(strong, Tier.STRONG, role=Role.CANDIDATE, cost=200, tokens=(10, 20))
    writer.call(strong, Tier.STRONG, role=Role.CANDIDATE, cost=None, status=503)
    found = billed(ledger)
    assert found.candidates == 10 * 480 + 200
    assert found.counterfactual.value == 11 * 660 + 380  # the one that small answered would have cost 660
    assert found.gross.value == 660 - 10
    assert_adds_up(found)


def test_a_candidate_of_unknown_cost_takes_its_request_off_the_bill(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    request = writer.routed("strong", Tier.STRONG, True, cost=180)
    writer.call(request, Tier.STRONG, role=Role.CANDIDATE, cost=None)
    writer.call(writer.routed("known", Tier.STRONG, True, cost=180), Tier.STRONG, role=Role.CANDIDATE, cost=7)
    found = billed(ledger)
    assert (found.excluded, found.candidates) == (1, 7)
    assert_adds_up(found)


def test_evaluations_and_trials_are_on_the_bill_of_their_task_and_period(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    asked = [("eval", 5, 0), ("eval", 7, 2), ("trial", 11, 2), ("judge", 13, 2), ("eval", None, 2)]
    asked.append(("playground", 17, 2))
    for number, (purpose, cost, hours) in enumerate(asked):
        ledger.append([cached(str(number), purpose, cost, hours)])
    ledger.append([cached("other", "eval", 1000, 2, task="other")])
    everything = offline_costs(ledger, "default")
    assert everything == Offline(evaluations=29, trials=11, judging=13, unpriced=1)
    later = offline_costs(ledger, "default", START + timedelta(hours=1))
    assert (later.evaluations, later.trials) == (24, 11)
    outcomes = read_outcomes(ledger, "default")
    found = bill(outcomes, outcomes.pairs_by_small, Rates(STRONG), 0.95, everything)
    assert (found.evaluations, found.trials, found.judge, found.unpriced) == (29, 11, 13, 1)
    assert found.net.value == found.gross.value - found.shadow - 29 - 11 - 13
    assert_adds_up(found)


def cached(key: str, purpose: str, cost: int | None, hours: int, *, task: str = "default") -> CachedAnswer:
    return CachedAnswer(
        key=key,
        at=START + timedelta(hours=hours),
        task=task,
        purpose=purpose,
        model="gpt",
        latency_ms=1.0,
        cost_usd_micros=cost,
        body="0" * 64,
    )


def spent(name: str, cost: int | None, hours: int, *, task: str = "default") -> Expense:
    return Expense(
        id=name,
        at=START + timedelta(hours=hours),
        task=task,
        kind="training",
        subject="run",
        seconds=1800.0,
        cost_usd_micros=cost,
    )


def test_hours_of_machines_are_on_the_bill_of_their_task_and_period(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    ledger.append([spent("a", 40, 0), spent("b", 2, 2), spent("c", None, 2)])
    ledger.append([spent("d", 1000, 2, task="other")])
    everything = machine_costs(ledger, "default")
    assert everything == Machines(usd_micros=42, unpriced_s=1800.0)
    assert machine_costs(ledger, "default", START + timedelta(hours=1)) == Machines(2, 1800.0)
    outcomes = read_outcomes(ledger, "default")
    found = bill(outcomes, outcomes.pairs_by_small, Rates(STRONG), 0.95, machines=everything)
    assert (found.distillation, found.unpriced_machine_s) == (42, 1800.0)
    assert found.net.value == found.gross.value - found.shadow - 42
    assert_adds_up(found)


def test_each_student_is_priced_by_its_own_pairs(ledger: Ledger) -> None:
    """One says in 10 tokens what strong says in 20, the other in 40; both are asked of the same requests."""
    terse, wordy = served_name("a" * 64), served_name("b" * 64)
    writer = Writer(ledger)
    for number in range(10):
        request = writer.request(f"pair {number}", mode=Mode.SHADOW, reason=Reason.MODE_SHADOW)
        writer.call(request, Tier.STRONG, True, cost=180, tokens=(10, 20))
        for model, tokens in ((terse, 10), (wordy, 40)):
            writer.call(request, Tier.SMALL, True, role=Role.SHADOW, tokens=(10, tokens), model=model)
    for model, tokens in ((terse, 10), (wordy, 40)):
        request = writer.request(f"asked {model}", mode=Mode.ROUTE, reason=Reason.ROUTED_SMALL)
        writer.call(request, Tier.SMALL, True, tokens=(10, tokens), model=model)
    found = billed(ledger)
    assert found.counterfactual.value == 10 * 180 + 2 * 180
    assert found.counterfactual.n == 20
    assert_adds_up(found)


def test_a_student_of_too_few_pairs_is_priced_by_those_of_all(ledger: Ledger) -> None:
    writer = Writer(ledger)
    pairs(writer)
    request = writer.request("asked", mode=Mode.ROUTE, reason=Reason.ROUTED_SMALL)
    writer.call(request, Tier.SMALL, True, tokens=(10, 20), model=served_name("a" * 64))
    assert billed(ledger).counterfactual.value == 11 * 180
