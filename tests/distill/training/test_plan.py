"""The plan of a training: its hash is all that shapes a student, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.training.plan import TOKENS_AT_ONCE, Plan, micro_batch, steps


def a_plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "task": "colours",
        "dataset": "d" * 64,
        "base": "/models/tiny",
        "base_hash": "b" * 64,
        "tokenizer_hash": "t" * 64,
        "method": "lora",
        "objective": "sft",
        "rank": 16,
        "alpha": 32,
        "epochs": 2.0,
        "learning_rate": 2e-4,
        "batch": 8,
        "micro_batch": 4,
        "processes": 1,
        "checkpoint_steps": 50,
        "patience": 3,
        "max_tokens": 2048,
        "seed": 0,
        "code": "0.1.0",
    }
    return Plan(**{**values, **changes})


def test_a_plan_is_read_back_with_its_name() -> None:
    plan = a_plan(targets=("q_proj", "v_proj"))
    again = Plan.of_json(json.loads(plan.to_bytes()))
    assert again == plan
    assert again.run == plan.run


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Plan)])
def test_whatever_is_in_the_plan_is_in_its_name(name: str) -> None:
    value = getattr(a_plan(), name)
    other = value + 1 if isinstance(value, int | float) else "another"
    assert a_plan(**{name: other}).run != a_plan().run


@given(share=st.integers(1, 64), processes=st.integers(1, 8), max_tokens=st.integers(16, 32_768))
def test_a_step_is_shared_out_without_a_rest(share: int, processes: int, max_tokens: int) -> None:
    size = micro_batch(share * processes, processes, max_tokens)
    assert share % size == 0
    assert size == 1 or size * max_tokens <= TOKENS_AT_ONCE


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 9 examples cannot be shared out to 2 devices"):
        micro_batch(9, 2, 128)
    with pytest.raises(ValueError, match="to 8 devices"):
        micro_batch(4, 8, 128)


def test_steps_count_the_last_step_that_is_not_full() -> None:
    assert steps(17, a_plan(batch=8, epochs=2.0)) == 6
    assert steps(1, a_plan(batch=8, epochs=0.1)) == 1
