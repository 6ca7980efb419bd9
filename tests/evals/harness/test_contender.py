"""Ways of asking: what becomes of a request."""

from __future__ import annotations

from typing import Any

import pytest

from evals.harness.contender import Contender
from stepdown.errors import SuiteError
from stepdown.settings import ModelSettings

USER = {"role": "user", "content": "2 + 2?"}


def asked(messages: list[dict[str, Any]], **way: Any) -> dict[str, Any]:
    return Contender(name="v", alias="a", **way).fields({"messages": messages, "temperature": 0.3})


def test_as_it_is_nothing_changes() -> None:
    assert asked([USER]) == {"messages": [USER], "temperature": 0.3}


def test_a_system_text_comes_first() -> None:
    assert asked([USER], system="Be brief.")["messages"] == [{"role": "system", "content": "Be brief."}, USER]


def test_a_system_text_comes_before_the_requests_own_in_one_message() -> None:
    own = {"role": "system", "content": "Add."}
    assert asked([own, USER], system="Be brief.")["messages"] == [
        {"role": "system", "content": "Be brief.\n\nAdd."},
        USER,
    ]
    parts = {"role": "developer", "content": [{"type": "text", "text": "Add."}]}
    (first, _) = asked([parts, USER], system="Be brief.")["messages"]
    assert first["role"] == "developer"
    assert [part["text"] for part in first["content"]] == ["Be brief.", "Add."]


def test_a_trial_asks_as_a_portfolio_does() -> None:
    import msgspec

    from router.candidates import with_system

    for own in ({"role": "system", "content": "Add.\n "}, {"role": "system", "content": None}, USER):
        messages = [own, USER]
        raw = with_system(msgspec.Raw(msgspec.json.encode(messages)), "Be brief.")
        assert asked(messages, system="Be brief.")["messages"] == msgspec.json.decode(bytes(raw))


def test_a_user_text_goes_round_the_last_user_message() -> None:
    answer = {"role": "assistant", "content": "4"}
    messages = asked([USER, answer, {**USER, "content": "{x} + 3?"}], user="Q: {prompt}\nA:")["messages"]
    assert [message["content"] for message in messages] == ["2 + 2?", "4", "Q: {x} + 3?\nA:"]


def test_a_user_text_goes_round_the_text_of_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    parts = [image, {"type": "text", "text": "What is it?"}]
    (message,) = asked([{"role": "user", "content": parts}], user="Look. {prompt}")["messages"]
    assert message["content"] == [image, {"type": "text", "text": "Look. What is it?"}]


def test_a_temperature_takes_the_place_of_the_requests_own() -> None:
    assert asked([USER], temperature=1.0)["temperature"] == 1.0


def test_the_case_itself_is_left_alone() -> None:
    fields = {"messages": [{"role": "system", "content": "Add."}, dict(USER)]}
    Contender(name="v", alias="a", system="S", user="U {prompt}").fields(fields)
    assert fields == {"messages": [{"role": "system", "content": "Add."}, USER]}


def test_a_user_text_without_a_place_for_the_prompt_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"no \{prompt\} in it"):
        Contender(name="v", alias="a", user="Answer!")


def test_the_identity_is_that_of_the_model_and_the_way_of_asking() -> None:
    model = ModelSettings(model="m", url="http://h/v1")
    as_is = Contender(name="one", alias="a").identity(model)
    assert Contender(name="two", alias="b").identity(model) == as_is
    assert Contender(name="one", alias="a", system="S").identity(model) != as_is
    assert Contender(name="one", alias="a").identity(ModelSettings(model="m", url="http://i/v1")) != as_is
