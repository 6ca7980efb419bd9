"""Two fake upstream models, up before the test and down after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import FakeModel, running


@pytest.fixture
def strong() -> Iterator[FakeModel]:
    """The strong model."""
    with running(model := FakeModel()):
        yield model


@pytest.fixture
def small() -> Iterator[FakeModel]:
    """The small model."""
    with running(model := FakeModel()):
        yield model
