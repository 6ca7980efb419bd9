"""What a judge has yet to look at where a request has answers of several small models."""

from __future__ import annotations

import pytest

from evals.judge import backlog
from evals.judge.backlog import Sought, unjudged
from stepdown.ledger import Ledger
from stepdown.settings import JudgeSettings
from tests.distill.evaluation.live import TASK, Live

ON_BOTH_DATABASES = True


@pytest.mark.parametrize("page", [1, 2, 100])
def test_each_small_model_s_last_answer_makes_a_pair_with_strong(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(backlog, "PAGE", page)
    live = Live(ledger)
    for prompt in ("a", "b"):
        request = live.asks(prompt)
        for model in ("tiny", "student-1", "student-2"):
            live.answered(request, model, "yes")
    items = unjudged(ledger, Sought(TASK, JudgeSettings(model="judge"), "judge:fair", "1"))
    found = [(item.request, item.subjects[1].model) for item in items]
    assert sorted(found) == [
        (request, model) for request in ("r00001", "r00002") for model in ("student-1", "student-2", "tiny")
    ]
