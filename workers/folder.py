"""The embedded broker: kombu's filesystem transport, made to survive kills and the loss of its folder.

Invariant: a missing folder is an empty queue, and a message is there whole or not at all. Whoever finds
the folder missing makes it again; what was in it were hints, and the schedule sends new ones.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any, TypeVar

from kombu.transport import filesystem

T = TypeVar("T")

TRANSPORT = "workers.folder:Transport"
SUFFIX = ".msg"
ATTEMPTS = 5


class Channel(filesystem.Channel):
    """Keeps messages as files in one folder, which it makes where there is none."""

    @property
    def _messages(self) -> Path:
        return Path(self.data_folder_in)

    @property
    def _elsewhere(self) -> Path:
        return Path(self.processed_folder)

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}{SUFFIX}"

        def put() -> None:
            draft = self._elsewhere / name
            draft.write_text(json.dumps(payload))
            draft.rename(self._messages / name)

        self._in_folder(put)

    def _get(self, queue: str, timeout: Any = None) -> Any:
        return self._in_folder(lambda: self._take(queue))

    def _take(self, queue: str) -> Any:
        for waiting in self._of(queue):
            taken = self._elsewhere / waiting.name
            try:
                waiting.rename(taken)  # of two workers, one succeeds
            except FileNotFoundError:
                continue
            content = taken.read_text()
            taken.unlink()
            return json.loads(content)
        raise Empty

    def _size(self, queue: str) -> int:
        return self._in_folder(lambda: len(self._of(queue)))

    def _purge(self, queue: str) -> int:
        purged = self._in_folder(lambda: self._of(queue))
        for message in purged:
            message.unlink(missing_ok=True)
        return len(purged)

    def _of(self, queue: str) -> list[Path]:
        """The messages of a queue, oldest first."""
        return sorted(self._messages.glob(f"*.{queue}{SUFFIX}"))

    def _in_folder(self, use: Callable[[], T]) -> T:
        for _ in range(ATTEMPTS):
            for folder in (self._messages, self._elsewhere):
                folder.mkdir(parents=True, exist_ok=True)
            try:
                return use()
            except FileNotFoundError:
                continue  # the folder was deleted this instant
        return use()


class Transport(filesystem.Transport):
    """kombu's filesystem transport over `Channel`."""

    Channel = Channel


def transport_options(folder: Path) -> dict[str, Any]:
    """Where the transport keeps its files: all of them below one folder."""
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "processed_folder": str(folder / "moving"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.2,
    }
