"""What a portfolio leaves in the ledger, as labelling and the tables of outcomes read it."""

from __future__ import annotations

from typing import Any

from evals.labelling import LabelCounts, label_all
from evals.outcomes import read_outcomes
from stepdown.ledger import Ledger
from stepdown.records import Mode
from stepdown.settings import CandidateSettings, PortfolioSettings, Settings, TaskSettings
from tests.fakes import Asked, FakeModel, Reply, plain
from tests.router.driver import serving
from tests.router.ledgers import promote

PRICES = {"input_usd_per_million": 10.0, "output_usd_per_million": 100.0}
TASK: dict[str, Any] = {"checks": {"total": {"kind": "number"}}, "check": "total", "small": "small"}


def echo(asked: Asked) -> Reply:
    first = asked.json["messages"][0]
    return plain(first["content"] if first["role"] == "system" else "41")


async def test_every_candidate_is_labelled_and_the_picked_one_alone_stands_for_strong(
    ledger: Ledger, model: FakeModel
) -> None:
    """The majority is wrong here, and a candidate that was passed over is right."""
    promote(ledger, Mode.SHADOW)
    model.behaviour = echo
    ways = tuple(CandidateSettings(model="strong", system=text) for text in ("42", "40", "40"))
    portfolio = PortfolioSettings(candidates=ways, picker=("majority",))
    settings = Settings(
        models={"strong": model.settings("gpt", **PRICES), "small": model.settings("mini", **PRICES)},
        tasks={"default": TaskSettings(portfolio=portfolio, **TASK)},
    )
    async with serving(settings, ledger) as client:
        await client.chat(metadata={"stepdown.reference": "42"})
    assert label_all(ledger, settings.tasks, batch=10, budget_s=60) == LabelCounts(good=1, bad=3)
    outcomes = read_outcomes(ledger, "default")
    by_role = outcomes.calls.groupby("role")["good"].apply(lambda good: sorted(good)).to_dict()
    assert by_role == {"live": [0.0], "candidate": [0.0, 1.0], "shadow": [0.0]}
    (pair,) = outcomes.pairs.itertuples()
    assert (pair.answered, pair.strong_good, pair.small_good) == ("strong", 0.0, 0.0)
    assert int(outcomes.calls["cost_usd_micros"].sum()) == 4 * (7 * 10 + 3 * 100)
    in_order = outcomes.calls[outcomes.calls["role"].isin(("live", "candidate"))].sort_values("at")
    assert list(in_order["good"]) == [1.0, 0.0, 0.0], "the order of declaration is that of the times"
