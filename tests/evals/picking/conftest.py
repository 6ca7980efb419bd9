"""A fake upstream model, up before the test and down after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import FakeModel, running


@pytest.fixture
def model() -> Iterator[FakeModel]:
    """A model of any alias: the tests tell them apart by the name that is asked for."""
    with running(fake := FakeModel()):
        yield fake
