"""Runs against real servers: what is asked and kept, how failures are met, judges, policies, recordings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from evals.checks import KINDS
from evals.harness import asking
from evals.harness.contender import Contender
from evals.harness.diff import Rules, compare_evaluations
from evals.harness.evaluate import Done, Plan, evaluate
from evals.harness.form import to_json
from evals.harness.policy import find_router, policy_column, to_small
from evals.harness.recorded import recorded_models
from evals.harness.suite import Suite
from evals.harness.text import evaluation_lines
from router.model import Scores
from router.prompt import Prompt
from stepdown.errors import LedgerError, SettingsError, SuiteError
from stepdown.ledger import Ledger
from stepdown.records import Tier
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, Settings
from tests import fakes
from tests.evals.harness.suites import adding, asked_text, read, sums
from tests.fakes import Asked, FakeModel, Reply, plain, running

JUDGED = '[judges.better]\nmodel = "judge"\nkind = "{kind}"\n'


@pytest.fixture
def models() -> Iterator[dict[str, FakeModel]]:
    fakes_ = {name: FakeModel(adding()) for name in ("a", "b", "judge")}
    with running(*fakes_.values()):
        yield fakes_


def settings_of(models: dict[str, FakeModel]) -> Settings:
    prices = {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}
    return Settings(
        models={name: model.settings(f"model-{name}", **prices) for name, model in models.items()}
    )


def run(ledger: Ledger, suite: Suite, settings: Settings, *aliases: str, **more: Any) -> Done:
    contenders = [Contender(name=alias, alias=alias) for alias in aliases or ("a", "b")]
    plan = {"baseline": contenders[0].name, "contenders": contenders, **more}
    return evaluate(ledger, Plan(suite=suite, settings=settings, environ={}, **plan))


def test_models_are_asked_scored_and_compared(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    models["b"].behaviour = adding(wrong=lambda n: n < 8)
    done = run(ledger, read(tmp_path, sums(20)), settings_of(models))
    a, b = done.evaluation.columns
    assert (a.quality.value, b.quality.value) == (1.0, 0.6)
    assert a.cost_usd_micros == 20 * 37
    assert (done.spent.asked, done.spent.cached, done.spent.usd_micros) == (40, 0, 40 * 37)
    comparison = done.evaluation.comparisons[0]
    assert (comparison.column, comparison.better, comparison.worse) == ("b", 0, 8)
    assert comparison.p_holm == pytest.approx(2 / 2**8)
    assert a.latency_p50_ms is not None
    assert not a.incomplete
    samples = done.evaluation.cases[0].samples["b"]
    assert samples[0].text == "Answer: 1"
    assert samples[0].body is not None
    assert json.loads(ledger.body(samples[0].body))["choices"][0]["message"]["content"] == "Answer: 1"


def test_a_second_run_asks_nothing_and_is_the_same_to_the_byte(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    suite = read(tmp_path, sums(10))
    first, second = (run(ledger, suite, settings_of(models)) for _ in range(2))
    assert len(models["a"].asked) == 10
    assert (second.spent.asked, second.spent.cached) == (0, 20)
    assert to_json(first.evaluation) == to_json(second.evaluation)


def test_a_case_that_fails_harms_no_other(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    def refuses_three(asked: Asked) -> Reply:
        return fakes.error(400, "too hard") if asked_text(asked).startswith("3 ") else adding()(asked)

    models["b"].behaviour = refuses_three
    done = run(ledger, read(tmp_path, sums(6)), settings_of(models))
    column = done.evaluation.column("b")
    assert (column.scored, column.failed, column.incomplete) == (5, 1, False)
    (failed,) = [c for c in done.evaluation.cases if not c.samples["b"][0].answered]
    assert "too hard" in failed.samples["b"][0].why
    assert done.evaluation.comparisons[0].difference.n == 5


def test_a_model_that_is_away_is_left_alone_and_may_be_asked_again(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "AWAY_AFTER", 3)
    monkeypatch.setattr("router.ask.FIRST_WAIT_S", 0.001)
    models["b"].behaviour = lambda _: fakes.error(500, "down")
    suite = read(tmp_path, sums(12))
    done = run(ledger, suite, settings_of(models), concurrency=1)
    assert len(models["b"].asked) == 3 * 5
    assert done.evaluation.column("b").incomplete
    assert "b: incomplete" in "\n".join(evaluation_lines(done.evaluation))
    assert not done.evaluation.column("a").incomplete
    reasons = [case.samples["b"][0].why for case in done.evaluation.cases]
    assert sum("failed 3 times in a row" in why for why in reasons) == 9
    models["b"].behaviour = adding()
    assert run(ledger, suite, settings_of(models)).evaluation.column("b").scored == 12


def test_when_the_time_is_up_nothing_more_is_asked(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    done = run(ledger, read(tmp_path, sums(3)), settings_of(models), deadline=asking.CLOCK() - 1)
    assert done.out_of_time
    assert models["a"].asked == []
    assert done.evaluation.column("a").failed == 3


def test_a_ledger_that_refuses_ends_the_run_with_its_error(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    with ledger.writing() as connection:
        connection.execute(text("DROP TABLE cached_answers"))
    with pytest.raises(LedgerError, match="refused"):
        run(ledger, read(tmp_path, sums(4)), settings_of(models))


class Raising:
    """A check that breaks on some answers."""

    version = "1"
    needs_reference = True

    def __call__(self, subject: Any) -> Any:
        raise ZeroDivisionError("an error of the check itself")


def test_a_check_that_raises_leaves_its_answers_unscored(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evals.checks import Check
    from evals.checks.number import Number

    class Brittle(Number, frozen=True):
        def __call__(self, subject: Any, /) -> Any:
            return Raising()(subject) if subject.reference == 4 else super().__call__(subject)

    kind: type[Check] = Brittle
    monkeypatch.setitem(KINDS, "number", kind)
    column = run(ledger, read(tmp_path, sums(5)), settings_of(models), "a").evaluation.column("a")
    assert (column.scored, column.unscored, column.failed, column.quality.n) == (4, 1, 0, 4)


def test_a_reference_that_the_check_cannot_use_is_unscored_with_its_reason(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    suite = read(tmp_path, [{"prompt": "1 + 1?", "reference": "two"}, *sums(2)])
    done = run(ledger, suite, settings_of(models), "a")
    assert done.evaluation.column("a").unscored == 1
    assert "is not one number" in done.evaluation.cases[0].samples["a"][0].why


def verdict_for(asked: Asked, *, prefers: str) -> Reply:
    """A judge that prefers the answer in which a text stands."""
    shown = asked_text(asked)
    first = shown.index("BEGIN ANSWER A") < shown.find(prefers) < shown.index("END ANSWER A")
    winner = "A" if first else "B"
    return plain(json.dumps({"reason": "it says so", "winner": winner}))


def poems(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{n} lines about the sea, please."} for n in range(count)]


def judged_suite(folder: Path, count: int, kind: str) -> Suite:
    file = folder / "suite.toml"
    folder.mkdir(exist_ok=True)
    (folder / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in poems(count)))
    file.write_text('cases = "cases.jsonl"\n' + JUDGED.format(kind=kind))
    from evals.harness.load import load_suite
    from tests.evals.harness.suites import READING

    return load_suite(file, READING)


def test_a_pairwise_judge_compares_with_the_baseline(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    models["a"].behaviour = lambda _: plain("Waves.")
    models["b"].behaviour = lambda asked: (
        plain("Waves.") if "0 lines" in asked_text(asked) else plain("Foam!")
    )
    models["judge"].behaviour = lambda asked: verdict_for(asked, prefers="Foam!")
    suite = judged_suite(tmp_path, 4, "pairwise")
    done = run(ledger, suite, settings_of(models))
    assert done.evaluation.judge == "pairwise"
    assert [case.samples["b"][0].score for case in done.evaluation.cases] == [0.5, 1, 1, 1]
    assert done.evaluation.column("a").quality.value == 0.5
    assert len(models["judge"].asked) == 2 * 3, "each pair in both orders, and equal answers not at all"
    assert "Judge better (judge) scored the answers against a to 4 cases" in done.evaluation.notes[0]
    assert done.spent.asked == 8 + 6
    run(ledger, suite, settings_of(models))
    assert len(models["judge"].asked) == 6, "judgements are cached"


def test_a_judge_that_prefers_a_place_finds_ties(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    models["a"].behaviour, models["b"].behaviour = (lambda _: plain("One.")), (lambda _: plain("Two."))
    models["judge"].behaviour = lambda _: plain('{"reason": "first", "winner": "A"}')
    done = run(ledger, judged_suite(tmp_path, 2, "pairwise"), settings_of(models))
    assert [case.samples["b"][0].score for case in done.evaluation.cases] == [0.5, 0.5]


def test_a_judge_in_prose_leaves_unscored(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    models["a"].behaviour = lambda _: plain("Waves.")
    models["judge"].behaviour = lambda _: plain("I like it.")
    done = run(ledger, judged_suite(tmp_path, 2, "single"), settings_of(models), "a")
    assert done.evaluation.column("a").unscored == 2
    assert "no verdict" in done.evaluation.cases[0].samples["a"][0].why


def test_a_single_judge_that_is_away_leaves_the_run_incomplete(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.ask.FIRST_WAIT_S", 0.001)
    models["a"].behaviour = lambda _: plain("Waves.")
    models["judge"].behaviour = lambda _: fakes.error(503, "resting")
    suite = judged_suite(tmp_path, 2, "single")
    column = run(ledger, suite, settings_of(models), "a").evaluation.column("a")
    assert (column.unscored, column.incomplete) == (2, True)
    models["judge"].behaviour = lambda _: plain('{"reason": "fine", "verdict": "good"}')
    column = run(ledger, suite, settings_of(models), "a").evaluation.column("a")
    assert (column.quality.value, column.incomplete) == (1.0, False)
    assert len(models["a"].asked) == 2


def test_pairwise_scores_against_different_baselines_are_not_compared(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    for name, said in (("a", "One."), ("b", "Two.")):
        models[name].behaviour = lambda _, said=said: plain(said)  # type: ignore[misc]
    models["judge"].behaviour = lambda asked: verdict_for(asked, prefers="Two.")
    suite = judged_suite(tmp_path, 2, "pairwise")
    one = run(ledger, suite, settings_of(models)).evaluation
    other = run(ledger, suite, settings_of(models), baseline="b").evaluation
    with pytest.raises(SuiteError, match="run both with one baseline"):
        compare_evaluations(one, other, Rules())


def test_names_and_models_are_checked_before_anything_is_asked(
    ledger: Ledger, models: dict[str, FakeModel], tmp_path: Path
) -> None:
    suite, settings = read(tmp_path, sums(2)), settings_of(models)
    with pytest.raises(SuiteError, match="'c' is not among those tried: a, b"):
        run(ledger, suite, settings, baseline="c")
    with pytest.raises(SuiteError, match="each name must be used once"):
        run(ledger, suite, settings, "a", "a")
    with pytest.raises(SettingsError, match="'c' is not declared"):
        run(ledger, suite, settings, "a", "c")
    assert models["a"].asked == []


class Router:
    """Gives short prompts to the small model."""

    threshold = 0.0

    def score(self, prompt: Prompt) -> Scores:
        return Scores(0.5, 1.0 if len(prompt.user) < 7 else 0.0)


def test_a_policy_gives_small_what_its_router_does_and_nothing_that_small_cannot_take(tmp_path: Path) -> None:
    lines = [
        {"id": "short", "prompt": "1+1?", "reference": 2},
        {"id": "long", "prompt": "One and one is?", "reference": 2},
        {
            "id": "tools",
            "prompt": "2+2?",
            "reference": 4,
            "tools": [{"type": "function", "function": {"name": "f"}}],
        },
    ]
    suite = read(tmp_path, lines)
    plain_small = ModelSettings(model="s")
    assert to_small(Router(), "r", suite.cases, plain_small) == {"short"}
    assert to_small(Router(), "r", suite.cases, ModelSettings(model="s", capabilities=("tools",))) == {
        "short",
        "tools",
    }


def test_routers_are_found_by_name_and_their_traffic_is_counted(ledger: Ledger, tmp_path: Path) -> None:
    from router.features import BUCKETS, STRUCTURE
    from router.model import RouterModel, Weights
    from tests.traffic import answered

    assert BUCKETS > 0
    answered(ledger, "default", "0 + 0?", "0")
    width = len(STRUCTURE)
    weights = Weights(
        np.zeros(0),
        np.zeros(0),
        np.zeros((0, 2)),
        np.zeros(width),
        np.ones(width),
        np.zeros((width, 2)),
        np.array([0.0, 1.0]),
        np.array(5.0),
    )
    content = RouterModel(weights, threshold=0.5).to_bytes()
    kept = Registry(ledger).keep("router", "default", content, settings={}, summary={})
    router = find_router(ledger, "default", "newest")
    assert router.id == kept.id == find_router(ledger, "default", kept.id).id
    cases = read(tmp_path, sums(3)).cases
    column = policy_column(ledger, router, cases, ("a", "b"), ModelSettings(model="s"))
    assert column.to_small == {case.id for case in cases}
    assert column.seen == 1
    with pytest.raises(SuiteError, match="no current router"):
        find_router(ledger, "default", "current")


def test_a_recording_is_two_models_whose_times_say_nothing(ledger: Ledger, tmp_path: Path) -> None:
    lines = [
        {**line, "strong": f"Answer: {line['reference']}", "small": {"text": "Answer: 7", "model": "tiny"}}
        for line in sums(5)
    ]
    suite = read(tmp_path, lines)
    file = tmp_path / "cases.jsonl"
    for _ in range(2):
        with recorded_models(Settings(), file, {Tier.STRONG: (1.0, 1.0), Tier.SMALL: (0.1, 0.1)}) as recorded:
            done = run(
                ledger,
                suite,
                recorded.settings,
                "recorded-strong",
                "recorded-small",
                identities=recorded.identities,
                untimed=frozenset(recorded.identities),
            )
    assert done.spent.asked == 0, "on another port it is the same recording"
    strong, small = done.evaluation.columns
    assert (strong.quality.value, small.quality.value) == (1.0, 0.0)
    assert (small.model, small.latency_p50_ms) == ("tiny", None)
