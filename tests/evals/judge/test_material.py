"""The texts that a judge is shown: of the request, the answers and the reference."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from evals.judge.backlog import Item, sought_by, unjudged
from evals.judge.judges import judges_of
from evals.judge.material import load, reference_text, request_text
from router.wire import read_prompt
from stepdown.ids import now
from stepdown.ledger import Body, Ledger, schema
from stepdown.records import Role, Tier
from tests.evals.judge.judging import settings_for
from tests.fakes import FakeModel, events
from tests.records import a_call
from tests.traffic import answered, completion_body


def items(ledger: Ledger, **judge: Any) -> list[Item]:
    settings = settings_for(FakeModel(), **judge)
    return list(unjudged(ledger, sought_by(judges_of(settings, "sums")[0])))


def chat(*messages: tuple[str, Any]) -> bytes:
    listed = [{"role": role, "content": content} for role, content in messages]
    return json.dumps({"model": "m", "messages": listed}).encode()


def test_a_lone_message_is_shown_as_it_is() -> None:
    assert request_text(read_prompt(chat(("user", "2+2?")))) == "2+2?"


def test_a_conversation_is_shown_in_parts() -> None:
    body = chat(("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c"))
    assert request_text(read_prompt(body)) == (
        "[system]\nBe brief.\n\n[earlier messages]\na\nb\n\n[last message]\nc"
    )


@pytest.mark.parametrize(
    ("reference", "text"),
    [(None, None), ('"four"', "four"), ("4", "4"), ('{"a": 1}', '{"a": 1}'), ("not JSON", "not JSON")],
)
def test_references(reference: str | None, text: str | None) -> None:
    assert reference_text(reference) == text


def test_a_streamed_answer_is_read(ledger: Ledger) -> None:
    answered(ledger, "sums", "2+2?", "", shadow="5", body=b"".join(events("It is four.")))
    loaded = load(ledger, items(ledger)[0])
    assert loaded.material.answers == ("It is four. ", "5")
    assert not loaded.identical


def test_what_is_no_text_is_said(ledger: Ledger) -> None:
    pair = answered(ledger, "sums", "2+2?", "4", shadow="5")
    picture = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    body = Body.of(chat(("user", picture)))
    ledger.append([body])
    with ledger.writing() as connection:
        table = schema.requests
        connection.execute(update(table).where(table.c.id == pair.request).values(body=body.digest))
    assert load(ledger, items(ledger)[0]).notes == ("the judge did not see the request's images",)


def test_of_a_model_that_answered_twice_the_later_answer_is_judged(ledger: Ledger) -> None:
    pair = answered(ledger, "sums", "2+2?", "4", shadow="5")
    later = Body.of(completion_body("6"))
    again = {"role": Role.SHADOW, "tier": Tier.SMALL, "model": "small"}
    ledger.append(
        [
            later,
            a_call(id="z", request=pair.request, **again, body=later.digest),
            a_call(request=pair.request, role=Role.LIVE, tier=Tier.SMALL, status=500, complete=False),
        ]
    )
    (item,) = items(ledger)
    assert [subject.call for subject in item.subjects] == [pair.call, "z"]
    assert {subject.call for item in items(ledger, kind="single") for subject in item.subjects} == {
        pair.call,
        pair.shadow,
        "z",
    }


def test_pages_follow_each_other_without_gap(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.judge.backlog.PAGE", 3)
    pairs = [answered(ledger, "sums", f"{n}?", "4", shadow="5") for n in range(8)]
    table = schema.requests
    same = [pair.request for pair in pairs[1:7]]
    with ledger.writing() as connection:  # several requests of one moment
        connection.execute(update(table).where(table.c.id.in_(same)).values(at=now()))
    for kind, wanted in (("pairwise", 8), ("single", 16)):
        found = [item.subjects for item in items(ledger, kind=kind)]
        assert len(found) == len(set(found)) == wanted
    assert {item.request for item in items(ledger)} == {pair.request for pair in pairs}
