"""The models of the playground, and the playground over them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dashboards.conftest import Open
from tests.dashboards.playground import Play, playground
from tests.fakes import FakeModel, streamed


@pytest.fixture
def strong() -> FakeModel:
    """The strong model, which streams."""
    return FakeModel(behaviour=lambda _: streamed("From strong <b>"))


@pytest.fixture
def small() -> FakeModel:
    """The small model, which streams."""
    return FakeModel(behaviour=lambda _: streamed("From small"))


@pytest.fixture
def play(strong: FakeModel, small: FakeModel, open_dashboard: Open) -> Iterator[Play]:
    """Opens a dashboard over both."""
    with playground(strong, small, open_dashboard) as opened:
        yield opened
