"""Fixtures of tests that need the trainer's Python."""

from __future__ import annotations

import os

import pytest

VARIABLE = "STEPDOWN_TRAINER_PYTHON"


@pytest.fixture(scope="session")
def trainer_python() -> str:
    """A Python that has torch, TRL and PEFT; without one the test is skipped, and says what would run it."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"needs a Python with torch, TRL and PEFT in {VARIABLE}; `make test-vllm` has one")
    return python
