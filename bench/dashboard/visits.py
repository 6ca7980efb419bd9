"""Asks the dashboard for its pages as a browser does, and keeps how long each took.

Invariant: a time is the server's own, as its Server-Timing header gives it; a page that was refused is known
by its status, however fast it was.
"""

from __future__ import annotations

import gzip
import http.client
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 120.0
_timing = re.compile(r"page;dur=([\d.]+)")
_asset = re.compile(r'(?:href|src)="(/static/[^"]+)"')


class Answer(NamedTuple):
    """What came back.

    Attributes:
        ms: The server's own time; NaN for a file.
        sent: Bytes of the body as they went over the wire.
    """

    status: int
    ms: float
    sent: int
    text: str


class Timed(NamedTuple):
    """A page that was asked for several times.

    Attributes:
        status: The worst.
        first_ms: Of the first visit, when the dashboard has just begun to listen.
        load: Bytes of a first load with all its files.
    """

    name: str
    status: int
    median_ms: float
    p95_ms: float
    first_ms: float
    page: int
    load: int


def get(url: str, path: str) -> Answer:
    """One page or file."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"accept-encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        timing = _timing.search(answer.headers.get("server-timing", ""))
        zipped = answer.headers.get("content-encoding") == "gzip"
        text = (gzip.decompress(body) if zipped else body).decode("utf-8", "replace")
        return Answer(answer.status, float(timing[1]) if timing else float("nan"), len(body), text)
    finally:
        connection.close()


def visit_all(
    url: str, pages_of: Callable[[int], Mapping[str, str]], times: int, wait: Callable[[], object]
) -> Sequence[Timed]:
    """Ask for each page so many times, in rounds.

    Args:
        url: Of the dashboard.
        pages_of: The path of each page by its name, in a round of a number.
        times: Rounds.
        wait: Waits, before each round but the first, until figures have changed.
    """
    answers: dict[str, list[Answer]] = {}
    for number in range(times):
        if number:
            wait()
        for name, path in pages_of(number).items():
            answers.setdefault(name, []).append(get(url, path))
    return [_timed(url, name, given) for name, given in answers.items()]


def _timed(url: str, name: str, answers: Sequence[Answer]) -> Timed:
    first, took = answers[0], sorted(answer.ms for answer in answers)
    files = sum(get(url, file).sent for file in set(_asset.findall(first.text)))
    return Timed(
        name=name,
        status=max(answer.status for answer in answers),
        median_ms=statistics.median(took),
        p95_ms=took[min(len(took) - 1, int(0.95 * len(took)))],
        first_ms=first.ms,
        page=first.sent,
        load=first.sent + files,
    )
