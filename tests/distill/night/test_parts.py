"""What of a backlog a night waits for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import msgspec

from distill.night.parts import Parts
from stepdown.ids import now
from stepdown.ledger import Body, Ledger
from stepdown.records import Role, Tier
from stepdown.settings import JudgeSettings, Settings
from tests.distill.night.rooms import TASK, settings_for
from tests.records import a_call, a_request
from tests.traffic import chat_body, completion_body

ON_BOTH_DATABASES = True
CHECKED = {"check": "same", "checks": {"same": {"kind": "exact"}}}
JUDGED = {"judges": {"kind": JudgeSettings(model="strong", kind="single")}}


def answered(ledger: Ledger) -> None:
    asked, said = Body.of(chat_body("2 + 2")), Body.of(completion_body("4"))
    request = a_request(task=TASK, at=now(), body=asked.digest, reference=json.dumps("4"))
    call = a_call(request=request.id, role=Role.LIVE, tier=Tier.STRONG, body=said.digest)
    ledger.append([request, asked, said, call])


def left(ledger: Ledger, settings: Settings, *, hours: float = 1.0, at_once: bool = False) -> bool:
    before = now() + timedelta(hours=hours)
    return Parts(ledger, settings, {}, TASK).is_left(before, at_once=at_once)


def test_what_was_asked_before_is_waited_for_until_it_has_its_label(ledger: Ledger, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, task=CHECKED)
    assert not left(ledger, settings)
    answered(ledger)
    assert left(ledger, settings)
    assert not left(ledger, settings, hours=-1.0), "what came since is not"
    Parts(ledger, settings, {}, TASK).label(float("inf"))
    assert not left(ledger, settings)


def test_a_judge_whose_batch_answers_some_day_is_waited_for_only_where_labels_are_needed_at_once(
    ledger: Ledger, tmp_path: Path
) -> None:
    answered(ledger)
    settings = settings_for(tmp_path, task=JUDGED)
    assert left(ledger, settings)
    batched = msgspec.structs.replace(settings.models["strong"], batch=True)
    settings = msgspec.structs.replace(settings, models={**settings.models, "strong": batched})
    assert not left(ledger, settings)
    assert left(ledger, settings, at_once=True)
