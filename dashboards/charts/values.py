"""A chart of values that a page has at hand, made as fast as its page is to be.

Invariant: what is drawn is what Altair itself would have made of the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import altair as alt


class Drawing(alt.Chart):
    """A chart that is told its channels in words.

    Altair makes a table of all its classes each time it reads a channel that is a string or a mapping, which
    takes longer than drawing the chart.
    """

    def encode(self, *args: Any, **channels: Any) -> Any:
        """As of a chart; channels that are words are made what they stand for."""
        return super().encode(*args, **{name: _channel(name, given) for name, given in channels.items()})


def _channel(name: str, given: Any) -> Any:
    kind = name[:1].upper() + name[1:]
    if isinstance(given, str):
        return getattr(alt, kind)(given)
    if isinstance(given, Mapping) and "value" in given:
        more = {key: value for key, value in given.items() if key != "value"}
        return getattr(alt, f"{kind}Value")(given["value"], **more)
    return given


def chart_of(values: Iterable[Mapping[str, Any]]) -> Any:
    """A chart of some values, to be given a mark and encodings.

    They are given to Altair as a plain mapping, because it checks every value of its own kinds of data, and
    as a tuple, because it copies every value of a list at each step; both take longer than drawing them.
    """
    return Drawing(cast(Any, {"values": tuple(values)}))
