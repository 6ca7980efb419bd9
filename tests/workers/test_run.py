"""What the schedule does at its start where there is no broker to talk to."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.fakes import closed_port
from tests.processes import settings_in
from workers.factory import create_celery
from workers.run import _send_first_hints


def test_first_hints_to_a_broker_that_is_away_are_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_celery(settings_in(tmp_path, broker=f"redis://:secret@127.0.0.1:{closed_port()}/0"))
    with caplog.at_level(logging.WARNING, logger="workers.run"):
        _send_first_hints(app)()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "workers.run"]
    assert line.startswith("the broker is away, and the schedule sends its hints when it is back")
    assert "secret" not in line
