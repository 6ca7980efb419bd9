"""What is missing is said in numbers and in words, and alarms come and go with their cause."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from evals.outcomes import read_outcomes
from evals.promotion import share_of
from evals.refit import ROUTER
from evals.summary.alarms import silent_workers
from evals.summary.documents import Alarm, Operations, Outlook
from evals.summary.kept import keep
from evals.summary.outlook import outlook
from evals.summary.scene import see
from router.fitting.bound import prompts_needed
from router.fitting.fit import CALIBRATION_SHARE
from router.fitting.splits import calibration_mask
from stepdown.heartbeat import worker_beat
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import Settings
from stepdown.summaries import ALL_TASKS
from tests.evals.ledgers import START, Writer
from tests.evals.report.scene import COSTS, EPSILON, TOKENS, play, promote, settings

NOW = START + timedelta(hours=12)
QUEUES = ("labels", "fits", "evals")


def looked(ledger: Ledger, chosen: Settings | None = None, at: datetime = NOW) -> Outlook:
    return outlook(see(ledger, chosen or settings(), "default", at))


def alarms_of(found: Outlook, about: str) -> list[Alarm]:
    return [alarm for alarm in found.alarms if alarm.about == about]


def with_task(chosen: Settings, **changes: Any) -> Settings:
    return structs.replace(chosen, tasks={"default": structs.replace(chosen.tasks["default"], **changes)})


def shadowed(ledger: Ledger, count: int) -> Writer:
    """Every second prompt is a question, of which small knows nothing."""
    writer = Writer(ledger)
    with writer.together():
        for number in range(count):
            asks = number % 2
            prompt = f"{'what is' if asks else 'please write'} number {number}{'?' * asks}"
            writer.pair(prompt, True, not asks, costs=COSTS, tokens=TOKENS)
    return writer


def test_a_new_task_is_told_how_many_labels_it_needs(ledger: Ledger) -> None:
    shadowed(ledger, 40)
    found = looked(ledger, settings(min_labels=100))
    assert (found.prompts, found.certifiable, found.labels_to_router) == (40, 40, 60)
    prompts = read_outcomes(ledger, "default").pairs["prompt_hash"].tolist()
    have = int(calibration_mask(prompts, CALIBRATION_SHARE, 0).sum())
    needed = prompts_needed(0.02, share_of(0.05, 1)) - have
    assert (found.labels_to_certificate - 1) * CALIBRATION_SHARE < needed
    assert found.labels_to_certificate * CALIBRATION_SHARE >= needed
    assert found.lines[0].startswith("needs about 60 more labels for a first router: 40 of 100")
    assert "first certificate of at most 2.0% regrets" in found.lines[1]


def test_after_a_fit_a_certificate_needs_what_the_next_fit_will_ask_for(ledger: Ledger) -> None:
    shadowed(ledger, 40)
    before = looked(ledger)
    Registry(ledger).keep(ROUTER, "default", b"fitted", settings={"look": 1}, summary={})
    more = prompts_needed(0.02, share_of(0.05, 3)) - prompts_needed(0.02, share_of(0.05, 1))
    needs = looked(ledger).labels_to_certificate - before.labels_to_certificate
    assert needs == pytest.approx(more / CALIBRATION_SHARE, abs=1)


def test_days_to_go_are_at_the_rate_of_late(ledger: Ledger) -> None:
    shadowed(ledger, 40)
    found = looked(ledger, settings(min_labels=100))
    # The first request came a minute after the start.
    days = (NOW - START - timedelta(minutes=1)) / timedelta(days=1)
    assert found.rate_per_day == pytest.approx(40 / days)
    assert found.days_to_go == pytest.approx(found.labels_to_certificate * days / 40)
    assert "are labelled every 12 hours" in found.lines[2]
    assert found.requests_a_month == 40 * 30  # it is not taken to go on all day as it began
    assert found.extrapolated == "as many as in the last 24 hours, for 30 days"
    later = looked(ledger, settings(min_labels=100), START + timedelta(days=30))
    assert (later.rate_per_day, later.days_to_go, later.requests_a_month) == (None, None, 0)
    assert "no prompt was newly labelled for both models in the last 7 days" in later.lines


def test_with_few_labels_the_saving_is_at_most_an_oracles(ledger: Ledger) -> None:
    shadowed(ledger, 40)
    found = looked(ledger)
    assert found.saving is not None
    assert found.saving.at_most
    # Half of the requests save 170 micro-dollars each; of all, 5 % are explored and cost 10 more.
    each = 0.95 * 170 / 2 - 0.05 * 10
    assert found.saving.usd_micros.value == pytest.approx(found.requests_a_month * each, abs=1)
    assert any(line.startswith("could save at most $") for line in found.lines)


def test_with_a_hundred_prompts_a_router_is_projected_from(ledger: Ledger) -> None:
    shadowed(ledger, 160)
    found = looked(ledger)
    assert found.saving is not None
    assert not found.saving.at_most
    most = found.requests_a_month * 85
    assert 0.5 * most < found.saving.usd_micros.value <= 1.05 * most
    assert found.saving.usd_micros.low <= found.saving.usd_micros.value <= found.saving.usd_micros.high
    assert any(line.startswith("projected saving $") for line in found.lines)


def test_answers_that_are_all_alike_are_projected_by_the_oracle(ledger: Ledger) -> None:
    writer = Writer(ledger)
    with writer.together():
        for number in range(120):
            writer.pair(f"prompt {number}", True, True, costs=COSTS, tokens=TOKENS)
    found = looked(ledger)
    assert found.saving is not None
    assert found.saving.coverage.value is not None
    assert found.saving.coverage.value > 0.9


def test_a_task_in_mode_route_lacks_nothing_and_its_bill_says_the_rest(ledger: Ledger) -> None:
    play(ledger)
    found = looked(ledger)
    assert (found.labels_to_router, found.labels_to_certificate, found.saving) == (0, 0, None)
    assert found.lines == ()


def test_a_task_without_a_small_model_is_told_so(ledger: Ledger) -> None:
    found = looked(ledger, with_task(settings(), small=None))
    assert found.saving is None
    assert found.lines[0].startswith("no small model is configured")


def test_a_bound_that_the_audit_refutes_is_an_alarm(ledger: Ledger) -> None:
    writer = play(ledger)
    chosen = with_task(settings(), max_quality_loss=EPSILON)
    assert alarms_of(looked(ledger, chosen), "bound") == []
    for number in range(8):
        writer.explored(f"wrong {number}", True, False, 0.0, threshold=0.1)
    (alarm,) = alarms_of(looked(ledger, chosen), "bound")
    assert alarm.severity == "error"
    assert "8 of 28 audited prompts are regrets" in alarm.text
    assert "5.00%" in alarm.text


def test_one_prompt_that_is_asked_again_and_again_refutes_no_bound(ledger: Ledger) -> None:
    writer = play(ledger)
    for _ in range(30):
        writer.explored("wrong", True, False, 0.0, threshold=0.1)
    assert alarms_of(looked(ledger, with_task(settings(), max_quality_loss=EPSILON)), "bound") == []


def test_a_router_for_another_bound_or_of_long_ago_is_stale(ledger: Ledger) -> None:
    promote(ledger, after_minutes=0)
    chosen = with_task(settings(), max_quality_loss=EPSILON)
    assert alarms_of(looked(ledger, chosen), "router") == []
    (other,) = alarms_of(looked(ledger, with_task(chosen, max_quality_loss=0.01)), "router")
    assert "certified for 5.00% regrets with 0.95 confidence; asked for is 1.00%" in other.text
    (old,) = alarms_of(looked(ledger, chosen, START + timedelta(days=40)), "router")
    assert old.text == "the router in force is 40 days old"


def test_a_corrupt_router_is_an_alarm(ledger: Ledger) -> None:
    promote(ledger, after_minutes=0)
    with ledger.writing() as connection:
        connection.execute(schema.artifacts.update().values(content=b"junk"))
    (alarm,) = alarms_of(looked(ledger), "router")
    assert alarm.severity == "error"
    assert "corrupt" in alarm.text


def test_a_worker_is_silent_until_it_beats(ledger: Ledger) -> None:
    assert len(list(silent_workers(ledger, settings(), now()))) == 3
    for queue in QUEUES:
        ledger.beat(worker_beat(queue))
    assert list(silent_workers(ledger, settings(), now())) == []
    (alarm,) = silent_workers(ledger, settings(), now() + timedelta(minutes=5))
    assert "'labels' was last seen 300 s ago; 60 s are the limit" in alarm.text


def test_servers_that_sleep_are_away_or_refuse_students_are_alarms(ledger: Ledger) -> None:
    replicas = Replicas(ledger)
    replicas.note(Replica("http://a", "small", NOW, State.SERVING))
    replicas.note(Replica("http://other", "strong", NOW, State.AWAY))
    assert alarms_of(looked(ledger), "server") == []
    replicas.note(
        Replica("http://a", "small", NOW, State.SERVING, refused={"stepdown-1": {"why": "rank 64"}})
    )
    replicas.note(Replica("http://b", "small", NOW, State.ASLEEP))
    replicas.note(Replica("http://c", "small", NOW, State.AWAY, note="connection refused"))
    texts = [alarm.text for alarm in alarms_of(looked(ledger), "server")]
    assert len(texts) == 3
    assert "http://a refused student 'stepdown-1': rank 64" in texts[0]
    assert "sleeps" in texts[1]
    assert "connection refused" in texts[2]


def test_answers_that_wait_long_for_a_label_are_an_alarm(ledger: Ledger) -> None:
    waits: dict[str, float | None] = {"default": 600.0}
    kept = Operations(at=NOW, label_backlog={"default": 12}, oldest_unlabelled_s=waits)
    keep(ledger, ALL_TASKS, kept)
    assert alarms_of(looked(ledger), "labels") == []
    keep(ledger, ALL_TASKS, structs.replace(kept, oldest_unlabelled_s={"default": 3600.0}))
    (alarm,) = alarms_of(looked(ledger), "labels")
    assert alarm.text == "12 answers wait for a label, the oldest for 60 minutes"


def test_a_model_without_a_price_is_an_alarm(ledger: Ledger) -> None:
    chosen = settings()
    assert alarms_of(looked(ledger, chosen), "price") == []
    nameless = structs.replace(chosen.models["strong"], input_usd_per_million=None)
    unpriced = structs.replace(chosen, models={**chosen.models, "strong": nameless})
    (alarm,) = alarms_of(looked(ledger, unpriced), "price")
    assert "model 'strong' has no known price" in alarm.text
