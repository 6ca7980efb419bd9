"""A chart of values that a page has at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import altair as alt


def chart_of(values: Iterable[Mapping[str, Any]]) -> Any:
    """A chart of some values, to be given a mark and encodings.

    They are given to Altair as a plain mapping, because it checks every value of its own kinds of data, which
    takes longer than drawing them.
    """
    return alt.Chart(cast(Any, {"values": list(values)}))
