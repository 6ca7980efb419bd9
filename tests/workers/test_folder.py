"""The embedded broker, used as a worker uses it, and robbed of its folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from queue import Empty

import pytest

from tests.processes import settings_in
from workers import names
from workers.factory import create_celery
from workers.folder import Channel


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    app = create_celery(settings_in(tmp_path))
    return app.connection_for_write().channel()  # type: ignore[no-any-return]


def test_messages_come_in_their_order_and_once(channel: Channel) -> None:
    for n in range(3):
        channel._put("labels", {"n": n})
    channel._put("fits", {"n": 9})
    assert channel._size("labels") == 3
    assert [channel._get("labels")["n"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Empty):
        channel._get("labels")
    assert channel._get("fits") == {"n": 9}


@pytest.mark.parametrize("missing", ["", "messages", "moving"])
def test_a_missing_folder_is_an_empty_queue(channel: Channel, tmp_path: Path, missing: str) -> None:
    channel._put("labels", {"n": 1})
    shutil.rmtree(tmp_path / "broker" / missing)
    channel._purge("labels")
    with pytest.raises(Empty):
        channel._get("labels")
    channel._put("labels", {"n": 2})
    assert channel._get("labels") == {"n": 2}


def test_a_hint_is_sent_by_name(tmp_path: Path) -> None:
    app = create_celery(settings_in(tmp_path))
    app.send_task(names.FIT)
    (message,) = (tmp_path / "broker" / "messages").iterdir()
    assert message.name.endswith(".fits.msg")
    assert '"task": "stepdown.fit"' in message.read_text()
